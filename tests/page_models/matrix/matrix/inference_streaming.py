"""matrix_main: the game that the page's wrapper drives.

`start()` runs the loop and emits frames until the session ends; `set_action`, `set_starting_image` and
`reset` come from the command thread meanwhile and take effect at the next frame.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from matrix.landscape import Landscape, View
from matrix.safetensors import load_file
from reactor_runtime import decode_base64_image, get_ctx

PROJECT = Path(__file__).parents[1]
MAP_SIZE = 128

_MOVES = {"W": (1.0, 0.0), "S": (-1.0, 0.0), "A": (0.0, -1.0), "D": (0.0, 1.0), "Q": (0.0, 0.0)}
_LOOKS = {"J": (-1.0, 0.0), "L": (1.0, 0.0), "I": (0.0, 1.0), "K": (0.0, -1.0), "U": (0.0, 0.0)}
_EYE = 7.0


class matrix_main:  # the page's name
    """The game: loaded once, played by one user after the other."""

    def __init__(self, *, config_path: str, checkpoint_path: Path, mode: str, compile: bool) -> None:
        if mode != "universal":
            raise ValueError(f'mode must be "universal", got {mode!r}')
        tensors = load_file(checkpoint_path)
        self.pipeline: Pipeline | None = Pipeline(_load_config(config_path), tensors)

    def start(self) -> None:
        """Play until the session ends. Starts afresh, so nothing of the last user is left."""
        assert self.pipeline is not None
        self.pipeline.reset()
        while not get_ctx().should_stop():
            get_ctx().emit_frame(self.pipeline.next_frame())

    def set_starting_image(self, base64_image: str, image_id: str) -> None:
        """Paint the world with a picture and start over in it."""
        assert self.pipeline is not None
        self.pipeline.start_from(decode_base64_image(base64_image))
        print(f"Starting image: {image_id}")

    def reset(self) -> None:
        assert self.pipeline is not None
        self.pipeline.reset()


class Pipeline:
    """One picture after the other, each a step on from the last under the current action."""

    def __init__(self, config: dict[str, float], tensors: dict[str, npt.NDArray[np.generic]]) -> None:
        self._config = config
        heights = tensors["landscape.heights"].astype(np.float32) * np.float32(26 / 255)
        colours = tensors["landscape.palette"].astype(np.int16)[tensors["landscape.heights"].astype(np.uint8)]
        # Grain in the ground, so that one sees how fast one flies.
        colours = (colours + np.random.default_rng(5).integers(-14, 15, (MAP_SIZE, MAP_SIZE, 1))).clip(0, 255)
        self._home = Landscape(heights, colours.astype(np.uint8), tensors["landscape.sky"].astype(np.uint8))
        self.reset()

    def reset(self) -> None:
        # One assignment each, so that a frame being drawn meanwhile sees whole values.
        self._landscape = self._home
        self._view = View(x=20.0, y=64.0, z=self._home.height_at(20.0, 64.0) + _EYE, yaw=0.35, pitch=0.0)
        self.set_action("U", "Q")

    def set_action(self, mouse_key: str, keyboard_key: str) -> None:
        """Hold this action until the next one."""
        self._action = (_MOVES[keyboard_key], _LOOKS[mouse_key])

    def start_from(self, picture: Image.Image) -> None:
        colours = np.asarray(ImageOps.fit(picture, (MAP_SIZE, MAP_SIZE)), np.uint8)
        sky = np.stack([colours[:16].mean((0, 1)), colours[16:64].mean((0, 1)) * 0.5 + 110]).astype(np.uint8)
        self.reset()
        self._landscape = Landscape(self._home.heights, colours, sky)

    def next_frame(self) -> npt.NDArray[np.uint8]:
        """Return the next picture, (2 rows, 2 columns, 3) uint8 RGB."""
        landscape, view = self._landscape, self._step(self._landscape, self._view)
        self._view = view
        picture = landscape.draw(
            view,
            columns=int(self._config["columns"]),
            rows=int(self._config["rows"]),
            distance=self._config["view_distance"],
        )
        return np.asarray(cv2.resize(picture, None, fx=2, fy=2, interpolation=cv2.INTER_LINEAR), np.uint8)

    def _step(self, landscape: Landscape, view: View) -> View:
        (forward, sideways), (turn, look) = self._action
        # Without a key the camera drifts on, so that there is something to see before anybody steers.
        forward = forward or (0.25 if not sideways else 0.0)
        yaw = view.yaw + turn * self._config["yaw_speed"]
        speed = self._config["speed"]
        x = view.x + speed * (forward * math.cos(yaw) - sideways * math.sin(yaw))
        y = view.y + speed * (forward * math.sin(yaw) + sideways * math.cos(yaw))
        ground = max(
            landscape.height_at(x, y), landscape.height_at(x + 4 * math.cos(yaw), y + 4 * math.sin(yaw))
        )
        z = view.z + 0.12 * (ground + _EYE - view.z)
        pitch = min(0.5, max(-0.5, view.pitch + 0.03 * look))
        return View(x=x, y=y, z=max(z, ground + 1.5), yaw=yaw, pitch=pitch)


def _load_config(path: str) -> dict[str, float]:
    """Read flat `key: value` lines; a relative path is relative to this project."""
    lines = (PROJECT / path).read_text(encoding="utf-8").splitlines()
    pairs = [line.partition(":") for line in lines if line and not line.startswith("#")]
    return {key.strip(): float(json.loads(value)) for key, _, value in pairs}
