"""Video encoders: one per codec in use, shared by every viewer of a session.

Imports no other folder; is imported by `websocket`, `recording`, `session` and `headless`.

    RGB ─to_i420()─▶ I420 ─Encoder.encode()─▶ EncodedFrame ─▶ any number of peers

    colour.py    RGB to I420, and to half of it
    bitstream.py one libavcodec encoder: one picture in, one out, without delay
    h264.py      how x264 and NVENC are set up        vp8.py   how libvpx is
    recorded.py  H.264 for recordings, apart from the others
    decode.py    the other way, for what a client sends without an engine that decodes

An encoder is used by one thread at a time, the stream's encoder thread. It is set up for one size, one
codec and about one frame rate; when the size changes, close it and open another.
"""

from __future__ import annotations

from typing import Protocol

from ..types import Codec, EncodedFrame, Pixels
from .colour import even, halved, to_i420

__all__ = ["Encoder", "even", "halved", "open_encoder", "to_i420"]


class Encoder(Protocol):
    """Turns pictures into one codec's bitstream, without delay: one picture in, one out."""

    @property
    def codec(self) -> Codec: ...

    def encode(
        self, i420: Pixels, *, frame_id: int, pts_us: int, keyframe: bool = False
    ) -> EncodedFrame | None:
        """Encode one (height*3/2, width) uint8 I420 picture, as cv2 lays it out.

        Returns None when the encoder chose to skip the picture. Raises EncoderFailed.
        """

    def set_bitrate(self, bits_per_s: int) -> None:
        """Aim for this rate from the next picture on."""

    def close(self) -> None: ...


def open_encoder(codec: Codec, width: int, height: int, *, fps: float, bits_per_s: int) -> Encoder:
    """Open an encoder for pictures of this size. Odd sides are rounded up, as `to_i420` pads them.

    `bits_per_s` is best the highest rate that will be wanted: going lower is free, going beyond it costs a
    keyframe. H.264 comes from NVENC where this machine has it, else from x264. The rate control counts on about
    `fps` pictures a second. Raises EncoderFailed.
    """
    from . import h264, vp8

    opened = h264.open_h264 if codec == "h264" else vp8.open_vp8
    return opened(even(width), even(height), fps=fps, bits_per_s=bits_per_s)
