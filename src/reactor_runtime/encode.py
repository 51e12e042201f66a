"""Video encoders: one per codec in use, shared by every viewer of a session.

An encoder is used by one thread at a time, the stream's encoder thread.
"""

from __future__ import annotations

from typing import Protocol

from .types import Codec, EncodedFrame, Pixels


class Encoder(Protocol):
    """Turns pictures into one codec's bitstream, without delay: one picture in, one out."""

    @property
    def codec(self) -> Codec: ...

    def encode(
        self, i420: Pixels, *, frame_id: int, rtp_timestamp: int, keyframe: bool = False
    ) -> EncodedFrame | None:
        """Encode one (height*3/2, width) uint8 I420 picture, as cv2 lays it out.

        Returns None when the encoder chose to skip the picture. Raises EncoderFailed.
        """

    def set_bitrate(self, bits_per_s: int) -> None:
        """Aim for this rate from the next picture on."""

    def close(self) -> None: ...
