"""To whom a picture goes: in which rendition, encoded once per codec of it, passed to every viewer on it.

    stream ─due frame─▶ place ─▶ encoder thread ─▶ sink, sink, sink              full
    event loop         1 frame  RGB → I420 → bitstream   one per viewer
                                   │ half of it, while somebody needs it
                                   ▼
                                 place ─▶ its own thread ─▶ sink, sink           low
                               1 picture

Owned by a `VideoStream`, which decides when. Who is on which rendition is chosen on the loop (`renditions.py`) before a
frame is shown; a thread owns its rendition's encoders and last picture (`encoding.py`). In a place the newest wins; a
frame that was overtaken there is counted in `dropped`, a picture in `low_dropped`.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from ..causes import CauseLog
from ..encode import halved, to_i420
from ..niceness import give_way
from ..types import Codec, EmittedFrame, Pixels
from .encoding import Encoding, Picture
from .place import Place
from .renditions import LOW_SHARE, RENDITIONS, Rendition, choose
from .sink import Sink
from .times import PictureTimes

log = logging.getLogger(__name__)

#: Lines are judged this often, and whenever one of them changes.
CHOOSE_S = 0.1


def default_bitrate(width: int, height: int) -> int:
    """Return bits per second for a picture size: 2 Mbit/s at 640x480, growing slower than its pixels."""
    return int(2_000_000 * (width * height / (640 * 480)) ** 0.75)


@dataclass(frozen=True, slots=True)
class FanOutCounters:
    """Totals of one fan-out. `dropped`: frames that were overtaken while they waited for the encoder.

    Those of the low rendition apart; `convert_s` has its scaling too.
    """

    dropped: int = 0
    encoded: int = 0
    bytes: int = 0
    convert_s: float = 0.0
    encode_s: float = 0.0
    low_dropped: int = 0
    low_encoded: int = 0
    low_bytes: int = 0
    low_encode_s: float = 0.0


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

    def line_changed(self) -> None:
        """What a sink's line takes has changed: judge it before the next frame."""

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


class EncoderThreads:
    """Encodes and sends on threads of its own: one, and another from the first time that somebody needs it."""

    def __init__(
        self,
        *,
        bits_per_s: int | None,
        interval_s: Callable[[], float],
        on_picture: Callable[[Pixels, float], None] | None,
        clock: Callable[[], float],
    ) -> None:
        self.sinks: tuple[Sink, ...] = ()
        self._bits_per_s = bits_per_s
        self._on_picture = on_picture
        self._clock = clock
        self._causes = CauseLog(log.error)
        self._i420: Pixels | None = None
        self._convert_s = 0.0
        self._chosen_s = -CHOOSE_S
        self._changed = True
        self._low_needed = False
        self._frames: Place[EmittedFrame] = Place()
        self._pictures: Place[Picture] = Place()

        def low_ceiling(width: int, height: int) -> int:
            # The low rendition's own size says nothing of what the model's author allows.
            return int((bits_per_s or default_bitrate(2 * width, 2 * height)) * LOW_SHARE)

        self._full = Encoding("full", ceiling=self._ceiling, interval_s=interval_s, clock=clock)
        self._low = Encoding("low", ceiling=low_ceiling, interval_s=interval_s, clock=clock)
        self._threads = [self._start("reactor-encoder", self._encode_full)]

    @staticmethod
    def _start(name: str, run: Callable[[], None]) -> threading.Thread:
        thread = threading.Thread(target=run, name=name, daemon=True)
        thread.start()
        return thread

    # On the loop --------------------------------------------------------------------------------------

    def show(self, frame: EmittedFrame) -> None:
        height, width = frame.pixels.shape[:2]
        self._choose(self._ceiling(width, height))
        overtaken = self._frames.put(frame)
        if overtaken is not None:
            overtaken.release()

    def take_back(self) -> EmittedFrame | None:
        return self._frames.take_back()

    def refresh(self) -> None:
        self._changed = True
        self._frames.refresh()
        self._pictures.refresh()

    def line_changed(self) -> None:
        self._changed = True

    def _choose(self, ceiling: int) -> None:
        now_s = self._clock()
        if not self._changed and now_s - self._chosen_s < CHOOSE_S:
            return
        self._changed, self._chosen_s = False, now_s
        rates: dict[tuple[Codec, Rendition], int] = {}
        for codec in dict.fromkeys(sink.codec for sink in self.sinks):
            sent = {"full": self._full.sent(codec), "low": self._low.sent(codec)}
            chosen = choose(
                [sink.standing for sink in self.sinks if sink.codec == codec],
                ceiling=ceiling,
                sent={rendition: rate for rendition in RENDITIONS if (rate := sent[rendition]) is not None},
                now_s=now_s,
            )
            rates |= {(codec, rendition): rate for rendition, rate in chosen.items()}
        self._full.rates = self._low.rates = rates
        needed = any(sink.looks_at("low") for sink in self.sinks)
        if needed and len(self._threads) == 1:
            self._threads.append(self._start("reactor-encoder-low", self._encode_low))
        if self._low_needed and not needed:
            self._pictures.refresh()
        self._low_needed = needed
        for sink in self.sinks:
            if sink.standing.too_slow:
                sink.give_up()

    def _ceiling(self, width: int, height: int) -> int:
        return self._bits_per_s or default_bitrate(width, height)

    async def settle(self) -> None:
        await asyncio.to_thread(self._await_encoders)

    def _await_encoders(self) -> None:
        began_s = time.monotonic()
        self._frames.wait_empty(1.0)
        self._pictures.wait_empty(began_s + 1.0 - time.monotonic())

    def counters(self) -> FanOutCounters:
        return FanOutCounters(
            dropped=self._frames.overtaken,
            encoded=self._full.frames,
            bytes=self._full.bytes,
            convert_s=self._convert_s,
            encode_s=self._full.encode_s,
            low_dropped=self._pictures.overtaken,
            low_encoded=self._low.frames,
            low_bytes=self._low.bytes,
            low_encode_s=self._low.encode_s,
        )

    async def close(self) -> None:
        self.sinks = ()
        self._frames.close()
        self._pictures.close()
        for thread in self._threads:
            await asyncio.to_thread(thread.join)

    # On the threads -----------------------------------------------------------------------------------

    def _encode_full(self) -> None:
        while True:
            taken = self._frames.take()
            if taken.closed:
                if taken.item is not None:
                    taken.item.release()
                self._full.close()
                return
            if taken.item is not None:
                self._show(taken.item)
                self._frames.done()
            else:
                self._full.refresh(self.sinks)

    def _show(self, frame: EmittedFrame) -> None:
        """Convert a frame, give its memory back at once, and send it to every viewer."""
        shown_s, began = self._clock(), time.perf_counter()
        try:
            self._i420 = to_i420(frame.pixels, self._i420)
        except Exception as error:
            self._causes.exception(error, "the colour conversion")
            return
        finally:
            frame.release()
        self._convert_s += time.perf_counter() - began
        times = PictureTimes(frame.frame_id, frame.emitted_s - frame.busy_s, frame.emitted_s, shown_s)
        picture = Picture(self._i420, times, frame.command_id)
        self._full.show(picture, self.sinks)
        if self._low_needed:
            began = time.perf_counter()
            self._pictures.put(Picture(halved(self._i420), times, frame.command_id))
            self._convert_s += time.perf_counter() - began
        if self._on_picture is not None:
            self._on_picture(self._i420, shown_s)

    def _encode_low(self) -> None:
        give_way()
        while True:
            taken = self._pictures.take()
            if taken.closed:
                self._low.close()
                return
            if taken.item is not None:
                self._low.show(taken.item, self.sinks)
                self._pictures.done()
            else:
                self._low.refresh(self.sinks)
