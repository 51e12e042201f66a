"""Input frames of viewers on their way into the model process. Owned by a host; `push` may come from any thread."""

from __future__ import annotations

import threading
import time
from collections import Counter

from ..running.frame_memory import INPUT_MAX_BYTES, INPUT_SPANS, FrameBooks, FrameMemory
from ..types import Pixels
from . import records
from .channel import Channel


class InputSender:
    """Input frames on their way to the model. Any thread; policy when the model lags: drop and count.

    A span belongs to the model process from its Input record to its InputDone, so a frame is never
    written while it is read, and nobody waits for anybody.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._books = FrameBooks(size_bytes=INPUT_MAX_BYTES, frames_max=INPUT_SPANS)
        self._memory: FrameMemory | None = None
        self._channel: Channel | None = None
        self._frame_ids: Counter[str] = Counter()
        self.dropped = 0

    def open(self, memory: FrameMemory, channel: Channel) -> None:
        self._memory, self._channel = memory, channel

    def push(self, track: str, pixels: Pixels) -> None:
        with self._lock:
            memory, channel = self._memory, self._channel
            if memory is None or channel is None:
                return
            span = self._books.acquire(pixels.nbytes)
            if span is None:
                self.dropped += 1
                return
            memory.write(span, pixels)
            self._frame_ids[track] += 1
            frame_id = self._frame_ids[track]
            height, width, _ = pixels.shape
            channel.send(
                records.Input(span.ticket, span.offset, height, width, track, frame_id, time.monotonic())
            )

    def done(self, ticket: int, *, unseen: bool) -> None:
        self._books.release(ticket)
        with self._lock:
            self.dropped += unseen

    def close(self) -> None:
        with self._lock:
            memory, self._memory, self._channel = self._memory, None, None
        if memory is not None:
            memory.let_go()
