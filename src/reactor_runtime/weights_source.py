"""Where `VideoModel.weights(name)` looks: one replaceable callable per process.

    REACTOR_WEIGHTS_<NAME>   an explicit folder, for one machine or one test
    ./weights/<name>         beside the manifest, else in the working folder
    a registry               when one was installed with `use`

The process that loads a model sets `folder` once, before the author's module is imported.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

from .errors import WeightsMissing

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}[A-Za-z0-9]", re.ASCII)
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,62}", re.ASCII)

Source = Callable[[str, "str | None"], Path]

#: The manifest's folder; None until a manifest was loaded.
folder: Path | None = None
_registry: Source | None = None


def use(registry: Source | None) -> None:
    """Install what is asked for (name, version) that is not on this machine."""
    global _registry
    _registry = registry


def parse(text: str) -> tuple[str, str | None]:
    """Split "name" or "name@version". Raises WeightsMissing for anything that could be a path."""
    name, at, version = text.partition("@")
    if ".." in text or not _NAME.fullmatch(name) or (at and not _VERSION.fullmatch(version)):
        raise WeightsMissing(
            f"{text[:80]!r} is not a name of weights.\n"
            "  Fix: 2 to 64 letters, digits, '.', '_' or '-', with an optional version: LongLive@1.2"
        )
    return name, version or None


def override_variable(name: str) -> str:
    """Return the environment variable that names a folder for these weights."""
    return "REACTOR_WEIGHTS_" + re.sub(r"[^A-Z0-9]", "_", name.upper())


def resolve(text: str) -> Path:
    """Return the folder of these weights, from the first source that has them."""
    name, version = parse(text)
    variable = override_variable(name)
    explicit = os.environ.get(variable)
    if explicit:
        path = Path(explicit).expanduser().resolve()
        if not path.is_dir():
            raise WeightsMissing(
                f"{variable} names {explicit!r}, which is not a folder.\n  Fix: correct or unset it."
            )
        return path
    beside = (folder or Path.cwd()) / "weights" / name
    if beside.is_dir():
        return beside.resolve()
    if _registry is not None:
        return _registry(name, version)
    raise WeightsMissing(
        f"The weights {text!r} are not on this machine.\n"
        f"  Fix: put their files into {beside}, or set {variable} to the folder that has them."
    )
