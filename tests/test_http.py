"""The HTTP surface, served by the real server on a free port over a runtime kept in memory."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from fastapi.routing import APIRoute
from starlette.routing import Route

from reactor_runtime import limits
from reactor_runtime.config import Settings
from reactor_runtime.errors import OfferRejected, PeerFailed, SessionRefused
from reactor_runtime.journal import Journal
from reactor_runtime.lifecycle import Event, Lifecycle, State, Transition
from reactor_runtime.server.app import create_app
from reactor_runtime.server.serve import HttpServer
from reactor_runtime.server.service import CONNECTION_IDS, Health, Offer
from reactor_runtime.types import JsonObject
from reactor_runtime.uploads import Uploads
from reactor_runtime.webrtc.peer import Candidate, IceServer, TrackMapping

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

    def ice_servers(self) -> Sequence[IceServer]:
        return self.servers

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
        self.running = MemorySession()
        self.stopped: list[tuple[bool, str]] = []
        self.failure: Exception | None = None
        self.metrics = "reactor_sessions_total 3\n"
        self.lifecycle.fire(Event.INITIALIZATION_SUCCESS)

    def descriptor(self) -> JsonObject:
        if self.failure is not None:
            raise self.failure
        return {"session_id": SESSION, "state": self.lifecycle.state.value}

    async def start(self, session_id: str | None) -> JsonObject:
        self.lifecycle.fire(Event.START_SESSION)
        return self.descriptor() | ({"asked_for": session_id} if session_id else {})

    async def stop(self, *, moderate: bool, reason: str) -> None:
        self.lifecycle.fire(Event.STOP_SESSION)
        self.lifecycle.fire(Event.CLEANUP_COMPLETE)
        self.stopped.append((moderate, reason))

    def session(self, session_id: str) -> MemorySession:
        if not self.lifecycle.running:
            raise SessionRefused("No session running", status=400)
        if session_id != SESSION:
            raise SessionRefused("Unknown session", status=404)
        return self.running

    def health(self) -> Health:
        word = self.lifecycle.health_word
        return Health(word in ("available", "serving"), word)

    def openapi(self) -> JsonObject:
        return {"openapi": "3.1.0", "paths": {}}

    def metrics_text(self) -> str:
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
async def serving(**settings: Any) -> AsyncIterator[Live]:
    service = MemoryService()
    values = Settings.load({"host": "127.0.0.1", "port": 0} | settings, {})
    server = HttpServer(create_app(service, values), values)
    await server.start()
    try:
        async with httpx.AsyncClient(base_url=server.url, timeout=10, trust_env=False) as client:
            yield Live(service, server, client)
    finally:
        service.journal.close()
        await server.close()


@pytest.fixture
async def live() -> AsyncIterator[Live]:
    async with serving() as it:
        yield it


@pytest.fixture
async def started(live: Live) -> Live:
    assert (await live.call("POST", "/start_session", json={})).status_code == 200
    return live


def detail(response: httpx.Response) -> Any:
    """Every refusal is JSON with a detail."""
    assert response.headers["content-type"] == "application/json"
    return response.json()["detail"]


# Sessions ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"content": b""},
        {"json": {}},
        {"json": {"extra_args": {"a": 1}, "generation": "stepped"}},
        {"content": b'{"session_id": "mine"}'},
        {"content": b"{}", "headers": {"Content-Type": "text/plain"}},
    ],
)
async def test_a_session_starts_with_whatever_body_clients_send(live: Live, options: dict[str, Any]) -> None:
    response = await live.call("POST", "/start_session", **options)
    assert response.status_code == 200
    assert response.json()["session_id"] == SESSION
    assert response.json()["state"] == "waiting"


async def test_a_second_start_is_refused_with_409_and_names_the_state(started: Live) -> None:
    response = await started.call("POST", "/start_session", json={})
    assert response.status_code == 409
    assert detail(response) == "cannot start session while waiting"


async def test_a_start_while_the_model_loads_says_when_to_come_back(live: Live) -> None:
    live.service.lifecycle.state = State.CREATED
    response = await live.call("POST", "/start_session", json={})
    assert response.status_code == 503
    assert response.headers["retry-after"] == "1"


async def test_the_descriptor_can_be_read_at_any_time(live: Live) -> None:
    for state in State:
        live.service.lifecycle.state = state
        response = await live.call("GET", "/session")
        assert response.status_code == 200
        assert response.json()["state"] == state.value


async def test_a_stop_answers_200_with_nothing_and_passes_the_reason_on(started: Live) -> None:
    response = await started.call("POST", "/stop_session", json={"moderate": True, "reason": "bye now"})
    assert (response.status_code, response.content) == (200, b"")
    assert started.service.stopped == [(True, "bye now")]


async def test_a_stop_needs_no_body_and_is_409_when_nothing_runs(started: Live) -> None:
    assert (await started.call("POST", "/stop_session")).status_code == 200
    assert (await started.call("POST", "/stop_session")).status_code == 409


@pytest.mark.parametrize("method", ["DELETE", "GET", "PUT"])
async def test_sessions_are_no_resources(started: Live, method: str) -> None:
    response = await started.call(method, f"/sessions/{SESSION}")
    assert response.status_code == 404
    assert detail(response) == "Not Found"


# Signalling ----------------------------------------------------------------------------------------

SIGNALLING: list[tuple[str, str, Any]] = [
    ("GET", "/ice_servers", None),
    ("POST", "/connections", {}),
    ("POST", "/connections/1002/sdp_params", OFFER),
    ("PUT", "/connections/1002/sdp_params", OFFER),
    ("GET", "/connections/1002/sdp_params", None),
    ("POST", "/connections/1002/ice_candidates", {"candidates": [], "is_final": True}),
    ("POST", "/sdp_params", OFFER),
    ("PUT", "/sdp_params", OFFER),
    ("GET", "/sdp_params", None),
    ("POST", "/ice_candidates", {"candidates": []}),
]


@pytest.mark.parametrize(("method", "path", "body"), SIGNALLING)
async def test_transport_calls_are_400_without_a_session_and_404_for_another(
    live: Live, method: str, path: str, body: Any
) -> None:
    gone = await live.call(method, P + path, json=body)
    assert (gone.status_code, detail(gone)) == (400, "No session running")
    await live.call("POST", "/start_session")
    other = await live.call(method, "/sessions/another/transport/webrtc" + path, json=body)
    assert (other.status_code, detail(other)) == (404, "Unknown session")


@pytest.mark.parametrize("body", [None, {}, {"reactor": "unknown key"}])
async def test_a_connection_is_registered_with_exactly_201(started: Live, body: Any) -> None:
    response = await started.call("POST", P + "/connections", json=body)
    assert response.status_code == 201
    assert response.json()["connection_id"] == 1002
    assert response.json()["track_map"]["main_video"]["direction"] == "out"


async def test_a_full_session_refuses_the_next_connection_with_503(started: Live) -> None:
    codes = [
        (await started.call("POST", P + "/connections")).status_code for _ in range(limits.VIEWERS_MAX + 1)
    ]
    assert codes == [201] * limits.VIEWERS_MAX + [503]


async def test_ice_servers_are_listed_under_uris_with_their_credentials(started: Live) -> None:
    assert (await started.call("GET", P + "/ice_servers")).json() == {"ice_servers": []}
    started.service.running.servers = (
        IceServer(("stun:stun.example",)),
        IceServer(("turn:turn.example",), "someone", "secret"),
    )
    assert (await started.call("GET", P + "/ice_servers")).json() == {
        "ice_servers": [
            {"uris": ["stun:stun.example"]},
            {"uris": ["turn:turn.example"], "credentials": {"username": "someone", "password": "secret"}},
        ]
    }


@pytest.mark.parametrize(("method", "replace"), [("POST", False), ("PUT", True)])
async def test_an_offer_is_taken_with_exactly_202_and_reaches_the_session(
    started: Live, method: str, replace: bool
) -> None:
    await started.call("POST", P + "/connections")
    response = await started.call(method, P + "/connections/1002/sdp_params", json=OFFER)
    assert (response.status_code, response.json()) == (202, {"connection_id": 1002})
    mapping = (TrackMapping("0", "main_video"),)
    assert started.service.running.offers[1002] == (
        Offer("v=0 offer", mapping, None, "js 2.12.3"),
        replace,
        False,
    )


@pytest.mark.parametrize(("method", "replace"), [("POST", False), ("PUT", True)])
async def test_the_flat_routes_of_js_2_9_0_speak_of_connection_1001_as_legacy(
    started: Live, method: str, replace: bool
) -> None:
    started.service.running.answering.set()
    assert (await started.call(method, P + "/sdp_params", json=OFFER)).status_code == 202
    _, replaced, legacy = started.service.running.offers[1001]
    assert (replaced, legacy) == (replace, True)
    assert (await started.call("GET", P + "/sdp_params")).json()["sdp_answer"] == "answer to v=0 offer"
    candidates = {"candidates": [{"candidate": "candidate:1 1 udp 1 192.0.2.1 9 typ host"}]}
    assert (await started.call("POST", P + "/ice_candidates", json=candidates)).status_code == 202


@pytest.mark.parametrize(
    ("sent", "expected"),
    [(None, None), ([], ()), ([{"uris": ["stun:x"]}], (IceServer(("stun:x",)),))],
)
async def test_an_offer_may_override_the_ice_servers_even_with_none(
    started: Live, sent: Any, expected: tuple[IceServer, ...] | None
) -> None:
    await started.call("POST", P + "/connections")
    body = OFFER if sent is None else OFFER | {"ice_servers": sent}
    await started.call("POST", P + "/connections/1002/sdp_params", json=body)
    assert started.service.running.offers[1002][0].ice_servers == expected


async def test_the_answer_is_202_and_empty_until_it_exists_and_can_then_be_read_again(started: Live) -> None:
    await started.call("POST", P + "/connections")
    await started.call("POST", P + "/connections/1002/sdp_params", json=OFFER)
    waiting = await started.call("GET", P + "/connections/1002/sdp_params")
    assert (waiting.status_code, waiting.content) == (202, b"")
    started.service.running.answering.set()
    for _ in range(2):
        response = await started.call("GET", P + "/connections/1002/sdp_params")
        assert response.status_code == 200
        assert response.json() == {"sdp_answer": "answer to v=0 offer", "connection_id": 1002}


async def test_the_answer_is_held_open_until_it_exists(started: Live) -> None:
    await started.call("POST", P + "/connections")
    await started.call("POST", P + "/connections/1002/sdp_params", json=OFFER)
    asking = asyncio.create_task(started.call("GET", P + "/connections/1002/sdp_params"))
    await started.call("GET", "/session")
    assert not asking.done()
    started.service.running.answering.set()
    assert (await asking).status_code == 200


@pytest.mark.parametrize(
    ("broken", "status", "text"),
    [
        (OfferRejected("no m-section"), 400, "no m-section"),
        (PeerFailed("/secret/path broke"), 500, "internal error; the operator's log has the details"),
    ],
)
async def test_an_offer_that_fails_is_told_to_whoever_asks_for_the_answer(
    started: Live, broken: Exception, status: int, text: str
) -> None:
    await started.call("POST", P + "/connections")
    started.service.running.broken = broken
    response = await started.call("GET", P + "/connections/1002/sdp_params")
    assert (response.status_code, detail(response)) == (status, text)


@pytest.mark.parametrize(("method", "path", "body"), [case for case in SIGNALLING if "1002" in case[1]])
async def test_an_unknown_connection_is_404(started: Live, method: str, path: str, body: Any) -> None:
    assert (await started.call(method, P + path, json=body)).status_code == 404


async def test_candidates_may_come_before_the_offer_and_be_none(started: Live) -> None:
    await started.call("POST", P + "/connections")
    path = P + "/connections/1002/ice_candidates"
    one = {"candidate": "candidate:1", "sdp_mid": "0", "sdp_mline_index": 0}
    sent = {"candidates": [one, {"candidate": "candidate:2"}], "is_final": False, "client_info": {}}
    assert (await started.call("POST", path, json=sent)).status_code == 202
    assert (await started.call("POST", path, json={"candidates": [], "is_final": True})).status_code == 202
    assert started.service.running.candidates[1002] == [
        Candidate("candidate:1", "0", 0),
        Candidate("candidate:2", None, None),
    ]


MALFORMED = [
    b"not json",
    b"[]",
    b'"text"',
    b"{",
    b"\xff\xfe",
    b'{"sdp_offer": NaN}',
    b'{"sdp_offer": "a", "sdp_offer": "b"}',
    b'{"sdp_offer": "\\ud800"}',
    b'{"sdp_offer": 7}',
    b'{"client_info": {}}',
    b'{"sdp_offer": "x", "track_mapping": {}}',
    b'{"sdp_offer": "x", "track_mapping": [{"mid": 0}]}',
    b'{"sdp_offer": "x", "ice_servers": [{"urls": ["stun:x"]}]}',
    b'{"sdp_offer": ' + b"[" * 5_000 + b"]" * 5_000 + b"}",
    b'{"sdp_offer": ' + b"9" * 5_000 + b"}",
]


async def test_a_malformed_body_is_422_and_never_echoed(started: Live) -> None:
    await started.call("POST", P + "/connections")
    for content in MALFORMED:
        response = await started.call("POST", P + "/connections/1002/sdp_params", content=content)
        assert response.status_code == 422, content[:80]
        assert len(response.content) < 1_000
        assert detail(response)
    assert started.service.running.offers == {}


async def test_an_offer_beyond_its_limit_is_400_and_never_reaches_the_session(started: Live) -> None:
    await started.call("POST", P + "/connections")
    body = OFFER | {"sdp_offer": "v" * (limits.OFFER_MAX_BYTES + 1)}
    response = await started.call("POST", P + "/connections/1002/sdp_params", json=body)
    assert response.status_code == 400
    assert response.json()["code"] == "offer_rejected"
    assert started.service.running.offers == {}


async def test_more_candidates_than_the_limit_in_one_call_are_422(started: Live) -> None:
    await started.call("POST", P + "/connections")
    body = {"candidates": [{"candidate": "candidate:1"}] * (limits.OFFER_MAX_CANDIDATES + 1)}
    response = await started.call("POST", P + "/connections/1002/ice_candidates", json=body)
    assert response.status_code == 422


# Uploads and clips ---------------------------------------------------------------------------------


async def test_an_upload_goes_through_its_absolute_url_and_keeps_its_bytes(started: Live) -> None:
    content = bytes(range(256)) * 300
    slot = await started.call(
        "POST",
        f"/sessions/{SESSION}/uploads",
        json={"name": "../../etc/passwd", "size": len(content), "mime_type": "image/png"},
    )
    assert slot.status_code == 201
    assert slot.json()["presigned_url"].startswith(f"{started.server.url}/sessions/{SESSION}/uploads/")
    assert ".." not in slot.json()["presigned_url"]
    put = await started.call("PUT", slot.json()["presigned_url"], content=content)
    assert put.status_code == 200
    upload_id = slot.json()["presigned_id"]
    reference = {"upload_id": upload_id, "name": "x", "mime_type": "y", "size": 1}
    files = await started.service.running.uploads.resolve({}, {"image": reference})
    assert files[upload_id].data == content
    again = await started.call("PUT", slot.json()["presigned_url"], content=content)
    assert again.status_code == 409


async def test_the_upload_url_uses_the_host_that_the_client_named(started: Live) -> None:
    host = f"localhost:{started.server.port}"
    body = {"name": "a", "size": 1, "mime_type": "b"}
    slot = await started.call("POST", f"/sessions/{SESSION}/uploads", json=body, headers={"Host": host})
    assert slot.json()["presigned_url"].startswith(f"http://{host}/sessions/")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"name": "", "size": 1, "mime_type": "a/b"}, 400),
        ({"name": "a", "size": 1, "mime_type": " "}, 400),
        ({"name": "a", "size": 0, "mime_type": "a/b"}, 400),
        ({"name": "a", "size": -5, "mime_type": "a/b"}, 400),
        ({"name": "a" * 256, "size": 1, "mime_type": "a/b"}, 400),
        ({"name": "a", "size": 1, "mime_type": "a/b", "upload_id": "../x"}, 400),
        ({"name": "a", "size": limits.UPLOAD_MAX_BYTES + 1, "mime_type": "a/b"}, 413),
        ({"name": "a", "mime_type": "a/b"}, 422),
        ({"name": "a", "size": "many", "mime_type": "a/b"}, 422),
    ],
)
async def test_an_upload_that_cannot_be_is_refused(started: Live, body: Any, status: int) -> None:
    response = await started.call("POST", f"/sessions/{SESSION}/uploads", json=body)
    assert response.status_code == status
    assert detail(response)


async def test_upload_slots_are_bounded_and_ids_taken_once(started: Live) -> None:
    body = {"name": "a", "size": 1, "mime_type": "a/b"}
    path = f"/sessions/{SESSION}/uploads"
    assert (await started.call("POST", path, json=body | {"upload_id": "one"})).status_code == 201
    assert (await started.call("POST", path, json=body | {"upload_id": "one"})).status_code == 409
    rest = [
        (await started.call("POST", path, json=body)).status_code for _ in range(limits.UPLOADS_PER_SESSION)
    ]
    assert rest == [201] * (limits.UPLOADS_PER_SESSION - 1) + [429]


@pytest.mark.parametrize(
    ("content", "got"), [(b"abc", "got 3"), (b"abcdef", "got at least 6"), (b"", "got 0")]
)
async def test_an_upload_of_another_length_is_400_and_says_both(
    started: Live, content: bytes, got: str
) -> None:
    body = {"name": "a", "size": 5, "mime_type": "a/b"}
    slot = (await started.call("POST", f"/sessions/{SESSION}/uploads", json=body)).json()
    response = await started.call("PUT", slot["presigned_url"], content=content)
    assert response.status_code == 400
    assert detail(response) == f"expected 5 bytes, {got}"
    assert (await started.call("PUT", slot["presigned_url"], content=b"abcde")).status_code == 200


@pytest.mark.parametrize("path", ["unknown/key", "one/wrong-key"])
async def test_an_upload_needs_its_id_and_its_key(started: Live, path: str) -> None:
    body = {"name": "a", "size": 5, "mime_type": "a/b", "upload_id": "one"}
    await started.call("POST", f"/sessions/{SESSION}/uploads", json=body)
    response = await started.call("PUT", f"/sessions/{SESSION}/uploads/{path}", content=b"abcde")
    assert response.status_code == 404


async def test_an_upload_may_be_larger_than_other_bodies(started: Live) -> None:
    size = limits.HTTP_BODY_MAX_BYTES + 1
    body = {"name": "a", "size": size, "mime_type": "a/b"}
    slot = (await started.call("POST", f"/sessions/{SESSION}/uploads", json=body)).json()
    assert (await started.call("PUT", slot["presigned_url"], content=bytes(size))).status_code == 200


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("session_id=a&start=0.000&end=4.000", 410),
        ("session_id=a&start=-1&end=4", 400),
        ("session_id=a&start=4&end=4", 400),
        ("session_id=a&start=0&end=inf", 400),
        ("session_id=a&start=nan&end=1", 400),
        ("session_id=a&start=x&end=1", 422),
        ("session_id=a", 422),
    ],
)
async def test_clips_are_gone_because_nothing_is_recorded(live: Live, query: str, status: int) -> None:
    response = await live.call("GET", f"/clips?{query}")
    assert response.status_code == status
    assert detail(response)


async def test_chunks_of_unknown_recordings_are_gone(live: Live) -> None:
    assert (await live.call("GET", "/clips/chunks/some/init.mp4")).status_code == 410


# Operators -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", list(State))
async def test_health_is_ready_only_while_sessions_can_be_served(live: Live, state: State) -> None:
    live.service.lifecycle.state = state
    response = await live.call("GET", "/health")
    ready = state not in (State.CREATED, State.TERMINATED)
    assert response.status_code == (200 if ready else 503)
    assert response.json()["status"] == ("healthy" if ready else "unhealthy")
    assert (await live.call("GET", "/health/live")).status_code == 200


async def test_schema_and_metrics_are_what_the_runtime_says(live: Live) -> None:
    assert (await live.call("GET", "/schema")).json()["openapi"] == "3.1.0"
    metrics = await live.call("GET", "/metrics")
    assert metrics.text == "reactor_sessions_total 3\n"
    assert metrics.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"


async def read_events(live: Live, count: int, path: str, **headers: str) -> list[tuple[int, Any]]:
    found: list[tuple[int, Any]] = []
    async with live.client.stream("GET", path, headers=headers) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        seq = 0
        async for line in response.aiter_lines():
            if line.startswith("id: "):
                seq = int(line[4:])
            if line.startswith("data: "):
                found.append((seq, json.loads(line[6:])))
            if len(found) == count:
                break
    return found


async def test_events_stream_from_where_the_reader_left_off(live: Live) -> None:
    for state in (State.READY, State.WAITING, State.STREAMING):
        live.service.journal.note("command", state, {"n": 1})
    assert [seq for seq, _ in await read_events(live, 3, "/events")] == [1, 2, 3]
    assert [seq for seq, _ in await read_events(live, 1, "/events?since=2")] == [3]
    assert [seq for seq, _ in await read_events(live, 2, "/events?since=0", **{"Last-Event-ID": "1"})] == [
        2,
        3,
    ]
    [(_, event)] = await read_events(live, 1, "/events?since=2")
    assert (event["type"], event["event"], event["from"], event["to"]) == (
        "transition",
        "command",
        "streaming",
        "streaming",
    )


async def test_events_arrive_while_they_happen(live: Live) -> None:
    reading = asyncio.create_task(read_events(live, 1, "/events"))
    await live.call("GET", "/health")
    live.service.journal.transition(Transition(Event.START_SESSION, State.READY, State.WAITING))
    [(seq, event)] = await asyncio.wait_for(reading, 5)
    assert (seq, event["event"], event["to"]) == (1, "start_session", "waiting")


async def test_readers_of_events_are_bounded_and_their_places_come_back(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "EVENT_STREAMS", 1)
    async with live.client.stream("GET", "/events") as first:
        await anext(first.aiter_lines())
        assert (await live.call("GET", "/events")).status_code == 503
    live.service.journal.note("command", State.READY)

    async def read_again() -> None:
        while True:
            async with live.client.stream("GET", "/events") as second:
                if second.status_code == 200:
                    return

    await asyncio.wait_for(read_again(), 5)


# Browsers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/start_session", P + "/connections", "/session", "/anything"])
async def test_a_preflight_of_any_origin_is_200_and_allows_what_it_asks(path: str) -> None:
    wanted = (
        "authorization, content-type, reactor-api-version, reactor-api-accept-version, reactor-webrtc-version"
    )
    async with serving(token=TOKEN) as live:
        response = await live.call(
            "OPTIONS",
            path,
            headers={
                "Origin": "https://app.example",
                "Access-Control-Request-Method": "PUT",
                "Access-Control-Request-Headers": wanted,
            },
        )
    assert response.status_code == 200
    assert response.headers["access-control-allow-origin"] == "*"
    assert response.headers["access-control-allow-headers"] == wanted
    for method in ("GET", "POST", "PUT"):
        assert method in response.headers["access-control-allow-methods"]


async def test_refusals_and_failures_can_be_read_across_origins(live: Live) -> None:
    origin = {"Origin": "https://app.example"}
    refused = await live.call("GET", P + "/ice_servers", headers=origin)
    assert refused.headers["access-control-allow-origin"] == "*"
    live.service.failure = RuntimeError("/home/someone/secret.py, token abc")
    failed = await live.call("GET", "/session", headers=origin)
    assert (failed.status_code, failed.json()) == (
        500,
        {"detail": "internal error", "code": "internal_error"},
    )
    assert failed.headers["access-control-allow-origin"] == "*"


async def test_the_page_and_its_files_are_served_with_types_and_a_strict_policy(live: Live) -> None:
    page = await live.call("GET", "/")
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert page.headers["cache-control"] == "no-cache"
    script = await live.call("GET", "/server.js")
    assert script.headers["content-type"] == "text/javascript; charset=utf-8"
    fresh = await live.call("GET", "/server.js", headers={"If-None-Match": script.headers["etag"]})
    assert (fresh.status_code, fresh.content) == (304, b"")


@pytest.mark.parametrize(
    "path",
    [
        "/../app.py",
        "/%2e%2e/app.py",
        "/..%2fapp.py",
        "//index.html",
        "/page/index.html",
        "/index.html/",
        "/.git",
    ],
)
async def test_no_path_leads_out_of_the_page(live: Live, path: str) -> None:
    answer = await live.raw(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 404 ")


async def test_the_http_api_describes_itself(live: Live) -> None:
    document = (await live.call("GET", "/openapi.json")).json()
    path = "/sessions/{session_id}/transport/webrtc/connections/{connection_id}/sdp_params"
    schema = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert "sdp_offer" in schema["properties"]
    assert "/" not in document["paths"]


# Access --------------------------------------------------------------------------------------------

OPEN = "needs no token"
SECRET = "needs the token"
KEYED = "needs the key in its own path"

#: Every route. A new one has to be entered here, with what it demands.
ACCESS = {
    "POST /start_session": SECRET,
    "GET /session": SECRET,
    "POST /stop_session": SECRET,
    "GET /sessions/{session_id}/transport/webrtc/ice_servers": SECRET,
    "POST /sessions/{session_id}/transport/webrtc/connections": SECRET,
    "POST /sessions/{session_id}/transport/webrtc/connections/{connection_id}/sdp_params": SECRET,
    "PUT /sessions/{session_id}/transport/webrtc/connections/{connection_id}/sdp_params": SECRET,
    "GET /sessions/{session_id}/transport/webrtc/connections/{connection_id}/sdp_params": SECRET,
    "POST /sessions/{session_id}/transport/webrtc/connections/{connection_id}/ice_candidates": SECRET,
    "POST /sessions/{session_id}/transport/webrtc/sdp_params": SECRET,
    "PUT /sessions/{session_id}/transport/webrtc/sdp_params": SECRET,
    "GET /sessions/{session_id}/transport/webrtc/sdp_params": SECRET,
    "POST /sessions/{session_id}/transport/webrtc/ice_candidates": SECRET,
    "POST /sessions/{session_id}/uploads": SECRET,
    "PUT /sessions/{session_id}/uploads/{upload_id}/{key}": KEYED,
    "GET /clips": SECRET,
    "GET /clips/chunks/{recording}/{file}": SECRET,
    "GET /schema": SECRET,
    "GET /health": OPEN,
    "GET /health/live": OPEN,
    "GET /metrics": SECRET,
    "GET /events": SECRET,
    "GET /openapi.json": SECRET,
    "HEAD /openapi.json": SECRET,
}


async def test_every_route_has_a_rule_and_keeps_it() -> None:
    async with serving(token=TOKEN) as live:
        app = create_app(live.service, Settings.load({"token": TOKEN}, {}))
        seen = set()
        for route in all_routes(app.routes):
            for method in route.methods or ():
                rule = f"{method} {route.path}"
                page = route.path == "/" or route.path.rsplit(".", 1)[-1] in (
                    "html",
                    "js",
                    "css",
                    "svg",
                    "png",
                )
                access = OPEN if page and method in ("GET", "HEAD") else ACCESS[rule]
                seen.add(rule)
                path = route.path.format(
                    session_id=SESSION, connection_id=1002, recording="r", file="f", upload_id="u", key="k"
                )
                response = await live.call(method, path)
                if access is SECRET:
                    assert response.status_code == 401, rule
                    assert response.headers["www-authenticate"] == "Bearer"
                else:
                    assert response.status_code != 401, rule
                if access is KEYED:
                    assert response.status_code in (400, 404), rule
        assert seen >= ACCESS.keys(), "a route in the table is gone"


def all_routes(routes: Sequence[Any]) -> list[Route]:
    found: list[Route] = []
    for route in routes:
        # FastAPI keeps included routers as they are in newer versions, and copied their routes before.
        included = getattr(route, "original_router", None)
        if included is not None:
            found += all_routes(included.routes)
        else:
            assert isinstance(route, Route | APIRoute), f"{route!r} is no plain route: give it its own rule"
            found.append(route)
    return found


CREDENTIALS: list[tuple[dict[str, str], str, int]] = [
    ({}, "", 401),
    ({"Authorization": f"Bearer {TOKEN}"}, "", 200),
    ({"Authorization": f"bearer {TOKEN}"}, "", 200),
    ({"Authorization": TOKEN}, "", 401),
    ({"Authorization": f"Basic {TOKEN}"}, "", 401),
    ({"Authorization": "Bearer local"}, "", 401),
    ({"Authorization": "Bearer"}, "", 401),
    ({"Authorization": f"Bearer {TOKEN}x"}, "", 401),
    ({"Authorization": f"Bearer {TOKEN[:-1]}"}, "", 401),
    ({}, f"?token={TOKEN.replace(' ', '%20')}", 200),
    ({}, f"?token={TOKEN.replace(' ', '+')}", 200),
    ({"Authorization": "Bearer local"}, f"?token={TOKEN.replace(' ', '+')}", 200),
    ({}, "?token=", 401),
    ({}, "?token=wrong", 401),
    ({}, f"?token=wrong&token={TOKEN.replace(' ', '+')}", 401),
    ({}, f"?Token={TOKEN.replace(' ', '+')}", 401),
    ({}, "?token=%ff%fe&" + "&".join("abcdef"), 401),
]


async def test_the_token_is_taken_from_the_header_or_the_query() -> None:
    async with serving(token=TOKEN) as live:
        for headers, query, status in CREDENTIALS:
            response = await live.client.get(f"{live.server.url}/session{query}", headers=headers)
            assert response.status_code == status, (headers, query)


SPELLINGS = [
    "//session",
    "/session/",
    "/./session",
    "/%73ession",
    "/SESSION",
    "/session.",
    "/health/../session",
    "/health%2f..%2fsession",
    "/health;/session",
    "/%2fsession",
    "/sessions/a/uploads/b%2f..%2f../session",
]


async def test_no_spelling_of_a_path_gets_around_the_token() -> None:
    async with serving(token=TOKEN) as live:
        for path in SPELLINGS:
            for method in ("GET", "PUT", "POST", "HEAD", "TRACE"):
                request = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
                answer = await live.raw(request.encode())
                assert answer.startswith(b"HTTP/1.1 401 "), (method, path, answer)


async def test_the_word_local_that_clients_send_means_nothing_without_a_token(live: Live) -> None:
    response = await live.call("GET", "/session", headers={"Authorization": "Bearer local"})
    assert response.status_code == 200


async def test_version_headers_of_the_clients_are_tolerated(live: Live) -> None:
    headers = {
        "Reactor-API-Version": "9",
        "Reactor-API-Accept-Version": "1",
        "Reactor-WebRTC-Version": "1.0",
    }
    assert (await live.call("GET", "/session", headers=headers)).status_code == 200


HOSTS = [
    ("localhost", 200),
    ("localhost:5173", 200),
    ("LOCALHOST", 200),
    ("127.0.0.1:8080", 200),
    ("[::1]:8080", 200),
    ("attacker.example", 421),
    ("attacker.example:8080", 421),
    ("localhost.attacker.example", 421),
    ("127.0.0.1.attacker.example", 421),
    ("192.168.1.5", 421),
    ("localhost@attacker.example", 400),
    ("a b", 400),
    ("[::1", 400),
    ("", 400),
]


async def test_a_loopback_server_answers_to_local_names_only(live: Live) -> None:
    for host, status in HOSTS:
        answer = await live.raw(
            f"GET /session HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()
        )
        assert answer.startswith(f"HTTP/1.1 {status} ".encode()), host
        assert (b"session_id" in answer) == (status == 200), host


async def test_with_a_token_any_host_name_is_answered() -> None:
    async with serving(token=TOKEN) as live:
        headers = {"Host": "gpu.example", "Authorization": f"Bearer {TOKEN}"}
        assert (await live.call("GET", "/session", headers=headers)).status_code == 200


# What is not HTTP, or too much of it ---------------------------------------------------------------

CHUNKED = b"POST /start_session HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
INVALID = [
    b"\r\n\r\n\x00\x01\x02\r\n\r\n",
    b"HELLO\r\n\r\n",
    b"GET\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nbad header\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nA : b\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nA: b\x00c\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nA: " + b"x" * (limits.HTTP_HEADER_MAX_BYTES + 1),
    b"GET /" + b"x" * (limits.HTTP_HEADER_MAX_BYTES + 1),
    b"GET /\xff\xfe HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
    b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: many\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS hello\r\n\r\n",
]


async def test_what_is_not_http_is_answered_in_json_and_closed(live: Live) -> None:
    for request in INVALID:
        answer = await live.raw(request)
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 501 ")), (request[:80], answer)
        assert b"application/json" in head
        assert json.loads(body)["detail"]
    assert (await live.call("GET", "/session")).status_code == 200


@pytest.mark.parametrize("chunk", [b"zz\r\nhello\r\n", b"-1\r\n", b"5\r\nhelloX\r\n", b"f" * 40 + b"\r\n"])
async def test_bad_chunks_end_the_connection_and_start_nothing(live: Live, chunk: bytes) -> None:
    await live.raw(CHUNKED + chunk)
    assert live.service.lifecycle.state is State.READY
    assert (await live.call("GET", "/session")).status_code == 200


async def test_a_body_is_counted_as_it_streams_whatever_its_headers_say(live: Live) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(2 * limits.HTTP_BODY_MAX_BYTES // 4096):
            yield b" " * 4096

    announced = await live.call("POST", "/start_session", content=bytes(limits.HTTP_BODY_MAX_BYTES + 1))
    streamed = await live.call("POST", "/start_session", content=endless())
    assert (announced.status_code, streamed.status_code) == (413, 413)
    assert "bytes" in detail(announced)
    assert "bytes" in detail(streamed)
    assert live.service.lifecycle.state is State.READY


@pytest.mark.slow
async def test_a_body_in_tiny_chunks_is_just_a_body(live: Live) -> None:
    padding = b"".join(b"1\r\n \r\n" for _ in range(20_000))
    last = b"2\r\n{}\r\n0\r\n\r\n"
    answer = await live.raw(CHUNKED.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n") + padding + last)
    assert answer.startswith(b"HTTP/1.1 200 ")


async def test_headers_that_do_not_end_in_time_cost_the_connection(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "HTTP_HEADER_S", 0.05)
    assert await live.raw(b"") == b""
    assert await live.raw(b"GET / HTTP/1.1\r\nHost: loc") == b""


async def test_a_deadline_holds_for_the_second_request_of_a_connection(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "HTTP_HEADER_S", 0.05)
    reader, writer = await asyncio.open_connection("127.0.0.1", live.server.port)
    writer.write(b"HEAD /index.html HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
    writer.write(b"GET / HTTP/1.1\r\nHost: loc")
    assert await asyncio.wait_for(reader.read(), 3) == b""
    writer.close()


async def test_a_body_that_never_comes_is_408(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "HTTP_BODY_S", 0.05)
    answer = await live.raw(
        b"POST /start_session HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{", until_eof=False
    )
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert live.service.lifecycle.state is State.READY


async def test_sockets_that_say_nothing_do_not_keep_a_client_out(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    idle = [await asyncio.open_connection("127.0.0.1", live.server.port) for _ in range(50)]
    try:
        assert (await live.call("GET", "/session")).status_code == 200
        monkeypatch.setattr(limits, "HTTP_SOCKETS", 10)
        assert (await live.raw(b"")).startswith(b"HTTP/1.1 503 ")
    finally:
        for _, writer in idle:
            writer.close()


# The server itself ---------------------------------------------------------------------------------


async def test_a_taken_port_is_an_error_at_once() -> None:
    async with serving() as live:
        settings = Settings.load({"host": "127.0.0.1", "port": live.server.port}, {})
        with pytest.raises(OSError, match="in use"):
            HttpServer(create_app(live.service, settings), settings).bind()


async def test_closing_frees_the_port_ends_streams_and_may_be_done_twice() -> None:
    async with serving() as live:
        async with live.client.stream("GET", "/events") as stream:
            lines = stream.aiter_lines()
            await anext(lines)
            live.service.journal.close()
            assert [line async for line in lines] == [""]
        port = live.server.port
        await live.server.close()
        await live.server.close()
        with socket.socket() as again:
            again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            again.bind(("127.0.0.1", port))


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:"),
        ("localhost", "http://localhost:"),
        ("0.0.0.0", "http://127.0.0.1:"),
        ("::1", "http://[::1]:"),
    ],
)
async def test_the_url_can_be_opened_on_this_machine(host: str, url: str) -> None:
    service = MemoryService()
    settings = Settings.load({"host": host, "port": 0, "allow_public": True}, {})
    server = HttpServer(create_app(service, settings), settings)
    try:
        await server.start()
    except OSError as error:
        pytest.skip(f"{host} is not available here: {error}")
    try:
        assert server.url.startswith(url)
        async with httpx.AsyncClient(trust_env=False) as client:
            assert (await client.get(server.url + "/session")).status_code == 200
    finally:
        await server.close()
