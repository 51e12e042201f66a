"""What `reactor_runtime.testing` gives to authors: sessions by hand, and checks that find leaks."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest
from support.faulty_models import source_of
from support.headless_models import CAMERA_WAITER, LOOP, MIRROR, WAITER, steps
from support.heap_room import room_in_every_arena
from support.host_events import write_manifest, write_model

from reactor_runtime import CommandError, InputFrame
from reactor_runtime.errors import ModelFailed
from reactor_runtime.running.inbox import Inbox
from reactor_runtime.testing import (
    LiveSession,
    ManualClock,
    assert_memory_is_flat,
    assert_users_kept_apart,
    loaded,
)
from reactor_runtime.types import Pixels, Track


def test_a_command_runs_before_the_next_frame_also_before_the_first(tmp_path: Path) -> None:
    with loaded(steps(tmp_path)) as model, model.session() as session:
        session.send("set_level", level=4)
        assert session.frame()[0, 1, 0] == 4
        session.send("set_level", level=5)
        session.send("set_level", level=6)
        assert [int(frame[0, 0, 0]) for frame in session.frames(2)] == [2, 3]
        assert session.frame()[0, 1, 0] == 6


def test_a_blocking_loop_is_driven_the_same_way(tmp_path: Path) -> None:
    with loaded(write_model(tmp_path, LOOP)) as model, model.session() as session:
        assert session.frame()[0, 1, 0] == 0
        session.send("set_level", level=5)
        assert session.frame()[0, 1, 0] == 5


def test_no_frame_is_made_before_it_is_asked_for(tmp_path: Path) -> None:
    with loaded(steps(tmp_path)) as model, model.session() as session:
        session.frame()
        time.sleep(0.05)  # time in which a model that is not held would have gone on
        session.send("set_level", level=9)
        assert session.frame()[0, :2, 0].tolist() == [2, 9]


STARTS_OVER = """
import numpy as np
from reactor_runtime import VideoModel, command, get_ctx

class Model(VideoModel):
    world = 0

    def start_session(self):
        while True:
            yield np.full((12, 32, 32, 3), self.world, np.uint8)

    @command("start_over")
    def start_over(self):
        self.world += 1
        get_ctx().discard_frames()
"""


def test_what_the_model_discards_is_not_shown_to_the_test(tmp_path: Path) -> None:
    with loaded(write_model(tmp_path, STARTS_OVER)) as model, model.session() as session:
        assert [int(frame[0, 0, 0]) for frame in session.frames(3)] == [0, 0, 0]
        session.send("start_over")
        assert [int(frame[0, 0, 0]) for frame in session.frames(14)] == [1] * 14


def test_a_refusal_is_raised_with_its_code_and_field(tmp_path: Path) -> None:
    with loaded(steps(tmp_path)) as model, model.session() as session:
        with pytest.raises(CommandError) as refused:
            session.send("set_level", level=300)
        assert (refused.value.code, refused.value.field) == ("invalid_command", "level")
        with pytest.raises(CommandError, match="never"):
            session.send("refuse")


def test_the_same_seed_gives_the_same_frames_and_none_gives_others(tmp_path: Path) -> None:
    with loaded(steps(tmp_path)) as model:
        films = []
        for seed in (3, 3, None, None):
            with model.session(seed=seed) as session:
                films.append(np.stack(list(session.frames(4))))
    assert np.array_equal(films[0], films[1])
    assert not np.array_equal(films[2], films[3])


def test_the_camera_shows_what_the_test_gives(tmp_path: Path) -> None:
    with loaded(write_model(tmp_path, MIRROR)) as model, model.session() as session:
        session.frame()
        session.show_camera(np.full((20, 30, 3), 77, np.uint8))
        assert session.frame().shape == (20, 30, 3)
        assert session.frame()[0, 0, 0] == 77


def test_a_model_that_waits_for_a_camera_sees_a_synthetic_one_until_the_test_shows_its_own(
    tmp_path: Path,
) -> None:
    with loaded(write_model(tmp_path, CAMERA_WAITER)) as model, model.session() as session:
        first, second = session.frames(2)
        assert first.shape == (64, 64, 3)
        assert not np.array_equal(first, second)
        session.show_camera(np.full((80, 80, 3), 77, np.uint8))
        mine = next(frame for frame in (session.frame() for _ in range(1_000)) if frame[0, 0, 0] == 77)
        assert mine.min() == mine.max() == 77


def test_what_is_shown_while_the_synthetic_camera_makes_its_picture_is_not_lost_behind_it() -> None:
    mine, theirs = (np.full((8, 8, 3), value, np.uint8) for value in (77, 1))
    showing: list[threading.Thread] = []

    def synthetic(frame_id: int) -> Pixels:
        showing.append(threading.Thread(target=inbox.put_input, args=[InputFrame(mine, 1, 0.0, "webcam")]))
        showing[0].start()
        showing[0].join(0.2)
        return theirs

    inbox = Inbox((Track("main_video", "video", "out"),), feed=synthetic, held=True)
    inbox.prompt()
    showing[0].join()
    newest = inbox.newest_input()
    assert newest is not None
    assert newest.pixels is mine


def test_constructor_arguments_replies_and_messages_come_through(tmp_path: Path) -> None:
    manifest = write_manifest(tmp_path, "reactor_runtime.testing:FaultyGenerator")
    with loaded(manifest, size=[24, 32], rate=0) as model:
        assert model.info.name == "tested"
        with model.session() as session:
            assert session.frame().shape == (24, 32, 3)
            reply = session.send("set_note", note="hello")
            assert reply == {"note": "hello", "frames": 1}
            session.send("fault", kind="wrong_shape", where="handler")
            assert [message.type for message in session.messages] == ["rejected"]
        assert model.model.resets == 1


def test_a_failure_of_the_model_is_raised_in_the_test(tmp_path: Path) -> None:
    manifest = write_manifest(tmp_path, "reactor_runtime.testing:FaultyGenerator", rate=0)
    with loaded(manifest) as model:
        with pytest.raises(ModelFailed, match="a secret path"), model.session() as session:  # noqa: PT012
            session.send("fault", kind="raise")
            session.frame()
        with model.session() as session:
            assert session.frame().shape == (360, 640, 3)


def test_the_end_of_a_session_and_a_wait_that_never_ends_are_told(tmp_path: Path) -> None:
    manifest = write_manifest(tmp_path, "reactor_runtime.testing:FaultyGenerator", rate=0)
    with loaded(manifest) as model, model.session() as session:
        session.send("fault", kind="end")
        with pytest.raises(EOFError):
            session.frame()
    apart = tmp_path / "apart"
    apart.mkdir()
    with loaded(write_model(apart, WAITER)) as model, model.session() as session:
        with pytest.raises(ModelFailed, match="no frame within"):
            session.frame(within_s=0.3)
        session.send("set_level", level=1)
        assert session.frame()[0, 0, 0] == 1


def say(session: LiveSession) -> None:
    session.send("set_prompt", prompt="mine")


def test_a_leak_between_users_is_found_with_the_attribute_that_keeps_it(tmp_path: Path) -> None:
    with (
        loaded(write_model(tmp_path, source_of("leaks a prompt"))) as model,
        pytest.raises(AssertionError, match="frame 1 shows what another user left; changed: prompt"),
    ):
        assert_users_kept_apart(model, say)
    apart = tmp_path / "apart"
    apart.mkdir()
    with loaded(write_model(apart, source_of("sound"))) as model:
        assert_users_kept_apart(model, say)


@pytest.mark.slow
@pytest.mark.parametrize("had_room", [False, True])
def test_memory_that_grows_with_each_session_is_found(tmp_path: Path, had_room: bool) -> None:
    if had_room:
        room_in_every_arena()
    with (
        loaded(write_model(tmp_path, source_of("leaks host memory"))) as model,
        pytest.raises(AssertionError, match="the process grows by"),
    ):
        assert_memory_is_flat(model, say)
    apart = tmp_path / "apart"
    apart.mkdir()
    with loaded(write_model(apart, source_of("sound"))) as model:
        assert_memory_is_flat(model, say)
        with pytest.raises(ValueError, match="6 or more"):
            assert_memory_is_flat(model, say, sessions=5)


def test_the_manual_clock_goes_on_when_it_is_told_to() -> None:
    clock = ManualClock(5.0)
    assert clock() == 5.0
    clock.advance(0.25)
    assert clock() == 5.25
