"""Names of weights, and the only place that turns them into paths and keys.

    reference   LongLive  or  LongLive@1.2.0     what manifests, authors and the command line say
    name        2 to 64 of A-Z a-z 0-9 . _ -     starts and ends with a letter or digit, no ".."
    version     PEP 440, kept in canonical form  compared as a version, never as text
    file path   models/base.pt                   relative, "/" between plain components

Pure. Everything here is checked on the way in, so that a name that exists as a value can be joined to
a root without leaving it. Names are case-sensitive also where the file system is not: the cache marks
upper-case letters in the folder name (`LongLive+11`, hexadecimal, bit i = letter i is upper case).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from packaging.version import InvalidVersion, Version

from ..errors import WeightsMissing

#: Kept for the index, the pointer and the claim, so that no published file can be taken for one of them.
INDEX_FILE = "reactor-weights.json"
LATEST_FILE = "reactor-latest.json"
CLAIM_FILE = "reactor-claim.json"
RESERVED_FILES = frozenset({INDEX_FILE, LATEST_FILE, CLAIM_FILE})

NAME_MAX = 64
PATH_MAX = 1024
PATH_DEPTH_MAX = 32

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}[A-Za-z0-9]", re.ASCII)
_COMPONENT = re.compile(r"[A-Za-z0-9_+=@,()\[\]{}#~ .-]{1,255}", re.ASCII)
_PLAIN = re.compile(r"plain-[0-9a-f]{16}", re.ASCII)
_PARTIAL = re.compile(r"(?P<folder>[^@~]+)@(?P<version>[^@~]+)~[0-9a-f]{8}", re.ASCII)
#: Device names that Windows finds in every folder, with any extension.
_DEVICES = frozenset({"con", "prn", "aux", "nul", *(f"{d}{n}" for d in ("com", "lpt") for n in range(1, 10))})


@dataclass(frozen=True, slots=True)
class Ref:
    """What someone asked for. `version` None means the newest."""

    name: str
    version: str | None = None

    def __str__(self) -> str:
        return self.name if self.version is None else f"{self.name}@{self.version}"


def parse(text: str) -> Ref:
    """Split "name" or "name@version". Raises WeightsMissing for everything else."""
    name, at, version = text.partition("@")
    return Ref(check_name(name), check_version(version) if at else None)


def check_name(text: str) -> str:
    """Return `text` if it is a name of weights, else raise WeightsMissing."""
    if not _NAME.fullmatch(text) or ".." in text or _is_device(text):
        raise WeightsMissing(
            f"{text[:80]!r} is not a name of weights.\n"
            "  Fix: use 2 to 64 letters, digits, '.', '_' or '-', starting and ending with a letter or digit, "
            "optionally followed by a version: LongLive@1.2.0"
        )
    return text


def check_version(text: str) -> str:
    """Return the canonical form of a PEP 440 version, or the id of a plain folder's content."""
    if _PLAIN.fullmatch(text):
        return text
    try:
        canonical = str(Version(text)) if len(text) <= NAME_MAX and text.isascii() else ""
    except InvalidVersion:
        canonical = ""
    if not canonical:
        raise WeightsMissing(
            f"{text[:80]!r} is not a version of weights.\n  Fix: write it as in PEP 440, for example 1.2.0 or 2.0rc1."
        )
    return canonical


def check_path(text: str) -> str:
    """Return `text` if it names a file inside a version and nothing outside it, else raise WeightsMissing."""
    parts = text.split("/")
    if len(text) > PATH_MAX or len(parts) > PATH_DEPTH_MAX or not all(_is_component(part) for part in parts):
        raise WeightsMissing(
            f"{text[:120]!r} cannot be the path of a weights file.\n"
            "  Fix: rename it: plain ASCII components between '/', not starting or ending with a space, "
            "not ending with a '.', no '\\', ':' or '%'."
        )
    if parts[-1].lower() in RESERVED_FILES and len(parts) == 1:
        raise WeightsMissing(
            f"{text!r} is a name that the registry keeps for itself.\n  Fix: rename the file."
        )
    return text


def check_paths(paths: Iterable[str]) -> None:
    """Check every path, and that all of them can lie in one folder of a file system that ignores case."""
    files: set[str] = set()
    folders: set[str] = set()
    for path in paths:
        folded = check_path(path).lower()
        if folded in files:
            raise WeightsMissing(
                f"{path!r} is there twice, or differs from another file only in upper and lower case."
            )
        files.add(folded)
        parts = folded.split("/")
        folders.update("/".join(parts[:depth]) for depth in range(1, len(parts)))
    if clash := files & folders:
        raise WeightsMissing(f"{min(clash)!r} is both a file and a folder.")


def is_plain(version: str) -> bool:
    """Tell whether this is the id of a folder without an index, so that nobody vouches for its content."""
    return _PLAIN.fullmatch(version) is not None


def plain_version(digest: str) -> str:
    """Return the version id of a folder without an index, from a digest over its listing."""
    return f"plain-{digest[:16]}"


def newest(versions: Iterable[str]) -> str | None:
    """Return the highest final release, else the highest pre-release; texts that are no versions are skipped."""
    known = [version for version in map(_version_or_none, versions) if version is not None]
    final = [version for version in known if not version.is_prerelease]
    return str(max(final or known)) if known else None


def following(version: str) -> str:
    """Return the final release after this one: its last number counted up, or what a pre-release precedes."""
    known = Version(version)
    if known.is_prerelease:
        return known.base_version
    return ".".join(str(number) for number in (*known.release[:-1], known.release[-1] + 1))


def sort_key(version: str) -> Version:
    """Return what to sort the versions of one name by."""
    return Version(version)


def same_version(wanted: str, available: Iterable[str]) -> str | None:
    """Return the spelling among `available` that is equal to `wanted` as a version (1.0 is 1.0.0)."""
    target = _version_or_none(wanted)
    return next((text for text in available if target is not None and _version_or_none(text) == target), None)


def override_variable(name: str) -> str:
    """Return the environment variable that names a folder for these weights."""
    return "REACTOR_WEIGHTS_" + re.sub(r"[^A-Z0-9]", "_", name.upper())


def beside(folder: Path, name: str) -> Path:
    """Return the folder beside a manifest that may hold these weights."""
    return folder / "weights" / check_name(name)


# Keys in the store -------------------------------------------------------------------------------


def name_prefix(name: str) -> str:
    return check_name(name)


def version_prefix(name: str, version: str) -> str:
    return f"{check_name(name)}/{check_version(version)}"


def file_key(name: str, version: str, path: str) -> str:
    """Return the key of one file; a plain folder's files lie directly under the name."""
    checked = check_path(path)
    return (
        f"{check_name(name)}/{checked}" if is_plain(version) else f"{version_prefix(name, version)}/{checked}"
    )


def index_key(name: str, version: str) -> str:
    return f"{version_prefix(name, version)}/{INDEX_FILE}"


def claim_key(name: str, version: str) -> str:
    return f"{version_prefix(name, version)}/{CLAIM_FILE}"


def latest_key(name: str) -> str:
    return f"{check_name(name)}/{LATEST_FILE}"


# Paths in the cache ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CachePaths:
    """Where everything of one cache lies. Nothing else joins a name to `root`."""

    root: Path

    @property
    def published(self) -> Path:
        return self.root / "weights"

    @property
    def partials(self) -> Path:
        return self.root / "partial"

    @property
    def locks(self) -> Path:
        return self.root / "locks"

    @property
    def quarantine(self) -> Path:
        return self.root / "quarantine"

    def of_name(self, name: str) -> Path:
        return self.published / folder_of(name)

    def of_version(self, name: str, version: str) -> Path:
        return self.of_name(name) / check_version(version)

    def current(self, name: str) -> Path:
        """The file that remembers which version an unversioned name stood for last."""
        return self.published / f"{folder_of(name)}@current"

    def partial(self, name: str, version: str, token: str) -> Path:
        return self.partials / f"{folder_of(name)}@{check_version(version)}~{token}"

    def lock(self, name: str, version: str) -> Path:
        return self.locks / f"{folder_of(name)}@{check_version(version)}.lock"

    def use(self, name: str, version: str) -> Path:
        """The file that processes using a version hold shared; its time is when it was last used."""
        return self.locks / f"{folder_of(name)}@{check_version(version)}.use"

    def quarantined(self, name: str, version: str, path: str) -> Path:
        return (
            self.quarantine
            / f"{folder_of(name)}@{check_version(version)}@{check_path(path).replace('/', '@')}"[:255]
        )


def folder_of(name: str) -> str:
    """Return the cache folder of a name, distinct also where upper and lower case are one."""
    mask = sum(1 << i for i, letter in enumerate(check_name(name)) if letter.isupper())
    return f"{name}+{mask:x}" if mask else name


def name_of(folder: str) -> str | None:
    """Return the name whose cache folder this is, or None."""
    name = folder.partition("+")[0]
    try:
        return name if folder_of(name) == folder else None
    except WeightsMissing:
        return None


def partial_of(folder: str) -> tuple[str, str] | None:
    """Return name and version of an unfinished download's folder, or None."""
    match = _PARTIAL.fullmatch(folder)
    name = name_of(match["folder"]) if match else None
    if match is None or name is None:
        return None
    try:
        return name, check_version(match["version"])
    except WeightsMissing:
        return None


def _is_component(text: str) -> bool:
    return (
        _COMPONENT.fullmatch(text) is not None
        and text not in {".", ".."}
        and not text.startswith(" ")
        and not text.endswith((" ", "."))
        and not _is_device(text)
    )


def _is_device(text: str) -> bool:
    return text.partition(".")[0].rstrip(" ").lower() in _DEVICES


def _version_or_none(text: str) -> Version | None:
    try:
        return Version(text)
    except InvalidVersion:
        return None
