"""What a door knows of the whole cluster: implements `session.service.Service` over Placement and the workers.

What is asked about one session that runs never gets here: `forward.py` and `connect.py` stand before the routes. So all
that takes a session's id says that there is none. Owned by a door, on its event loop.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Sequence
from typing import Any
from urllib.parse import quote

from .. import limits
from ..errors import SessionRefused
from ..recording.playlist import Segment
from ..session.foyer import check_waits
from ..session.grants import Grant, Right
from ..session.journal import Entry
from ..session.lifecycle import State
from ..session.metrics import text_of_gauge
from ..session.prospects import news
from ..session.service import Health, Offer, Registration, SocketOffer
from ..session.slot import NO_SESSION
from ..session.uploads import Reservation
from ..types import JsonObject
from ..webrtc.peer import Candidate, IceServer
from ..websocket.socket_link import Closing
from .desk import Desk
from .messenger import Messenger
from .roster import At
from .vouching import mark, vouch
from .whereabouts import Whereabouts

#: How long what was asked of Placement, and what a worker said of its model, is taken for the present.
_STATE_S = 0.1
_MODEL_S = 1.0


class ClusterService:
    """Implements `Service`."""

    def __init__(
        self,
        desk: Desk,
        messenger: Messenger,
        whereabouts: Whereabouts,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.line = ClusterLine(desk)
        self._desk = desk
        self._messenger = messenger
        self._where = whereabouts
        self._clock = clock
        self._wall = wall
        self._state: tuple[float, JsonObject] | None = None
        self._model: tuple[float, JsonObject] | None = None
        self._drain_asked = asyncio.Event()

    # The cluster --------------------------------------------------------------------------------------

    async def _now(self) -> JsonObject:
        if self._state is None or self._clock() >= self._state[0]:
            self._state = (self._clock() + _STATE_S, await self._desk.state())
        return self._state[1]

    async def _overview(self) -> JsonObject:
        """Return what a worker says of itself and its model, {} while none is there."""
        if self._model is not None and self._clock() < self._model[0]:
            return self._model[1]
        best = (await self._now())["best"]
        if best is None:
            return self._model[1] if self._model is not None else {}
        try:
            overview = await self._messenger.ask("GET", best, "/overview")
        except SessionRefused:
            return self._model[1] if self._model is not None else {}
        self._model = (self._clock() + _MODEL_S, overview)
        return self._model[1]

    async def descriptor(self, session_id: str | None = None) -> JsonObject:
        at = await self._where.of(session_id) if session_id else None
        if at is not None and session_id:
            try:
                path = f"/overview?session_id={quote(session_id, safe='')}"
                described: JsonObject = (await self._messenger.ask("GET", at, path))["session"]
                if described["session_id"] == session_id:
                    return described
            except SessionRefused:
                self._where.doubt(session_id)
        known, now = (await self._overview()).get("session", {}), await self._now()
        free = any(_free(worker) for worker in now["workers"])
        running = [worker for worker in now["workers"] if worker["state"] == At.BUSY.value]
        state = State.READY if free else State.STREAMING if running else State.CREATED
        return {
            "model": {"name": ""},
            "recording": {"enabled": False, "chunk_seconds": limits.RECORDING_CHUNK_S},
            "selected_transport": {"protocol": "webrtc", "version": "1.0"},
            **known,
            "session_id": NO_SESSION if free or not running else running[0]["session_id"],
            "state": state.value,
            "cluster": "ray",
            "slot": 0,
        }

    def still_counts(self, grant: Grant, session_id: str | None) -> None:
        """What one person's token was used for is remembered by the worker that it was used at."""

    async def adopted(self, *, grant: Grant) -> JsonObject:
        own = await self._desk.own(mark(grant))
        return await self.descriptor(grant.sid or (own[-1] if own else None))

    async def running_sessions(self) -> list[JsonObject]:
        return [
            {
                "session_id": worker["session_id"],
                "slot": worker["place"],
                "state": State.STREAMING.value,
                "viewers": worker["viewers"],
                "driven": True,
            }
            for worker in (await self._now())["workers"]
            if worker["state"] == At.BUSY.value
        ]

    async def start(self, session_id: str | None, *, grant: Grant, wait_s: float = 0.0) -> JsonObject:
        session_id = session_id or grant.sid
        grant.require(Right.DRIVE, session_id)
        made = await self._desk.start(session_id, grant, wait_s)
        session, at = made["session"], made["at"]
        begun = str(session["session_id"])
        self._state = None
        if at is None:
            return dict(session)
        self._where.learn(begun, at)
        # For clients that can reach the worker themselves: a hop less.
        return {
            **session,
            "worker": {"url": at["url"], "token": vouch(at["key"], grant, begun, self._wall())},
        }

    async def stop(self, session_id: str | None, *, moderate: bool, reason: str, grant: Grant) -> None:
        grant.require(Right.OPERATE if moderate else Right.DRIVE, session_id)
        if session_id is None:
            own = await self._desk.own(mark(grant))
            meant = grant.sid or (own[-1] if len(own) == 1 else None)
            if meant is None:
                text = "this client began no session that runs, or several; name the one to stop by its session_id"
                raise SessionRefused(text, status=409)
            session_id = meant
        at = await self._where.of(session_id)
        if at is None:
            raise _unknown()
        body = {"session_id": session_id, "moderate": moderate, "reason": reason}
        await self._messenger.ask("POST", at, "/stop_session", grant=grant, session_id=session_id, body=body)
        self._state = None

    async def ask_drain(self, *, grant: Grant) -> None:
        grant.require_everywhere(Right.OPERATE)
        await self._desk.drain()
        self._drain_asked.set()

    async def until_drain_asked(self) -> None:
        await self._drain_asked.wait()

    async def health(self) -> Health:
        try:
            now = await self._now()
        except SessionRefused as refused:
            return Health(False, "loading", refused.public())
        states = tuple(worker["state"] for worker in now["workers"])
        if now["draining"]:
            return Health(False, "loading", "shutting down", slots=states)
        if any(_free(worker) for worker in now["workers"]):
            return Health(True, "available", slots=states)
        if At.BUSY.value in states or At.RESERVED.value in states:
            return Health(True, "serving", slots=states)
        return Health(False, "loading", "no worker is ready", slots=states)

    async def openapi(self) -> JsonObject:
        schema: JsonObject = (await self._overview()).get("schema", {})
        return schema

    async def metrics_text(self) -> str:
        now = await self._now()
        counts = {at.value: 0.0 for at in At}
        for worker in now["workers"]:
            counts[worker["state"]] += 1
        waiting = {"": float(now["waiting"])}
        return text_of_gauge("reactor_cluster_workers", "Workers by state", "state", counts) + text_of_gauge(
            "reactor_cluster_waiting", "Who waits in the line", "line", waiting
        )

    async def events(self, since: int) -> AsyncGenerator[Entry | None, None]:
        """Each worker tells its own; this only stays open."""
        while True:
            await asyncio.sleep(limits.EVENT_IDLE_S)
            yield None

    async def ice_servers(self, session_id: str | None) -> tuple[IceServer, ...]:
        told: list[dict[str, Any]] = (await self._overview()).get("ice_servers", [])
        return tuple(
            IceServer(
                tuple(each["uris"]),
                each.get("credentials", {}).get("username", ""),
                each.get("credentials", {}).get("password", ""),
            )
            for each in told
        )

    # One session --------------------------------------------------------------------------------------

    async def check(self, session_id: str) -> None:
        if await self._where.of(session_id) is None:
            raise _unknown()

    async def kick(self, session_id: str, connection_id: int, *, reason: str, grant: Grant) -> None:
        raise _unknown()

    async def register(self, session_id: str) -> Registration:
        raise _unknown()

    async def offer(
        self, session_id: str, connection_id: int, offer: Offer, *, replace: bool, legacy: bool, grant: Grant
    ) -> str:
        raise _unknown()

    async def answer(self, session_id: str, connection_id: int, *, hold_s: float) -> str | None:
        raise _unknown()

    async def add_candidates(
        self, session_id: str, connection_id: int, candidates: Sequence[Candidate]
    ) -> None:
        raise _unknown()

    def media(
        self, session_id: str, inbound: AsyncIterable[str | bytes], offer: SocketOffer, *, grant: Grant
    ) -> AsyncGenerator[str | bytes | Closing, None]:
        raise _unknown()

    async def reserve_upload(
        self,
        session_id: str,
        *,
        name: str,
        size_bytes: int,
        mime_type: str,
        upload_id: str | None,
        grant: Grant,
    ) -> Reservation:
        raise _unknown()

    async def receive_upload(
        self, session_id: str, upload_id: str, key: str, chunks: AsyncIterable[bytes]
    ) -> None:
        raise _unknown()

    async def session_log(self, session_id: str, key: str) -> bytes:
        raise _unknown()

    async def clip(self, recording_id: str, start_s: float, end_s: float) -> list[Segment] | None:
        raise _unknown()

    async def clip_file(self, recording_id: str, name: str, *, begin: int) -> bytes:
        raise _unknown()


class ClusterLine:
    """Implements `service.LineService`."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def join(self, session_id: str | None, *, grant: Grant) -> JsonObject:
        check_waits(grant)
        return await self._desk.join(session_id or "", grant.person)

    async def look(self, ticket: str) -> JsonObject:
        return await self._desk.look(ticket)

    async def follow(self, ticket: str) -> AsyncGenerator[JsonObject]:
        now = await self._desk.look(ticket)
        while True:
            yield now
            if now["state"] == "gone":
                return
            try:
                now = await self._desk.changed(ticket, news(now), limits.LINE_TOLD_S)
            except SessionRefused:
                return  # too many listen, or Placement is away: whoever listened comes again, or asks

    async def claim(self, ticket: str, *, grant: Grant) -> JsonObject:
        grant.require(Right.DRIVE)
        return await self._desk.claim(ticket, mark(grant))

    async def leave(self, ticket: str) -> None:
        await self._desk.leave(ticket)

    async def length(self) -> JsonObject:
        return {"waiting": (await self._desk.state())["waiting"], "turn_s": None}


def _free(worker: JsonObject) -> bool:
    return worker["state"] == At.IDLE.value and not worker["draining"]


def _unknown() -> SessionRefused:
    return SessionRefused("Unknown session", status=404)
