"""A runtime kept in memory behind the real HTTP server: what the tests of the HTTP surface drive."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
from fastapi.routing import APIRoute
from starlette.routing import Route, WebSocketRoute

from reactor_runtime import limits
from reactor_runtime.config import Settings
from reactor_runtime.errors import SessionRefused
from reactor_runtime.recording.playlist import Segment
from reactor_runtime.recording.recordings import Recordings
from reactor_runtime.server.app import create_app
from reactor_runtime.server.http_server import HttpServer
from reactor_runtime.session.audit import Audit
from reactor_runtime.session.foyer import Foyer
from reactor_runtime.session.grants import Grant, Right
from reactor_runtime.session.journal import Entry, Journal
from reactor_runtime.session.lifecycle import Event, Lifecycle
from reactor_runtime.session.service import CONNECTION_IDS, Health, Offer, Registration, SocketOffer
from reactor_runtime.session.uploads import Reservation, Uploads
from reactor_runtime.session_log.logbook import Logbook
from reactor_runtime.types import JsonObject
from reactor_runtime.webrtc.peer import Candidate, IceServer
from reactor_runtime.websocket.socket_link import Closing

from .seats import ushered

SESSION = "5f0c2f57-6ad6-4b4c-8a58-2f9b3a1f3d10"
P = f"/sessions/{SESSION}/transport/webrtc"
OFFER = {
    "sdp_offer": "v=0 offer",
    "client_info": {"sdk_version": "2.12.3", "sdk_type": "js"},
    "track_mapping": [{"mid": "0", "name": "main_video", "kind": "video", "direction": "recvonly"}],
}
TOKEN = "a token of the operator"


@dataclass
class MemorySession:
    """A session that answers an offer with its own text as soon as `answering` is set."""

    uploads: Uploads = field(default_factory=Uploads)
    connections: set[int] = field(default_factory=set)
    offers: dict[int, tuple[Offer, bool, bool]] = field(default_factory=dict)
    candidates: dict[int, list[Candidate]] = field(default_factory=dict)
    answering: asyncio.Event = field(default_factory=asyncio.Event)
    servers: tuple[IceServer, ...] = ()
    broken: Exception | None = None

    def track_map(self) -> JsonObject:
        return {"main_video": {"kind": "video", "direction": "out", "rate": 90000}}

    def register(self) -> int:
        if len(self.connections) >= limits.VIEWERS_MAX:
            raise SessionRefused("no room for another viewer", status=503, retry_after_s=1)
        connection_id = CONNECTION_IDS[len(self.connections)]
        self.connections.add(connection_id)
        return connection_id

    def offer(self, connection_id: int, offer: Offer, *, replace: bool, legacy: bool) -> None:
        self._known(connection_id, legacy=legacy)
        self.offers[connection_id] = (offer, replace, legacy)

    async def answer(self, connection_id: int, *, hold_s: float) -> str | None:
        self._known(connection_id, legacy=connection_id == 1001)
        if self.broken is not None:
            raise self.broken
        try:
            async with asyncio.timeout(min(hold_s, 0.2)):
                await self.answering.wait()
        except TimeoutError:
            return None
        return f"answer to {self.offers[connection_id][0].sdp}"

    def add_candidates(self, connection_id: int, candidates: Sequence[Candidate]) -> None:
        self._known(connection_id, legacy=connection_id == 1001)
        self.candidates.setdefault(connection_id, []).extend(candidates)

    def _known(self, connection_id: int, *, legacy: bool) -> None:
        if not legacy and connection_id not in self.connections:
            raise SessionRefused("Unknown connection", status=404)


class MemoryService:
    """A runtime without a model: the lifecycle table, one session, and a journal."""

    def __init__(self) -> None:
        self.lifecycle = Lifecycle(orphan_s=60, clock=asyncio.get_running_loop().time)
        self.journal = Journal()
        self._logbook = Logbook(Settings.load({}, {}))
        self._recordings = Recordings(Settings.load({}, {}))
        self.running = MemorySession()
        self.stopped: list[tuple[bool, str]] = []
        self.failure: Exception | None = None
        self.document: JsonObject = {"openapi": "3.1.0", "paths": {}}
        self.metrics = "reactor_sessions_total 3\n"
        usher, (self.seat,) = ushered(asyncio.get_running_loop().time, cap=2)
        self.line = Foyer(usher)
        self.lifecycle.fire(Event.INITIALIZATION_SUCCESS)

    async def descriptor(self, session_id: str | None = None) -> JsonObject:
        return self._describe()

    async def adopted(self, *, grant: Grant) -> JsonObject:
        return self._describe()

    async def running_sessions(self) -> list[JsonObject]:
        return []

    def _describe(self) -> JsonObject:
        if self.failure is not None:
            raise self.failure
        return {"session_id": SESSION, "state": self.lifecycle.state.value}

    async def start(self, session_id: str | None, *, grant: Grant, wait_s: float = 0.0) -> JsonObject:
        grant.require(Right.DRIVE)
        if wait_s:
            async with self.line.admitted(wait_s, grant):
                pass
        self.lifecycle.fire(Event.START_SESSION)
        return self._describe() | ({"asked_for": session_id} if session_id else {})

    async def stop(self, session_id: str | None, *, moderate: bool, reason: str, grant: Grant) -> None:
        self.lifecycle.fire(Event.STOP_SESSION)
        self.lifecycle.fire(Event.CLEANUP_COMPLETE)
        self.stopped.append((moderate, reason))

    def still_counts(self, grant: Grant, session_id: str | None) -> None: ...

    async def kick(self, session_id: str, connection_id: int, *, reason: str, grant: Grant) -> None:
        grant.require(Right.OPERATE)
        self._session(session_id)

    async def ask_drain(self, *, grant: Grant) -> None:
        grant.require(Right.OPERATE)

    def _session(self, session_id: str) -> MemorySession:
        if not self.lifecycle.running:
            raise SessionRefused("No session running", status=400)
        if session_id != SESSION:
            raise SessionRefused("Unknown session", status=404)
        return self.running

    async def check(self, session_id: str) -> None:
        self._session(session_id)

    async def ice_servers(self, session_id: str | None) -> tuple[IceServer, ...]:
        return self.running.servers if session_id is None else self._session(session_id).servers

    async def register(self, session_id: str) -> Registration:
        session = self._session(session_id)
        return Registration(session.register(), session.track_map())

    async def offer(
        self, session_id: str, connection_id: int, offer: Offer, *, replace: bool, legacy: bool, grant: Grant
    ) -> str:
        grant.require(Right.WATCH)
        self._session(session_id).offer(connection_id, offer, replace=replace, legacy=legacy)
        return ""

    async def answer(self, session_id: str, connection_id: int, *, hold_s: float) -> str | None:
        return await self._session(session_id).answer(connection_id, hold_s=hold_s)

    async def add_candidates(
        self, session_id: str, connection_id: int, candidates: Sequence[Candidate]
    ) -> None:
        self._session(session_id).add_candidates(connection_id, candidates)

    async def media(
        self, session_id: str, inbound: AsyncIterable[str | bytes], offer: SocketOffer, *, grant: Grant
    ) -> AsyncGenerator[str | bytes | Closing, None]:
        self._session(session_id)
        async for message in inbound:
            yield message

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
        uploads = self._session(session_id).uploads
        return uploads.reserve(name=name, size_bytes=size_bytes, mime_type=mime_type, upload_id=upload_id)

    async def receive_upload(
        self, session_id: str, upload_id: str, key: str, chunks: AsyncIterable[bytes]
    ) -> None:
        await self._session(session_id).uploads.receive(upload_id, key, chunks)

    async def session_log(self, session_id: str, key: str) -> bytes:
        return self._logbook.read(session_id, key)

    async def clip(self, recording_id: str, start_s: float, end_s: float) -> list[Segment] | None:
        return self._recordings.clip(recording_id, start_s, end_s)

    async def clip_file(self, recording_id: str, name: str, *, begin: int) -> bytes:
        return self._recordings.read(recording_id, name, begin=begin)

    def events(self, since: int) -> AsyncGenerator[Entry | None, None]:
        return self.journal.follow(since, idle_s=limits.EVENT_IDLE_S)

    async def health(self) -> Health:
        word = self.lifecycle.health_word
        return Health(word in ("available", "serving"), word)

    async def openapi(self) -> JsonObject:
        return self.document

    async def metrics_text(self) -> str:
        return self.metrics


@dataclass
class Live:
    """A served runtime and a client of it."""

    service: MemoryService
    server: HttpServer
    client: httpx.AsyncClient

    async def call(self, method: str, path: str, **options: Any) -> httpx.Response:
        return await self.client.request(method, path, **options)

    async def raw(self, request: bytes, *, until_eof: bool = True) -> bytes:
        """Send bytes as they are and return what comes back until the server closes."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.server.port)
        try:
            writer.write(request)
            await writer.drain()
            async with asyncio.timeout(10):
                return await (reader.read() if until_eof else reader.readuntil(b"\r\n\r\n"))
        finally:
            writer.close()


@asynccontextmanager
async def serving(
    *, author_key: str = "", audit: Audit | None = None, **settings: Any
) -> AsyncIterator[Live]:
    service = MemoryService()
    values = Settings.load({"host": "127.0.0.1", "port": 0} | settings, {})
    server = HttpServer(create_app(service, values, audit=audit, author_key=author_key), values)
    await server.start()
    try:
        async with httpx.AsyncClient(
            base_url=server.url, timeout=10, trust_env=False, verify=False
        ) as client:
            yield Live(service, server, client)
    finally:
        service.journal.close()
        await service.line.close()
        await server.close()


def detail(response: httpx.Response) -> Any:
    """Every refusal is JSON with a detail."""
    assert response.headers["content-type"] == "application/json"
    return response.json()["detail"]


#: Their rules are in test_websocket.py.
WEBSOCKETS = {"/sessions/{session_id}/media"}


def all_routes(routes: Sequence[Any]) -> list[Route]:
    found: list[Route] = []
    for route in routes:
        # FastAPI keeps included routers as they are in newer versions, and copied their routes before.
        included = getattr(route, "original_router", None)
        if included is not None:
            found += all_routes(included.routes)
        else:
            if isinstance(route, WebSocketRoute) and route.path in WEBSOCKETS:
                continue
            assert isinstance(route, Route | APIRoute), f"{route!r} is no plain route: give it its own rule"
            found.append(route)
    return found
