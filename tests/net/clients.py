"""A client of the network benchmark at one end of a bad network, and what it saw.

async with looking(net, "client", "socket", run.url, 10) as poor:
    ...
seen = await poor
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from .relay import Network, Side
from .watched import BENCHMARKS, Seen

#: How long it may take beyond what it looks.
BEGIN_S = 30.0


@asynccontextmanager
async def looking(
    net: Network, side: Side, peer: str, url: str, seconds: float
) -> AsyncIterator[asyncio.Task[list[Seen]]]:
    """Look for so long with one of `benchmarks/network_client.py`; yield what will be seen."""
    program = str(Path(BENCHMARKS) / "network_client.py")
    command = net.command(side, sys.executable, program, peer, url, str(seconds))
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)

    async def told() -> list[Seen]:
        async with asyncio.timeout(seconds + BEGIN_S):
            out, _ = await process.communicate()
        assert process.returncode == 0, f"the client {peer} failed"
        return [Seen(*each) for each in json.loads(out)["seen"]]

    task = asyncio.create_task(told())
    try:
        yield task
        await task
    finally:
        task.cancel()
        if process.returncode is None:
            process.kill()
            await process.wait()
