"""Many watchers of one session without a network: links that only count, for what they cost the server.

    async with crowded() as crowd:
        alone = await crowd.measure(5)
        await crowd.join(100, "webrtc")
        beside = await crowd.measure(5)

Everything else is real: sessions, viewers, pacing, the encoder and its thread. The model is played by hand.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from reactor_runtime.config import Settings
from reactor_runtime.errors import SessionRefused
from reactor_runtime.link import LinkEvents
from reactor_runtime.server.app import create_app
from reactor_runtime.server.http_server import HttpServer
from reactor_runtime.session.doorway import Doorway
from reactor_runtime.session.fanout import EncoderThreads
from reactor_runtime.session.grants import EVERYTHING
from reactor_runtime.session.service import Offer, SocketOffer
from reactor_runtime.types import EncodedFrame
from reactor_runtime.websocket.header import ack, parse
from reactor_runtime.websocket.socket_link import SocketLink

from .fakes import FakeEngine, FakeLink
from .house import House
from .virtual_time import settle

#: Links that only count, WebSocket links without a socket, and real sockets of another process.
Kind = Literal["webrtc", "websocket", "sockets"]
SIZE = (480, 640)
FPS = 30
PING_S = 5.0


class CountingLink(FakeLink):
    """As an engine's link: pictures come on the encoder's thread, and reports of them go to the loop."""

    def __init__(self, events: LinkEvents, engine: FakeEngine) -> None:
        super().__init__(events, engine)
        self._loop = asyncio.get_running_loop()
        self.pictures = self.bytes = 0

    def send_frame(self, track: str, frame: EncodedFrame, *, report: bool = False) -> None:
        self.pictures += 1
        self.bytes += len(frame.data)
        if report:
            received_as: Mapping[str, int] = {"rtp_timestamp": frame.frame_id * 3000}
            self._loop.call_soon_threadsafe(self._sent, track, frame.frame_id, received_as)

    def send(self, label: str, data: str | bytes) -> bool:
        self.bytes += len(data)
        return not self.closed


@dataclass
class Measured:
    """Of one stretch of time: seconds of CPU on the event loop's thread and of the process, and frames."""

    loop_s: float
    process_s: float
    emitted: int
    driver: int
    watchers: int
    """Pictures that all watchers together were sent."""


@dataclass
class Crowd:
    house: House
    driver: CountingLink
    links: list[CountingLink] = field(default_factory=list)
    sockets: list[SocketLink] = field(default_factory=list)
    socket_pictures: int = 0
    readers: list[asyncio.Task[None]] = field(default_factory=list)
    closing: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def join(self, watchers: int, kind: Kind) -> None:
        session = self.house.sessions.slots[0].session
        assert session is not None
        # Nothing is negotiated here, so nobody has to wait for that.
        session.connections._doorway = Doorway(rate_per_s=1e6, burst=1_000)
        for _ in range(watchers):
            if kind == "webrtc":
                _, link = await self.house.join()
                assert isinstance(link, CountingLink)
                link.connect()
                link.notify("resume_track")
                self.links.append(link)
            else:
                self._attach()

    async def arrive(self, watchers: int, kind: Kind, *, within_s: float) -> float:
        """Let so many come within this time, each when it likes, through the door; return when the last one was in."""
        if kind == "sockets":
            return await self._arrive_over_http(watchers, within_s)
        began_s = time.monotonic()

        async def come(after_s: float) -> None:
            await asyncio.sleep(after_s)
            if kind == "websocket":
                self._attach()
            else:
                self.links.append(await self._through_the_door())

        await asyncio.gather(*(come(n * within_s / watchers) for n in range(watchers)))
        return time.monotonic() - began_s

    async def _arrive_over_http(self, watchers: int, within_s: float) -> float:
        settings = Settings.load({"host": "127.0.0.1", "port": 0}, {})
        server = HttpServer(create_app(self.house.sessions, settings), settings)
        await server.start()
        program = [sys.executable, "-m", "support.socket_crowd", server.url, self.house.running]
        crowd = await asyncio.create_subprocess_exec(
            *program,
            str(watchers),
            str(within_s),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            cwd=Path(__file__).parents[1],
        )
        self.closing.push_async_callback(server.close)
        self.closing.push_async_callback(crowd.communicate, b"")
        assert crowd.stdout is not None
        async with asyncio.timeout(60):
            return float(await crowd.stdout.readline())

    async def _through_the_door(self) -> CountingLink:
        """Offer as often as one is told to come again, and be connected when the offer is answered."""
        sessions, session_id = self.house.sessions, self.house.running
        while True:
            connection_id = (await sessions.register(session_id)).connection_id
            how: Any = {"replace": False, "legacy": False, "grant": EVERYTHING}
            try:
                await sessions.offer(session_id, connection_id, Offer("v=0"), **how)
            except SessionRefused as refused:
                await asyncio.sleep(refused.retry_after_s or 1)
                continue
            while await sessions.answer(session_id, connection_id, hold_s=1) is None:
                pass
            session = sessions.slots[0].session
            viewer = session.connections.get(connection_id) if session is not None else None
            assert viewer is not None
            link = viewer._link
            assert isinstance(link, CountingLink)
            link.connect()
            link.notify("resume_track")
            return link

    def _attach(self) -> None:
        session = self.house.sessions.slots[0].session
        assert session is not None
        link = session.attach(SocketOffer(("h264",)), grant=EVERYTHING)
        link.received('{"type":"notification","event":"resume_track","data":{"name":"main_video"}}')
        self.sockets.append(link)
        self.readers.append(asyncio.create_task(self._read(link)))

    async def _read(self, link: SocketLink) -> None:
        """A client that decodes each picture at once."""
        async for message in link.outbound():
            if isinstance(message, bytes):
                self.socket_pictures += 1
                header = parse(message)
                link.received(ack(header.track, header.frame_id))

    async def measure(self, seconds: float) -> Measured:
        """Emit `FPS` frames a second for so long, while everybody pings as clients do."""
        pictures = [np.random.default_rng(n).integers(0, 255, (*SIZE, 3), np.uint8) for n in range(2)]
        for picture in pictures:  # a still scene with a part that moves, so that encoding costs what it does
            picture[:] = np.linspace(0, 255, SIZE[1], dtype=np.uint8)[None, :, None]
        pictures[1][200:280, 300:380] = 20
        emitted, driver, sent = self.house.host.emitted, self.driver.pictures, self._sent()
        loop_s, process_s, began_s = time.thread_time(), time.process_time(), time.monotonic()
        pings = 0.0
        everybody: list[Any] = [self.driver, *self.links]
        for frame in range(int(seconds * FPS)):
            self.house.host.emit(pixels=pictures[frame % 2])
            pings += len(everybody) / (PING_S * FPS)
            while pings >= 1:
                pings -= 1
                everybody[frame % len(everybody)].ask("ping")
            await asyncio.sleep(max(0.0, began_s + (frame + 1) / FPS - time.monotonic()))
        loop_s, process_s = time.thread_time() - loop_s, time.process_time() - process_s
        await asyncio.sleep(0.2)
        return Measured(
            loop_s,
            process_s,
            self.house.host.emitted - emitted,
            self.driver.pictures - driver,
            self._sent() - sent,
        )

    def _sent(self) -> int:
        return sum(link.pictures for link in self.links) + self.socket_pictures


@asynccontextmanager
async def crowded() -> AsyncIterator[Crowd]:
    """Open a session with its driver, on the real clock; `join` adds watchers."""
    engine = FakeEngine(CountingLink)
    async with House.opened(engine=engine, fan_out=EncoderThreads, viewers=1000, ping_timeout_s=0) as house:
        await house.start()
        _, link = await house.join()
        assert isinstance(link, CountingLink)
        link.connect()
        link.notify("resume_track")
        await settle()
        crowd = Crowd(house, link)
        async with crowd.closing:
            yield crowd
