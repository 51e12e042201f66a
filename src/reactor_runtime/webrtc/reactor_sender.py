"""One output track of one viewer, over libwebrtc.

libwebrtc has no "send this encoded picture" call. `reactor-webrtc` stands in for its encoder instead: we
push a raw picture, libwebrtc's encoder thread calls us, and what we return is what it sends.

    send thread                     libwebrtc's encoder thread
    ───────────                     ──────────────────────────
    send() ─▶ queue ─▶ wake (a 16x16 raw picture) ─▶ _encode() pops the queue ─▶ RTP
                                                     _sent() learns the RTP timestamp

libwebrtc may drop a raw picture before that (two waiting at once, a stalled pacer). The library's own queue
of pre-encoded pictures is then one picture behind for good. Ours is not: one left over at the next `send`
gets a wake of its own, and more than QUEUE_MAX of them are thrown away in exchange for a keyframe.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import reactor_webrtc as rw

from ..types import EncodedFrame
from .trailer import frame_trailer

#: Pictures waiting for libwebrtc. More: all are dropped and a keyframe is asked for.
QUEUE_MAX = 8
_RTP_WRAP = 1 << 32

# What wakes the encoder thread. Its size is never sent: it only keeps libwebrtc's conversion and its
# resolution-keyed limits small.
_WAKE_SIDE = 16
_WAKE = bytes(_WAKE_SIDE * _WAKE_SIDE * 4)


def _nothing(*_: int) -> None:
    return


@dataclass(frozen=True, slots=True)
class _Waiting:
    frame: EncodedFrame
    capture_us: int
    report: bool


class TrackSender:
    """Sends one viewer's pictures. `send` may be called from any thread, everything else on the loop.

    `on_keyframe` and `on_report(frame_id, rtp_timestamp)` are called on libwebrtc's threads.
    """

    def __init__(
        self,
        *,
        with_trailer: bool,
        on_keyframe: Callable[[], None],
        on_rate: Callable[[int], None],
        on_report: Callable[[int, int], None],
    ) -> None:
        self._with_trailer = with_trailer
        self._on_keyframe = on_keyframe
        self._on_rate = on_rate
        self._on_report = on_report
        self._lock = threading.Lock()
        self._queue: deque[_Waiting] = deque()
        self._track: rw.Track | None = None
        self._last_capture_us = 0
        self._clock_offset: int | None = None
        self._last: tuple[_Waiting, int] | None = None
        self._bound = threading.Event()
        self.dropped = 0

    @property
    def queued(self) -> int:
        """Pictures that libwebrtc has not asked for yet."""
        return len(self._queue)

    def tap(self, transceiver: rw.Transceiver) -> None:
        """Watch what leaves through this transceiver, before anything does."""
        transceiver.set_sender_transform(rw.FrameTransform(self._sent))

    async def bind(
        self, factory: rw.PeerConnectionFactory, name: str, transceiver: rw.Transceiver, *, deadline_s: float
    ) -> bool:
        """Make libwebrtc's encoder for this transceiver call us. False if it did not within the deadline.

        The library ties encoders to tracks by order, over the whole factory: the next encoder that libwebrtc
        makes gets the oldest track without one. So the caller sees to it that only one track of the factory
        is unbound at a time, and an encoder is provoked here rather than by the first real picture.
        """
        track = factory.create_video_track_with_options(name, inline_encoder=self._encode)
        assert isinstance(track, rw.Track)  # only pre_encoded returns the other kind
        try:
            track.on_encoder_feedback(self._feedback)
            await transceiver.set_track(track)
            loop = asyncio.get_running_loop()
            give_up = loop.time() + deadline_s
            while not self._bound.is_set() and loop.time() < give_up:
                self._wake(track)
                await asyncio.sleep(0.005)
            if self._bound.is_set():
                self._track = track
            return self._bound.is_set()
        finally:
            # A track that stays unbound must be gone before the next one is made, also when we are cancelled
            # and a traceback keeps this frame.
            del track

    def send(self, frame: EncodedFrame, *, report: bool) -> None:
        track = self._track
        if track is None:
            return
        with self._lock:
            overflow = len(self._queue) >= QUEUE_MAX
            if overflow:
                self.dropped += len(self._queue)
                self._queue.clear()
            behind = bool(self._queue)
            if not overflow or frame.keyframe:
                self._queue.append(_Waiting(frame, rw.time_micros(), report))
            else:
                self.dropped += 1
        if overflow and not frame.keyframe:
            self._on_keyframe()
            return
        if behind:
            self._wake(track)
        self._wake(track)

    def close(self) -> None:
        """Let go of the track, and of the owner: the engine keeps callbacks for as long as it likes."""
        self._track = None
        self._on_keyframe, self._on_rate, self._on_report = _nothing, _nothing, _nothing
        with self._lock:
            self._queue.clear()

    def _wake(self, track: rw.Track) -> None:
        # libwebrtc drops a picture whose millisecond is not later than the one before.
        with self._lock:
            capture_us = self._last_capture_us = max(rw.time_micros(), self._last_capture_us + 1000)
        track.push_video_frame(_WAKE, _WAKE_SIDE, _WAKE_SIDE, None, capture_us)

    def _encode(self, raw: rw.RawVideoFrameInfo) -> tuple[bytes, bool] | None:
        self._bound.set()
        with self._lock:
            waiting = self._queue.popleft() if self._queue else None
        if raw.request_key_frame and not (waiting and waiting.frame.keyframe):
            self._on_keyframe()
        if waiting is None:
            return None
        self._last = (waiting, raw.rtp_timestamp)
        if waiting.report and self._clock_offset is not None:
            self._on_report(waiting.frame.frame_id, (raw.rtp_timestamp + self._clock_offset) % _RTP_WRAP)
        data = waiting.frame.data
        if self._with_trailer:
            data += frame_trailer(waiting.frame.frame_id, waiting.capture_us)
        return data, waiting.frame.keyframe

    def _sent(self, encoded: rw.EncodedFrame) -> rw.FrameAction:
        """Learn by how much the stream's RTP clock is offset: by a random number, fixed per stream."""
        if self._clock_offset is None and self._last is not None:
            waiting, raw_timestamp = self._last
            self._clock_offset = (encoded.timestamp - raw_timestamp) % _RTP_WRAP
            if waiting.report:
                self._on_report(waiting.frame.frame_id, encoded.timestamp)
        return rw.FrameAction.Forward

    def _feedback(self, feedback: rw.KeyFrameRequest | rw.RateUpdate) -> None:
        # Keyframe requests come with the raw picture on this kind of track.
        if isinstance(feedback, rw.RateUpdate):
            self._on_rate(feedback.bitrate_bps)
