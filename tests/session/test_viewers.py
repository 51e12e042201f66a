"""Viewers of a session: joining, silence, flickers, claims, commands and their answers, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from support.fakes import FakeHost
from support.house import House
from support.virtual_time import now_s, settle

from reactor_runtime import codes, limits
from reactor_runtime.errors import OfferRejected, SessionRefused
from reactor_runtime.link import LinkState
from reactor_runtime.session.lifecycle import State
from reactor_runtime.session.service import CONNECTION_IDS, LEGACY_CONNECTION_ID
from reactor_runtime.session.sink import Sink
from reactor_runtime.session.viewer import LAST_WORDS_S
from reactor_runtime.types import MAIN_VIDEO


def by_hand(host: FakeHost) -> None:
    host.answers = "by hand"


# Coming and going ---------------------------------------------------------------------------------------


async def test_a_connection_gets_an_id_and_an_answer_to_its_offer(house: House) -> None:
    session_id = await house.start()
    connection_id, _ = await house.join()
    assert connection_id in CONNECTION_IDS
    assert await house.sessions.answer(session_id, connection_id, hold_s=5) == "answer to v=0"


async def test_an_answer_that_takes_longer_is_asked_for_again(house: House) -> None:
    session_id = await house.start()
    house.engine.answer_s = 7
    connection_id, _ = await house.join()
    began_s = now_s()
    assert await house.sessions.answer(session_id, connection_id, hold_s=5) is None
    assert now_s() - began_s == pytest.approx(5)
    assert await house.sessions.answer(session_id, connection_id, hold_s=5) == "answer to v=0"


async def test_a_viewer_whose_line_takes_not_even_keyframes_is_told_so_and_then_let_go(house: House) -> None:
    await house.start()
    link, other = await house.watch(), await house.watch()
    for sink in sinks_of(house)[:1] * 2:
        sink.give_up()
    await settle()
    assert [notice["code"] for notice in link.told("notice")] == [codes.SLOW_CONSUMER]
    closed = [link.closed]
    await asyncio.sleep(LAST_WORDS_S + 0.1)
    assert [*closed, link.closed, other.closed] == [False, True, False]
    assert other.told("notice") == []


async def test_what_is_known_of_a_line_before_its_track_is_asked_for_is_kept(house: House) -> None:
    await house.start()
    _, link = await house.join()
    link.connect()
    link.events.bitrate_changed(MAIN_VIDEO, 400_000)
    link.notify("resume_track")
    await settle()
    assert [sink.standing.limit for sink in sinks_of(house)] == [400_000]


def sinks_of(house: House) -> tuple[Sink, ...]:
    session = house.sessions.slots[0].session
    assert session is not None
    return session.streams.by_track[MAIN_VIDEO]._fan_out.sinks


async def test_a_second_offer_needs_to_say_that_it_replaces_the_first(house: House) -> None:
    await house.start()
    connection_id, first = await house.join()
    with pytest.raises(SessionRefused, match="offered already"):
        await house.offer(connection_id)
    second = await house.offer(connection_id, replace=True)
    assert first.closed
    assert not second.closed


async def test_a_connection_that_offers_again_and_again_makes_few_peers(house: House) -> None:
    await house.start()
    connection_id, link = await house.join()
    for _ in range(limits.OFFER_BURST - 1):
        link = await house.offer(connection_id, replace=True)
    for _ in range(20):
        with pytest.raises(SessionRefused, match="too many offers") as refused:
            await house.offer(connection_id, replace=True)
        assert (refused.value.status, refused.value.retry_after_s) == (503, 1)
    assert not link.closed
    await asyncio.sleep(1 / limits.OFFER_RATE_PER_S)
    await house.offer(connection_id, replace=True)
    assert link.closed


async def test_a_refused_offer_can_be_replaced(house: House) -> None:
    session_id = await house.start()
    house.engine.refusal = OfferRejected("no codec in common")
    connection_id, link = await house.join()
    assert link.closed
    with pytest.raises(OfferRejected):
        await house.sessions.answer(session_id, connection_id, hold_s=5)
    house.engine.refusal = None
    again = await house.offer(connection_id, replace=True)
    again.connect()
    assert house.state() is State.STREAMING


async def test_whoever_waits_for_an_answer_hears_that_the_session_ended(house: House) -> None:
    session_id = await house.start()
    house.engine.answer_s = 3
    connection_id, _ = await house.join()
    asking = asyncio.create_task(house.sessions.answer(session_id, connection_id, hold_s=5))
    await asyncio.sleep(1)
    await house.stop()
    with pytest.raises(SessionRefused, match="No session running"):
        await asking


async def test_an_id_that_was_never_registered_is_unknown(house: House) -> None:
    await house.start()
    with pytest.raises(SessionRefused, match="Unknown connection") as refused:
        await house.offer(CONNECTION_IDS[0])
    assert refused.value.status == 404


async def test_clients_of_one_connection_need_no_registration_and_get_the_picture_unasked(
    house: House,
) -> None:
    await house.start()
    link = await house.offer(LEGACY_CONNECTION_ID, legacy=True)
    link.connect()
    house.host.emit()
    assert link.frames == [1]


async def test_a_viewer_whose_link_flickers_is_counted_once(house: House) -> None:
    await house.start()
    link = await house.watch()
    for state in (LinkState.INTERRUPTED, LinkState.CONNECTED) * 3:
        link.move(state)
    assert house.viewers == 1
    assert 'reactor_viewers_connected_total{slot="0"} 1.0' in await house.sessions.metrics_text()
    link.lose()
    await settle()
    assert (house.viewers, house.state()) == (0, State.ORPHANED)


async def test_a_lost_viewer_comes_back_under_its_id(house: House) -> None:
    await house.start()
    connection_id, link = await house.join()
    link.connect()
    link.lose()
    await settle()
    assert house.viewers == 0
    again = await house.offer(connection_id, replace=True)
    again.connect()
    assert house.viewers == 1


async def test_a_silent_viewer_is_dropped_and_one_that_pings_is_not() -> None:
    async with House.opened(ping_timeout_s=20) as house:
        await house.start()
        silent, alive = await house.watch(), await house.watch()
        began_s = now_s()
        while not silent.closed:
            alive.ask("ping")
            await asyncio.sleep(0.5)
        assert 20 <= now_s() - began_s <= 21
        assert not alive.closed
        assert house.viewers == 1


async def test_a_viewer_whose_link_stays_interrupted_is_dropped_and_a_short_gap_is_survived(
    house: House,
) -> None:
    await house.start()
    killed, gap = await house.watch(), await house.watch()
    for link in (killed, gap):
        link.move(LinkState.INTERRUPTED)
    began_s = now_s()
    await asyncio.sleep(limits.INTERRUPTED_S / 2)
    gap.move(LinkState.CONNECTED)
    while not killed.closed:
        await asyncio.sleep(0.1)
    # libwebrtc notices within seven seconds, and all of it has to happen within ten.
    assert now_s() - began_s <= 2.5
    await asyncio.sleep(5)
    assert not gap.closed
    assert house.viewers == 1


async def test_with_a_time_out_of_zero_nobody_is_dropped() -> None:
    async with House.opened(ping_timeout_s=0) as house:
        await house.start()
        link = await house.watch()
        await asyncio.sleep(600)
        assert not link.closed


async def test_a_link_that_never_connects_is_given_up() -> None:
    async with House.opened(orphan_s=60) as house:
        await house.start()
        _, link = await house.join()
        await asyncio.sleep(limits.JOIN_S - 1)
        assert not link.closed
        await asyncio.sleep(2)
        assert link.closed


@pytest.fixture
async def cabin() -> AsyncIterator[House]:
    """A server with room for eight."""
    async with House.opened(viewers=8) as house:
        yield house


async def test_viewers_beyond_the_limit_are_refused_until_one_leaves(cabin: House) -> None:
    house = cabin
    await house.start()
    links = [await house.watch() for _ in range(8)]
    with pytest.raises(SessionRefused, match="no more are admitted") as refused:
        await house.join()
    assert (refused.value.status, refused.value.retry_after_s) == (503, 5)
    links[-1].lose()
    await settle()
    await house.watch()
    assert house.viewers == 8


async def test_of_those_who_connect_at_once_one_too_many_is_dropped(cabin: House) -> None:
    house = cabin
    await house.start()
    joined = [await house.join() for _ in range(9)]
    for _, link in joined:
        link.connect()
    await settle()
    assert [link.closed for _, link in joined].count(True) == 1
    assert house.viewers == 8


async def test_links_that_never_connect_keep_nobody_out_for_long(house: House) -> None:
    await house.start()
    joining = [await house.join() for _ in range(limits.JOINING_MAX)]
    with pytest.raises(SessionRefused, match="too many connections at once"):
        await house.join()
    await asyncio.sleep(limits.JOIN_FAIR_S)
    await house.watch()
    assert joining[0][1].closed


async def test_ids_that_nobody_uses_are_forgotten_the_most_silent_first(cabin: House) -> None:
    house = cabin
    session_id = await house.start()
    ids = []
    for _ in range(8 + limits.CONNECTIONS_KNOWN):
        ids.append((await house.sessions.register(session_id)).connection_id)
        await asyncio.sleep(0.1)
    await house.sessions.register(session_id)
    with pytest.raises(SessionRefused, match="Unknown connection"):
        await house.offer(ids[0])
    await house.offer(ids[1])


# The picture --------------------------------------------------------------------------------------------


async def test_a_pause_stops_one_viewers_picture_and_resuming_brings_the_last_one_at_once(
    house: House,
) -> None:
    await house.start()
    one, two = await house.watch(), await house.watch()
    house.host.emit()
    one.notify("pause_track")
    await asyncio.sleep(0.1)
    house.host.emit()
    await asyncio.sleep(0.1)
    assert (one.frames, two.frames) == ([1], [1, 2])
    one.notify("resume_track")
    assert one.frames == [1, 2]


async def test_an_input_track_has_one_publisher_until_it_lets_go_or_leaves(shared: House) -> None:
    await shared.start()
    one, two = await shared.watch(), await shared.watch()
    one.claim("1")
    two.claim("2")
    assert two.messages[-1]["error"]["message"] == "track already published"
    one.notify("unpublish_track", "webcam")
    two.claim("3")
    assert "error" not in two.messages[-1]
    two.lose()
    await settle()
    one.claim("4")
    assert "error" not in one.messages[-1]


async def test_pictures_of_whoever_did_not_claim_a_claimed_track_are_not_the_models(shared: House) -> None:
    await shared.start()
    one, two = await shared.watch(), await shared.watch()
    pixels: Any = None
    two.events.input_frame("webcam", pixels)
    one.claim("1")
    two.events.input_frame("webcam", pixels)
    one.events.input_frame("webcam", pixels)
    assert len(shared.host.inputs) == 2


# Commands -----------------------------------------------------------------------------------------------


async def test_a_command_has_a_receipt_and_is_shown_with_the_first_frame_that_saw_it(house: House) -> None:
    await house.start()
    one, two = await house.watch(), await house.watch()
    house.host.emit(seen=0)
    one.say("paint", request_id="a")
    assert one.told("commandReceipt") == [{"request_id": "a", "command": "paint", "accepted": True}]
    await asyncio.sleep(0.1)
    house.host.emit(seen=0)
    await asyncio.sleep(0.1)
    assert one.told("commandShown") == []
    frame_id = house.host.emit(seen=1)
    await asyncio.sleep(0.1)
    house.host.emit(seen=1)
    await asyncio.sleep(0.1)
    shown = {"request_id": "a", "command": "paint", "frame_id": frame_id, "rtp_timestamp": frame_id * 3000}
    assert [{**told, "times": None} for told in one.told("commandShown")] == [{**shown, "times": None}]
    assert two.told("commandReceipt") == two.told("commandShown") == []


async def test_whoever_sees_no_picture_is_told_of_none(house: House) -> None:
    await house.start()
    link = await house.watch()
    link.notify("pause_track")
    link.say("paint", request_id="a")
    link.notify("resume_track")
    house.host.emit()
    await asyncio.sleep(0.1)
    assert link.told("commandShown") == []


async def test_a_command_nobody_answers_is_answered_with_a_timeout_and_only_that() -> None:
    async with House.opened(prepare=by_hand) as house:
        await house.start()
        link = await house.watch()
        link.say("paint", request_id="a")
        began_s = now_s()
        while not link.told("commandReceipt"):
            await asyncio.sleep(0.1)
        assert limits.COMMAND_REPLY_S <= now_s() - began_s <= limits.COMMAND_REPLY_S + 1
        house.host.answer(1)
        (receipt,) = link.told("commandReceipt")
        assert receipt["code"] == "timeout"


async def test_every_unanswered_command_is_answered_when_the_model_is_lost() -> None:
    async with House.opened(prepare=by_hand) as house:
        await house.start()
        link = await house.watch()
        for number in range(5):
            link.say("paint", request_id=str(number))
        house.host.lose()
        await settle()
        receipts = link.told("commandReceipt")
        assert [receipt["request_id"] for receipt in receipts] == ["0", "1", "2", "3", "4"]
        assert {receipt["code"] for receipt in receipts} == {"model_crashed"}


async def test_an_answer_reaches_its_client_over_the_link_it_has_by_then() -> None:
    async with House.opened(prepare=by_hand, join="drive") as house:
        await house.start()
        other = await house.watch()
        connection_id, link = await house.join()
        link.connect()
        link.say("paint", request_id="a")
        link.lose()
        await settle()
        again = await house.offer(connection_id, replace=True)
        again.connect()
        house.host.answer(1)
        assert [receipt["request_id"] for receipt in again.told("commandReceipt")] == ["a"]
        assert link.told("commandReceipt") == other.told("commandReceipt") == []


async def test_a_full_mailbox_refuses_and_what_waits_is_still_answered() -> None:
    async with House.opened(prepare=by_hand, join="drive") as house:
        await house.start()
        links = [await house.watch() for _ in range(4)]
        for number in range(limits.COMMAND_MAILBOX + 1):
            links[number % 4].say("paint", request_id=str(number))
        (refused,) = links[0].told("commandReceipt")
        assert refused["code"] == "rate_limited"
        for call in list(house.host.calls):
            house.host.answer(call.command_id)
        answered = sum(len(link.told("commandReceipt")) for link in links)
        assert answered == limits.COMMAND_MAILBOX + 1


async def test_commands_over_the_rate_are_refused_and_the_others_handled(house: House) -> None:
    await house.start()
    link = await house.watch()
    for number in range(limits.COMMAND_BURST + 10):
        link.say("paint", request_id=str(number))
    codes = [receipt.get("code", "ok") for receipt in link.told("commandReceipt")]
    assert codes == ["ok"] * limits.COMMAND_BURST + ["rate_limited"] * 10
    await asyncio.sleep(1)
    link.say("paint", request_id="later")
    assert link.told("commandReceipt")[-1]["accepted"]


async def test_a_flood_is_dropped_unread_and_said_so_once_a_second(house: House) -> None:
    await house.start()
    link = await house.watch()
    for second in range(3):
        for _ in range(limits.MESSAGE_BURST * 2):
            link.ask("ping")
        assert (
            len([notice for notice in link.told("notice") if notice["code"] == "rate_limited"]) == second + 1
        )
        await asyncio.sleep(1.01)


async def test_what_is_said_before_a_client_has_spoken_waits_for_its_first_word(house: House) -> None:
    await house.start()
    _, link = await house.join()
    link.connect()
    house.host.send("hello", {"n": 1})
    assert link.messages == []
    link.ask("ping")
    assert link.told("hello") == [{"n": 1}]


async def test_a_viewer_whose_channel_is_full_costs_the_others_nothing(house: House) -> None:
    await house.start()
    full, other = await house.watch(), await house.watch()
    full.full = True
    house.host.send("hello", {"n": 1})
    assert other.told("hello") == [{"n": 1}]
    assert 'reactor_messages_dropped_total{slot="0"} 1.0' in await house.sessions.metrics_text()


async def test_everybody_hears_the_numbers_once_a_second(house: House) -> None:
    await house.start()
    link = await house.watch()
    await asyncio.sleep(10)
    assert len(link.told("stats")) in (9, 10, 11)
    assert link.told("stats")[-1]["viewers"] == 1


async def test_what_the_model_reports_is_kept_apart_from_the_runtime_s_numbers(house: House) -> None:
    await house.start()
    link = await house.watch()
    house.host.events.metrics({"network_ms": 7.0, "model_ms": 1234.0})
    house.host.emit()
    await asyncio.sleep(3)
    told = link.told("stats")[-1]
    assert told["model"] == {"network_ms": 7.0, "model_ms": 1234.0}
    assert told["model_ms"] < 1000
    assert "network_ms" not in told


async def test_twice_a_second_a_viewer_is_told_when_a_picture_was_where(house: House) -> None:
    await house.start()
    link = await house.watch()
    for _ in range(100):
        house.host.emit()
        await asyncio.sleep(0.1)
    told = link.told("pictureSent")
    assert len(told) in (19, 20, 21)
    for picture in told:
        times = picture["times"]
        assert picture["track"] == "main_video"
        assert picture["rtp_timestamp"] == picture["frame_id"] * 3000
        moments = [times[name] for name in ("began_ms", "emitted_ms", "encoding_ms", "sent_ms", "now_ms")]
        assert moments == sorted(moments)
        assert times["emitted_ms"] - times["began_ms"] == pytest.approx(10)


async def test_a_shown_command_says_when_it_came_and_when_its_picture_was_where(house: House) -> None:
    await house.start()
    link = await house.watch()
    house.host.emit()
    await asyncio.sleep(1)
    link.say("paint", request_id="1")
    house.host.answer(1)
    await asyncio.sleep(0.25)
    house.host.emit()
    await asyncio.sleep(0.25)
    (shown,) = link.told("commandShown")
    times = shown["times"]
    assert times["emitted_ms"] - times["asked_ms"] == pytest.approx(250)
    assert set(times) == {"asked_ms", "began_ms", "emitted_ms", "encoding_ms", "sent_ms"}


# Frames that the model takes back -----------------------------------------------------------------------


async def test_frames_that_the_model_discards_are_never_shown_and_the_next_is_asked_for_at_once(
    house: House,
) -> None:
    await house.start()
    link = await house.watch()
    for _ in range(12):
        house.host.emit()
    await asyncio.sleep(0.1)
    shown = list(link.frames)
    assert 0 < len(shown) < 6
    house.host.discard()
    await settle()
    assert house.host.released == 12
    demand = house.host.demands[-1]
    assert (demand.frame_id, demand.watched) == (13, True)
    assert demand.due_s <= now_s() + 2 * demand.interval_s
    await asyncio.sleep(1)
    assert link.frames == shown
    discarded = f'reactor_frames_discarded_total{{slot="0"}} {12 - len(shown)}.0'
    assert discarded in await house.sessions.metrics_text()
    house.host.emit()
    await settle()
    assert link.frames == [*shown, 13]


async def test_a_command_whose_first_frames_were_discarded_is_shown_by_the_next_one(house: House) -> None:
    await house.start()
    link = await house.watch()
    house.host.emit()
    await settle()
    link.say("paint", request_id="p")
    for _ in range(6):
        house.host.emit()
    house.host.discard()
    await asyncio.sleep(1)
    assert link.told("commandShown") == []
    number = house.host.emit()
    await settle()
    [shown] = link.told("commandShown")
    assert (shown["request_id"], shown["frame_id"]) == ("p", number)


async def test_frames_that_nobody_saw_are_discarded_too_and_the_model_makes_others(house: House) -> None:
    await house.start()
    for _ in range(2):
        house.host.emit()
    await settle()
    house.host.discard()
    await settle()
    assert house.host.released == 2
    house.host.emit()
    link = await house.watch()
    assert link.frames == [3]
