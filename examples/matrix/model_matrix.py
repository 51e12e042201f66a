"""Matrix-Game 2.0: a world that grows out of one picture, walked with mouse and keyboard.

The network is in ../causal_wan; this is what a user meets: commands, a session, a reset. A generator, so commands
run between two blocks, and the same commands at the same blocks give the same world.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from reactor_runtime import Show, VideoModel, command, get_ctx
from reactor_runtime.images import decode_base64_image

# causal_wan lies beside this folder, because examples/longlive uses it too.
sys.path.append(str(Path(__file__).parents[1]))

from causal_wan import config
from causal_wan.keys import ExtraKey, KeyboardKey, MouseKey, action, idle

if TYPE_CHECKING:
    from causal_wan.matrix import Wishes

SIZES: dict[str, tuple[int, int]] = {"full": (352, 640), "tiny": (48, 80)}
DEVICES = {"full": "cuda", "tiny": "cpu"}
WEIGHTS = "Matrix-Game-2_0-base"


class Matrix2VideoModel(VideoModel):
    """A world that grows out of one picture, walked with mouse and keyboard."""

    first_frame = "The first pictures of the world are made together, some seconds"

    def __init__(
        self,
        profile: Literal["full", "tiny"] = "full",
        mode: Literal["universal", "gta_drive", "templerun"] = "universal",
        fps: float = 25,
        size: tuple[int, int] | None = None,
        seed: int = 0,
        device: str = "",
        dtype: str = "",
        compile: bool = False,
    ) -> None:
        """Load the network. The README says what the arguments mean."""
        # Here and not above: to list the commands takes no PyTorch.
        import torch
        from causal_wan import device as devices
        from causal_wan import tiny_weights
        from causal_wan.matrix import MatrixFiles, MatrixGame, Wishes

        self.fps = fps
        self._mode = mode
        weights = WEIGHTS
        if profile == "tiny":
            [(weights, contents)] = tiny_weights.MATRIX.items()
            tiny_weights.write(Path(__file__).parent / "weights" / weights, contents)
            torch.set_num_threads(1)
        place, number_type = devices.choose(device or DEVICES[profile], dtype)
        self._game = MatrixGame.load(
            config.matrix(profile, mode),
            MatrixFiles.among(VideoModel.weights(weights), mode),
            size=tuple(size or SIZES[profile]),  # type: ignore[arg-type]  # checked by load
            place=place,
            dtype=number_type,
            compiled=compile,
        )
        self._seed = seed
        self._wishes: Wishes = Wishes(held=idle(mode), seed=seed)

    def start_session(self) -> Iterator[Any]:
        for block in self._game.play(self._wishes):
            get_ctx().report(**block.numbers)
            yield block.pixels

    @command("control", label="Walk", hint="W A S D to walk, drag to look around", primary=True)
    def control(
        self,
        mouse_key: Annotated[
            MouseKey,
            Show(label="Look", look={"left": "J", "right": "L", "up": "I", "down": "K"}),
            Field(description="Mouse: J=left, K=down, L=right, I=up, U=none"),
        ],
        keyboard_key: Annotated[
            KeyboardKey,
            Show(label="Walk"),
            Field(description="Keyboard: W=forward, A=left, S=back, D=right, Q=none"),
        ],
        also_held: Annotated[
            tuple[ExtraKey, ...],
            Show(also_held=True),
            Field(max_length=2, description="More keys held at the same time, for diagonals"),
        ] = (),
    ) -> None:
        """Held until changed; acts from the next block on."""
        self._wishes.held = action(self._mode, mouse_key, keyboard_key, also_held)
        self._wishes.commanded_s = time.monotonic()

    @command("set_starting_image", description="A new world grows out of it", label="Starting picture")
    def set_starting_image(
        self,
        base64_image: Annotated[str, Show(label="Picture")],
        image_id: Annotated[str, Show(label="Name")] = Field(..., max_length=200),
    ) -> dict[str, Any]:
        """Start a new world from a picture."""
        picture = decode_base64_image(base64_image)
        self._wishes.picture = picture
        self._wishes.commanded_s = time.monotonic()
        self._start_over()
        return {"image_id": image_id, "width": picture.width, "height": picture.height}

    @command("reset", description="Back to the first picture", label="Start over")
    def reset(self) -> None:
        """Forget the last user's wishes; during a session, start over from the default picture."""
        self._wishes.held, self._wishes.seed = idle(self._mode), self._seed
        self._wishes.picture, self._wishes.commanded_s = None, None
        self._start_over()

    def _start_over(self) -> None:
        """The next picture is the first of a new world: none of the old one is shown any more."""
        self._wishes.world += 1
        get_ctx().discard_frames()
