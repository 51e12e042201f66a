"""VP8 through libvpx: what every client decodes, for those whose offer lacks H.264."""

from __future__ import annotations

from av.video.codeccontext import VideoCodecContext

from .bitstream import BitstreamEncoder, new_context
from .h264 import BUFFER_PICTURES, KEYFRAME_DISTANCE

#: libavcodec hands libvpx its rate only once, so another rate costs a keyframe. Not worth it within these.
ADAPTS = (0.75, 1.3)
#: A keyframe takes at most this many per cent of one picture's share of the rate.
KEYFRAME_MAX_PERCENT = 400


def open_vp8(width: int, height: int, *, fps: float, bits_per_s: int) -> BitstreamEncoder:
    return BitstreamEncoder(
        "vp8",
        lambda rate: _libvpx(width, height, fps, rate),
        bits_per_s,
        adapts=ADAPTS,
    )


def _libvpx(width: int, height: int, fps: float, bits_per_s: int) -> VideoCodecContext:
    context = new_context("libvpx", width, height, fps, bits_per_s)
    context.options = {
        "deadline": "realtime",
        "cpu-used": "8",
        "lag-in-frames": "0",
        "auto-alt-ref": "0",
        "g": str(KEYFRAME_DISTANCE),
        "minrate": str(bits_per_s),
        "maxrate": str(bits_per_s),
        "bufsize": str(int(bits_per_s * BUFFER_PICTURES / fps)),
        "max-intra-rate": str(KEYFRAME_MAX_PERCENT),
    }
    context.open()
    return context
