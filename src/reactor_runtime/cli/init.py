"""`reactor init`: a new project that runs, tests itself and reads like a first lesson.

The project is the folder `template/` of this package, copied; three words in it are filled in.
"""

from __future__ import annotations

import re
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated

import typer

from .screen import mistakes

# Shipped under another name: a .gitignore inside this package would act on this package.
_RENAMED = {"gitignore": ".gitignore"}
_LEFT_OUT = {"__pycache__"}


def init(
    name: Annotated[str, typer.Argument(help="The new folder, for example my-model.", metavar="NAME")],
) -> None:
    """Create a runnable project in a new folder: model, manifest, requirements, README and a test."""
    folder = Path(name)
    with mistakes():
        create(folder)
    typer.echo(f"Created {folder}: model.py is the model, manifest.json names it.\n")
    typer.echo(f"  cd {folder}")
    typer.echo("  reactor run          # open the printed address")
    typer.echo("  python -m pytest     # its own test")


def create(folder: Path) -> None:
    """Write the project into `folder`. Raises SettingError for a folder in use or an unusable name."""
    from .. import __version__
    from ..errors import SettingError

    model_name = re.sub(r"[^a-z0-9]+", "-", folder.resolve().name.lower()).strip("-")
    if not model_name:
        raise SettingError(f"{folder}: no letter or digit in the name.\n  Fix: reactor init my-model")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise SettingError(
            f"{folder} exists and is not empty.\n  Fix: choose another name, or empty it first."
        )
    words = {
        "__MODEL_NAME__": model_name,
        "__TITLE__": model_name.replace("-", " ").capitalize(),
        "__VERSION__": __version__,
    }
    try:
        _copy(resources.files(__package__) / "template", folder, words)
    except OSError as error:
        raise SettingError(
            f"{folder}: {error.strerror or error}.\n  Fix: choose a folder you may write to."
        ) from error


def _copy(source: Traversable, target: Path, words: dict[str, str]) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for entry in source.iterdir():
        if entry.name in _LEFT_OUT:
            continue
        path = target / _RENAMED.get(entry.name, entry.name)
        if entry.is_dir():
            _copy(entry, path, words)
            continue
        text = entry.read_text(encoding="utf-8")
        for mark, word in words.items():
            text = text.replace(mark, word)
        path.write_text(text, encoding="utf-8")
