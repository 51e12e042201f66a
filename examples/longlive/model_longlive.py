"""LongLive: a film without end that follows its prompt while you change it.

The network is in ../causal_wan; this is what a user meets: commands, a session, a reset. A generator, so commands
run between two blocks, and the same commands at the same blocks give the same film.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from reactor_runtime import CommandError, Show, VideoModel, command, get_ctx
from reactor_runtime.errors import ManifestError

# causal_wan lies beside this folder, because examples/matrix uses it too.
sys.path.append(str(Path(__file__).parents[1]))

from causal_wan import config

if TYPE_CHECKING:
    from causal_wan.longlive import Wishes
    from causal_wan.text import Reading

logger = logging.getLogger(__name__)

SIZES: dict[str, tuple[int, int]] = {"full": (480, 832), "tiny": (64, 96)}
DEVICES = {"full": "cuda", "tiny": "cpu"}
PROMPTS = (
    "A red fox trots through deep snow, golden evening light",
    "A paper boat drifts down a rainy street, close to the water",
    "An astronaut waters plants in a glass house on the moon",
)
WEIGHTS = ("LongLive", "Wan2_1_VAE", "umt5-xxl")


class LongLiveVideoModel(VideoModel):
    """A film without end that follows its prompt while you change it."""

    first_frame = "The first nine pictures of the film are made together, some seconds"

    def __init__(
        self,
        profile: Literal["full", "tiny"] = "full",
        fps: float = 16,
        size: tuple[int, int] | None = None,
        prompt: str = "a beautiful sunset",
        seed: int = 0,
        device: str = "",
        dtype: str = "",
        positions: Literal["relative", "absolute"] = "relative",
        compile: bool = False,
    ) -> None:
        """Load the network. The README says what the arguments mean."""
        # Here and not above: to list the commands takes no PyTorch.
        import torch
        from causal_wan import device as devices
        from causal_wan import tiny_weights
        from causal_wan.longlive import LongLive, LongLiveFiles

        self.fps = fps
        names = WEIGHTS
        if profile == "tiny":
            for folder, contents in tiny_weights.LONGLIVE.items():
                tiny_weights.write(Path(__file__).parent / "weights" / folder, contents)
            names = tuple(tiny_weights.LONGLIVE)  # type: ignore[assignment]
            torch.set_num_threads(1)
        place, number_type = devices.choose(device or DEVICES[profile], dtype)
        self._pipeline = LongLive.load(
            config.longlive(profile, positions=positions),
            LongLiveFiles.among(*(VideoModel.weights(name) for name in names)),
            size=tuple(size or SIZES[profile]),  # type: ignore[arg-type]  # checked by load
            place=place,
            dtype=number_type,
            compiled=compile,
        )
        self._defaults = (self._readable(prompt), seed)
        self._wishes = self._new_wishes()
        self.initial_values = {"set_prompt": {"prompt": prompt}, "set_seed": {"seed": seed}}

    def start_session(self) -> Iterator[Any]:
        for block in self._pipeline.play(self._wishes):
            get_ctx().report(**block.numbers)
            yield block.pixels

    @command(
        "set_prompt",
        description="The film goes on, and from the next block on it tells of this",
        label="Prompt",
        hint="Say what happens next",
        primary=True,
    )
    def set_prompt(
        self,
        prompt: Annotated[
            str,
            Show(placeholder="A red fox trots through deep snow, golden evening light", examples=PROMPTS),
        ] = Field(..., min_length=1, max_length=2000),
    ) -> dict[str, Any] | None:
        """The film goes on, and from the next block on it tells of this. The reply says if a part is not read."""
        reading = self._pipeline.read(prompt)
        if not reading.cleaned:
            raise CommandError("blank_prompt", "the prompt is blank: say what is to be seen", field="prompt")
        self._wishes.prompt = prompt
        self._wishes.commanded_s = time.monotonic()
        return _cut(reading) if reading.is_cut else None

    @command("set_seed", description="Other noise for the blocks to come")
    def set_seed(self, seed: int = Field(0, ge=0, lt=2**63)) -> None:
        self._wishes.seed = seed
        self._wishes.commanded_s = time.monotonic()

    @command("reset", description="A new film with the first prompt and seed", label="Start over")
    def reset(self) -> None:
        """Forget the last user's wishes; during a session, start a new film."""
        self._wishes.prompt, self._wishes.seed = self._defaults
        self._wishes.film += 1
        self._wishes.commanded_s = None
        # The next picture is the first of the new film: none of the old one is shown any more.
        get_ctx().discard_frames()

    def _readable(self, prompt: str) -> str:
        """Return the default prompt, warned of if it is too long. Raises ManifestError for a blank one."""
        reading = self._pipeline.read(prompt)
        if not reading.cleaned:
            raise ManifestError("it is blank", key="args.prompt", fix="say what a film shows at its start")
        if reading.is_cut:
            logger.warning("args.prompt: %s", _cut(reading)["note"])
        return prompt

    def _new_wishes(self) -> Wishes:
        from causal_wan.longlive import Wishes

        return Wishes(*self._defaults)


def _cut(reading: Reading) -> dict[str, Any]:
    """Tell that the network reads only the beginning of a prompt, and where it stops."""
    read = len(reading.ids)
    last = reading.cleaned[: reading.reach][-40:]
    return {
        "tokens": reading.tokens,
        "tokens_read": read,
        "note": f"the prompt has {reading.tokens} tokens and the network reads {read}: it stops after “{last}”",
    }
