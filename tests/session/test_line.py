"""The line, its turns and its seats in virtual time: who is next, how long it takes, and what goes wrong."""

from __future__ import annotations

import asyncio
import itertools
import random
import statistics
from collections.abc import Callable
from typing import Any

import pytest
from support.promises import NIGHTLY
from support.seats import FakeSeat, ushered
from support.virtual_time import now_s, settle

from reactor_runtime import codes, limits
from reactor_runtime.errors import ModelCrashed, SessionRefused
from reactor_runtime.session.estimate import Busy, Estimate
from reactor_runtime.session.line import At, Event, Line, Ticket
from reactor_runtime.session.turns import Turns
from reactor_runtime.session.usher import Usher


class Clock:
    now_s = 50.0

    def __call__(self) -> float:
        return self.now_s


# What may happen to a ticket ---------------------------------------------------------------------------

GONE = At.GONE
#: Every state and every event; None: nothing happens.
CELLS: dict[At, dict[Event, At | None]] = {
    At.WAITING: {
        Event.OFFERED: At.CLAIM,
        Event.UNHEARD: GONE,
        Event.LEFT: GONE,
        Event.CLOSED: GONE,
        Event.CLAIMED: None,
        Event.STARTED: None,
        Event.FAILED: None,
        Event.UNCLAIMED: None,
        Event.ENDED: None,
    },
    At.CLAIM: {
        Event.CLAIMED: At.STARTING,
        Event.FAILED: At.WAITING,
        Event.UNCLAIMED: GONE,
        Event.LEFT: GONE,
        Event.CLOSED: GONE,
        Event.OFFERED: None,
        Event.STARTED: None,
        Event.UNHEARD: None,
        Event.ENDED: None,
    },
    At.STARTING: {
        Event.STARTED: At.DRIVING,
        Event.FAILED: At.WAITING,
        Event.LEFT: GONE,
        Event.CLOSED: GONE,
        Event.OFFERED: None,
        Event.CLAIMED: None,
        Event.UNCLAIMED: None,
        Event.UNHEARD: None,
        Event.ENDED: None,
    },
    At.DRIVING: {
        Event.ENDED: GONE,
        Event.FAILED: At.WAITING,
        Event.LEFT: GONE,
        Event.OFFERED: None,
        Event.CLAIMED: None,
        Event.STARTED: None,
        Event.UNCLAIMED: None,
        Event.UNHEARD: None,
        Event.CLOSED: None,
    },
    At.GONE: dict.fromkeys(Event),
}
#: What brings a new ticket into each state.
WAY = {
    At.WAITING: [],
    At.CLAIM: [Event.OFFERED],
    At.STARTING: [Event.OFFERED, Event.CLAIMED],
    At.DRIVING: [Event.OFFERED, Event.CLAIMED, Event.STARTED],
    At.GONE: [Event.LEFT],
}


def line(cap: int = 100, key: bytes = b"key") -> tuple[Line, Clock]:
    clock = Clock()
    return Line(cap, key=key, clock=clock), clock


def brought(to: At) -> tuple[Line, Ticket]:
    it, _ = line()
    ticket = it.join()
    for event in WAY[to]:
        if event is Event.OFFERED:
            assert it.offer({0: ""}) is ticket
        else:
            assert it.fire(ticket, event)
    assert ticket.at is to
    return it, ticket


@pytest.mark.parametrize(("at", "event"), list(itertools.product(At, Event)))
def test_each_event_moves_a_ticket_as_the_table_says_and_a_late_one_does_nothing(
    at: At, event: Event
) -> None:
    it, ticket = brought(at)
    before, after = (ticket.at, ticket.seat, ticket.reason), CELLS[at][event]
    assert it.fire(ticket, event) is (after is not None)
    if after is None:
        assert (ticket.at, ticket.seat, ticket.reason) == before
        return
    assert ticket.at is after
    assert (ticket in it.known()) is (after is not GONE)
    assert (ticket.reason == event.value) is (after is GONE)
    if after in (GONE, At.WAITING):
        assert ticket.seat is None
        assert it.of_seat(0) is None


def test_whoever_lost_a_seat_by_our_fault_is_next_again() -> None:
    it, _ = line()
    first, second, third = (it.join() for _ in range(3))
    assert [it.offer({0: ""}), it.offer({1: ""})] == [first, second]
    for event in (Event.CLAIMED, Event.FAILED):
        it.fire(second, event)
        it.fire(first, event)
    assert it.waiting() == [first, second, third]


def test_of_several_free_seats_one_gets_that_of_the_session_it_watches() -> None:
    it, _ = line()
    ticket = it.join(wish="b")
    assert it.offer({}) is None
    it.offer({0: "a", 1: "b", 2: ""})
    assert ticket.seat == 1


def test_a_full_line_says_so_and_has_room_again_when_somebody_leaves() -> None:
    it, _ = line(cap=2)
    first, _ = it.join(), it.join()
    with pytest.raises(SessionRefused, match="full: 2 are waiting") as refused:
        it.join()
    assert (refused.value.status, refused.value.code, refused.value.retry_after_s) == (503, "line_full", 30)
    it.fire(first, Event.LEFT)
    assert it.place(it.join()) == 2
    with pytest.raises(SessionRefused, match="keeps no line"):
        line(cap=0)[0].join()


def test_nobody_makes_up_a_ticket_and_one_of_long_ago_is_known_as_such() -> None:
    it, _ = line()
    ticket = it.join()
    assert it.find(ticket.text) is ticket
    other = line(key=b"other")[0].join().text
    for text in ("", "é", "x" * 32, ticket.text[:-1], ticket.text[:-4] + "AAAA", ticket.text + "AAAA", other):
        with pytest.raises(SessionRefused) as refused:
            it.find(text)
        assert refused.value.status == 404
    it.fire(ticket, Event.LEFT)
    assert it.find(ticket.text).reason == codes.LEFT
    for _ in range(limits.TICKETS_REMEMBERED):
        it.fire(it.join(), Event.LEFT)
    assert (it.find(ticket.text).at, it.find(ticket.text).reason) == (GONE, codes.FORGOTTEN)


def test_a_place_is_kept_a_minute_unheard_and_as_long_as_somebody_listens() -> None:
    it, clock = line()
    silent, listening, polling = (it.join() for _ in range(3))
    listening.following = 1
    clock.now_s += limits.PLACE_KEPT_S - 1
    it.heard(polling)
    assert it.tick() == []
    assert it.due_s() == clock.now_s + 1
    clock.now_s += 1
    assert it.tick() == [silent]
    assert silent.reason == codes.UNHEARD
    assert it.waiting() == [listening, polling]


# Turns ------------------------------------------------------------------------------------------------


def turns(turn_s: float | None = 60) -> tuple[Turns, Clock]:
    clock = Clock()
    return Turns(turn_s, clock), clock


def test_a_turn_ends_only_if_somebody_waits() -> None:
    it, clock = turns()
    it.begin(0)
    began_s = clock.now_s
    clock.now_s += 10
    it.want(0)
    assert (it.ends_s(0), it.due_s(), it.over()) == (None, None, [])
    it.want(1)
    assert it.ends_s(0) == began_s + 60
    assert it.due_s() == began_s + 45
    it.want(0)
    clock.now_s += 1000
    assert it.over() == []


def test_whoever_drove_for_long_is_warned_fifteen_seconds_before_the_end_as_well() -> None:
    it, clock = turns()
    it.begin(0)
    clock.now_s += 3600
    it.want(1)
    assert it.ends_s(0) == clock.now_s + limits.TURN_WARNING_S
    clock.now_s += limits.TURN_WARNING_S
    it.want(1)
    assert it.over() == [0]


def test_so_many_turns_end_as_people_wait_the_longest_first() -> None:
    it, clock = turns()
    for seat in (2, 0, 1):
        it.begin(seat)
        clock.now_s += 1
    it.want(2)
    assert [it.ends_s(seat) is not None for seat in (2, 0, 1)] == [True, True, False]
    clock.now_s += 100
    assert it.over() == [2, 0]


def test_without_a_length_a_turn_lasts_until_its_driver_goes() -> None:
    it, clock = turns(None)
    it.begin(0)
    it.want(5)
    clock.now_s += 1e6
    assert (it.over(), it.due_s(), it.would_end_s(0)) == ([], None, None)


# Estimates --------------------------------------------------------------------------------------------


def test_nothing_is_promised_where_nothing_is_known() -> None:
    assert Estimate(None).waits([Busy(3)], 2) is None
    assert Estimate(60).waits([], 2) is None


def test_before_the_first_turn_has_ended_a_full_one_is_expected() -> None:
    waits = Estimate(60).waits([Busy(20, at_most_s=40)], 3)
    assert waits is not None
    assert [(wait.p50_s, wait.p90_s) for wait in waits] == [(40, 40), (100, 100), (160, 160)]


def test_two_seats_halve_the_wait() -> None:
    waits = Estimate(60).waits([Busy(0, at_most_s=60), Busy(30, at_most_s=30)], 4)
    assert waits is not None
    assert [wait.p50_s for wait in waits] == [30, 60, 90, 120]


def test_the_last_twenty_turns_count_and_the_band_is_as_wide_as_they_differ() -> None:
    estimate = Estimate(60)
    for _ in range(50):
        estimate.took(1000)
    for length_s in (10, 60) * 10:
        estimate.took(length_s)
    waits = estimate.waits([Busy(0)], 10)
    assert waits is not None
    last = waits[-1]
    assert last.p50_s == pytest.approx(350, rel=0.1)
    # Of ten turns that are 10 s or 60 s, each as likely: 350 ± 79.
    assert last.p90_s - last.p50_s == pytest.approx(1.28 * 79, rel=0.35)
    assert [wait.p50_s for wait in waits] == sorted(wait.p50_s for wait in waits)


# All of it together -------------------------------------------------------------------------------------


def there(**settings: Any) -> tuple[Usher, list[FakeSeat]]:
    return ushered(asyncio.get_running_loop().time, **settings)


async def until(state: str, usher: Usher, ticket: str, within_s: float = 1000) -> float:
    """Poll as a page does; return when the ticket is in that state."""
    deadline_s = now_s() + within_s
    while (now := usher.look(ticket))["state"] != state:
        assert now_s() < deadline_s, now
        await asyncio.sleep(0.1)
    return now_s()


async def test_a_free_seat_is_offered_at_once_and_claimed_the_same_twice() -> None:
    usher, (seat,) = there()
    joined = usher.join("")
    assert (joined["state"], joined["claim_by_s"]) == ("claim", 20)
    withheld = [seat.withheld]
    given, again = await asyncio.gather(usher.claim(joined["ticket"]), usher.claim(joined["ticket"]))
    assert given == again == await usher.claim(joined["ticket"])
    assert given.key == seat.key
    assert usher.look(joined["ticket"]) == {
        "state": "driving",
        "poll_s": 2.0,
        "turn_s": 60,
        "session_id": given.session_id,
        "ends_in_s": None,
    }
    withheld.append(seat.withheld)
    assert withheld == [True, False]
    await usher.close()


async def test_an_offer_that_is_not_claimed_goes_on_after_twenty_seconds() -> None:
    usher, _ = there()
    first, second = usher.join(""), usher.join("")
    assert (second["state"], second["place"]) == ("waiting", 1)
    began_s = now_s()
    assert await until("claim", usher, second["ticket"]) - began_s == pytest.approx(20, abs=0.2)
    assert usher.look(first["ticket"]) == {
        "state": "gone",
        "poll_s": 2.0,
        "turn_s": 60,
        "reason": "unclaimed",
    }
    with pytest.raises(SessionRefused, match="not claimed in time") as refused:
        await usher.claim(first["ticket"])
    assert (refused.value.status, refused.value.code) == (409, "unclaimed")
    await usher.close()


async def test_a_turn_is_over_when_it_was_told_to_be_and_the_model_is_made_new_for_the_next() -> None:
    usher, (seat,) = there()
    driver = usher.join("")
    await usher.claim(driver["ticket"])
    await asyncio.sleep(20)
    waiting = usher.join("")
    assert usher.look(driver["ticket"])["ends_in_s"] == 40
    assert waiting["estimate_s"] == {"p50": 40, "p90": 40}
    began_s = now_s()
    assert await until("claim", usher, waiting["ticket"]) - began_s == pytest.approx(40, abs=0.2)
    assert usher.look(driver["ticket"])["reason"] == "turn_over"
    assert seat.renewed == 1
    told = [(turn.ends_in_s, turn.waiting, turn.over) for turn in seat.told]
    assert told == [(40, 1, False), (15, 1, False), (0, 1, True)]
    await usher.claim(waiting["ticket"])
    assert (seat.told[-1].ends_in_s, seat.told[-1].over) == (None, False)
    await usher.close()


async def test_a_driver_who_goes_by_himself_leaves_the_seat_to_the_next_at_once() -> None:
    usher, (seat,) = there()
    driver = usher.join("")
    await usher.claim(driver["ticket"])
    waiting = usher.join("")
    seat.release()
    assert usher.look(waiting["ticket"])["state"] == "claim"
    assert usher.look(driver["ticket"])["reason"] == "ended"
    await usher.close()


async def test_a_ticket_that_is_given_back_gives_back_the_seat() -> None:
    usher, (seat,) = there()
    driver, waiting = usher.join(""), usher.join("")
    await usher.claim(driver["ticket"])
    usher.leave(driver["ticket"])
    assert seat.key == ""
    assert usher.look(waiting["ticket"])["state"] == "claim"
    usher.leave(waiting["ticket"])
    assert usher.waiting == 0
    assert not seat.withheld
    with pytest.raises(SessionRefused):
        usher.leave("made up")
    await usher.close()


async def test_whoever_is_given_the_wheel_has_it_for_the_rest_of_the_turn() -> None:
    usher, (seat,) = there()
    driver, waiting = usher.join(""), usher.join("")
    await usher.claim(driver["ticket"])
    began_s = now_s()
    await asyncio.sleep(30)
    seat.pass_on()
    assert usher.look(driver["ticket"])["reason"] == "ended"
    assert await until("claim", usher, waiting["ticket"]) - began_s == pytest.approx(60, abs=0.2)
    await usher.close()


async def test_whoever_drives_without_a_ticket_has_a_turn_as_well() -> None:
    usher, (seat,) = there()
    seat.taken_by_hand()
    await asyncio.sleep(300)
    waiting = usher.join("")
    began_s = now_s()
    assert await until("claim", usher, waiting["ticket"]) - began_s == pytest.approx(15, abs=0.2)
    await usher.close()


@pytest.mark.parametrize("when", ["at the claim", "before the first picture"])
async def test_a_start_that_fails_here_brings_its_ticket_back_to_the_head(when: str) -> None:
    usher, (seat,) = there()
    first, second = usher.join(""), usher.join("")
    if when == "at the claim":
        seat.error = ModelCrashed("it died")
        with pytest.raises(SessionRefused, match="you are the next") as refused:
            await usher.claim(first["ticket"])
        assert refused.value.status == 503
    else:
        await usher.claim(first["ticket"])
        seat.lose()
    now = usher.look(first["ticket"])
    assert (now["state"], now["place"]) == ("waiting", 1)
    assert usher.look(second["ticket"])["place"] == 2
    seat.recover()
    assert usher.look(first["ticket"])["state"] == "claim"
    assert (await usher.claim(first["ticket"])).key == seat.key
    await usher.close()


async def test_a_seat_that_is_lost_while_it_is_offered_costs_nobody_his_place() -> None:
    usher, (seat,) = there()
    first = usher.join("")
    seat.lose()
    assert usher.look(first["ticket"])["place"] == 1
    seat.recover()
    assert usher.look(first["ticket"])["state"] == "claim"
    await usher.close()


async def test_while_all_models_are_lost_nobody_is_told_how_long_it_will_be() -> None:
    usher, (first, second) = there(seats=2)
    for seat in (first, second):
        seat.taken_by_hand()
    ticket = usher.join("")["ticket"]
    assert usher.look(ticket)["estimate_s"] is not None
    first.lose()
    await asyncio.sleep(limits.LINE_POLL_S + 1)
    assert usher.look(ticket)["estimate_s"] is not None, "the other one goes on"
    second.lose()
    await asyncio.sleep(limits.LINE_POLL_S + 1)
    assert usher.look(ticket)["estimate_s"] is None
    first.recover()
    assert usher.look(ticket)["state"] == "claim"
    await usher.close()


async def test_a_model_that_fails_later_ends_the_turn_of_whoever_has_seen_it() -> None:
    usher, (seat,) = there()
    driver = usher.join("")
    await usher.claim(driver["ticket"])
    seat.pictures = 100
    seat.lose()
    assert usher.look(driver["ticket"])["reason"] == "ended"
    await usher.close()


async def test_whoever_leaves_while_his_seat_is_made_ready_keeps_nobody_waiting() -> None:
    usher, (seat,) = there()
    seat.give_s = 3
    first, second = usher.join(""), usher.join("")
    claiming = asyncio.create_task(usher.claim(first["ticket"]))
    await asyncio.sleep(1)
    assert usher.look(first["ticket"])["state"] == "claim"
    usher.leave(first["ticket"])
    with pytest.raises(SessionRefused):
        await claiming
    await settle()
    assert usher.look(second["ticket"])["state"] == "claim"
    await usher.close()


async def test_when_no_seat_will_ever_be_free_again_those_who_wait_are_told() -> None:
    usher, seats = there(seats=2)
    for seat in seats:
        seat.taken_by_hand()
    waiting = usher.join("")
    for seat in seats:
        seat.die()
    assert usher.look(waiting["ticket"])["reason"] == "line_closed"
    with pytest.raises(SessionRefused, match="no model runs any more"):
        usher.join("")
    await usher.close()


async def test_a_server_that_drains_sends_the_line_away_and_lets_its_drivers_drive() -> None:
    usher, (seat,) = there()
    driver, waiting = usher.join(""), usher.join("")
    await usher.claim(driver["ticket"])
    usher.drain()
    assert usher.look(waiting["ticket"])["reason"] == "line_closed"
    assert usher.look(driver["ticket"])["state"] == "driving"
    with pytest.raises(SessionRefused, match="shutting down"):
        usher.join("")
    seat.lose()
    assert usher.look(driver["ticket"])["reason"] == "line_closed", "it waits for nothing that would come"
    await usher.close()


async def test_whoever_listens_is_heard_and_told_of_each_change_until_it_is_gone() -> None:
    usher, (seat,) = there()
    driver = usher.join("")
    await usher.claim(driver["ticket"])
    ahead, mine = usher.join(""), usher.join("")
    heard: list[Any] = []

    async def listen() -> None:
        heard.extend([now async for now in usher.follow(mine["ticket"])])

    listening = asyncio.create_task(listen())
    await asyncio.sleep(limits.LINE_TOLD_S * 4)
    usher.leave(ahead["ticket"])
    await until("claim", usher, mine["ticket"])
    await usher.claim(mine["ticket"])
    await asyncio.sleep(1)
    seat.release()
    await listening
    states = [(now["state"], now.get("place")) for now in heard]
    assert [state for state, _ in itertools.groupby(states)] == [
        ("waiting", 2),
        ("waiting", 1),
        ("claim", None),
        ("driving", None),
        ("gone", None),
    ]
    # Each few seconds in any case, so that a proxy keeps the line open and an estimate stays true.
    assert [now.get("place") for now in heard[:4]] == [2] * 4
    await usher.close()


async def test_a_reload_takes_the_stream_over_and_so_many_may_listen_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "LINE_LISTENERS", 2)
    usher, (seat,) = there()
    seat.taken_by_hand()
    tickets = [usher.join("")["ticket"] for _ in range(3)]
    streams = [usher.follow(ticket) for ticket in (*tickets[:2], tickets[0])]
    for stream in streams:
        await anext(stream)
    with pytest.raises(StopAsyncIteration):
        await anext(streams[0])
    with pytest.raises(SessionRefused, match="ask for the ticket instead"):
        await anext(usher.follow(tickets[2]))
    for stream in streams:
        await stream.aclose()
    await anext(again := usher.follow(tickets[2]))
    await again.aclose()
    await usher.close()


async def started(usher: Usher, seat: FakeSeat, wait_s: float) -> int | None:
    """What a client does that has no words for a line."""
    async with usher.admitted(wait_s) as number:
        if number is not None:
            seat.taken_by_hand()
    return number


async def test_a_client_without_words_for_a_line_is_given_an_empty_slot_in_its_turn() -> None:
    usher, (seat,) = there()
    seat.taken_by_hand()
    first = usher.join("")
    starting = asyncio.create_task(started(usher, seat, 300))
    await asyncio.sleep(1)
    assert usher.waiting == 2
    seat.release()
    await asyncio.sleep(limits.CLAIM_S + 1)
    assert usher.look(first["ticket"])["reason"] == "unclaimed"
    assert await starting == seat.number
    assert seat.emptied == 1
    assert seat.key
    await usher.close()


async def test_a_start_that_waits_keeps_its_place_when_the_slot_cannot_be_emptied() -> None:
    usher, (seat,) = there()
    seat.error = ModelCrashed("it died")
    starting = asyncio.create_task(started(usher, seat, 300))
    await asyncio.sleep(1)
    assert usher.waiting == 1
    seat.recover()
    assert await starting == seat.number
    await usher.close()


async def test_a_start_waits_no_longer_than_it_prefers_and_leaves_its_place() -> None:
    usher, (seat,) = there(turn_s=None)
    seat.taken_by_hand()
    began_s = now_s()
    assert await started(usher, seat, 7) is None
    assert now_s() - began_s == pytest.approx(7)
    assert usher.waiting == 0
    starting = asyncio.create_task(started(usher, seat, 300))
    await asyncio.sleep(1)
    starting.cancel()
    await asyncio.gather(starting, return_exceptions=True)
    assert usher.waiting == 0
    await usher.close()


# A crowd -----------------------------------------------------------------------------------------------


async def one_of_a_crowd(
    dice: random.Random, usher: Usher, seats: list[FakeSeat]
) -> tuple[float, float] | None:
    """Wait, be away for a while perhaps, claim unless one forgets to, and drive for as long as one likes.

    Returns what one was told at first that it would take, and what it took.
    """
    joined = now = usher.join("")
    ticket, began_s = joined["ticket"], now_s()
    reconnects, claims, away_after_s = dice.random() < 0.3, dice.random() >= 0.1, dice.uniform(1, 60)
    while now["state"] == "waiting":
        away_s = 0.0
        if reconnects and now_s() - began_s > away_after_s:
            reconnects, away_s = False, dice.uniform(3, 0.9 * limits.PLACE_KEPT_S)
        await asyncio.sleep(away_s or limits.LINE_POLL_S)
        now = usher.look(ticket)
    if now["state"] == "gone":
        assert now["reason"] == "unclaimed"  # it was away when it was its turn
        return None
    waited_s = now_s() - (limits.CLAIM_S - now["claim_by_s"]) - began_s
    told = joined.get("estimate_s")
    figures = None if told is None else (told["p50"], waited_s)
    await asyncio.sleep(dice.uniform(0.1, 3))
    if not claims or usher.look(ticket)["state"] == "gone":
        return figures
    given = await usher.claim(ticket)
    seat = next(seat for seat in seats if seat.key == given.key)
    # Most stay for all of their turn, some have enough before.
    await asyncio.sleep(dice.uniform(10, 55) if dice.random() < 0.3 else 1000)
    if seat.key == given.key:
        seat.release()
    return figures


@pytest.mark.slow
@pytest.mark.parametrize("seats", [1, 3] if NIGHTLY else [3])
async def test_of_a_hundred_in_line_nobody_is_overtaken_and_half_are_told_the_truth_within_a_fifth(
    seats: int, record_property: Callable[[str, object], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    dice = random.Random(18 + seats)
    usher, places = there(seats=seats, cap=100)
    offered: list[int] = []
    offer = usher._line.offer

    def seen(free: dict[int, str]) -> Ticket | None:
        ticket = offer(free)
        if ticket is not None:
            offered.append(ticket.number)
        return ticket

    monkeypatch.setattr(usher._line, "offer", seen)
    people = []
    for _ in range(100):
        people.append(asyncio.create_task(one_of_a_crowd(dice, usher, places)))
        await asyncio.sleep(dice.expovariate(seats / 20))
    waits = await asyncio.gather(*people)
    inversions = sum(earlier > later for earlier, later in itertools.pairwise(offered))
    assert inversions == 0
    assert offered == list(range(1, 101)), "each was offered a seat, once"
    errors = [abs(guess_s - waited_s) / waited_s for guess_s, waited_s in filter(None, waits)]
    assert len(errors) > 60
    median = statistics.median(errors)
    record_property("measured", f"0 inversions, median error {median:.1%}")
    assert median <= 0.2
    await usher.close()
