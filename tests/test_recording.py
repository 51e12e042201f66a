"""A recording from pictures to files: the real encoder, real disks, and ffprobe as the judge."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.films import joined, picture, probe
from support.promises import long_form
from support.served import served
from support.server import running, write_model
from support.small_disk import small_disk
from support.visitor import watching

from reactor_runtime import limits
from reactor_runtime.config import Settings
from reactor_runtime.errors import ClipRefused, SettingError
from reactor_runtime.recording.fmp4 import TIMESCALE
from reactor_runtime.recording.playlist import Segment
from reactor_runtime.recording.recorder import GRACE_S, Clip, NoClip, Recorder
from reactor_runtime.recording.recordings import Recordings
from reactor_runtime.recording.segments import SegmentWriter

CHUNK_S = 4

MODEL = """
    import numpy as np
    from reactor_runtime import VideoModel

    class Model(VideoModel):
        fps = 30

        def start_session(self):
            random = np.random.default_rng(1)
            while True:
                yield random.integers(0, 255, (240, 320, 3), np.uint8)
"""


def ticks(seconds: float) -> int:
    return round(seconds * TIMESCALE)


class Written:
    """A writer on a folder, and the segments that it closed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.segments: list[Segment] = []
        self.writer = SegmentWriter(
            folder, chunk_s=CHUNK_S, fps=30, rate=lambda w, h: 2_000_000, on_closed=self.segments.append
        )

    def show(self, *times_s: float, size: tuple[int, int] = (320, 240)) -> None:
        for at_s in times_s:
            self.writer.write(picture(int(at_s * 30), *size), ticks(at_s))

    @property
    def bounds_s(self) -> list[tuple[float, float]]:
        return [(round(s.start / TIMESCALE, 3), round(s.end / TIMESCALE, 3)) for s in self.segments]


@pytest.fixture
def written(tmp_path: Path) -> Written:
    return Written(tmp_path / "recording")


@pytest.fixture
def make_store(tmp_path: Path) -> Iterator[Callable[..., Recordings]]:
    made: list[Recordings] = []

    def make(**flags: Any) -> Recordings:
        flags.setdefault("record_dir", str(tmp_path / "recordings"))
        made.append(Recordings(Settings.load({"record": True, **flags}, {})))
        return made[-1]

    yield make
    for store in made:
        store.close()


# Segments ---------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_film_is_valid_and_as_long_as_what_was_shown(written: Written, tmp_path: Path) -> None:
    written.show(*(n / 30 for n in range(300)))
    written.writer.close(ticks(10))
    film = probe(joined(written.folder, tmp_path / "film.mp4"))
    film.check()
    assert film.size == (320, 240)
    assert len(film.times_s) == 300
    assert film.duration_s == pytest.approx(10, abs=1 / 30)
    assert film.keyframes_s == pytest.approx([0, 4, 8], abs=0.001)
    assert written.bounds_s == [(0, 4), (4, 8), (8, 10)]
    assert [segment.size_bytes for segment in written.segments] == [
        (written.folder / segment.name).stat().st_size for segment in written.segments
    ]


@pytest.mark.slow
@settings(max_examples=6, deadline=None)
@given(gaps=st.lists(st.floats(0.001, 2.5), min_size=2, max_size=25))
def test_every_picture_keeps_the_time_it_was_shown_at(
    gaps: list[float], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("film")
    written = Written(folder / "recording")
    times = [sum(gaps[:n]) for n in range(len(gaps))]
    written.show(*times)
    written.writer.close(ticks(sum(gaps)))
    film = probe(joined(written.folder, folder / "film.mp4"))
    film.check()
    assert film.times_s == pytest.approx(times, abs=0.0001)
    assert film.duration_s == pytest.approx(sum(gaps), abs=0.0001)
    assert [start for start, _ in written.bounds_s] == pytest.approx(film.keyframes_s, abs=0.001)


def test_a_segment_is_closed_on_time_while_the_model_thinks(written: Written, tmp_path: Path) -> None:
    written.show(0, 1)
    written.writer.hold(ticks(4.25))
    assert written.bounds_s == [(0, 4.25)]
    written.writer.hold(ticks(8.25))
    written.show(11)
    written.writer.close(ticks(11.5))
    assert written.bounds_s == [(0, 4.25), (4.25, 8.25), (8.25, 11.5)]
    film = probe(joined(written.folder, tmp_path / "film.mp4"))
    film.check()
    assert film.times_s == pytest.approx([0, 1, 4.25, 8.25, 11], abs=0.001)
    assert film.keyframes_s == pytest.approx([0, 4.25, 8.25], abs=0.001)


def test_times_that_stand_still_are_moved_on(written: Written, tmp_path: Path) -> None:
    written.show(0, 0, 0, 0.5)
    written.writer.close(0)
    probe(joined(written.folder, tmp_path / "film.mp4")).check()


def test_a_picture_of_another_size_is_scaled_to_the_first(written: Written, tmp_path: Path) -> None:
    written.show(0, 0.1)
    written.show(0.2, 0.3, size=(640, 480))
    written.show(0.4, size=(64, 64))
    written.writer.close(ticks(0.5))
    film = probe(joined(written.folder, tmp_path / "film.mp4"))
    film.check()
    assert film.size == (320, 240)
    assert len(film.times_s) == 5


def test_the_open_segment_is_on_the_disk_up_to_its_last_second(written: Written, tmp_path: Path) -> None:
    for frame in range(100):
        written.show(frame / 30)
        if frame > 30:
            film = joined(written.folder, tmp_path / "film.mp4")
    assert written.segments == []
    assert [file.name for file in sorted(written.folder.iterdir())] == ["chunk_00000.m4s.part", "init.mp4"]
    found = probe(film)
    found.check()
    assert 99 / 30 - found.duration_s <= 1.1
    written.writer.abandon()


def test_a_failure_keeps_the_whole_fragments_of_the_open_segment(written: Written, tmp_path: Path) -> None:
    written.show(*(n / 30 for n in range(80)))
    with (written.folder / "chunk_00000.m4s.part").open("ab") as torn:
        torn.write(b"half a fragment")
    written.writer.abandon()
    assert written.bounds_s == [(0, 2)]
    found = probe(joined(written.folder, tmp_path / "film.mp4"))
    found.check()
    assert found.duration_s == pytest.approx(2, abs=0.001)


# The recorder -----------------------------------------------------------------------------------------


class Recorded:
    """A recorder with a clock that stands until it is moved, and what it said when it stopped."""

    def __init__(self, store: Recordings, rate: Callable[[int, int], int] = lambda w, h: 2_000_000) -> None:
        self.now_s = 1000.0
        self.stopped: list[str] = []
        self.recorder = Recorder(
            store,
            fps=30,
            rate=rate,
            on_stopped=lambda code, message: self.stopped.append(code),
            clock=lambda: self.now_s,
        )
        self.recording = self.recorder.recording

    def show(self, at_s: float) -> None:
        self.now_s = 1000.0 + at_s
        self.recorder.show(picture(int(at_s * 30)), self.now_s)

    def until(self, condition: Callable[[], object]) -> None:
        deadline_s = time.monotonic() + 10
        while not condition():
            assert time.monotonic() < deadline_s
            time.sleep(0.002)


def test_the_stream_is_never_held_up_and_what_was_dropped_is_counted(make_store: Any) -> None:
    opened, opening = threading.Event(), threading.Event()

    def slow_to_open(width: int, height: int) -> int:
        opening.set()
        assert opened.wait(10)
        return 2_000_000

    recorded = Recorded(make_store(), slow_to_open)
    recorded.show(0)
    assert opening.wait(10)
    for number in range(1, 21):
        recorded.show(number / 30)
    assert recorded.recorder.dropped == 20 - limits.RECORDING_PICTURES
    opened.set()
    recorded.recorder.close()
    (segment,) = recorded.recording.segments
    assert segment.end == ticks(20 / 30) + 1 or segment.end == ticks(20 / 30)


def test_a_promise_says_when_the_clip_is_there_and_it_is(make_store: Any) -> None:
    store = make_store()
    recorded = Recorded(store)
    assert recorded.recorder.promise(2.0) == NoClip("no media generated yet")
    recorded.show(0)
    recorded.show(3.0)
    asked_s = time.time()
    promise = recorded.recorder.promise(2.0)
    assert isinstance(promise, Clip)
    assert (promise.start_s, promise.end_s, promise.now_s) == (1.0, 3.0, 3.0)
    recording_id = promise.recording_id
    assert 1 <= promise.ready_at_s - asked_s <= 1 + GRACE_S + 0.5
    assert store.clip(recording_id, 1.0, 3.0) is None
    recorded.show(4.01)
    recorded.until(lambda: store.clip(recording_id, 1.0, 3.0))
    whole = recorded.recorder.promise(None)
    assert isinstance(whole, Clip)
    assert (whole.start_s, whole.end_s) == (0.0, 4.01)
    recorded.recorder.close()
    assert len(store.clip(recording_id, 0.0, 4.02) or ()) == 2


@pytest.mark.parametrize("duration_s", [0.0, -1.0])
def test_a_clip_must_last(make_store: Any, duration_s: float) -> None:
    recorded = Recorded(make_store())
    recorded.show(0)
    failed = recorded.recorder.promise(duration_s)
    assert isinstance(failed, NoClip)
    assert "more than 0 seconds" in failed.reason
    recorded.recorder.close()


def test_a_long_clip_is_shortened_to_what_is_allowed(make_store: Any) -> None:
    recorded = Recorded(make_store())
    recorded.show(0)
    recorded.now_s += 1000
    promise = recorded.recorder.promise(1e9)
    assert isinstance(promise, Clip)
    assert promise.end_s - promise.start_s == limits.CLIP_MAX_S
    recorded.recorder.close()


@pytest.mark.slow
def test_a_segment_is_closed_without_any_picture(make_store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "RECORDING_CHUNK_S", 0.2)
    store = make_store()
    recorder = Recorder(store, fps=30, rate=lambda w, h: 10**6, on_stopped=lambda code, message: None)
    recorder.show(picture(0), time.monotonic())
    deadline_s = time.monotonic() + 5
    while len(recorder.recording.segments) < 2:
        assert time.monotonic() < deadline_s
        time.sleep(0.01)
    recorder.close()
    starts = [segment.start for segment in recorder.recording.segments]
    assert starts == [0, *(segment.end for segment in recorder.recording.segments[:-1])]


def test_nothing_is_left_of_a_session_that_showed_nothing(make_store: Any, tmp_path: Path) -> None:
    store = make_store()
    recorded = Recorded(store)
    recorded.recorder.close()
    recorded.recorder.close()
    assert list((tmp_path / "recordings").iterdir()) == []
    with pytest.raises(ClipRefused, match="unknown"):
        store.clip(recorded.recording.recording_id, 0, 1)


def test_a_recording_that_cannot_be_written_stops_and_says_so(make_store: Any, tmp_path: Path) -> None:
    recorded = Recorded(make_store())
    (tmp_path / "recordings").rmdir()
    recorded.show(0)
    recorded.until(lambda: recorded.stopped)
    assert recorded.stopped == ["recording_failed"]
    recorded.show(1)
    assert recorded.recorder.promise(1.0) == NoClip("recorder disabled or encoder crashed")
    recorded.recorder.close()


# What is kept -----------------------------------------------------------------------------------------


def recorded_segments(store: Recordings, lengths_bytes: list[int]) -> Any:
    """Make an ended recording with files of these sizes, each 4 s."""
    recording = store.begin()
    recording.folder.mkdir()
    (recording.folder / "init.mp4").write_bytes(b"init")
    for index, size_bytes in enumerate(lengths_bytes):
        segment = Segment(index, ticks(4 * index), ticks(4 * index + 4), size_bytes)
        (recording.folder / segment.name).write_bytes(b"x")
        store.add(recording, segment)
    return recording


def test_the_oldest_segments_go_when_there_is_no_more_room(make_store: Any) -> None:
    store = make_store(record_max_mb=16)
    recording = recorded_segments(store, [10 * limits.MIB] * 2)
    assert [segment.index for segment in recording.segments] == [1]
    assert not (recording.folder / "chunk_00000.m4s").exists()
    with pytest.raises(ClipRefused, match="not kept") as refused:
        store.clip(recording.recording_id, 2, 6)
    assert refused.value.status == 410
    assert store.kept_from_s(recording) == 4
    store.end(recording)
    assert [segment.name for segment in store.clip(recording.recording_id, 4, 8)] == ["chunk_00001.m4s"]
    recorded_segments(store, [10 * limits.MIB])
    assert not recording.folder.exists()
    with pytest.raises(ClipRefused, match="unknown"):
        store.read(recording.recording_id, "init.mp4")


def test_what_is_old_goes_by_itself(make_store: Any) -> None:
    store = make_store(record_keep_s=60)
    recording = recorded_segments(store, [100, 100])
    store.end(recording)
    recording.closed_s[0] -= 61
    store.expire()
    assert [segment.index for segment in recording.segments] == [1]
    recording.closed_s[0] -= 61
    store.expire()
    assert not recording.folder.exists()


def test_recordings_of_earlier_servers_count_and_go(make_store: Any, tmp_path: Path) -> None:
    first = make_store()
    old, newer = recorded_segments(first, [1, 1]), recorded_segments(first, [1])
    (newer.folder / "chunk_00000.m4s").write_bytes(bytes(2 * limits.MIB))
    mine = tmp_path / "recordings" / "holiday"
    mine.mkdir()
    os.utime(old.folder, (0, 0))
    os.utime(mine, (0, 0))
    first.close()
    second = make_store(record_max_mb=16)
    assert not old.folder.exists()
    assert newer.folder.exists()
    with pytest.raises(ClipRefused, match="unknown"):
        second.clip(newer.recording_id, 0, 1)
    recorded_segments(second, [15 * limits.MIB])
    assert not newer.folder.exists()
    assert mine.exists()


def test_a_temporary_folder_goes_with_the_server_and_with_one_that_was_killed(
    make_store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    ended = subprocess.Popen(["true"])
    ended.wait()
    killed = tmp_path / f"reactor-recordings-{ended.pid}-abc"
    recording = killed / f"20260101-000000-{'0' * 32}"
    recording.mkdir(parents=True)
    foreign = tmp_path / "reactor-recordings-notes"
    foreign.mkdir()
    kept = make_store(record_dir="")
    assert recording.exists()
    os.utime(recording, (0, 0))
    store = make_store(record_dir="")
    assert not killed.exists()
    own = recorded_segments(store, [1]).folder
    kept.close()
    assert own.exists()
    store.close()
    assert list(tmp_path.iterdir()) == [foreign]


def test_without_recording_there_is_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    store = Recordings(Settings.load({"record_dir": str(tmp_path / "never")}, {}))
    assert not store.enabled
    store.expire()
    store.close()
    assert list(tmp_path.iterdir()) == []


def test_two_servers_never_share_a_folder_of_recordings(make_store: Any) -> None:
    first = make_store()
    with pytest.raises(SettingError, match="another server keeps its recordings"):
        make_store()
    first.close()
    make_store()


def test_a_folder_that_cannot_be_made_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SettingError, match="--record-dir"):
        Recordings(Settings.load({"record": True, "record_dir": str(tmp_path / "file")}, {}))


# Against the world ------------------------------------------------------------------------------------


@pytest.mark.slow
async def test_a_killed_server_loses_the_last_seconds_only(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    model = write_model(tmp_path / "model", MODEL)
    lost_s = []
    for number in range(long_form(1, 20)):
        folder = tmp_path / f"recordings-{number}"
        with running(model, "--record", "--record-dir", str(folder)) as server:
            async with watching(server.url) as visitor:
                began_s = visitor.frame_times[0]
                # At any moment of a segment and of its fragments.
                lasts_s = 5.5 + (number * 0.37) % 4
                while time.monotonic() - began_s < lasts_s or not list(folder.glob("*/chunk_00001*")):
                    await asyncio.sleep(0.05)
                server.process.kill()
                lasted_s = time.monotonic() - began_s
                server.process.wait()
        (recording,) = folder.iterdir()
        film = probe(joined(recording, tmp_path / f"film-{number}.mp4"))
        film.check()
        lost_s.append(lasted_s - film.duration_s)
    record_property("measured", f"{max(lost_s):.2f} s lost at most of {len(lost_s)} kills")
    # A fragment is a second long, two seconds are the promise; the rest is for a busy machine.
    assert max(lost_s) <= 3


@pytest.mark.slow
async def test_a_server_that_is_stopped_closes_its_recording(tmp_path: Path) -> None:
    folder = tmp_path / "recordings"
    async with (
        served(tmp_path / "model", MODEL, record=True, record_dir=str(folder)) as runtime,
        watching(runtime.url) as visitor,
    ):
        await visitor.see(20)
        await runtime.close()
    (recording,) = folder.iterdir()
    assert [file.name for file in sorted(recording.iterdir())] == ["chunk_00000.m4s", "init.mp4"]
    probe(joined(recording, tmp_path / "film.mp4")).check()


@pytest.mark.slow
async def test_a_full_disk_stops_the_recording_and_not_the_stream(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "512k") as disk:
        async with (
            served(tmp_path / "model", MODEL, record=True, record_dir=str(disk)) as runtime,
            watching(runtime.url) as visitor,
        ):
            notice = await visitor.hear("notice")
            assert notice["code"] == "recording_disk_full"
            await visitor.see(30)
            async with httpx.AsyncClient(base_url=runtime.url) as http:
                assert (await http.get("/session")).json()["recording"]["enabled"] is False
            (recording,) = disk.iterdir()
            kept = joined(recording, tmp_path / "film.mp4")
        assert shutil.disk_usage(disk).total == 512 * 1024
    probe(kept).check()
