"""Who drives: the rules of the wheel in one table, any history of it, and what it does to a session."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from support.fakes import FakeLink
from support.house import House
from support.virtual_time import settle

from reactor_runtime import limits
from reactor_runtime.errors import NotGranted, SessionRefused, WheelRefused
from reactor_runtime.session.deadman import DeadMan
from reactor_runtime.session.grants import Grant
from reactor_runtime.session.wheel import Entry, Join, Wheel
from reactor_runtime.types import Role
from reactor_runtime.wire import messages as say

WATCH, DRIVE = Entry(role=Role.WATCH), Entry(role=Role.DRIVE)
PUBLISHED = Entry(role=Role.DRIVE, keyless=True, client=("::1",))
VERBS: tuple[say.WheelVerb, ...] = ("take", "request", "release", "give", "decline")
KEPT_S = limits.SEAT_KEPT_S


class Room:
    """A wheel whose clock a test moves. People are named by their connections."""

    def __init__(self, join: Join = "watch") -> None:
        self.now_s = 100.0
        keys = (f"key{n}" for n in itertools.count(1))
        self.wheel = Wheel(join, clock=lambda: self.now_s, make_key=lambda: next(keys))

    def comes(self, who: int, entry: Entry = DRIVE) -> str:
        key = self.wheel.enter(who, entry)
        self.wheel.arrive(who)
        return key

    def wait(self, seconds: float) -> None:
        self.now_s += seconds
        self.wheel.poll()

    def asks(self, who: int, action: say.WheelVerb, to: int | None = None, key: str = "") -> str:
        """Let somebody ask for something; return the code that it is refused with, "" for none."""
        try:
            self.wheel.act(who, say.WheelAction(None, action, to, key))
        except (WheelRefused, NotGranted) as error:
            return error.code
        return ""

    def view(self, who: int) -> say.Wheel:
        self.wheel._told.clear()
        return next(m for m in self.wheel.news([who])[who] if isinstance(m, say.Wheel))


def two(join: Join = "watch") -> Room:
    """Visitor 1 drives, visitor 2 is there."""
    room = Room(join)
    room.comes(1)
    room.comes(2)
    return room


def gone(seconds: float) -> Callable[[Room], None]:
    def leave(room: Room) -> None:
        room.wheel.left(1)
        room.wait(seconds)

    return leave


def asking(*asked: tuple[int, say.WheelVerb, int | None]) -> Callable[[Room], object]:
    return lambda room: [room.asks(who, action, to) for who, action, to in asked]


def joining(who: int, entry: Entry = DRIVE) -> Callable[[Room], object]:
    return lambda room: room.comes(who, entry)


#: What happens after visitor 1 drives and visitor 2 came, and who drives then.
RULES: list[tuple[str, Join, Sequence[Callable[[Room], object]], set[int]]] = [
    ("who comes later watches", "watch", [], {1}),
    ("where everybody drives, who comes later does too", "drive", [], {1, 2}),
    ("who may only watch does not drive there either", "drive", [joining(3, WATCH)], {1, 2}),
    ("who wants to watch does", "drive", [joining(3, replace(DRIVE, watch=True))], {1, 2}),
    ("who was invited drives beside", "watch", [joining(3, replace(DRIVE, invited=True))], {1, 3}),
    ("a taken seat is not taken", "watch", [asking((2, "take", None))], {1}),
    ("a seat is kept for who is gone", "watch", [gone(KEPT_S - 1), asking((2, "take", None))], set()),
    ("and free after that", "watch", [gone(KEPT_S)], set()),
    ("a free seat is taken", "watch", [gone(KEPT_S), asking((2, "take", None))], {2}),
    ("asking for a free seat takes it", "watch", [gone(KEPT_S), asking((2, "request", None))], {2}),
    ("who comes to a free seat has it", "watch", [gone(KEPT_S), joining(3)], {3}),
    ("but not who wants to watch", "watch", [gone(KEPT_S), joining(3, replace(DRIVE, watch=True))], set()),
    ("nor who may not drive", "watch", [gone(KEPT_S), joining(3, WATCH)], set()),
    ("who comes while it is kept watches", "watch", [gone(KEPT_S - 1), joining(3)], set()),
    ("who asked gets it when it is free", "watch", [asking((2, "request", None)), gone(KEPT_S)], {2}),
    ("who asked first gets it first", "watch",
     [joining(3), asking((3, "request", None), (2, "request", None), (1, "release", None))], {3}),
    ("who asked and left does not", "watch",
     [asking((2, "request", None)), lambda room: room.wheel.left(2), gone(KEPT_S)], set()),
    ("who was declined does not", "watch",
     [asking((2, "request", None), (1, "decline", 2), (1, "release", None))], set()),
    ("who releases watches", "watch", [asking((1, "release", None))], set()),
    ("and may take it again", "watch", [asking((1, "release", None), (1, "take", None))], {1}),
    ("who is given the wheel has it", "watch", [asking((1, "give", 2))], {2}),
    ("a watcher gives nothing", "watch", [asking((2, "give", 2))], {1}),
    ("a watcher releases nothing", "watch", [asking((2, "release", None))], {1}),
    ("who may only watch is given nothing", "watch", [joining(3, WATCH), asking((1, "give", 3))], {1}),
    ("nor who is not there", "watch", [asking((1, "give", 9))], {1}),
    ("who may only watch takes nothing", "watch",
     [joining(3, WATCH), gone(KEPT_S), asking((3, "take", None))], set()),
    ("the key takes the seat again", "watch", [gone(1), joining(3, replace(DRIVE, key="key1"))], {3}),
    ("also while the old connection stands", "watch", [joining(3, replace(DRIVE, key="key1"))], {3}),
    ("but not after its time", "watch",
     [gone(KEPT_S), asking((2, "take", None)), joining(3, replace(DRIVE, key="key1"))], {2}),
    ("another key takes nothing", "watch", [gone(1), joining(3, replace(DRIVE, key="key2"))], set()),
    ("who comes back under its id has its seat", "watch", [gone(1), joining(1)], {1}),
    ("a published client comes back under another", "watch",
     [lambda room: room.wheel.dismiss(1), joining(3, PUBLISHED), lambda room: room.wheel.left(3),
      joining(4, replace(PUBLISHED, again=True))], {4}),
    ("but not for the first time", "watch",
     [lambda room: room.wheel.dismiss(1), joining(3, PUBLISHED), lambda room: room.wheel.left(3),
      joining(4, PUBLISHED)], set()),
    ("nor another one", "watch",
     [lambda room: room.wheel.dismiss(1), joining(3, PUBLISHED), lambda room: room.wheel.left(3),
      joining(4, replace(PUBLISHED, again=True, client=("::2",)))], set()),
    ("nor in place of a page", "watch", [gone(1), joining(4, replace(PUBLISHED, again=True))], set()),
    ("who drove before does not have it after a gift", "watch",
     [asking((1, "give", 2)), lambda room: room.wheel.left(1), joining(1, replace(DRIVE, key="key1"))], {2}),
    ("who drives beside inherits a free seat", "drive", [gone(KEPT_S)], {2}),
    ("who was sent away has nothing kept", "watch",
     [lambda room: room.wheel.dismiss(1), asking((2, "take", None))], {2}),
    ("nobody takes what the line waits for", "watch",
     [lambda room: setattr(room.wheel, "withheld", True), gone(KEPT_S), asking((2, "take", None)), joining(3)],
     set()),
    ("nor inherits it", "watch",
     [asking((2, "request", None)), lambda room: setattr(room.wheel, "withheld", True), gone(KEPT_S)], set()),
    ("a turn's end frees the seat", "watch",
     [lambda room: setattr(room.wheel, "withheld", True), lambda room: room.wheel.end_turn(),
      joining(3, replace(DRIVE, key="key1"))], set()),
    ("a promised seat is for its key", "watch",
     [lambda room: room.wheel.end_turn(), lambda room: room.wheel.promise(),
      asking((2, "take", None)), joining(3, replace(DRIVE, keyless=True))], set()),
    ("who shows it has it", "watch",
     [lambda room: room.wheel.end_turn(), lambda room: room.wheel.promise(),
      joining(3, replace(DRIVE, key="key2"))], {3}),
    ("also over the connection that it has", "watch",
     [lambda room: room.wheel.end_turn(), lambda room: room.wheel.promise(),
      lambda room: room.asks(2, "take", key="key2")], {2}),
    ("an unused promise lapses", "watch",
     [lambda room: room.wheel.end_turn(), lambda room: room.wheel.promise(), lambda room: room.wait(KEPT_S),
      asking((2, "take", None))], {2}),
    ("a start of published clients is the first of theirs", "watch",
     [lambda room: room.wheel.end_turn(), lambda room: room.wheel.promise(keyless=True),
      joining(3), joining(4, replace(DRIVE, keyless=True)), joining(5, replace(DRIVE, keyless=True))], {4}),
]  # fmt: skip


@pytest.mark.parametrize(("join", "steps", "drive"), [rule[1:] for rule in RULES], ids=[r[0] for r in RULES])
def test_the_wheel_goes_by_its_rules(
    join: Join, steps: Sequence[Callable[[Room], object]], drive: set[int]
) -> None:
    room = two(join)
    for step in steps:
        step(room)
    assert room.wheel.drivers() == drive
    assert {who for who in range(1, 6) if room.wheel.drives(who)} == drive


def test_refusals_have_codes() -> None:
    room = two()
    room.comes(3, WATCH)
    assert room.asks(2, "take") == "seat_taken"
    assert room.asks(2, "release") == room.asks(2, "give", 1) == room.asks(2, "decline", 1) == "not_driving"
    assert room.asks(3, "take") == room.asks(1, "give", 3) == "not_granted"
    assert room.asks(1, "give", 9) == room.asks(1, "decline", 2) == "invalid_command"
    for who in range(4, 4 + limits.WHEEL_REQUESTS):
        room.comes(who)
        assert room.asks(who, "request") == ""
    assert room.asks(2, "request") == "rate_limited"


def test_where_nobody_else_is_admitted_only_the_driver_comes_back() -> None:
    room = Room("off")
    key = room.comes(1)
    with pytest.raises(SessionRefused) as refused:
        room.comes(2)
    assert refused.value.status == 409
    room.wheel.left(1)
    with pytest.raises(SessionRefused):
        room.comes(2)
    assert room.comes(3, replace(DRIVE, key=key)) == key
    room.wheel.left(3)
    room.wait(KEPT_S)
    assert room.comes(2) != ""
    assert room.comes(4, replace(DRIVE, invited=True)) == ""
    assert room.wheel.drivers() == {2, 4}


def test_each_is_told_what_there_is_to_do() -> None:
    room = Room()
    room.comes(1)
    one = say.Visitor(1, "Visitor 1")
    assert room.view(1) == say.Wheel("drive", one, None, ("release",), ())
    room.comes(2)
    room.comes(3, WATCH)
    assert room.view(1).may == ("release", "give")
    assert room.view(2) == say.Wheel("watch", one, None, ("request",), ())
    assert room.view(3) == say.Wheel("watch", one, None, (), ())
    room.asks(2, "request")
    assert room.view(2) == say.Wheel("watch", one, None, (), (say.Visitor(2, "Visitor 2"),))
    room.asks(1, "decline", 2)
    room.wheel.left(1)
    room.wait(4)
    assert room.view(2) == say.Wheel("watch", one, KEPT_S - 4, ("request",), ())
    room.wait(KEPT_S)
    assert room.view(2) == say.Wheel("watch", None, None, ("take",), ())


def test_news_is_told_once_and_the_key_to_nobody_but_the_driver() -> None:
    room = two()
    first = room.wheel.news([1, 2])
    assert say.Seat("key1") in first[1]
    assert not any(isinstance(message, say.Seat) for message in first[2])
    assert room.wheel.news([1, 2]) == {}
    room.wait(5)
    assert room.wheel.news([1, 2]) == {}
    room.asks(1, "give", 2)
    news = room.wheel.news([1, 2])
    assert [m.key for m in news[2] if isinstance(m, say.Seat)] == ["key2"]
    assert not any(isinstance(message, say.Seat) for message in news[1])


def test_operators_are_told_who_people_are_and_nobody_else() -> None:
    room = Room()
    room.comes(71, Entry(role=Role.OPERATE))
    room.comes(72, Entry(role=Role.DRIVE, sub="ada"))
    people = (
        say.Person(1, "Visitor 1", 71, "operate"),
        say.Person(2, "Visitor 2", 72, "drive", "ada"),
    )
    news = room.wheel.news([71, 72])
    assert [m for m in news[71] if isinstance(m, say.People)] == [say.People(people)]
    assert not any(isinstance(message, say.People) for message in news[72])


def test_a_reload_keeps_its_number() -> None:
    room = two()
    room.comes(3, replace(DRIVE, key="key1"))
    assert room.view(3).driver == say.Visitor(1, "Visitor 1")
    assert room.view(1).you == "watch"
    assert sorted(room.wheel._numbers.values()) == [1, 2, 4]


@pytest.mark.parametrize("seed", range(40))
def test_any_history_has_one_driver_who_has_a_right_to_it(seed: int) -> None:
    rng = random.Random(seed)
    room = Room("watch")
    wheel = room.wheel
    entries: dict[int, Entry] = {}
    here: list[int] = []
    keys: dict[int, str] = {}
    asked: list[int] = []
    lost_s: dict[int, float] = {}
    for _ in range(300):
        before, free_before = wheel.driver, not wheel.holder
        happened = rng.choice(
            ("come", "back", "leave", "act", "act", "act", "wait", "withhold", "turn", "reload")
        )
        who = rng.choice(here) if here else 0
        match happened:
            case "come" if len(here) < 8:
                who = max(entries, default=0) + 1
                entries[who] = rng.choice((DRIVE, DRIVE, WATCH, replace(DRIVE, watch=True)))
                room.comes(who, entries[who])
                here.append(who)
                if not free_before:
                    assert not wheel.drives(who), "a seat that was not free went to a newcomer"
            case "reload" if who and len(here) < 8:
                # The new page comes before the server knows that the old one is gone.
                drove, new = wheel.drives(who), max(entries) + 1
                entries[new] = replace(entries[who], key=keys.get(who, "") if drove else "guessed")
                room.comes(new, entries[new])
                here.append(new)
                if drove and not entries[who].watch:
                    assert wheel.driver == new
                    assert not wheel.drives(who)
                    keys[new] = keys[who]
                elif not free_before:
                    assert not wheel.drives(new)
            case "back" if lost_s:
                who = rng.choice(list(lost_s))
                in_time = room.now_s - lost_s[who] < KEPT_S
                kept = in_time and wheel.holder == keys.get(who) and bool(wheel.holder)
                room.comes(who, replace(entries[who], key=""))
                here.append(who)
                del lost_s[who]
                if (
                    kept
                    and entries[who].may_drive
                    and not entries[who].watch
                    and wheel._seat
                    and wheel._seat.holder == who
                ):
                    assert wheel.driver == who, "whoever came back in time lost the seat"
            case "leave" if who:
                here.remove(who)
                wheel.left(who)
                lost_s[who] = room.now_s
                if who in asked:
                    asked.remove(who)
                if who == before:
                    assert wheel.holder == keys[who], "the seat is kept for whoever is gone"
            case "act" if who:
                verb, to = rng.choice(VERBS), rng.randint(1, 12)
                code = room.asks(who, verb, to)
                if verb == "take" and not code:
                    assert wheel.drives(who)
                if verb == "release" and not code:
                    assert not wheel.drives(who)
                    assert wheel.withheld or wheel.driver == (asked[0] if asked else None)
                if not entries[who].may_drive:
                    assert code == "not_granted"
                elif who != before and verb in ("release", "give", "decline"):
                    assert code == "not_driving"
            case "wait":
                room.wait(rng.choice((0.1, 4, KEPT_S / 2, KEPT_S)))
            case "withhold":
                wheel.withheld = not wheel.withheld
            case "turn":
                key = wheel.holder
                wheel.end_turn()
                assert wheel.holder != key or not key
        asked[:] = list(wheel._asked)
        drivers = wheel.drivers()
        assert len(drivers) <= 1, "two drive"
        for driver in drivers:
            assert driver in here
            assert entries[driver].may_drive
            keys[driver] = wheel.holder
        assert (wheel.driver is not None) == bool(drivers)
        views = [room.view(each) for each in here]
        assert sum(view.you == "drive" for view in views) == len(drivers)


# The dead-man's switch ------------------------------------------------------------------------------------


STOP = say.Command(None, "drive", {"pedal": "q"})


def test_a_switch_is_thrown_once_when_the_beats_stop() -> None:
    now_s = 0.0
    deadman = DeadMan(lambda: now_s)
    deadman.beat(1)
    assert deadman.due_s is None
    deadman.arm(1, [STOP])
    for _ in range(10):
        now_s += 0.1
        deadman.beat(1)
        assert deadman.due() == {}
    now_s += limits.DEADMAN_S - 0.01
    assert deadman.due() == {}
    now_s += 0.02
    assert deadman.due() == {1: (STOP,)}
    now_s += 10
    deadman.beat(1)
    assert deadman.due() == {}
    assert deadman.lost(1) == ()


def test_a_switch_that_is_disarmed_or_whose_driver_is_gone_is_thrown_no_more() -> None:
    now_s = 0.0
    deadman = DeadMan(lambda: now_s)
    deadman.arm(1, [STOP])
    deadman.arm(2, [STOP])
    deadman.arm(1, [])
    assert deadman.lost(2) == (STOP,)
    now_s = 60.0
    assert deadman.due() == {}
    assert deadman.lost(1) == ()


# In a session -----------------------------------------------------------------------------------------------


async def pair(house: House) -> tuple[FakeLink, FakeLink]:
    await house.start()
    return await house.watch(), await house.watch()


def names(house: House) -> list[str]:
    return [call.name for call in house.host.calls]


async def test_a_watcher_s_commands_and_pictures_never_reach_the_model(house: House) -> None:
    driver, watcher = await pair(house)
    pixels: Any = None
    watcher.say("paint", request_id="a")
    watcher.claim("b")
    watcher.events.input_frame("webcam", pixels)
    watcher.ask("deadman", {"release": [{"command": "paint"}]})
    await asyncio.sleep(1)
    [receipt] = watcher.told("commandReceipt")
    assert receipt["code"] == "not_driving"
    assert "take the wheel" in receipt["message"]
    assert [m["error"]["code"] for m in watcher.messages if "error" in m] == ["not_driving"]
    assert (house.host.calls, house.host.inputs) == ([], [])
    driver.say("paint", request_id="a")
    driver.events.input_frame("webcam", pixels)
    assert (names(house), house.host.inputs) == (["paint"], ["webcam"])


async def test_everybody_is_told_who_drives_and_the_driver_the_key(house: House) -> None:
    driver, watcher = await pair(house)
    assert driver.told("wheel")[-1] == {
        "you": "drive",
        "driver": {"id": 1, "name": "Visitor 1"},
        "kept_s": None,
        "may": ["release", "give"],
        "requests": [],
    }
    assert watcher.told("wheel")[-1]["you"] == "watch"
    assert (len(driver.told("seat")), watcher.told("seat")) == (1, [])
    assert [len(link.told("people")[-1]["people"]) for link in (driver, watcher)] == [2, 2]
    assert driver.told("company")[-1] == {"viewers": 2, "drivers": 1, "driving": True}
    assert watcher.told("company")[-1] == {"viewers": 2, "drivers": 1, "driving": False}
    driver.lose()
    await settle()
    assert watcher.told("wheel")[-1]["kept_s"] == KEPT_S
    assert watcher.told("company")[-1] == {"viewers": 1, "drivers": 0, "driving": False}
    await asyncio.sleep(KEPT_S)
    assert watcher.told("wheel")[-1] == {
        "you": "watch", "driver": None, "kept_s": None, "may": ["take"], "requests": []
    }  # fmt: skip
    watcher.ask("wheel", {"action": "take"})
    assert watcher.told("wheel")[-1]["you"] == "drive"
    assert watcher.told("company")[-1] == {"viewers": 1, "drivers": 1, "driving": True}


async def test_a_request_on_the_control_channel_is_answered_there_and_else_by_a_notice(house: House) -> None:
    driver, watcher = await pair(house)

    def request(link: FakeLink, request_id: str, action: str, **data: Any) -> Any:
        asked = {"request_id": request_id, "method": "wheel", "data": {"action": action, **data}}
        link._hear("control", {"type": "request", **asked})
        return link.messages[-1]

    assert request(watcher, "1", "take")["error"]["code"] == "seat_taken"
    assert request(watcher, "2", "request") == {
        "type": "response", "method": "wheel", "request_id": "2", "data": {}
    }  # fmt: skip
    assert driver.told("wheel")[-1]["requests"] == [{"id": 2, "name": "Visitor 2"}]
    assert "data" in request(driver, "3", "give", to=2)
    assert watcher.told("wheel")[-1]["you"] == "drive"
    driver.ask("wheel", {"action": "take"})
    assert [notice["code"] for notice in driver.told("notice")] == ["seat_taken"]


async def test_a_driver_whose_beats_stop_has_its_keys_let_go_once_and_is_told(house: House) -> None:
    driver, _ = await pair(house)
    driver.ask("deadman", {"release": [{"command": "paint", "data": {}}]})
    for _ in range(20):
        await asyncio.sleep(0.1)
        driver.ask("beat")
    assert names(house) == []
    await asyncio.sleep(limits.DEADMAN_S - 0.01)
    assert names(house) == []
    await asyncio.sleep(0.02)
    assert names(house) == ["paint"]
    assert driver.told("deadman") == [{"released": ["paint"]}]
    driver.ask("beat")
    await asyncio.sleep(5)
    assert names(house) == ["paint"]


async def test_beats_on_a_channel_of_their_own_count(house: House) -> None:
    driver, _ = await pair(house)
    driver.events.channel_open("beats")
    driver.ask("deadman", {"release": [{"command": "paint"}]})
    for _ in range(20):
        await asyncio.sleep(0.1)
        driver.events.channel_message("beats", "")
    assert names(house) == []
    await asyncio.sleep(0.3)
    assert names(house) == ["paint"]


@pytest.mark.parametrize("ending", ["lost", "given", "released", "turn", "kicked"])
async def test_what_a_driver_holds_is_let_go_when_it_drives_no_more(house: House, ending: str) -> None:
    driver, watcher = await pair(house)
    driver.claim("1")
    driver.ask("deadman", {"release": [{"command": "paint"}]})
    match ending:
        case "lost":
            driver.lose()
        case "given":
            driver.ask("wheel", {"action": "give", "to": 2})
        case "released":
            driver.ask("wheel", {"action": "release"})
        case "turn":
            house.wheel.end_turn()
        case "kicked":
            driver.ask("operate", {"action": "kick", "id": 1})
    await settle()
    assert names(house) == ["paint"]
    await asyncio.sleep(5)
    assert names(house) == ["paint"]
    if ending != "lost":
        watcher.ask("wheel", {"action": "take"})
        watcher.claim("2")
        assert "error" not in watcher.messages[-1]


async def test_a_switch_that_would_do_what_the_model_does_not_know_is_refused_like_a_command(
    house: House,
) -> None:
    driver, _ = await pair(house)
    driver.ask("deadman", {"release": [{"command": "fly"}]})
    driver.ask("deadman", {"release": [{"command": "paint"}] * (limits.DEADMAN_COMMANDS + 1)})
    await asyncio.sleep(1)
    assert names(house) == []


async def test_a_seat_s_key_keeps_the_wheel_over_a_reload_and_another_tab_watches(house: House) -> None:
    await house.start()
    first = await house.watch()
    [seat] = first.told("seat")
    first.lose()
    await asyncio.sleep(KEPT_S - 1)
    _, other = await house.join(seat="")
    other.connect()
    _, again = await house.join(seat=seat["seat"])
    again.connect()
    other.ask("ping")
    again.ask("ping")
    assert (again.told("wheel")[-1]["you"], other.told("wheel")[-1]["you"]) == ("drive", "watch")
    assert again.told("seat") == [seat]


async def test_a_published_client_that_started_drives_although_a_page_is_faster(house: House) -> None:
    await house.start()
    _, page = await house.join(seat="")
    page.connect()
    client = await house.watch()
    page.say("paint", request_id="a")
    client.say("paint", request_id="b")
    assert [receipt["accepted"] for receipt in page.told("commandReceipt")] == [False]
    assert [receipt["accepted"] for receipt in client.told("commandReceipt")] == [True]


@pytest.mark.parametrize("join", ["watch", "drive"])
def test_whoever_registers_before_the_first_has_arrived_does_not_take_the_seat_from_it(join: Join) -> None:
    """On a busy server the news of a connection comes later than the next one's request."""
    room = Room(join)
    room.wheel.promise(keyless=True)
    for who in (1, 2):
        room.wheel.enter(who, PUBLISHED)
    for who in (1, 2):
        room.wheel.arrive(who)
    assert room.wheel.driver == 1
    assert room.wheel.drivers() == ({1, 2} if join == "drive" else {1})
    room.wheel.left(2)
    assert room.wheel.drives(1)


def test_whoever_registers_again_because_its_first_connection_never_came_has_the_seat() -> None:
    room = Room()
    room.wheel.promise(keyless=True)
    room.wheel.enter(1, PUBLISHED)
    room.comes(2, PUBLISHED)
    assert room.wheel.driver == 2


async def test_whoever_is_let_into_this_session_to_drive_drives_beside(house: House) -> None:
    session_id = await house.start()
    await house.watch()
    for sid, accepted in ((session_id, True), (None, False)):
        _, link = await house.join(grant=Grant(Role.DRIVE, sid=sid))
        link.connect()
        link.say("paint", request_id="a")
        assert [receipt["accepted"] for receipt in link.told("commandReceipt")] == [accepted]


async def test_a_command_that_overtakes_the_news_of_its_connection_is_the_driver_s(house: House) -> None:
    await house.start()
    connection_id, link = await house.join()
    for label in ("control", "data"):
        link.events.channel_open(label)
    link.say("paint", request_id="a")
    assert [receipt["accepted"] for receipt in link.told("commandReceipt")] == [True]
    # It never came about: nobody who is not there has the seat.
    link = await house.offer(connection_id, replace=True)
    assert house.wheel.drivers() == frozenset()


# Operators ---------------------------------------------------------------------------------------------


async def test_a_kicked_viewer_is_told_why_and_its_id_is_nobody_s(house: House) -> None:
    session_id = await house.start()
    connection_id, link = await house.join()
    link.connect()
    link.ask("ping")
    other = await house.watch()
    with pytest.raises(NotGranted):
        await house.sessions.kick(session_id, connection_id, reason="", grant=Grant(Role.DRIVE))
    await house.sessions.kick(session_id, connection_id, reason="be nice", grant=Grant(Role.OPERATE))
    assert link.told("moderation")[-1]["message"] == "be nice"
    assert link.told("sessionEnded") == [{"reason": "kicked"}]
    link.ask("wheel", {"action": "take"})
    link.say("paint", request_id="a")
    assert names(house) == []
    await asyncio.sleep(1)
    assert link.closed
    assert house.viewers == 1
    with pytest.raises(SessionRefused) as refused:
        await house.offer(connection_id, replace=True)
    assert refused.value.status == 404
    other.ask("wheel", {"action": "take"})
    assert other.told("wheel")[-1]["you"] == "drive"


@pytest.mark.parametrize(("action", "reason"), [("end", "stopped"), ("moderate", "moderated")])
async def test_an_operator_ends_a_session_from_inside_it(house: House, action: str, reason: str) -> None:
    await house.start()
    link = await house.watch()
    link.ask("operate", {"action": action, "reason": "no guns"})
    await asyncio.sleep(1)
    assert link.told("sessionEnded") == [{"reason": reason}]
    assert [told["message"] for told in link.told("moderation")] == (
        ["no guns"] if action == "moderate" else []
    )


async def test_an_operator_has_the_server_stop_and_nobody_else_can(house: House) -> None:
    await house.start()
    _, link = await house.join(grant=Grant(Role.DRIVE))
    link.connect()
    link.ask("operate", {"action": "drain"})
    assert [notice["code"] for notice in link.told("notice")] == ["not_granted"]
    waiting = asyncio.create_task(house.sessions.until_drain_asked())
    await settle()
    assert not waiting.done()
    operator = await house.watch()
    operator.ask("operate", {"action": "drain"})
    await asyncio.wait_for(waiting, 1)
    await house.stop()
    await asyncio.sleep(1)
    with pytest.raises(SessionRefused, match="shutting down"):
        await house.start()
