"""A camera for a model that wants one and has nobody in front of it: a picture that moves, the same each time."""

from __future__ import annotations

from typing import Final

import numpy as np

from ..types import Pixels

HEIGHT: Final = 480
WIDTH: Final = 640
#: Pixels that the bright square goes on by, from a frame to the next.
_STEP: Final = 8
_SIDE: Final = 96


class SyntheticCamera:
    """A `Feed`: frame k sees a gradient with a square that has gone k steps. `tint` tells two users' cameras apart."""

    def __init__(self, tint: int = 0) -> None:
        across, down = np.meshgrid(np.arange(WIDTH) * 255 // WIDTH, np.arange(HEIGHT) * 255 // HEIGHT)
        self._still: Pixels = np.dstack([across, down, np.full_like(across, tint % 256)]).astype(np.uint8)

    def __call__(self, frame_id: int) -> Pixels:
        pixels = self._still.copy()
        x = frame_id * _STEP % (WIDTH - _SIDE)
        y = frame_id * _STEP // 2 % (HEIGHT - _SIDE)
        pixels[y : y + _SIDE, x : x + _SIDE] = 255
        return pixels
