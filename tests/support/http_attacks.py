"""Clients that mean harm, as programs: `python http_attacks.py KIND PORT SOURCE`, until killed.

    chunks    ten connections with bodies of one-byte chunks, each opened again when it is closed
    renew     three hundred sockets that say nothing, each opened again when it is closed
    events    readers of the events who read nothing, each asking again when it is ended
    half      two thousand sockets with half a header
    pipeline  ten connections that send requests without waiting for an answer, each opened again when it is closed

Prints `attacking` once it is under way. SOURCE is the address to connect from.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CHUNKS = b"1\r\n \r\n" * 40_000


async def connect(port: int, source: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))


async def chunks(port: int, source: str) -> None:
    _, writer = await connect(port, source)
    writer.write(b"POST /start_session HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
    while not writer.transport.is_closing():
        writer.write(CHUNKS)
        await writer.drain()


async def renew(port: int, source: str) -> None:
    reader, _ = await connect(port, source)
    await reader.read()


async def events(port: int, source: str) -> None:
    reader, writer = await connect(port, source)
    writer.write(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
    await reader.readline()
    while not reader.at_eof():
        await asyncio.sleep(0.1)


async def half(port: int, source: str) -> None:
    reader, writer = await connect(port, source)
    writer.write(b"GET / HTTP/1.1\r\nHost: loc")
    await reader.read()
    await asyncio.sleep(3600)


async def pipeline(port: int, source: str) -> None:
    reader, writer = await connect(port, source)

    async def read() -> None:
        while await reader.read(65536):
            pass

    reading = asyncio.create_task(read())
    try:
        while not writer.transport.is_closing() and not reading.done():
            writer.write(b"GET /session HTTP/1.1\r\nHost: localhost\r\n\r\n" * 100)
            await writer.drain()
            await asyncio.sleep(0)
    finally:
        reading.cancel()
        writer.close()


KINDS = {
    "chunks": (chunks, 10),
    "renew": (renew, 300),
    "events": (events, 40),
    "half": (half, 2000),
    "pipeline": (pipeline, 10),
}


async def attack(kind: str, port: int, source: str) -> None:
    once, count = KINDS[kind]

    async def again() -> None:
        while True:
            with contextlib.suppress(OSError, ConnectionError):
                await once(port, source)
            await asyncio.sleep(0)

    running = [asyncio.create_task(again()) for _ in range(count)]
    await asyncio.sleep(0.5)
    print("attacking", flush=True)
    await asyncio.gather(*running)


@contextmanager
def attacking(kind: str, url: str, *, source: str = "127.0.0.1") -> Iterator[None]:
    """Run one of these in a process of its own until the block ends."""
    port = url.rsplit(":", 1)[1]
    command = [sys.executable, str(Path(__file__)), kind, port, source]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "attacking\n"
            yield
        finally:
            process.kill()


if __name__ == "__main__":
    os.nice(10)  # as another machine's work, which takes no core from the server
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    asyncio.run(attack(sys.argv[1], int(sys.argv[2]), sys.argv[3]))
