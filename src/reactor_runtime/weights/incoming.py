"""One file while it arrives: bytes in any order, from any thread, and its digest as soon as it can be known.

The digest follows the unbroken beginning of the file. A chunk that comes right behind it is hashed from
memory; what came out of order is read back from the page cache when its turn is there. One thread hashes at a
time and nobody waits for it.

A file that has to be begun anew becomes another `Incoming` on a new inode, so that a thread which is still
writing to the old one reaches nobody.
"""

from __future__ import annotations

import errno
import hashlib
import os
import threading
from collections.abc import Callable

from .index import RemoteFile
from .partial import Known, Partial

_READ_BACK = 1024 * 1024


class Incoming:
    """One file of one download. `etag` and `whole` belong to the download's lock; the rest locks itself."""

    def __init__(self, remote: RemoteFile, key: str, known: Known, *, whole: bool, with_md5: bool) -> None:
        self.remote = remote
        self.key = key
        self.etag = known.etag or remote.etag
        self.whole = whole
        """The store ignores ranges: one request has to bring everything."""
        self.settled = False
        self._have = known.ranges
        self._have_bytes = known.ranges.total()
        self._lock = threading.Lock()
        self._descriptor = -1
        self._hashing = threading.Lock()
        self._hashed = 0
        self._sha = hashlib.sha256()
        self._md5 = hashlib.md5(usedforsecurity=False) if with_md5 else None

    @property
    def have_bytes(self) -> int:
        return self._have_bytes

    @property
    def complete(self) -> bool:
        return self._have_bytes == self.remote.size

    def missing(self, *, piece: int) -> list[tuple[int, int]]:
        with self._lock:
            return list(self._have.missing(self.remote.size, piece=piece))

    def resume_at(self, position: int) -> int:
        """Return the first byte from `position` on that is not there."""
        with self._lock:
            return self._have.contiguous_from(position)

    def open(self, partial: Partial) -> None:
        """Open the file on disk, once."""
        with self._lock:
            if self._descriptor < 0:
                # An empty file is complete before anyone made it.
                there = self.complete and self.remote.size > 0
                self._descriptor = partial.open(self.remote.path, size=self.remote.size, complete=there)

    def take(self) -> None:
        """Count the file as there: it was linked and not copied."""
        with self._lock:
            self._have.add(0, self.remote.size)
            self._have_bytes = self.remote.size

    def write(self, position: int, chunk: bytes | memoryview) -> None:
        """Put a chunk in its place, and hash it if its turn is there."""
        view, offset = memoryview(chunk), position
        while len(view):
            count = os.pwrite(self._descriptor, view, offset)
            view, offset = view[count:], offset + count
        with self._lock:
            self._have.add(position, offset)
            self._have_bytes = self._have.total()
        if not self._hashing.acquire(blocking=False):
            return
        try:
            self._catch_up(position, halted=lambda: False)
            if self._hashed == position:
                self._update(chunk)
        finally:
            self._hashing.release()

    def finish(self, *, halted: Callable[[], bool]) -> tuple[str, str | None] | None:
        """Return SHA-256 and MD5 of the complete file, to the first thread that asks; None to the others.

        The file is on disk for good then. Also None when `halted` says that nobody wants it any more.
        """
        with self._hashing:
            if self.settled:
                return None
            self._catch_up(self.remote.size, halted=halted)
            if self._hashed < self.remote.size:
                return None
            self.settled = True
            os.fsync(self._descriptor)
            return self._sha.hexdigest(), self._md5.hexdigest() if self._md5 else None

    def close(self) -> None:
        """Close the file. Only when no thread writes to it any more."""
        with self._lock:
            if self._descriptor >= 0:
                os.close(self._descriptor)
                self._descriptor = -1

    def _catch_up(self, until: int, *, halted: Callable[[], bool]) -> None:
        """Hash from disk what arrived out of order."""
        if self._hashed >= until:
            return
        available = min(until, self.resume_at(self._hashed))
        buffer = memoryview(bytearray(_READ_BACK))
        while self._hashed < available and not halted():
            count = os.preadv(self._descriptor, [buffer[: available - self._hashed]], self._hashed)
            if count == 0:
                raise OSError(errno.EIO, "a file became shorter while it was downloaded")
            self._update(buffer[:count])

    def _update(self, chunk: bytes | memoryview) -> None:
        self._sha.update(chunk)
        if self._md5 is not None:
            self._md5.update(chunk)
        self._hashed += len(chunk)
