"""The line on a real server, in real time: turns that end when they were told to, and a model handed over."""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.client_model import LEFT, MODEL
from support.crowd import Crowd
from support.served import served
from support.socket_viewer import WITHIN_S, SocketViewer

from reactor_runtime.server.runtime import Runtime
from reactor_runtime.server.token_guard import SEAT_SUBPROTOCOL, SUBPROTOCOL

pytestmark = pytest.mark.slow


@asynccontextmanager
async def asking(runtime: Runtime) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=runtime.url, timeout=WITHIN_S, trust_env=False) as http:
        yield http


async def until(http: httpx.AsyncClient, ticket: str, state: str) -> dict[str, Any]:
    """Listen to a ticket until it is so far; return what was said then."""
    async with asyncio.timeout(60), http.stream("GET", f"/line/{ticket}/events") as answer:
        async for line in answer.aiter_lines():
            if line and (now := json.loads(line.removeprefix("data: ")))["state"] == state:
                return dict(now)
    raise AssertionError(f"it never was {state}")


def seated(url: str, given: dict[str, Any]) -> Any:
    """Connect with the key of a seat."""
    protocols = [SUBPROTOCOL, SEAT_SUBPROTOCOL + given["seat"]]
    return SocketViewer.joined(url, session_id=given["session_id"], subprotocols=protocols)


def left_half(viewer: SocketViewer) -> int:
    """How red the left half of the picture is."""
    return int(viewer.last[LEFT[1], LEFT[0], 0]) if viewer.last.size else -1


async def recording_of(viewer: SocketViewer) -> str:
    """The name under which what is recorded now can be fetched."""
    asked = len(viewer.told("clipReady"))
    await viewer.say({"scope": "runtime", "data": {"type": "requestRecording", "data": {}}})
    await viewer.until(lambda: len(viewer.told("clipReady")) > asked)
    return str(viewer.told("clipReady")[-1]["playlist_url"]).partition("&")[0]


async def test_a_real_model_is_handed_over_while_those_who_watch_stay_connected(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    logs = tmp_path / "logs"
    settings = {"inline": False, "turn_s": 4, "record": True, "log_session": str(logs)}
    async with served(tmp_path / "model", MODEL, **settings) as runtime, asking(runtime) as http:
        first = (await http.post("/line")).json()
        given = (await http.post(f"/line/{first['ticket']}/claim")).json()
        async with (
            seated(runtime.url, given) as driver,
            SocketViewer.joined(runtime.url, session_id=given["session_id"]) as watcher,
        ):
            assert (await driver.ask("paint", red=220))["accepted"]
            await watcher.until(lambda: left_half(watcher) > 150)
            refused = await watcher.ask("paint", red=10)
            assert refused["code"] == "not_driving"
            old_recording = await recording_of(driver)
            second = (await http.post("/line")).json()
            ends_s = time.monotonic() + (await http.get(f"/line/{first['ticket']}")).json()["ends_in_s"]
            await until(http, second["ticket"], "claim")
            late_s = time.monotonic() - ends_s
            assert abs(late_s) <= 0.5
            frames = [header.frame_id for header in watcher.headers]
            # The model begins anew at once, for all to see, and its picture goes on.
            await watcher.until(lambda: left_half(watcher) < 60)
            black_s = time.monotonic() - ends_s
            after = (await http.post(f"/line/{second['ticket']}/claim")).json()
            assert after["session_id"] == given["session_id"]
            assert after["session_log"]["path"] != given["session_log"]["path"]
            old_log = await http.get("/" + given["session_log"]["path"])
            assert old_log.status_code == 404
            async with seated(runtime.url, after) as heir:
                await heir.until(lambda: heir.last.size)
                assert left_half(heir) < 60
                assert (await driver.ask("paint", red=99))["code"] == "not_driving"
                assert (await heir.ask("paint", red=120))["accepted"]
                await watcher.until(lambda: 80 < left_half(watcher) < 160)
                assert await recording_of(heir) != old_recording
            assert watcher.closed is None
            assert driver.closed is None
            now = [header.frame_id for header in watcher.headers]
            assert now == sorted(now), "frames count on"
            assert now[-1] > frames[-1] > 60
            new_log = (await http.get("/" + after["session_log"]["path"])).text
            assert "120" in new_log
            assert "220" not in new_log
    assert len(list(logs.iterdir())) == 2
    record_property("measured", f"turn ended {late_s:+.2f} s, new picture after {black_s:.2f} s")


async def test_twelve_in_line_each_drive_within_a_second_of_their_claim_and_for_as_long_as_was_said(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    crowd = Crowd()
    claims_s: list[float] = []
    ends_s: list[float] = []
    order: list[int] = []

    async def person(number: int, http: httpx.AsyncClient, url: str, ticket: str) -> None:
        await until(http, ticket, "claim")
        claimed_s = time.monotonic()
        given = (await http.post(f"/line/{ticket}/claim")).json()
        async with seated(url, given) as me:
            assert (await me.ask("paint", red=number))["accepted"]
            claims_s.append(time.monotonic() - claimed_s)
            order.append(number)
            last = number == 11
            if last:
                return
            await me.until(lambda: me.told("turn"))
            promised_s = time.monotonic() + me.told("turn")[0]["ends_in_s"]
            await me.until(lambda: any(turn["over"] for turn in me.told("turn")))
            ends_s.append(time.monotonic() - promised_s)
            await me.until(lambda: me.told("wheel")[-1]["you"] == "watch")

    settings = {"turn_s": 1, "inline": True}
    async with served(tmp_path, MODEL, **settings) as runtime, asking(runtime) as http:
        tickets = [(await http.post("/line")).json()["ticket"] for _ in range(12)]
        async with asyncio.timeout(90):
            await asyncio.gather(
                *(person(number, http, runtime.url, ticket) for number, ticket in enumerate(tickets))
            )
    assert order == list(range(12))
    record_property(
        "measured",
        f"claim → driving {statistics.median(claims_s):.2f} s, at most {max(claims_s):.2f} s; "
        f"turn end {max(map(abs, ends_s)):.2f} s off at most",
    )
    assert max(claims_s) <= 1 + crowd.adds_s(1)
    assert max(map(abs, ends_s)) <= 0.5 + crowd.adds_s(0.5)
