"""LongLive 1.3B: a film that follows its prompt while the prompt changes.

`LongLive.load` takes the published files; `play` streams blocks of pictures and reads what is wished for at the
start of each block. A new prompt recomputes the window under itself and then the film goes on: no cut.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from . import checkpoint, device, live, text, vae
from .config import PATCH, LongLiveConfig
from .live import Latents, Pictures
from .stream import BlockStream
from .text import Reading
from .transformer import CausalWan

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LongLiveFiles:
    base: Path
    lora: Path | None
    vae: Path
    encoder: Path
    tokenizer: Path

    @classmethod
    def among(cls, longlive: Path, wan_vae: Path, umt5: Path) -> LongLiveFiles:
        """Find the published files in the three folders. Raises WeightsMissing."""
        lora = sorted(longlive.glob("models/lora.pt")) or sorted(longlive.glob("lora.pt"))
        if not lora:
            logger.warning("%s has no models/lora.pt: the picture is worse than what was published", longlive)
        return cls(
            checkpoint.find(longlive, "models/longlive_base.pt", "longlive_base.pt"),
            lora[0] if lora else None,
            checkpoint.find(wan_vae, "Wan2.1_VAE.pth", "*.pth"),
            checkpoint.find(umt5, "models_t5_umt5-xxl-enc-bf16.pth", "*.pth"),
            checkpoint.find(umt5, "google/umt5-xxl/tokenizer.json", "tokenizer.json"),
        )


@dataclass(slots=True)
class Wishes:
    """What the user asked for; read at the start of each block."""

    prompt: str
    seed: int
    film: int = 0
    """Counts up to start over."""
    commanded_s: float | None = None


class LongLive:
    def __init__(
        self,
        config: LongLiveConfig,
        size: tuple[int, int],
        *,
        wan: CausalWan,
        decoder: vae.StreamingVae,
        encoder: text.TextEncoder,
        overlap: bool,
    ) -> None:
        self._encoder = encoder
        self._decoder = decoder
        self._wan = wan
        self._overlap = overlap
        self.stream = BlockStream(wan, config.stream, device.check_size(size))
        self._film = -1
        self._seed = 0
        self._prompt: str | None = None

    @classmethod
    def load(
        cls,
        config: LongLiveConfig,
        files: LongLiveFiles,
        *,
        size: tuple[int, int],
        place: torch.device,
        dtype: torch.dtype,
        compiled: bool = False,
        overlap: bool | None = None,
    ) -> LongLive:
        """Load everything. Slow. Raises WrongCheckpoint, and ManifestError for a size or memory problem."""
        latent_size = device.check_size(size)
        with torch.device("meta"):
            wan = CausalWan(config.wan)
        autoencoder, umt5 = vae.make(config.vae), text.make(config.text)
        if place.type == "cuda":
            needed = needed_bytes(config, latent_size, dtype, wan=wan, umt5=umt5, autoencoder=autoencoder)
            device.check_memory(place, needed)
        tensors = checkpoint.generator(files.base)
        checkpoint.check(checkpoint.shapes_of(wan), tensors, files.base)
        if files.lora is not None:
            checkpoint.merge_lora(tensors, files.lora, alpha=config.lora_alpha)
        checkpoint.fill(wan, tensors, device=place, dtype=dtype)
        vae.load(autoencoder, files.vae, device=place, dtype=dtype)
        text.load(umt5, files.encoder, device=place, dtype=dtype)
        made: Any = autoencoder
        return cls(
            config,
            size,
            wan=wan,
            decoder=vae.StreamingVae(made, compiled=torch.compile(made.decoder) if compiled else None),
            encoder=text.TextEncoder(umt5, files.tokenizer, length=config.wan.text_len),
            overlap=place.type == "cuda" if overlap is None else overlap,
        )

    def play(self, wishes: Wishes) -> Iterator[Pictures]:
        """Stream a new film for ever, following what `wishes` says from block to block."""
        wishes.film += 1
        return live.play(
            lambda: self.denoise(wishes), lambda: wishes.film, self._decoder, overlap=self._overlap
        )

    def denoise(self, wishes: Wishes) -> Latents:
        """Make the next block as wished for."""
        prompt_is_new = wishes.prompt != self._prompt
        if prompt_is_new:
            with torch.inference_mode():
                embedded = self._encoder.encode(wishes.prompt).to(self.stream.dtype)
                self._context = self._wan.context(embedded)
            self._prompt = wishes.prompt
        if wishes.film != self._film:
            self.stream.begin(wishes.seed)
        elif prompt_is_new:
            self.stream.recache(self._context)
        if wishes.seed != self._seed:
            self.stream.reseed(wishes.seed)
        self._film, self._seed = wishes.film, wishes.seed
        commanded_s, wishes.commanded_s = wishes.commanded_s, None
        return Latents(self.stream.next_block(self._context), wishes.film, commanded_s)

    def read(self, prompt: str) -> Reading:
        """Return how much of a prompt the network takes in. Takes no network."""
        return self._encoder.read(prompt)


def needed_bytes(
    config: LongLiveConfig,
    latent_size: tuple[int, int],
    dtype: torch.dtype,
    *,
    wan: nn.Module,
    umt5: nn.Module,
    autoencoder: nn.Module,
) -> dict[str, int]:
    """Return what stays on the device, by what it is for. The modules may be on the meta device."""
    tokens = config.stream.window * (latent_size[0] // PATCH) * (latent_size[1] // PATCH)
    return {
        "network": device.bytes_of(wan, dtype),
        "text encoder": device.bytes_of(umt5, dtype),
        "VAE": device.bytes_of(autoencoder, dtype),
        "VAE's memory": vae.decoder_memory_bytes(autoencoder, latent_size, dtype),
        "window": 2 * config.wan.layers * tokens * config.wan.width * dtype.itemsize,
    }
