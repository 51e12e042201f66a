"""The server's end of the pipe to the model process: never blocks, whatever the other end does.

Reading and writing happen on the host's event loop; `send` may be called from any thread and writes at
once when it can. What the socket does not take waits here, bounded by what the callers may send: the
commands of a full mailbox, the uploads of a session, a release per frame in flight.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from typing import Any, Final

from .records import TO_SERVER, RecordError, RecordReader, ToModel, encode

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
        self._reader = RecordReader(TO_SERVER)
        self._lock = threading.Lock()
        self._unsent = bytearray()
        self._closed = False
        self._loop.add_reader(sock, self._read)

    def send(self, record: ToModel) -> None:
        """Send a record, any thread. What is sent to a process that is gone is lost."""
        data = encode(record)
        with self._lock:
            if self._closed:
                return
            if not self._unsent:
                data = data[self._write(data) :]
                if not data:
                    return
                try:
                    self._loop.call_soon_threadsafe(self._await_room)
                except RuntimeError:  # the loop is closed
                    return
            self._unsent += data

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

    def _write(self, data: bytes | bytearray) -> int:
        try:
            return self._sock.send(data)
        except BlockingIOError:
            return 0
        except OSError:  # the process is gone, which its exit tells better
            return len(data)

    def _await_room(self) -> None:
        with self._lock:
            if not self._closed and self._unsent:
                self._loop.add_writer(self._sock, self._flush)

    def _flush(self) -> None:
        with self._lock:
            if self._closed:
                return
            del self._unsent[: self._write(self._unsent)]
            if not self._unsent:
                self._loop.remove_writer(self._sock)

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
                self._on_record(record)
                if self._closed:
                    return False
        except RecordError as error:
            self._loop.remove_reader(self._sock)
            self._on_garbage(error)
            return False
        return True
