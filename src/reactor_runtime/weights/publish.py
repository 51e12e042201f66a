"""Publish a folder as one version: hash and upload in one pass, in parallel, the index last.

    claim ──▶ files (hashed while they are read) ──▶ sizes compared ──▶ index ──▶ latest pointer

The claim keeps two publishers from mixing their files; one that died can be gone on with from the same
folder, or taken over. The index is created, never replaced: a version that has one does not change.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import stat
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from .. import limits
from ..errors import StoreRefused, StoreUnreachable, WeightsCorrupt, WeightsMissing, WeightsPublished
from . import names
from .catalog import published_versions
from .fetch import Stopped
from .impostors import impostor
from .index import FileEntry, Index, Latest, canonical
from .patience import Patience
from .store import Store
from .store_errors import Exists, Missing, Unavailable
from .transfer import Rate, Transfer, TransferSink, ignore

_CHUNK = 1024 * 1024
_UPLOADS = 4
_REPORT_S = 0.1
_TRIES = 4


@dataclass(frozen=True, slots=True)
class LocalFile:
    """One file to publish, as it was when the folder was read."""

    path: str
    source: Path
    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class Published:
    """What a push did. `index` is what the store has now."""

    index: Index
    latest: str


def folder_files(folder: Path) -> tuple[LocalFile, ...]:
    """Return the files of a folder that can be published; hidden ones are left out, links to files followed.

    Raises WeightsMissing naming the file that cannot be.
    """
    if not folder.is_dir():
        raise WeightsMissing(
            f"{folder} is not a folder.\n  Fix: name the folder that holds the weights' files."
        )
    files = []
    for parent, folders, found in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in folders:
            if Path(parent, name).is_symlink():
                raise WeightsMissing(
                    f"{Path(parent, name)} is a link to a folder.\n  Fix: put the folder itself there."
                )
        for name in sorted(found):
            source = Path(parent, name)
            status = source.stat() if source.exists() else None
            if name.startswith("."):
                continue
            if status is None or not stat.S_ISREG(status.st_mode):
                raise WeightsMissing(
                    f"{source} is not a file that can be read.\n  Fix: remove or replace it."
                )
            if (problem := impostor(source)) is not None:
                raise WeightsMissing(problem)
            path = source.relative_to(folder).as_posix()
            files.append(LocalFile(path, source, status.st_size, status.st_mtime_ns))
    names.check_paths(file.path for file in files)
    if not files:
        raise WeightsMissing(f"{folder} has no files to publish.")
    if len(files) > limits.WEIGHTS_FILES_MAX:
        raise WeightsMissing(
            f"{folder} has more than {limits.WEIGHTS_FILES_MAX} files.\n  Fix: pack the small ones."
        )
    return tuple(files)


def push(
    store: Store,
    reference: str,
    folder: Path,
    *,
    take_over: bool = False,
    report: TransferSink = ignore,
    stop: threading.Event | None = None,
) -> Published:
    """Publish a folder as "name@version", or as the next version when none is named.

    Raises WeightsPublished for a version that is there or claimed, WeightsMissing for a folder that cannot be
    published, StoreRefused, StoreUnreachable, Stopped.
    """
    ref = names.parse(reference)
    files = folder_files(folder)
    try:
        versions = published_versions(store, ref.name)
        version = ref.version or _next(versions)
        if names.is_plain(version):
            raise WeightsMissing(
                f"{version!r} is kept for folders without an index.\n  Fix: choose a version like 1.0.0."
            )
        spelled = names.same_version(version, versions)
        if spelled is not None:
            # A publisher that died between the index and the pointer left this to do.
            _point(store, ref.name, [*versions])
            raise WeightsPublished(
                f"{ref.name}@{spelled} is published already, and versions never change.\n"
                f"  Fix: publish the new files as another version, for example {ref.name}@{_next(versions)}."
            )
        _claim(store, ref.name, version, files, take_over=take_over)
        entries = _Upload(store, ref.name, version, files, report, stop or threading.Event()).run()
        index = Index.of(ref.name, version, entries, created=datetime.now(UTC).isoformat(timespec="seconds"))
        _compare(store, index)
        _create_index(store, index)
        latest = _point(store, ref.name, [*versions, version])
    except Unavailable as error:
        raise StoreUnreachable(
            f"{store.address}: {error}.\n  Fix: push again; it goes on with the same folder."
        ) from None
    return Published(index, latest)


def _next(versions: list[str]) -> str:
    """Return the version after the newest: 1.0.0, then its last number counted up."""
    newest = names.newest(versions)
    if newest is None:
        return "1.0.0"
    return names.following(newest)


def _claim(store: Store, name: str, version: str, files: tuple[LocalFile, ...], *, take_over: bool) -> None:
    """Take the version for this folder's content, so that two publishers cannot mix their files."""
    listing = json.dumps([(file.path, file.size, file.mtime_ns) for file in files])
    mine = hashlib.sha256(listing.encode()).hexdigest()
    key = names.claim_key(name, version)
    claim = json.dumps({"content": mine, "since": datetime.now(UTC).isoformat(timespec="seconds")}).encode()
    try:
        store.create(key, claim)
        return
    except Exists:
        pass
    data, _ = store.read(key)
    try:
        other = json.loads(data)
        content, since = str(other["content"]), str(other["since"])[:40]
    except (ValueError, KeyError, TypeError):
        content, since = "", "an unknown time"
    if content != mine and not take_over:
        raise WeightsPublished(
            f"someone is publishing other files as {name}@{version} since {since}.\n"
            "  Fix: choose another version; or, if that push has died, push again with --take-over."
        )
    store.replace(key, claim)


class _Upload:
    """The files of one push on their way. Owns its threads; `run` is called once."""

    def __init__(
        self,
        store: Store,
        name: str,
        version: str,
        files: tuple[LocalFile, ...],
        report: TransferSink,
        stop: threading.Event,
    ) -> None:
        self._store = store
        self._name = name
        self._version = version
        self._report = report
        self._stop = stop
        self._total = sum(file.size for file in files)
        self._lock = threading.Condition()
        self._waiting = deque(sorted(files, key=lambda file: -file.size))
        self._running = min(_UPLOADS, len(files))
        self._entries: list[FileEntry] = []
        self._sent = 0
        self._error: BaseException | None = None
        self._halt = threading.Event()

    def run(self) -> list[FileEntry]:
        threads = [
            threading.Thread(target=self._work, name=f"weights-up-{i}", daemon=True)
            for i in range(self._running)
        ]
        for thread in threads:
            thread.start()
        try:
            self._watch()
        finally:
            self._halt.set()
            for thread in threads:
                thread.join()
        return self._entries

    def _watch(self) -> None:
        rate = Rate()
        over = False
        while not over:
            with self._lock:
                over = self._running == 0 or self._error is not None
                if not over:
                    self._lock.wait(_REPORT_S)
                sent = self._sent
            per_s = rate.mark(time.monotonic(), sent)
            left_s = (self._total - sent) / per_s if per_s else None
            self._report(Transfer(self._name, "uploading", sent, self._total, per_s, left_s))
            if self._stop.is_set():
                raise Stopped
        if self._error is not None:
            raise self._error

    def _work(self) -> None:
        try:
            while True:
                with self._lock:
                    if self._error is not None or self._halt.is_set() or not self._waiting:
                        break
                    file = self._waiting.popleft()
                entry = self._send(file)
                with self._lock:
                    self._entries.append(entry)
        except BaseException as error:  # raised again on the caller's thread
            with self._lock:
                self._error = self._error or error
        finally:
            with self._lock:
                self._running -= 1
                self._lock.notify_all()

    def _send(self, file: LocalFile) -> FileEntry:
        key = names.file_key(self._name, self._version, file.path)
        patience, failures = Patience(), 0
        while True:
            reading = _Reading(file, self._count, self._halt)
            try:
                self._store.upload(key, reading, size=file.size)
            except (Unavailable, StoreRefused) as error:
                if self._halt.is_set():
                    raise Stopped from None
                self._count(-reading.size)
                failures += 1
                if isinstance(error, StoreRefused) or failures >= _TRIES:
                    raise
                self._halt.wait(patience.pause_s(failures, random.random))
                continue
            status = file.source.stat()
            if (status.st_size, status.st_mtime_ns) != (
                file.size,
                file.mtime_ns,
            ) or reading.size != file.size:
                raise WeightsMissing(
                    f"{file.source} changed while it was published.\n  Fix: push again when it is still."
                )
            return FileEntry(path=file.path, size=file.size, sha256=reading.sha.hexdigest())

    def _count(self, size_bytes: int) -> None:
        with self._lock:
            self._sent += size_bytes


class _Reading:
    """A file's bytes on their way to the store, hashed and counted as they are read. For one upload."""

    def __init__(self, file: LocalFile, count: Callable[[int], None], halt: threading.Event) -> None:
        self._file = file
        self._count = count
        self._halt = halt
        self.sha = hashlib.sha256()
        self.size = 0

    def __iter__(self) -> Iterator[bytes]:
        with self._file.source.open("rb", buffering=0) as source:
            while chunk := source.read(_CHUNK):
                if self._halt.is_set():
                    raise Stopped
                self.sha.update(chunk)
                self.size += len(chunk)
                self._count(len(chunk))
                yield chunk


def _compare(store: Store, index: Index) -> None:
    """Make sure that the store has what the index will say."""
    prefix = names.version_prefix(index.name, index.version) + "/"
    there = {entry.key.removeprefix(prefix): entry.size for entry in store.under(prefix.rstrip("/"))}
    for file in index.files:
        if there.get(file.path) != file.size:
            raise WeightsCorrupt(
                f"{file.path!r} did not arrive in {store.address} as it was sent.\n  Fix: push again.",
                file=file.path,
            )


def _create_index(store: Store, index: Index) -> None:
    try:
        store.create(names.index_key(index.name, index.version), index.to_bytes())
    except Exists:
        raise WeightsPublished(
            f"{index.name}@{index.version} was published by someone else meanwhile.\n  Fix: choose another version."
        ) from None


def _point(store: Store, name: str, versions: list[str]) -> str:
    """Let the pointer name the newest version. Two publishers at once end at the newer of both."""
    while True:
        try:
            data, _ = store.read(names.latest_key(name))
            before = Latest.parse(data)
        except Missing:
            before = None
        newest = names.newest([*versions, *([before] if before else [])]) or versions[-1]
        if newest == before:
            return newest
        store.replace(names.latest_key(name), canonical(Latest(version=newest)))
        versions = [*versions, newest, *published_versions(store, name)]
