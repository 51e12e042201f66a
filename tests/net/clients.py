"""A client of the network benchmark at one end of a bad network, and what it saw.

async with looking(net, "client", "socket", run.url) as poor:
    first_frame_s = await poor.began
    await asyncio.sleep(10)
seen = await poor.seen
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from .relay import Network, Side
from .watched import BENCHMARKS, Seen

#: How long its first picture, and its last words, may take.
BEGIN_S = 30.0


@dataclass(frozen=True)
class Client:
    """`began` is how many seconds its first picture took."""

    began: asyncio.Future[float]
    seen: asyncio.Task[list[Seen]]


@asynccontextmanager
async def looking(
    net: Network, side: Side, peer: str, url: str, *, niceness: int = 0
) -> AsyncIterator[Client]:
    """Look with one of `benchmarks/network_client.py` until the block ends; then it tells what it has seen.

    `niceness` keeps what would be another machine's work from taking this one's cores.
    """
    program = str(Path(BENCHMARKS) / "network_client.py")
    nice = ("nice", "-n", str(niceness)) if niceness else ()
    process = await asyncio.create_subprocess_exec(
        *net.command(side, *nice, sys.executable, program, peer, url),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=64 * 1024 * 1024,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    lines = process.stdout
    began: asyncio.Future[float] = asyncio.get_running_loop().create_future()

    async def told() -> list[Seen]:
        async with asyncio.timeout(BEGIN_S):
            first = await lines.readline()
        if first:
            began.set_result(json.loads(first))
            last = await lines.readline()
            return [Seen(*each) for each in json.loads(last or "[]")]
        raise OSError(f"the client {peer} failed")

    def ended(_: object) -> None:
        if not began.done():
            began.set_exception(OSError(f"the client {peer} saw nothing"))
            began.exception()  # whoever waits for it hears of it

    task = asyncio.create_task(told())
    task.add_done_callback(ended)
    try:
        yield Client(began, task)
        process.stdin.close()
        async with asyncio.timeout(BEGIN_S):
            await task
    finally:
        task.cancel()
        if process.returncode is None:
            process.kill()
            await process.wait()
