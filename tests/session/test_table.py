"""What each event of the world does to a slot in each of its states: one table, driven through the real parts."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from support.fakes import FakeHost
from support.house import House
from support.virtual_time import settle

from reactor_runtime.errors import SessionRefused
from reactor_runtime.session.lifecycle import State

STOP_S = 3.0
C, R, W, S, O, X, T = State  # created ready waiting streaming orphaned closing terminated  # noqa: E741


async def start(house: House) -> None:
    await house.start()


async def stop(house: House) -> None:
    await house.stop()


async def lost_model(house: House) -> None:
    house.host.lose()


async def drain(house: House) -> None:
    draining = asyncio.create_task(house.sessions.drain())
    await settle()
    # It still waits where a session runs, and is over everywhere else.
    assert draining.done() == (house.state() not in (S, X))
    draining.cancel()
    with pytest.raises(SessionRefused):
        await house.start()


async def last_viewer_gone(house: House) -> None:
    for link in house.engine.links:
        link.lose()


async def offer(house: House) -> None:
    await house.watch()


async def command(house: House) -> None:
    link = house.engine.links[-1] if house.engine.links else None
    if link is not None:
        link.say("paint", request_id="a")
    answered = [] if link is None else [receipt["accepted"] for receipt in link.told("commandReceipt")]
    # Who is connected is answered, also while the session closes; who is not, is not heard.
    assert answered == ([True] if house.state() in (S, X) else [])


#: The state right afterwards, from each state in order; a number: refused with it.
TABLE: dict[Callable[[House], Awaitable[None]], tuple[State | int, ...]] = {
    #                  C    R    W    S    O    X    T
    start: (503, W, 409, 409, 409, W, 503),
    stop: (409, 409, X, X, X, 409, 409),
    lost_model: (C, C, C, C, C, C, T),
    drain: (C, R, X, S, X, X, T),
    last_viewer_gone: (C, R, W, O, O, X, T),
    offer: (400, 400, S, S, S, 400, 400),
    command: (C, R, W, S, O, X, T),
}


def prepare(host: FakeHost) -> None:
    host.stop_takes_s = STOP_S


async def bring(house: House, state: State) -> None:
    """Bring a house into a state by the shortest way there."""
    if state in (C, T):
        house.host.lose()
    elif state is not R:
        await house.start()
    if state in (S, O, X):
        link = await house.watch()
        if state is O:
            link.lose()
        elif state is X:
            await house.stop()
    await settle()
    assert house.state() is state


@pytest.mark.parametrize("state", list(State), ids=lambda state: state.value)
@pytest.mark.parametrize("event", TABLE, ids=lambda event: event.__name__)
async def test_every_event_in_every_state_does_what_the_table_says(
    event: Callable[[House], Awaitable[None]], state: State
) -> None:
    expected = TABLE[event][list(State).index(state)]
    async with House.opened(prepare=prepare, restarts=0 if state is T else 3) as house:
        await bring(house, state)
        if isinstance(expected, int):
            with pytest.raises(SessionRefused) as refused:
                await event(house)
            assert refused.value.status == expected
            assert house.state() is state
        else:
            await event(house)
            await settle()
            assert house.state() is expected
