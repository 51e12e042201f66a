"""The HTTP surface: what every route answers, over a runtime kept in memory."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from support.memory_runtime import OFFER, SESSION, Live, P, detail, serving

from reactor_runtime import limits
from reactor_runtime.errors import OfferRejected, PeerFailed
from reactor_runtime.session.lifecycle import Event, State, Transition
from reactor_runtime.session.service import Offer
from reactor_runtime.webrtc.peer import Candidate, IceServer, TrackMapping


@pytest.fixture
async def live() -> AsyncIterator[Live]:
    async with serving() as it:
        yield it


@pytest.fixture
async def started(live: Live) -> Live:
    assert (await live.call("POST", "/start_session", json={})).status_code == 200
    return live


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
        (
            await started.call("POST", P + "/connections", headers={"X-Forwarded-For": f"192.0.2.{n}"})
        ).status_code
        for n in range(limits.VIEWERS_MAX + 1)
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
    assert metrics.text.startswith("reactor_sessions_total 3\n")
    assert "reactor_http_requests_limited_total 0.0" in metrics.text
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


async def test_a_new_reader_of_events_gets_a_place_and_the_oldest_gives_it(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "EVENT_STREAMS", 1)
    async with live.client.stream("GET", "/events") as first:
        told = first.aiter_lines()
        assert await anext(told) == ": open"
        async with live.client.stream("GET", "/events") as second:
            assert await anext(second.aiter_lines()) == ": open"
            async with asyncio.timeout(5):
                assert [line async for line in told] == [""]  # ended properly, so that it may ask again
            live.service.journal.note("command", State.READY)
            assert [seq for seq, _ in await read_events(live, 1, "/events")] == [1]


async def test_a_reader_of_events_has_to_ask_again_after_a_while(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "EVENT_STREAM_S", 0.05)
    monkeypatch.setattr(limits, "EVENT_IDLE_S", 0.01)
    async with asyncio.timeout(5), live.client.stream("GET", "/events") as stream:
        lines = [line async for line in stream.aiter_lines() if line]
    assert lines[0] == ": open"
    assert set(lines[1:]) == {": still here"}


async def test_one_address_that_registers_all_the_time_keeps_nobody_out(started: Live) -> None:
    async def ask(address: str) -> int:
        answer = await started.call("POST", P + "/connections", headers={"X-Forwarded-For": address})
        return answer.status_code

    codes = {await ask("192.0.2.1") for _ in range(limits.OFFERS_PER_ADDRESS_BURST + 2)}
    assert codes == {201, 503}
    assert await ask("192.0.2.2") == 201
