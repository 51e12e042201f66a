"""The line over HTTP: join, ask, listen, claim, leave; and a start that would rather wait than be refused."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from support.memory_runtime import TOKEN, Live, detail, serving

from reactor_runtime import limits
from reactor_runtime.server.preferences import waits


@pytest.fixture
async def live() -> AsyncIterator[Live]:
    async with serving() as it:
        yield it


async def joined(live: Live) -> dict[str, Any]:
    answer = await live.call("POST", "/line", json={})
    assert answer.status_code == 201, answer.text
    assert answer.headers["cache-control"] == "no-store"
    return dict(answer.json())


async def look(live: Live, ticket: str) -> dict[str, Any]:
    return dict((await live.call("GET", f"/line/{ticket}")).json())


async def test_a_ticket_goes_from_the_line_to_the_wheel_and_out(live: Live) -> None:
    live.service.seat.taken_by_hand()
    mine = await joined(live)
    assert (mine["state"], mine["place"], mine["poll_s"]) == ("waiting", 1, 2)
    assert mine["estimate_s"]["p50"] == pytest.approx(60, abs=5)
    overview = (await live.call("GET", "/overview")).json()
    assert overview["line"] == {"waiting": 1, "turn_s": 60}
    early = await live.call("POST", f"/line/{mine['ticket']}/claim")
    assert (early.status_code, detail(early)) == (409, "it is not your turn yet")
    live.service.seat.release()
    now = await look(live, mine["ticket"])
    assert now["state"] == "claim"
    assert now["claim_by_s"] == pytest.approx(20, abs=5)
    claimed = await live.call("POST", f"/line/{mine['ticket']}/claim")
    assert claimed.status_code == 200
    assert claimed.headers["cache-control"] == "no-store"
    assert claimed.json() == {"session_id": live.service.seat.session_id, "seat": live.service.seat.key}
    assert (await look(live, mine["ticket"]))["session_id"] == live.service.seat.session_id
    left = await live.call("DELETE", f"/line/{mine['ticket']}")
    assert (left.status_code, left.content) == (204, b"")
    assert (await look(live, mine["ticket"])) == {
        "state": "gone",
        "reason": "left",
        "poll_s": 2.0,
        "turn_s": 60,
    }
    assert live.service.seat.key == ""


async def test_a_full_line_is_told_honestly_and_when_to_come_again(live: Live) -> None:
    live.service.seat.taken_by_hand()
    for _ in range(2):
        await joined(live)
    full = await live.call("POST", "/line")
    assert (full.status_code, full.json()["code"], full.headers["retry-after"]) == (503, "line_full", "30")
    assert "2 are waiting" in detail(full)


@pytest.mark.parametrize("ticket", ["made-up", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "x" * 65, "%ff"])
@pytest.mark.parametrize(
    ("method", "path"), [("GET", ""), ("GET", "/events"), ("POST", "/claim"), ("DELETE", "")]
)
async def test_a_made_up_ticket_is_unknown_to_every_route(
    live: Live, method: str, path: str, ticket: str
) -> None:
    answer = await live.call(method, f"/line/{ticket}{path}")
    assert answer.status_code == (422 if len(ticket) > 64 else 404)
    detail(answer)


async def test_whoever_listens_is_told_at_once_and_at_each_change(live: Live) -> None:
    live.service.seat.taken_by_hand()
    ahead, mine = await joined(live), await joined(live)
    told: list[tuple[str, int | None]] = []
    async with live.client.stream("GET", f"/line/{mine['ticket']}/events") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["cache-control"] == "no-store"
        lines = answer.aiter_lines()

        async def next_told() -> None:
            async with asyncio.timeout(5):
                async for line in lines:
                    if line:
                        now = json.loads(line.removeprefix("data: "))
                        told.append((now["state"], now.get("place")))
                        return

        await next_told()
        await live.call("DELETE", f"/line/{ahead['ticket']}")
        await next_told()
        live.service.seat.release()
        await next_told()
        await live.call("DELETE", f"/line/{mine['ticket']}")
        await next_told()
        assert [rest async for rest in lines if rest] == []
    assert told == [("waiting", 2), ("waiting", 1), ("claim", None), ("gone", None)]


async def test_whoever_closes_its_stream_is_heard_no_more(live: Live) -> None:
    live.service.seat.taken_by_hand()
    ticket = (await joined(live))["ticket"]
    async with live.client.stream("GET", f"/line/{ticket}/events") as answer:
        await anext(answer.aiter_lines())
        assert listeners(live) == 1
    async with asyncio.timeout(5):
        while listeners(live):
            await asyncio.sleep(0.01)


def listeners(live: Live) -> int:
    (waiting,) = live.service.line._usher._line.waiting()
    return waiting.following


async def test_the_line_needs_the_right_to_drive() -> None:
    async with serving(token=TOKEN) as live:
        assert (await live.call("POST", "/line")).status_code == 401
        live.client.headers["Authorization"] = f"Bearer {TOKEN}"
        ticket = (await joined(live))["ticket"]
        del live.client.headers["Authorization"]
        for method, path in (("GET", ""), ("GET", "/events"), ("POST", "/claim"), ("DELETE", "")):
            assert (await live.call(method, f"/line/{ticket}{path}")).status_code == 401


async def test_a_start_that_prefers_to_wait_waits_in_the_line_and_is_told_that_it_did(live: Live) -> None:
    live.service.seat.taken_by_hand()
    starting = asyncio.create_task(live.call("POST", "/start_session", headers={"Prefer": "wait=60"}))
    async with asyncio.timeout(5):
        while not (await live.call("GET", "/overview")).json()["line"]["waiting"]:
            await asyncio.sleep(0.01)
    assert not starting.done()
    live.service.seat.release()
    started = await asyncio.wait_for(starting, 5)
    assert (started.status_code, started.headers["preference-applied"]) == (200, "wait")


async def test_a_client_that_leaves_while_its_start_waits_leaves_the_line(live: Live) -> None:
    live.service.seat.taken_by_hand()
    _, writer = await asyncio.open_connection("127.0.0.1", live.server.port)
    writer.write(
        b"POST /start_session HTTP/1.1\r\nHost: localhost\r\nPrefer: wait=60\r\nContent-Length: 0\r\n\r\n"
    )
    for length in (1, 0):
        async with asyncio.timeout(5):
            while (await live.call("GET", "/overview")).json()["line"]["waiting"] != length:
                await asyncio.sleep(0.01)
        writer.close()


@pytest.mark.parametrize(
    ("prefer", "wait_s"),
    [
        ([], 0),
        (["wait=5"], 5),
        (["respond-async, wait=10"], 10),
        (["respond-async", 'Wait = "7"; foo=bar'], 7),
        (["wait=5, wait=9"], 5),
        (["wait=999999999"], limits.START_WAITS_S),
        (["wait"], 0),
        (["wait=-1"], 0),
        (["wait=1.5"], 0),
        (["wait=9999999999999999"], 0),
        (["await=5"], 0),
    ],
)
def test_how_long_a_request_prefers_to_wait(prefer: list[str], wait_s: float) -> None:
    assert waits(prefer) == wait_s
