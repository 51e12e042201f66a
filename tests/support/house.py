"""All sessions of a server in virtual time: real `Sessions`, slot, session and viewers between fakes.

    async with House.opened(orphan_s=5) as house:
        session = await house.start()
        link = await house.watch()
        link.say("paint", request_id="1")

A house has one slot unless it is opened with `slots=2`; what names no session speaks of the first slot's. When it
closes nothing may be left: no task, no frame that was not given back, no viewer that is counted.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from reactor_runtime.config import Settings
from reactor_runtime.progress import Progress
from reactor_runtime.session.fanout import FanOutFactory
from reactor_runtime.session.grants import EVERYTHING, Grant
from reactor_runtime.session.lifecycle import State
from reactor_runtime.session.service import Offer
from reactor_runtime.session.sessions import Sessions
from reactor_runtime.session.slot import NO_SESSION
from reactor_runtime.session.steering import Steering

from .fakes import FakeEngine, FakeFanOut, FakeHost, FakeLink, Hosts
from .virtual_time import now_s, settle


class House:
    def __init__(
        self,
        prepare: Callable[[FakeHost], None],
        settings: dict[str, Any],
        *,
        engine: FakeEngine | None = None,
        fan_out: FanOutFactory = FakeFanOut,
    ) -> None:
        self.hosts = Hosts(prepare)
        self.engine = engine or FakeEngine()
        self.settings = Settings(**settings)
        self.told: list[Progress] = []
        loop = asyncio.get_running_loop()
        self.sessions = Sessions(
            self.hosts.make,
            self.engine,
            self.settings,
            self.told.append,
            clock=loop.time,
            wall=lambda: 1_800_000_000 + loop.time(),
            fan_out=fan_out,
        )

    @classmethod
    @asynccontextmanager
    async def opened(
        cls,
        *,
        prepare: Callable[[FakeHost], None] = lambda host: None,
        load: bool = True,
        engine: FakeEngine | None = None,
        fan_out: FanOutFactory = FakeFanOut,
        **settings: Any,
    ) -> AsyncIterator[House]:
        before = asyncio.all_tasks()
        house = cls(prepare, settings, engine=engine, fan_out=fan_out)
        try:
            if load:
                await house.load()
            yield house
        finally:
            await house.sessions.close()
        await settle()
        # A fixture ends in another task than it began in.
        left = asyncio.all_tasks() - before - {asyncio.current_task()}
        assert left == set(), f"left over: {left}"
        for host in house.hosts.made:
            assert host.emitted == host.released, "a frame was not given back"

    async def load(self) -> None:
        async def prepared(report: Callable[[Progress], None]) -> None: ...

        await self.sessions.load(prepared)

    @property
    def host(self) -> FakeHost:
        return self.hosts.last

    def state(self) -> State:
        return self.sessions.slots[0].state

    @property
    def running(self) -> str:
        """The id of the session that runs or closes."""
        session = self.sessions.slots[0].session
        return session.session_id if session is not None else NO_SESSION

    @property
    def wheel(self) -> Steering:
        """The wheel of the session that runs."""
        session = self.sessions.slots[0].session
        assert session is not None
        return session.wheel

    @property
    def viewers(self) -> int:
        return self.sessions.slots[0]._lifecycle.viewers

    def events(self) -> list[str]:
        """Return what the journal has, in order."""
        return [entry.event for entry in self.sessions.journal.since(0)]

    async def start(self, session_id: str | None = None) -> str:
        """Start a session and return its id."""
        return str((await self.sessions.start(session_id, grant=EVERYTHING))["session_id"])

    async def stop(self, *, moderate: bool = False, reason: str = "") -> None:
        await self.sessions.stop(None, moderate=moderate, reason=reason, grant=EVERYTHING)

    async def join(
        self,
        session_id: str = "",
        *,
        grant: Grant = EVERYTHING,
        author: bool = False,
        seat: str | None = None,
        watch: bool = False,
    ) -> tuple[int, FakeLink]:
        """Register and offer; return the connection's id and its link, which is not connected yet."""
        connection_id = (await self.sessions.register(session_id or self.running)).connection_id
        link = await self.offer(connection_id, session_id, grant=grant, author=author, seat=seat, watch=watch)
        return connection_id, link

    async def offer(
        self,
        connection_id: int,
        session_id: str = "",
        *,
        replace: bool = False,
        legacy: bool = False,
        grant: Grant = EVERYTHING,
        author: bool = False,
        seat: str | None = None,
        watch: bool = False,
    ) -> FakeLink:
        """Offer on a connection and return the newest link. With no `seat` it is as published clients do."""
        offer = Offer("v=0", author=author, seat=seat, watch=watch)
        await self.sessions.offer(
            session_id or self.running, connection_id, offer, replace=replace, legacy=legacy, grant=grant
        )
        await settle()
        return self.engine.links[-1]

    async def watch(self, session_id: str = "", *, author: bool = False) -> FakeLink:
        """Join, connect and ask for the picture; return the link."""
        _, link = await self.join(session_id, author=author)
        link.connect()
        link.notify("resume_track")
        await settle()
        return link

    async def until(self, state: State, *, within_s: float = 60) -> float:
        """Wait for a state; return how long that took, to a fiftieth of a second."""
        began_s = now_s()
        while self.state() is not state:
            assert now_s() - began_s < within_s, f"still {self.state()}"
            await asyncio.sleep(0.02)
        return round(now_s() - began_s, 2)
