"""Download the files of one version: in parallel, in pieces, resumable, verified while they stream.

       files ──▶ pieces ──▶ threads ──▶ incoming.py: file at its offset, SHA-256 as soon as it can be known
                              ▲  │ cut: go on at the same byte
                              └──┘ changed, or no ranges: that file anew    wrong digest: once anew, then WeightsCorrupt

One download lives for one call of `fetch`. It owns its threads and descriptors; the calling thread waits,
reports progress and notices the stop. A thread stuck in a silent request ends with the request's own limit.
"""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from .. import limits
from ..errors import StoreUnreachable, WeightsCorrupt
from .incoming import Incoming
from .index import RemoteFile, md5_of_etag
from .partial import Partial
from .patience import Patience, Trickle
from .store import Body, Listed, Store
from .store_errors import Changed, Missing, RangeIgnored, Unavailable

_JOURNAL_BYTES = 256 * 1024
#: How often one file may be begun anew because the object changes, or a request without ranges was cut.
_RESTARTS = 5
_REPORT_S = 0.1
_JOIN_S = 1.0


class Stopped(Exception):
    """The caller's stop event was set. What arrived is kept."""


@dataclass(frozen=True, slots=True)
class Status:
    """What the caller is told while it waits. `trouble`: why nothing arrives just now, or ""."""

    done_bytes: int
    received_bytes: int
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class Order:
    """What to download, and whom to tell. `damaged(path)` takes a file with a wrong digest away."""

    store: Store
    files: Sequence[RemoteFile]
    partial: Partial
    key_of: Callable[[str], str]
    report: Callable[[Status], None]
    damaged: Callable[[str], None]
    stop: threading.Event
    patience: Patience
    connections: int = limits.WEIGHTS_CONNECTIONS


@dataclass(frozen=True, slots=True)
class _Piece:
    file: Incoming
    start: int
    end: int


class _Superseded(Exception):
    """The file that a piece belongs to was begun anew."""


def fetch(order: Order) -> tuple[RemoteFile, ...]:
    """Bring every file into `order.partial`; return them with their SHA-256 and the size and ETag they had.

    Raises WeightsCorrupt, StoreRefused, StoreUnreachable, OSError of the disk, Stopped; what arrived stays.
    """
    return _Download(order).run()


class _Download:
    def __init__(self, order: Order) -> None:
        self._order = order
        self._store = order.store
        self._partial = order.partial
        # Guards everything below and the journal. Never held while the network or a digest is at work.
        self._lock = threading.Condition()
        self._pieces: deque[_Piece] = deque()
        self._files: dict[str, Incoming] = {}
        self._old: list[Incoming] = []
        self._results: dict[str, RemoteFile] = {}
        self._restarts: dict[str, int] = {}
        self._wrong: dict[str, str] = {}
        self._etag_is_md5 = True
        self._received = 0
        self._progress_s = time.monotonic()
        self._trouble = ""
        self._error: BaseException | None = None
        self._running = 0
        self._halt = threading.Event()

    def run(self) -> tuple[RemoteFile, ...]:
        # Large files first: the last seconds then have many small ones to share.
        for remote in sorted(self._order.files, key=lambda file: -file.size):
            with self._lock:
                self._begin(remote, whole=False)
        threads = [
            threading.Thread(target=self._work, name=f"weights-{i}", daemon=True)
            for i in range(min(self._order.connections, len(self._pieces)))
        ]
        self._running = len(threads)
        for thread in threads:
            thread.start()
        try:
            self._watch()
        finally:
            self._halt.set()
            with self._lock:
                self._lock.notify_all()
            for thread in threads:
                thread.join(_JOIN_S)
            self._close_when_over()
        return tuple(self._results[path] for path in sorted(self._results))

    def _watch(self) -> None:
        """Report until everything is there. Raises what a thread raised, and Stopped."""
        over = False
        while not over:
            with self._lock:
                over = self._error is not None or len(self._results) == len(self._files)
                if not over:
                    self._lock.wait(_REPORT_S)
                done = sum(file.have_bytes for file in self._files.values())
                status = Status(done, self._received, self._trouble)
            self._order.report(status)
            if self._order.stop.is_set():
                raise Stopped
        if self._error is not None:
            raise self._error

    # One file -----------------------------------------------------------------------------------

    def _begin(self, remote: RemoteFile, *, whole: bool) -> None:
        """Queue what is missing of a file. Called with the lock."""
        known = self._partial.known[remote.path]
        with_md5 = remote.sha256 is None and self._etag_is_md5 and md5_of_etag(remote.etag) is not None
        file = Incoming(remote, self._order.key_of(remote.path), known, whole=whole, with_md5=with_md5)
        self._files[remote.path] = file
        if known.sha256 is not None and file.complete:
            file.settled = True
            self._results[remote.path] = replace(remote, sha256=known.sha256)
        elif file.complete or self._linked(file):
            self._pieces.append(_Piece(file, remote.size, remote.size))
        else:
            piece = remote.size if whole else limits.WEIGHTS_PIECE_BYTES
            self._pieces.extend(_Piece(file, start, end) for start, end in file.missing(piece=piece))
        self._lock.notify_all()

    def _linked(self, file: Incoming) -> bool:
        """Take a file of a folder on the same disk as it is, if nobody can write to it. Called with the lock."""
        source = self._store.read_only_file(file.key) if file.have_bytes == 0 else None
        if source is None or source.stat().st_size != file.remote.size:
            return False
        if not self._partial.link(file.remote.path, source):
            return False
        file.take()
        self._received += file.remote.size
        return True

    def _begin_anew(self, file: Incoming, *, whole: bool, remote: RemoteFile | None = None) -> None:
        """Forget what arrived of a file and queue it again, once for all who noticed."""
        path = file.remote.path
        with self._lock:
            if self._files[path] is not file:
                return
            self._restarts[path] = self._restarts.get(path, 0) + 1
            if self._restarts[path] > _RESTARTS:
                raise StoreUnreachable(
                    f"{path!r} could not be fetched in one go in {_RESTARTS} tries: it changes all the time, "
                    f"or {self._store.address} sends it without ranges and the connection is cut."
                )
            self._old.append(file)
            self._partial.restart(path)
            self._begin(remote or file.remote, whole=whole)

    def _changed(self, file: Incoming) -> None:
        """Begin a file anew because the store has another object now."""
        now = self._patiently(lambda: self._store.head(file.key))
        remote = file.remote
        if remote.sha256 is None:
            # Nobody vouches for a plain folder's file: what is there now is what it is.
            remote = remote.now(size=now.size, etag=now.etag)
        elif now.size != remote.size:
            raise WeightsCorrupt(
                f"{remote.path!r} has {now.size} bytes in {self._store.address}, its index says {remote.size}.\n"
                "  Fix: publish these weights again, as a new version.",
                file=remote.path,
                expected=remote.sha256,
            )
        self._begin_anew(file, whole=file.whole, remote=remote)

    # The threads --------------------------------------------------------------------------------

    def _work(self) -> None:
        try:
            while (piece := self._next()) is not None:
                with suppress(_Superseded):
                    self._bring(piece)
        except Stopped:
            return
        except BaseException as error:  # raised again on the caller's thread
            with self._lock:
                self._error = self._error or error
                self._lock.notify_all()
        finally:
            with self._lock:
                self._running -= 1
            self._close_when_over()

    def _close_when_over(self) -> None:
        """Close what is still open once no thread can write to it: one may be stuck in a silent request."""
        with self._lock:
            if self._halt.is_set() and self._running == 0:
                for file in [*self._files.values(), *self._old]:
                    file.close()

    def _next(self) -> _Piece | None:
        with self._lock:
            while not self._halt.is_set() and self._error is None:
                if self._pieces:
                    return self._pieces.popleft()
                self._lock.wait()
            return None

    def _bring(self, piece: _Piece) -> None:
        """Fetch one piece, however often it is cut, and verify its file if it was the last."""
        file, position, failures = piece.file, piece.start, 0
        file.open(self._partial)
        while position < piece.end:
            try:
                for arrived in self._stream(piece, position):
                    position, failures = arrived, 0
            except Unavailable as error:
                failures += 1
                self._pause(failures, error)
                if file.whole and position > piece.start:
                    return self._begin_anew(file, whole=True)
                position = min(piece.end, file.resume_at(position))
            except RangeIgnored:
                return self._begin_anew(file, whole=True)
            except Changed:
                return self._changed(file)
            except Missing:
                raise WeightsCorrupt(
                    f"{file.remote.path!r} is listed but not in {self._store.address}.\n"
                    "  Fix: publish these weights again, as a new version.",
                    file=file.remote.path,
                ) from None
        if file.complete:
            self._verify(file)
        return None

    def _stream(self, piece: _Piece, position: int) -> Iterator[int]:
        """Write what one request brings, and yield how far it came."""
        file = piece.file
        everything = file.whole or (position == 0 and piece.end == file.remote.size)
        body = self._store.open(
            file.key, start=position, end=None if everything else piece.end, etag=file.etag
        )
        self._check(file, body)
        trickle = Trickle(self._order.patience, time.monotonic())
        journaled = position
        try:
            for chunk in body.chunks:
                self._go_on(file)
                if position + len(chunk) > piece.end:
                    raise Changed(file.key)
                file.write(position, chunk)
                position += len(chunk)
                now_s = self._arrived(len(chunk))
                if position - journaled >= _JOURNAL_BYTES:
                    self._note(file, journaled, position)
                    journaled = position
                yield position
                if position < piece.end and trickle.too_slow(len(chunk), now_s):
                    raise Unavailable("it sends almost nothing")
        finally:
            self._note(file, journaled, position)
        if position < piece.end:
            raise Unavailable("the connection was cut")

    def _check(self, file: Incoming, body: Body) -> None:
        """Make sure that every request of a file is answered from the same object."""
        self._go_on(file)
        if body.size != file.remote.size:
            raise Changed(file.key)
        with self._lock:
            if file.etag is None and body.etag is not None:
                file.etag = body.etag
                self._partial.note_etag(file.remote.path, body.etag)
            elif body.etag is not None and body.etag != file.etag:
                raise Changed(file.key)

    def _go_on(self, file: Incoming) -> None:
        if self._files[file.remote.path] is not file:
            raise _Superseded
        if self._halt.is_set():
            raise Stopped

    def _arrived(self, size_bytes: int) -> float:
        now_s = time.monotonic()
        with self._lock:
            self._received += size_bytes
            self._progress_s, self._trouble = now_s, ""
        return now_s

    def _note(self, file: Incoming, start: int, end: int) -> None:
        with self._lock:
            if start < end and self._files[file.remote.path] is file and not file.whole:
                self._partial.note_bytes(file.remote.path, start, end)

    def _pause(self, failures: int, error: Unavailable) -> None:
        """Wait before the next try. Raises StoreUnreachable when nothing at all has come for too long."""
        patience, now_s = self._order.patience, time.monotonic()
        with self._lock:
            if patience.exhausted(last_progress_s=self._progress_s, now_s=now_s):
                raise StoreUnreachable(
                    f"{self._store.address}: {error}; nothing arrived for {now_s - self._progress_s:.0f} s.\n"
                    "  Fix: try again when it answers; what was downloaded is kept."
                )
            self._trouble = str(error)
        if self._halt.wait(patience.pause_s(failures, random.random)):
            raise Stopped

    def _patiently(self, request: Callable[[], Listed]) -> Listed:
        failures = 0
        while True:
            try:
                return request()
            except Unavailable as error:
                failures += 1
                self._pause(failures, error)

    # Digests ------------------------------------------------------------------------------------

    def _verify(self, file: Incoming) -> None:
        digests = file.finish(halted=self._halt.is_set)
        if digests is None:
            return None
        sha256, md5 = digests
        path = file.remote.path
        if not self._is_right(file, sha256, md5):
            return self._refetch(file, sha256)
        file.close()
        with self._lock:
            self._partial.note_verified(path, file.remote.size, sha256)
            self._results[path] = replace(file.remote, sha256=sha256)
            self._lock.notify_all()
        return None

    def _is_right(self, file: Incoming, sha256: str, md5: str | None) -> bool:
        if file.remote.sha256 is not None:
            return sha256 == file.remote.sha256
        if md5 is None or md5 == md5_of_etag(file.remote.etag):
            return True
        with self._lock:
            # Twice the same bytes, and not the ETag's: then this store's ETags are no digests (KMS keys).
            if self._wrong.get(file.remote.path) == sha256:
                self._etag_is_md5 = False
            return not self._etag_is_md5

    def _refetch(self, file: Incoming, actual: str) -> None:
        path = file.remote.path
        expected = file.remote.sha256 or md5_of_etag(file.remote.etag) or ""
        with self._lock:
            again = path in self._wrong
            self._wrong[path] = actual
            self._order.damaged(path)
            self._partial.restart(path)
        if again:
            raise WeightsCorrupt(
                f"{path!r} from {self._store.address} is damaged, also after it was fetched again:\n"
                f"  expected {expected}\n  got      {actual}\n"
                "  Fix: publish these weights again, as a new version.",
                file=path,
                expected=expected,
                actual=actual,
            )
        self._begin_anew(file, whole=file.whole)
