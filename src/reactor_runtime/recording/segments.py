"""Pictures at times in, files out: a recording's own encoder, and the segment that is being written.

    chunk_00007.m4s.part   fragments of the open segment, each on the disk before the next begins
    chunk_00007.m4s        closed; never changes again

Used by one thread, the recorder's. A server that is killed leaves the open segment with every fragment that
was finished, so that `cat init.mp4 chunk_*` is a film of all but the last seconds.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from ..encode.recorded import RecordingEncoder
from ..types import Pixels
from .fmp4 import TIMESCALE, Sample, fragment, init_segment, length_prefixed
from .playlist import INIT_NAME, Segment, segment_name

#: Pictures' time in one fragment, which is what a killed server loses at most.
FRAGMENT_TICKS = 1 * TIMESCALE
PART = ".part"


class SegmentWriter:
    """Writes one recording into a folder, which it makes. Times are ticks of TIMESCALE and must not run backwards.

    The first picture decides the size; later ones of another size are scaled to it. Raises OSError when the
    disk does not take it, EncoderFailed when the encoder fails.
    """

    def __init__(
        self,
        folder: Path,
        *,
        chunk_s: float,
        fps: float,
        rate: Callable[[int, int], int],
        on_closed: Callable[[Segment], None],
    ) -> None:
        self._folder = folder
        self._chunk = int(chunk_s * TIMESCALE)
        self._fps = fps
        self._rate = rate
        self._on_closed = on_closed
        self._encoder: RecordingEncoder | None = None
        self._picture: Pixels | None = None
        self._pending: tuple[bytes, int, bool] | None = None
        """The last picture's data, time and kind; how long it is shown is known when the next one comes."""
        self._samples: list[Sample] = []
        self._fragment_start = 0
        self._sequence = 0
        self._file: BinaryIO | None = None
        self._index = 0
        self._start = 0
        self._size_bytes = 0

    @property
    def due(self) -> int:
        """When the open segment is to be closed, in ticks."""
        return (self._start // self._chunk + 1) * self._chunk

    def write(self, picture: Pixels, at: int) -> None:
        """Add an I420 picture. One that comes when the segment is due begins the next."""
        if self._pending is not None:
            at = max(at, self._pending[1] + 1)
            if at >= self.due:
                self._close_segment(at)
        self._picture = picture
        self._encode(at)

    def hold(self, at: int) -> None:
        """No picture came for the next segment: show the last one until `at` and begin with it again."""
        if self._pending is not None and at > self._pending[1]:
            self._close_segment(at)
            self._encode(at)

    def close(self, at: int) -> None:
        """Close the open segment, its last picture shown until `at`. Nothing may be written after it."""
        if self._pending is not None:
            self._close_segment(max(at, self._pending[1] + 1))
        self._encoder = None

    def abandon(self) -> None:
        """After a failure: close the open segment after its last whole fragment. Never raises."""
        self._encoder = None
        file, self._file = self._file, None
        if file is None:
            return
        with contextlib.suppress(OSError):
            file.close()
        with contextlib.suppress(OSError):
            if self._size_bytes == 0:
                self._part.unlink()
                return
            os.truncate(self._part, self._size_bytes)
            self._publish(self._fragment_start)

    @property
    def _part(self) -> Path:
        return self._folder / (segment_name(self._index) + PART)

    def _encode(self, at: int) -> None:
        assert self._picture is not None
        begins = self._pending is None
        if not begins:
            self._finish_sample(at)
        encoder = self._encoder or self._open()
        data, keyframe = encoder.encode(self._picture, at, keyframe=begins)
        if begins:
            self._start = self._fragment_start = at
        self._pending = length_prefixed(data), at, keyframe

    def _open(self) -> RecordingEncoder:
        assert self._picture is not None
        height, width = self._picture.shape[0] * 2 // 3, self._picture.shape[1]
        encoder = RecordingEncoder(width, height, fps=self._fps, bits_per_s=self._rate(width, height))
        init = init_segment(width=width, height=height, parameter_sets=encoder.parameter_sets)
        self._folder.mkdir(mode=0o700, exist_ok=True)
        # Not through a temporary file: without any segment after it, nobody reads it.
        with (self._folder / INIT_NAME).open("xb") as file:
            file.write(init)
            _to_disk(file)
        self._encoder = encoder
        return encoder

    def _finish_sample(self, at: int) -> None:
        assert self._pending is not None
        data, start, keyframe = self._pending
        self._samples.append(Sample(data, at - start, keyframe))
        self._pending = None
        if at - self._fragment_start >= FRAGMENT_TICKS:
            self._write_fragment(at)

    def _write_fragment(self, end: int) -> None:
        self._sequence += 1
        data = fragment(self._samples, sequence=self._sequence, start=self._fragment_start)
        if self._file is None:
            self._file = self._part.open("xb")
            self._size_bytes = 0
        self._file.write(data)
        _to_disk(self._file)
        self._size_bytes += len(data)
        self._samples.clear()
        self._fragment_start = end

    def _close_segment(self, end: int) -> None:
        self._finish_sample(end)
        if self._samples:
            self._write_fragment(end)
        assert self._file is not None
        self._file.close()
        self._file = None
        self._publish(end)

    def _publish(self, end: int) -> None:
        segment = Segment(self._index, self._start, end, self._size_bytes)
        self._part.rename(self._folder / segment.name)
        self._index += 1
        self._on_closed(segment)


def _to_disk(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())
