"""The bare encoder in this very run: CPU per picture and PSNR at the bitrate, no server, no network."""

from __future__ import annotations

import importlib
import sys
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from reactor_runtime.encode import open_encoder, to_i420
from reactor_runtime.session.fanout import default_bitrate
from reactor_runtime.types import Codec, Pixels

TESTCARD = Path(__file__).parents[1] / "examples" / "testcard"


def pictures(width: int, height: int, count: int) -> list[Pixels]:
    """Draw the test card's own pictures, stamp included."""
    sys.path.insert(0, str(TESTCARD))
    model: Any = importlib.import_module("model").TestCard(
        width=width, height=height, stamp=True, camera=False
    )
    return [np.ascontiguousarray(model._next()) for _ in range(count)]


def measure(codec: Codec, width: int, height: int, fps: int, *, count: int = 90) -> dict[str, float]:
    """Encode and decode `count` pictures; report milliseconds of CPU per picture, Mbit/s and PSNR in dB."""
    drawn = pictures(width, height, count)
    encoder = open_encoder(codec, width, height, fps=fps, bits_per_s=default_bitrate(width, height))
    decoder: Any = av.CodecContext.create("h264" if codec == "h264" else "vp8", "r")
    convert_s = encode_s = 0.0
    size_bytes = 0
    errors: list[float] = []
    i420: Pixels | None = None
    for index, picture in enumerate(drawn):
        began = time.process_time()
        i420 = to_i420(picture, i420)
        converted = time.process_time()
        encoded = encoder.encode(i420, frame_id=index, pts_us=index * 33_333, keyframe=index == 0)
        encode_s += time.process_time() - converted
        convert_s += converted - began
        assert encoded is not None
        size_bytes += len(encoded.data)
        packet = av.Packet(encoded.data)
        packet.pts, packet.time_base = index, Fraction(1, fps)
        source = i420[:height].astype(np.float32)
        for frame in decoder.decode(packet):
            luma = frame.to_ndarray(format="yuv420p")[:height].astype(np.float32)
            errors.append(float(np.square(luma - source).mean()))
    encoder.close()
    # The first second is the rate control finding its level.
    settled = np.array(errors[fps:] or errors)
    return {
        "convert_cpu_ms": round(convert_s / count * 1000, 3),
        "encode_cpu_ms": round(encode_s / count * 1000, 3),
        "mbit_per_s": round(size_bytes * 8 / (count / fps) / 1e6, 3),
        "psnr_luma_db": round(10 * float(np.log10(255**2 / max(1e-9, float(settled.mean())))), 2),
    }
