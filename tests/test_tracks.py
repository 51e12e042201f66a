"""Every value that crosses a seam says which track it belongs to.

A second output track is tried here with a model that declares it by itself, in the one place where `author/`
says what a class declares (`description.tracks_of`). What is still missing for authors is marked at the end.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.model_bench import TRACKS, Bench, picture
from support.served import metrics, served
from support.visitor import Visitor

from reactor_runtime import VideoModel, get_ctx
from reactor_runtime.author import description
from reactor_runtime.pacing import EmitGate
from reactor_runtime.types import MAIN_VIDEO, InputFrame, Track

DEPTH = Track("depth", "video", "out")


class Deep(VideoModel):
    """Emits a picture and its depth, in turns."""

    def start_session(self) -> None:
        ctx = get_ctx()
        while not ctx.should_stop():
            ctx.emit_frame(picture(10))
            ctx.emit("depth", picture(200), None)


# In the model process ---------------------------------------------------------------------------------


def test_frame_ids_count_up_within_a_track() -> None:
    with Bench(Deep(), tracks=(*TRACKS, DEPTH)) as stage:
        stage.watch(track="depth")
        stage.until(lambda: len(stage.frames) >= 10)
        stage.stop()
    by_track: dict[str, list[int]] = {MAIN_VIDEO: [], "depth": []}
    values: dict[str, set[int]] = {MAIN_VIDEO: set(), "depth": set()}
    for track, (frame_id, value, _) in zip(stage.tracks, stage.frames, strict=True):
        by_track[track].append(frame_id)
        values[track].add(value)
    for ids in by_track.values():
        assert ids == list(range(1, len(ids) + 1))
    assert values == {MAIN_VIDEO: {10}, "depth": {200}}


def test_a_track_that_nobody_watches_holds_nobody_up_who_watches_another_and_costs_no_memory() -> None:
    with Bench(Deep(), tracks=(*TRACKS, DEPTH), watched=False) as stage:
        stage.hold = True
        time.sleep(0.1)
        before = Counter(stage.tracks)
        assert max(before.values()) <= 4  # nobody watches anything: the model is held
        stage.hold = False
        for ticket in stage.held:
            stage.runner.released(ticket)
        stage.watch()
        stage.until(lambda: Counter(stage.tracks)[MAIN_VIDEO] >= before[MAIN_VIDEO] + 20)
        assert Counter(stage.tracks)["depth"] <= before["depth"] + 1
        # As soon as someone does, it is made.
        stage.watch(track="depth")
        stage.until(lambda: Counter(stage.tracks)["depth"] >= before["depth"] + 5)
        stage.stop()


def test_a_model_s_own_time_counts_for_each_of_its_tracks() -> None:
    picture_gate, depth_gate = EmitGate(), EmitGate()
    gates = (picture_gate, depth_gate)
    now_s = 0.0
    for gate in gates:
        gate.resumed(now_s)
    busy = []
    for _ in range(3):  # 20 ms for the picture, 5 ms for its depth, and a wait of 100 ms after each
        for emits, waits, cost_s in ((picture_gate, depth_gate, 0.020), (depth_gate, picture_gate, 0.005)):
            now_s += cost_s
            waits.paused(now_s)
            busy.append(round(emits.called(now_s), 6))
            now_s += 0.1
            for gate in gates:
                gate.resumed(now_s)
    assert busy == [0.020, 0.025, 0.025, 0.025, 0.025, 0.025]


def test_each_input_track_has_its_own_newest_frame_and_its_own_on_frame() -> None:
    class Looking(VideoModel):
        def __init__(self) -> None:
            self.seen: list[tuple[str, int]] = []

        def start_session(self) -> None:
            while not get_ctx().should_stop():
                get_ctx().wait(0.01)

        def on_frame(self, frame: InputFrame) -> None:
            self.seen.append((frame.track, frame.frame_id))

    model = Looking()
    with Bench(model, tracks=(*TRACKS, Track("sketch", "video", "in"))) as stage:
        stage.show_input(1)
        stage.show_input(7, "sketch")
        stage.until(lambda: len(model.seen) == 2)
        stage.stop()
    assert set(model.seen) == {("webcam", 1), ("sketch", 7)}


# Through the server to a client -------------------------------------------------------------------------


TWO = """
    import numpy as np
    from reactor_runtime import VideoModel, command, get_ctx

    class Model(VideoModel):
        fps = 30
        input_track = "sketch"

        def start_session(self):
            picture, depth = np.full((120, 160, 3), 40, np.uint8), np.full((60, 80, 3), 200, np.uint8)
            while True:
                get_ctx().emit_frame(picture)
                get_ctx().emit("depth", depth, None)

        @command("look")
        def look(self):
            seen = get_ctx().input_frame()
            return {"track": seen.track if seen else ""}

        def on_frame(self, frame):
            pass
"""


@pytest.mark.slow
async def test_a_second_video_track_needs_no_change_outside_the_author_s_side(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    declared = description.tracks_of
    monkeypatch.setattr(description, "tracks_of", lambda *a, **k: (*declared(*a, **k), DEPTH))
    both = ("main_video", "depth")
    async with served(tmp_path, TWO) as runtime, Visitor(runtime.url, tracks=both) as visitor:
        described = (await visitor.start()).json()["capabilities"]["tracks"]
        assert [track["name"] for track in described] == ["main_video", "sketch", "depth"]
        await visitor.connect()
        visitor.resume()
        await visitor.until(lambda: visitor.seen["main_video"] >= 10)
        assert visitor.seen["depth"] == 0  # nobody has asked for it
        visitor.resume("depth")
        await visitor.until(lambda: min(visitor.seen[name] for name in both) >= 20)
        grey = {name: visitor.last[name].to_ndarray(format="gray").mean() for name in both}
        sizes = {name: (visitor.last[name].height, visitor.last[name].width) for name in both}
        assert grey["main_video"] < 80 < 160 < grey["depth"]
        assert sizes == {"main_video": (120, 160), "depth": (60, 80)}
        # A receipt is for the first picture that saw the command, on whichever track it left first.
        await visitor.ask("look")
        assert (await visitor.hear("commandShown"))["command"] == "look"
        visitor.pause("depth")
        await asyncio.sleep(0.3)
        seen = Counter(visitor.seen)
        await visitor.until(lambda: visitor.seen["main_video"] >= seen["main_video"] + 10)
        assert visitor.seen["depth"] <= seen["depth"] + 1
        assert (await metrics(runtime))["reactor_frames_shown_total"] >= 50


@pytest.mark.slow
async def test_an_input_track_goes_by_the_name_that_the_model_chose(tmp_path: Path) -> None:
    source = TWO.replace('get_ctx().emit("depth", depth, None)', "")
    async with served(tmp_path, source) as runtime, Visitor(runtime.url) as visitor:
        await visitor.start()
        await visitor.watch()
        with pytest.raises(Exception, match="unknown input track 'webcam'; this model's are: sketch"):
            await visitor.publish()
        await visitor.publish("sketch")
        session = runtime.sessions.slots[0].session
        assert session is not None
        (viewer,) = session.connections
        viewer.input_frame("sketch", np.zeros((48, 64, 3), np.uint8))
        assert await visitor.ask("look") == {"track": "sketch"}


# What authors cannot say yet ----------------------------------------------------------------------------


@pytest.mark.xfail(
    strict=True, raises=AssertionError, reason="output tracks are not declared on the class yet"
)
def test_a_class_declares_its_output_tracks() -> None:
    class Model(VideoModel):
        output_tracks = ("main_video", "depth")

    info = description.describe(Model, name="m", version="1")
    assert [track.name for track in info.tracks] == ["main_video", "depth"]


def frames_of(model: VideoModel) -> set[str]:
    with Bench(model, tracks=(*TRACKS, DEPTH)) as stage:
        stage.watch(track="depth")
        stage.until(lambda: len(stage.frames) >= 4 or stage.ended)
        stage.runner.stop()
    return set(stage.tracks)


@pytest.mark.xfail(strict=True, raises=AssertionError, reason="emit_frame takes no track yet")
def test_emit_frame_takes_a_track() -> None:
    class Model(VideoModel):
        def start_session(self) -> None:
            emit: Any = get_ctx().emit_frame
            while True:
                emit(picture())
                emit(picture(), track="depth")

    assert frames_of(Model()) == {MAIN_VIDEO, "depth"}


@pytest.mark.xfail(
    strict=True, raises=AssertionError, reason="a generator yields frames of the main track only"
)
def test_a_generator_yields_pictures_by_track() -> None:
    class Model(VideoModel):
        def start_session(self) -> Iterator[Any]:
            while True:
                yield {MAIN_VIDEO: picture(), "depth": picture()}

    assert frames_of(Model()) == {MAIN_VIDEO, "depth"}
