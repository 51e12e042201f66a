"""A client of the network benchmark: `python network_client.py aiortc|socket|sdk URL`, run in its namespace.

Joins or starts a session and decodes until its standard input ends. Prints two lines of JSON: at the first picture how
many seconds that took, at the end a list of [at_ms, age_ms, frame].
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "examples" / "testcard")]

import numpy as np  # noqa: E402
import stamp as stamps  # noqa: E402

Seen = list[tuple[float, float, int]]
STARTED_S = time.time()
OVER = threading.Event()
#: A client that says nothing for long is let go.
PING_S = 5.0


def note(seen: Seen, picture: Any) -> None:
    now_s = time.time()
    if (stamp := stamps.read(picture) or stamps.read(twice(picture))) is not None:
        if not seen:
            print(json.dumps(now_s - STARTED_S), flush=True)
        seen.append((now_s * 1000, stamp.age_ms(now_s), stamp.frame))


async def aiortc_client(url: str, seen: Seen) -> None:
    from support.visitor import Visitor

    async with Visitor(url) as visitor:
        if (await visitor.start()).status_code != 200:
            await visitor.adopt()
        await visitor.watch()
        frames, pinged_s = 0, time.monotonic()
        while not OVER.is_set():
            if time.monotonic() - pinged_s >= PING_S:
                pinged_s = time.monotonic()
                visitor.ping()
            if visitor.frames != frames:
                frames = visitor.frames
                note(seen, visitor.last["main_video"].to_ndarray(format="rgb24"))
            await asyncio.sleep(0.001)


async def socket_client(url: str, seen: Seen) -> None:
    from support.socket_viewer import SocketViewer

    async with SocketViewer.joined(url) as viewer:
        frames, pinged_s = 0, time.monotonic()
        while not OVER.is_set() and viewer.closed is None:
            if time.monotonic() - pinged_s >= PING_S:
                pinged_s = time.monotonic()
                await viewer.ping()
            if viewer.frames != frames:
                frames = viewer.frames
                note(seen, viewer.last)
            await asyncio.sleep(0.001)


async def sdk_client(url: str, seen: Seen) -> None:
    from reactor_sdk import Reactor

    client = Reactor("probe", api_url=url, local=True)

    def frame(bgra: bytes, width: int, height: int, *_: object) -> None:
        note(seen, np.frombuffer(bgra, np.uint8).reshape(height, width, 4)[..., 2::-1])

    client.track("main_video").on_raw_frame(frame)
    await client.connect()
    while not OVER.is_set():  # noqa: ASYNC110  # set on a thread
        await asyncio.sleep(0.005)
    await client.disconnect()
    client.close()


def twice(picture: Any) -> Any:
    """Return the stamp's part of a low rendition, which has half the size, in full size."""
    rows, columns = (stamps.TOP + stamps.HEIGHT) // 2, (stamps.LEFT + stamps.WIDTH) // 2
    return picture[:rows, :columns].repeat(2, 0).repeat(2, 1)


def until_told() -> None:
    sys.stdin.read()
    OVER.set()


def main() -> None:
    peer, url = sys.argv[1:]
    seen: Seen = []
    threading.Thread(target=until_told, daemon=True).start()
    clients = {"aiortc": aiortc_client, "socket": socket_client, "sdk": sdk_client}
    asyncio.run(clients[peer](url, seen))
    print(json.dumps(seen))


if __name__ == "__main__":
    main()
