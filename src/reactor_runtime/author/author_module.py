"""Import the module that a manifest names, and put what goes wrong into words an author can act on.

One manifest's folder at a time is on `sys.path`: modules that came from another one are forgotten, so that
two projects with a `model.py` each can be loaded one after the other. Called on the thread that loads the
model.
"""

from __future__ import annotations

import difflib
import importlib
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import NoReturn

from ..errors import ManifestError, ModelDefinitionError

_folder: Path | None = None
_loaded: set[str] = set()


def load(name: str, *, manifest: Path) -> ModuleType:
    """Import module `name` from the folder of `manifest`, or as installed.

    Raises ManifestError with the cause chained, or the ModelDefinitionError of a class in it.
    """
    if name.partition(".")[0] in sys.stdlib_module_names:
        raise ManifestError(
            f"{name!r} is the name of a module of Python itself",
            file=str(manifest),
            key="class",
            fix="rename the file, for example to model.py",
        )
    folder = manifest.parent
    _take(folder)
    before = set(sys.modules)
    try:
        return importlib.import_module(name)
    except (ManifestError, ModelDefinitionError):
        raise
    except (Exception, SystemExit) as error:
        _explain(error, name, manifest)
    finally:
        _loaded.update(name for name in set(sys.modules) - before if _is_in(folder, sys.modules[name]))


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """Return a question with the closest of the names, or "" when none is close."""
    close = difflib.get_close_matches(name, list(names), n=1, cutoff=0.6)
    return f"did you mean {close[0]!r}?" if close else ""


def _take(folder: Path) -> None:
    global _folder
    if folder != _folder:
        for name in _loaded:
            sys.modules.pop(name, None)
        _loaded.clear()
        if _folder is not None and str(_folder) in sys.path:
            sys.path.remove(str(_folder))
        _folder = folder
        sys.path.insert(0, str(folder))
    importlib.invalidate_caches()


def _is_in(folder: Path, module: ModuleType) -> bool:
    file = getattr(module, "__file__", None)
    return (
        bool(file) and Path(str(file)).is_relative_to(folder) and "site-packages" not in Path(str(file)).parts
    )


def _explain(error: BaseException, name: str, manifest: Path) -> NoReturn:
    problem, fix = _in_words(error, name, manifest.parent)
    raise ManifestError(problem, file=str(manifest), key="class", fix=fix) from error


def _in_words(error: BaseException, name: str, folder: Path) -> tuple[str, str]:
    place = _place(error)
    if isinstance(error, ModuleNotFoundError) and error.name:
        if name == error.name or name.startswith(error.name + "."):
            modules = sorted(path.stem for path in folder.glob("*.py"))
            return (
                f"there is no module {error.name!r} in {folder}",
                did_you_mean(error.name, modules) or f"create {error.name}.py there, or name another module",
            )
        package = error.name.partition(".")[0]
        return (
            f"{place} imports {error.name!r}, which is not installed",
            f"install it, as in `pip install {package}`, or put it into {folder}",
        )
    if isinstance(error, SyntaxError):
        return f"{Path(error.filename or name).name}, line {error.lineno}: {error.msg}", "correct that line"
    return (
        f"importing {name!r} failed at {place}: {type(error).__name__}: {error}",
        "correct that line; --verbose shows how it was reached",
    )


def _place(error: BaseException) -> str:
    """Where in the author's code it happened: the innermost frame that is not the import machinery."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith("<frozen") and frame.filename not in (__file__, importlib.__file__)
    ]
    return f"{Path(frames[-1].filename).name}, line {frames[-1].lineno}" if frames else "its first line"
