"""Import the module that a manifest names, and put what goes wrong into words an author can act on.

One manifest's folder at a time is on `sys.path`: modules that came from another one are forgotten, so that
two projects with a `model.py` each can be loaded one after the other. While the first is kept, the second is a
guest beside it (`guest.py`). A manifest inside a package (a folder with `__init__.py`) names its modules as seen
from there, and they are imported as parts of that package, so that `from .parts import x` works. Called on the
thread that loads the model.
"""

from __future__ import annotations

import difflib
import importlib
import sys
import threading
import traceback
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import NoReturn

from ..errors import ManifestError, ModelDefinitionError
from .guest import Guest

#: Held while a module is found and loaded, and for all below.
_lock = threading.RLock()
_folders: tuple[Path, ...] = ()
_loaded: set[str] = set()
_kept: Counter[Path] = Counter()
_guests: dict[Path, Guest] = {}


def keep(folder: Path) -> None:
    """A model of this folder is about to be loaded and run: its modules stay until `let_go`."""
    with _lock:
        _kept[folder] += 1


def let_go(folder: Path) -> None:
    """As often as `keep`."""
    with _lock:
        _kept[folder] -= 1
        if not _kept[folder]:
            del _kept[folder]
            if (guest := _guests.pop(folder, None)) is not None:
                guest.close()


def load(name: str, *, manifest: Path) -> ModuleType:
    """Import module `name` from the folder of `manifest`, or as installed.

    Raises ManifestError with the cause chained, or the ModelDefinitionError of a class in it.
    """
    folder = manifest.parent
    package = _package_of(folder)
    if package and name != package and not name.startswith(f"{package}."):
        name = f"{package}.{name}"
    _check_name(name, manifest)
    with _lock:
        guest = _guest_of(folder, package)
        try:
            if guest is not None and guest.owns(name):
                return importlib.import_module(guest.full_name(name))
            return _import_plain(name, folder, package)
        except (ManifestError, ModelDefinitionError):
            raise
        except (Exception, SystemExit) as error:
            if guest is not None and isinstance(error, ModuleNotFoundError) and error.name:
                error.name = guest.plain_name(error.name)
            _explain(error, name, manifest)


def _guest_of(folder: Path, package: str) -> Guest | None:
    """Return the guest that this folder is, None where its modules have their plain names."""
    # The package's own folder stays on the path too, for `import parts` beside `from .parts import x`.
    root = [_root_of(folder, package)] if package else []
    if folder not in _guests:
        if not _folders or _folders[0] == folder or not _kept[_folders[0]]:
            _take(folder, *root)
            return None
        _guests[folder] = Guest(folder, *root, top=package.partition(".")[0])
    importlib.invalidate_caches()
    return _guests[folder]


def _import_plain(name: str, folder: Path, package: str) -> ModuleType:
    before = set(sys.modules)
    try:
        return importlib.import_module(name)
    finally:
        _loaded.update(
            name
            for name in set(sys.modules) - before
            if _is_in(folder, sys.modules[name])
            or (package and name.partition(".")[0] == package.partition(".")[0])
        )


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """Return a question with the closest of the names, or "" when none is close."""
    close = difflib.get_close_matches(name, list(names), n=1, cutoff=0.6)
    return f"did you mean {close[0]!r}?" if close else ""


def _package_of(folder: Path) -> str:
    """Return the dotted name of the package that this folder is, or "" for one that Python would not find."""
    parts: list[str] = []
    while (folder / "__init__.py").is_file() and folder.name.isidentifier():
        parts.insert(0, folder.name)
        folder = folder.parent
    return ".".join(parts) if parts and not _whose(parts[0], folder) else ""


def _root_of(folder: Path, package: str) -> Path:
    return folder.parents[package.count(".")]


def _check_name(name: str, manifest: Path) -> None:
    """Refuse a name under which Python would find something else than the author's file."""
    top = name.partition(".")[0]
    if whose := _whose(top, manifest.parent):
        raise ManifestError(
            f"{top!r} is the name of a module of {whose}",
            file=str(manifest),
            key="class",
            fix="rename the file, for example to model.py",
        )


def _whose(top: str, folder: Path) -> str:
    """Say who holds a module's name, if what lies in this folder under that name could never be imported."""
    if top in sys.stdlib_module_names:
        return "Python itself"
    held = sys.modules.get(top)
    lies_here = (folder / f"{top}.py").is_file() or (folder / top / "__init__.py").is_file()
    if held is None or top in _loaded or not lies_here:
        return ""
    # Another project's, which makes this one its guest, goes by its name as well.
    if any(_is_in(each, held) for each in (folder, *_folders)):
        return ""
    return "the runtime, or of a library that it uses"


def _take(*folders: Path) -> None:
    global _folders
    if folders != _folders:
        for name in _loaded:
            sys.modules.pop(name, None)
        _loaded.clear()
        for folder in _folders:
            if str(folder) in sys.path:
                sys.path.remove(str(folder))
        _folders = folders
        sys.path[:0] = map(str, folders)
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
    if isinstance(error, ImportError) and "no known parent package" in str(error):
        return (
            f"{place} imports with a dot, and {folder.name} is not a package that Python can find",
            "leave the dot out"
            if (folder / "__init__.py").exists()
            else f"put an empty __init__.py into {folder}, or leave the dot out",
        )
    if isinstance(error, ImportError) and error.name and (folder / f"{error.name}.py").is_file():
        return (
            f"{place} means {error.name}.py beside it, and gets another module of that name ({error.path})",
            f"rename {error.name}.py",
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
