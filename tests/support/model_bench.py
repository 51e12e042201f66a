"""A runner on a thread, with an outlet that records: what the hosts have in common, without a host."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

import numpy as np

from reactor_runtime import VideoModel, limits
from reactor_runtime.errors import ModelFailed
from reactor_runtime.running.frame_memory import FrameBooks, FrameMemory
from reactor_runtime.running.outlet import FrameInMemory
from reactor_runtime.running.pulse import PULSE_BYTES, PulseState, words_of
from reactor_runtime.running.runner import Runner
from reactor_runtime.types import (
    MAIN_VIDEO,
    WEBCAM,
    CommandCall,
    CommandOutcome,
    Demand,
    InputFrame,
    JsonObject,
    ModelMessage,
    Pixels,
    Track,
)

TRACKS = (Track(MAIN_VIDEO, "video", "out"), Track(WEBCAM, "video", "in"))


def picture(value: int = 0) -> Pixels:
    return np.full((32, 32, 3), value, np.uint8)


class Bench:
    """Serves one model; frames are released at once unless `hold` is set."""

    def __init__(
        self,
        model: VideoModel,
        *,
        fps: float | None = None,
        watched: bool = True,
        tracks: Sequence[Track] = TRACKS,
    ) -> None:
        self.frames: list[tuple[int, int, int]] = []
        """Frame id, first pixel, command id; `tracks` has the track of each."""
        self.tracks: list[str] = []
        self.discarded_after: list[int] = []
        self.busy_s: list[float] = []
        self.outcomes: list[CommandOutcome] = []
        self.messages: list[ModelMessage] = []
        self.numbers: list[JsonObject] = []
        self.frames_failed: list[str] = []
        self.ended: list[ModelFailed | None] = []
        self.text = ""
        self.hold = False
        self.held: list[int] = []
        self._watched = watched
        self._asked = 0
        self._memory = FrameMemory(-1, limits.RING_MAX_BYTES, writable=True)
        self.books = FrameBooks(size_bytes=limits.RING_MAX_BYTES, frames_max=limits.RING_MAX_FRAMES)
        self.words = words_of(bytearray(PULSE_BYTES))
        self.runner = Runner(
            model,
            fps=fps,
            tracks=tracks,
            outlet=self,
            books=self.books,
            memory=self._memory,
            words=self.words,
        )
        self.thread = threading.Thread(target=self.runner.serve)

    def __enter__(self) -> Self:
        self.thread.start()
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.runner.close()
        self.thread.join(10)
        assert not self.thread.is_alive()

    # Outlet

    def frame(self, frame: FrameInMemory) -> None:
        shown = self._memory.view(frame.offset, frame.height, frame.width)
        self.tracks.append(frame.track)
        self.frames.append((frame.frame_id, int(shown[0, 0, 0]), frame.command_id))
        self.busy_s.append(frame.busy_s)
        if self.hold:
            self.held.append(frame.ticket)
        else:
            self.runner.released(frame.ticket)

    def frames_discarded(self) -> None:
        self.discarded_after.append(len(self.frames))

    def outcome(self, outcome: CommandOutcome) -> None:
        self.outcomes.append(outcome)

    def message(self, message: ModelMessage) -> None:
        self.messages.append(message)

    def metrics(self, values: JsonObject) -> None:
        self.numbers.append(values)

    def frame_failed(self, raised: str) -> None:
        self.frames_failed.append(raised)

    def session_ended(self, error: ModelFailed | None) -> None:
        self.ended.append(error)

    def log(self, text: str) -> None:
        self.text += text + "\n"

    # What tests do

    def start(self, session_id: str = "s") -> None:
        self.runner.start(session_id)
        if self._watched:
            self.watch()

    def watch(
        self,
        frame_id: int = 1,
        due_s: float = 0.0,
        interval_s: float = 1 / 1000,
        track: str = MAIN_VIDEO,
        watched: bool = True,
    ) -> None:
        self.runner.demand(Demand(frame_id, due_s, interval_s, watched, track))

    def send(self, name: str, **arguments: Any) -> int:
        self._asked += 1
        self.runner.command(CommandCall(self._asked, name, arguments))
        return self._asked

    def ask(self, name: str, **arguments: Any) -> CommandOutcome:
        asked = self.send(name, **arguments)
        self.until_answered(asked)
        return next(outcome for outcome in self.outcomes if outcome.command_id == asked)

    def until_answered(self, asked: int) -> None:
        self.until(lambda: any(outcome.command_id == asked for outcome in self.outcomes))

    def show_input(self, value: int, track: str = WEBCAM) -> bool:
        return self.runner.input(InputFrame(picture(value), value, time.monotonic(), track))

    def stop(self) -> ModelFailed | None:
        """End the session and return its error."""
        ended = len(self.ended)
        self.runner.stop()
        return self.end(ended)

    def end(self, ended: int = 0) -> ModelFailed | None:
        self.until(lambda: len(self.ended) > ended)
        return self.ended[-1]

    def state(self, lane: int = 0) -> PulseState:
        return PulseState(self.words[lane] & 7)

    def until(self, condition: Callable[[], object], within_s: float = 10.0) -> None:
        deadline_s = time.monotonic() + within_s
        while not condition():
            assert time.monotonic() < deadline_s, (
                f"{len(self.frames)} frames, {self.outcomes}, {self.ended}\n{self.text}"
            )
            time.sleep(0.001)
