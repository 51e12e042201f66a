"""Who may end a session: whoever drives it, whoever started it while nobody else drives, and operators."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace

import pytest
from support.fakes import FakeLink
from support.house import House
from support.virtual_time import settle

from reactor_runtime.errors import SessionRefused
from reactor_runtime.session.grants import EVERYTHING, Grant
from reactor_runtime.types import Role

ONE = Grant(Role.DRIVE, address="10.0.0.1", agent="sdk/1")
OTHER = Grant(Role.DRIVE, address="10.0.0.2", agent="Browser/1")


async def come(house: House, grant: Grant) -> FakeLink:
    _, link = await house.join(grant=grant)
    link.connect()
    await settle()
    return link


async def stops(house: House, grant: Grant, *, named: bool = False) -> bool:
    """Stop the session, or be refused; return whether it is over."""
    session_id = house.running if named else None
    with contextlib.suppress(SessionRefused):
        await house.sessions.stop(session_id, moderate=False, reason="", grant=grant)
    await settle()
    return not await house.sessions.running_sessions()


@pytest.mark.parametrize("named", [False, True])
async def test_nobody_ends_what_somebody_else_drives_but_an_operator(house: House, named: bool) -> None:
    await house.sessions.start(None, grant=ONE)
    await come(house, ONE)
    await come(house, OTHER)
    with pytest.raises(SessionRefused, match="somebody else drives") as refused:
        await house.sessions.stop(house.running, moderate=False, reason="", grant=OTHER)
    assert refused.value.status == 409
    assert not await stops(house, OTHER, named=named)
    assert await stops(house, EVERYTHING, named=named)


async def test_who_drives_ends_it(house: House) -> None:
    await house.sessions.start(None, grant=ONE)
    await come(house, ONE)
    assert await stops(house, ONE)


async def test_who_started_it_does_not_end_it_once_somebody_else_drives(house: House) -> None:
    await house.sessions.start(None, grant=ONE)
    first = await come(house, ONE)
    second = await come(house, OTHER)
    first.ask("wheel", {"action": "release"})
    await settle()
    second.ask("wheel", {"action": "take"})
    await settle()
    assert not await stops(house, ONE)
    assert await stops(house, OTHER)


async def test_a_client_whose_session_is_over_does_not_end_the_next_one(house: House) -> None:
    await house.sessions.start("first", grant=ONE)
    await come(house, ONE)
    await house.stop()
    await asyncio.sleep(1)
    await house.sessions.start("second", grant=OTHER)
    assert not await stops(house, ONE), "the seat is kept for who started it"
    await come(house, OTHER)
    assert not await stops(house, ONE)
    assert await stops(house, OTHER)


async def test_what_nobody_drives_any_more_may_be_ended_by_the_next_one(house: House) -> None:
    await house.sessions.start(None, grant=ONE)
    link = await come(house, ONE)
    link.lose()
    await settle()
    assert not await stops(house, OTHER)
    await asyncio.sleep(16)
    assert await stops(house, OTHER)


async def test_where_there_are_no_roles_everybody_ends_everything(house: House) -> None:
    await house.sessions.start(None, grant=replace(EVERYTHING, agent="a"))
    await come(house, replace(EVERYTHING, agent="a"))
    assert await stops(house, replace(EVERYTHING, agent="b"))
