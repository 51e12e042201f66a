"""The short way in: one request that tells all that an offer needs, one that starts, registers, offers and answers."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from support.memory_runtime import OFFER, SESSION, Live, P, serving

from reactor_runtime import limits
from reactor_runtime.errors import OfferRejected
from reactor_runtime.session.lifecycle import Event
from reactor_runtime.webrtc.peer import IceServer


@pytest.fixture
async def live() -> AsyncIterator[Live]:
    async with serving() as it:
        it.service.running.answering.set()
        yield it


async def test_the_overview_is_what_its_parts_are(live: Live) -> None:
    live.service.running.servers = (IceServer(("turn:turn.example:3478",), "a", "b"),)
    body = (await live.call("GET", "/overview")).json()
    assert body["health"] == (await live.call("GET", "/health")).json()
    assert body["session"] == (await live.call("GET", "/session")).json()
    assert body["schema"] == (await live.call("GET", "/schema")).json()
    await live.call("POST", "/start_session", json={})
    assert body["sessions"] == []
    assert body["ice_servers"] == (await live.call("GET", P + "/ice_servers")).json()["ice_servers"]


async def test_the_overview_of_a_server_that_serves_nobody_is_200_all_the_same(live: Live) -> None:
    live.service.lifecycle.fire(Event.MODEL_LOST)
    assert (await live.call("GET", "/health")).status_code == 503
    answer = await live.call("GET", "/overview")
    assert (answer.status_code, answer.json()["health"]["status"]) == (200, "unhealthy")


async def test_one_request_starts_a_session_and_answers(live: Live) -> None:
    answer = await live.call("POST", "/connect", json=OFFER)
    assert answer.status_code == 200
    made = answer.json()
    assert made["session"]["session_id"] == SESSION
    assert made["sdp_answer"] == "answer to v=0 offer"
    offer, replace, legacy = live.service.running.offers[made["connection_id"]]
    assert (offer.active, replace, legacy) == (True, False, False)
    assert [(entry.mid, entry.name) for entry in offer.mapping] == [("0", "main_video")]
    # Candidates may follow, as for any connection.
    path = f"{P}/connections/{made['connection_id']}/ice_candidates"
    assert (await live.call("POST", path, json={"candidates": []})).status_code == 202


async def test_the_answer_is_packed_for_whoever_takes_that(live: Live) -> None:
    answer = await live.call("POST", "/connect", json=OFFER, headers={"Accept-Encoding": "gzip"})
    assert answer.headers["Content-Encoding"] == "gzip"
    assert answer.json()["session"]["session_id"] == SESSION
    as_it_is = await live.call(
        "POST", "/connect", json={**OFFER, "session_id": SESSION}, headers={"Accept-Encoding": "identity"}
    )
    assert "Content-Encoding" not in as_it_is.headers
    assert as_it_is.json()["session"]["session_id"] == SESSION


async def test_one_request_joins_the_session_that_is_named(live: Live) -> None:
    await live.call("POST", "/start_session", json={})
    joined = await live.call("POST", "/connect", json={**OFFER, "session_id": SESSION})
    assert joined.status_code == 200
    assert live.service.stopped == []


async def test_a_session_that_everybody_left_ends_where_the_next_one_begins(live: Live) -> None:
    await live.call("POST", "/start_session", json={})
    live.service.lifecycle.fire(Event.CONNECTION_OPENED)
    live.service.lifecycle.fire(Event.CONNECTION_CLOSED)
    await live.call("POST", "/connect", json={**OFFER, "instead_of": SESSION})
    assert live.service.stopped == [(False, "")]


async def test_a_session_to_which_somebody_came_back_is_not_ended_for_the_next(live: Live) -> None:
    await live.call("POST", "/start_session", json={})
    live.service.lifecycle.fire(Event.CONNECTION_OPENED)
    answer = await live.call("POST", "/connect", json={**OFFER, "instead_of": SESSION})
    assert (answer.status_code, live.service.stopped) == (409, [])


@pytest.mark.parametrize(("started", "named", "status"), [(False, SESSION, 400), (True, "another", 404)])
async def test_a_session_that_is_over_is_not_started_anew(
    live: Live, *, started: bool, named: str, status: int
) -> None:
    if started:
        await live.call("POST", "/start_session", json={})
    answer = await live.call("POST", "/connect", json={**OFFER, "session_id": named})
    assert answer.status_code == status
    assert live.service.running.offers == {}


async def test_a_session_started_for_an_offer_that_is_refused_is_ended_again(live: Live) -> None:
    live.service.running.broken = OfferRejected("no video")
    answer = await live.call("POST", "/connect", json=OFFER)
    assert (answer.status_code, answer.json()["detail"]) == (400, "no video")
    assert live.service.stopped == [(False, "the offer was refused")]


async def test_a_session_that_was_joined_outlives_an_offer_that_is_refused(live: Live) -> None:
    await live.call("POST", "/start_session", json={})
    live.service.running.broken = OfferRejected("no video")
    await live.call("POST", "/connect", json={**OFFER, "session_id": SESSION})
    assert live.service.stopped == []


async def test_an_offer_that_is_too_large_starts_nothing(live: Live) -> None:
    body = {**OFFER, "sdp_offer": "v" * (limits.OFFER_MAX_BYTES + 1)}
    assert (await live.call("POST", "/connect", json=body)).status_code == 400
    assert not live.service.lifecycle.running


async def test_an_offer_that_is_not_answered_in_time_is_503_and_leaves_no_session(live: Live) -> None:
    live.service.running.answering.clear()
    answer = await live.call("POST", "/connect", json=OFFER)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert len(live.service.stopped) == 1
