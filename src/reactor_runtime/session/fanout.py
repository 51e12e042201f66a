"""To whom a picture goes: encoded once per codec, passed to every viewer that negotiated it.

    stream ─due frame─▶ place ─▶ encoder thread ─▶ sink, sink, sink
    event loop         1 frame  RGB → I420 → bitstream   one per viewer

Owned by a `VideoStream`, which decides when. The thread owns the encoders and the last picture. Loop and
thread meet in a place for one frame: the newest wins, a frame that was overtaken there is counted in `dropped`.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from .. import limits
from ..causes import CauseLog
from ..encode import Encoder, open_encoder, to_i420
from ..types import Codec, EmittedFrame, EncodedFrame, Pixels
from .rate import TokenBucket
from .times import PictureTimes

log = logging.getLogger(__name__)

#: An encoder's rate never goes below this, and a viewer who cannot take even that holds nobody else down.
BITRATE_FLOOR = 250_000
#: A viewer gets no more keyframes than one in this time, because every other viewer pays for them.
KEYFRAME_GAP_S = 0.5


def default_bitrate(width: int, height: int) -> int:
    """Return bits per second for a picture size: 2 Mbit/s at 640x480, growing slower than its pixels."""
    return int(2_000_000 * (width * height / (640 * 480)) ** 0.75)


class SendFrame(Protocol):
    def __call__(self, frame: EncodedFrame, *, report: bool) -> None:
        """Pass a picture to one viewer; any thread, never blocks."""


@dataclass(slots=True, eq=False)
class Sink:
    """One viewer's end of the stream. The loop sets the wishes, the encoder thread reads them."""

    codec: Codec
    send: SendFrame
    bitrate_limit: int | None = None
    report_from: int | None = None
    """Report the first frame that saw this command or a later one; None for no such wish."""
    report_every_s: float | None = None
    """Report a frame this often as well; None for never."""
    reported: PictureTimes | None = None
    """The last frame that was reported. Written before it is sent."""
    needs_keyframe: bool = True
    keyframe_s: float = 0.0
    """When its last keyframe was sent, monotonic seconds."""

    def takes_report(self, command_id: int, times: PictureTimes, sent_s: float) -> bool:
        """Whether the sending of a frame that saw this command is to be reported; True once for each wish.

        `times` are the frame's but for `sent_s`. Asked for every picture and viewer, so it makes nothing until it must.
        """
        wished = self.report_from is not None and command_id >= self.report_from
        if wished:
            self.report_from = None
        elif self.report_every_s is None or (
            self.reported is not None and sent_s < self.reported.sent_s + self.report_every_s
        ):
            return False
        self.reported = replace(times, sent_s=sent_s)
        return True

    def gets_keyframe(self, now_s: float) -> bool:
        return self.needs_keyframe and now_s - self.keyframe_s >= KEYFRAME_GAP_S


def allowed(sinks: tuple[Sink, ...], codec: Codec, ceiling: int) -> int:
    """Return what a codec's encoder is to aim for: the ceiling, or what its poorest viewer takes."""
    limited = [sink.bitrate_limit or ceiling for sink in sinks if sink.codec == codec]
    able = [rate for rate in limited if rate >= BITRATE_FLOOR]
    if limited and not able:
        return BITRATE_FLOOR
    return max(BITRATE_FLOOR, min([ceiling, *able]))


@dataclass(frozen=True, slots=True)
class FanOutCounters:
    """Totals of one fan-out. `dropped`: frames that were overtaken while they waited for the encoder."""

    dropped: int = 0
    encoded: int = 0
    bytes: int = 0
    convert_s: float = 0.0
    encode_s: float = 0.0


class FanOut(Protocol):
    """What a stream needs of whoever encodes and sends. Called on the event loop; blocks nowhere."""

    sinks: tuple[Sink, ...]
    """Who is sent to. Replaced as a whole, by the stream alone."""

    def show(self, frame: EmittedFrame) -> None:
        """Send a frame to every sink. It is released here, also when a newer one overtakes it."""

    def take_back(self) -> EmittedFrame | None:
        """Return the frame whose encoding has not begun, if there is one; it is the caller's again."""

    def refresh(self) -> None:
        """Send the last picture again to sinks that wait for a keyframe; drop what nobody needs any more."""

    async def settle(self) -> None:
        """Wait until what was shown has been sent, a second at most."""

    def counters(self) -> FanOutCounters: ...

    async def close(self) -> None:
        """Release what is held and stop. Called once."""


class FanOutFactory(Protocol):
    def __call__(
        self,
        *,
        bits_per_s: int | None,
        interval_s: Callable[[], float],
        on_picture: Callable[[Pixels, float], None] | None,
        clock: Callable[[], float],
    ) -> FanOut:
        """Make one for a stream.

        bits_per_s   the ceiling, or None for `default_bitrate` of the picture's size
        interval_s   asked for the time between frames when an encoder is opened
        on_picture   told every picture that is shown, in I420, and when; the memory is reused
        """


@dataclass(slots=True)
class _Work:
    """What the encoder thread is to do next; guarded by the condition beside it."""

    frame: EmittedFrame | None = None
    refresh: bool = False
    busy: bool = False
    closed: bool = False


class EncoderThread:
    """Encodes and sends on a thread of its own. Made, used and closed on the event loop."""

    def __init__(
        self,
        *,
        bits_per_s: int | None,
        interval_s: Callable[[], float],
        on_picture: Callable[[Pixels, float], None] | None,
        clock: Callable[[], float],
    ) -> None:
        self.sinks: tuple[Sink, ...] = ()
        self.bits_per_s = bits_per_s
        self.interval_s = interval_s
        self.on_picture = on_picture
        self.clock = clock
        self._dropped = 0
        self._work = _Work()
        self._wake = threading.Condition()
        self._encoding = _Encoding(self)
        self._thread = threading.Thread(target=self._encode_loop, name="reactor-encoder", daemon=True)
        self._thread.start()

    def show(self, frame: EmittedFrame) -> None:
        with self._wake:
            overtaken, self._work.frame = self._work.frame, frame
            self._wake.notify_all()
        if overtaken is not None:
            self._dropped += 1
            overtaken.release()

    def take_back(self) -> EmittedFrame | None:
        with self._wake:
            waiting, self._work.frame = self._work.frame, None
            self._wake.notify_all()
        return waiting

    def refresh(self) -> None:
        with self._wake:
            self._work.refresh = True
            self._wake.notify_all()

    async def settle(self) -> None:
        await asyncio.to_thread(self._await_encoder)

    def _await_encoder(self) -> None:
        with self._wake:
            self._wake.wait_for(
                lambda: self._work.closed or (self._work.frame is None and not self._work.busy), timeout=1.0
            )

    def counters(self) -> FanOutCounters:
        encoding = self._encoding
        return FanOutCounters(
            self._dropped, encoding.frames, encoding.bytes, encoding.convert_s, encoding.encode_s
        )

    async def close(self) -> None:
        self.sinks = ()
        with self._wake:
            self._work.closed = True
            self._wake.notify_all()
        await asyncio.to_thread(self._thread.join)

    def _encode_loop(self) -> None:
        while True:
            with self._wake:
                while self._work.frame is None and not self._work.refresh and not self._work.closed:
                    self._wake.wait()
                frame, self._work.frame = self._work.frame, None
                refresh, self._work.refresh = self._work.refresh, False
                closed = self._work.closed
                self._work.busy = frame is not None
            if closed:
                if frame is not None:
                    frame.release()
                self._encoding.close()
                return
            if frame is not None:
                self._encoding.show(frame)
                with self._wake:
                    self._work.busy = False
                    self._wake.notify_all()
            elif refresh:
                self._encoding.refresh()


class _Encoding:
    """Encoders and the last picture; everything here runs on the encoder thread, and nothing raises.

    A failing encoder is opened again for the next frame, a failing viewer is left out; both are logged.
    """

    def __init__(self, owner: EncoderThread) -> None:
        self._owner = owner
        self._causes = CauseLog(log.error)
        self._encoders: dict[Codec, Encoder] = {}
        self._keyframes: defaultdict[Codec, TokenBucket] = defaultdict(
            lambda: TokenBucket(limits.KEYFRAMES_PER_S, limits.KEYFRAMES_BURST)
        )
        self._size = (0, 0)
        self._picture: Pixels | None = None
        self._times = PictureTimes(0, 0.0, 0.0, 0.0)
        self._command_id = 0
        self.frames = self.bytes = 0
        self.convert_s = self.encode_s = 0.0

    def show(self, frame: EmittedFrame) -> None:
        """Convert a frame, give its memory back at once, and send it to every viewer."""
        shown_s, began = self._owner.clock(), time.perf_counter()
        try:
            height, width = frame.pixels.shape[:2]
            if (width, height) != self._size:
                self.close()
                self._size = (width, height)
            self._picture = to_i420(frame.pixels, self._picture)
        except Exception as error:
            self._causes.exception(error, "the colour conversion")
            return
        finally:
            frame.release()
        self.convert_s += time.perf_counter() - began
        self._times = PictureTimes(frame.frame_id, frame.emitted_s - frame.busy_s, frame.emitted_s, shown_s)
        self._command_id = frame.command_id
        self._send(self._owner.sinks, self._get_keyframes())
        if self._owner.on_picture is not None:
            self._owner.on_picture(self._picture, shown_s)

    def refresh(self) -> None:
        """Send the last picture again to viewers that wait for a keyframe, and drop unused encoders."""
        for codec in set(self._encoders) - {sink.codec for sink in self._owner.sinks}:
            self._encoders.pop(codec).close()
        if self._picture is not None and (codecs := self._get_keyframes()):
            self._times = replace(self._times, encoding_s=self._owner.clock())
            self._send(tuple(sink for sink in self._owner.sinks if sink.codec in codecs), codecs)

    def _get_keyframes(self) -> set[Codec]:
        """Return the codecs that some viewer needs a keyframe of, and may have one now."""
        now_s = self._owner.clock()
        wanted = {sink.codec for sink in self._owner.sinks if sink.gets_keyframe(now_s)}
        return {codec for codec in wanted if self._keyframes[codec].take(now_s)}

    def _send(self, sinks: tuple[Sink, ...], keyframes: set[Codec]) -> None:
        now_s = self._owner.clock()
        for codec in dict.fromkeys(sink.codec for sink in sinks):
            receivers = [sink for sink in sinks if sink.codec == codec]
            try:
                encoded = self._encode(codec, keyframe=codec in keyframes)
            except Exception as error:
                self._causes.exception(error, f"the {codec} encoder")
                if (encoder := self._encoders.pop(codec, None)) is not None:
                    encoder.close()
                continue
            if encoded is None:
                continue
            for sink in receivers:
                if encoded.keyframe:
                    sink.needs_keyframe, sink.keyframe_s = False, now_s
                elif sink.needs_keyframe:
                    continue
                self._pass(encoded, sink)

    def _pass(self, encoded: EncodedFrame, sink: Sink) -> None:
        report = sink.takes_report(self._command_id, self._times, self._owner.clock())
        try:
            sink.send(encoded, report=report)
        except Exception as error:
            self._causes.exception(error, "a viewer's connection")

    def _encode(self, codec: Codec, *, keyframe: bool) -> EncodedFrame | None:
        assert self._picture is not None
        width, height = self._size
        ceiling = self._owner.bits_per_s or default_bitrate(width, height)
        encoder = self._encoders.get(codec)
        if encoder is None:
            fps = min(limits.FPS_MAX, 1 / self._owner.interval_s())
            encoder = open_encoder(codec, width, height, fps=fps, bits_per_s=ceiling)
            self._encoders[codec] = encoder
            keyframe = True
        encoder.set_bitrate(allowed(self._owner.sinks, codec, ceiling))
        began = time.perf_counter()
        encoded = encoder.encode(
            self._picture,
            frame_id=self._times.frame_id,
            pts_us=int(self._owner.clock() * 1e6),
            keyframe=keyframe,
        )
        self.encode_s += time.perf_counter() - began
        self.frames += 1
        self.bytes += len(encoded.data) if encoded is not None else 0
        return encoded

    def close(self) -> None:
        """Close the encoders; the next frame opens them again with a keyframe."""
        for encoder in self._encoders.values():
            encoder.close()
        self._encoders.clear()
        self._picture = None
