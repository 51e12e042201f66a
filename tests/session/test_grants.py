"""What a grant allows: asked where a start, a stop, an offer or a viewer's message arrives."""

from __future__ import annotations

import asyncio

import pytest
from support.house import House

from reactor_runtime.errors import NotGranted
from reactor_runtime.session.grants import EVERYTHING, NOTHING, Grant, Right
from reactor_runtime.session.lifecycle import State

WATCHER = Grant(frozenset({Right.WATCH}))
DRIVER = Grant(frozenset({Right.WATCH, Right.DRIVE}))


async def test_who_may_only_watch_sees_the_picture_and_moves_nothing(house: House) -> None:
    await house.start()
    _, link = await house.join(grant=WATCHER)
    link.connect()
    link.notify("resume_track")
    link.say("paint", request_id="a")
    link.claim("b")
    link.ask("requestSchema")
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
            "message": "this needs the right to drive; yours: watch",
        }
    ]
    assert [message["error"]["code"] for message in link.messages if "error" in message] == ["not_granted"]
    assert len(link.told("modelSchema")) == 1


async def test_a_connection_has_the_grant_of_its_last_offer(house: House) -> None:
    await house.start()
    connection_id, _ = await house.join(grant=EVERYTHING)
    link = await house.offer(connection_id, replace=True, grant=WATCHER)
    link.connect()
    link.say("paint", request_id="a")
    assert house.host.calls == []


async def test_starting_and_stopping_take_the_right_to_drive(house: House) -> None:
    with pytest.raises(NotGranted, match="right to drive"):
        await house.sessions.start(None, grant=WATCHER)
    await house.sessions.start(None, grant=DRIVER)
    with pytest.raises(NotGranted):
        await house.sessions.stop(None, moderate=False, reason="", grant=WATCHER)
    assert house.state() is State.WAITING
    await house.sessions.stop(None, moderate=False, reason="", grant=DRIVER)


async def test_ending_what_others_do_takes_the_right_to_operate(house: House) -> None:
    await house.start()
    with pytest.raises(NotGranted, match="right to operate"):
        await house.sessions.stop(None, moderate=True, reason="", grant=DRIVER)
    await house.sessions.stop(None, moderate=True, reason="", grant=EVERYTHING)


async def test_an_offer_takes_the_right_to_watch(house: House) -> None:
    await house.start()
    with pytest.raises(NotGranted, match="yours: nothing"):
        await house.join(grant=NOTHING)
