"""RGB to I420, the layout that every encoder here takes, and I420 to half its size.

The matrix is BT.601 with limited range, which is what browsers assume of a stream that says nothing.
"""

from __future__ import annotations

import cv2
import numpy as np

from .. import limits
from ..types import Pixels


def even(side: int) -> int:
    """Round a side up to an even number of pixels."""
    return side + side % 2


def to_i420(rgb: Pixels, out: Pixels | None = None) -> Pixels:
    """Convert (height, width, 3) RGB to one (height*3/2, width) I420 picture.

    Chroma has half the resolution, so an odd side is padded by repeating its last row or column; nothing
    is cropped. `out`, if it has the right shape, is written into and returned, and no memory is taken.
    """
    height, width = rgb.shape[:2]
    if height % 2 or width % 2:
        rgb = np.pad(rgb, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    shape = (even(height) * 3 // 2, even(width))
    target = out if out is not None and out.shape == shape else np.empty(shape, np.uint8)
    cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_I420, dst=target)
    return target


def halved(i420: Pixels) -> Pixels:
    """Return a picture of half of each side, of sides that an encoder takes, in memory of its own."""
    rows, width = i420.shape
    height = rows * 2 // 3
    to_width, to_height = (max(limits.FRAME_MIN_SIDE, even(side // 2)) for side in (width, height))
    out = np.empty((to_height * 3 // 2, to_width), np.uint8)
    for plane, target in zip(_planes(i420, width, height), _planes(out, to_width, to_height), strict=True):
        cv2.resize(plane, target.shape[::-1], dst=target, interpolation=cv2.INTER_AREA)
    return out


def _planes(i420: Pixels, width: int, height: int) -> tuple[Pixels, Pixels, Pixels]:
    flat, luma, chroma = i420.reshape(-1), width * height, width * height // 4
    half = (height // 2, width // 2)
    return (
        flat[:luma].reshape(height, width),
        flat[luma : luma + chroma].reshape(half),
        flat[luma + chroma :].reshape(half),
    )
