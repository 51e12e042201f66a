"""One model, one session after another: the two ways of writing a loop, and what ends it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Literal

import pytest
from pydantic import BaseModel
from support.model_bench import Bench, picture

from reactor_runtime import CommandError, InputFrame, VideoModel, command, get_ctx, limits
from reactor_runtime.errors import FrameRejected, ModelFailed, ModelOutOfMemory, SessionStopped
from reactor_runtime.running import handlers
from reactor_runtime.running.pulse import COMMAND_LANE, PulseState


class Reply(BaseModel):
    value: int


class Commanded(VideoModel):
    """Commands of every kind; subclasses bring the loop."""

    def __init__(self) -> None:
        self.value = 0
        self.seen: list[Any] = []
        self.resets = 0

    def reset(self) -> None:
        self.resets += 1

    @command("set_value")
    def set_value(self, value: int) -> dict[str, Any]:
        self.value = value
        self.seen.append(value)
        return {"value": value}

    @command("typed")
    def typed(self) -> Reply:
        return Reply(value=self.value)

    @command("where")
    async def where(self) -> dict[str, Any]:
        await asyncio.sleep(0)
        return {"thread": threading.get_ident()}

    @command("refuse")
    def refuse(self) -> None:
        raise CommandError("too_dark", "there is not enough light", field="light")

    @command("fail")
    def fail(self, how: Literal["raise", "memory", "exit", "reply", "cancel"] = "raise") -> Any:
        match how:
            case "raise":
                raise KeyError("/secret/path")
            case "memory":
                raise MemoryError
            case "exit":
                raise SystemExit(1)
            case "cancel":
                raise asyncio.CancelledError
            case _:
                return object()


class Loop(Commanded):
    def start_session(self) -> None:
        self.thread = threading.get_ident()
        while True:
            get_ctx().emit_frame(picture(self.value))
            time.sleep(0.001)


class Generator(Commanded):
    def start_session(self) -> Iterator[Any]:
        self.thread = threading.get_ident()
        while True:
            yield picture(self.value)
            time.sleep(0.001)


BOTH = pytest.mark.parametrize("model_class", [Loop, Generator])


@BOTH
def test_frames_are_numbered_from_one_and_know_the_last_command_before_them(
    model_class: type[Commanded],
) -> None:
    with Bench(model_class()) as stage:
        stage.until(lambda: len(stage.frames) > 3)
        outcome = stage.ask("set_value", value=9)
        assert (outcome.accepted, outcome.reply, outcome.reply_type) == (True, {"value": 9}, "set_value")
        assert stage.ask("typed").reply_type == "reply"
        stage.until(lambda: stage.frames[-1][1:] == (9, 2))
        assert [frame_id for frame_id, _, _ in stage.frames] == list(range(1, len(stage.frames) + 1))
        assert {value for _, value, command_id in stage.frames if command_id} == {9}


@BOTH
def test_commands_are_checked_before_the_handler_and_refused_in_its_words(
    model_class: type[Commanded],
) -> None:
    wrong: list[tuple[str, dict[str, Any], str]] = [
        ("nothing", {}, ""),
        ("set_value", {}, "value"),
        ("set_value", {"value": "x"}, "value"),
        ("set_value", {"value": 1, "more": 2}, "more"),
    ]
    model = model_class()
    with Bench(model) as stage:
        for name, arguments, field in wrong:
            outcome = stage.ask(name, **arguments)
            assert (outcome.code, outcome.field) == ("invalid_command", field)
        outcome = stage.ask("refuse")
        assert (outcome.code, outcome.message, outcome.field) == (
            "too_dark",
            "there is not enough light",
            "light",
        )
        stage.until(lambda: len(stage.frames) > 3)
        assert stage.frames[-1][2] == 0
    assert model.seen == []
    assert stage.text == ""


@BOTH
@pytest.mark.parametrize("how", ["raise", "exit", "reply", "cancel"])
def test_what_a_handler_raises_is_an_internal_error_without_internals(
    model_class: type[Commanded], how: str
) -> None:
    with Bench(model_class()) as stage:
        for _ in range(2):
            outcome = stage.ask("fail", how=how)
            assert outcome.code == "internal_error"
            assert "secret" not in outcome.message
            assert outcome.raised.startswith("command 'fail' raised ")
        seen = len(stage.frames)
        stage.until(lambda: len(stage.frames) > seen + 3)
        assert stage.text.count("Traceback") == 1
        assert stage.stop() is None


@BOTH
def test_memory_that_runs_out_in_a_handler_degrades_once_and_then_ends_the_session(
    model_class: type[Commanded],
) -> None:
    with Bench(model_class()) as stage:
        assert stage.ask("fail", how="memory").code == "out_of_memory"
        assert [message.type for message in stage.messages] == ["degraded"]
        stage.ask("fail", how="memory")
        assert isinstance(stage.end(), ModelOutOfMemory)


def test_beside_a_loop_commands_run_in_order_on_one_thread_of_their_own() -> None:
    model = Loop()
    with Bench(model) as stage:
        for value in range(50):
            stage.send("set_value", value=value)
        threads = {(stage.ask("where").reply or {})["thread"] for _ in range(3)}
        assert model.seen == list(range(50))
        assert len(threads) == 1
        assert model.thread not in threads
        assert [outcome.command_id for outcome in stage.outcomes] == list(range(1, 54))


def test_between_yields_commands_run_on_the_models_thread() -> None:
    model = Generator()
    with Bench(model) as stage:
        assert stage.ask("where").reply == {"thread": model.thread}
        assert [t.name for t in threading.enumerate() if t.name == "reactor-commands"] == []


@pytest.mark.parametrize("watched", [True, False])
def test_a_generator_held_in_the_gate_still_answers_commands_at_once(watched: bool) -> None:
    class Once(Commanded):
        def start_session(self) -> Iterator[Any]:
            while True:
                yield picture(self.value)

    with Bench(Once(), watched=False) as stage:
        stage.hold = True
        if watched:
            stage.watch(due_s=time.monotonic() + 3600)
        stage.until(lambda: stage.state() is PulseState.GATED and stage.frames)
        frames = len(stage.frames)
        asked_s = time.monotonic()
        assert stage.ask("set_value", value=5).accepted
        assert time.monotonic() - asked_s < 1.0
        assert len(stage.frames) == frames
        assert stage.stop() is None


def test_yielding_nothing_waits_for_a_command_and_burns_no_time() -> None:
    class Patient(Commanded):
        steps = 0

        def start_session(self) -> Iterator[Any]:
            while not self.value:
                self.steps += 1
                yield None
            yield picture(self.value)

    model = Patient()
    with Bench(model) as stage:
        began_s, cpu_s = time.monotonic(), time.thread_time()
        time.sleep(0.2)
        assert model.steps <= (time.monotonic() - began_s) / 0.01 + 2
        assert time.thread_time() - cpu_s < 0.1
        stage.send("set_value", value=3)
        assert stage.end() is None
        assert stage.frames == [(1, 3, 1)]
        # What came before the command was not the model's own time.
        assert stage.busy_s[0] < 0.15


def test_a_generator_that_computes_between_empty_yields_is_not_slowed() -> None:
    class Denoises(Commanded):
        def start_session(self) -> Iterator[Any]:
            for _ in range(20):
                time.sleep(0.002)
                yield None
            yield picture()

    with Bench(Denoises()) as stage:
        began_s = time.monotonic()
        stage.end()
        assert time.monotonic() - began_s < 20 * (0.002 + 0.01)


@BOTH
def test_a_stop_unwinds_the_loop_past_except_exception_and_runs_its_finally(
    model_class: type[Commanded],
) -> None:
    notes = []

    class Guarded(model_class):  # type: ignore[misc,valid-type]
        def start_session(self) -> Any:
            if model_class is Generator:
                return self._generate()
            return self._loop()

        def _loop(self) -> None:
            try:
                super().start_session()
            except Exception as error:
                notes.append(f"swallowed {error!r}")
            finally:
                notes.append("finally")

        def _generate(self) -> Iterator[Any]:
            try:
                yield from super().start_session()
            except Exception as error:
                notes.append(f"swallowed {error!r}")
            finally:
                notes.append("finally")

    model = Guarded()
    with Bench(model) as stage:
        stage.until(lambda: len(stage.frames) > 3)
        assert stage.stop() is None
        assert notes == ["finally"]
        assert model.resets == 1


@BOTH
def test_a_command_that_holds_up_a_generators_picture_is_told_of_once_and_beside_a_loop_never(
    model_class: type[Commanded], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(limits, "SLOW_COMMAND_S", 0.05)

    class Slow(model_class):  # type: ignore[misc,valid-type]
        @command("dream")
        def dream(self) -> None:
            time.sleep(0.06)

    with Bench(Slow()) as stage:
        stage.until(lambda: stage.frames)
        for name in ("dream", "typed", "dream"):
            assert stage.ask(name).accepted
        assert stage.stop() is None
    told = [record.getMessage() for record in caplog.records if "took" in record.getMessage()]
    assert len(told) == (model_class is Generator)
    assert all("'dream' took 0." in text and "picture stood still" in text for text in told)


def test_a_plain_method_may_return_a_generator() -> None:
    class Hands(Commanded):
        def start_session(self) -> Iterator[Any]:
            self.thread = threading.get_ident()
            return (picture(self.value) for _ in range(1_000_000))

    model = Hands()
    with Bench(model) as stage:
        stage.until(lambda: len(stage.frames) > 3)
        assert stage.ask("where").reply == {"thread": model.thread}
        assert stage.stop() is None


async def _later() -> None: ...


async def _frames() -> AsyncIterator[Any]:
    yield picture(1)


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (lambda: [picture(1), picture(2)], ("returned list", "`yield` each frame", "emit_frame")),
        (lambda: picture(1), ("returned ndarray", "`yield` each frame")),
        (_later, ("returned coroutine", "without async")),
        (_frames, ("returned async_generator", "without async")),
    ],
)
def test_a_session_that_returns_what_nobody_shows_fails_in_words(
    made: Callable[[], Any], words: tuple[str, ...]
) -> None:
    class Returns(Commanded):
        def start_session(self) -> Any:
            return made()

    with Bench(Returns()) as stage:
        error = stage.end()
        assert type(error) is ModelFailed
        for word in words:
            assert word in str(error)
            assert word in stage.text
        assert "Traceback" not in stage.text


@pytest.mark.parametrize("value", [None, 0, True, "done"])
def test_a_loop_may_return_what_it_likes_that_is_no_picture(value: object) -> None:
    class Returns(Commanded):
        def start_session(self) -> Any:
            return value

    with Bench(Returns()) as stage:
        assert stage.end() is None
        assert stage.text == ""


def test_a_wrong_frame_is_thrown_into_the_generator_at_its_yield() -> None:
    caught: list[FrameRejected] = []

    class Sloppy(Commanded):
        def start_session(self) -> Iterator[Any]:
            yield picture(1)
            try:
                yield "not a frame"
            except FrameRejected as error:
                caught.append(error)
            yield picture(2)

    with Bench(Sloppy()) as stage:
        assert stage.end() is None
        assert [value for _, value, _ in stage.frames] == [1, 2]
        assert len(caught) == 1


@BOTH
def test_a_loop_that_raises_fails_its_session_and_the_next_one_runs(model_class: type[Commanded]) -> None:
    class Fragile(model_class):  # type: ignore[misc,valid-type]
        @property
        def value(self) -> int:
            if self.resets == 0 and len(stage.frames) > 2:
                raise OSError("/secret/path")
            return 7

        @value.setter
        def value(self, value: int) -> None:
            pass

    model = Fragile()
    stage = Bench(model)
    with stage:
        error = stage.end()
        assert type(error) is ModelFailed
        assert "OSError" in str(error)
        assert "secret" not in error.public()
        assert model.resets == 1
        seen = len(stage.frames)
        stage.start("next")
        stage.until(lambda: len(stage.frames) > seen + 3)
        assert stage.frames[seen][0] == 1
        assert stage.stop() is None
        assert model.resets == 2
        assert stage.text.count("Traceback") == 1


def test_a_reset_that_raises_fails_the_session_and_is_logged() -> None:
    class Sticky(Loop):
        def reset(self) -> None:
            raise ValueError("stuck")

    with Bench(Sticky()) as stage:
        stage.until(lambda: stage.frames)
        error = stage.stop()
        assert type(error) is ModelFailed
        assert str(error) == "reset raised ValueError: stuck"
        assert "reset raised:\nTraceback" in stage.text


@pytest.mark.parametrize("error", [MemoryError(), type("OutOfMemoryError", (RuntimeError,), {})("CUDA")])
def test_memory_that_runs_out_in_the_loop_is_told_apart(error: Exception) -> None:
    class Hungry(Commanded):
        def start_session(self) -> None:
            raise error

    with Bench(Hungry()) as stage:
        assert isinstance(stage.end(), ModelOutOfMemory)


def test_a_handler_that_is_running_ends_before_the_next_user_comes() -> None:
    notes: list[str] = []

    class Slow(Loop):
        @command("slow")
        def slow(self) -> None:
            time.sleep(0.1)
            notes.append("handled")

        def reset(self) -> None:
            notes.append("reset")

    with Bench(Slow()) as stage:
        stage.until(lambda: stage.frames)
        stage.send("slow")
        stage.until(lambda: stage.state(COMMAND_LANE) is PulseState.BUSY)
        stage.stop()
        assert notes == ["handled", "reset"]
        assert stage.state(COMMAND_LANE) is PulseState.IDLE


@BOTH
def test_a_handler_may_emit_and_is_unwound_by_the_stop(model_class: type[Commanded]) -> None:
    unwound = []

    class Emits(model_class):  # type: ignore[misc,valid-type]
        @command("flood")
        def flood(self) -> None:
            try:
                while True:
                    get_ctx().emit_frame(picture(99))
            except SessionStopped:
                unwound.append(True)
                raise

    with Bench(Emits()) as stage:
        stage.send("flood")
        stage.until(lambda: sum(value == 99 for _, value, _ in stage.frames) > 3)
        assert stage.stop() is None
        assert unwound == [True]


@BOTH
def test_on_frame_sees_the_newest_frame_on_the_thread_that_runs_commands(
    model_class: type[Commanded],
) -> None:
    class Watches(model_class):  # type: ignore[misc,valid-type]
        def on_frame(self, frame: InputFrame) -> None:
            self.value = frame.frame_id
            self.seen.append(threading.get_ident())

    model = Watches()
    with Bench(model) as stage:
        stage.until(lambda: stage.frames)
        for value in range(1, 6):
            stage.show_input(value)
        stage.until(lambda: stage.frames[-1][1] == 5)
        where = (stage.ask("where").reply or {})["thread"]
        assert set(model.seen) == {where}


@BOTH
@pytest.mark.parametrize("error", [ValueError("too dark"), SystemExit(3)])
def test_what_on_frame_raises_is_told_once_in_a_while_and_costs_neither_commands_nor_the_session(
    model_class: type[Commanded], error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Raises(model_class):  # type: ignore[misc,valid-type]
        def on_frame(self, frame: InputFrame) -> None:
            self.value = frame.frame_id
            raise error

    with Bench(Raises()) as stage:
        stage.until(lambda: stage.frames)
        for value in range(1, 4):
            stage.show_input(value)
            assert stage.ask("where").accepted  # comes after the frame
        raised = f"on_frame raised {type(error).__name__}: {error}"
        assert stage.frames_failed == [raised]
        monkeypatch.setattr(handlers, "FRAME_FAILED_S", 0)
        stage.show_input(4)
        # On a crowded machine one of the first three may be looked at only now, and is told as well.
        stage.until(lambda: len(stage.frames_failed) > 1)
        assert set(stage.frames_failed) == {raised}
        assert stage.ask("where").accepted
        assert stage.stop() is None


@pytest.mark.slow
@pytest.mark.usefixtures("hasty_threads")
@BOTH
def test_sessions_and_commands_in_any_interleaving_lose_nothing(model_class: type[Commanded]) -> None:
    model = model_class()
    with Bench(model) as stage:
        for session in range(30):
            if session:
                stage.start(str(session))
            first = stage.send("set_value", value=1)
            stage.send("where")
            last = stage.send("typed")
            stage.until_answered(last)
            assert {o.command_id for o in stage.outcomes} >= set(range(first, last + 1))
            ended = len(stage.ended)
            stage.runner.stop()
            assert stage.end(ended) is None
        assert model.resets == 30
        assert len(stage.books) == 0
    assert stage.text == ""


def test_a_handler_that_emits_while_the_generator_is_held_is_not_a_deadlock() -> None:
    class Held(Commanded):
        def start_session(self) -> Iterator[Any]:
            while True:
                yield picture(1)

        @command("flash")
        def flash(self) -> None:
            get_ctx().emit_frame(picture(99))

    with Bench(Held(), watched=False) as stage:
        stage.hold = True
        stage.until(lambda: stage.state() is PulseState.GATED and len(stage.frames) == 2)
        stage.send("flash")
        stage.until(lambda: len(stage.frames) == 3)
        assert stage.frames[-1][1] == 99
        stage.watch()
        stage.hold = False
        for ticket in stage.held:
            stage.runner.released(ticket)
        stage.until(lambda: stage.outcomes and len(stage.frames) > 9)
        assert stage.stop() is None


def test_an_exception_that_cannot_be_printed_is_still_an_outcome() -> None:
    class Unprintable(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    class Shy(Loop):
        @command("shy")
        def shy(self) -> None:
            raise Unprintable

    with Bench(Shy()) as stage:
        for _ in range(2):
            assert stage.ask("shy").code == "internal_error"


def test_an_empty_block_shows_nothing_and_costs_nothing() -> None:
    class Empty(Commanded):
        def start_session(self) -> None:
            get_ctx().emit_block([])
            get_ctx().emit_frame(picture(5))

    with Bench(Empty()) as stage:
        assert stage.end() is None
        assert [(frame_id, value) for frame_id, value, _ in stage.frames] == [(1, 5)]
