"""What strangers try on a server that anybody may reach, in virtual time: none of it is another's loss."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from typing import Any

import pytest
from support.fakes import FakeHost, FakeLink
from support.house import House
from support.seats import ushered
from support.virtual_time import now_s, settle

from reactor_runtime import limits
from reactor_runtime.errors import NotGranted, SessionRefused
from reactor_runtime.link import LinkState
from reactor_runtime.session.grants import EVERYTHING, Grant
from reactor_runtime.session.service import LEGACY_CONNECTION_ID
from reactor_runtime.types import CommandSpec, JsonObject, Role

ADA = Grant(Role.DRIVE, address="198.51.100.1", agent="Browser/1")
EVE = Grant(Role.DRIVE, address="203.0.113.9", agent="Browser/1")
#: As published clients are: of one kind, behind one address.
ALIKE = Grant(Role.DRIVE, address="198.51.100.1", agent="sdk/1")


async def come(house: House, grant: Grant, **how: Any) -> FakeLink:
    _, link = await house.join(grant=grant, **how)
    link.connect()
    link.notify("resume_track")
    await settle()
    return link


def names(house: House) -> list[str]:
    return [call.name for call in house.host.calls]


async def stop(house: House, grant: Grant) -> None:
    with contextlib.suppress(SessionRefused):
        await house.sessions.stop(None, moderate=False, reason="", grant=grant)
    await settle()


# Commands ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["given", "released", "turn", "kicked", "lost"])
async def test_a_command_whose_file_arrives_after_its_sender_lost_the_wheel_is_not_passed_on(
    house: House, ending: str
) -> None:
    await house.start()
    driver, operator = await come(house, ADA), await come(house, EVERYTHING)
    session = house.sessions.slots[0].session
    assert session is not None
    slot = session.uploads.reserve(name="a", size_bytes=1, mime_type="a/b")
    reference = {"upload_id": slot.upload_id, "name": "a", "mime_type": "a/b", "size": 1}
    driver.say("paint", {"file": reference}, request_id="1")
    await settle()
    assert names(house) == []
    match ending:
        case "given":
            driver.ask("wheel", {"action": "give", "to": 2})
        case "released":
            driver.ask("wheel", {"action": "release"})
        case "turn":
            house.wheel.end_turn()
        case "kicked":
            operator.ask("operate", {"action": "kick", "id": 1})
        case "lost":
            driver.lose()
    await settle()

    async def bytes_of_it() -> Any:
        yield b"x"

    await session.uploads.receive(slot.upload_id, slot.key, bytes_of_it())
    await settle()
    assert names(house) == []
    if ending in ("given", "released", "turn"):
        assert [told["code"] for told in driver.told("commandReceipt")] == ["not_driving"]


async def test_a_key_is_let_go_also_where_the_model_has_more_commands_than_it_takes() -> None:
    def by_hand(host: FakeHost) -> None:
        host.answers = "by hand"
        anything: JsonObject = {"type": "object", "properties": {}}
        commands = tuple(CommandSpec(name, "", anything) for name in ("paint", "let_go"))
        host.info = replace(host.info, commands=commands)

    async with House.opened(prepare=by_hand) as house:
        await house.start()
        driver = await come(house, EVERYTHING)
        driver.ask("deadman", {"release": [{"command": "let_go"}]})
        for _ in range(40):
            for _ in range(8):
                driver.say("paint", request_id="1")
            driver.ask("beat")
            await asyncio.sleep(0.2)
        assert len(house.host.calls) == limits.COMMAND_MAILBOX
        driver.lose()
        await asyncio.sleep(1)
        assert "let_go" not in names(house)
        for call in list(house.host.calls):
            house.host.answer(call.command_id)
        await asyncio.sleep(1)
        assert names(house)[-1] == "let_go"


# The line ----------------------------------------------------------------------------------------------


async def test_one_address_has_no_more_than_its_share_of_the_line() -> None:
    async with House.opened() as house:
        await house.start()
        driver = await come(house, ADA)
        tickets = [
            (await house.sessions.line.join(None, grant=EVE))["ticket"]
            for _ in range(limits.LINE_PER_ADDRESS)
        ]
        with pytest.raises(SessionRefused, match="of your network") as refused:
            await house.sessions.line.join(None, grant=replace(EVE, agent="another"))
        assert (refused.value.status, refused.value.code) == (503, "line_full")
        with pytest.raises(SessionRefused, match="of your network"):
            await house.sessions.start(None, grant=EVE, wait_s=60)
        mine = await house.sessions.line.join(None, grant=ADA)
        assert mine["place"] == limits.LINE_PER_ADDRESS + 1
        # Who has left, or drives, waits no more.
        await house.sessions.line.leave(tickets[1])
        await house.sessions.line.join(None, grant=EVE)
        driver.ask("wheel", {"action": "release"})
        await settle()
        await house.sessions.line.claim(tickets[0], grant=EVE)
        await house.sessions.line.join(None, grant=EVE)
        with pytest.raises(SessionRefused, match="of your network"):
            await house.sessions.line.join(None, grant=EVE)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        # Behind an address that the internet does not reach may be everybody: a proxy, a gateway of containers.
        *(
            (replace(EVE, address=inner), replace(EVE, address=inner))
            for inner in ("127.0.0.1", "::1", "172.17.0.1")
        ),
        # Who has a token of his own is known by that: a class behind one address has one each.
        (replace(EVE, jti="a", once=True), replace(EVE, jti="b", max_s=60)),
    ],
)
async def test_people_who_are_known_apart_have_a_share_each(one: Grant, other: Grant) -> None:
    async with House.opened() as house:
        await house.start()
        await come(house, ADA)
        for _ in range(limits.LINE_PER_ADDRESS):
            await house.sessions.line.join(None, grant=one)
        await house.sessions.line.join(None, grant=other)


async def test_one_network_of_ipv6_is_one_address() -> None:
    async with House.opened() as house:
        await house.start()
        await come(house, ADA)
        for number in range(limits.LINE_PER_ADDRESS):
            await house.sessions.line.join(None, grant=replace(EVE, address=f"2001:db8:1:2::{number}"))
        with pytest.raises(SessionRefused, match="of your network"):
            await house.sessions.line.join(None, grant=replace(EVE, address="2001:db8:1:2:f::1"))
        await house.sessions.line.join(None, grant=replace(EVE, address="2001:db8:1:3::1"))


async def test_a_start_whose_patience_ends_while_its_slot_is_emptied_is_not_given_it_unready() -> None:
    usher, (seat,) = ushered(asyncio.get_running_loop().time)
    seat.session_id = "somebody's"

    async def empty() -> None:
        await asyncio.sleep(4)

    seat.empty = empty  # type: ignore[method-assign]
    async with usher.admitted(2) as number:
        assert number is None
    assert usher.waiting == 0
    assert not usher.keeps(0)
    await usher.close()


# Seats -------------------------------------------------------------------------------------------------


async def test_a_newcomer_who_is_sent_away_at_the_door_takes_no_seat_with_him(house: House) -> None:
    await house.start()
    watcher = await come(house, ADA, watch=True)
    # What the start promised is over; the seat is free, and a crowd stands before the door.
    await asyncio.sleep(limits.SEAT_KEPT_S + 1)
    session = house.sessions.slots[0].session
    assert session is not None
    while session.connections._doorway.ask(now_s()) is not None:
        pass
    with pytest.raises(SessionRefused, match="come again"):
        await house.join(grant=EVE)
    assert not house.wheel.taken
    watcher.ask("wheel", {"action": "take"})
    await settle()
    assert watcher.told("wheel")[-1]["you"] == "drive"


async def test_a_token_that_is_in_use_takes_no_seat_with_it(house: House) -> None:
    await house.start()
    once = replace(EVE, jti="j", once=True)
    watcher, _ = await come(house, once, watch=True), await come(house, ADA, watch=True)
    await asyncio.sleep(limits.SEAT_KEPT_S + 1)
    watcher.move(LinkState.INTERRUPTED)
    _, second = await house.join(grant=once)
    watcher.connect()
    second.connect()
    await settle()
    assert second.closed
    assert not house.wheel.taken


# Stops -------------------------------------------------------------------------------------------------


async def test_the_late_stop_of_a_client_whose_session_was_ended_ends_no_other_that_looks_alike() -> None:
    async with House.opened(orphan_s=10) as house:
        await house.sessions.start("first", grant=ALIKE)
        await come(house, ALIKE)
        await house.stop()
        await asyncio.sleep(1)
        await house.sessions.start("second", grant=ALIKE)
        await stop(house, ALIKE)
        assert house.running == "second", "before its viewer has come"
        link = await come(house, ALIKE)
        # There was one to come, and it has come.
        await stop(house, ALIKE)
        assert not await house.sessions.running_sessions()
        assert link.told("sessionEnded")


async def test_a_client_ends_its_own_session_although_another_that_looks_alike_may_stop_late() -> None:
    for hangs_up_first in (True, False):
        async with House.opened(orphan_s=30) as house:
            await house.sessions.start("first", grant=ALIKE)
            await come(house, ALIKE)
            await house.stop()
            await asyncio.sleep(1)
            await house.sessions.start("second", grant=ALIKE)
            link = await come(house, ALIKE)
            if hangs_up_first:
                link.lose()
                await settle()
            await stop(house, ALIKE)
            if not hangs_up_first:
                assert house.running == "second"
                link.lose()
            await settle()
            assert not await house.sessions.running_sessions()


async def test_another_s_token_behind_the_same_address_ends_nothing(house: House) -> None:
    await house.sessions.start(None, grant=replace(ALIKE, jti="a"))
    await come(house, replace(ALIKE, jti="a"))
    await stop(house, replace(ALIKE, jti="b"))
    assert await house.sessions.running_sessions()
    await stop(house, replace(ALIKE, jti="a"))
    assert not await house.sessions.running_sessions()


async def test_while_a_seat_waits_for_the_next_in_line_nobody_else_ends_the_session() -> None:
    async with House.opened(turn_s=60) as house:
        await house.sessions.start(None, grant=ADA)
        driver = await come(house, ADA)
        ticket = (await house.sessions.line.join(None, grant=replace(ADA, address="192.0.2.1")))["ticket"]
        driver.ask("wheel", {"action": "release"})
        await settle()
        assert (await house.sessions.line.look(ticket))["state"] == "claim"
        await stop(house, EVE)
        assert await house.sessions.running_sessions()
        # Who began it has had his turn.
        await stop(house, ADA)
        assert await house.sessions.running_sessions()


# Connections -------------------------------------------------------------------------------------------


async def test_nobody_finds_the_connection_of_another_by_trying(house: House) -> None:
    await house.start()
    ids = [(await house.sessions.register(house.running)).connection_id for _ in range(50)]
    # Published clients keep them in 32 bits.
    assert all(1001 < each < 2**32 for each in ids)
    assert sum(each > 2**24 for each in ids) > 40


async def test_the_connection_that_has_no_id_is_its_client_s_as_long_as_that_is_connected(
    house: House,
) -> None:
    """JS 2.9.0 knows one connection, and everybody its routes."""
    await house.start()
    link = await house.offer(LEGACY_CONNECTION_ID, legacy=True, grant=ALIKE)
    link.connect()
    await settle()
    with pytest.raises(NotGranted, match="another visitor's"):
        await house.offer(LEGACY_CONNECTION_ID, legacy=True, grant=EVE)
    assert not link.closed
    again = await house.offer(LEGACY_CONNECTION_ID, legacy=True, replace=True, grant=ALIKE)
    again.connect()
    again.lose()
    await settle()
    (await house.offer(LEGACY_CONNECTION_ID, legacy=True, grant=EVE)).connect()
    await settle()


# Operators ---------------------------------------------------------------------------------------------


ENDS = ("end", "kick", "moderate", "drain", "stop", "leave")


@pytest.mark.parametrize("order", [(*each[n:], *each[:n]) for n in range(6) for each in (ENDS, ENDS[::-1])])
async def test_all_that_ends_a_session_at_one_moment_ends_it_once(order: tuple[str, ...]) -> None:
    async with House.opened(turn_s=60, drain_s=5) as house:
        session_id = await house.start()
        driver, *operators = [await come(house, grant) for grant in (ADA, EVERYTHING, EVERYTHING)]
        ticket = (await house.sessions.line.join(None, grant=EVE))["ticket"]
        for number, what in enumerate(order):
            operator = operators[number % 2]
            match what:
                case "end" | "moderate" | "drain":
                    operator.ask("operate", {"action": what})
                case "kick":
                    operator.ask("operate", {"action": "kick", "id": 1})
                case "stop":
                    await stop(house, EVERYTHING)
                case "leave":
                    await house.sessions.line.leave(ticket)
        await asyncio.wait_for(house.sessions.until_drain_asked(), 1)
        await asyncio.wait_for(house.sessions.drain(), 10)
        assert not await house.sessions.running_sessions()
        assert len(driver.told("sessionEnded")) == 1
        assert session_id == house.hosts.last.sessions[-1]


# Places and ballots ------------------------------------------------------------------------------------


async def test_one_address_fills_no_more_than_half_of_a_house() -> None:
    async with House.opened(viewers=7) as house:
        await house.start()
        gone, *links = [await come(house, EVE) for _ in range(3)]
        # Who drives comes back also before it was noticed that he went.
        links.append(await come(house, EVE, seat=gone.told("seat")[-1]["seat"]))
        assert links[-1].told("wheel")[-1]["you"] == "drive"
        with pytest.raises(SessionRefused, match="your network are here already") as refused:
            await house.join(grant=EVE)
        assert refused.value.status == 503
        others = [
            await come(house, ADA),
            await come(house, replace(EVE, jti="t", once=True)),
            await come(house, EVERYTHING),
        ]
        assert not any(link.closed for link in (*links, *others))
        gone.lose()
        links[0].lose()
        await settle()
        # Of those who connect at once one too many is dropped, and who is here already may come again.
        late = [(await house.join(grant=EVE))[1] for _ in range(2)]
        for link in late:
            link.connect()
        await settle()
        assert [link.closed for link in late] == [False, True]


async def test_one_address_without_tokens_has_a_handful_of_ballots() -> None:
    sky: JsonObject = {
        "type": "object",
        "properties": {"sky": {"enum": ["day", "night"]}},
        "required": ["sky"],
    }

    def prepare(host: FakeHost) -> None:
        host.info = replace(host.info, commands=(CommandSpec("set_sky", "", sky),))

    async with House.opened(prepare=prepare, viewers=100, vote="set_sky") as house:
        await house.start()
        eve = replace(EVE, role=Role.VOTE)
        voters = [await come(house, eve) for _ in range(limits.VOTE_BALLOTS_PER_ADDRESS + 2)]
        for voter in voters:
            voter.ask("vote", {"round": 1, "choice": "night"})
        await asyncio.sleep(limits.VOTES_EVERY_S + 0.1)
        assert voters[0].told("vote")[-1]["counts"]["night"] == limits.VOTE_BALLOTS_PER_ADDRESS
        assert {told["code"] for told in voters[-1].told("notice")} == {"rate_limited"}
        # Each may think again, and one who goes makes room.
        voters[0].ask("vote", {"round": 1, "choice": "day"})
        voters[1].lose()
        await settle()
        voters[-1].ask("vote", {"round": 1, "choice": "day"})
        (await come(house, replace(eve, address="192.0.2.7"))).ask("vote", {"round": 1, "choice": "day"})
        await asyncio.sleep(limits.VOTES_EVERY_S + 0.1)
        counts = voters[0].told("vote")[-1]["counts"]
        assert (counts["day"], counts["night"]) == (3, limits.VOTE_BALLOTS_PER_ADDRESS - 2)
