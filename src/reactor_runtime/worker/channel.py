"""The server's end of the pipe to the model process: never blocks, whatever the other end does.

Reading and writing happen on the host's event loop; `send` may be called from any thread and writes at
once when it can. What the socket does not take waits here, uncopied and bounded: `offer` refuses what would
be more than `limits.MODEL_PIPE_MAX_BYTES`, of `send_latest` only the newest waits, and `send` is for what its
callers count: a release per frame in flight, a picture per span, the start and the stop of a session.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from .. import limits
from .records import TO_SERVER, RecordError, RecordReader, ToModel, parts_of

#: One read. A turn of the loop handles no more than this before others have theirs.
READ_BYTES: Final = 64 * 1024


class Channel:
    """Records out and in. Close it once; the socket is its own."""

    def __init__(
        self,
        sock: socket.socket,
        *,
        on_record: Callable[[Any], None],
        on_garbage: Callable[[RecordError], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._sock = sock
        self._sock.setblocking(False)
        self._on_record = on_record
        self._on_garbage = on_garbage
        self._reader = RecordReader(TO_SERVER, body_max_bytes=0)
        self._lock = threading.Lock()
        self._unsent: deque[memoryview] = deque()
        self._latest: dict[str, ToModel] = {}
        self._unsent_bytes = 0
        self._closed = False
        #: How many records have arrived whole.
        self.records = 0
        self._loop.add_reader(sock, self._read)

    @property
    def unfinished(self) -> bool:
        """A record has begun to arrive, and its end has not."""
        return self._reader.unfinished

    @property
    def unsent_bytes(self) -> int:
        """What waits here because the process does not read."""
        return self._unsent_bytes

    def send(self, record: ToModel) -> None:
        """Send a record, any thread. What is sent to a process that is gone is lost."""
        parts = parts_of(record)
        with self._lock:
            self._queue(parts)

    def offer(self, *records: ToModel) -> bool:
        """Send these together, or nothing and return False when too much waits already.

        Raises RecordError for what no record can hold.
        """
        parts = [part for record in records for part in parts_of(record)]
        with self._lock:
            if self._unsent_bytes + sum(map(len, parts)) > limits.MODEL_PIPE_MAX_BYTES:
                return False
            self._queue(parts)
            return True

    def send_latest(self, key: str, record: ToModel) -> None:
        """Send a record that makes the last one of this key worthless: only the newest waits for room."""
        with self._lock:
            if self._unsent:
                self._latest[key] = record
            else:
                self._queue(parts_of(record))

    def drain(self) -> None:
        """Read what the process sent before it ended."""
        while not self._closed and self._read():
            pass

    def close(self) -> None:
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._loop.remove_reader(self._sock)
            self._loop.remove_writer(self._sock)
            self._sock.close()

    def _queue(self, parts: list[bytes]) -> None:
        """With the lock held."""
        if self._closed:
            return
        began_empty = not self._unsent
        self._unsent.extend(memoryview(part) for part in parts)
        self._unsent_bytes += sum(map(len, parts))
        if not began_empty:
            return
        self._write()
        if self._unsent:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._await_room)

    def _write(self) -> None:
        """Write what the socket takes now. With the lock held."""
        while self._unsent:
            part = self._unsent[0]
            try:
                size = self._sock.send(part)
            except BlockingIOError:
                return
            except OSError:  # the process is gone, which its exit tells better
                self._unsent.clear()
                self._unsent_bytes = 0
                return
            self._unsent_bytes -= size
            if size < len(part):
                self._unsent[0] = part[size:]
                return
            self._unsent.popleft()

    def _await_room(self) -> None:
        with self._lock:
            if not self._closed and self._unsent:
                self._loop.add_writer(self._sock, self._flush)

    def _flush(self) -> None:
        with self._lock:
            if self._closed:
                return
            self._write()
            if self._unsent:
                return
            self._loop.remove_writer(self._sock)
            latest, self._latest = self._latest, {}
            for record in latest.values():
                self._queue(parts_of(record))

    def _read(self) -> bool:
        """Handle one read; False when there is nothing more."""
        try:
            data = self._sock.recv(READ_BYTES)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            self._loop.remove_reader(self._sock)
            return False
        try:
            for record in self._reader.feed(data):
                self.records += 1
                self._on_record(record)
                if self._closed:
                    return False
        except RecordError as error:
            self._loop.remove_reader(self._sock)
            self._on_garbage(error)
            return False
        return True
