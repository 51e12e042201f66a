"""One output track of one viewer, over aiortc: our pictures in a short queue, and what the line takes of them."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import av
from aiortc.mediastreams import MediaStreamTrack

from ..types import EncodedFrame
from .peer import RTP_CLOCK_HZ
from .reported_rate import ReportedRate

#: Pictures waiting for the transport. More: all are dropped and a keyframe is asked for.
QUEUE_MAX = 8


class PacketTrack(MediaStreamTrack):
    """Hands our encoder's pictures to aiortc's sender, oldest first, in a queue that cannot grow."""

    kind = "video"

    def __init__(self, on_keyframe: Callable[[], None], on_sent: Callable[[EncodedFrame], None]) -> None:
        super().__init__()
        self._on_keyframe = on_keyframe
        self._on_sent = on_sent
        self._queue: deque[tuple[EncodedFrame, bool]] = deque()
        self._filled = asyncio.Event()
        self._sent: EncodedFrame | None = None
        self._sent_bytes, self._sent_since_s = 0, time.monotonic()
        self.dropped = 0
        self.rate = ReportedRate()
        self.told = False
        """Whether the receiver has told a rate itself."""

    @property
    def queued(self) -> int:
        return len(self._queue)

    def sent_bits_per_s(self) -> float:
        """Return how much was sent since this was asked last."""
        bits, since_s = 8 * self._sent_bytes, self._sent_since_s
        self._sent_bytes, self._sent_since_s = 0, time.monotonic()
        return bits / max(1e-3, self._sent_since_s - since_s)

    def put(self, frame: EncodedFrame, report: bool) -> None:
        if len(self._queue) >= QUEUE_MAX:
            self.dropped += len(self._queue)
            self._queue.clear()
            if not frame.keyframe:
                self.dropped += 1
                self._on_keyframe()
                return
        self._queue.append((frame, report))
        self._filled.set()

    async def recv(self) -> av.Packet[Any]:
        if self._sent is not None:  # being asked again means that the last one has left
            self._on_sent(self._sent)
            self._sent = None
        while not self._queue:
            self._filled.clear()
            await self._filled.wait()
        frame, report = self._queue.popleft()
        self._sent_bytes += len(frame.data)
        self._sent = frame if report else None
        packet = av.Packet(frame.data)
        packet.pts = frame.pts_us * RTP_CLOCK_HZ // 1_000_000
        packet.time_base = Fraction(1, RTP_CLOCK_HZ)
        return packet
