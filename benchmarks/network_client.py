"""A client of the network benchmark: `python network_client.py aiortc|socket|sdk URL SECONDS`, run in its namespace.

Joins or starts a session, decodes for so long, and prints {first_frame_s, seen: [[at_ms, age_ms, frame]]} as JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "examples" / "testcard")]

import numpy as np  # noqa: E402
import stamp as stamps  # noqa: E402

Seen = list[tuple[float, float, int]]


def note(seen: Seen, picture: Any) -> None:
    now_s = time.time()
    # The low rendition has half the size, and so has its stamp.
    rows, columns = (stamps.TOP + stamps.HEIGHT) // 2, (stamps.LEFT + stamps.WIDTH) // 2
    twice = picture[:rows, :columns].repeat(2, 0).repeat(2, 1)
    if (stamp := stamps.read(picture) or stamps.read(twice)) is not None:
        seen.append((now_s * 1000, stamp.age_ms(now_s), stamp.frame))


async def aiortc_client(url: str, seen: Seen, seconds: float) -> None:
    from support.visitor import Visitor

    async with Visitor(url) as visitor:
        await visitor.start()
        await visitor.watch()
        until_s, frames = time.monotonic() + seconds, 0
        while time.monotonic() < until_s:
            if visitor.frames != frames:
                frames = visitor.frames
                note(seen, visitor.last["main_video"].to_ndarray(format="rgb24"))
            await asyncio.sleep(0.001)


async def socket_client(url: str, seen: Seen, seconds: float) -> None:
    from support.socket_viewer import SocketViewer

    async with SocketViewer.joined(url) as viewer:
        until_s, frames = time.monotonic() + seconds, 0
        while time.monotonic() < until_s and viewer.closed is None:
            if viewer.frames != frames:
                frames = viewer.frames
                note(seen, viewer.last)
            await asyncio.sleep(0.001)


async def sdk_client(url: str, seen: Seen, seconds: float) -> None:
    from reactor_sdk import Reactor

    client = Reactor("probe", api_url=url, local=True)

    def frame(bgra: bytes, width: int, height: int, *_: object) -> None:
        note(seen, np.frombuffer(bgra, np.uint8).reshape(height, width, 4)[..., 2::-1])

    client.track("main_video").on_raw_frame(frame)
    await client.connect()
    while not seen:  # noqa: ASYNC110  # set on the client's own thread
        await asyncio.sleep(0.005)
    await asyncio.sleep(seconds)
    await client.disconnect()
    client.close()


def main() -> None:
    peer, url, seconds = sys.argv[1:]
    seen: Seen = []
    began_s = time.time()
    clients = {"aiortc": aiortc_client, "socket": socket_client, "sdk": sdk_client}
    asyncio.run(clients[peer](url, seen, float(seconds)))
    print(json.dumps({"first_frame_s": seen[0][0] / 1000 - began_s, "seen": seen}))


if __name__ == "__main__":
    main()
