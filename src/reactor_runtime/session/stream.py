"""When a picture is shown: the frames of one video track, paced, and whoever watches it.

    host ─frame─▶ pacer ─due─▶ fan-out (`fanout.py`) ─▶ every viewer
    any thread    event loop

One per output track, owned by a session and living as long as it. Everything is on the event loop, but `push`.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass

from ..pacing import Pacer
from ..types import Demand, EmittedFrame, Pixels
from .fanout import EncoderThreads, FanOutFactory
from .sink import KEYFRAME_GAP_S, Sink


@dataclass(frozen=True, slots=True)
class StreamCounters:
    """Totals of one stream.

    `skipped`: overtaken before due; `dropped`: overtaken waiting for the encoder; `discarded`: by the model's wish.
    What begins with `low` is of the low rendition, see `renditions`; the rest is of the full one.
    """

    received: int = 0
    shown: int = 0
    skipped: int = 0
    dropped: int = 0
    discarded: int = 0
    encoded: int = 0
    bytes: int = 0
    convert_s: float = 0.0
    encode_s: float = 0.0
    low_dropped: int = 0
    low_encoded: int = 0
    low_bytes: int = 0
    low_encode_s: float = 0.0

    def plus(self, other: StreamCounters) -> StreamCounters:
        return StreamCounters(*(getattr(self, name) + getattr(other, name) for name in self.__slots__))


class VideoStream:
    """Paces one output track. Made, used and closed on the event loop."""

    def __init__(
        self,
        track: str,
        *,
        fps: float | None,
        bits_per_s: int | None,
        on_demand: Callable[[Demand], None],
        on_frame: Callable[[EmittedFrame], None] = lambda frame: None,
        on_picture: Callable[[Pixels, float], None] | None = None,
        clock: Callable[[], float],
        fan_out: FanOutFactory = EncoderThreads,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        self._pacer: Pacer[EmittedFrame] = Pacer(fps=fps, track=track)
        self._clock = clock
        self._on_demand = on_demand
        self._on_frame = on_frame
        self._timer: asyncio.TimerHandle | None = None
        self._keyframe_timer: asyncio.TimerHandle | None = None
        self._idle = asyncio.Event()
        self._idle.set()
        self._closed = False
        self._received = self._shown = self._discarded = 0
        self._fan_out = fan_out(
            bits_per_s=bits_per_s,
            interval_s=lambda: self.interval_s,
            on_picture=on_picture,
            clock=clock,
        )

    def push(self, frame: EmittedFrame) -> None:
        """Take a frame from the host. Any thread; on the loop's own it takes effect at once."""
        if threading.get_ident() == self._loop_thread:
            self._arrived(frame)
            return
        try:
            self._loop.call_soon_threadsafe(self._arrived, frame)
        except RuntimeError:  # the loop is closed: nobody is left to show it to
            frame.release()

    def discard(self) -> None:
        """Drop every frame that has come and is not on its way through the encoder; ask for the next one."""
        if self._closed:
            return
        queued = self._pacer.clear()
        if (waiting := self._fan_out.take_back()) is not None:
            self._shown -= 1
            queued.append(waiting)
        self._discarded += len(queued)
        for frame in queued:
            frame.release()
        self._report_demand()
        self._show_due()

    def want(self) -> None:
        """Say again when the next frame is wanted."""
        self._report_demand()

    def add(self, sink: Sink) -> None:
        """Begin to send to a viewer; its first picture is a keyframe, at once."""
        if sink in self._fan_out.sinks:
            return
        sink.needs_keyframe = True
        self._fan_out.sinks = (*self._fan_out.sinks, sink)
        self.want_keyframe(sink)
        self._report_demand()
        self._show_due()

    def remove(self, sink: Sink) -> None:
        """Stop sending to a viewer. Unknown sinks are ignored."""
        if sink in self._fan_out.sinks:
            self._fan_out.sinks = tuple(other for other in self._fan_out.sinks if other is not sink)
            self._fan_out.refresh()
            self._report_demand()
            self._show_due()

    def want_keyframe(self, sink: Sink) -> None:
        """A viewer has no picture: its next frame is a keyframe, from the last picture if need be.

        There are not as many keyframes as wishes, so where no further frame comes it is asked again.
        """
        sink.needs_keyframe = True
        left_s = sink.keyframe_s + KEYFRAME_GAP_S - self._clock()
        if left_s <= 0:
            self._fan_out.refresh()
        if self._keyframe_timer is None and self._shown and not self._closed:
            again_s = left_s if left_s > 0 else KEYFRAME_GAP_S
            self._keyframe_timer = self._loop.call_later(again_s, self._keyframe_due)

    def _keyframe_due(self) -> None:
        self._keyframe_timer = None
        for sink in self._fan_out.sinks:
            if sink.needs_keyframe:
                self.want_keyframe(sink)

    def limit(self, sink: Sink, bits_per_s: int) -> None:
        """A viewer's line takes so much."""
        sink.standing.limit = bits_per_s
        self._fan_out.line_changed()

    @property
    def on_low(self) -> int:
        """How many viewers are sent the low rendition."""
        return sum(sink.on == "low" for sink in self._fan_out.sinks)

    @property
    def watched(self) -> bool:
        return bool(self._fan_out.sinks)

    async def played_out(self) -> None:
        """Wait until every frame that was emitted has been shown; while nobody watches, none is.

        Returns as well when the stream is closed.
        """
        await self._idle.wait()
        await self._fan_out.settle()

    @property
    def interval_s(self) -> float:
        return self._pacer.interval_s

    def counters(self) -> StreamCounters:
        sent = self._fan_out.counters()
        return StreamCounters(
            received=self._received,
            shown=self._shown,
            skipped=self._pacer.skipped,
            dropped=sent.dropped,
            discarded=self._discarded,
            encoded=sent.encoded,
            bytes=sent.bytes,
            convert_s=sent.convert_s,
            encode_s=sent.encode_s,
            low_dropped=sent.low_dropped,
            low_encoded=sent.low_encoded,
            low_bytes=sent.low_bytes,
            low_encode_s=sent.low_encode_s,
        )

    async def close(self) -> None:
        """Release every frame and end the fan-out. May be called twice."""
        if self._closed:
            return
        self._closed = True
        for timer in (self._timer, self._keyframe_timer):
            if timer is not None:
                timer.cancel()
        for frame in self._pacer.clear():
            frame.release()
        self._idle.set()
        await self._fan_out.close()

    def _arrived(self, frame: EmittedFrame) -> None:
        if self._closed:
            frame.release()
            return
        self._received += 1
        self._on_frame(frame)
        self._pacer.push(frame, frame_id=frame.frame_id, busy_s=frame.busy_s, now_s=self._clock())
        self._show_due()

    def _show_due(self) -> None:
        """Show what is due and set the timer for what is not. While nobody watches, frames stay queued."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._closed:
            return
        if not self._fan_out.sinks:
            self._mark_idle()
            return
        popped = self._pacer.pop(self._clock())
        if popped is not None:
            frame, overtaken = popped
            for late in overtaken:
                late.release()
            self._shown += 1
            self._fan_out.show(frame)
            self._report_demand()
        due_s = self._pacer.due_s()
        if due_s is not None:
            self._timer = self._loop.call_later(due_s - self._clock(), self._show_due)
        self._mark_idle()

    def _mark_idle(self) -> None:
        if len(self._pacer):
            self._idle.clear()
        else:
            self._idle.set()

    def _report_demand(self) -> None:
        if not self._closed:
            self._on_demand(self._pacer.demand(watched=self.watched))
