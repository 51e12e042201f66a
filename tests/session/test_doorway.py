"""How fast people may come in: the arithmetic, and a crowd before a session in virtual time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from support.house import House
from support.virtual_time import now_s, settle

from reactor_runtime import limits
from reactor_runtime.errors import SessionRefused
from reactor_runtime.session.doorway import Doorway


def test_a_few_come_in_at_once_and_the_others_one_after_the_other() -> None:
    doorway = Doorway(rate_per_s=10, burst=3)
    assert [doorway.ask(100.0) for _ in range(6)] == pytest.approx([0, 0, 0, 0.1, 0.2, 0.3])
    assert doorway.ask(100.35) == pytest.approx(0.05), "time that passes is taken off"
    assert [doorway.ask(200.0) for _ in range(4)] == pytest.approx([0, 0, 0, 0.1]), "nobody saves up more"


def test_whoever_would_wait_too_long_takes_nobodys_place() -> None:
    doorway = Doorway(rate_per_s=10, burst=1)
    waits = [doorway.ask(0.0) for _ in range(100)]
    taken = [wait for wait in waits if wait is not None]
    assert max(taken) <= limits.JOIN_WAIT_S
    assert len(taken) == pytest.approx(limits.JOIN_WAIT_S * 10 + 1, abs=1)
    assert doorway.ask(0.2) is not None, "and as soon as one came in there is room for one more"


@pytest.fixture
async def hall() -> AsyncIterator[House]:
    async with House.opened(viewers=200) as house:
        yield house


async def test_of_a_hundred_at_once_few_make_a_link_at_a_time_and_the_others_are_told_to_come_again(
    hall: House,
) -> None:
    await hall.start()
    driver = await hall.watch()
    refused: list[SessionRefused] = []
    for _ in range(100):
        try:
            await hall.join()
        except SessionRefused as error:
            refused.append(error)
    assert {(error.status, str(error)) for error in refused} == {
        (503, "many people join at the moment: come again")
    }
    assert {error.retry_after_s for error in refused} == {1, 2, 3}, "not all at the same time"
    assert len(hall.engine.links) <= 1 + limits.JOINS_BURST
    assert (
        len(refused)
        >= 100 - limits.JOINING_MAX - limits.JOINS_BURST - limits.JOIN_WAIT_S * limits.JOINS_PER_S
    )
    made = []
    for _ in range(10):
        before = len(hall.engine.links)
        await asyncio.sleep(0.1)
        made.append(len(hall.engine.links) - before)
    assert max(made) <= limits.JOINS_PER_S / 10 + 1
    assert not driver.closed


async def test_everybody_of_a_hundred_who_come_again_is_in_soon(hall: House) -> None:
    await hall.start()
    await hall.watch()

    async def come() -> None:
        for _ in range(60):
            try:
                connection_id, _ = await hall.join()
            except SessionRefused as error:
                await asyncio.sleep(error.retry_after_s or 1)
                continue
            viewer = hall.sessions.slots[0].session.connections.get(connection_id)  # type: ignore[union-attr]
            while not viewer.joining:  # type: ignore[union-attr]
                await asyncio.sleep(0.01)
            viewer._link.connect()  # type: ignore[union-attr]
            return
        raise AssertionError("never got in")

    began_s = now_s()
    await asyncio.gather(*(come() for _ in range(100)))
    assert hall.viewers == 101
    assert now_s() - began_s <= 3 * 100 / limits.JOINS_PER_S


async def test_whoever_comes_back_or_comes_first_waits_for_nobody(hall: House) -> None:
    await hall.start()
    connection_id, link = await hall.join()
    link.connect()
    await settle()
    for _ in range(30):
        with contextlib.suppress(SessionRefused):
            await hall.join()
    before = len(hall.engine.links)
    await hall.offer(connection_id, replace=True)
    assert len(hall.engine.links) == before + 1


async def test_a_driver_who_comes_back_to_a_full_house_finds_his_place_and_no_queue() -> None:
    async with House.opened(viewers=3, join="watch") as house:
        await house.start()
        driver, one, _ = [await house.watch() for _ in range(3)]
        (seat,) = driver.told("seat")
        driver.lose()
        await settle()
        with pytest.raises(SessionRefused, match="3 viewers are connected"):
            await house.join()
        for _ in range(30):
            with contextlib.suppress(SessionRefused):
                await house.join()
        before = len(house.engine.links)
        back = await house.join(seat=seat["seat"])
        assert len(house.engine.links) == before + 1, "he waits before no door"
        back[1].connect()
        await settle()
        assert one.told("wheel")[-1]["driver"] is not None
        assert house.viewers == 3
        back[1].lose()
        await asyncio.sleep(limits.SEAT_KEPT_S + 1)
        await house.join()
