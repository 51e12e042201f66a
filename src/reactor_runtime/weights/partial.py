"""An unfinished download on disk: its files, and a journal of which bytes of them are there.

    partial/<name>@<version>~<token>/
        owner        held locked by the process that downloads; free means that it died
        journal      one line each: what is downloaded, from where, which bytes arrived, which file is right
        files/...    the files, at full length, with holes

Each process writes into a folder of its own. One that finds the folder of a dead process takes it over by
renaming it, so that a download goes on where it was killed. The journal is written after the bytes it
speaks of; if the machine itself went down it may promise too much, which the digests find out.

Files are opened component by component without following links, so nothing here leaves the folder.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .. import limits
from . import index, names
from .index import RemoteFile
from .locks import try_lock
from .ranges import Ranges

_OWNER = "owner"
_JOURNAL = "journal"
FILES = "files"
_DYING_S = 2.0
_DYING_POLL_S = 0.01


@dataclass(slots=True)
class Known:
    """What the journal says of one file."""

    ranges: Ranges = field(default_factory=Ranges)
    etag: str | None = None
    sha256: str | None = None


class Partial:
    """One unfinished download, owned by this process until `close()`. Its methods are called under the
    download's lock, or by one thread."""

    def __init__(self, path: Path, owner: int) -> None:
        self.path = path
        self._owner = owner
        self._journal = -1
        self.known: dict[str, Known] = {}

    @property
    def files(self) -> Path:
        return self.path / FILES

    @classmethod
    def create(cls, paths: names.CachePaths, name: str, version: str) -> Partial:
        """Take over what a dead process left of this version, else begin anew. Hold the version's lock."""
        deadline_s = time.monotonic() + _DYING_S
        while left := [path for path in unfinished(paths) if names.partial_of(path.name) == (name, version)]:
            for orphan in filter(_is_orphan, left):
                taken = cls._take_over(orphan, paths.partial(name, version, secrets.token_hex(4)))
                if taken is not None:
                    return taken
            # Whoever had the version's lock is dying: the kernel frees its locks one after the other.
            if time.monotonic() >= deadline_s:
                break
            time.sleep(_DYING_POLL_S)
        while True:
            path = paths.partial(name, version, secrets.token_hex(4))
            owner = try_lock(path / _OWNER)
            # A sweep may have seen the new folder before it was locked, and removed it.
            if owner is not None and _is_linked(path / _OWNER, owner):
                (path / FILES).mkdir()
                _note_host(path)
                return cls(path, owner)
            if owner is not None:
                os.close(owner)

    @classmethod
    def _take_over(cls, orphan: Path, path: Path) -> Partial | None:
        try:
            owner = try_lock(orphan / _OWNER)
            if owner is None:
                return None
            try:
                orphan.rename(path)
            except OSError:
                os.close(owner)
                return None
        except OSError:
            return None
        (path / FILES).mkdir(exist_ok=True)
        _note_host(path)
        return cls(path, owner)

    def begin(self, files: Sequence[RemoteFile]) -> None:
        """Read what the journal knows of these files, and drop everything else."""
        stamp = index.fingerprint(files)
        known = _read_journal(self.path / _JOURNAL, stamp)
        if known is None:
            shutil.rmtree(self.files, ignore_errors=True)
            self.files.mkdir(exist_ok=True)
            self._start_journal(stamp)
        else:
            self._journal = os.open(self.path / _JOURNAL, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW)
            # A torn last line of a killed owner must not swallow the next one.
            os.write(self._journal, b"\n")
        self.known = {file.path: self._still_there(file, (known or {}).get(file.path)) for file in files}

    def _still_there(self, file: RemoteFile, known: Known | None) -> Known:
        """Believe the journal only of a file that is there: a damaged one may have been taken away."""
        try:
            status = (self.files / names.check_path(file.path)).lstat()
        except OSError:
            return Known()
        return known if known is not None and status.st_size == file.size else Known()

    def begin_with(self, files: Sequence[RemoteFile], *, good: Mapping[str, str], folder: Path) -> None:
        """Move `folder` in as the files, of which those in `good` (path → SHA-256) are right."""
        (self.path / _JOURNAL).unlink(missing_ok=True)
        shutil.rmtree(self.files, ignore_errors=True)
        folder.rename(self.files)
        # Killed here, the next owner finds no journal and begins from nothing.
        self._start_journal(index.fingerprint(files))
        self.known = {file.path: Known() for file in files}
        for file in files:
            if file.path in good:
                self.known[file.path].ranges.add(0, file.size)
                self.known[file.path].sha256 = good[file.path]
                self.note_verified(file.path, file.size, good[file.path])

    def missing_bytes(self, files: Sequence[RemoteFile]) -> int:
        return sum(file.size - self.known[file.path].ranges.total() for file in files)

    def open(self, path: str, *, size: int, complete: bool) -> int:
        """Open a file at its full length, keeping what it holds; only for reading when it is complete."""
        descriptor = open_beneath(self.files, path, os.O_RDONLY if complete else os.O_RDWR | os.O_CREAT)
        try:
            if os.fstat(descriptor).st_size != size:
                os.ftruncate(descriptor, size)
        except OSError:
            os.close(descriptor)
            raise
        return descriptor

    def link(self, path: str, source: Path) -> bool:
        """Make `source` a file of this download without copying it. False where the file system cannot."""
        with _folder_beneath(self.files, path, make=True) as (folder, name):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=folder)
            try:
                os.link(source, name, dst_dir_fd=folder, follow_symlinks=False)
            except OSError:
                return False
        return True

    def restart(self, path: str) -> None:
        """Forget a file: the next `open` makes a new one, and writes to the old one reach nobody."""
        self.known[path] = Known()
        (self.files / names.check_path(path)).unlink(missing_ok=True)
        self._write({"drop": path})

    def note_etag(self, path: str, etag: str) -> None:
        self._write({"etag": etag, "file": path})

    def note_bytes(self, path: str, start: int, end: int) -> None:
        self._write({"file": path, "have": [start, end]})

    def note_verified(self, path: str, size: int, sha256: str) -> None:
        self._write({"file": path, "have": [0, size], "sha256": sha256})

    def _start_journal(self, stamp: str) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_NOFOLLOW
        self._journal = os.open(self.path / _JOURNAL, flags, 0o644)
        self._write({"stamp": stamp})

    def _write(self, record: dict[str, object]) -> None:
        if self._journal < 0:
            raise AssertionError("begin() comes first")
        os.write(self._journal, json.dumps(record, separators=(",", ":")).encode() + b"\n")

    def discard(self) -> None:
        """Remove everything and give the space back."""
        shutil.rmtree(self.path, ignore_errors=True)
        self.close()

    def close(self) -> None:
        """Let go. What is on disk stays for the next one, unless it was published. May be called twice."""
        if self._owner >= 0 and not self.files.exists():
            shutil.rmtree(self.path, ignore_errors=True)
        for descriptor in (self._journal, self._owner):
            if descriptor >= 0:
                os.close(descriptor)
        self._journal = self._owner = -1


def unfinished(paths: names.CachePaths) -> list[Path]:
    """Return the folders of all unfinished downloads."""
    return (
        [path for path in sorted(paths.partials.iterdir()) if path.is_dir()]
        if paths.partials.is_dir()
        else []
    )


def orphans(paths: names.CachePaths) -> list[Path]:
    """Return the unfinished downloads whose owner is gone."""
    return [path for path in unfinished(paths) if _is_orphan(path)]


def remove_orphan(folder: Path) -> bool:
    """Remove an unfinished download unless someone took it over meanwhile."""
    descriptor = try_lock(folder / _OWNER)
    if descriptor is None:
        return False
    shutil.rmtree(folder, ignore_errors=True)
    os.close(descriptor)
    return True


def _is_orphan(folder: Path) -> bool:
    try:
        descriptor = try_lock(folder / _OWNER)
        if descriptor is None:
            return False
        os.close(descriptor)
        host = (folder / "host").read_text() if (folder / "host").exists() else ""
        newest = max(
            (folder / part).stat().st_mtime for part in (_OWNER, _JOURNAL) if (folder / part).exists()
        )
    except (OSError, ValueError):
        return False
    # On this machine the kernel's word counts; another machine's lock may be one that protects nothing.
    return host in {"", _host()} or time.time() - newest > limits.WEIGHTS_ORPHAN_S


def _is_linked(path: Path, descriptor: int) -> bool:
    try:
        return path.stat().st_ino == os.fstat(descriptor).st_ino
    except FileNotFoundError:
        return False


def _host() -> str:
    return os.uname().nodename


def _note_host(path: Path) -> None:
    (path / "host").write_text(_host())


def _read_journal(path: Path, stamp: str) -> dict[str, Known] | None:
    """Return what is known per file, or None when the journal is of something else."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    except OSError:
        return None
    known: dict[str, Known] = {}
    stamped = False
    for line in lines:
        try:
            record = json.loads(line)
            stamped = stamped or record.get("stamp") == stamp
            if "drop" in record:
                known[record["drop"]] = Known()
            elif "file" in record:
                entry = known.setdefault(record["file"], Known())
                entry.etag = record.get("etag", entry.etag)
                entry.sha256 = record.get("sha256", entry.sha256)
                start, end = record.get("have", (0, 0))
                entry.ranges.add(int(start), int(end))
        except (ValueError, TypeError, AttributeError, KeyError):
            continue
    return known if stamped else None


def open_beneath(root: Path, path: str, flags: int) -> int:
    """Open `path` under `root` without following a link in any component, making folders when creating."""
    with _folder_beneath(root, path, make=bool(flags & os.O_CREAT)) as (folder, name):
        return os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644, dir_fd=folder)


@contextlib.contextmanager
def _folder_beneath(root: Path, path: str, *, make: bool) -> Iterator[tuple[int, str]]:
    """Hold the folder of `path` open, reached from `root` without following a link; and the file's own name."""
    *parents, name = names.check_path(path).split("/")
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in parents:
            if make:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(part, dir_fd=folder)
            inner = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
            os.close(folder)
            folder = inner
        yield folder, name
    finally:
        os.close(folder)
