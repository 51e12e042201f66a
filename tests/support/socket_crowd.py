"""Many watchers over real WebSockets, in a process of their own.

    python -m support.socket_crowd URL SESSION COUNT WITHIN_S

Each acks every picture at once and decodes none. Whoever is told to come again does; when all are in, a line says how
long that took. They leave when stdin is closed.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from reactor_runtime.websocket.header import ack, parse
from support.socket_viewer import opened

RESUME = '{"type":"notification","event":"resume_track","data":{"name":"main_video"}}'


async def main(url: str, session_id: str, watchers: int, within_s: float) -> None:
    began_s, here = time.monotonic(), 0

    async def look(socket: ClientConnection) -> None:
        nonlocal here
        await socket.send(RESUME)
        seen = False
        async for message in socket:
            if isinstance(message, bytes):
                header = parse(message)
                await socket.send(ack(header.track, header.frame_id))
                here, seen = here + (not seen), True
                if here == watchers and not seen_all.is_set():
                    seen_all.set()

    async def come(after_s: float) -> None:
        await asyncio.sleep(after_s)
        while True:
            try:
                async with opened(url, session_id) as socket:
                    await look(socket)
                    return
            except ConnectionClosed:
                await asyncio.sleep(1)

    seen_all = asyncio.Event()
    coming = [asyncio.create_task(come(n * within_s / watchers)) for n in range(watchers)]
    await seen_all.wait()
    print(f"{time.monotonic() - began_s:.1f}", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    for task in coming:
        task.cancel()
    await asyncio.gather(*coming, return_exceptions=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])))
