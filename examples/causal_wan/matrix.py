"""Matrix-Game 2.0: a world that grows out of one picture and follows mouse and keyboard.

`MatrixGame.load` takes the published files; `play` streams blocks of pictures, and each block takes what is
held down when it starts.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import nn

from . import checkpoint, device, live, start_image, vae, vision
from .action_ring import ActionRing
from .config import PATCH, MatrixConfig, Mode
from .keys import Action
from .live import Latents, Pictures
from .start_image import Start
from .stream import BlockStream
from .transformer import CausalWan

logger = logging.getLogger(__name__)

_CHECKPOINTS: dict[Mode, tuple[str, ...]] = {
    "universal": ("base_distilled_model/base_distill.safetensors", "base_distill.safetensors"),
    "gta_drive": ("gta_distilled_model/*.safetensors", "gta*.safetensors"),
    "templerun": ("templerun_distilled_model/*.safetensors", "templerun*.safetensors"),
}


@dataclass(frozen=True, slots=True)
class MatrixFiles:
    base: Path
    vae: Path
    tower: Path

    @classmethod
    def among(cls, matrix: Path, mode: Mode) -> MatrixFiles:
        """Find the published files in their folder. Raises WeightsMissing."""
        return cls(
            checkpoint.find(matrix, *_CHECKPOINTS[mode]),
            checkpoint.find(matrix, "Wan2.1_VAE.pth"),
            checkpoint.find(
                matrix, "models_clip_open-clip-xlm-roberta-large-vit-huge-14.pth", "models_clip*.pth"
            ),
        )


@dataclass(slots=True)
class Wishes:
    """What the user asked for; read at the start of each block."""

    held: Action
    seed: int
    picture: Image.Image | None = None
    """What the world starts from. None: a landscape."""
    world: int = 0
    """Counts up to start over."""
    commanded_s: float | None = None


class MatrixGame:
    def __init__(
        self,
        config: MatrixConfig,
        size: tuple[int, int],
        *,
        wan: CausalWan,
        decoder: vae.StreamingVae,
        tower: vision.ImageTower,
        overlap: bool,
    ) -> None:
        assert config.wan.action is not None
        self._size = size
        self._decoder = decoder
        self._tower = tower
        self._wan = wan
        self._overlap = overlap
        self.stream = BlockStream(wan, config.stream, device.check_size(size))
        self._actions = ActionRing(config.wan.action, config.stream.block)
        self._landscape = start_image.landscape(size)
        self._world = -1
        self._picture: Image.Image | None = None

    @classmethod
    def load(
        cls,
        config: MatrixConfig,
        files: MatrixFiles,
        *,
        size: tuple[int, int],
        place: torch.device,
        dtype: torch.dtype,
        compiled: bool = False,
        overlap: bool | None = None,
    ) -> MatrixGame:
        """Load everything. Slow. Raises WrongCheckpoint, and ManifestError for a size or memory problem."""
        latent_size = device.check_size(size)
        with torch.device("meta"):
            wan = CausalWan(config.wan)
        autoencoder, tower = vae.make(config.vae), vision.make(config.vision)
        if place.type == "cuda":
            needed = needed_bytes(config, latent_size, dtype, wan=wan, tower=tower, autoencoder=autoencoder)
            device.check_memory(place, needed)
        tensors = checkpoint.under_model(checkpoint.read(files.base), files.base)
        checkpoint.check(checkpoint.shapes_of(wan), tensors, files.base)
        _warn_of_norms(tensors)
        checkpoint.fill(wan, tensors, device=place, dtype=dtype)
        # As published: the decoder's rounding is what one sees, and float16 rounds eight times finer than bfloat16.
        pictures = torch.float16 if dtype == torch.bfloat16 else dtype
        vae.load(autoencoder, files.vae, device=place, dtype=dtype, decoder_dtype=pictures)
        vision.load(tower, files.tower, device=place, dtype=dtype)
        made: Any = autoencoder
        return cls(
            config,
            size,
            wan=wan,
            decoder=vae.StreamingVae(made, compiled=torch.compile(made.decoder) if compiled else None),
            tower=vision.ImageTower(tower),
            overlap=place.type == "cuda" if overlap is None else overlap,
        )

    def play(self, wishes: Wishes) -> Iterator[Pictures]:
        """Stream a new world for ever, following what `wishes` says from block to block."""
        wishes.world += 1
        return live.play(
            lambda: self.denoise(wishes), lambda: wishes.world, self._decoder, overlap=self._overlap
        )

    def denoise(self, wishes: Wishes) -> Latents:
        """Make the next block as wished for."""
        stream = self.stream
        if wishes.world != self._world:
            picture = wishes.picture or self._landscape
            if picture is not self._picture:
                self._start = self._begin_with(picture)
                self._picture = picture
            stream.begin(wishes.seed)
            self._actions.begin()
            self._world = wishes.world
        commanded_s, wishes.commanded_s = wishes.commanded_s, None
        clean = stream.next_block(
            self._start.context,
            condition=self._start.at(stream.frames, stream.config.block),
            actions=self._actions.next_block(wishes.held, device=stream.device, dtype=stream.dtype),
        )
        return Latents(clean, wishes.world, commanded_s)

    @torch.inference_mode()
    def _begin_with(self, picture: Image.Image) -> Start:
        pixels = start_image.fit(picture, self._size, self.stream.device)
        tokens = self._tower.tokens(pixels).to(self.stream.dtype)
        condition = start_image.condition(self._decoder, pixels).to(self.stream.dtype)
        return Start(self._wan.context(tokens), condition)


def _warn_of_norms(tensors: checkpoint.Tensors) -> None:
    norms = [tensor for key, tensor in tensors.items() if "_attn_q_norm." in key or "_attn_k_norm." in key]
    if any(bool((tensor != 1).any()) for tensor in norms):
        logger.warning(
            "the action norms of this checkpoint are not 1, and are not applied, as in the published code"
        )


def needed_bytes(
    config: MatrixConfig,
    latent_size: tuple[int, int],
    dtype: torch.dtype,
    *,
    wan: nn.Module,
    tower: nn.Module,
    autoencoder: nn.Module,
) -> dict[str, int]:
    """Return what stays on the device, by what it is for. The modules may be on the meta device."""
    places = (latent_size[0] // PATCH) * (latent_size[1] // PATCH)
    window = config.wan.layers * config.stream.window * places * config.wan.width
    if (action := config.wan.action) is not None:
        window += action.layers * action.frames * (1 + (places if action.mouse_dim else 0)) * action.width
    return {
        "network": device.bytes_of(wan, dtype),
        "image tower": device.bytes_of(tower, dtype),
        "VAE": device.bytes_of(autoencoder, dtype),
        "VAE's memory": vae.decoder_memory_bytes(autoencoder, latent_size, dtype),
        "window": 2 * window * dtype.itemsize,
    }
