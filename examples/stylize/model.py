"""Your webcam, or a film, repainted live by a neural network that blends 26 painting styles.

    camera or clip ──▶ shrink to the working size ──▶ network ──▶ enlarge ──▶ mix with the source ──▶ yield

Written as a generator: commands run between two pictures, on the model's thread.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Literal

import cv2
import numpy as np
from clip import Clip, ClipName
from network import Pixels, StyleNetwork, Weights
from pydantic import Field
from styles import STYLES, Style

from reactor_runtime import Show, VideoModel, command, get_ctx

#: Working sizes relative to the configured one: the network's time goes with the square.
QUALITIES = {"fast": 0.8, "balanced": 1.0, "fine": 1.2}
#: A camera that sent nothing for this long is taken to be off.
CAMERA_SILENT_S = 2.0


def one_style(style: Style, amount: float = 1.0) -> Weights:
    weights = np.zeros(len(STYLES), np.float32)
    weights[STYLES.index(style)] = amount
    return weights


@dataclass(slots=True)
class Wishes:
    """What the user asked for."""

    weights: Weights = field(default_factory=lambda: one_style("starry"))
    strength: float = 1.0
    quality: str = "balanced"
    clip: ClipName = "bunny"
    frozen: bool = False


class Stylize(VideoModel):
    """Your webcam, or a film, repainted live in 26 painting styles."""

    first_frame = "A film is shown until you turn on your camera"

    def __init__(
        self, width: int = 320, height: int = 240, upscale: int = 2, fps: float = 20, threads: int = 2
    ) -> None:
        self.fps = self._fps = fps
        self._size = (width, height)
        self._shown_size = (width * upscale, height * upscale)
        self._wishes = Wishes()
        self._network = StyleNetwork(threads=threads)
        # The first run plans the network's memory, so that it is not the first user who waits for it.
        self._network(np.zeros((height, width, 3), np.uint8), self._wishes.weights)

    def start_session(self) -> Iterator[Pixels]:
        clip, playing = self._open_clip(), self._wishes.clip
        source = clip.next()
        try:
            while True:
                if self._wishes.clip != playing:
                    clip.close()
                    clip, playing = self._open_clip(), self._wishes.clip
                if not self._wishes.frozen:
                    camera = self._camera()
                    source = clip.next() if camera is None else camera
                yield self.paint(source)
        finally:
            clip.close()

    def paint(self, source: Pixels) -> Pixels:
        """Return `source`, a picture of the shown size, in the wished style."""
        wishes = self._wishes
        picture = source
        if wishes.strength > 0:
            scale = QUALITIES[wishes.quality]
            # The network halves the picture twice, so sides are multiples of four.
            size = (round(self._size[0] * scale) // 4 * 4, round(self._size[1] * scale) // 4 * 4)
            picture = self._network(_resize(source, size), wishes.weights)
        picture = _resize(picture, self._shown_size)
        if 0 < wishes.strength < 1:
            mixed = cv2.addWeighted(picture, wishes.strength, source, 1 - wishes.strength, 0)
            picture = np.asarray(mixed, np.uint8)
        return picture

    @command("reset", description="Back to how it began", label="Start over")
    def reset(self) -> None:
        """Forget the last user's wishes."""
        self._wishes = Wishes()

    def _open_clip(self) -> Clip:
        width, height = self._shown_size
        return Clip(self._wishes.clip, width=width, height=height, fps=self._fps)

    def _camera(self) -> Pixels | None:
        """The newest camera picture, cut to the shown shape, or None while no camera sends."""
        frame = get_ctx().input_frame()
        if frame is None or time.monotonic() - frame.arrived_s > CAMERA_SILENT_S:
            return None
        height, width = frame.pixels.shape[:2]
        shape = self._shown_size[0] / self._shown_size[1]
        cut_w, cut_h = min(width, round(height * shape)), min(height, round(width / shape))
        left, top = (width - cut_w) // 2, (height - cut_h) // 2
        return _resize(frame.pixels[top : top + cut_h, left : left + cut_w], self._shown_size)

    @command("set_style", description="Paint everything in one style", label="Style")
    def set_style(self, style: Style = "starry") -> None:
        self._wishes.weights = one_style(style)

    @command("blend", description="From one style to the other", label="Mix two styles")
    def blend(
        self,
        style_a: Annotated[Style, Show(label="First style")] = "starry",
        style_b: Annotated[Style, Show(label="Second style")] = "ember",
        amount: float = Field(0.5, ge=0, le=1, description="0: only the first, 1: only the second"),
    ) -> None:
        self._wishes.weights = one_style(style_a, 1 - amount) + one_style(style_b, amount)

    @command("set_strength", description="How much of the style; 0 shows the source")
    def set_strength(self, strength: float = Field(1.0, ge=0, le=1)) -> None:
        self._wishes.strength = strength

    @command("set_quality", description="Finer strokes or more pictures per second")
    def set_quality(self, quality: Literal["fast", "balanced", "fine"] = "balanced") -> None:
        self._wishes.quality = quality

    @command("set_clip", description="What is painted while your camera is off", label="Film")
    def set_clip(self, clip: ClipName = "bunny") -> None:
        self._wishes.clip = clip

    @command("freeze", description="Hold the picture still; styles still change", label="Freeze")
    def freeze(self, on: bool = True) -> None:
        self._wishes.frozen = on


def _resize(picture: Pixels, size: tuple[int, int]) -> Pixels:
    smaller = size[0] < picture.shape[1]
    interpolation = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(picture, size, interpolation=interpolation), np.uint8)
