"""Finished downloads on this machine's disk.

    <cache>/weights/<name>/<version>/...      complete, verified, read-only files and their receipt
    <cache>/weights/<name>@current            which version an unversioned name stood for last
    <cache>/partial/                          unfinished downloads (partial.py)
    <cache>/locks/                            who downloads, who uses
    <cache>/quarantine/                       damaged files, kept for a while

A version appears by one rename and leaves by one rename: whoever is killed in between leaves the old state
or the new one. Any process may use the same cache at the same time.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import stat
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from .. import limits
from ..errors import DiskFull, StoreRefused, WeightsMissing
from . import names
from .index import Receipt, ReceiptFile, RemoteFile
from .locks import try_lock
from .own_folders import cache_folder
from .partial import FILES, Partial, open_beneath, orphans, remove_orphan
from .transfer import size as in_words

_HASH_CHUNK = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Found:
    """A published folder, and which of its files are no longer what was published."""

    path: Path
    receipt: Receipt
    damaged: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Kept:
    """One version in the cache, as `list` and `gc` see it."""

    name: str
    version: str
    path: Path
    size_bytes: int
    used_s: float
    """Wall-clock time of its last use."""
    in_use: bool
    verified: bool


class Cache:
    """One cache folder. Threads and processes may share it."""

    def __init__(self, root: Path) -> None:
        self.paths = names.CachePaths(Path(os.path.abspath(root.expanduser())))

    @classmethod
    def default(cls) -> Cache:
        return cls(cache_folder())

    def find(self, name: str, version: str) -> Found | None:
        """Look a version up and compare every file's size and time; a file with a new time is hashed again."""
        path = self.paths.of_version(name, version)
        receipt = _read_receipt(path)
        if receipt is None or (receipt.name, receipt.version) != (name, version):
            return None
        damaged = tuple(entry.path for entry in receipt.files if not _unchanged(path, entry))
        return Found(path, receipt, damaged)

    def audit(self, name: str, version: str) -> Found | None:
        """As `find`, but hash every file."""
        found = self.find(name, version)
        if found is None:
            return None
        damaged = tuple(
            entry.path for entry in found.receipt.files if digest(found.path, entry.path) != entry.sha256
        )
        return Found(found.path, found.receipt, damaged)

    def publish(
        self, partial: Partial, name: str, version: str, files: Sequence[RemoteFile], *, registry: str
    ) -> Path:
        """Make a finished download appear, complete and read-only, or not at all."""
        _prune(partial.files, {file.path for file in files})
        entries = [_seal(partial.files, file) for file in files]
        receipt = Receipt(
            name=name,
            version=version,
            registry=registry,
            verified=not names.is_plain(version),
            total_bytes=sum(entry.size for entry in entries),
            files=tuple(entries),
        )
        _write_durably(partial.files / names.INDEX_FILE, receipt.to_bytes())
        _sync_folders(partial.files)
        final = self.paths.of_version(name, version)
        final.parent.mkdir(parents=True, exist_ok=True)
        if final.exists() and _read_receipt(final) is None:
            self._remove(final)
        try:
            partial.files.rename(final)
        except OSError as error:
            # Where locks protect nothing, someone else may have published the same files first.
            if error.errno not in {errno.ENOTEMPTY, errno.EEXIST} or self.find(name, version) is None:
                raise
        _sync_folder(final.parent)
        return final

    def reopen(self, found: Found, partial: Partial, files: Sequence[RemoteFile]) -> None:
        """Turn a damaged version back into an unfinished download that keeps its good files.

        The damaged ones go to quarantine.
        """
        receipt = found.receipt
        for path in found.damaged:
            self.quarantine(receipt.name, receipt.version, found.path, path)
        good = {entry.path: entry.sha256 for entry in receipt.files if entry.path not in found.damaged}
        partial.begin_with(files, good=good, folder=found.path)

    def quarantine(self, name: str, version: str, root: Path, path: str) -> None:
        """Move one damaged file away, where nothing loads it; the newest of a kind is kept."""
        damaged = root / names.check_path(path)
        for part in (*reversed(damaged.relative_to(root).parents[:-1]), Path(path)):
            if (root / part).is_symlink():
                # What is behind a link is someone else's.
                (root / part).unlink()
                return
        if damaged.is_dir():
            shutil.rmtree(damaged)
        elif damaged.exists():
            target = self.paths.quarantined(name, version, path)
            target.parent.mkdir(parents=True, exist_ok=True)
            damaged.rename(target)
            os.utime(target)

    def require_writable(self) -> None:
        """Make the folder. Raises StoreRefused where this user may not."""
        try:
            self.paths.root.mkdir(parents=True, exist_ok=True)
            writable = os.access(self.paths.root, os.W_OK | os.X_OK)
        except OSError:
            writable = False
        if not writable:
            raise StoreRefused(
                f"downloads are kept in {self.paths.root}, which user {os.getuid()} may not write.\n"
                "  Fix: name another folder with REACTOR_CACHE or --cache, or set HOME.",
                setting="REACTOR_CACHE",
            )

    def require_space(self, needed_bytes: int) -> None:
        """Raise DiskFull unless this many bytes and a margin are free. Makes room from rubbish first."""
        wanted = int(needed_bytes * (1 + limits.WEIGHTS_SPACE_MARGIN))
        if self.free_bytes() < wanted:
            self.clear_rubbish(older_than_s=0.0)
        free = self.free_bytes()
        if free < wanted:
            raise self.disk_full(wanted, free)

    def free_bytes(self) -> int:
        return shutil.disk_usage(self.paths.root).free

    def disk_full(self, needed_bytes: int, free_bytes: int) -> DiskFull:
        return DiskFull(
            f"disk full: {in_words(needed_bytes)} needed, {in_words(free_bytes)} free in {self.paths.root}.\n"
            "  Fix: free space there (`reactor weights gc`), or name another folder with REACTOR_CACHE or --cache.",
            needed_bytes=needed_bytes,
            free_bytes=free_bytes,
        )

    def remember(self, name: str, version: str) -> None:
        """Note what an unversioned name stands for, for starts without the store."""
        target = self.paths.current(name)
        if self.recall(name) != version:
            target.parent.mkdir(parents=True, exist_ok=True)
            _write_durably(target, f"{version}\n".encode())

    def recall(self, name: str) -> str | None:
        try:
            return names.check_version(self.paths.current(name).read_text(encoding="ascii").strip())
        except (OSError, ValueError, WeightsMissing):
            return None

    def hold(self, name: str, version: str) -> int | None:
        """Mark a version as in use until the returned descriptor is closed or this process ends."""
        path = self.paths.use(name, version)
        try:
            descriptor = try_lock(path, shared=True)
            os.utime(path)
        except OSError:
            # A read-only cache is one that nobody collects.
            return None
        return descriptor

    def kept(self) -> Iterator[Kept]:
        """Yield every complete version."""
        if not self.paths.published.is_dir():
            return
        for folder in sorted(self.paths.published.iterdir()):
            name = names.name_of(folder.name)
            if name is None or not folder.is_dir():
                continue
            for path in sorted(folder.iterdir()):
                receipt = _read_receipt(path)
                if receipt is not None and receipt.name == name and receipt.version == path.name:
                    yield self._kept(receipt, path)

    def _kept(self, receipt: Receipt, path: Path) -> Kept:
        use = self.paths.use(receipt.name, receipt.version)
        in_use = False
        try:
            descriptor = try_lock(use)
            in_use = descriptor is None
            if descriptor is not None:
                os.close(descriptor)
            used_s = use.stat().st_mtime
        except OSError:
            used_s = path.stat().st_mtime
        return Kept(
            receipt.name, receipt.version, path, receipt.total_bytes, used_s, in_use, receipt.verified
        )

    def remove(self, kept: Kept) -> bool:
        """Remove one version unless someone uses or downloads it. Tell whether it is gone."""
        descriptor = try_lock(self.paths.use(kept.name, kept.version))
        if descriptor is None:
            return False
        try:
            self._remove(kept.path)
            self.paths.use(kept.name, kept.version).unlink(missing_ok=True)
            if self.recall(kept.name) == kept.version:
                self.paths.current(kept.name).unlink(missing_ok=True)
        finally:
            os.close(descriptor)
        return True

    def rubbish(self, *, older_than_s: float) -> list[Path]:
        """Return what nobody can use: unfinished downloads without an owner, and damaged files."""
        before_s = time.time() - older_than_s
        damaged = sorted(self.paths.quarantine.iterdir()) if self.paths.quarantine.is_dir() else []
        drafts = self.paths.published.glob("*.tmp")
        return [
            path for path in [*orphans(self.paths), *damaged, *drafts] if path.lstat().st_mtime <= before_s
        ]

    def clear_rubbish(self, *, older_than_s: float = limits.WEIGHTS_QUARANTINE_S) -> list[Path]:
        """Remove rubbish and return what was removed."""
        removed = []
        for path in self.rubbish(older_than_s=older_than_s):
            if path.parent == self.paths.partials:
                gone = remove_orphan(path)
            else:
                path.unlink(missing_ok=True)
                gone = True
            if gone:
                removed.append(path)
        return removed

    def _remove(self, path: Path) -> None:
        # One rename takes the version away before its files go one by one.
        doomed = self.paths.partials / f"{path.parent.name}@{path.name}~{os.getpid() & 0xFFFFFFFF:08x}"
        doomed.mkdir(parents=True, exist_ok=True)
        path.rename(doomed / FILES)
        shutil.rmtree(doomed)


def due_for_collection(
    kept: Iterable[Kept], *, now_s: float, max_age_s: float | None, max_bytes: int | None
) -> list[Kept]:
    """Choose what to remove: what was not used for `max_age_s`, then the longest unused until `max_bytes` hold.

    Pure. What is in use is never chosen, but counts.
    """
    oldest_first = sorted(kept, key=lambda one: one.used_s)
    total = sum(one.size_bytes for one in oldest_first)
    chosen = []
    for one in oldest_first:
        too_old = max_age_s is not None and now_s - one.used_s > max_age_s
        too_much = max_bytes is not None and total > max_bytes
        if not one.in_use and (too_old or too_much):
            chosen.append(one)
            total -= one.size_bytes
    return chosen


def digest(root: Path, path: str) -> str | None:
    """Return the SHA-256 of one file, or None when it is not a plain file under `root`."""
    try:
        descriptor = open_beneath(root, path, os.O_RDONLY)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        sha = hashlib.sha256()
        buffer = memoryview(bytearray(_HASH_CHUNK))
        while count := file.readinto(buffer):
            sha.update(buffer[:count])
        return sha.hexdigest()


def _unchanged(root: Path, entry: ReceiptFile) -> bool:
    """Compare one file with its receipt: size and time, and the digest only when the time is another."""
    try:
        descriptor = open_beneath(root, entry.path, os.O_RDONLY)
    except OSError:
        return False
    try:
        status = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_size != entry.size:
        return False
    if status.st_mtime_ns == entry.mtime_ns:
        return True
    if digest(root, entry.path) != entry.sha256:
        return False
    # A copied cache has right files with new times; put back what the receipt says, so that it is asked once.
    with contextlib.suppress(OSError):
        os.utime(root / entry.path, ns=(status.st_atime_ns, entry.mtime_ns), follow_symlinks=False)
    return True


def _prune(root: Path, wanted: set[str]) -> None:
    """Remove what a killed owner left beside the files."""
    for folder, _, found in os.walk(root):
        for name in found:
            path = Path(folder, name)
            if path.relative_to(root).as_posix() not in wanted:
                path.unlink()


def _seal(root: Path, file: RemoteFile) -> ReceiptFile:
    """Make a finished file read-only and describe it."""
    if file.sha256 is None:
        raise AssertionError(f"{file.path} was not hashed")
    descriptor = open_beneath(root, file.path, os.O_RDONLY)
    try:
        status = os.fstat(descriptor)
        if stat.S_IMODE(status.st_mode) != 0o444:
            os.fchmod(descriptor, 0o444)
    finally:
        os.close(descriptor)
    return ReceiptFile(path=file.path, size=status.st_size, sha256=file.sha256, mtime_ns=status.st_mtime_ns)


def _read_receipt(path: Path) -> Receipt | None:
    try:
        descriptor = os.open(path / names.INDEX_FILE, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        return Receipt.parse(file.read(limits.WEIGHTS_INDEX_MAX_BYTES))


def _write_durably(path: Path, data: bytes) -> None:
    """Write a file that is either the old one or the new one, also after a crash."""
    draft = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    with draft.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def _sync_folders(root: Path) -> None:
    for folder, _, _ in os.walk(root):
        _sync_folder(Path(folder))


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
