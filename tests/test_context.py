"""What a model's code can do in a session, from any thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pydantic import BaseModel
from support.model_bench import Bench, picture

from reactor_runtime import VideoModel, command, get_ctx, limits
from reactor_runtime.errors import FrameRejected, SessionStopped
from reactor_runtime.running import context
from reactor_runtime.running.context import SessionContext
from reactor_runtime.running.pulse import PulseState
from reactor_runtime.types import Pixels


class Played(VideoModel):
    """Runs a function as its session."""

    def __init__(self, play: Callable[[SessionContext], object]) -> None:
        self.play = play
        self.raised: list[BaseException] = []

    def start_session(self) -> None:
        try:
            self.play(get_ctx())
        except BaseException as error:
            self.raised.append(error)
            raise

    @command("poke")
    def poke(self) -> None:
        pass


def frames_forever(ctx: SessionContext) -> None:
    while True:
        ctx.emit_frame(picture())


def test_outside_a_session_get_ctx_says_where_to_use_it() -> None:
    with pytest.raises(RuntimeError, match="while no session runs"):
        get_ctx()


def test_get_ctx_works_from_any_thread_and_ends_with_the_session() -> None:
    found: list[SessionContext] = []

    def play(ctx: SessionContext) -> None:
        thread = threading.Thread(target=lambda: found.append(get_ctx()))
        thread.start()
        thread.join()
        found.append(ctx)

    with Bench(Played(play)) as stage:
        stage.end()
    assert found[0] is found[1]
    with pytest.raises(RuntimeError):
        get_ctx()


def test_a_thread_of_the_last_user_never_paints_into_the_next_ones_session() -> None:
    ended: list[BaseException] = []
    go_on = threading.Event()

    def paint() -> None:
        try:
            get_ctx()
            go_on.wait(10)
            while True:
                get_ctx().emit_frame(np.full((32, 32, 3), 255, np.uint8))
        except SessionStopped as stopped:
            ended.append(stopped)

    painter = threading.Thread(target=paint, name="painter")

    def play(ctx: SessionContext) -> None:
        if ctx.session_id == "s":
            painter.start()
            while not strays_of(painter):
                time.sleep(0.001)
            return
        go_on.set()
        painter.join(10)
        for _ in range(5):
            ctx.emit_frame(np.zeros((32, 32, 3), np.uint8))

    with Bench(Played(play)) as stage:
        stage.end()
        assert context.strays() == ["painter"]
        stage.start("next")
        stage.end(1)
        assert len(ended) == 1
        assert [value for _, value, _ in stage.frames] == [0] * 5
    assert context.strays() == []


def strays_of(thread: threading.Thread) -> bool:
    return thread in context._met


def test_two_sessions_in_one_process_do_not_mix() -> None:
    names: dict[str, str] = {}
    refused: list[BaseException] = []
    both = threading.Barrier(2, timeout=10)

    def play(ctx: SessionContext) -> None:
        both.wait()
        names[threading.current_thread().name] = get_ctx().session_id
        if ctx.session_id == "one":
            thread = threading.Thread(target=stranger)
            thread.start()
            thread.join()
        both.wait()

    def stranger() -> None:
        try:
            get_ctx()
        except RuntimeError as error:
            refused.append(error)

    first, second = Bench(Played(play)), Bench(Played(play))
    for stage in (first, second):
        stage.thread.start()
    first.thread.name, second.thread.name = "first", "second"
    first.start("one")
    second.start("two")
    assert first.end() is None
    assert second.end() is None
    for stage in (first, second):
        stage.runner.close()
        stage.thread.join()
    assert names == {"first": "one", "second": "two"}
    assert "several sessions" in str(refused[0])


def test_session_id_and_rate_are_known() -> None:
    known: list[object] = []
    with Bench(Played(lambda ctx: known.extend((ctx.session_id, ctx.fps))), fps=24.0) as stage:
        stage.end()
    assert known == ["s", 24.0]


def test_the_pages_own_stop_check_works() -> None:
    checks: list[object] = []

    def play(ctx: SessionContext) -> None:
        checks.append(get_ctx()._stop_evt and get_ctx()._stop_evt.is_set())
        while not (get_ctx()._stop_evt and get_ctx()._stop_evt.is_set()):
            time.sleep(0.001)
        checks.append(ctx.should_stop())

    with Bench(Played(play)) as stage:
        stage.until(lambda: checks)
        assert stage.stop() is None
    assert checks == [False, True]


def test_waiting_on_the_stop_event_ends_with_the_stop_and_is_not_a_hang() -> None:
    waited: list[bool] = []

    def play(ctx: SessionContext) -> None:
        waited.append(ctx._stop_evt.wait(0.001))
        waited.append(ctx._stop_evt.wait())

    with Bench(Played(play)) as stage:
        stage.until(lambda: waited and stage.state() is PulseState.WAITING)
        stage.stop()
    assert waited == [False, True]


@pytest.mark.parametrize(
    "wrong", ["text", np.zeros((32, 32, 7), np.uint8), np.full((32, 32, 3), np.nan, np.float32)]
)
def test_a_wrong_frame_raises_at_its_line_and_nothing_of_it_is_sent(wrong: Any) -> None:
    def play(ctx: SessionContext) -> None:
        ctx.emit_frame(picture(1))
        with pytest.raises(FrameRejected):
            ctx.emit_frame(wrong)
        with pytest.raises(FrameRejected):
            ctx.emit_block([picture(9), wrong])
        ctx.emit_frame(picture(2))

    with Bench(Played(play)) as stage:
        assert stage.end() is None
        assert [(frame_id, value) for frame_id, value, _ in stage.frames] == [(1, 1), (2, 2)]


def test_the_array_may_be_reused_as_soon_as_emit_returned() -> None:
    def play(ctx: SessionContext) -> None:
        same = picture()
        for value in range(50):
            same[:] = value
            ctx.emit_frame(same)
        same[:] = 255

    with Bench(Played(play)) as stage:
        assert stage.end() is None
        assert [value for _, value, _ in stage.frames] == list(range(50))


def test_a_block_is_one_emit_whose_first_frame_carries_its_time() -> None:
    def play(ctx: SessionContext) -> None:
        for _ in range(3):
            time.sleep(0.02)
            ctx.emit_block(np.zeros((4, 32, 32, 3), np.uint8))

    with Bench(Played(play)) as stage:
        assert stage.end() is None
        assert [busy_s > 0.019 for busy_s in stage.busy_s] == [True, False, False, False] * 3


def test_emitting_after_the_end_raises_session_stopped_in_every_thread() -> None:
    kept: list[SessionContext] = []

    def play(ctx: SessionContext) -> None:
        kept.append(ctx)
        frames_forever(ctx)

    model = Played(play)
    with Bench(model) as stage:
        stage.until(lambda: stage.frames)
        assert stage.stop() is None
        frames = len(stage.frames)
        for use in (kept[0].emit_frame, kept[0].emit_block):
            with pytest.raises(SessionStopped):
                use(picture())
        with pytest.raises(SessionStopped):
            kept[0].wait(0)
        assert kept[0].should_stop()
        assert len(stage.frames) == frames
    assert isinstance(model.raised[0], SessionStopped)


def test_without_viewers_emit_holds_the_model_after_a_few_frames() -> None:
    with Bench(Played(frames_forever), watched=False) as stage:
        stage.hold = True
        stage.until(lambda: stage.state() is PulseState.GATED and stage.frames)
        time.sleep(0.05)
        assert len(stage.frames) == limits.FRAMES_AHEAD_UNWATCHED
        assert stage.state() is PulseState.GATED
        stage.hold = False
        for ticket in stage.held:
            stage.runner.released(ticket)
        stage.watch()
        stage.until(lambda: len(stage.frames) > 10)
        assert stage.stop() is None


def test_emit_returns_when_the_next_frame_is_due() -> None:
    with Bench(Played(frames_forever), watched=False) as stage:
        stage.until(lambda: stage.frames)
        began_s = time.monotonic()
        stage.watch(frame_id=len(stage.frames) + 1, due_s=began_s + 0.2, interval_s=0.01)
        frames = len(stage.frames)
        stage.until(lambda: len(stage.frames) > frames + 1)
        assert time.monotonic() - began_s >= 0.19


def test_a_full_ring_makes_emit_wait_for_a_release() -> None:
    big = np.zeros((4000, 4000, 3), np.uint8)
    room = limits.RING_MAX_BYTES // big.nbytes

    with Bench(Played(lambda ctx: ctx.emit_block([big] * (room + 2)))) as stage:
        stage.hold = True
        stage.until(lambda: stage.state() is PulseState.WAITING)
        assert len(stage.frames) == room
        for _ in range(2):
            stage.runner.released(stage.held.pop(0))
        stage.until(lambda: len(stage.frames) == room + 2)
        stage.runner.stop()  # unless it has ended by itself
        assert stage.end() is None


def test_wait_returns_for_a_command_a_timeout_and_the_stop() -> None:
    returned: list[bool] = []

    def play(ctx: SessionContext) -> None:
        returned.append(ctx.wait(0.01))
        returned.append(ctx.wait())
        ctx.wait()

    model = Played(play)
    with Bench(model) as stage:
        stage.until(lambda: returned == [False])
        stage.ask("poke")
        stage.until(lambda: returned == [False, True])
        stage.until(lambda: stage.state() is PulseState.WAITING)
        assert stage.stop() is None
    assert isinstance(model.raised[0], SessionStopped)


def test_a_command_that_came_before_the_wait_is_not_slept_through() -> None:
    waits = threading.Event()
    returned: list[bool] = []

    def play(ctx: SessionContext) -> None:
        waits.wait(10)
        returned.append(ctx.wait(10))
        returned.append(ctx.wait(0.01))

    with Bench(Played(play)) as stage:
        stage.ask("poke")
        waits.set()
        stage.end()
    assert returned == [True, False]


class Score(BaseModel):
    points: int


def test_messages_are_json_named_and_bounded() -> None:
    def play(ctx: SessionContext) -> None:
        note = {"a": [1]}
        ctx.send(note)
        note["a"].append(2)
        ctx.send({"b": 1}, type="named")
        ctx.send(Score(points=3))
        for wrong in (
            {"x": object()},
            {"x": float("nan")},
            {"x": "y" * limits.MODEL_MESSAGE_MAX_BYTES},
            None,
        ):
            with pytest.raises(TypeError):
                ctx.send(wrong)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="type has at most"):
            ctx.send({}, type="t" * (limits.MODEL_MESSAGE_TYPE_MAX + 1))

    with Bench(Played(play)) as stage:
        assert stage.end() is None
        assert [(message.type, message.data) for message in stage.messages] == [
            ("message", {"a": [1]}),
            ("named", {"b": 1}),
            ("score", {"points": 3}),
        ]


def test_reported_numbers_are_finite() -> None:
    def play(ctx: SessionContext) -> None:
        ctx.report(step_s=0.5, blocks=3)
        ctx.report(loss=np.float32(0.25), on=np.bool_(True), one=np.array([2.0]), warm=True)
        for wrong in (float("inf"), "fast", np.float32("nan"), np.zeros(3), None):
            with pytest.raises(TypeError, match="finite"):
                ctx.report(x=wrong)  # type: ignore[arg-type]

    with Bench(Played(play)) as stage:
        assert stage.end() is None
        assert stage.numbers == [
            {"step_s": 0.5, "blocks": 3},
            {"loss": 0.25, "on": 1.0, "one": 2.0, "warm": 1.0},
        ]
        assert {type(number) for numbers in stage.numbers for number in numbers.values()} == {int, float}


def test_the_newest_inbound_frame_is_there_until_a_newer_comes() -> None:
    seen: list[tuple[int, int]] = []
    looked = threading.Event()

    def play(ctx: SessionContext) -> None:
        assert ctx.input_frame() is None
        looked.set()
        while len(seen) < 2:
            frame = ctx.input_frame()
            if frame is not None and (not seen or seen[-1][0] != frame.frame_id):
                assert ctx.input_frame() is frame
                seen.append((frame.frame_id, int(frame.pixels[0, 0, 0])))
            time.sleep(0.001)

    with Bench(Played(play)) as stage:
        assert looked.wait(10)
        assert stage.show_input(1) is True
        stage.until(lambda: len(seen) == 1)
        assert stage.show_input(2) is True
        stage.end()
    assert seen == [(1, 1), (2, 2)]


def test_an_inbound_frame_that_was_never_seen_is_told() -> None:
    with Bench(Played(frames_forever)) as stage:
        assert [stage.show_input(value) for value in (1, 2, 3)] == [True, False, False]


def test_looking_at_the_context_is_a_sign_of_life() -> None:
    def play(ctx: SessionContext) -> None:
        uses: list[Callable[[], object]] = [
            ctx.should_stop,
            ctx._stop_evt.is_set,
            ctx.input_frame,
            lambda: ctx.send({}),
            lambda: ctx.report(x=1),
            lambda: ctx.wait(0),
            lambda: ctx.emit_frame(picture()),
        ]
        for use in uses:
            before = stage.words[0] >> 3
            time.sleep(0.001)
            use()
            assert stage.words[0] >> 3 > before

    stage = Bench(Played(play))
    with stage:
        assert stage.end() is None


@pytest.mark.slow
@pytest.mark.usefixtures("hasty_threads")
def test_threads_of_the_author_may_emit_at_once_and_take_turns() -> None:
    def play(ctx: SessionContext) -> None:
        def emit(value: int) -> None:
            for _ in range(50):
                ctx.emit_block([picture(value)] * 2)

        threads = [threading.Thread(target=emit, args=(value,)) for value in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    with Bench(Played(play)) as stage:
        assert stage.end() is None
        assert [frame_id for frame_id, _, _ in stage.frames] == list(range(1, 401))
        pairs = [(stage.frames[at][1], stage.frames[at + 1][1]) for at in range(0, 400, 2)]
        assert all(first == second for first, second in pairs)
        stage.until(lambda: len(stage.books) == 0)


class Starting(Played):
    """Discards what it showed when it is told to."""

    @command("start_over")
    def start_over(self) -> None:
        get_ctx().discard_frames()


def test_a_block_that_still_waits_for_room_shows_no_more_once_frames_are_discarded() -> None:
    big = np.zeros((4000, 4000, 3), np.uint8)
    room = limits.RING_MAX_BYTES // big.nbytes

    def play(ctx: SessionContext) -> None:
        ctx.emit_block([big] * (room + 4))
        ctx.emit_frame(picture(7))

    with Bench(Starting(play)) as stage:
        stage.hold = True
        stage.until(lambda: stage.state() is PulseState.WAITING and len(stage.frames) == room)
        assert stage.ask("start_over").accepted
        stage.hold = False
        for ticket in stage.held:
            stage.runner.released(ticket)
        assert stage.end() is None
        # Ids go on without a gap, which is what a demand counts on.
        assert stage.frames[room:] == [(room + 1, 7, 1)]
        assert stage.discarded_after == [room]
        assert len(stage.books) == 0


def test_a_frame_that_is_still_being_converted_when_frames_are_discarded_is_not_shown() -> None:
    converting, go_on = threading.Event(), threading.Event()

    class OnItsWay:
        """As a tensor that is still on the GPU when it is emitted."""

        def __array__(self, dtype: Any = None, copy: Any = None) -> Pixels:
            converting.set()
            assert go_on.wait(10)
            return picture(5)

    def play(ctx: SessionContext) -> None:
        ctx.emit_frame(OnItsWay())
        ctx.emit_frame(picture(7))

    with Bench(Starting(play)) as stage:
        stage.until(converting.is_set)
        assert stage.ask("start_over").accepted
        go_on.set()
        assert stage.end() is None
        assert stage.frames == [(1, 7, 1)]


def test_discarding_after_the_session_tells_nobody_and_harms_nobody() -> None:
    """As reset() between two users does, whose last frames are still being shown."""
    kept: list[SessionContext] = []

    class Resets(Played):
        def reset(self) -> None:
            get_ctx().discard_frames()

    def play(ctx: SessionContext) -> None:
        kept.append(ctx)
        ctx.emit_frame(picture())

    with Bench(Resets(play)) as stage:
        assert stage.end() is None
        kept[0].discard_frames()
        assert len(stage.frames) == 1
        assert stage.discarded_after == []
