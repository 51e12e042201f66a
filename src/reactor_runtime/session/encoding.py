"""One rendition of a stream: encoded once per codec, offered to every sink that looks at it. On one thread.

    picture ─▶ encoder of each codec in use ─▶ sink, sink, sink

Nothing here raises: a failing encoder is opened again for the next picture, a failing viewer is left out; both are
logged. A picture that nobody would be sent is not encoded.
"""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

from .. import limits
from ..causes import CauseLog
from ..encode import Encoder, open_encoder
from ..types import Codec, EncodedFrame, Pixels
from .rate import TokenBucket
from .renditions import Rendition, Sent
from .sink import Sink
from .times import PictureTimes

log = logging.getLogger(__name__)

#: What each encoder is to aim for, in bits per second.
Rates: TypeAlias = Mapping[tuple[Codec, Rendition], int]


@dataclass(frozen=True, slots=True)
class Picture:
    """I420, of which frame and when, and the last command that its frame saw."""

    i420: Pixels
    times: PictureTimes
    command_id: int

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        rows, width = self.i420.shape
        return width, rows * 2 // 3


class Encoding:
    """`ceiling` tells for a picture's size what its encoders are opened for."""

    def __init__(
        self,
        rendition: Rendition,
        *,
        ceiling: Callable[[int, int], int],
        interval_s: Callable[[], float],
        clock: Callable[[], float],
    ) -> None:
        self.rendition: Rendition = rendition
        self.rates: Rates = {}
        """Replaced as a whole by the loop."""
        self._ceiling = ceiling
        self._interval_s = interval_s
        self._clock = clock
        self._causes = CauseLog(log.error)
        self._encoders: dict[Codec, Encoder] = {}
        self._sent: dict[Codec, Sent] = {}
        self._keyframes: defaultdict[Codec, TokenBucket] = defaultdict(
            lambda: TokenBucket(limits.KEYFRAMES_PER_S, limits.KEYFRAMES_BURST)
        )
        self._size = (0, 0)
        self._last: Picture | None = None
        self.frames = self.bytes = 0
        self.encode_s = 0.0

    def sent(self, codec: Codec) -> float | None:
        """Return the bits per second that are sent in a codec, None while that means nothing. Any thread."""
        sent, now_s = self._sent.get(codec), self._clock()
        return sent.bits_per_s(now_s) if sent is not None and sent.settled(now_s) else None

    def show(self, picture: Picture, sinks: tuple[Sink, ...]) -> None:
        """Send a picture to everyone. Its memory may be written to again before the next one."""
        if picture.size != self._size:
            self.close()
            self._size = picture.size
        self._last = picture
        looking = self._looking(sinks)
        self._send(picture, looking, self._get_keyframes(looking))

    def refresh(self, sinks: tuple[Sink, ...]) -> None:
        """Send the last picture again to viewers that wait for a keyframe, and drop unused encoders."""
        looking = self._looking(sinks)
        if self._last is not None and (codecs := self._get_keyframes(looking)):
            picture = replace(self._last, times=replace(self._last.times, encoding_s=self._clock()))
            self._send(picture, [sink for sink in looking if sink.codec in codecs], codecs)

    def _looking(self, sinks: tuple[Sink, ...]) -> list[Sink]:
        """Return who looks at this rendition, and drop the encoders that none of them needs."""
        looking = [sink for sink in sinks if sink.looks_at(self.rendition)]
        for codec in self._encoders.keys() - {sink.codec for sink in looking}:
            self._drop(codec)
        return looking

    def _get_keyframes(self, looking: list[Sink]) -> set[Codec]:
        """Return the codecs that some viewer needs a keyframe of, and may have one now."""
        now_s = self._clock()
        wanted = {sink.codec for sink in looking if sink.gets_keyframe(self.rendition, now_s)}
        return {codec for codec in wanted if self._keyframes[codec].take(now_s)}

    def _send(self, picture: Picture, sinks: list[Sink], keyframes: set[Codec]) -> None:
        for codec in dict.fromkeys(sink.codec for sink in sinks):
            receivers = [sink for sink in sinks if sink.codec == codec]
            keyframe = codec in keyframes
            if not keyframe and not any(sink.takes_deltas(self.rendition) for sink in receivers):
                continue
            try:
                encoded = self._encode(picture, codec, keyframe=keyframe)
            except Exception as error:
                self._causes.exception(error, f"the {codec} encoder")
                self._drop(codec)
                continue
            if encoded is not None:
                for sink in receivers:
                    self._offer(encoded, picture, sink)

    def _offer(self, encoded: EncodedFrame, picture: Picture, sink: Sink) -> None:
        try:
            sink.offer(
                encoded,
                self.rendition,
                command_id=picture.command_id,
                times=picture.times,
                now_s=self._clock(),
            )
        except Exception as error:
            self._causes.exception(error, "a viewer's connection")

    def _encode(self, picture: Picture, codec: Codec, *, keyframe: bool) -> EncodedFrame | None:
        encoder = self._encoders.get(codec)
        if encoder is None:
            fps = min(limits.FPS_MAX, 1 / self._interval_s())
            encoder = open_encoder(codec, *self._size, fps=fps, bits_per_s=self._ceiling(*self._size))
            self._encoders[codec], self._sent[codec] = encoder, Sent()
            keyframe = True
        if (rate := self.rates.get((codec, self.rendition))) is not None:
            encoder.set_bitrate(rate)
        began, now_s = time.perf_counter(), self._clock()
        encoded = encoder.encode(
            picture.i420, frame_id=picture.times.frame_id, pts_us=int(now_s * 1e6), keyframe=keyframe
        )
        self.encode_s += time.perf_counter() - began
        self.frames += 1
        if encoded is not None:
            self.bytes += len(encoded.data)
            self._sent[codec].add(len(encoded.data), now_s)
        return encoded

    def _drop(self, codec: Codec) -> None:
        self._sent.pop(codec, None)
        if (encoder := self._encoders.pop(codec, None)) is not None:
            encoder.close()

    def close(self) -> None:
        """Close the encoders; the next picture opens them again with a keyframe."""
        for codec in list(self._encoders):
            self._drop(codec)
        self._last = None
