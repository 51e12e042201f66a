"""Placement in virtual time: no worker twice, nobody overtaken, the lost noticed, those who come back believed."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from support.promises import long_form

from reactor_runtime import limits
from reactor_runtime.cluster.limits import BEAT_S, GATHER_S, SHUNNED_S, START_S
from reactor_runtime.cluster.placement import Placement, refused_or, value_of
from reactor_runtime.cluster.roster import At, Heard, Report, Roster
from reactor_runtime.cluster.scaling import Bounds, to_retire
from reactor_runtime.cluster.vouching import CLUSTER, mark, vouch
from reactor_runtime.errors import SessionRefused, Unauthorized
from reactor_runtime.session.grants import Grant
from reactor_runtime.session.prospects import news
from reactor_runtime.tokens import Keys, fresh_key
from reactor_runtime.types import JsonObject, Role

DRIVER = Grant(Role.DRIVE, address="192.0.2.1", agent="a test")


@dataclass
class FakeWorker:
    """One worker's server: it begins what it is told to, if it lives, and keeps a journal of what it ran."""

    name: str
    node: str = "node-a"
    epoch: int = 1
    start_s: float = 0.02
    alive: bool = True
    reached: bool = True
    broken: bool = False
    session_id: str = ""
    last: str = ""
    journal: list[tuple[str, float, float]] = field(default_factory=list)
    began_s: float = 0.0
    client: str = ""
    doubled: int = 0
    """How often it was given a session beside another."""

    def report(self) -> Report:
        at = At.BUSY if self.session_id else At.IDLE
        return Report(
            self.name,
            self.epoch,
            self.node,
            f"http://{self.name}",
            "k:s",
            at,
            self.session_id,
            self.last,
            self.client if self.session_id else "",
        )

    def begin(self, session_id: str, now_s: float) -> None:
        self.doubled += bool(self.session_id)
        self.session_id, self.began_s = session_id, now_s

    def end(self, now_s: float) -> None:
        if self.session_id:
            self.journal.append((self.session_id, self.began_s, now_s))
            self.last, self.session_id = self.session_id, ""

    def restart(self, now_s: float) -> None:
        self.end(now_s)
        self.epoch, self.last, self.alive = self.epoch + 1, "", True


class Town:
    """A Placement and its workers, which beat as real ones do."""

    def __init__(self, *names: str, cap: int = 100) -> None:
        self.workers = {name: FakeWorker(name) for name in names}
        self.cap = cap
        self.placement = self._placement()
        self.up = True
        self._beating: list[asyncio.Task[None]] = []

    def _placement(self) -> Placement:
        return Placement(self, cap=self.cap, places=8, clock=asyncio.get_running_loop().time)

    @property
    def now_s(self) -> float:
        return asyncio.get_running_loop().time()

    async def start(self, worker: Report, session_id: str, grant: Grant) -> JsonObject:
        fake = self.workers[worker.worker]
        await asyncio.sleep(fake.start_s)
        if not fake.alive or not fake.reached or fake.epoch != worker.epoch or fake.broken:
            raise SessionRefused("the worker does not answer", status=503)
        fake.begin(session_id, self.now_s)
        fake.client = mark(grant)
        return {"session_id": session_id, "seat": f"seat of {session_id}"}

    async def stop(self, worker: Report, session_id: str, reason: str) -> None:
        fake = self.workers[worker.worker]
        if fake.session_id == session_id:
            fake.end(self.now_s)

    def add(self, name: str, **known: Any) -> FakeWorker:
        fake = self.workers[name] = FakeWorker(name, **known)
        self._beating.append(asyncio.create_task(self._beat(fake)))
        return fake

    async def _beat(self, fake: FakeWorker) -> None:
        while True:
            if fake.alive and fake.reached and self.up:
                answer = await self.placement.beat(fake.report().document())
                if answer["heard"] == Heard.FENCED.value:
                    fake.alive = False
            await asyncio.sleep(BEAT_S)

    async def begin(self) -> None:
        for name in list(self.workers):
            self.add(name)
        await asyncio.sleep(GATHER_S + 0.1)

    async def lose_placement(self, away_s: float) -> None:
        self.up = False
        await self.placement.close()
        await asyncio.sleep(away_s)
        self.placement, self.up = self._placement(), True

    async def close(self) -> None:
        for task in self._beating:
            task.cancel()
        await asyncio.gather(*self._beating, return_exceptions=True)
        await self.placement.close()

    def where(self, session_id: str) -> str:
        return next(name for name, fake in self.workers.items() if fake.session_id == session_id)


@asynccontextmanager
async def town(*names: str, cap: int = 100) -> AsyncIterator[Town]:
    made = Town(*names, cap=cap)
    await made.begin()
    try:
        yield made
    finally:
        await made.close()


async def test_two_hundred_starts_at_once_on_three_workers_give_each_worker_once() -> None:
    async with town("a", "b", "c") as here:
        starts = [here.placement.start(None, replace(DRIVER, agent=str(n))) for n in range(200)]
        made = await asyncio.gather(*starts, return_exceptions=True)
        begun = [each for each in made if not isinstance(each, BaseException)]
        refused = [each for each in made if isinstance(each, SessionRefused)]
        assert (len(begun), len(refused)) == (3, 197)
        assert {error.status for error in refused} == {409}
        assert len({each["at"]["url"] for each in begun}) == 3


async def test_a_hundred_who_join_the_line_at_once_drive_in_the_order_of_their_coming() -> None:
    async with town("a", "b", "c", cap=300) as here:
        tickets = [(await here.placement.join("", ""))["ticket"] for _ in range(100)]
        drove: list[int] = []

        async def go(number: int, ticket: str) -> None:
            while (await here.placement.look(ticket))["state"] == "waiting":
                await asyncio.sleep(1)
            given = await here.placement.claim(ticket, "")
            drove.append(number)
            await asyncio.sleep(3)
            here.workers[here.where(given["session_id"])].end(here.now_s)

        async with asyncio.timeout(900):
            await asyncio.gather(*(go(number, ticket) for number, ticket in enumerate(tickets)))
        # Three begin at about the same time; nobody is overtaken by more than those.
        assert all(abs(place - number) < 3 for place, number in enumerate(drove))
        spans = [span for fake in here.workers.values() for span in fake.journal]
        assert len(spans) == 100
        _assert_nothing_twice(here)


async def test_one_address_has_no_more_than_its_share_of_the_line_in_a_cluster_either() -> None:
    async with town("a", cap=100) as here:
        await here.placement.start(None, DRIVER)
        for _ in range(limits.LINE_PER_ADDRESS):
            await here.placement.join("", "203.0.113.7")
        with pytest.raises(SessionRefused, match="of your network are waiting"):
            await here.placement.join("", "203.0.113.7")
        waits = replace(DRIVER, address="203.0.113.7")
        with pytest.raises(SessionRefused, match="of your network are waiting"):
            await here.placement.start(None, waits, 5.0)
        await here.placement.join("", "203.0.113.8")


async def test_who_follows_a_ticket_is_told_at_once_when_it_moves_and_else_after_a_while() -> None:
    async with town("a") as here:
        session_id = (await here.placement.start(None, DRIVER))["session"]["session_id"]
        ticket = (await here.placement.join("", ""))["ticket"]
        seen = news(await here.placement.look(ticket))
        began_s = here.now_s
        assert (await here.placement.changed(ticket, seen, 5.0))["state"] == "waiting"
        assert here.now_s - began_s == pytest.approx(5.0)
        asyncio.get_running_loop().call_later(1.0, lambda: here.workers["a"].end(here.now_s))
        assert (await here.placement.changed(ticket, seen, 5.0))["state"] == "claim"
        assert here.now_s - began_s < 5 + 1 + 2 * BEAT_S
        assert await here.placement.own(mark(DRIVER)) == []
        # Its clips and its log are there still.
        assert await here.placement.find(session_id) is not None


async def test_a_lost_worker_is_noticed_and_its_driver_is_the_next_one() -> None:
    async with town("a") as here:
        first = (await here.placement.join("", ""))["ticket"]
        given = await here.placement.claim(first, "")
        second = (await here.placement.join("", ""))["ticket"]
        here.workers["a"].alive = False
        began_s = here.now_s
        while await here.placement.find(given["session_id"]) is not None:
            await asyncio.sleep(0.05)
        assert here.now_s - began_s <= 3.0
        assert (await here.placement.look(first))["place"] == 1
        assert (await here.placement.look(second))["place"] == 2
        here.workers["a"].restart(here.now_s)
        await asyncio.sleep(1)
        assert (await here.placement.look(first))["state"] == "claim"


async def test_an_older_life_of_a_worker_is_told_to_end_itself() -> None:
    async with town("a") as here:
        old = here.workers["a"].report()
        here.workers["a"].restart(here.now_s)
        await asyncio.sleep(1)
        assert (await here.placement.beat(old.document()))["heard"] == "fenced"


async def test_a_placement_that_begins_anew_hears_what_runs_and_gives_it_to_nobody() -> None:
    async with town("a", "b") as here:
        running = (await here.placement.start(None, DRIVER))["session"]["session_id"]
        await here.lose_placement(away_s=4)
        other = await here.placement.start(None, DRIVER)
        assert here.where(running) != here.where(other["session"]["session_id"])
        assert (await here.placement.find(running)) == {"url": f"http://{here.where(running)}", "key": "k:s"}
        with pytest.raises(SessionRefused):
            await here.placement.start(None, DRIVER)


async def test_a_worker_s_word_from_before_the_start_ends_no_session() -> None:
    async with town("a") as here:
        idle = here.workers["a"].report().document()
        started = await here.placement.start(None, DRIVER)
        session_id = started["session"]["session_id"]
        await here.placement.beat(idle)  # was on its way
        assert await here.placement.own(mark(DRIVER)) == [session_id]
        here.workers["a"].end(here.now_s)
        await asyncio.sleep(1)
        assert await here.placement.own(mark(DRIVER)) == []


async def test_a_start_that_fails_at_one_worker_is_made_at_another() -> None:
    async with town("a", "b") as here:
        here.workers["a"].broken = True
        started = await here.placement.start(None, DRIVER)
        assert started["at"]["url"] == "http://b"
        with pytest.raises(SessionRefused):
            await here.placement.start(None, DRIVER)
        here.workers["a"].broken = False
        await asyncio.sleep(SHUNNED_S + 1)
        assert (await here.placement.start(None, DRIVER))["at"]["url"] == "http://a"


async def test_a_start_that_hangs_frees_its_worker_after_a_while() -> None:
    async with town("a") as here:
        here.workers["a"].start_s = 1000
        hanging = asyncio.create_task(here.placement.start(None, DRIVER))
        await asyncio.sleep(START_S + SHUNNED_S + 1)
        here.workers["a"].start_s = 0.02
        await here.placement.start(None, DRIVER)
        hanging.cancel()
        await asyncio.gather(hanging, return_exceptions=True)
        assert here.workers["a"].session_id


async def test_a_drained_node_keeps_its_session_and_is_given_no_other() -> None:
    async with town("a") as here:
        here.add("b", node="node-b")
        await asyncio.sleep(1)
        first = (await here.placement.start(None, DRIVER))["session"]["session_id"]
        assert here.where(first) == "a"
        assert await here.placement.drain_node("node-a") == 1
        assert (await here.placement.find(first)) is not None
        here.workers["a"].end(here.now_s)
        await asyncio.sleep(1)
        second = await here.placement.start(None, DRIVER)
        assert second["at"]["url"] == "http://b"
        here.add("c", node="node-a")  # comes to the drained node
        await asyncio.sleep(1)
        with pytest.raises(SessionRefused):
            await here.placement.start(None, DRIVER)


async def test_only_an_idle_worker_is_retired() -> None:
    async with town("a", "b") as here:
        busy = here.where((await here.placement.start(None, DRIVER))["session"]["session_id"])
        idle = next(name for name in here.workers if name != busy)
        assert await here.placement.retire(busy) is False
        assert await here.placement.retire(idle) is True
        with pytest.raises(SessionRefused):
            await here.placement.start(None, DRIVER)


async def test_a_client_finds_the_sessions_that_it_began_and_no_others() -> None:
    async with town("a", "b") as here:
        mine = (await here.placement.start(None, DRIVER))["session"]["session_id"]
        await here.placement.start(None, replace(DRIVER, agent="another"))
        assert await here.placement.own(mark(DRIVER)) == [mine]
        # Also by a Placement that has only heard of it.
        await here.lose_placement(away_s=1)
        await asyncio.sleep(GATHER_S)
        assert await here.placement.own(mark(DRIVER)) == [mine]


async def test_who_claims_a_seat_began_that_session() -> None:
    async with town("a") as here:
        ticket = (await here.placement.join("", ""))["ticket"]
        given = await here.placement.claim(ticket, mark(DRIVER))
        assert await here.placement.own(mark(DRIVER)) == [given["session_id"]]


async def test_one_session_is_never_begun_twice() -> None:
    async with town("a", "b") as here:
        await here.placement.start("mine", DRIVER)
        with pytest.raises(SessionRefused) as caught:
            await here.placement.start("mine", DRIVER)
        assert caught.value.status == 409


async def test_more_workers_than_there_are_places_are_turned_away() -> None:
    roster = Roster(lambda: 0.0, places=2)
    heard = [roster.hear(FakeWorker(name).report()) for name in "abc"]
    assert heard == [Heard.KNOWN, Heard.KNOWN, Heard.FULL]


async def test_a_cluster_without_workers_has_a_line() -> None:
    async with town() as here:
        ticket = (await here.placement.join("", ""))["ticket"]
        assert (await here.placement.look(ticket))["place"] == 1
        with pytest.raises(SessionRefused):
            await here.placement.start(None, DRIVER)
        here.add("a")
        await asyncio.sleep(1)
        assert (await here.placement.look(ticket))["state"] == "claim"


@pytest.mark.parametrize("seed", range(long_form(1, 40)))
async def test_whatever_happens_no_session_runs_twice_and_no_worker_is_lost_for_good(seed: int) -> None:
    draw = random.Random(seed)
    async with town("a", "b", "c", "d") as here:
        begun: list[str] = []

        async def client() -> None:
            while True:
                await asyncio.sleep(draw.uniform(0, 2))
                try:
                    if draw.random() < 0.5:
                        made = (await here.placement.start(None, DRIVER, wait_s=draw.choice([0, 5])))[
                            "session"
                        ]
                    else:
                        ticket = (await here.placement.join("", ""))["ticket"]
                        while (await here.placement.look(ticket))["state"] == "waiting":
                            await asyncio.sleep(0.3)
                        made = await here.placement.claim(ticket, "")
                except (SessionRefused, asyncio.CancelledError) as error:
                    if isinstance(error, asyncio.CancelledError):
                        raise
                    continue
                begun.append(made["session_id"])
                await asyncio.sleep(draw.uniform(0, 6))
                for fake in here.workers.values():
                    if fake.session_id == made["session_id"]:
                        fake.end(here.now_s)

        clients = [asyncio.create_task(client()) for _ in range(6)]
        troubles: list[Callable[[FakeWorker], None]] = [
            lambda fake: setattr(fake, "alive", False),
            lambda fake: setattr(fake, "reached", False),
            lambda fake: setattr(fake, "reached", True),
            lambda fake: fake.restart(here.now_s),
            lambda fake: setattr(fake, "broken", draw.random() < 0.5),
        ]
        until_s = here.now_s + long_form(300, 600)
        while here.now_s < until_s:
            await asyncio.sleep(draw.uniform(0.5, 4))
            draw.choice(troubles)(draw.choice(list(here.workers.values())))
            if draw.random() < 0.03:
                for task in clients:
                    task.cancel()
                await asyncio.gather(*clients, return_exceptions=True)
                await here.lose_placement(draw.uniform(0, 5))
                clients = [asyncio.create_task(client()) for _ in range(6)]
        for task in clients:
            task.cancel()
        await asyncio.gather(*clients, return_exceptions=True)
        for fake in here.workers.values():
            fake.reached, fake.broken = True, False
            fake.restart(here.now_s)
        await asyncio.sleep(200)  # also for places that nobody claims any more
        _assert_nothing_twice(here)
        assert len(begun) > 5
        assert [each["state"] for each in (await here.placement.state())["workers"]] == ["idle"] * 4
        for _ in range(4):
            await here.placement.start(None, DRIVER)


def _assert_nothing_twice(here: Town) -> None:
    spans = [span for fake in here.workers.values() for span in fake.journal]
    names = [session_id for session_id, _, _ in spans]
    assert len(names) == len(set(names))
    for fake in here.workers.values():
        assert fake.doubled == 0
        ends = sorted((began, ended) for _, began, ended in fake.journal)
        assert all(before[1] <= after[0] for before, after in itertools.pairwise(ends))


# What is pure -----------------------------------------------------------------------------------------------


async def test_what_is_wanted_follows_those_who_drive_and_wait_within_bounds() -> None:
    bounds = Bounds(least=1, most=5, idle=1)
    assert bounds.wanted(busy=0, waiting=0) == 1
    assert bounds.wanted(busy=2, waiting=1) == 4
    assert bounds.wanted(busy=4, waiting=9) == 5
    assert Bounds(0, 3).wanted(busy=0, waiting=0) == 0


async def test_the_longest_idle_go_first_and_never_one_that_is_used() -> None:
    now_s = 0.0
    roster = Roster(lambda: now_s)
    for number, name in enumerate("abcd"):
        now_s = float(number)
        roster.hear(FakeWorker(name).report())
    busy = roster.named("a")
    assert busy is not None
    roster.reserve(busy, "s")
    assert [each.name for each in to_retire(roster, 2, idle_before_s=10)] == ["b", "c"]
    assert [each.name for each in to_retire(roster, 9, idle_before_s=1.5)] == ["b"]


async def test_a_token_of_a_door_is_for_one_session_and_one_life_of_a_worker() -> None:
    key, later = fresh_key(), fresh_key()
    text = vouch(key, replace(DRIVER, sub="Ann"), "session-1", now=1000).encode()
    said = Keys.parse([key]).read(text, 1001)
    assert (said.role, said.sid, said.sub) == (Role.DRIVE, "session-1", "Ann")
    with pytest.raises(Unauthorized):
        Keys.parse([later]).read(text, 1001)
    personal = Grant(Role.DRIVE, jti="mine", ends=2000, max_s=60, once=True)
    said = Keys.parse([key]).read(vouch(key, personal, "s", now=1000).encode(), 1001)
    assert (said.jti, said.exp, said.max_s, said.once) == ("mine", 2000, 60, True)
    assert Keys.parse([key]).read(vouch(key, CLUSTER, None, now=1000).encode(), 1001).sid is None


async def test_a_refusal_crosses_processes_with_all_that_clients_are_told() -> None:
    async def refuse() -> None:
        raise SessionRefused("full", status=503, code="line_full", retry_after_s=30)

    with pytest.raises(SessionRefused) as caught:
        value_of(await refused_or(refuse()))
    assert (caught.value.status, caught.value.code, caught.value.retry_after_s) == (503, "line_full", 30)
