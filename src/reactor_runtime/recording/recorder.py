"""One session's recording: pictures from the stream, a clock, and a thread that writes them.

    encoder thread ─show()─▶ queue ─▶ recorder thread ─▶ SegmentWriter ─▶ disk
                             a few pictures; the oldest is dropped and counted

Made and closed by the session that is recorded. Whatever happens here, the stream does not notice: `show` copies
a picture and returns, the thread runs at a lower priority, and a failure ends the recording, is told to the
viewers once, and nothing else. The recording's time begins with its first picture and is the time that passes:
while a model thinks, its last picture is held, and segments are closed all the same.
"""

from __future__ import annotations

import errno
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from .. import codes, limits
from ..errors import EncoderFailed
from ..niceness import give_way
from ..types import Pixels
from .fmp4 import TIMESCALE
from .playlist import Segment
from .recordings import Recording, Recordings
from .segments import SegmentWriter

log = logging.getLogger(__name__)

#: A segment that is due waits this long for a picture to begin the next with, before the last one is held.
GRACE_S: Final = 0.25
#: What closing a segment takes beyond that, as clients are told: they poll until it is there.
CLOSING_S: Final = 0.25


@dataclass(frozen=True, slots=True)
class Clip:
    """A part of a recording, in seconds since its first picture. `ready_at_s` is wall-clock time."""

    recording_id: str
    start_s: float
    end_s: float
    now_s: float
    """How long the recording is now."""
    ready_at_s: float
    """When its last segment will be there."""


@dataclass(frozen=True, slots=True)
class NoClip:
    """There is none, and why."""

    reason: str


class RecorderStopped(Protocol):
    def __call__(self, code: str, message: str) -> None:
        """The recording failed and has ended. On the recorder's thread."""


class Recorder:
    """Records from the first picture to `finish()`. Other methods may be called at any time and by any thread."""

    def __init__(
        self,
        recordings: Recordings,
        *,
        fps: float,
        rate: Callable[[int, int], int],
        on_stopped: RecorderStopped,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.recording: Final[Recording] = recordings.begin()
        self._recordings = recordings
        self._on_stopped = on_stopped
        self._clock = clock
        self._writer = SegmentWriter(
            self.recording.folder,
            chunk_s=limits.RECORDING_CHUNK_S,
            fps=fps,
            rate=rate,
            on_closed=self._segment_closed,
        )
        self._queue: deque[tuple[Pixels, int]] = deque()
        self._wake = threading.Condition()
        self._began_s: float | None = None
        self._ends: int | None = None
        self.failed = False
        self.dropped = 0
        """Pictures that were not recorded, because encoder or disk could not follow."""
        self._thread = threading.Thread(target=self._run, name="reactor-recorder", daemon=True)
        self._thread.start()

    def show(self, picture: Pixels, shown_s: float) -> None:
        """Record an I420 picture that viewers are shown now. Copies it; never waits and never raises."""
        if self.failed:
            return
        try:
            kept = picture.copy()
        except MemoryError:
            self.dropped += 1
            return
        with self._wake:
            if self._ends is not None:
                return
            if self._began_s is None:
                self._began_s = shown_s
            while self._queue and self._is_full(kept.nbytes):
                self._queue.popleft()
                self.dropped += 1
            self._queue.append((kept, self._ticks(shown_s)))
            self._wake.notify_all()

    def _is_full(self, more_bytes: int) -> bool:
        waiting_bytes = sum(picture.nbytes for picture, _ in self._queue)
        return (
            len(self._queue) >= limits.RECORDING_PICTURES
            or waiting_bytes + more_bytes > limits.RECORDING_PICTURES_BYTES
        )

    def promise(self, duration_s: float | None) -> Clip | NoClip:
        """Name the clip of the last seconds, or (None) of everything that is kept."""
        if self.failed:
            # The exact words: clients map them to RECORDER_DISABLED.
            return NoClip("recorder disabled or encoder crashed")
        if duration_s is not None and duration_s <= 0:
            return NoClip("a clip's duration must be more than 0 seconds")
        if self._began_s is None:
            return NoClip("no media generated yet")
        now_s = self._clock() - self._began_s
        kept_s = self._recordings.kept_from_s(self.recording)
        start_s = kept_s
        if duration_s is not None:
            start_s = max(kept_s, now_s - min(duration_s, limits.CLIP_MAX_S))
        start_s, end_s = round(start_s, 3), round(max(now_s, start_s + 0.001), 3)
        chunk_s = limits.RECORDING_CHUNK_S
        closes_s = (now_s // chunk_s + 1) * chunk_s + GRACE_S + CLOSING_S
        return Clip(
            self.recording.recording_id, start_s, end_s, round(now_s, 3), time.time() + closes_s - now_s
        )

    def finish(self) -> None:
        """Take no more pictures; the last segment is closed soon. May be called twice."""
        with self._wake:
            if self._ends is None:
                self._ends = self._ticks(self._clock()) if self._began_s is not None else 0
            self._wake.notify_all()

    def close(self) -> None:
        """Finish, and wait until everything is on the disk. May be called twice."""
        self.finish()
        self._thread.join()

    def _ticks(self, at_s: float) -> int:
        assert self._began_s is not None
        return max(0, round((at_s - self._began_s) * TIMESCALE))

    # The recorder's thread ----------------------------------------------------------------------------

    def _run(self) -> None:
        give_way()
        try:
            self._record()
        except OSError as error:
            log.error("recording %s: %s", self.recording.recording_id, error)
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                self._stop(codes.RECORDING_DISK_FULL, "the disk is full: the recording has stopped")
            else:
                self._stop(codes.RECORDING_FAILED, "the recording could not be written and has stopped")
        except EncoderFailed as error:
            log.error("recording %s: %s", self.recording.recording_id, error)
            self._stop(codes.RECORDING_FAILED, "the recording's encoder failed: the recording has stopped")
        except Exception:
            log.exception("recording %s", self.recording.recording_id)
            self._stop(codes.RECORDING_FAILED, "the recording has stopped")
        finally:
            self._recordings.end(self.recording)

    def _stop(self, code: str, message: str) -> None:
        self.failed = True
        with self._wake:
            self._queue.clear()
        self._writer.abandon()
        self._on_stopped(code, message)

    def _record(self) -> None:
        while True:
            with self._wake:
                while not self._queue and self._ends is None:
                    left_s = self._hold_in_s()
                    if left_s is not None and left_s <= 0:
                        break
                    self._wake.wait(left_s)
                picture, at = self._queue.popleft() if self._queue else (None, 0)
                ends = self._ends
            if picture is not None:
                self._writer.write(picture, at)
            elif ends is not None:
                self._writer.close(ends)
                return
            else:
                assert self._began_s is not None
                self._writer.hold(self._ticks(self._clock()))

    def _hold_in_s(self) -> float | None:
        """Return how long to wait for a picture before the last one is held; None while there is none."""
        if self._began_s is None:
            return None
        return self._began_s + self._writer.due / TIMESCALE + GRACE_S - self._clock()

    def _segment_closed(self, segment: Segment) -> None:
        self._recordings.add(self.recording, segment)
