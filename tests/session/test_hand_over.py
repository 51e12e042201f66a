"""From one driver to the next inside one session: who watches goes on watching, and nothing of the last one is left."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable
from typing import Any

import numpy as np
import pytest
from support.fakes import FakeHost, FakeLink
from support.house import House
from support.promises import long_form
from support.virtual_time import now_s, settle

from reactor_runtime import limits
from reactor_runtime.errors import ModelFailed, SessionRefused
from reactor_runtime.host import HostState
from reactor_runtime.session.grants import EVERYTHING
from reactor_runtime.session.lifecycle import State

PIXELS = np.zeros((2, 2, 3), np.uint8)


@pytest.fixture
async def demo() -> AsyncIterator[House]:
    """A server with turns of a minute, whose first driver is there."""
    async with House.opened(turn_s=60, ping_timeout_s=0) as house:
        yield house


def takes_to_stop(seconds: float) -> Callable[[FakeHost], None]:
    def prepare(host: FakeHost) -> None:
        host.stop_takes_s = seconds

    return prepare


async def driving(house: House) -> FakeLink:
    """Start and drive as published clients do."""
    await house.start()
    link = await house.watch()
    assert link.told("wheel")[-1]["you"] == "drive"
    return link


STREAMS: list[Any] = []


@pytest.fixture(autouse=True)
async def who_listens() -> AsyncIterator[None]:
    yield
    while STREAMS:
        await STREAMS.pop().aclose()


async def ticket_of(house: House) -> str:
    """Join the line and listen, so that the place is kept."""
    ticket = str((await house.sessions.line.join(None, grant=EVERYTHING))["ticket"])
    STREAMS.append(house.sessions.line.follow(ticket))
    await anext(STREAMS[-1])
    return ticket


async def look(house: House, ticket: str) -> dict[str, Any]:
    return dict(await house.sessions.line.look(ticket))


async def until(house: House, ticket: str, state: str, within_s: float = 200) -> float:
    began_s = now_s()
    while (now := await look(house, ticket))["state"] != state:
        assert now_s() - began_s < within_s, now
        await asyncio.sleep(0.05)
    return now_s() - began_s


async def claimed(house: House, ticket: str) -> tuple[FakeLink, dict[str, Any]]:
    """Claim, and connect with the key."""
    given = await house.sessions.line.claim(ticket, grant=EVERYTHING)
    _, link = await house.join(given["session_id"], seat=given["seat"])
    link.connect()
    link.notify("resume_track")
    await settle()
    return link, dict(given)


async def watching(house: House) -> FakeLink:
    _, link = await house.join(watch=True)
    link.connect()
    link.notify("resume_track")
    await settle()
    return link


async def test_the_next_driver_has_a_new_model_and_those_who_watch_stay(demo: House) -> None:
    first = await driving(demo)
    watcher = await watching(demo)
    session_id = demo.running
    first.say("paint", request_id="1")
    before = demo.host.emit()
    await asyncio.sleep(0.1)
    ticket = await ticket_of(demo)
    assert await until(demo, ticket, "claim") == pytest.approx(59.9, abs=0.2)
    await settle()
    assert demo.host.sessions == [session_id, session_id], "its run was begun anew, in the same session"
    assert demo.state() is State.STREAMING
    assert [first.closed, watcher.closed] == [False, False]
    assert demo.host.demands[-1].frame_id == 1, "the new run is told what is wanted of it"
    assert demo.host.emit() == 1
    await asyncio.sleep(0.1)
    assert watcher.frames[-1] == before + 1, "viewers count on"
    assert demo.host.demands[-1].frame_id == 2
    second, given = await claimed(demo, ticket)
    assert given["session_id"] == session_id
    assert second.told("wheel")[-1]["you"] == "drive"
    assert first.told("wheel")[-1]["you"] == "watch"
    assert "hand_over" in demo.events()
    assert [turn["over"] for turn in watcher.told("turn")] == [False, False, True, False]


async def test_nothing_of_the_last_driver_reaches_the_next_one_s_model(demo: House) -> None:
    first = await driving(demo)
    watcher = await watching(demo)
    session = demo.sessions.slots[0].running
    assert session is not None
    upload = session.uploads.reserve(name="a", size_bytes=1, mime_type="a/b")
    first.claim("2")
    demo.host.events.metrics({"score": 7})
    ticket = await ticket_of(demo)
    await asyncio.sleep(55)
    demo.host.answers = "by hand"
    first.say("paint", {"file": reference(upload.upload_id)}, request_id="waits for its file")
    first.say("paint", request_id="not answered")
    await until(demo, ticket, "claim")
    await settle()
    calls = len(demo.host.calls)
    # Its open commands are answered, with why.
    refused = {each["request_id"]: each["code"] for each in answers(first)}
    assert refused == {"not answered": "session_ended", "waits for its file": "unresolved_upload"}
    # Its files are gone, and so is the address at which they could be written.
    with pytest.raises(SessionRefused, match="unknown upload"):
        await session.uploads.receive(upload.upload_id, upload.key, one_byte())
    # Its camera, its values, and what its model reported.
    demo.engine.links[0].events.input_frame("webcam", PIXELS)
    assert demo.host.inputs == []
    assert "score" not in session.numbers()
    assert watcher.told("values")[-1].get("reset") is True
    second, _ = await claimed(demo, ticket)
    second.claim("3")
    assert second.messages[-1]["data"] == {}, "the input track is free"
    # And what it asks for now.
    first.say("paint", request_id="late")
    await settle()
    assert answers(first)[-1]["code"] == "not_driving"
    assert len(demo.host.calls) == calls
    second.say("paint", request_id="mine")
    await settle()
    assert [call.name for call in demo.host.calls[calls:]] == ["paint"]


async def test_whoever_comes_later_is_told_when_the_turn_ends_as_well(demo: House) -> None:
    first = await driving(demo)
    assert (await watching(demo)).told("turn") == []
    ticket = await ticket_of(demo)
    await asyncio.sleep(20)
    (told,) = (await watching(demo)).told("turn")
    assert told["ends_in_s"] == pytest.approx(40, abs=0.2)
    await demo.sessions.line.leave(ticket)
    await asyncio.sleep(2)
    assert first.told("turn")[-1] == {"ends_in_s": None, "waiting": 0, "over": False, "reason": ""}
    assert (await watching(demo)).told("turn") == []


async def test_a_driver_who_leaves_with_nobody_waiting_leaves_a_model_that_the_next_ticket_finds_new(
    demo: House,
) -> None:
    first = await driving(demo)
    await watching(demo)
    first.wheel("release")
    await asyncio.sleep(1)
    assert len(demo.host.sessions) == 1, "whoever watches takes it as it is"
    ticket = await ticket_of(demo)
    assert (await look(demo, ticket))["state"] == "claim"
    second, _ = await claimed(demo, ticket)
    assert len(demo.host.sessions) == 2
    assert second.told("wheel")[-1]["you"] == "drive"


async def test_a_model_that_nobody_has_driven_is_not_made_new_twice(demo: House) -> None:
    await driving(demo)
    first, second = await ticket_of(demo), await ticket_of(demo)
    await until(demo, first, "claim")
    await until(demo, second, "claim")
    assert (await look(demo, first))["reason"] == "unclaimed"
    await claimed(demo, second)
    assert len(demo.host.sessions) == 2


async def test_while_somebody_is_offered_the_seat_nobody_else_takes_it(demo: House) -> None:
    first = await driving(demo)
    watcher = await watching(demo)
    ticket = await ticket_of(demo)
    await until(demo, ticket, "claim")
    for link in (first, watcher):
        link.wheel("take")
    late = await demo.watch()
    for link in (first, watcher, late):
        assert link.told("wheel")[-1]["you"] == "watch"
    second, _ = await claimed(demo, ticket)
    assert second.told("wheel")[-1]["you"] == "drive"


async def test_a_slot_that_is_kept_for_a_ticket_is_not_free_for_whoever_comes_without_one(
    demo: House,
) -> None:
    ticket = await ticket_of(demo)
    assert (await look(demo, ticket))["state"] == "claim"
    with pytest.raises(SessionRefused) as refused:
        await demo.start()
    assert refused.value.status == 409
    link, given = await claimed(demo, ticket)
    assert given["session_id"] == demo.running
    assert link.told("wheel")[-1]["you"] == "drive"


async def test_a_seat_that_is_claimed_and_not_taken_goes_on_to_the_next(demo: House) -> None:
    first, second = await ticket_of(demo), await ticket_of(demo)
    await demo.sessions.line.claim(first, grant=EVERYTHING)
    took_s = await until(demo, second, "claim")
    assert took_s == pytest.approx(limits.SEAT_KEPT_S, abs=0.5)
    assert (await look(demo, first))["reason"] == "ended"


async def test_a_driver_who_reloads_has_his_turn_still(demo: House) -> None:
    ticket = await ticket_of(demo)
    link, given = await claimed(demo, ticket)
    waiting = await ticket_of(demo)
    await asyncio.sleep(10)
    link.lose()
    await asyncio.sleep(5)
    _, again = await demo.join(given["session_id"], seat=given["seat"])
    again.connect()
    again.notify("resume_track")
    await settle()
    assert again.told("wheel")[-1]["you"] == "drive"
    assert (await look(demo, ticket))["state"] == "driving"
    assert await until(demo, waiting, "claim") == pytest.approx(45, abs=0.5)
    assert len(demo.host.sessions) == 2


async def test_a_model_that_does_not_stop_ends_the_session_and_nobody_loses_his_place() -> None:
    async with House.opened(turn_s=60, ping_timeout_s=0, prepare=takes_to_stop(60)) as house:
        link = await driving(house)
        ticket, behind = await ticket_of(house), await ticket_of(house)
        await asyncio.sleep(70)
        assert link.told("sessionEnded") == [{"reason": "model_hung"}]
        assert (await look(house, ticket))["state"] == "claim", "of the model that was loaded again"
        assert (await look(house, behind))["place"] == 1
        assert len(house.hosts.made) == 2
        again, _ = await claimed(house, ticket)
        assert again.told("wheel")[-1]["you"] == "drive"


async def test_a_model_that_is_lost_before_its_first_picture_costs_its_driver_nothing(demo: House) -> None:
    ticket = await ticket_of(demo)
    behind = await ticket_of(demo)
    await claimed(demo, ticket)
    demo.host.lose()
    await asyncio.sleep(0.1)
    assert (await look(demo, ticket))["place"] == 1
    await until(demo, ticket, "claim")
    await claimed(demo, ticket)
    demo.host.emit()
    await asyncio.sleep(0.1)
    demo.host.lose()
    await until(demo, ticket, "gone")
    await until(demo, behind, "claim")


async def test_a_loop_that_ends_by_itself_in_the_middle_of_a_hand_over_ends_nothing() -> None:
    async with House.opened(turn_s=60, ping_timeout_s=0, prepare=takes_to_stop(3)) as house:
        link = await driving(house)
        ticket = await ticket_of(house)
        await asyncio.sleep(61)
        house.host.finish(ModelFailed("ValueError while it was stopped"))
        await asyncio.sleep(5)
        assert link.told("sessionEnded") == []
        assert len(house.host.sessions) == 2
        await claimed(house, ticket)


async def test_a_session_that_is_stopped_in_the_middle_of_a_hand_over_ends_once() -> None:
    async with House.opened(turn_s=60, ping_timeout_s=0, prepare=takes_to_stop(3)) as house:
        link = await driving(house)
        ticket = await ticket_of(house)
        await asyncio.sleep(61)
        await house.stop()
        await house.until(State.READY)
        assert link.told("sessionEnded") == [{"reason": "stopped"}]
        assert len(house.host.sessions) == 1
        await until(house, ticket, "claim")
        _, given = await claimed(house, ticket)
        assert given["session_id"] != house.host.sessions[0]


async def test_a_start_that_prefers_to_wait_has_a_session_of_its_own_in_its_turn(demo: House) -> None:
    first = await driving(demo)
    began_s = now_s()
    started = await demo.sessions.start("mine", grant=EVERYTHING, wait_s=300)
    assert now_s() - began_s == pytest.approx(60, abs=0.2)
    assert started["session_id"] == "mine"
    assert first.told("sessionEnded") == [{"reason": "turn_over"}]
    link = await demo.watch("mine")
    assert link.told("wheel")[-1]["you"] == "drive"


async def test_a_start_that_has_waited_for_long_enough_is_refused_as_ever(demo: House) -> None:
    await driving(demo)
    began_s = now_s()
    with pytest.raises(SessionRefused, match="cannot start session while streaming") as refused:
        await demo.sessions.start(None, grant=EVERYTHING, wait_s=10)
    assert refused.value.status == 409
    assert now_s() - began_s == pytest.approx(10, abs=0.1)


async def test_two_slots_hand_over_each_for_itself() -> None:
    async with House.opened(slots=2, turn_s=60, ping_timeout_s=0) as house:
        await settle()
        sessions = [await house.start(name) for name in ("a", "b")]
        links = [await house.watch(name) for name in sessions]
        ticket = await ticket_of(house)
        await until(house, ticket, "claim")
        await settle()
        assert sorted(len(host.sessions) for host in house.hosts.made) == [1, 2], (
            "one turn ends for one who waits"
        )
        assert [link.closed for link in links] == [False, False]
        drivers = [link.told("wheel")[-1]["you"] for link in links]
        assert sorted(drivers) == ["drive", "watch"]


async def test_a_server_that_drains_lets_its_driver_drive_and_sends_the_line_away(demo: House) -> None:
    link = await driving(demo)
    ticket = await ticket_of(demo)
    draining = asyncio.create_task(demo.sessions.drain())
    await asyncio.sleep(1)
    assert (await look(demo, ticket))["reason"] == "line_closed"
    assert link.told("wheel")[-1]["you"] == "drive"
    assert link.told("turn")[-1]["ends_in_s"] is None
    await demo.stop()
    await draining


def reference(upload_id: str) -> dict[str, Any]:
    return {"upload_id": upload_id, "name": "a", "mime_type": "a/b", "size": 1}


def answers(link: FakeLink) -> list[dict[str, Any]]:
    """What the commands of a link were answered with, by their ids."""
    said = [message["data"]["data"] for message in link.messages if message["data"].get("data")]
    return [each for each in said if "accepted" in each]


async def one_byte() -> AsyncIterator[bytes]:
    yield b"x"


async def one_guest(house: House, dice: random.Random, number: int) -> str:
    """Come, wait, claim, drive for a while and go, in one of the ways that there are; return what became of it."""
    ticket = str((await house.sessions.line.join(None, grant=EVERYTHING))["ticket"])
    seen = False
    for _ in range(3000):
        now = await look(house, ticket)
        match now["state"]:
            case "gone":
                return str(now["reason"])
            case "claim" if not seen:
                seen = True
                if dice.random() < 0.1:
                    await asyncio.sleep(limits.CLAIM_S + 1)
                    continue
                try:
                    link, _ = await claimed(house, ticket)
                except SessionRefused:
                    seen = False  # let down, and the next one again
                    continue
                await asyncio.sleep(dice.choice((1, 5, 30, 200)))
                match dice.randrange(4):
                    case 0:
                        link.lose()
                    case 1:
                        link.wheel("release")
                    case 2:
                        await house.sessions.line.leave(ticket)
                    case _:
                        await asyncio.sleep(300)
                        link.lose()
            case "claim":
                seen = False
        await asyncio.sleep(1)
    raise AssertionError(f"guest {number} is stuck: {now}")


@pytest.mark.parametrize("seed", range(long_form(4, 100)))
async def test_whatever_happens_to_models_and_people_every_ticket_comes_to_an_end(seed: int) -> None:
    dice = random.Random(seed)

    def prepare(host: FakeHost) -> None:
        host.stop_takes_s = dice.choice((0, 0, 0.5, 3, 60))

    async with House.opened(slots=2, turn_s=20, ping_timeout_s=0, restarts=1000, prepare=prepare) as house:
        guests = []
        for number in range(25):
            guests.append(asyncio.create_task(one_guest(house, dice, number)))
            await asyncio.sleep(dice.uniform(0, 20))
            host = dice.choice(house.hosts.made)
            match dice.randrange(8):
                case 0:
                    host.lose()
                case 1:
                    host.finish()
                case 2:
                    host.finish(ModelFailed("ValueError"))
                case 3:
                    with contextlib.suppress(SessionRefused):
                        await house.stop()
                case 4 if host.state is HostState.RUNNING:
                    host.emit()
        became = await asyncio.gather(*guests)
        assert set(became) <= {"ended", "turn_over", "unclaimed", "left"}
        assert (await house.sessions.line.length())["waiting"] == 0
        for slot in house.sessions.slots:
            assert not house.sessions.line._usher.keeps(slot.number)
