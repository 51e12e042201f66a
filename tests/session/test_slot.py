"""A slot and its sessions from the load to the end: time-outs, failures and their budget, drains, closings."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from support.fakes import FakeHost
from support.house import House
from support.virtual_time import now_s, settle

from reactor_runtime.errors import ManifestError, ModelFailed, ModelHung, SessionRefused
from reactor_runtime.progress import Progress
from reactor_runtime.session.lifecycle import State
from reactor_runtime.session.loading import Loading
from reactor_runtime.session.onlookers import DETAILS_S, LOOKS_S
from reactor_runtime.session.slot import NO_SESSION


def takes_to_stop(seconds: float) -> Any:
    def prepare(host: FakeHost) -> None:
        host.stop_takes_s = seconds

    return prepare


# From start to end ------------------------------------------------------------------------------------


async def test_a_session_goes_from_ready_to_streaming_and_back_to_ready(house: House) -> None:
    assert house.state() is State.READY
    session_id = await house.start()
    assert house.state() is State.WAITING
    link = await house.watch()
    assert house.state() is State.STREAMING
    await house.stop()
    await house.until(State.READY)
    assert link.told("sessionEnded") == [{"reason": "stopped"}]
    assert house.host.sessions == [session_id]
    moved = [event for event in house.events() if event not in ("offer", "viewer_gone")]
    assert moved == [
        "initialization_success",
        "start_session",
        "connection_opened",
        "stop_session",
        "cleanup_complete",
    ]


async def test_a_client_may_name_its_session(house: House) -> None:
    assert await house.start("mine") == "mine"
    await house.sessions.check("mine")


async def test_sessions_are_found_by_id_and_only_while_they_run(house: House) -> None:
    with pytest.raises(SessionRefused, match="No session running") as refused:
        await house.sessions.check("mine")
    assert refused.value.status == 400
    await house.start("mine")
    with pytest.raises(SessionRefused, match="Unknown session") as refused:
        await house.sessions.check("another")
    assert refused.value.status == 404
    await house.stop()
    with pytest.raises(SessionRefused, match="No session running"):
        await house.sessions.check("mine")


async def test_the_model_is_loaded_once_for_one_session_after_the_other(house: House) -> None:
    for number in range(5):
        await house.start(str(number))
        await house.stop()
        await house.until(State.READY)
    assert len(house.hosts.made) == 1
    assert house.host.sessions == ["0", "1", "2", "3", "4"]


@pytest.mark.parametrize(
    ("moderate", "reason", "told"),
    [
        (False, "", {"sessionEnded": {"reason": "stopped"}}),
        (False, "maintenance", {"sessionEnded": {"reason": "maintenance"}}),
        (True, "", {"sessionEnded": {"reason": "moderated"}}),
        (True, "rules", {"sessionEnded": {"reason": "moderated"}, "moderation": "rules"}),
    ],
)
async def test_every_viewer_is_told_why_a_session_was_stopped(
    house: House, moderate: bool, reason: str, told: dict[str, Any]
) -> None:
    await house.start()
    links = [await house.watch() for _ in range(3)]
    await house.stop(moderate=moderate, reason=reason)
    await house.until(State.READY)
    for link in links:
        assert link.told("sessionEnded") == [told["sessionEnded"]]
        if "moderation" in told:
            assert link.told("moderation")[0]["message"] == told["moderation"]


async def test_connections_outlive_their_session_until_the_last_word_has_left(house: House) -> None:
    await house.start()
    link = await house.watch()
    await house.stop()
    await house.until(State.READY)
    assert not link.closed
    await asyncio.sleep(1)
    assert link.closed


async def test_a_model_that_returns_ends_its_session_once_its_last_frame_was_shown(house: House) -> None:
    await house.start()
    link = await house.watch()
    last = [house.host.emit() for _ in range(5)][-1]
    house.host.finish()
    await house.until(State.READY)
    assert link.frames[-1] == last
    assert link.told("sessionEnded") == [{"reason": "finished"}]


async def test_a_model_that_returns_before_anybody_came_is_still_seen(house: House) -> None:
    await house.start()
    house.host.emit()
    house.host.finish()
    await asyncio.sleep(5)
    assert house.state() is State.WAITING
    link = await house.watch()
    await house.until(State.READY)
    assert link.frames == [1]


async def test_a_loop_that_raises_ends_its_session_and_the_model_stays(house: House) -> None:
    await house.start()
    link = await house.watch()
    house.host.finish(ModelFailed("ZeroDivisionError in start_session"))
    await house.until(State.READY)
    assert link.kinds()[-2:] == ["notice", "sessionEnded"]
    assert len(house.hosts.made) == 1
    await house.start()


async def test_what_a_model_does_after_its_session_reaches_nobody_and_costs_nothing(house: House) -> None:
    await house.start()
    await house.stop()
    await house.until(State.READY)
    house.host.emit()
    house.host.send("late", {})
    house.host.finish()
    assert house.host.released == house.host.emitted == 1
    assert house.state() is State.READY


# Starts while something else goes on --------------------------------------------------------------------


async def test_a_start_before_the_model_is_loaded_is_told_to_come_again() -> None:
    async with House.opened(load=False) as house:
        with pytest.raises(SessionRefused, match="still loading") as refused:
            await house.start()
        assert (refused.value.status, refused.value.retry_after_s) == (503, 1)


@pytest.mark.parametrize("watched", [False, True])
async def test_a_start_while_a_session_runs_is_refused_and_harms_nobody(house: House, watched: bool) -> None:
    session_id = await house.start()
    if watched:
        await house.watch()
    state = house.state()
    with pytest.raises(SessionRefused, match=f"cannot start session while {state.value}") as refused:
        await house.start()
    assert refused.value.status == 409
    assert house.state() is state
    await house.sessions.check(session_id)


async def test_a_start_while_the_last_session_closes_waits_for_it() -> None:
    async with House.opened(prepare=takes_to_stop(3)) as house:
        await house.start("first")
        await house.stop()
        began_s = now_s()
        assert await house.start("second") == "second"
        assert now_s() - began_s == pytest.approx(3)
        assert house.state() is State.WAITING


async def test_of_several_starts_while_closing_the_first_wins_and_the_others_are_told() -> None:
    async with House.opened(prepare=takes_to_stop(3)) as house:
        await house.start("first")
        await house.stop()
        answers = await asyncio.gather(*(house.start(name) for name in "abcd"), return_exceptions=True)
        assert answers[0] == "a"
        assert [str(answer) for answer in answers[1:]] == ["cannot start session while waiting"] * 3


async def test_a_start_that_is_given_up_leaves_its_place_to_the_next() -> None:
    async with House.opened(prepare=takes_to_stop(3)) as house:
        await house.start("first")
        await house.stop()
        first = asyncio.create_task(house.start("a"))
        second = asyncio.create_task(house.start("b"))
        await asyncio.sleep(1)
        first.cancel()
        assert await second == "b"


async def test_a_start_does_not_wait_for_ever() -> None:
    async with House.opened(prepare=takes_to_stop(3)) as house:
        await house.start()
        house.host.stop_takes_s = house.host.stop_limit_s = 60
        await house.stop()
        began_s = now_s()
        with pytest.raises(SessionRefused, match="cannot start session while closing"):
            await house.start()
        assert now_s() - began_s == pytest.approx(house.settings.stop_s + 1)


async def test_a_start_that_waits_is_refused_when_the_server_begins_to_drain() -> None:
    async with House.opened(prepare=takes_to_stop(3)) as house:
        await house.start()
        await house.stop()
        waiting = asyncio.create_task(house.start())
        await asyncio.sleep(1)
        began_s = now_s()
        draining = asyncio.create_task(house.sessions.drain())
        with pytest.raises(SessionRefused, match="shutting down"):
            await waiting
        assert now_s() == began_s
        await draining


async def test_nothing_to_stop_is_said(house: House) -> None:
    with pytest.raises(SessionRefused, match="cannot stop session while ready") as refused:
        await house.stop()
    assert refused.value.status == 409


async def test_a_second_stop_while_closing_is_refused() -> None:
    async with House.opened(prepare=takes_to_stop(3)) as house:
        await house.start()
        await house.stop()
        with pytest.raises(SessionRefused, match="cannot stop session while closing"):
            await house.stop()


# Nobody watches -----------------------------------------------------------------------------------------


async def test_a_session_that_nobody_joins_ends_after_the_orphan_time() -> None:
    async with House.opened(orphan_s=30) as house:
        await house.start()
        assert await house.until(State.READY) == pytest.approx(30, abs=0.05)
        assert "timeout" in house.events()


async def test_a_session_that_everyone_left_ends_after_the_orphan_time() -> None:
    async with House.opened(orphan_s=30) as house:
        await house.start()
        links = [await house.watch(), await house.watch()]
        await asyncio.sleep(10)
        links[0].lose()
        await asyncio.sleep(1)
        assert house.state() is State.STREAMING
        links[1].lose()
        assert await house.until(State.READY) == pytest.approx(30, abs=0.05)


async def test_whoever_comes_back_in_time_starts_the_orphan_time_anew() -> None:
    async with House.opened(orphan_s=30, ping_timeout_s=0) as house:
        await house.start()
        for _ in range(3):
            await asyncio.sleep(29)
            link = await house.watch()
            await asyncio.sleep(60)
            assert house.state() is State.STREAMING
            link.lose()
        assert await house.until(State.READY) == pytest.approx(30, abs=0.05)


async def test_a_connection_that_never_comes_about_does_not_count_as_a_viewer() -> None:
    async with House.opened(orphan_s=30) as house:
        await house.start()
        await asyncio.sleep(20)
        await house.join()
        assert await house.until(State.READY) == pytest.approx(10, abs=0.05)


# A model that is lost -----------------------------------------------------------------------------------


async def test_a_lost_model_ends_its_session_in_words_and_is_replaced(house: House) -> None:
    await house.start()
    link = await house.watch()
    house.host.lose()
    await house.until(State.CREATED)
    assert link.kinds()[-2:] == ["notice", "sessionEnded"]
    assert link.told("sessionEnded") == [{"reason": "model_crashed"}]
    assert await house.until(State.READY) == pytest.approx(1, abs=0.05)
    assert len(house.hosts.made) == 2
    await house.start()
    assert house.host.sessions


async def test_a_model_that_is_lost_between_sessions_is_replaced_as_well(house: House) -> None:
    house.host.lose()
    assert house.state() is State.CREATED
    await settle()
    assert (await house.sessions.health()).detail == "the model is restarted after model crashed"
    await house.until(State.READY)


async def test_restarts_come_after_longer_and_longer_pauses_and_end_with_the_budget(house: House) -> None:
    pauses = []
    for _ in range(house.settings.restarts):
        house.host.lose()
        pauses.append(await house.until(State.READY))
    assert pauses == pytest.approx([1, 4, 16], abs=0.05)
    house.host.lose()
    await house.until(State.TERMINATED)
    with pytest.raises(SessionRefused, match="the model failed too often") as refused:
        await house.start()
    assert refused.value.status == 503
    assert house.told[-1].step == "failed"


async def test_the_budget_is_one_of_ten_minutes(house: House) -> None:
    for _ in range(3):
        house.host.lose()
        await house.until(State.READY)
    await asyncio.sleep(600)
    house.host.lose()
    assert await house.until(State.READY) == pytest.approx(1, abs=0.05)


async def test_a_reload_that_fails_is_tried_again_within_the_budget() -> None:
    def prepare(host: FakeHost) -> None:
        if 1 <= len(house.hosts.made) <= 2:
            host.load_error = ModelFailed("no memory")

    async with House.opened(load=False) as house:
        house.hosts._prepare = prepare
        await house.load()
        house.host.lose()
        assert await house.until(State.READY) == pytest.approx(1 + 4 + 16, abs=0.1)
        assert len(house.hosts.made) == 4


async def test_a_start_during_a_reload_is_told_to_come_again_and_then_served(house: House) -> None:
    house.host.lose()
    with pytest.raises(SessionRefused, match="still loading"):
        await house.start()
    await house.until(State.READY)
    await house.start()


async def test_a_start_that_waits_for_a_closing_session_hears_that_the_model_was_lost() -> None:
    async with House.opened(prepare=takes_to_stop(5)) as house:
        await house.start()
        await house.stop()
        waiting = asyncio.create_task(house.start())
        await asyncio.sleep(1)
        house.host.lose()
        with pytest.raises(SessionRefused, match="still loading"):
            await waiting
        await house.until(State.READY)


async def test_a_model_that_does_not_stop_is_killed_and_replaced() -> None:
    async with House.opened(prepare=takes_to_stop(1000)) as house:
        await house.start()
        await house.stop()
        began_s = now_s()
        await house.until(State.CREATED)
        assert now_s() - began_s == pytest.approx(5, abs=0.05)
        await house.until(State.READY)
        assert len(house.hosts.made) == 2


async def test_a_first_load_that_fails_is_final_and_said() -> None:
    def prepare(host: FakeHost) -> None:
        host.load_error = ManifestError("no class named Model")

    async with House.opened(load=False, prepare=prepare) as house:
        with pytest.raises(ManifestError):
            await house.load()
        assert house.state() is State.TERMINATED
        assert (await house.sessions.health()).detail == "the model could not be loaded"
        with pytest.raises(SessionRefused, match="the model could not be loaded"):
            await house.start()


async def test_the_author_alone_is_told_why_the_load_failed() -> None:
    def prepare(host: FakeHost) -> None:
        host.load_error = ModelFailed("__init__ raised ValueError: /home/me/weights is empty")

    async with House.opened(load=False, prepare=prepare) as house:
        with pytest.raises(ModelFailed):
            await house.load()
        with pytest.raises(SessionRefused) as refused:
            await house.sessions.register(house.running)
        assert refused.value.raised == "__init__ raised ValueError: /home/me/weights is empty"
        assert "weights" not in str((await house.sessions.health()).detail)


async def test_a_server_whose_load_failed_ends_once_whoever_asked_for_it_could_ask_for_the_reason() -> None:
    async with House.opened(load=False) as house:
        began_s = now_s()
        await house.sessions.told()
        assert now_s() == began_s, "nobody had asked"
        await house.sessions.health()
        telling = asyncio.create_task(house.sessions.told())
        await asyncio.sleep(3)
        await house.sessions.health()
        await asyncio.sleep(1)
        assert not telling.done(), "the reason is still to be asked for"
        with pytest.raises(SessionRefused):
            await house.sessions.register(NO_SESSION)
        await telling
        assert now_s() - began_s == pytest.approx(4)
        for asks_again, waited_s in ((True, DETAILS_S), (False, LOOKS_S)):
            await house.sessions.health()
            began_s = now_s()
            telling = asyncio.create_task(house.sessions.told())
            await asyncio.sleep(0)
            if asks_again:
                await house.sessions.health()
            await telling
            assert now_s() - began_s == pytest.approx(waited_s), "they left"


async def test_a_model_lost_while_its_session_closes_is_replaced_once() -> None:
    async with House.opened(prepare=takes_to_stop(4)) as house:
        await house.start()
        link = await house.watch()
        await house.stop()
        await asyncio.sleep(1)
        house.host.lose(ModelHung("it hangs"))
        await house.until(State.READY)
        assert len(house.hosts.made) == 2
        assert link.told("sessionEnded") == [{"reason": "stopped"}]


# Leaving ------------------------------------------------------------------------------------------------


async def test_a_drain_without_a_session_is_over_at_once_and_refuses_starts(house: House) -> None:
    began_s = now_s()
    await house.sessions.drain()
    assert now_s() == began_s
    with pytest.raises(SessionRefused, match="shutting down") as refused:
        await house.start()
    assert (refused.value.status, refused.value.retry_after_s) == (503, 10)
    assert not (await house.sessions.health()).healthy


async def test_a_drain_waits_for_the_session_that_runs_and_tells_its_viewers() -> None:
    async with House.opened(drain_s=60, ping_timeout_s=0) as house:
        await house.start()
        link = await house.watch()
        draining = asyncio.create_task(house.sessions.drain())
        await asyncio.sleep(40)
        assert not draining.done()
        assert link.told("notice")[0]["code"] == "draining"
        await house.stop()
        await draining
        assert house.state() is State.READY


async def test_a_drain_ends_at_its_limit() -> None:
    async with House.opened(drain_s=60, ping_timeout_s=0) as house:
        await house.start()
        link = await house.watch()
        began_s = now_s()
        await house.sessions.drain()
        assert now_s() - began_s == pytest.approx(60)
        await house.sessions.close()
        assert link.told("sessionEnded") == [{"reason": "server stopped"}]


async def test_what_the_model_raised_is_told_to_its_author_and_to_nobody_else(house: House) -> None:
    await house.start()
    author, stranger = await house.watch(author=True), await house.watch()
    raised = "start_session raised ValueError: /home/me/weights is empty"
    house.host.finish(ModelFailed(raised))
    await house.until(State.READY)
    public = {"code": "model_error", "message": ModelFailed("").public()}
    assert author.told("notice") == [{**public, "detail": raised}]
    assert stranger.told("notice") == [public]
    assert author.told("sessionEnded") == stranger.told("sessionEnded") == [{"reason": "model_error"}]


async def test_what_a_handler_raised_is_told_to_the_author_who_asked_and_to_nobody_else(
    shared: House,
) -> None:
    await shared.start()
    shared.host.answers = "by hand"
    author, stranger = await shared.watch(author=True), await shared.watch()
    raised = "command 'paint' raised ValueError: /home/me/brush is dry"
    for number, link in enumerate((author, stranger), 1):
        link.say("paint", request_id=f"{number}")
        shared.host.answer(number, code="internal_error", raised=raised)
    assert [receipt["message"] for receipt in author.told("commandReceipt")] == [raised]
    assert [receipt["message"] for receipt in stranger.told("commandReceipt")] == ["internal_error"]
    assert raised not in str(stranger.messages)


async def test_what_on_frame_raised_is_told_to_the_author_and_that_it_did_to_whoever_shows_something(
    shared: House,
) -> None:
    await shared.start()
    author, shows, watches = await shared.watch(author=True), await shared.watch(), await shared.watch()
    shows.claim("1")
    raised = "on_frame raised ValueError: /home/me/lens is dark"
    shared.host.fail_frame(raised)
    public = {"code": "input_frame_failed", "message": "the model could not use a picture that it was sent"}
    assert author.told("notice") == [{**public, "detail": raised}]
    assert shows.told("notice") == [public]
    assert watches.told("notice") == []


async def test_what_the_model_raised_before_anybody_was_connected_stays_known_of_that_session(
    house: House,
) -> None:
    failed = await house.start()
    house.host.finish(ModelFailed("start_session raised ValueError: no weights"))
    await house.until(State.READY)
    with pytest.raises(SessionRefused) as refused:
        await house.sessions.register(failed)
    assert refused.value.raised == "start_session raised ValueError: no weights"
    assert "weights" not in refused.value.public()
    with pytest.raises(SessionRefused) as refused:
        await house.sessions.register("another")
    assert refused.value.raised == ""
    await house.start()
    with pytest.raises(SessionRefused) as refused:
        await house.sessions.register(failed)
    assert (refused.value.status, refused.value.raised[:22]) == (404, "start_session raised V")


async def test_a_drain_waits_for_nobody_who_never_came() -> None:
    async with House.opened(drain_s=60) as house:
        await house.start()
        began_s = now_s()
        await house.sessions.drain()
        assert now_s() - began_s < 1


async def test_a_drain_waits_for_whoever_is_just_joining() -> None:
    async with House.opened(drain_s=60, ping_timeout_s=0) as house:
        await house.start()
        _, link = await house.join()
        draining = asyncio.create_task(house.sessions.drain())
        await asyncio.sleep(1)
        link.connect()
        await asyncio.sleep(1)
        assert not draining.done()
        await house.stop()
        await draining


async def test_a_drain_waits_for_nobody_who_left() -> None:
    async with House.opened(drain_s=60) as house:
        await house.start()
        link = await house.watch()
        draining = asyncio.create_task(house.sessions.drain())
        await asyncio.sleep(5)
        link.lose()
        began_s = now_s()
        await draining
        assert now_s() - began_s < 0.1


async def test_a_drain_waits_for_nobody_who_had_left_already() -> None:
    async with House.opened(drain_s=60) as house:
        await house.start()
        (await house.watch()).lose()
        await settle()
        began_s = now_s()
        await house.sessions.drain()
        assert now_s() - began_s < 0.1


async def test_closing_tells_the_viewers_and_may_be_repeated(house: House) -> None:
    await house.start()
    link = await house.watch()
    await house.sessions.close()
    await house.sessions.close()
    assert link.told("sessionEnded") == [{"reason": "server stopped"}]
    assert link.closed
    assert house.state() is State.TERMINATED


@pytest.mark.parametrize("moment_s", [0, 0.5, 1.5, 3, 6.5])
async def test_closing_in_the_middle_of_a_reload_leaves_nothing(moment_s: float) -> None:
    def prepare(host: FakeHost) -> None:
        host.load_s = 2

    async with House.opened(prepare=prepare) as house:
        house.host.lose()
        await asyncio.sleep(moment_s)
        if moment_s == 6.5:
            house.host.lose()
    assert house.state() is State.TERMINATED


async def test_closing_while_a_session_closes_waits_for_it() -> None:
    async with House.opened(prepare=takes_to_stop(3)) as house:
        await house.start()
        await house.stop()
        began_s = now_s()
        await house.sessions.close()
        assert now_s() - began_s == pytest.approx(3, abs=0.5)


async def test_a_connection_that_does_not_close_holds_nobody_up_for_ever(house: House) -> None:
    await house.start()
    link = await house.watch()
    link.closing_s = 1000
    began_s = now_s()
    await house.sessions.close()
    assert now_s() - began_s < 10


async def test_closing_right_after_a_turn_over_waits_for_the_connections_of_both_sessions(
    house: House,
) -> None:
    await house.start()
    await house.watch()
    house.engine.answer_s = 0.5
    _, joining = await house.join()
    await house.stop()
    await house.start()
    link = await house.watch()
    await house.sessions.close()
    assert joining.closed
    assert link.closed


# While it loads --------------------------------------------------------------------------------------


def test_a_load_is_told_with_its_model_its_part_and_its_time() -> None:
    clock = iter([10.0, 12.5, 20.04, 30.0, 40.0]).__next__
    loading = Loading(clock)
    assert loading.now() is None
    loading.begin()
    loading.told(Progress("loading", "loading the model", fields={"model": "drive"}))
    fields = {"part": 2, "parts": 3}
    loading.told(Progress("weights", "downloading", 0.4, fields))
    assert loading.now() == {"model": "drive", **fields, "fraction": 0.4, "elapsed_s": 2.5}
    loading.fetched()
    assert loading.now() == {"model": "drive", "elapsed_s": 10.0}
    loading.end()
    assert loading.now() is None
    loading.begin("drive")
    assert loading.now() == {"model": "drive", "elapsed_s": 10.0}
