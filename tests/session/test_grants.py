"""What a grant allows: asked where a start, a stop, an offer or a viewer's message arrives."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import replace
from typing import get_args

import pytest
from support.house import House

from reactor_runtime.errors import NotGranted
from reactor_runtime.session.grants import EVERYTHING, NEEDED, NOTHING, RIGHTS, Grant, Right, role_for
from reactor_runtime.session.lifecycle import State
from reactor_runtime.types import Role
from reactor_runtime.wire import messages as say

WATCHER = Grant(Role.WATCH)
DRIVER = Grant(Role.DRIVE)


def test_each_role_has_the_rights_of_those_before_it_and_some_of_its_own() -> None:
    rights = [RIGHTS[role] for role in Role]
    assert all(less < more for less, more in itertools.pairwise(rights))
    assert rights[-1] == set(Right)
    assert [role_for(right) for right in (Right.WATCH, Right.VOTE, Right.DRIVE, Right.OPERATE)] == list(Role)


def test_every_message_of_a_client_says_which_right_it_takes() -> None:
    assert set(get_args(say.ClientMessage)) == NEEDED.keys()


def test_a_token_for_one_session_is_nothing_to_another() -> None:
    grant = Grant(Role.DRIVE, sid="mine")
    grant.require(Right.DRIVE)
    grant.require(Right.DRIVE, "mine")
    with pytest.raises(NotGranted, match="another session"):
        grant.require(Right.WATCH, "yours")


async def test_who_may_only_watch_sees_the_picture_and_moves_nothing(house: House) -> None:
    await house.start()
    _, link = await house.join(grant=WATCHER)
    link.connect()
    link.notify("resume_track")
    link.say("paint", request_id="a")
    link.claim("b")
    link.ask("requestSchema")
    link.ask("requestRecording")
    house.host.emit()
    await asyncio.sleep(0.1)
    assert link.frames == [1]
    assert house.host.calls == []
    assert link.told("commandReceipt") == [
        {
            "request_id": "a",
            "command": "paint",
            "accepted": False,
            "code": "not_granted",
            "message": "this takes the role drive; yours: watch",
        }
    ]
    assert [message["error"]["code"] for message in link.messages if "error" in message] == ["not_granted"]
    assert len(link.told("modelSchema")) == 1
    assert [told["reason"] for told in link.told("clipFailed")] == ["this takes the role drive; yours: watch"]


async def test_nobody_takes_over_the_connection_of_another_by_guessing_its_id(house: House) -> None:
    await house.start()
    connection_id, link = await house.join(grant=replace(DRIVER, jti="a"))
    for other in (WATCHER, EVERYTHING, replace(DRIVER, jti="b")):
        with pytest.raises(NotGranted, match="another visitor"):
            await house.offer(connection_id, replace=True, grant=other)
    link = await house.offer(connection_id, replace=True, grant=replace(DRIVER, jti="a"))
    link.connect()
    link.say("paint", request_id="a")
    assert len(house.host.calls) == 1


async def test_starting_and_stopping_take_the_right_to_drive(house: House) -> None:
    with pytest.raises(NotGranted, match="the role drive"):
        await house.sessions.start(None, grant=WATCHER)
    await house.sessions.start(None, grant=DRIVER)
    with pytest.raises(NotGranted):
        await house.sessions.stop(None, moderate=False, reason="", grant=WATCHER)
    assert house.state() is State.WAITING
    await house.sessions.stop(None, moderate=False, reason="", grant=DRIVER)


async def test_ending_what_others_do_takes_the_right_to_operate(house: House) -> None:
    await house.start()
    with pytest.raises(NotGranted, match="the role operate"):
        await house.sessions.stop(None, moderate=True, reason="", grant=DRIVER)
    await house.sessions.stop(None, moderate=True, reason="", grant=EVERYTHING)


async def test_an_offer_takes_the_right_to_watch(house: House) -> None:
    await house.start()
    with pytest.raises(NotGranted, match="yours: none"):
        await house.join(grant=NOTHING)
