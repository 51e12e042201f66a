"""The test card's pictures: pure functions of what is set and of the frame's number.

    backdrop (made once per palette) ──pan──▶ copy ──▶ bars, discs, clock, caption, inset drawn over it

A frame at 640x480 costs under a millisecond: the expensive plasma is made when a palette is first chosen,
larger than the picture, and a frame only copies a window of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import Enum
from functools import cache
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, Field

Pixels = npt.NDArray[np.uint8]
Colour = tuple[int, int, int]
Palette = Literal["aurora", "ember", "lagoon", "graphite"]

#: How far the window wanders over the backdrop, in pixels.
PAN = 96
_INK: Colour = (245, 245, 250)
_SHADE: Colour = (18, 20, 28)
_STOPS: dict[str, tuple[Colour, ...]] = {
    "aurora": ((10, 16, 46), (22, 96, 122), (64, 196, 150), (126, 92, 204), (10, 16, 46)),
    "ember": ((26, 8, 20), (132, 30, 44), (236, 122, 44), (250, 206, 122), (26, 8, 20)),
    "lagoon": ((8, 40, 66), (14, 116, 150), (120, 212, 214), (238, 226, 190), (8, 40, 66)),
    "graphite": ((24, 26, 30), (74, 80, 90), (150, 156, 164), (92, 88, 84), (24, 26, 30)),
}


class Shape(Enum):
    DISC = "disc"
    RING = "ring"
    SQUARE = "square"


class RGB(BaseModel, frozen=True):
    red: int = Field(default=255, ge=0, le=255)
    green: int = Field(default=255, ge=0, le=255)
    blue: int = Field(default=255, ge=0, le=255)


class Look(BaseModel, frozen=True):
    """How the moving shapes look."""

    radius: int = Field(default=34, ge=4, le=120, description="Radius in pixels")
    colour: RGB = Field(default_factory=lambda: RGB(red=255, green=214, blue=102))
    shape: Shape = Shape.DISC


@dataclass(slots=True)
class Scene:
    """Everything that commands set. Equal scenes and frame numbers give equal pictures."""

    text: str = "reactor test card"
    subtitle: str | None = None
    palette: Palette = "aurora"
    speed: float = 1.0
    count: int = 1
    clock: bool = True
    look: Look = field(default_factory=Look)
    bars: tuple[float, ...] = ()
    offset: tuple[int, int] = (0, 0)
    inset: Pixels | None = None
    phase: float = 0.0
    """Grows by `speed` with each frame; everything that moves follows it."""
    flash: int = 0
    """Frames that still have a white border."""


def draw(scene: Scene, frame: int, *, width: int, height: int, fps: float) -> Pixels:
    """Return (height, width, 3) uint8 RGB, newly allocated."""
    backdrop = _backdrop(scene.palette, width, height)
    seconds = scene.phase / fps
    left = round(PAN * (1 + math.sin(0.31 * seconds)))
    top = round(PAN * (1 + math.cos(0.23 * seconds)))
    picture = backdrop[top : top + height, left : left + width].copy()
    if scene.bars:
        _draw_bars(picture, scene.bars)
    for index in range(scene.count):
        _draw_shape(picture, scene, seconds + 1.7 * index)
    if scene.inset is not None:
        _draw_inset(picture, scene.inset)
    if scene.clock:
        _draw_clock(picture, frame / fps)
    _write(picture, scene.text, (20, height - 48), 0.8)
    _write(picture, scene.subtitle or "", (20, height - 20), 0.5)
    _write(picture, f"#{frame:06d}", (width - 130, height - 20), 0.6)
    if scene.flash:
        cv2.rectangle(picture, (0, 0), (width - 1, height - 1), (255, 255, 255), 12)
    return picture


@cache
def _backdrop(palette: Palette, width: int, height: int) -> Pixels:
    """Plasma in the palette's colours, 2 PAN larger than the picture, with a grain that hides banding."""
    y, x = np.mgrid[: height + 2 * PAN, : width + 2 * PAN].astype(np.float32) / height
    waves = np.sin(3.1 * x + 1.3) + np.sin(4.3 * y) + np.sin(2.9 * (x + y) + 0.7)
    waves += np.sin(6.0 * np.hypot(x - 0.9, y - 0.6))
    position = (waves + 4) / 8 * (len(_STOPS[palette]) - 1)
    stops = np.array(_STOPS[palette], np.float32)
    planes = [np.interp(position, range(len(stops)), stops[:, channel]) for channel in range(3)]
    grain = np.random.default_rng(3).integers(-3, 4, (*position.shape, 1))
    return np.clip(np.stack(planes, axis=-1) + grain, 0, 255).astype(np.uint8)


def _draw_shape(picture: Pixels, scene: Scene, seconds: float) -> None:
    height, width = picture.shape[:2]
    x = width * (0.5 + 0.34 * math.sin(1.10 * seconds)) + scene.offset[0]
    y = height * (0.5 + 0.26 * math.sin(1.73 * seconds + 0.6)) + scene.offset[1]
    radius, colour = scene.look.radius, scene.look.colour
    rgb = (colour.red, colour.green, colour.blue)
    # Sixteenths of a pixel, so that slow motion is smooth.
    centre, shadow = (round(16 * x), round(16 * y)), (round(16 * x + 64), round(16 * y + 80))
    match scene.look.shape:
        case Shape.DISC:
            cv2.circle(picture, shadow, 16 * radius, _SHADE, -1, cv2.LINE_AA, 4)
            cv2.circle(picture, centre, 16 * radius, rgb, -1, cv2.LINE_AA, 4)
        case Shape.RING:
            cv2.circle(picture, shadow, 16 * radius, _SHADE, 6, cv2.LINE_AA, 4)
            cv2.circle(picture, centre, 16 * radius, rgb, 6, cv2.LINE_AA, 4)
        case Shape.SQUARE:
            for (cx, cy), paint in ((shadow, _SHADE), (centre, rgb)):
                half = 14 * radius
                cv2.rectangle(
                    picture, (cx - half, cy - half), (cx + half, cy + half), paint, -1, cv2.LINE_AA, 4
                )


def _draw_clock(picture: Pixels, seconds: float) -> None:
    x, y, radius = picture.shape[1] - 58, 120, 36
    cv2.circle(picture, (x, y), radius, _SHADE, -1, cv2.LINE_AA)
    cv2.circle(picture, (x, y), radius, _INK, 2, cv2.LINE_AA)
    for turns, length, thickness in ((seconds % 60 / 60, 28, 2), (seconds % 1, 18, 1)):
        angle = 2 * math.pi * turns
        tip = (round(16 * (x + length * math.sin(angle))), round(16 * (y - length * math.cos(angle))))
        cv2.line(picture, (16 * x, 16 * y), tip, _INK, thickness, cv2.LINE_AA, 4)
    _write(picture, f"{int(seconds // 60):02d}:{seconds % 60:04.1f}", (x - 40, y + radius + 22), 0.5)


def _draw_bars(picture: Pixels, levels: tuple[float, ...]) -> None:
    height, width = picture.shape[:2]
    step = (width - 40) // len(levels)
    for index, level in enumerate(levels):
        left, top = 20 + index * step, round(height - 80 - level * height * 0.4)
        cv2.rectangle(picture, (left, top), (left + max(step - 6, 1), height - 80), _INK, -1)


def _draw_inset(picture: Pixels, inset: Pixels) -> None:
    height, width = inset.shape[:2]
    top, left = 96, 20
    area = picture[top : top + height, left : left + width]
    area[:] = inset[: area.shape[0], : area.shape[1]]
    cv2.rectangle(picture, (left - 1, top - 1), (left + width, top + height), _INK, 1)


def _write(picture: Pixels, text: str, at: tuple[int, int], size: float) -> None:
    if text:
        for (x, y), paint in (((at[0] + 2, at[1] + 2), _SHADE), (at, _INK)):
            cv2.putText(picture, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, size, paint, 2, cv2.LINE_AA)
