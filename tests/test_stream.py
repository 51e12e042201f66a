"""The way of a frame through the server, with the real encoder and its thread."""

from __future__ import annotations

import asyncio
import itertools
import os
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import pytest

from reactor_runtime import limits
from reactor_runtime.niceness import NICENESS
from reactor_runtime.session.fanout import default_bitrate
from reactor_runtime.session.sink import KEYFRAME_GAP_S, Sink
from reactor_runtime.session.stream import VideoStream
from reactor_runtime.types import MAIN_VIDEO, Codec, Demand, EmittedFrame, EncodedFrame

pytestmark = pytest.mark.slow


@dataclass
class Viewer:
    """Keeps what one sink was sent."""

    codec: Codec = "h264"
    got: list[tuple[EncodedFrame, bool]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.sink = Sink(self.codec, self.take)

    def take(self, frame: EncodedFrame, *, report: bool) -> None:
        self.got.append((frame, report))

    async def saw(self, frame_id: int) -> None:
        await until(lambda: frame_id in self.ids)

    @property
    def ids(self) -> list[int]:
        return [frame.frame_id for frame, _ in self.got]


class Source:
    """Makes frames whose memory must come back."""

    def __init__(self) -> None:
        self.made = self.released = 0

    def frame(
        self, frame_id: int, *, size: tuple[int, int] = (96, 128), command_id: int = 0, noise: bool = False
    ) -> EmittedFrame:
        """Make a picture of one colour, or one that takes all the bits there are."""
        self.made += 1
        pixels = np.full((*size, 3), frame_id * 40 % 256, np.uint8)
        if noise:
            pixels = np.random.default_rng(frame_id).integers(0, 256, (*size, 3), np.uint8)
        return EmittedFrame(frame_id, pixels, time.monotonic(), 0.03, command_id, self._release)

    def _release(self) -> None:
        self.released += 1


@asynccontextmanager
async def stream(demands: list[Demand] | None = None, fps: float = 200.0) -> AsyncIterator[VideoStream]:
    made = VideoStream(
        MAIN_VIDEO,
        fps=fps,
        bits_per_s=None,
        on_demand=(demands if demands is not None else []).append,
        clock=time.monotonic,
    )
    try:
        yield made
    finally:
        await made.close()


async def until(condition: Callable[[], bool], within_s: float = 5.0) -> None:
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.002)


async def test_the_first_picture_of_every_viewer_is_a_keyframe() -> None:
    source, early, late = Source(), Viewer(), Viewer()
    async with stream() as video:
        video.add(early.sink)
        for frame_id in (1, 2, 3):
            video.push(source.frame(frame_id))
            await early.saw(frame_id)
        video.add(late.sink)
        # No new frame is needed: a slow model's viewer sees its last picture at once.
        await until(lambda: len(late.got) == 1)
        video.push(source.frame(4))
        await until(lambda: 4 in late.ids)
    assert early.got[0][0].keyframe
    assert late.got[0][0].keyframe
    assert [frame.keyframe for frame, _ in early.got[1:3]] == [False, False]
    assert source.released == source.made


async def test_viewers_of_one_codec_share_the_very_same_bytes() -> None:
    source, one, two = Source(), Viewer(), Viewer()
    async with stream() as video:
        video.add(one.sink)
        video.add(two.sink)
        video.push(source.frame(1))
        await until(lambda: 1 in one.ids and 1 in two.ids)
        counters = video.counters()
    assert one.got[-1][0] is two.got[-1][0]
    assert counters.encoded <= 2


async def test_each_codec_gets_its_own_encoder() -> None:
    source, h264, vp8 = Source(), Viewer("h264"), Viewer("vp8")
    async with stream() as video:
        video.add(h264.sink)
        video.add(vp8.sink)
        video.push(source.frame(1))
        await until(lambda: bool(h264.got and vp8.got))
    assert h264.got[0][0].codec == "h264"
    assert vp8.got[0][0].codec == "vp8"


async def test_unwatched_frames_wait_and_the_newest_is_shown_to_who_comes() -> None:
    source, viewer, demands = Source(), Viewer(), list[Demand]()
    async with stream(demands) as video:
        video.push(source.frame(1))
        video.push(source.frame(2))
        await asyncio.sleep(0.05)
        assert source.released == 0
        video.add(viewer.sink)
        await until(lambda: bool(viewer.got))
        assert viewer.ids[0] == 2
        video.remove(viewer.sink)
    watched = [demand.watched for demand in demands]
    assert watched[0]
    assert not watched[-1]
    assert source.released == source.made


async def test_the_first_frame_that_saw_a_command_is_reported_once() -> None:
    source, viewer = Source(), Viewer()
    viewer.sink.report_from = 7
    async with stream() as video:
        video.add(viewer.sink)
        for frame_id, command_id in ((1, 6), (2, 8), (3, 8)):
            video.push(source.frame(frame_id, command_id=command_id))
            await viewer.saw(frame_id)
    assert [(frame.frame_id, report) for frame, report in viewer.got if report] == [(2, True)]
    assert viewer.sink.report_from is None


async def test_what_is_discarded_is_given_back_and_not_encoded_and_the_picture_goes_on_after_it() -> None:
    source, viewer, demands = Source(), Viewer(), list[Demand]()
    async with stream(demands, fps=20.0) as video:
        video.add(viewer.sink)
        for frame_id in range(1, 11):
            video.push(source.frame(frame_id))
        await viewer.saw(2)
        video.discard()
        assert demands[-1].frame_id == 11
        assert demands[-1].due_s <= time.monotonic() + 2 / 20
        counters = video.counters()
        assert counters.discarded == 10 - counters.shown
        await until(lambda: source.released == 10)
        video.push(source.frame(11))
        await viewer.saw(11)
    assert viewer.ids == [*range(1, counters.shown + 1), 11]
    assert source.released == source.made


async def test_a_frame_that_waits_for_the_encoder_is_discarded_before_it_is_encoded() -> None:
    source, viewer = Source(), Viewer()
    encoding, go_on = threading.Event(), threading.Event()

    def encode_slowly(frame: EncodedFrame, *, report: bool) -> None:
        viewer.take(frame, report=report)
        encoding.set()
        go_on.wait(5)

    viewer.sink.send = encode_slowly
    async with stream() as video:
        video.add(viewer.sink)
        video.push(source.frame(1))
        await until(encoding.is_set)
        video.push(source.frame(2))
        await until(lambda: video.counters().shown == 2)
        video.discard()
        assert (video.counters().shown, video.counters().discarded) == (1, 1)
        go_on.set()
        video.push(source.frame(3))
        await viewer.saw(3)
    assert viewer.ids == [1, 3]
    assert source.released == source.made


async def test_a_changed_size_begins_with_a_keyframe() -> None:
    source, viewer = Source(), Viewer()
    async with stream() as video:
        video.add(viewer.sink)
        video.push(source.frame(1))
        await until(lambda: 1 in viewer.ids)
        video.push(source.frame(2, size=(144, 176)))
        await until(lambda: 2 in viewer.ids)
    last = viewer.got[-1][0]
    assert (last.width, last.height, last.keyframe) == (176, 144, True)


async def test_a_viewer_of_a_poor_line_comes_to_half_the_size_at_a_keyframe_and_back() -> None:
    source, rich, poor = Source(), Viewer(), Viewer()
    async with stream(fps=100) as video:
        ids = itertools.count(1)

        async def push_until(condition: Callable[[], bool]) -> None:
            async with asyncio.timeout(10):
                while not condition():
                    video.push(source.frame(next(ids), noise=True))
                    await asyncio.sleep(0.01)

        async def until_poor_is_on(rendition: str) -> None:
            await push_until(lambda: poor.sink.on == rendition)

        video.add(rich.sink)
        await push_until(lambda: sum(len(frame.data) for frame, _ in rich.got) >= 30_000)
        video.add(poor.sink)
        video.limit(rich.sink, 1_000_000)
        video.limit(poor.sink, 170_000)
        await until_poor_is_on("low")
        assert video.on_low == 1
        if sys.platform == "linux":
            assert niceness("reactor-encoder-low") == niceness("reactor-encoder") + NICENESS
        video.limit(poor.sink, 1_000_000)
        await until_poor_is_on("full")
        assert video.on_low == 0
        await poor.saw(poor.ids[-1])
        counters = video.counters()
    sizes = [(frame.width, frame.height) for frame, _ in poor.got]
    changes = [at for at in range(1, len(sizes)) if sizes[at] != sizes[at - 1]]
    assert [sizes[at] for at in changes] == [(64, 48), (128, 96)]
    assert all(poor.got[at][0].keyframe for at in changes)
    assert {(frame.width, frame.height) for frame, _ in rich.got} == {(128, 96)}
    assert poor.ids == sorted(poor.ids)
    times = [frame.pts_us for frame, _ in poor.got]
    assert all(before < after for before, after in pairwise(times))
    assert counters.low_encoded >= 5
    assert source.released == source.made


def niceness(thread: str) -> int:
    """Return that of a thread of this process by its name."""
    found = next(each for each in threading.enumerate() if each.name == thread)
    assert found.native_id is not None
    return os.getpriority(os.PRIO_PROCESS, found.native_id)


async def test_a_viewer_that_takes_not_even_keyframes_is_given_up_once() -> None:
    given_up: list[int] = []
    source, viewer = Source(), Viewer()
    viewer.sink.on_too_slow = lambda: given_up.append(1)
    async with stream() as video:
        video.add(viewer.sink)
        viewer.sink.standing.too_slow = True
        for frame_id in range(1, 4):
            video.push(source.frame(frame_id))
            await viewer.saw(frame_id)
            video.limit(viewer.sink, 1)
    assert given_up == [1]


async def test_a_viewer_that_keeps_asking_gets_no_more_keyframes_than_others_can_pay_for() -> None:
    source, calm, greedy = Source(), Viewer(), Viewer()
    async with stream() as video:
        video.add(calm.sink)
        video.add(greedy.sink)
        began_s = time.monotonic()
        for frame_id in range(1, 61):
            video.push(source.frame(frame_id))
            video.want_keyframe(greedy.sink)
            await asyncio.sleep(0.01)
        took_s = time.monotonic() - began_s
        keyframes = sum(frame.keyframe for frame, _ in calm.got)
        assert keyframes <= 2 + took_s / KEYFRAME_GAP_S
        # Without any further frame: what was put off is not forgotten.
        seen = len(greedy.got)
        video.want_keyframe(greedy.sink)
        await until(lambda: any(frame.keyframe for frame, _ in greedy.got[seen:]))


async def test_a_crowd_that_joins_gets_its_pictures_from_two_keyframes_a_second() -> None:
    source, calm = Source(), Viewer()
    crowd = [Viewer() for _ in range(40)]
    async with stream() as video:
        video.add(calm.sink)
        video.push(source.frame(1))
        await calm.saw(1)
        began_s = time.monotonic()
        for frame_id, viewer in enumerate(crowd, 2):
            video.add(viewer.sink)
            video.push(source.frame(frame_id))
            await asyncio.sleep(0.04)
        # The last ones may wait for a keyframe, and no further frame comes.
        await until(lambda: all(viewer.got for viewer in crowd))
        took_s = time.monotonic() - began_s
    assert all(viewer.got[0][0].keyframe for viewer in crowd)
    keyframes = sum(frame.keyframe for frame, _ in calm.got)
    assert keyframes <= limits.KEYFRAMES_BURST + limits.KEYFRAMES_PER_S * took_s + 1


async def test_a_viewer_whose_connection_breaks_takes_nothing_from_the_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    source, healthy = Source(), Viewer()

    def broken(frame: EncodedFrame, *, report: bool) -> None:
        raise RuntimeError("this engine is gone")

    async with stream() as video:
        video.add(Sink("h264", broken))
        video.add(healthy.sink)
        for frame_id in range(1, 20):
            video.push(source.frame(frame_id))
            await healthy.saw(frame_id)
    assert caplog.text.count("this engine is gone") <= 2
    assert source.released == source.made


async def test_played_out_waits_until_what_is_queued_was_shown_or_the_stream_ends() -> None:
    source, viewer = Source(), Viewer()
    async with stream(fps=20) as video:
        video.add(viewer.sink)
        for frame_id in range(1, 5):
            video.push(source.frame(frame_id))
        async with asyncio.timeout(3):
            await video.played_out()
        assert video.counters().shown + video.counters().skipped == 4
        video.push(source.frame(5))
        await until(lambda: video.counters().shown + video.counters().skipped == 5)
        video.push(source.frame(6))
        video.push(source.frame(7))
        video.remove(viewer.sink)
        waiting = asyncio.create_task(video.played_out())
        await asyncio.sleep(0.1)
        assert not waiting.done(), "nobody has seen the last frames"
    async with asyncio.timeout(1):
        await waiting


async def test_what_was_played_out_has_been_sent() -> None:
    source, viewer = Source(), Viewer()
    async with stream() as video:
        video.add(viewer.sink)
        for frame_id in range(1, 30):
            video.push(source.frame(frame_id))
            await video.played_out()
            assert viewer.ids[-1] == frame_id


async def test_close_gives_every_frame_back_and_may_be_repeated() -> None:
    source = Source()
    async with stream() as video:
        video.push(source.frame(1))
        await video.close()
        await video.close()
        video.push(source.frame(2))
    assert source.released == source.made


def test_bitrate_grows_slower_than_the_picture() -> None:
    assert default_bitrate(640, 480) == 2_000_000
    assert 4_000_000 < default_bitrate(1280, 720) < 5_000_000
    assert 7_000_000 < default_bitrate(1920, 1080) < 9_000_000
