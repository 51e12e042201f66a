"""What `VideoModel.weights(name)` asks: a folder, from the first source that has it.

    REACTOR_WEIGHTS_<NAME>   an explicit folder, for one machine or one test
    ./weights/<name>         beside the manifest, else in the working folder
    the registry             through `Source`: who downloads depends on the process

       command line, a script     registry()         pulls by itself, with progress on stderr
       server process             fetch_listed()     pulls what the manifest lists, before the model loads
       model process              Fetched            knows the folders; asks the server for any other name

Where a thread looks is its model's (`Outlook`), so that two models in one process do not mix. The model process
has no credentials (`without_credentials`) and downloads nothing. Importing this module
loads neither the storage library nor pydantic.
"""

from __future__ import annotations

import itertools
import logging
import os
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from ..errors import WeightsCorrupt, WeightsMissing
from . import names
from .impostors import impostor

if TYPE_CHECKING:
    from .pull import Registry
    from .transfer import TransferSink

logger = logging.getLogger(__name__)

#: Takes "name" or "name@version" and returns the complete folder. May block for as long as a download takes.
Source: TypeAlias = Callable[[str], Path]

#: What a script pulls with; opened at its first question.
_own: Registry | None = None

#: Files of a local folder that are looked into before it is handed out.
_LOOKED_AT = 1000

#: Variables that open stores, which a model process has no use for.
_SECRET_PREFIXES = ("AWS_", "AZURE_", "GOOGLE_", "GCP_")


@dataclass(slots=True)
class Outlook:
    """From where one model sees its weights: the manifest's folder, and who is asked for what is not local."""

    folder: Path | None = None
    source: Source | None = None


#: Of every model that is loaded in this process; each thread that runs one knows its own.
_models: list[Outlook] = []
_of_thread = threading.local()
#: Of a script that loads no model through a host.
_script = Outlook()


def enter(source: Source | None = None) -> Outlook:
    """A model is loaded and run on this thread: until `leave`, its weights come from here."""
    outlook = Outlook(source=source)
    _models.append(outlook)
    adopt(outlook)
    return outlook


def adopt(outlook: Outlook) -> None:
    """This thread runs the same model."""
    _of_thread.outlook = outlook


def leave() -> None:
    """This thread's model is gone."""
    _models.remove(_of_thread.outlook)
    del _of_thread.outlook


def look_beside(folder: Path) -> None:
    """What this thread loads is the model of this folder."""
    getattr(_of_thread, "outlook", _script).folder = folder


def outlook() -> Outlook:
    """Return that of this thread's model: of the only one, where this is a thread of the author's own.

    Raises WeightsMissing where several are loaded and nothing says to which of them this thread belongs.
    """
    own: Outlook | None = getattr(_of_thread, "outlook", None)
    if own is not None:
        return own
    if len(_models) > 1:
        raise WeightsMissing(
            "several models are loaded in this process, and this thread belongs to none of them.\n"
            "  Fix: call weights() in the constructor, start_session() or a command, and hand the folder on."
        )
    return _models[0] if _models else _script


def release() -> None:
    """Forget the registry that this process opened for itself, and let others collect what it used."""
    global _own
    if _own is not None:
        _own.close()
    _own = None


def resolve(text: str) -> Path:
    """Return the folder of "name" or "name@version". Raises WeightsMissing, or whatever the source raises."""
    ref = names.parse(text)
    here = outlook()
    local = local_folder(ref.name, beside=here.folder)
    return local if local is not None else (here.source or _from_registry)(str(ref))


def local_folder(
    name: str, *, beside: Path | None = None, environ: Mapping[str, str] | None = None
) -> Path | None:
    """Return the folder that this machine's user put there for these weights, or None.

    Raises WeightsMissing for an override that is no folder or an empty one, WeightsCorrupt for an
    incomplete copy of a published version.
    """
    environ = os.environ if environ is None else environ
    variable = names.override_variable(name)
    if explicit := environ.get(variable):
        path = Path(explicit).expanduser().absolute()
        if not path.is_dir():
            raise WeightsMissing(
                f"{variable} names {explicit!r}, which is not a folder.\n  Fix: correct or unset it."
            )
        return _checked(path, name)
    path = names.beside(beside or Path.cwd(), name).absolute()
    # Listed rather than opened: a file system that ignores case would answer to another name.
    if path.parent.is_dir() and name in os.listdir(path.parent) and path.is_dir():
        return _checked(path, name)
    return None


def _checked(path: Path, name: str) -> Path:
    """Return a local folder unless it is empty or an incomplete copy of a published one."""
    if not any(path.iterdir()):
        raise WeightsMissing(f"{path} is empty.\n  Fix: put the files of {name} into it, or remove it.")
    listing = path / names.INDEX_FILE
    if listing.is_file():
        from .index import sizes

        for file, size in sizes(listing.read_bytes()).items():
            there = path / file
            if not there.is_file() or there.stat().st_size != size:
                raise WeightsCorrupt(
                    f"{path} is an incomplete copy: {file!r} is missing or not {size} bytes long.\n"
                    "  Fix: copy it again, or remove the folder so that the registry is asked.",
                    file=file,
                )
    for file_here in itertools.islice((each for each in path.rglob("*") if each.is_file()), _LOOKED_AT):
        if (problem := impostor(file_here)) is not None:
            raise WeightsCorrupt(f"{path}: {problem}", file=file_here.name)
    return path


def registry(environ: Mapping[str, str] | None = None, *, address: str = "", cache: str = "") -> Registry:
    """Open the registry that the settings name: REACTOR_REGISTRY and REACTOR_CACHE unless given."""
    from .cache import Cache
    from .pull import Registry

    environ = os.environ if environ is None else environ
    address = address or environ.get("REACTOR_REGISTRY", "")
    cache = cache or environ.get("REACTOR_CACHE", "")
    return Registry(address, cache=Cache(Path(cache)) if cache else None, environ=environ)


def fetch_listed(
    listed: Iterable[str],
    *,
    source: Registry,
    beside: Path | None,
    report: TransferSink,
    stop: threading.Event,
) -> dict[str, Path]:
    """Return the folder of everything that a manifest lists, downloading what is missing. Blocks.

    For the server process, before the model loads. Raises what `Registry.pull` raises, Stopped after `stop`.
    """
    folders = {}
    for text in listed:
        ref = names.parse(text)
        local = local_folder(ref.name, beside=beside)
        if local is None:
            pulled = source.pull(text, report=report, stop=stop)
            if pulled.note:
                logger.warning("weights %s: %s", text, pulled.note)
            local = pulled.path
        folders[text] = local
    return folders


class Fetched:
    """The model process's source: the folders that the server fetched, and the server for any other name.

    `ask` blocks until the server has fetched a name that the manifest does not list.
    """

    def __init__(self, folders: Mapping[str, Path], ask: Source) -> None:
        self._folders = dict(folders)
        self._by_name = {names.parse(text).name: path for text, path in folders.items()}
        self._ask = ask

    def __call__(self, text: str) -> Path:
        known = self._folders.get(text)
        if known is None and "@" not in text:
            # The manifest may pin the version of what the class asks for by name alone.
            known = self._by_name.get(text)
        if known is not None:
            return known
        logger.warning(
            'weights %s are not in the manifest: they are fetched while the model loads. Add "%s" to "weights".',
            text,
            text,
        )
        path = self._ask(text)
        self._folders[text] = path
        return path


def without_credentials(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for a model process: without what opens a store. Pure."""
    return {
        name: value
        for name, value in environ.items()
        if not name.startswith(_SECRET_PREFIXES) and not name.startswith("REACTOR_TOKEN")
    }


def _from_registry(text: str) -> Path:
    """Pull for a script of its own. What it uses is held until `release` or the end of the process."""
    global _own
    from .display import Display

    if _own is None:
        _own = registry()
    with Display() as display:
        pulled = _own.pull(text, report=display.report)
    if pulled.note:
        logger.warning("weights %s: %s", text, pulled.note)
    return pulled.path
