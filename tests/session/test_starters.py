"""Whose session is meant by those who name none: their own, never another's that looks alike."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from support.fakes import FakeLink
from support.house import House
from support.virtual_time import settle

from reactor_runtime import limits
from reactor_runtime.errors import SessionRefused
from reactor_runtime.session.grants import EVERYTHING, Grant
from reactor_runtime.session.starters import Starters

#: Two browsers of one kind behind one address, and one of another kind.
ALIKE = replace(EVERYTHING, address="10.0.0.1", agent="Browser/1")
OTHER = replace(EVERYTHING, address="10.0.0.1", agent="python/1")


@pytest.fixture
async def house() -> AsyncIterator[House]:
    async with House.opened(slots=3, orphan_s=30) as house:
        await settle()
        yield house


async def begun(house: House, session_id: str, grant: Grant) -> FakeLink:
    await house.sessions.start(session_id, grant=grant)
    return await house.watch(session_id)


async def stop(house: House, grant: Grant, *, session_id: str | None = None) -> None:
    await house.sessions.stop(session_id, moderate=False, reason="", grant=grant)
    await settle()


async def running(house: House) -> set[str]:
    await settle()
    return {str(each["session_id"]) for each in await house.sessions.running_sessions()}


async def test_a_stop_without_a_name_ends_the_session_of_who_asks(house: House) -> None:
    await begun(house, "a", ALIKE)
    await begun(house, "b", OTHER)
    await stop(house, OTHER)
    assert await running(house) == {"a"}
    await stop(house, ALIKE)
    assert await running(house) == set()


async def test_whoever_started_nothing_ends_nothing(house: House) -> None:
    await begun(house, "a", ALIKE)
    with pytest.raises(SessionRefused, match="session_id") as refused:
        await stop(house, OTHER)
    assert refused.value.status == 409
    assert await running(house) == {"a"}
    await stop(house, OTHER, session_id="a")
    assert await running(house) == set()


async def test_of_several_that_look_alike_the_one_is_ended_that_is_left_next(house: House) -> None:
    links = {name: await begun(house, name, ALIKE) for name in "ab"}
    await stop(house, ALIKE)
    assert await running(house) == {"a", "b"}
    links["a"].lose()
    assert await running(house) == {"b"}
    assert not links["b"].told("sessionEnded")


async def test_whoever_hangs_up_just_before_he_stops_ends_his_own(house: House) -> None:
    links = {name: await begun(house, name, ALIKE) for name in "abc"}
    links["b"].lose()
    await asyncio.sleep(limits.LEFT_MEANT_S / 2)
    await stop(house, ALIKE)
    assert await running(house) == {"a", "c"}


async def test_one_who_lost_his_line_a_while_ago_or_is_back_is_not_taken_for_who_leaves(house: House) -> None:
    links = {name: await begun(house, name, ALIKE) for name in "abc"}
    links["b"].lose()
    await asyncio.sleep(limits.LEFT_MEANT_S + 0.1)
    links["c"].lose()
    await house.watch("c")
    await stop(house, ALIKE)
    assert await running(house) == {"a", "b", "c"}
    links["a"].lose()
    assert await running(house) == {"b", "c"}


async def test_two_who_leave_at_once_both_leave(house: House) -> None:
    links = {name: await begun(house, name, ALIKE) for name in "abc"}
    await stop(house, ALIKE)
    await stop(house, ALIKE)
    links["c"].lose()
    links["a"].lose()
    assert await running(house) == {"b"}
    # Both leaves are used up: whoever loses his line now may come back.
    links["b"].lose()
    assert await running(house) == {"b"}


async def test_a_leave_is_soon_forgotten_and_time_ends_what_it_meant(house: House) -> None:
    links = {name: await begun(house, name, ALIKE) for name in "ab"}
    await stop(house, ALIKE)
    await asyncio.sleep(limits.LEAVE_MEANT_S + 0.1)
    links["b"].lose()
    assert await running(house) == {"a", "b"}
    await asyncio.sleep(31)
    assert await running(house) == {"a"}


async def test_whoever_adopts_is_told_of_his_own_session_or_of_the_only_one(house: House) -> None:
    async def adopted(grant: Grant) -> tuple[object, object]:
        described = await house.sessions.adopted(grant=grant)
        return described["session_id"], described["state"]

    assert (await adopted(OTHER))[1] == "ready"
    await house.sessions.start("a", grant=ALIKE)
    assert await adopted(OTHER) == ("a", "waiting")
    await house.sessions.start("b", grant=OTHER)
    assert await adopted(OTHER) == ("b", "waiting")
    assert await adopted(ALIKE) == ("a", "waiting")
    assert (await adopted(EVERYTHING))[1] == "ready"
    # Whose token is for one session means that.
    assert await adopted(replace(OTHER, sid="a")) == ("a", "waiting")


async def test_the_overview_names_all_sessions_and_describes_a_free_slot_unless_one_is_named(
    house: House,
) -> None:
    await begun(house, "a", ALIKE)
    assert await house.sessions.running_sessions() == [
        {"session_id": "a", "slot": 0, "state": "streaming", "viewers": 1, "driven": True}
    ]
    assert (await house.sessions.descriptor())["slot"] == 1
    assert (await house.sessions.descriptor("a"))["slot"] == 0
    assert (await house.sessions.descriptor("over"))["slot"] == 1


async def test_an_operator_ends_the_only_session_and_names_one_of_several(house: House) -> None:
    await begun(house, "a", ALIKE)
    await begun(house, "b", OTHER)
    with pytest.raises(SessionRefused, match="session_id"):
        await house.sessions.stop(None, moderate=True, reason="", grant=EVERYTHING)
    await house.sessions.stop("a", moderate=True, reason="", grant=EVERYTHING)
    await house.sessions.stop(None, moderate=True, reason="", grant=EVERYTHING)
    assert await running(house) == set()


async def test_whoever_shows_a_token_for_one_session_ends_that(house: House) -> None:
    await begun(house, "a", ALIKE)
    await begun(house, "b", OTHER)
    await stop(house, replace(OTHER, sid="a"))
    assert await running(house) == {"b"}


async def test_of_one_slot_everybody_speaks() -> None:
    async with House.opened() as house:
        await house.sessions.start("a", grant=ALIKE)
        assert (await house.sessions.adopted(grant=OTHER))["session_id"] == "a"
        await stop(house, OTHER)
        assert await running(house) == set()


def test_leaves_are_no_more_than_the_sessions_they_may_mean() -> None:
    now_s = 0.0
    starters = Starters(lambda: now_s)
    starters.began("a", ("x",))
    starters.began("b", ("x",))
    for _ in range(100):
        assert starters.leave(("x",)) is None
    assert [starters.is_left(name) for name in "abab"] == [True, True, False, False]
    starters.ended("a")
    assert starters.leave(("x",)) == "b"
    starters.ended("b")
    assert starters.of(("x",)) == []
    assert not starters.is_left("b")
