"""LongLive or Matrix-Game with random weights, made where they are needed: their speed without their files.

How fast the network is does not depend on what its weights are. The text encoder and the image tower are left
out, as they run once per prompt or picture and not in the stream.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from reactor_runtime import VideoModel, get_ctx

sys.path.append(str(Path(__file__).parents[2] / "examples"))

from causal_wan import checkpoint, config, longlive, matrix, vae
from causal_wan.keys import idle
from causal_wan.transformer import CausalWan

SIZES = {
    ("longlive", "full"): (480, 832),
    ("matrix", "full"): (352, 640),
    ("longlive", "tiny"): (64, 96),
    ("matrix", "tiny"): (48, 80),
}


class RandomWan(VideoModel):
    """A network of the published size that has learnt nothing."""

    def __init__(
        self,
        which: Literal["longlive", "matrix"] = "longlive",
        profile: Literal["full", "tiny"] = "full",
        size: tuple[int, int] | None = None,
        device: str = "cuda",
        compile: bool = False,
        fps: float | None = None,
    ) -> None:
        self.fps = fps
        self._playing = build(
            which, profile, size=size or SIZES[which, profile], device=device, compiled=compile
        )

    def start_session(self) -> Iterator[Any]:
        pipeline, wishes = self._playing
        for block in pipeline.play(wishes):
            get_ctx().report(**block.numbers)
            yield block.pixels


def build(which: str, profile: Any, *, size: tuple[int, int], device: str, compiled: bool) -> tuple[Any, Any]:
    """Return a pipeline and the wishes it plays. float32 on a CPU, bfloat16 on a GPU."""
    place = torch.device(device)
    dtype = torch.float32 if place.type == "cpu" else torch.bfloat16
    settings: Any = config.longlive(profile) if which == "longlive" else config.matrix(profile)
    with torch.device("meta"):
        wan = CausalWan(settings.wan)
    decoder: Any = vae.make(settings.vae)
    for module in (wan, decoder):
        _randomise(module, place, dtype)
    if which == "matrix" and dtype == torch.bfloat16:
        for part in (decoder.post_quant_conv, decoder.decoder):
            _randomise(part, place, torch.float16)
    streaming = vae.StreamingVae(decoder, compiled=torch.compile(decoder.decoder) if compiled else None)
    overlap = place.type == "cuda"
    if which == "longlive":
        encoder: Any = _Encoder((1, settings.wan.text_len, settings.wan.text_dim), place, dtype)
        film = longlive.LongLive(settings, size, wan=wan, decoder=streaming, encoder=encoder, overlap=overlap)
        return film, longlive.Wishes("one", 0)
    tower: Any = _Encoder((1, settings.vision.tokens, settings.wan.image_dim), place, dtype)
    game = matrix.MatrixGame(settings, size, wan=wan, decoder=streaming, tower=tower, overlap=overlap)
    return game, matrix.Wishes(idle("universal"), 0)


class _Encoder:
    """Random embeddings of the right shape, for a prompt as for a picture."""

    def __init__(self, shape: tuple[int, int, int], device: torch.device, dtype: torch.dtype) -> None:
        self._made = torch.randn(shape, device=device).to(dtype)

    def encode(self, prompt: str) -> Tensor:
        return self._made * len(prompt)

    def tokens(self, picture: Tensor) -> Tensor:
        return self._made


def _randomise(module: nn.Module, device: torch.device, dtype: torch.dtype) -> None:
    shapes = {name: tensor.shape for name, tensor in module.state_dict().items()}
    tensors = {
        name: torch.empty(shape, device=device, dtype=dtype).normal_(0, 0.02)
        for name, shape in shapes.items()
    }
    checkpoint.fill(module, tensors, device=device, dtype=dtype)
