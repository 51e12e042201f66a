"""H.264: x264, or NVENC where the machine has it. Constrained baseline, Annex B, no B-frames.

Every keyframe carries SPS and PPS, because a viewer may join at any of them. The level in the SPS follows
from the size; what the SDP says (42e01f, level 3.1, asymmetry allowed) binds no browser's decoder.
"""

from __future__ import annotations

from functools import cache

import av
from av.video.codeccontext import VideoCodecContext

from .bitstream import BitstreamEncoder, new_context

#: A keyframe comes when a viewer asks. This distance is only a safety net.
KEYFRAME_DISTANCE = 9000
#: Pictures' worth of bits that the rate buffer holds. A keyframe cannot be larger, so it leaves the pacer
#: (which sends at 2.5 times the rate) within two picture intervals.
BUFFER_PICTURES = 4
#: Rates that are not worth a keyframe: a network's own ups and downs stay within.
ADAPTS = (0.6, 1.25)


def open_h264(width: int, height: int, *, fps: float, bits_per_s: int) -> BitstreamEncoder:
    open_context = _nvenc if has_nvenc() else _x264
    # The wrappers hand a changed `bit_rate` to the running encoder, but not the buffer that bounds a picture. Measured
    # for x264 at 640x480, from 2 to 0.4 Mbit/s: 36 kB too much in the next quarter of a second, which is 0.6 s of
    # such a line; opened again, a keyframe of 5 kB, and the next pictures are small at once.
    return BitstreamEncoder(
        "h264",
        lambda rate: open_context(width, height, fps, rate),
        bits_per_s,
        adapts=ADAPTS,
    )


def _x264(width: int, height: int, fps: float, bits_per_s: int) -> VideoCodecContext:
    context = new_context("libx264", width, height, fps, bits_per_s)
    context.options = {
        "preset": "ultrafast",
        "tune": "zerolatency",
        "profile": "baseline",
        "g": str(KEYFRAME_DISTANCE),
        "bf": "0",
        "forced_idr": "1",
        "maxrate": str(bits_per_s),
        "bufsize": str(int(bits_per_s * BUFFER_PICTURES / fps)),
        # smpte170m is the BT.601 matrix of `to_i420`, said so that no player has to guess from the size.
        "x264-params": "scenecut=0:repeat-headers=1:annexb=1:colormatrix=smpte170m",
    }
    context.open()
    return context


def _nvenc(width: int, height: int, fps: float, bits_per_s: int) -> VideoCodecContext:
    context = new_context("h264_nvenc", width, height, fps, bits_per_s)
    context.options = {
        "preset": "p1",
        "tune": "ull",
        "profile": "baseline",
        "rc": "cbr",
        "g": str(KEYFRAME_DISTANCE),
        "bf": "0",
        "zerolatency": "1",
        "delay": "0",
        "forced-idr": "1",
        "maxrate": str(bits_per_s),
        "bufsize": str(int(bits_per_s * BUFFER_PICTURES / fps)),
    }
    context.open()
    return context


@cache
def has_nvenc() -> bool:
    """Try the hardware once: drivers, devices and session limits can only be found out by opening it.

    Data-centre cards such as A100 and H100 have no video encoder at all. Never run on a card that has one.
    """
    try:
        _nvenc(640, 480, 30, 1_000_000)
    except (av.FFmpegError, ValueError):
        return False
    return True
