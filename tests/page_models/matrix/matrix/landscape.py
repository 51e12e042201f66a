"""Draws a landscape from above the ground: the "voxel space" method (Novalogic, 1992) in numpy.

A height map and a colour map, both (128, 128) and endless by repetition. For every screen column the ground
is sampled along a ray; the first sample that stands above a screen row colours it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
Array = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class View:
    """Where the eye is: position and height in map cells, angles in radians, `pitch` > 0 looks up."""

    x: float
    y: float
    z: float
    yaw: float
    pitch: float


class Landscape:
    def __init__(self, heights: Array, colours: Pixels, sky: Pixels) -> None:
        """heights (128, 128) in map cells, colours (128, 128, 3), sky (2, 3): zenith and horizon."""
        self.heights = heights
        self.colours = colours
        self.sky = sky

    def height_at(self, x: float, y: float) -> float:
        return float(self._sample_heights(np.array([[x]], np.float32), np.array([[y]], np.float32))[0, 0])

    def draw(self, view: View, *, columns: int, rows: int, distance: float) -> Pixels:
        """Return (rows, columns, 3) uint8 RGB."""
        # Samples grow apart with distance as their size on the screen shrinks.
        depth = np.geomspace(1.0, distance, 150, dtype=np.float32)[:, None]
        across = np.linspace(-0.75, 0.75, columns, dtype=np.float32)[None, :]
        x = np.float32(view.x) + depth * (math.cos(view.yaw) - math.sin(view.yaw) * across)
        y = np.float32(view.y) + depth * (math.sin(view.yaw) + math.cos(view.yaw) * across)
        ground = self._sample_heights(x, y)
        horizon = rows * (0.42 + 0.6 * view.pitch)
        top = horizon + (view.z - ground) / depth * rows * 0.9  # screen row of each sample's top

        colour = self._sample_colours(x, y)
        light = np.clip(0.9 + 0.35 * np.gradient(ground, axis=1) * columns / 240, 0.45, 1.35)
        fog = np.clip(depth / distance, 0, 1)[..., None] ** 2
        colour = colour * light[..., None] * (1 - fog) + self.sky[1] * fog

        visible = np.minimum.accumulate(top, axis=0)
        screen = np.arange(rows, dtype=np.float32)
        first = np.empty((rows, columns), np.int64)
        for column in range(columns):
            # `visible` falls with depth: its negative is sorted, and so can be searched.
            first[:, column] = np.searchsorted(-visible[:, column], -screen)
        shade = np.clip(screen / max(horizon, 1), 0, 1)[:, None] ** 1.4
        sky = self.sky[0] * (1 - shade) + self.sky[1] * shade
        picture = np.repeat(sky[:, None], columns, axis=1).astype(np.float32)
        hit = first < len(depth)
        picture[hit] = colour[first[hit], np.nonzero(hit)[1]]
        return np.clip(picture, 0, 255).astype(np.uint8)

    def _sample_heights(self, x: Array, y: Array) -> Array:
        return _sample(self.heights, x, y)

    def _sample_colours(self, x: Array, y: Array) -> Array:
        return _sample(self.colours, x, y)


def _sample(source: Array | Pixels, x: Array, y: Array) -> Array:
    """Return `source` at fractional places (n, m), endlessly repeated: (n, m) or (n, m, channels) float32."""
    size = source.shape[0]
    sampled = cv2.remap(source, x % size, y % size, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
    return np.asarray(sampled, np.float32)
