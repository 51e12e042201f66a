"""Write start_images/: the first picture of each look, and the car alone for pictures of somebody's own.

cd examples/drive && python -m training.start_images
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from world import HEIGHT, WIDTH

from training.drawing import Canvas
from training.game import Games
from training.looks import LOOKS

FOLDER = Path(__file__).parents[1] / "start_images"
#: A road that shows sky, bends and trees.
SEED = 9


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    games = Games(np.random.default_rng(SEED), len(LOOKS), looks=list(LOOKS))
    for name, picture in zip(LOOKS, games.begin(), strict=True):
        pixels = (picture.transpose(1, 2, 0) * 255).round().astype(np.uint8)
        Image.fromarray(pixels).save(FOLDER / f"{name}.png")
    pixels = (Canvas().driver() * 255).round().astype(np.uint8)
    assert pixels.shape == (HEIGHT, WIDTH, 4)
    Image.fromarray(pixels).save(FOLDER / "driver.png")


if __name__ == "__main__":
    main()
