"""Several slots behind one server: who gets which, what is told of all, and that one's failures are its own."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import pytest
from support.fakes import FakeHost
from support.house import House
from support.virtual_time import now_s, settle

from reactor_runtime.errors import ManifestError, ModelFailed, SessionRefused
from reactor_runtime.progress import Progress
from reactor_runtime.session.grants import EVERYTHING
from reactor_runtime.session.lifecycle import State
from reactor_runtime.types import LogLine


def states(house: House) -> list[State]:
    return [slot.state for slot in house.sessions.slots]


def host_of(house: House, slot: int) -> FakeHost:
    """Return the newest host of a slot."""
    return [host for host in house.hosts.made if host.slot == slot][-1]


def steps(house: House) -> list[str]:
    return [progress.step for progress in house.told]


async def test_each_start_gets_a_slot_until_all_are_taken() -> None:
    async with House.opened(slots=2) as house:
        await settle()
        assert [await house.start(name) for name in "ab"] == ["a", "b"]
        with pytest.raises(SessionRefused, match="cannot start session while waiting") as refused:
            await house.start("c")
        assert refused.value.status == 409
        assert [host_of(house, slot).sessions for slot in (0, 1)] == [["a"], ["b"]]
        for name in "ab":
            described = await house.sessions.descriptor(name)
            assert (described["session_id"], described["state"]) == (name, "waiting")
        await house.sessions.stop("a", moderate=False, reason="", grant=EVERYTHING)
        assert await house.start("c") == "c"
        assert host_of(house, 0).sessions == ["a", "c"]


async def test_no_two_sessions_of_one_id_run() -> None:
    async with House.opened(slots=2) as house:
        await settle()
        await house.start("a")
        with pytest.raises(SessionRefused, match="of this id") as refused:
            await house.start("a")
        assert refused.value.status == 409
        assert states(house) == [State.WAITING, State.READY]


async def test_what_is_fetched_is_fetched_once_and_the_first_slot_serves_while_others_load() -> None:
    fetched: list[float] = []

    async def fetch(report: Callable[[Progress], None]) -> None:
        fetched.append(now_s())

    def slow(host: FakeHost) -> None:
        host.load_s = 10

    async with House.opened(load=False, prepare=slow, slots=3) as house:
        assert states(house) == [State.CREATED] * 3
        await house.sessions.load(fetch)
        assert states(house) == [State.READY, State.CREATED, State.CREATED]
        health = await house.sessions.health()
        assert (health.healthy, health.state, health.slots) == (
            True,
            "available",
            ("ready", "created", "created"),
        )
        await house.start("a")
        with pytest.raises(SessionRefused, match="still loading") as refused:
            await house.start("b")
        assert (refused.value.status, refused.value.retry_after_s) == (503, 1)
        await asyncio.sleep(10.1)
        # One after the other: a load may take more memory than the model that it leaves.
        assert states(house) == [State.WAITING, State.READY, State.CREATED]
        await asyncio.sleep(10.1)
        assert states(house) == [State.WAITING, State.READY, State.READY]
        assert len(fetched) == 1
        assert [host.slot for host in house.hosts.made] == [0, 1, 2]


async def test_a_mistake_of_the_author_s_ends_the_start_before_others_load() -> None:
    def wrong(host: FakeHost) -> None:
        host.load_error = ManifestError("no such class")

    async with House.opened(load=False, prepare=wrong, slots=3) as house:
        with pytest.raises(ManifestError):
            await house.load()
        assert len(house.hosts.made) == 1


async def test_a_slot_that_fails_too_often_is_out_of_service_and_the_others_go_on() -> None:
    broken = False

    def prepare(host: FakeHost) -> None:
        if broken and host.slot == 1:
            host.load_error = ModelFailed("it does not load")

    async with House.opened(prepare=prepare, slots=2, restarts=3) as house:
        await settle()
        await house.start("a")
        link = await house.watch("a")
        broken = True
        host_of(house, 1).lose()
        for _ in range(400):
            await asyncio.sleep(0.1)
            host_of(house, 0).emit()
            link.ask("ping")
        assert states(house) == [State.STREAMING, State.TERMINATED]
        assert link.frames == list(range(1, 401))
        assert not link.told("notice")
        assert "degraded" in steps(house)
        assert "failed" not in steps(house)
        health = await house.sessions.health()
        assert (health.healthy, health.slots) == (True, ("streaming", "terminated"))
        with pytest.raises(SessionRefused, match="while streaming"):
            await house.start("b")


async def test_the_last_slot_that_fails_takes_the_server_with_it() -> None:
    async with House.opened(slots=2, restarts=0) as house:
        await settle()
        host_of(house, 1).lose()
        await asyncio.sleep(1)
        assert "failed" not in steps(house)
        host_of(house, 0).lose()
        await asyncio.sleep(1)
        assert steps(house)[-1] == "failed"
        health = await house.sessions.health()
        assert (health.healthy, health.state) == (False, "terminated")


async def test_a_slot_that_does_not_load_at_first_is_tried_again() -> None:
    async with House.opened(
        prepare=lambda host: setattr(
            host, "load_error", ModelFailed("no memory") if host.slot == 1 else None
        ),
        slots=3,
    ) as house:
        await asyncio.sleep(0.5)
        # The third does not wait for it.
        assert states(house) == [State.READY, State.CREATED, State.READY]
        await asyncio.sleep(60)
        assert states(house) == [State.READY, State.TERMINATED, State.READY]
        assert [host.slot for host in house.hosts.made] == [0, 1, 2, 1, 1, 1]


async def test_what_happens_in_one_session_reaches_nobody_of_the_other() -> None:
    async with House.opened(slots=2) as house:
        await settle()
        links = {name: (await house.start(name), await house.watch(name))[1] for name in "ab"}
        first, second = (host_of(house, slot) for slot in (0, 1))
        first.emit()
        first.send("mine", {})
        first.events.metrics({"own_number": 1})
        links["a"].say("paint", request_id="1")
        await asyncio.sleep(0.5)
        assert links["a"].frames == [1]
        assert links["b"].frames == []
        assert links["a"].told("mine")
        assert not links["b"].told("mine")
        assert ([call.name for call in first.calls], second.calls) == (["paint"], [])
        assert not links["b"].told("values")
        text = await house.sessions.metrics_text()
        assert 'reactor_session{name="own_number",slot="0"} 1.0' in text
        assert 'name="own_number",slot="1"' not in text
        assert 'reactor_commands_total{slot="0"} 1.0' in text
        assert 'reactor_commands_total{slot="1"} 0.0' in text
        assert {entry.slot for entry in house.sessions.journal.since(0) if entry.event == "command"} == {0}
        # A connection of one session is nothing in the other.
        connection_id = (await house.sessions.register("a")).connection_id
        with pytest.raises(SessionRefused, match="Unknown connection"):
            await house.sessions.answer("b", connection_id, hold_s=0)
        first.lose()
        await settle()
        assert links["a"].told("sessionEnded") == [{"reason": "model_crashed"}]
        assert not links["b"].told("sessionEnded")
        assert states(house)[1] is State.STREAMING


async def test_the_log_says_whose_slot_it_is_where_there_are_several(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    for slots, said in ((1, "hello"), (2, "slot 0: hello")):
        caplog.clear()
        async with House.opened(slots=slots) as house:
            await settle()
            host_of(house, 0).events.log(LogLine("hello"))
            host_of(house, 0).lose()
            assert [record.getMessage() for record in caplog.records if "hello" in record.getMessage()] == [
                said
            ]
            assert "slot 0: model_crashed: it died" in caplog.text or slots == 1


async def test_a_drain_waits_for_the_sessions_of_all_slots() -> None:
    async with House.opened(slots=2, drain_s=30) as house:
        await settle()
        links = {name: (await house.start(name), await house.watch(name))[1] for name in "ab"}
        draining = asyncio.create_task(house.sessions.drain())
        await settle()
        assert [link.told("notice")[0]["code"] for link in links.values()] == ["draining"] * 2
        await house.sessions.stop("a", moderate=False, reason="", grant=EVERYTHING)
        await asyncio.sleep(5)
        assert not draining.done()
        links["b"].lose()
        await asyncio.sleep(1)
        assert draining.done()
