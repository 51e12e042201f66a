"""Where a drive starts: one of the looks that the network grew up with, or any picture."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

import cv2
import numpy as np
import PIL.Image
from world import HEIGHT, WIDTH, Pixels

LookName = Literal["meadow", "desert", "night", "snow"]
LOOKS: tuple[LookName, ...] = get_args(LookName)

_FOLDER = Path(__file__).parent / "start_images"
#: The car and the speed bar, which a picture of somebody's own does not have; transparent elsewhere.
_DRIVER = "driver.png"


def look(name: LookName) -> Pixels:
    """Return the first picture of this look, (64, 96, 3) RGB."""
    with PIL.Image.open(_FOLDER / f"{name}.png") as picture:
        return np.asarray(picture.convert("RGB"), np.uint8)


def fitted(picture: PIL.Image.Image) -> Pixels:
    """Cut the middle of a picture to 3:2, shrink it to (64, 96, 3) RGB, and put the car on its road."""
    pixels = np.asarray(picture.convert("RGB"), np.uint8)
    height, width = pixels.shape[:2]
    cut_width = max(1, min(width, round(height * WIDTH / HEIGHT)))
    cut_height = max(1, min(height, round(width * HEIGHT / WIDTH)))
    left, top = (width - cut_width) // 2, (height - cut_height) // 2
    cut = pixels[top : top + cut_height, left : left + cut_width]
    shrinks = cut_width > WIDTH
    small = cv2.resize(cut, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    with PIL.Image.open(_FOLDER / _DRIVER) as opened:
        driver = np.asarray(opened.convert("RGBA"), np.float32)
    alpha = driver[..., 3:] / 255
    return np.asarray((small * (1 - alpha) + driver[..., :3] * alpha).round(), np.uint8)
