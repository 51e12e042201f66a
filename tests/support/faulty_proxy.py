"""A TCP proxy that spoils what a store sends: cuts, stalls, flips bits, refuses, answers 503, forgets ranges.

It runs its own event loop on one thread. `faults` is asked once per connection and may be replaced at any
time; it counts what it forwarded, so that tests can say how much was downloaded twice.
"""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True)
class Fault:
    """What happens to one connection. Counts are bytes from the store, headers included.

    only: applies to requests whose first line matches; other requests on the connection pass.
    """

    cut_after: int | None = None
    stall_after: int | None = None
    flip_at: int | None = None
    trickle: bool = False
    refuse: bool = False
    status: int | None = None
    body: bytes = b""
    ignore_range: bool = False
    only: str = ""


CLEAN = Fault()


class FaultyProxy:
    """Forwards to 127.0.0.1:`target`. Use as a context manager; `port` is where it listens."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="faulty-proxy", daemon=True)
        self.port = 0
        self.faults: Callable[[int], Fault] = lambda number: CLEAN
        self.connections = 0
        self.requests: list[str] = []
        self.forwarded = 0
        #: How many bits `flip_at` may still flip.
        self.flips_left = 1_000_000
        self._stalled = asyncio.Event()
        self._sides: list[asyncio.StreamWriter] = []

    def always(self, fault: Fault) -> None:
        self.faults = lambda number: fault

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)
        return self

    def __exit__(self, *exc_info: object) -> None:
        try:
            asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(10)
            self._loop.close()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._connection, "127.0.0.1", 0, limit=2**16)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        self._server.close()
        mine = asyncio.current_task()
        tasks = [task for task in asyncio.all_tasks() if task is not mine]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        # A closed side whose peer never reads would wait for that for ever, past the end of this loop.
        # (One that has nothing left to write ends by itself; aborting it when it has ended is an error of asyncio's.)
        for side in self._sides:
            if side.transport.get_write_buffer_size():
                side.transport.abort()
        for _ in range(3):
            await asyncio.sleep(0)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._sides.append(writer)
        fault = self.faults(self.connections)
        upstream: asyncio.StreamWriter | None = None
        tasks: list[asyncio.Task[None]] = []
        try:
            if fault.refuse:
                return
            if fault.status is not None:
                await self._answer(fault, reader, writer)
                return
            down, upstream = await asyncio.open_connection("127.0.0.1", self._target)
            self._sides.append(upstream)
            spoiling = asyncio.Event()
            if not fault.only:
                spoiling.set()
            tasks = [
                asyncio.create_task(self._up(fault, spoiling, reader, upstream)),
                asyncio.create_task(self._down(fault, spoiling, down, writer)),
            ]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        except (OSError, asyncio.CancelledError):
            # Cancelled only by `_close`; the stream's own callback would log it as an error.
            return
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for side in (writer, upstream):
                if side is not None:
                    side.close()

    async def _answer(self, fault: Fault, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await self._head(reader):
            self.requests.append(head.split(b"\r\n", 1)[0].decode())
            length = len(fault.body)
            text = f"HTTP/1.1 {fault.status} Fault\r\nContent-Type: application/xml\r\nContent-Length: {length}\r\n\r\n"
            writer.write(text.encode() + fault.body)
            await writer.drain()

    async def _up(
        self,
        fault: Fault,
        spoiling: asyncio.Event,
        reader: asyncio.StreamReader,
        upstream: asyncio.StreamWriter,
    ) -> None:
        while head := await self._head(reader):
            line = head.split(b"\r\n", 1)[0].decode()
            self.requests.append(line)
            if fault.only:
                (spoiling.set if re.search(fault.only, line) else spoiling.clear)()
            if fault.ignore_range:
                head = re.sub(rb"\r\nrange:[^\r]*", b"", head, flags=re.IGNORECASE)
            upstream.write(head)
            if length := re.search(rb"\r\ncontent-length: *(\d+)", head, flags=re.IGNORECASE):
                left = int(length[1])
                while left:
                    data = await reader.read(min(left, 65536))
                    if not data:
                        return
                    left -= len(data)
                    upstream.write(data)
                    await upstream.drain()
            await upstream.drain()

    async def _down(
        self, fault: Fault, spoiling: asyncio.Event, down: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        sent = 0
        while data := await down.read(65536):
            if spoiling.is_set():
                if self.flips_left and fault.flip_at is not None and sent <= fault.flip_at < sent + len(data):
                    self.flips_left -= 1
                    at = fault.flip_at - sent
                    data = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
                for limit in (fault.cut_after, fault.stall_after):
                    if limit is not None:
                        data = data[: max(0, limit - sent)]
                sent += len(data)
            for part in (
                (data[i : i + 1] for i in range(len(data))) if fault.trickle and sent > 2000 else (data,)
            ):
                writer.write(part)
                self.forwarded += len(part)
                await writer.drain()
                if fault.trickle and sent > 2000:
                    await asyncio.sleep(0.05)
            if fault.cut_after is not None and sent >= fault.cut_after:
                return
            if fault.stall_after is not None and sent >= fault.stall_after:
                await self._stalled.wait()

    @staticmethod
    async def _head(reader: asyncio.StreamReader) -> bytes:
        try:
            return await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return b""
