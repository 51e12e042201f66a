"""What those in one session share: the model's values and each other's company, in virtual time."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from typing import Any

import pytest
from support.fakes import INFO, FakeHost
from support.house import House
from support.virtual_time import settle

from reactor_runtime import limits
from reactor_runtime.link import LinkState
from reactor_runtime.session.company import Company
from reactor_runtime.session.doorway import Doorway
from reactor_runtime.types import CommandSpec
from reactor_runtime.wire import messages as say

ZOOM = CommandSpec("zoom", "", {"type": "object", "properties": {"by": {"type": "number", "default": 1}}})
RESET = CommandSpec("reset", "", {"type": "object", "properties": {}})


def zoomable(host: FakeHost) -> None:
    host.info = dataclasses.replace(INFO, commands=(ZOOM, RESET))


@pytest.fixture
async def zoo() -> AsyncIterator[House]:
    async with House.opened(prepare=zoomable, join="drive") as house:
        yield house


def zoom(by: float) -> dict[str, Any]:
    return {"zoom": {"values": {"by": by}}}


async def test_whoever_joins_is_told_the_values_as_they_are(zoo: House) -> None:
    await zoo.start()
    first = await zoo.watch()
    assert first.told("values") == [{"commands": zoom(1)}]
    first.say("zoom", {"by": 4})
    await settle()
    second = await zoo.watch()
    assert second.told("values") == [{"commands": zoom(4)}]


async def test_everybody_is_told_a_change_whoever_made_it(zoo: House) -> None:
    await zoo.start()
    first, second = await zoo.watch(), await zoo.watch()
    second.say("zoom", {"by": 3})
    await settle()
    assert first.told("values")[1:] == second.told("values")[1:] == [{"commands": zoom(3)}]


async def test_a_slider_that_is_dragged_is_told_a_few_times_a_second_and_to_its_end(zoo: House) -> None:
    await zoo.start()
    link = await zoo.watch()
    for by in range(1, 41):
        link.say("zoom", {"by": by})
        await asyncio.sleep(0.025)
    await asyncio.sleep(limits.VALUES_EVERY_S)
    told = link.told("values")
    assert told[-1] == {"commands": zoom(40)}
    assert 8 <= len(told) <= 13


async def test_a_reset_is_told_as_one_also_where_nothing_had_been_set(zoo: House) -> None:
    await zoo.start()
    link = await zoo.watch()
    link.say("reset")
    await settle()
    assert link.told("values")[-1] == {"commands": zoom(1), "reset": True}


async def test_a_new_session_begins_with_the_defaults(zoo: House) -> None:
    await zoo.start()
    link = await zoo.watch()
    link.say("zoom", {"by": 4})
    await settle()
    await zoo.stop()
    await asyncio.sleep(1)
    await zoo.start()
    assert (await zoo.watch()).told("values") == [{"commands": zoom(1)}]


async def test_a_command_that_was_answered_too_late_still_counts() -> None:
    def slow(host: FakeHost) -> None:
        zoomable(host)
        host.answers = "by hand"

    async with House.opened(prepare=slow) as house:
        await house.start()
        link = await house.watch()
        link.say("zoom", {"by": 4}, request_id="a")
        await asyncio.sleep(limits.COMMAND_REPLY_S + 1)
        assert [receipt["code"] for receipt in link.told("commandReceipt")] == ["timeout"]
        house.host.answer(1)
        await settle()
        assert link.told("values")[-1] == {"commands": zoom(4)}


async def test_nothing_is_told_before_the_channel_for_it_is_open(zoo: House) -> None:
    await zoo.start()
    _, link = await zoo.join()
    link.move(LinkState.CONNECTED)
    link.events.channel_open("control")
    link.ask("ping")
    await settle()
    assert link.messages == []
    link.events.channel_open("data")
    assert (link.told("values"), len(link.told("company"))) == ([{"commands": zoom(1)}], 1)


async def test_a_model_without_values_tells_none(house: House) -> None:
    await house.start()
    link = await house.watch()
    link.say("paint")
    await settle()
    assert link.told("values") == []


# Company ------------------------------------------------------------------------------------------------


async def test_everybody_hears_how_many_watch_and_who_drives(zoo: House) -> None:
    await zoo.start()
    first = await zoo.watch()
    assert first.told("company") == [{"viewers": 1, "drivers": 0, "driving": False}]
    second = await zoo.watch()
    assert first.told("company")[-1] == {"viewers": 2, "drivers": 0, "driving": False}
    second.say("zoom", {"by": 2})
    await asyncio.sleep(0.6)
    assert first.told("company")[-1] == {"viewers": 2, "drivers": 1, "driving": False}
    assert second.told("company")[-1] == {"viewers": 2, "drivers": 1, "driving": True}
    second.lose()
    await settle()
    assert first.told("company")[-1] == {"viewers": 1, "drivers": 0, "driving": False}


def told(company: Company, *here: int) -> dict[int, say.Company]:
    return company.news(here)


def test_whoever_drove_last_drives_until_somebody_else_does() -> None:
    now_s = 0.0
    company = Company(lambda: now_s)
    assert told(company, 1, 2) == {1: say.Company(2, 0, False), 2: say.Company(2, 0, False)}
    company.drove(1)
    assert told(company, 1, 2) == {1: say.Company(2, 1, True), 2: say.Company(2, 1, False)}
    now_s = 600.0
    assert told(company, 1, 2) == {}
    company.drove(2)
    assert told(company, 1, 2) == {1: say.Company(2, 1, False), 2: say.Company(2, 1, True)}


def test_two_who_drive_at_the_same_time_are_two_drivers_until_one_rests() -> None:
    now_s = 0.0
    company = Company(lambda: now_s)
    company.drove(1)
    company.drove(2)
    assert told(company, 1, 2)[1] == say.Company(2, 2, True)
    now_s = limits.DRIVES_S / 2
    company.drove(2)
    assert told(company, 1, 2) == {}
    now_s = limits.DRIVES_S + 0.1
    assert told(company, 1, 2) == {1: say.Company(2, 1, False), 2: say.Company(2, 1, True)}


def test_a_driver_who_left_drives_no_more() -> None:
    company = Company(lambda: 0.0)
    company.drove(1)
    assert told(company, 1, 2)[2] == say.Company(2, 1, False)
    company.left(1)
    assert told(company, 2) == {2: say.Company(1, 0, False)}


async def test_where_many_come_at_once_everybody_knows_all_of_them_soon_and_is_not_told_of_each() -> None:
    async with House.opened(viewers=100) as house:
        await house.start()
        session = house.sessions.slots[0].session
        assert session is not None
        session.connections._doorway = Doorway(rate_per_s=1e6, burst=1_000)
        links = [await house.watch() for _ in range(80)]
        words = sum(len(told["people"]) for link in links for told in link.told("people"))
        # One of those lists may be the last that it took.
        assert words <= limits.TOLD_BURST + 80 * 80
        assert sum(len(link.told("company")) for link in links) <= limits.TOLD_BURST + 80
        # A list of all for each of them: so long it takes until the next may be told.
        await asyncio.sleep(80 * 80 / limits.TOLD_PER_S + 1)
        assert {link.told("company")[-1]["viewers"] for link in links} == {80}
        assert {len(link.told("people")[-1]["people"]) for link in links} == {80}
        # Who has the wheel is told at once, however many there are.
        links[0].ask("wheel", {"action": "give", "to": 80})
        await settle()
        assert links[79].told("wheel")[-1]["you"] == "drive"
