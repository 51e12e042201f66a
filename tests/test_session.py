"""Sessions from start to end, with the real server, the real WebRTC engine and real clients; no browser.

What time does to them, and who is refused when, is looked at in tests/session, where no real time passes.

The model is a small one on a thread of this process, because what it does is not what is looked at here.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiortc
import httpx
import numpy as np
import pytest
from support.served import MODEL, metrics, served, state, until_state
from support.visitor import Refused, Visitor, watching

from reactor_runtime import limits
from reactor_runtime.server.runtime import Runtime
from reactor_runtime.session.lifecycle import State

pytestmark = pytest.mark.slow


@pytest.fixture
async def runtime(tmp_path: Path) -> AsyncIterator[Runtime]:
    async with served(tmp_path, MODEL) as made:
        yield made


@pytest.fixture
async def shared(tmp_path: Path) -> AsyncIterator[Runtime]:
    async with served(tmp_path, MODEL, join="drive") as made:
        yield made


@pytest.fixture(autouse=True)
def no_errors_in_the_log(caplog: pytest.LogCaptureFixture) -> Any:
    """What nobody handles ends there: failed tasks, callbacks that raised, errors that nobody retrieved."""
    yield
    assert [r.getMessage() for r in caplog.records if r.levelno >= logging.ERROR] == []


# From start to end ------------------------------------------------------------------------------------


async def test_a_session_goes_from_ready_to_streaming_and_back_to_ready(runtime: Runtime) -> None:
    assert await state(runtime) == "ready"
    async with Visitor(runtime.url) as visitor:
        descriptor = (await visitor.start()).json()
        assert descriptor["state"] == "waiting"
        assert descriptor["capabilities"]["tracks"][0]["name"] == "main_video"
        await visitor.watch(5)
        assert await state(runtime) == "streaming"
        await visitor.http.post("/stop_session")
        assert (await visitor.hear("sessionEnded")) == {"reason": "stopped"}
        await until_state(runtime, "ready")
        await visitor.until(lambda: visitor.lost)
    events = [entry.event for entry in runtime.sessions.journal.since(0)]
    moved = [event for event in events if event not in ("offer", "viewer_gone", "command")]
    assert moved == [
        "initialization_success",
        "start_session",
        "connection_opened",
        "stop_session",
        "cleanup_complete",
    ]


async def test_a_start_while_the_last_session_closes_waits_and_is_never_refused(runtime: Runtime) -> None:
    took: list[float] = []
    for _ in range(10):
        async with watching(runtime.url) as visitor:
            answer = await visitor.http.post("/stop_session")
            assert answer.status_code == 200
            began_s = time.monotonic()
            again = await visitor.http.post("/start_session")
            took.append(time.monotonic() - began_s)
            assert again.status_code == 200, again.text
            await visitor.http.post("/stop_session")
        await until_state(runtime, "ready")
    print(f"start while closing: median {np.median(took):.3f} s, worst {max(took):.3f} s")
    assert np.median(took) < 0.5


@pytest.mark.parametrize(
    ("wire", "body", "kind", "said"),
    [
        ("v0", {"reason": "maintenance"}, "sessionEnded", {"reason": "maintenance"}),
        ("v1", {}, "sessionEnded", {"reason": "stopped"}),
        ("v0", {"moderate": True}, "sessionEnded", {"reason": "moderated"}),
        ("v1", {"moderate": True, "reason": "rules"}, "moderation", {"message": "rules"}),
    ],
)
async def test_every_stop_tells_its_reason(
    runtime: Runtime, wire: Any, body: dict[str, Any], kind: str, said: dict[str, Any]
) -> None:
    async with watching(runtime.url, wire=wire) as visitor:
        await visitor.http.post("/stop_session", json=body)
        assert said.items() <= (await visitor.hear(kind)).items()
        await visitor.hear("sessionEnded")
        await until_state(runtime, "ready")


async def test_a_model_that_returns_is_shown_to_its_last_frame(tmp_path: Path) -> None:
    source = """
        import numpy as np
        from reactor_runtime import VideoModel, get_ctx

        class Model(VideoModel):
            fps = 30

            def start_session(self):
                for n in range(20):
                    get_ctx().emit_frame(np.full((120, 160, 3), 10 * n, np.uint8))
    """
    async with served(tmp_path, source) as runtime, Visitor(runtime.url) as visitor:
        await visitor.start()
        await visitor.connect()
        visitor.resume()
        assert await visitor.hear("sessionEnded") == {"reason": "finished"}
        await until_state(runtime, "ready")
        counts = await metrics(runtime)
        assert counts["reactor_frames_emitted_total"] == 20
        assert counts["reactor_frames_shown_total"] + counts["reactor_frames_skipped_total"] == 20
        assert counts["reactor_frames_dropped_total"] == 0
        # aiortc shows a picture when the next one comes, so the last stays with it.
        assert visitor.frames >= counts["reactor_frames_shown_total"] - 2


# Several viewers --------------------------------------------------------------------------------------


async def test_others_join_with_their_own_format_and_each_gets_what_is_for_it(shared: Runtime) -> None:
    async with (
        watching(shared.url, wire="v0") as first,
        Visitor(shared.url, wire="v1") as second,
        Visitor(shared.url, wire="v0") as third,
    ):
        for other in (second, third):
            await other.adopt()
            assert other.session_id == first.session_id
            await other.watch(3)
        assert (await metrics(shared))["reactor_viewers"] == 3
        await second.ask("shout", text="hello")
        for visitor in (first, second, third):
            assert await visitor.hear("message:shouted") == {"text": "hello"}
        assert await second.ask("note", number=7) == {"order": [7]}
        await first.see(3)
        assert not first.heard("message:note")
        assert not third.heard("message:note")
        # The last one out is noticed, the ones before are not the end.
        await first.vanish()
        await third.vanish()
        await second.see(5)
        assert await state(shared) == "streaming"
        assert (await metrics(shared))["reactor_viewers"] == 1


async def test_an_input_track_has_one_publisher_until_it_lets_go_or_leaves(shared: Runtime) -> None:
    async with watching(shared.url) as first, Visitor(shared.url, wire="v1") as second:
        await second.adopt()
        await second.watch()
        await first.publish()
        await first.publish()
        with pytest.raises(Refused, match="track already published") as refused:
            await second.publish()
        assert refused.value.code == "publish_refused"
        with pytest.raises(Refused, match="unknown input track 'main_video'"):
            await second.publish("main_video")
        first.unpublish()
        await first.ask("note", number=1)
        await second.publish()
        await second.vanish()
        await first.until(lambda: (now := shared.sessions.slots[0].session) and now.viewers == 1)
        await first.publish()


async def test_pausing_stops_one_viewers_picture_and_resuming_begins_with_a_keyframe(
    shared: Runtime,
) -> None:
    async with watching(shared.url) as first, Visitor(shared.url) as second:
        await second.adopt()
        await second.watch(3)
        second.pause()
        await second.ask("note", number=1)
        await asyncio.sleep(0.3)
        seen = second.frames
        await first.see(10)
        assert second.frames <= seen + 1
        await asyncio.sleep(0.6)
        second.resume()
        await second.see(5, within_s=2)
        first.pause()
        second.pause()
        await first.ask("note", number=2)
        shown = (await metrics(shared))["reactor_frames_shown_total"]
        await asyncio.sleep(0.5)
        assert (await metrics(shared))["reactor_frames_shown_total"] <= shown + 1
        first.resume()
        await first.see(5, within_s=2)


async def test_viewers_beyond_the_limit_are_refused_and_a_place_is_free_again_when_one_leaves(
    tmp_path: Path,
) -> None:
    async with (
        served(tmp_path, MODEL, viewers=2) as runtime,
        watching(runtime.url) as first,
        Visitor(runtime.url) as second,
        Visitor(runtime.url) as third,
    ):
        await second.adopt()
        await second.watch()
        await third.adopt()
        refused = await third.http.post(third.path + "/connections")
        assert refused.status_code == 503
        assert refused.json()["detail"] == "2 viewers are connected; no more are admitted"
        await second.vanish()
        await first.until(lambda: (now := runtime.sessions.slots[0].session) and now.viewers == 1)
        await third.watch()


# Connections --------------------------------------------------------------------------------------------


async def test_a_lost_viewer_comes_back_under_its_id_or_a_fresh_one(runtime: Runtime) -> None:
    async with watching(runtime.url) as visitor:
        known = visitor.connection_id
        await visitor.ask("note", number=1)
        await visitor.vanish()
        await until_state(runtime, "orphaned")
        await visitor.watch(3, method="PUT")
        assert visitor.connection_id == known
        # As the JavaScript client does it: an id that never offered, and PUT.
        await visitor.register()
        assert visitor.connection_id != known
        await visitor.watch(3, method="PUT")
        assert await visitor.ask("note", number=2) == {"order": [1, 2]}
        # While the old connection still stands.
        await visitor.watch(3, method="PUT")
        assert (await metrics(runtime))["reactor_viewers"] == 1
        refused = await visitor.offer(method="POST")
        assert refused.status_code == 409


async def test_offers_in_quick_succession_leave_one_peer(runtime: Runtime) -> None:
    async with Visitor(runtime.url) as visitor:
        await visitor.start()
        await visitor.register()
        pc = aiortc.RTCPeerConnection()
        pc.addTransceiver("video", direction="recvonly")
        pc.createDataChannel("data")
        await pc.setLocalDescription(await pc.createOffer())
        body = {"sdp_offer": pc.localDescription.sdp, "track_mapping": []}
        puts = [visitor.http.put(visitor._params, json=body) for _ in range(3)]
        assert {answer.status_code for answer in await asyncio.gather(*puts)} == {202}
        await visitor.watch(3, method="PUT")
        await pc.close()
        await visitor.until(lambda: len(runtime._engine._peers) == 1)  # type: ignore[attr-defined]
        await visitor.ask("note", number=1)


async def test_candidates_that_come_before_the_offer_are_kept_for_it(runtime: Runtime) -> None:
    async with Visitor(runtime.url) as visitor:
        await visitor.start()
        await visitor.register()
        candidate = "candidate:1 1 udp 2130706431 192.0.2.7 50000 typ host"
        body = {"candidates": [{"candidate": candidate, "sdp_mid": "0"}], "is_final": True}
        answer = await visitor.http.post(
            f"{visitor.path}/connections/{visitor.connection_id}/ice_candidates", json=body
        )
        assert answer.status_code == 202
        await visitor.watch(3)


async def test_an_unusable_offer_is_refused_and_its_connection_can_still_be_used(runtime: Runtime) -> None:
    async with Visitor(runtime.url) as visitor:
        await visitor.start()
        await visitor.register()
        await visitor.http.post(visitor._params, json={"sdp_offer": "v=0\r\nnonsense", "track_mapping": []})
        refused = await visitor.http.get(visitor._params)
        assert refused.status_code == 400
        await visitor.until(lambda: len(runtime._engine._peers) == 0)  # type: ignore[attr-defined]
        await visitor.watch(3, method="PUT")


async def test_connections_that_never_come_about_are_freed_and_keep_nobody_out(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "JOIN_S", 2.0)
    monkeypatch.setattr(limits, "JOIN_FAIR_S", 0.2)
    pc = aiortc.RTCPeerConnection()
    pc.addTransceiver("video", direction="recvonly")
    pc.createDataChannel("data")
    await pc.setLocalDescription(await pc.createOffer())
    # From an address where nobody answers.
    sdp = "\r\n".join(
        line for line in pc.localDescription.sdp.splitlines() if not line.startswith("a=candidate")
    )
    body = {"sdp_offer": sdp + "\r\n", "track_mapping": []}
    await pc.close()
    async with Visitor(runtime.url) as visitor:
        await visitor.start()
        # One address registers more slowly than that.
        for n in range(3 * limits.CONNECTIONS_KNOWN):
            visitor.http.headers["X-Forwarded-For"] = f"192.0.2.{n}"
            await visitor.register()
        codes = set()
        for n in range(2 * limits.JOINING_MAX):
            visitor.http.headers["X-Forwarded-For"] = f"198.51.100.{n}"
            await visitor.register()
            codes.add((await visitor.http.post(visitor._params, json=body)).status_code)
            await asyncio.sleep(0.02)
        assert codes == {202, 503} or codes == {202}
        assert len(runtime._engine._peers) <= limits.JOINING_MAX + 4  # type: ignore[attr-defined]
        await asyncio.sleep(0.2)
        began_s = time.monotonic()
        visitor.http.headers["X-Forwarded-For"] = "203.0.113.1"
        visitor.connection_id = 0
        await visitor.watch()
        took_s = time.monotonic() - began_s
        print(f"connected beside {limits.JOINING_MAX} half-open connections in {took_s:.2f} s")
        assert took_s < 2
        await visitor.until(lambda: len(runtime._engine._peers) == 1)  # type: ignore[attr-defined]


# What operators see -------------------------------------------------------------------------------------


async def test_the_metrics_follow_what_happens(runtime: Runtime) -> None:
    before = await metrics(runtime)
    assert before["reactor_state[ready]"] == 1
    async with watching(runtime.url) as visitor:
        await visitor.ask("note", number=1)
        with pytest.raises(Refused):
            await visitor.ask("boom")
        await visitor.see(10)
        during = await metrics(runtime)
        assert during["reactor_state[streaming]"] == 1
        assert during["reactor_viewers"] == 1
        assert during["reactor_commands_total"] == 2
        assert during["reactor_commands_refused_total"] == 1
        assert during["reactor_frames_shown_total"] >= 10
        await visitor.leave()
        await until_state(runtime, "ready")
    after = await metrics(runtime)
    assert after["reactor_sessions_total"] == 1
    assert after["reactor_viewers"] == 0
    assert after["reactor_frames_shown_total"] >= during["reactor_frames_shown_total"]
    assert "reactor_session[fps]" not in after


async def test_the_events_tell_the_session_as_it_goes(runtime: Runtime) -> None:
    async with (
        httpx.AsyncClient(base_url=runtime.url, timeout=10) as http,
        http.stream("GET", "/events") as events,
    ):
        lines = events.aiter_lines()
        async with watching(runtime.url) as visitor:
            await visitor.leave()
        told = []
        async for line in lines:
            if line.startswith("data: "):
                event = json.loads(line[6:])
                told.append((event["event"], event["from"], event["to"]))
                if event["event"] == "cleanup_complete":
                    break
    assert ("start_session", "ready", "waiting") in told
    assert ("connection_opened", "waiting", "streaming") in told
    assert told[-1] == ("cleanup_complete", "closing", "ready")


async def test_turn_servers_are_handed_out_with_their_credentials(tmp_path: Path) -> None:
    servers = ("stun:127.0.0.1:9", "turn:ada:p%40ss@127.0.0.1:9")
    async with served(tmp_path, MODEL, ice_servers=servers) as runtime, Visitor(runtime.url) as visitor:
        await visitor.start()
        handed = (await visitor.http.get(visitor.path + "/ice_servers")).json()["ice_servers"]
        assert handed == [
            {"uris": ["stun:127.0.0.1:9"]},
            {"uris": ["turn:127.0.0.1:9"], "credentials": {"username": "ada", "password": "p@ss"}},
        ]
        await visitor.watch()


# The end of the server ----------------------------------------------------------------------------------


@pytest.mark.parametrize("wire", ["v0", "v1"])
async def test_closing_the_server_tells_the_viewers_and_leaves_nothing(tmp_path: Path, wire: Any) -> None:
    async with served(tmp_path, MODEL) as runtime, watching(runtime.url, wire=wire) as visitor:
        await runtime.close()
        assert await visitor.hear("sessionEnded") == {"reason": "server stopped"}
        await runtime.close()
        assert (await runtime.sessions.health()).state == "terminated"


async def test_the_state_machine_is_where_the_health_says(runtime: Runtime) -> None:
    assert runtime.sessions.slots[0].state is State.READY
    async with Visitor(runtime.url) as visitor:
        answer = await visitor.http.get("/health")
        assert (answer.status_code, answer.json()["state"]) == (200, "available")
        await visitor.start()
        answer = await visitor.http.get("/health")
        assert (answer.status_code, answer.json()["state"]) == (200, "serving")
