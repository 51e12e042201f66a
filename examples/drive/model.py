"""Drive: a road that a small neural network dreams up picture by picture, steered with the keyboard.

    keys, seed ──▶ network (last pictures, keys, course) ──▶ 96x64 picture ──▶ enlarger ──▶ yield
                        ▲                                        │
                        └────────────────────────────────────────┘

Written as a generator: a key that arrives while a picture is made is in the next one.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any

import cv2
import numpy as np
import start
from keys import Action, ExtraKey, KeyboardKey, MouseKey, action
from pydantic import Field
from start import LookName
from world import HEIGHT, WIDTH, Pixels, World

from reactor_runtime import Show, VideoModel, command, get_ctx
from reactor_runtime.images import decode_base64_image


@dataclass(slots=True)
class Wishes:
    """What the user asked for."""

    held: Action = field(default_factory=action)
    #: Where to start; a new one of these is a new drive.
    picture: Pixels = field(default_factory=lambda: start.look("meadow"))
    seed: int | None = None
    drive: int = 0


class Drive(VideoModel):
    """A road that a neural network dreams up as you drive on it."""

    first_frame = "The network dreams up the first stretch of road, a second or two"

    def __init__(self, fps: float = 24, scale: int = 8, threads: int = 1) -> None:
        """`scale`: how much larger than 96x64 the video is."""
        self.fps = fps
        self._shown = (WIDTH * scale, HEIGHT * scale)
        self._world = World(VideoModel.weights("drive"), threads=threads)
        self._wishes = Wishes()
        # The first run plans the network's memory, so that it is not the first user who waits for it.
        self._world.step(self._wishes.held)
        self._world.enlarged()

    def start_session(self) -> Iterator[Pixels]:
        drive = None
        while True:
            wishes = self._wishes
            if wishes.drive != drive:
                drive = wishes.drive
                seed = get_ctx().seed if wishes.seed is None else wishes.seed
                self._world.begin(wishes.picture, seed or 0)
            began_s = time.monotonic()
            self._world.step(wishes.held)
            picture = self._world.enlarged()
            throttle, brake, left, right = (float(entry) for entry in wishes.held[:4])
            get_ctx().report(
                dream_ms=(time.monotonic() - began_s) * 1000,
                throttle=throttle - brake,
                steering=right - left,
            )
            yield self._resized(picture)

    @command("control", label="Drive", hint="W A S D to drive", primary=True)
    def control(
        self,
        mouse_key: Annotated[
            MouseKey,
            Show(label="Look", look={"left": "J", "right": "L", "up": "I", "down": "K"}),
            Field(description="Look: J=left, K=down, L=right, I=up, U=ahead"),
        ] = "U",
        keyboard_key: Annotated[
            KeyboardKey,
            Show(label="Drive"),
            Field(description="Keyboard: W=faster, A=left, S=brake, D=right, Q=none"),
        ] = "Q",
        also_held: Annotated[
            tuple[ExtraKey, ...],
            Show(also_held=True),
            Field(max_length=2, description="More keys held at the same time: faster and left, say"),
        ] = (),
    ) -> None:
        """Held until changed; in the next picture."""
        self._wishes.held = action(mouse_key, keyboard_key, also_held)

    @command("set_look", description="Drive somewhere else", label="Place", group="Another drive")
    def set_look(self, look: LookName = "meadow") -> None:
        """Start a new drive in one of the looks that the network was trained on."""
        self._start(start.look(look))

    @command(
        "set_starting_image",
        description="A road seen from the driver's seat is best",
        label="Starting picture",
        group="Another drive",
    )
    def set_starting_image(
        self,
        base64_image: Annotated[str, Show(label="Picture")],
        image_id: Annotated[str, Show(label="Name")] = Field(..., max_length=200),
    ) -> dict[str, Any]:
        """Start a new drive from a picture: a road seen from the driver's seat is best."""
        picture = decode_base64_image(base64_image)
        self._start(start.fitted(picture))
        return {"image_id": image_id, "width": picture.width, "height": picture.height}

    @command("set_seed", description="Another road in the same place", label="Road", group="Another drive")
    def set_seed(self, seed: Annotated[int, Show(label="Number")] = Field(0, ge=0, lt=2**32)) -> None:
        """Start over on the road of this seed: the same seed, picture and keys are the same drive."""
        self._wishes.seed = seed
        self._start(self._wishes.picture)

    @command("reset", description="Back to the meadow, with nothing held", label="Start over")
    def reset(self) -> None:
        """Forget the last user's wishes; during a session, start over."""
        self._wishes = Wishes(drive=self._wishes.drive + 1)

    def _start(self, picture: Pixels) -> None:
        self._wishes.picture = picture
        self._wishes.held = action()
        self._wishes.drive += 1

    def _resized(self, picture: Pixels) -> Pixels:
        return np.asarray(cv2.resize(picture, self._shown, interpolation=cv2.INTER_CUBIC), np.uint8)
