"""The way of a frame through the server: paced, encoded once per codec, fanned out to every viewer.

    host ─frame─▶ pacer ─due─▶ slot ─▶ encoder thread ─▶ sink, sink, sink
    any thread    event loop   1 frame  RGB → I420 → bitstream   one per viewer

Owned by a session and living as long as it. The loop owns the pacer and the list of sinks; the encoder
thread owns the encoders and the last picture. They meet in a slot for one frame: the newest wins, a frame
that was overtaken there is counted in `dropped`.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from .. import limits
from ..causes import CauseLog
from ..encode import Encoder, open_encoder, to_i420
from ..pacing import Pacer
from ..types import Codec, Demand, EmittedFrame, EncodedFrame, Pixels

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
    """Report the first frame that saw this command or a later one; None for no report."""
    reported: dict[int, int] = field(default_factory=dict)
    """Frame id → command id of the frames whose sending was reported and not yet taken."""
    needs_keyframe: bool = True
    keyframe_s: float = 0.0
    """When its last keyframe was sent, monotonic seconds."""
    frames: int = 0

    def gets_keyframe(self, now_s: float) -> bool:
        return self.needs_keyframe and now_s - self.keyframe_s >= KEYFRAME_GAP_S


@dataclass(frozen=True, slots=True)
class StreamCounters:
    """Totals of one stream. `skipped`: overtaken before due; `dropped`: overtaken waiting for the encoder."""

    received: int = 0
    shown: int = 0
    skipped: int = 0
    dropped: int = 0
    encoded: int = 0
    bytes: int = 0
    convert_s: float = 0.0
    encode_s: float = 0.0


@dataclass(slots=True)
class _Work:
    """What the encoder thread is to do next; guarded by the stream's condition."""

    frame: EmittedFrame | None = None
    refresh: bool = False
    busy: bool = False
    closed: bool = False


class VideoStream:
    """Paces, encodes and fans out one outbound video track. Made, used and closed on the event loop."""

    def __init__(
        self,
        *,
        fps: float | None,
        bits_per_s: int | None,
        on_demand: Callable[[Demand], None],
        on_picture: Callable[[Pixels, float], None] | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        self._pacer: Pacer[EmittedFrame] = Pacer(fps=fps)
        self._bits_per_s = bits_per_s
        self._on_demand = on_demand
        self.on_picture = on_picture
        """Told every picture that is shown, in I420, and when. On the encoder thread; the memory is reused."""
        self._timer: asyncio.TimerHandle | None = None
        self._keyframe_timer: asyncio.TimerHandle | None = None
        self._idle = asyncio.Event()
        self._idle.set()
        self._sinks: tuple[Sink, ...] = ()
        self._closed = False
        self._received = self._shown = self._dropped = 0
        self._work = _Work()
        self._wake = threading.Condition()
        self._encoding = _Encoding(self)
        self._thread = threading.Thread(target=self._encode_loop, name="reactor-encoder", daemon=True)
        self._thread.start()

    # The loop's side ----------------------------------------------------------------------------------

    def push(self, frame: EmittedFrame) -> None:
        """Take a frame from the host. Any thread; on the loop's own it takes effect at once."""
        if threading.get_ident() == self._loop_thread:
            self._arrived(frame)
            return
        try:
            self._loop.call_soon_threadsafe(self._arrived, frame)
        except RuntimeError:  # the loop is closed: nobody is left to show it to
            frame.release()

    def add(self, sink: Sink) -> None:
        """Begin to send to a viewer; its first picture is a keyframe, at once."""
        if sink in self._sinks:
            return
        sink.needs_keyframe = True
        self._sinks = (*self._sinks, sink)
        self._refresh()
        self._report_demand()
        self._show_due()

    def remove(self, sink: Sink) -> None:
        """Stop sending to a viewer. Unknown sinks are ignored."""
        if sink in self._sinks:
            self._sinks = tuple(other for other in self._sinks if other is not sink)
            self._refresh()
            self._report_demand()
            self._show_due()

    def want_keyframe(self, sink: Sink) -> None:
        """A viewer lost the picture: its next frame is a keyframe, from the last picture if need be."""
        sink.needs_keyframe = True
        left_s = sink.keyframe_s + KEYFRAME_GAP_S - time.monotonic()
        if left_s <= 0:
            self._refresh()
        elif self._keyframe_timer is None and not self._closed:
            self._keyframe_timer = self._loop.call_later(left_s, self._keyframe_due)

    def _keyframe_due(self) -> None:
        self._keyframe_timer = None
        for sink in self._sinks:
            if sink.needs_keyframe:
                self.want_keyframe(sink)

    @property
    def watched(self) -> bool:
        return bool(self._sinks)

    async def played_out(self) -> None:
        """Wait until every frame that was emitted has been shown; while nobody watches, none is.

        Returns as well when the stream is closed.
        """
        await self._idle.wait()
        await asyncio.to_thread(self._await_encoder)

    def _await_encoder(self) -> None:
        with self._wake:
            self._wake.wait_for(
                lambda: self._work.closed or (self._work.frame is None and not self._work.busy), timeout=1.0
            )

    @property
    def interval_s(self) -> float:
        return self._pacer.interval_s

    def counters(self) -> StreamCounters:
        encoding = self._encoding
        return StreamCounters(
            received=self._received,
            shown=self._shown,
            skipped=self._pacer.skipped,
            dropped=self._dropped,
            encoded=encoding.frames,
            bytes=encoding.bytes,
            convert_s=encoding.convert_s,
            encode_s=encoding.encode_s,
        )

    async def close(self) -> None:
        """Release every frame and end the encoder thread. May be called twice."""
        if self._closed:
            return
        self._closed = True
        for timer in (self._timer, self._keyframe_timer):
            if timer is not None:
                timer.cancel()
        self._sinks = ()
        for frame in self._pacer.clear():
            frame.release()
        self._idle.set()
        with self._wake:
            self._work.closed = True
            self._wake.notify_all()
        await asyncio.to_thread(self._thread.join)

    def _arrived(self, frame: EmittedFrame) -> None:
        if self._closed:
            frame.release()
            return
        self._received += 1
        self._pacer.push(frame, frame_id=frame.frame_id, busy_s=frame.busy_s, now_s=time.monotonic())
        self._show_due()

    def _show_due(self) -> None:
        """Show what is due and set the timer for what is not. While nobody watches, frames stay queued."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._closed:
            return
        if not self._sinks:
            self._mark_idle()
            return
        popped = self._pacer.pop(time.monotonic())
        if popped is not None:
            frame, overtaken = popped
            for late in overtaken:
                late.release()
            self._shown += 1
            self._hand_over(frame)
            self._report_demand()
        due_s = self._pacer.due_s()
        if due_s is not None:
            # The loop's clock is time.monotonic, as the pacer's.
            self._timer = self._loop.call_at(due_s, self._show_due)
        self._mark_idle()

    def _mark_idle(self) -> None:
        if len(self._pacer):
            self._idle.clear()
        else:
            self._idle.set()

    def _report_demand(self) -> None:
        if not self._closed:
            self._on_demand(self._pacer.demand(watched=self.watched))

    def _hand_over(self, frame: EmittedFrame) -> None:
        with self._wake:
            overtaken, self._work.frame = self._work.frame, frame
            self._wake.notify_all()
        if overtaken is not None:
            self._dropped += 1
            overtaken.release()

    def _refresh(self) -> None:
        with self._wake:
            self._work.refresh = True
            self._wake.notify_all()

    # The encoder thread's side ------------------------------------------------------------------------

    @property
    def sinks(self) -> tuple[Sink, ...]:
        return self._sinks

    def ceiling(self, width: int, height: int) -> int:
        """Return the bits per second that a good network gets."""
        return self._bits_per_s or default_bitrate(width, height)

    def allowed(self, ceiling: int, codec: Codec) -> int:
        """Return what a codec's encoder is to aim for: the ceiling, or what its poorest viewer takes."""
        limited = [sink.bitrate_limit or ceiling for sink in self._sinks if sink.codec == codec]
        able = [rate for rate in limited if rate >= BITRATE_FLOOR]
        if limited and not able:
            return BITRATE_FLOOR
        return max(BITRATE_FLOOR, min([ceiling, *able]))

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

    def __init__(self, stream: VideoStream) -> None:
        self._stream = stream
        self._causes = CauseLog(log.error)
        self._encoders: dict[Codec, Encoder] = {}
        self._size = (0, 0)
        self._picture: Pixels | None = None
        self._frame_id = 0
        self._command_id = 0
        self.frames = self.bytes = 0
        self.convert_s = self.encode_s = 0.0

    def show(self, frame: EmittedFrame) -> None:
        """Convert a frame, give its memory back at once, and send it to every viewer."""
        shown_s, began = time.monotonic(), time.perf_counter()
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
        self._frame_id, self._command_id = frame.frame_id, frame.command_id
        self._send(self._stream.sinks)
        if self._stream.on_picture is not None:
            self._stream.on_picture(self._picture, shown_s)

    def refresh(self) -> None:
        """Send the last picture again to viewers that wait for a keyframe, and drop unused encoders."""
        for codec in set(self._encoders) - {sink.codec for sink in self._stream.sinks}:
            self._encoders.pop(codec).close()
        now_s = time.monotonic()
        codecs = {sink.codec for sink in self._stream.sinks if sink.gets_keyframe(now_s)}
        if self._picture is not None and codecs:
            self._send(tuple(sink for sink in self._stream.sinks if sink.codec in codecs))

    def _send(self, sinks: tuple[Sink, ...]) -> None:
        now_s = time.monotonic()
        for codec in dict.fromkeys(sink.codec for sink in sinks):
            receivers = [sink for sink in sinks if sink.codec == codec]
            try:
                encoded = self._encode(codec, keyframe=any(sink.gets_keyframe(now_s) for sink in receivers))
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
        report = sink.report_from is not None and self._command_id >= sink.report_from
        if report:
            sink.report_from = None
            sink.reported[encoded.frame_id] = self._command_id
        sink.frames += 1
        try:
            sink.send(encoded, report=report)
        except Exception as error:
            self._causes.exception(error, "a viewer's connection")

    def _encode(self, codec: Codec, *, keyframe: bool) -> EncodedFrame | None:
        assert self._picture is not None
        width, height = self._size
        ceiling = self._stream.ceiling(width, height)
        encoder = self._encoders.get(codec)
        if encoder is None:
            fps = min(limits.FPS_MAX, 1 / self._stream.interval_s)
            encoder = open_encoder(codec, width, height, fps=fps, bits_per_s=ceiling)
            self._encoders[codec] = encoder
            keyframe = True
        encoder.set_bitrate(self._stream.allowed(ceiling, codec))
        began = time.perf_counter()
        encoded = encoder.encode(
            self._picture,
            frame_id=self._frame_id,
            pts_us=time.monotonic_ns() // 1000,
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
