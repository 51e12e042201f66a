"""One client's bitstream to RGB: pictures that come without an engine that would decode them."""

from __future__ import annotations

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext

from .. import limits
from ..errors import EncoderFailed
from ..types import Codec, Pixels


class Decoder:
    """Decodes one picture at a time, without delay. Used by one thread at a time."""

    def __init__(self, codec: Codec) -> None:
        self.codec: Codec = codec
        context = VideoCodecContext.create("h264" if codec == "h264" else "vp8", "r")
        assert isinstance(context, VideoCodecContext)
        # Told from the header of the bitstream, before memory is taken for a picture.
        context.options = {"flags": "low_delay", "max_pixels": str(limits.INPUT_MAX_PIXELS)}
        context.thread_count = 1
        self._context = context

    def decode(self, data: bytes) -> list[Pixels]:
        """Return the pictures of this piece: one as a rule. Raises EncoderFailed for what cannot be decoded."""
        try:
            frames = self._context.decode(av.Packet(data))
            return [np.asarray(frame.to_ndarray(format="rgb24"), np.uint8) for frame in frames]
        except (av.FFmpegError, ValueError) as error:
            raise EncoderFailed(f"a client's {self.codec} cannot be decoded: {error}") from error
