"""Ribbons of light that follow your words: a model without a network, to be replaced by yours.

A model is one class. `__init__` loads, once, what every user shares. `start_session` makes the frames
of one user. A `@command` becomes a control on the page; its arguments are checked before it is called.
"""

from collections.abc import Iterator
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from reactor_runtime import Show, VideoModel, command

Frame = npt.NDArray[np.uint8]  # (height, width, 3), RGB

# What a word does to the picture: (darkest, middle, brightest) colour.
PALETTES = {
    "ocean": ((3, 12, 40), (0, 110, 160), (190, 255, 240)),
    "fire": ((20, 0, 10), (200, 50, 0), (255, 240, 150)),
    "forest": ((5, 18, 12), (30, 120, 60), (230, 250, 150)),
    "night": ((4, 4, 20), (70, 40, 150), (255, 170, 230)),
}


class Ribbons(VideoModel):
    """Ribbons of light, coloured by a prompt."""

    fps = 30

    def __init__(self, size: tuple[int, int] = (360, 640)) -> None:
        # Heavy and once: here you would load weights and move them to the GPU.
        height, width = size
        y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
        x *= width / height
        self.x, self.y = x, y
        self.initial_values = {
            "set_prompt": {"prompt": "ocean"}
        }  # what the page shows until somebody sets it
        self.reset()

    def start_session(self) -> Iterator[Frame]:
        """Yield frames until the user leaves. Commands run between two frames, so nothing needs a lock."""
        time = 0.0
        while True:
            time += self.speed / self.fps
            light = self.light(time)  # (height, width), in [0, 1]
            yield self.colours[(255 * light).astype(np.uint8)]

    def light(self, time: float) -> npt.NDArray[np.float32]:
        u = self.x + 0.5 * np.sin(2.1 * self.y + 0.8 * time)
        v = self.y + 0.4 * np.cos(1.7 * u - 0.5 * time)
        wave: npt.NDArray[np.float32]
        if self.shape == "ribbons":
            wave = np.sin(4 * v + np.sin(3 * u + time))
        elif self.shape == "rings":
            wave = np.sin(8 * np.hypot(u, v) - 3 * time)
        else:
            wave = np.cos(3 * u + time) * np.cos(4 * v) * np.sin(2 * u * v)
        return (1 - abs(wave)) ** 2  # bright where the wave crosses zero

    # `hint`, `primary` and `Show` are words for the page: what a newcomer does first, and what to try.
    @command("set_prompt", description="Colours, in words", hint="Say what it should look like", primary=True)
    def set_prompt(
        self,
        prompt: Annotated[
            str, Show(placeholder="A fire at night", examples=["A fire at night", "Deep ocean", "Forest"])
        ] = Field(..., min_length=1, max_length=200),
    ) -> None:
        self.colours = palette(prompt)

    @command("set_speed", description="How fast it moves; 0 holds the picture")
    def set_speed(self, speed: float = Field(1.0, ge=0, le=4)) -> None:
        self.speed = speed

    @command("set_shape", description="What the light draws")
    def set_shape(self, shape: Literal["ribbons", "rings", "web"] = "ribbons") -> None:
        self.shape = shape

    @command("reset", description="Back to the start")
    def reset(self) -> None:
        """Forget what a user did. The runtime calls it between users, too."""
        self.colours = palette("ocean")
        self.speed = 1.0
        self.shape = "ribbons"


def palette(prompt: str) -> Frame:
    """Return 256 colours (256, 3) for a prompt: known words, else colours drawn from its letters."""
    stops = [PALETTES[word] for word in prompt.lower().split() if word in PALETTES]
    if not stops:
        seed = np.random.default_rng(list(prompt.encode()))
        dark, middle, bright = seed.integers((0, 40, 160), (40, 200, 256), (3, 3)).T
        stops = [(dark, middle, bright)]
    corners = np.mean(stops, axis=0)  # (3 stops, RGB): several words mix
    where = np.linspace(0, 2, 256)
    return np.stack([np.interp(where, [0, 1, 2], corners[:, rgb]) for rgb in range(3)], axis=1).astype(
        np.uint8
    )
