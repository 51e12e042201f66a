"""Thousands of random histories of viewers, commands, crashes, stops and drains, through the real slot and sessions.

Each plays in virtual time, from a seed that is its number, with one slot or with two. After every step the viewers are
counted; at the end each session has ended once, each command was answered once at most, by the viewer who sent it,
nobody saw a frame or heard a word of another slot's session, and nothing is left.
`make nightly` plays 10,000. `REACTOR_HISTORY=812 python -m pytest tests/test_histories.py -k alone -s` plays one
and tells what it does, step by step.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import pytest
from support.fakes import FakeHost, FakeLink
from support.house import House
from support.promises import long_form
from support.virtual_time import VirtualTimeLoop, now_s, settle

from reactor_runtime import limits
from reactor_runtime.errors import ModelFailed, ModelHung, OfferRejected, ReactorError, SessionRefused
from reactor_runtime.link import LinkState
from reactor_runtime.session.grants import EVERYTHING
from reactor_runtime.session.lifecycle import State

HISTORIES = long_form(500, nightly=10_000)
CHUNKS = 4
STEPS = 24
SLOTS = (1, 2)
#: Frames of a slot are numbered from here on, so that each tells whose it is.
FRAMES_OF_SLOT = 1_000_000
#: How often these are to happen in a history, on average.
LEAST = {
    "start_session": 1.2,
    "model_lost": 0.3,
    "timeout": 0.05,
    "answered": 1.0,
    "shown": 0.1,
    "draining": 0.02,
}


@dataclass(frozen=True)
class Place:
    """Whose a link is: which session's, and over which of its connections."""

    slot: int
    session_id: str
    connection_id: int


@dataclass
class Asked:
    """A command that a client sent, and from where."""

    place: Place
    link: FakeLink
    at_s: float


@dataclass
class History:
    """One history: the house, who is in it, and what was done."""

    seed: int
    random: random.Random
    house: House
    said: list[str] = field(default_factory=list)
    links: dict[FakeLink, Place] = field(default_factory=dict)
    asked: dict[str, Asked] = field(default_factory=dict)
    started: list[str] = field(default_factory=list)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    # What may happen ----------------------------------------------------------------------------------

    async def start(self) -> None:
        async def starting() -> None:
            with contextlib.suppress(SessionRefused):
                self.started.append(await self.house.start(f"{self.seed}-{len(self.tasks)}"))

        self.tasks.append(asyncio.create_task(starting()))
        await asyncio.sleep(0)

    async def stop(self) -> None:
        session_id, moderate = self._some_session().session_id, self.random.random() < 0.3
        await self.house.sessions.stop(session_id, moderate=moderate, reason="", grant=EVERYTHING)

    async def turn_over(self) -> None:
        """The next user begins while the connections of the last one still close."""
        await self.stop()
        await self.start()
        await settle()
        await self.join()

    async def join(self) -> None:
        link = await self._offer(self._some_session())
        if self.random.random() < 0.8:
            link.connect()
            link.notify("resume_track")

    async def come_back(self) -> None:
        here = [place for place in self.links.values() if self._runs(place)]
        if here:
            link = await self._offer(self.random.choice(here))
            link.connect()
            if self.random.random() < 0.7:
                link.notify("resume_track")

    async def _offer(self, place: Place) -> FakeLink:
        """Offer in a session: on a connection of its own if that has no id yet."""
        engine = self.house.engine
        engine.answer_s = self.random.choice((0, 0, 0, 0.3))
        engine.refusal = OfferRejected("no") if self.random.random() < 0.1 else None
        if not place.connection_id:
            made = await self.house.sessions.register(place.session_id)
            place = replace(place, connection_id=made.connection_id)
        before = len(engine.links)
        link = await self.house.offer(place.connection_id, place.session_id, replace=True)
        if len(engine.links) == before:
            raise SessionRefused("no link came of it", status=400)
        self.links[link] = place
        link.closing_s = self.random.choice((0, 0, 0.2))
        return link

    async def connect(self) -> None:
        self._some_link().connect()

    async def lose(self) -> None:
        self._some_link().lose()

    async def flicker(self) -> None:
        link = self._some_link()
        if link.state is LinkState.CONNECTED:
            link.move(LinkState.INTERRUPTED)
            link.move(LinkState.CONNECTED)

    async def pause(self) -> None:
        self._some_link().notify(self.random.choice(("pause_track", "resume_track")))

    async def claim(self) -> None:
        self._some_link().claim("c")

    async def ping(self) -> None:
        for link in self.links:
            if link.state is LinkState.CONNECTED:
                link.ask("ping")

    async def command(self) -> None:
        for _ in range(self.random.choice((1, 1, 3))):
            link = self._some_link()
            if link.closed or link.state is not LinkState.CONNECTED:
                continue
            request_id = str(len(self.asked))
            self.asked[request_id] = Asked(self.links[link], link, now_s())
            link.say("paint", request_id=request_id)

    async def emit(self) -> None:
        host = self._some_host()
        for _ in range(self.random.choice((1, 2, 5))):
            if host.state.value == "running":
                host.emit(seen=len(host.calls) and host.calls[-1].command_id)

    async def say(self) -> None:
        host = self._some_host()
        if host.state.value == "running":
            host.send("word", {"session_id": host.sessions[-1]})

    async def discard(self) -> None:
        host = self._some_host()
        if host.state.value == "running":
            host.discard()

    async def answer(self) -> None:
        host = self._some_host()
        for call in self.random.sample(host.calls, min(len(host.calls), 3)):
            host.answer(call.command_id, code=self.random.choice(("", "", "no")))

    async def finish(self) -> None:
        self._some_host().finish(ModelFailed("it raised") if self.random.random() < 0.5 else None)

    async def crash(self) -> None:
        self._some_host().lose(ModelHung("it hangs") if self.random.random() < 0.3 else None)

    async def drain(self) -> None:
        self.tasks.append(asyncio.create_task(self.house.sessions.drain()))

    async def wait(self) -> None:
        await asyncio.sleep(self.random.choice((0, 0.01, 0.3, 1, 4, 12, 31)))

    # The course of it ---------------------------------------------------------------------------------

    async def play(self, say: Callable[[str], None]) -> None:
        happenings = [
            (self.start, 10), (self.stop, 4), (self.turn_over, 3), (self.join, 16),
            (self.come_back, 5), (self.connect, 4), (self.lose, 6),
            (self.flicker, 2), (self.pause, 3), (self.claim, 1), (self.ping, 6),
            (self.command, 18), (self.emit, 16), (self.say, 3), (self.discard, 3), (self.answer, 8), (self.finish, 2),
            (self.crash, 3), (self.drain, 1), (self.wait, 14),
        ]  # fmt: skip
        steps = [step for step, _ in happenings]
        weights = [weight for _, weight in happenings]
        for step in [self.start, self.join, *self.random.choices(steps, weights, k=STEPS)]:
            states = " ".join(f"{slot.state.value:10}" for slot in self.house.sessions.slots)
            say(f"{now_s():9.2f} {states} {step.__name__}")
            try:
                await step()
            except ReactorError as refused:
                say(f"{'':20} {refused}")
            self.count()
        await asyncio.gather(*self.tasks)

    def count(self) -> None:
        for slot in self.house.sessions.slots:
            counted = slot._lifecycle.viewers
            assert counted == (slot.running.viewers if slot.running is not None else 0)
            assert counted >= 0

    def judge(self) -> Counter[str]:
        """Look back, once everything is closed; return what happened how often."""
        events = [entry for entry in self.house.sessions.journal.since(0) if entry.before is not entry.after]
        moves = [(entry.before, entry.after) for entry in events]
        begun = moves.count((State.READY, State.WAITING))
        ended = sum(before is State.CLOSING for before, _ in moves)
        assert begun == ended == len(self.started)
        assert Counter(id_ for host in self.house.hosts.made for id_ in host.sessions) == Counter(
            self.started
        )
        receipts: Counter[str] = Counter()
        for link, place in self.links.items():
            assert len(link.told("sessionEnded")) <= 1
            assert {frame // FRAMES_OF_SLOT for frame in link.frames} <= {place.slot}, "another's frame"
            assert {word["session_id"] for word in link.told("word")} <= {place.session_id}, "another's word"
            accepted = set()
            for receipt in link.told("commandReceipt"):
                receipts[receipt["request_id"]] += 1
                assert self.asked[receipt["request_id"]].place == place, "another's answer"
                accepted.add(receipt["request_id"])
            shown = [told["request_id"] for told in link.told("commandShown")]
            assert len(shown) == len(set(shown))
            assert set(shown) <= accepted, "shown without an answer over this link"
        assert all(count == 1 for count in receipts.values()), receipts
        happened = Counter(f"{entry.event}" for entry in events)
        happened["answered"] = len(receipts)
        happened["shown"] = sum(len(link.told("commandShown")) for link in self.links)
        happened["draining"] = any(
            notice["code"] == "draining" for link in self.links for notice in link.told("notice")
        )
        return happened

    def _some_link(self) -> FakeLink:
        if not self.links:
            raise SessionRefused("nobody is here", status=400)
        return self.random.choice(list(self.links)[-6:])

    def _some_host(self) -> FakeHost:
        slot = self.random.randrange(len(self.house.sessions.slots))
        return [host for host in self.house.hosts.made if host.slot == slot][-1]

    def _some_session(self) -> Place:
        running = [
            (slot.number, slot.running) for slot in self.house.sessions.slots if slot.running is not None
        ]
        if not running:
            raise SessionRefused("nothing runs", status=400)
        number, session = self.random.choice(running)
        return Place(number, session.session_id, 0)

    def _runs(self, place: Place) -> bool:
        session = self.house.sessions.slots[place.slot].running
        return session is not None and session.session_id == place.session_id

    def waiting(self) -> list[str]:
        """Return the commands of those whose session is watched."""
        slots = self.house.sessions.slots
        return [
            request_id
            for request_id, asked in self.asked.items()
            if not asked.link.closed
            and self._runs(asked.place)
            and slots[asked.place.slot].state is State.STREAMING
        ]


async def play(seed: int, say: Callable[[str], None]) -> Counter[str]:
    chance, loaded = random.Random(seed), False

    def prepare(host: FakeHost) -> None:
        host.ids_after = host.slot * FRAMES_OF_SLOT
        host.load_s = chance.choice((0, 0, 2))
        host.stop_takes_s = chance.choice((0, 0, 0.5, 3, 100))
        host.answers = chance.choice(("at once", "by hand"))
        if loaded and chance.random() < 0.15:
            host.load_error = ModelFailed("it does not load")

    slots = SLOTS[seed // CHUNKS % len(SLOTS)]
    async with House.opened(prepare=prepare, slots=slots, orphan_s=8, drain_s=5, ping_timeout_s=20) as house:
        loaded = True
        await settle()
        history = History(seed, chance, house)
        await history.play(say)
        # Whoever is still connected and alive is answered in the end.
        waiting = history.waiting()
        for _ in range(int(limits.COMMAND_REPLY_S) + 2 if waiting else 0):
            await history.ping()
            await asyncio.sleep(1)
        for request_id in set(waiting) & set(history.waiting()):
            link = history.asked[request_id].link
            told = [receipt["request_id"] for receipt in link.told("commandReceipt")]
            assert told.count(request_id) == 1, f"command {request_id} was never answered"
    return history.judge()


class Tracebacks(logging.Handler):
    """Keeps what was logged with a traceback: a task that failed, an end that was not clean."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info:
            self.found.append(f"{record.getMessage()}: {record.exc_info[1]!r}")


@pytest.fixture
def tracebacks(caplog: pytest.LogCaptureFixture) -> Iterator[Tracebacks]:
    log, handler = logging.getLogger("reactor_runtime"), Tracebacks()
    log.addHandler(handler)
    log.propagate = False  # lost models are logged by the thousand
    yield handler
    log.propagate = True
    log.removeHandler(handler)


def run(seed: int, tracebacks: Tracebacks, say: Callable[[str], None] = lambda text: None) -> Counter[str]:
    """Play one history; return how often which state was entered and which answer was given."""
    try:
        with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
            happened = runner.run(play(seed, say))
        assert tracebacks.found == []
    except BaseException as error:
        error.add_note(f"history {seed}: REACTOR_HISTORY={seed} python -m pytest {__file__} -k alone -s")
        raise
    return happened


@pytest.mark.slow
@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_sessions_end_once_and_commands_are_answered_once_whatever_happens(
    chunk: int, tracebacks: Tracebacks
) -> None:
    happened: Counter[str] = Counter()
    for seed in range(chunk, HISTORIES, CHUNKS):
        happened += run(seed, tracebacks)
    # Histories in which nothing happens prove nothing.
    a_history = {what: count / (HISTORIES / CHUNKS) for what, count in happened.items()}
    for what, least in LEAST.items():
        assert a_history.get(what, 0) >= least, f"{what}: {a_history}"


if "REACTOR_HISTORY" in os.environ:

    def test_one_history_alone(tracebacks: Tracebacks) -> None:
        print(run(int(os.environ["REACTOR_HISTORY"]), tracebacks, print))
