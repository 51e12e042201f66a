"""One libavcodec encoder, driven so that every picture comes out before the next goes in.

Codecs differ only in how the context is set up, and in whether a new rate reaches a running encoder; the
modules beside this one say that. The caller's I420 array is wrapped, and copied only where
it must be: the encoders read it before `encode` returns.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import av
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType, VideoFrame

from ..errors import EncoderFailed
from ..types import Codec, EncodedFrame, Pixels

CLOCK_HZ = 90_000

#: Opens a context for a rate in bits per second.
Opener = Callable[[int], VideoCodecContext]


def new_context(name: str, width: int, height: int, fps: float, bits_per_s: int) -> VideoCodecContext:
    """Make an unopened context of this libavcodec encoder. Raises if the library lacks it."""
    context = VideoCodecContext.create(name, "w")
    assert isinstance(context, VideoCodecContext)
    context.width, context.height, context.pix_fmt = width, height, "yuv420p"
    context.framerate = Fraction(fps).limit_denominator(1001)
    context.time_base = Fraction(1, CLOCK_HZ)
    context.bit_rate = bits_per_s
    context.thread_count = 1
    return context


def frame_of(i420: Pixels) -> VideoFrame:
    """Wrap an I420 picture for an encoder.

    PyAV (18.1) takes a buffer whose height 4 does not divide for one of two rows less, and finds its chroma two rows
    too early; such a picture is copied.
    """
    if i420.shape[0] * 2 // 3 % 4:
        return VideoFrame.from_ndarray(i420, format="yuv420p")
    return VideoFrame.from_numpy_buffer(i420, format="yuv420p")


class BitstreamEncoder:
    """An Encoder over a libavcodec context.

    `adapts` is the range of rates, as a share of the rate it was opened with, that the running context
    follows (or that are not worth a keyframe); it never goes above the rate it was opened with. A rate outside
    re-opens the context, and the next picture is a keyframe.
    """

    def __init__(self, codec: Codec, opener: Opener, bits_per_s: int, *, adapts: tuple[float, float]) -> None:
        self._codec: Codec = codec
        self._opener = opener
        self._adapts = adapts
        self._opened_with = bits_per_s
        self._context: VideoCodecContext | None = self._open(bits_per_s)
        self._began_us: int | None = None
        self._pts = -1

    @property
    def codec(self) -> Codec:
        return self._codec

    def encode(
        self, i420: Pixels, *, frame_id: int, pts_us: int, keyframe: bool = False
    ) -> EncodedFrame | None:
        context = self._context
        if context is None:
            raise EncoderFailed("the encoder is closed")
        if i420.shape != (context.height * 3 // 2, context.width):
            raise EncoderFailed(f"opened for {context.width}x{context.height}, got planes {i420.shape}")
        if self._began_us is None:
            self._began_us = pts_us
        # An encoder's own clock must never stand still or run backwards.
        self._pts = max(self._pts + 1, (pts_us - self._began_us) * CLOCK_HZ // 1_000_000)
        try:
            picture = frame_of(i420)
            picture.pts = self._pts
            picture.time_base = context.time_base
            picture.pict_type = PictureType.I if keyframe else PictureType.NONE
            packets = context.encode(picture)
        except (av.FFmpegError, ValueError) as error:
            raise EncoderFailed(f"{context.name} failed on a picture: {error}") from error
        if not packets:
            return None
        packet = packets[0]
        return EncodedFrame(
            data=bytes(packet),
            codec=self._codec,
            keyframe=packet.is_keyframe,
            width=context.width,
            height=context.height,
            frame_id=frame_id,
            pts_us=pts_us,
        )

    def set_bitrate(self, bits_per_s: int) -> None:
        if self._context is None:
            return
        low, high = self._adapts
        if low <= bits_per_s / self._opened_with <= high:
            self._context.bit_rate = min(bits_per_s, self._opened_with)
        else:
            self._context = self._open(bits_per_s)
            self._opened_with = bits_per_s

    def close(self) -> None:
        self._context = None

    def _open(self, bits_per_s: int) -> VideoCodecContext:
        try:
            return self._opener(bits_per_s)
        except (av.FFmpegError, ValueError) as error:
            raise EncoderFailed(f"the {self._codec} encoder could not be opened: {error}") from error
