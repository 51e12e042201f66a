"""Latents to pictures while they come, and pictures to latents: Wan 2.1's VAE, from diffusers.

    latent 0 ─▶ 1 picture      latent 1, 2, … ─▶ 4 pictures each

The decoder is causal in time. diffusers keeps what its convolutions saw in a list that it clears after each call
of decode(); here the list lives as long as the stream, so latents may come in any portions.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from . import checkpoint, names
from .config import VaeConfig

#: From this latent on the decoder's state has its final shapes: what is compiled runs from here.
STEADY = 2
#: The autoencoder's parts that run from latents to pictures.
_DECODING = ("post_quant_conv", "decoder")


class _Decoder(Protocol):
    def __call__(
        self, x: Tensor, *, feat_cache: list[Any], feat_idx: list[int], first_chunk: bool
    ) -> Tensor: ...


def make(config: VaeConfig) -> nn.Module:
    """Return the autoencoder without weights, on the meta device."""
    from diffusers import AutoencoderKLWan

    with torch.device("meta"):
        vae: nn.Module = AutoencoderKLWan(base_dim=config.base_dim, z_dim=config.channels)
    return vae


def load(
    vae: nn.Module,
    file: Path,
    *,
    device: torch.device,
    dtype: torch.dtype,
    decoder_dtype: torch.dtype | None = None,
) -> None:
    """Fill it from Wan2.1_VAE.pth. `decoder_dtype`: another type for what turns latents into pictures."""
    tensors = checkpoint.read(file)
    checkpoint.check(checkpoint.shapes_of(vae, names.vae), tensors, file)
    for part, module in vae.named_children():
        renamed = {name: tensors[names.vae(f"{part}.{name}")] for name in module.state_dict()}
        own = decoder_dtype if part in _DECODING else None
        checkpoint.fill(module, renamed, device=device, dtype=own or dtype)
    vae.eval()


class StreamingVae:
    """One stream of pictures at a time. `compiled` is the decoder that torch.compile made, or None."""

    def __init__(self, vae: Any, *, compiled: _Decoder | None = None) -> None:
        self._vae = vae
        self._compiled = compiled
        self._seen = 0
        self._memory: list[Any] = []
        weight = vae.post_quant_conv.weight
        self.device, self.dtype = weight.device, weight.dtype
        self._encoder_dtype: torch.dtype = vae.quant_conv.weight.dtype
        # Kept on the CPU by from_config, so a meta-device VAE has them as well.
        shape = (1, -1, 1, 1, 1)
        self._mean = torch.tensor(vae.config.latents_mean, device=self.device).view(shape)
        self._std = torch.tensor(vae.config.latents_std, device=self.device).view(shape)

    def begin(self) -> None:
        """Forget the last stream."""
        self._seen = 0
        self._memory = [None] * self._vae._cached_conv_counts["decoder"]

    @torch.inference_mode()
    def decode(self, latents: Tensor) -> Tensor:
        """Return the pictures of the next latents [1, 16, F, h, w]: [T, 3, H, W] in -1..1."""
        scaled = latents.to(self.dtype) * self._std.to(self.dtype) + self._mean.to(self.dtype)
        features = self._vae.post_quant_conv(scaled)
        shown = []
        for feature in features.split(1, 2):
            compiled = self._compiled if self._seen >= STEADY else None
            decoder: _Decoder = self._vae.decoder if compiled is None else compiled
            shown.append(decoder(feature, feat_cache=self._memory, feat_idx=[0], first_chunk=self._seen == 0))
            self._seen += 1
        return torch.cat(shown, 2)[0].transpose(0, 1).clamp(-1, 1)

    @torch.inference_mode()
    def encode(self, video: Tensor) -> Tensor:
        """Return the latents of pictures [1, 3, 1 + 4n, H, W] in -1..1: [1, 16, 1 + n, h, w]."""
        dtype = self._encoder_dtype
        mean = self._vae.encode(video.to(self.device, dtype)).latent_dist.mode()
        return (mean - self._mean.to(dtype)) / self._std.to(dtype)

    def memory_bytes(self) -> int:
        """Return what the decoder remembers of its stream. Meaningful from the third latent on."""
        kept = [tensor for tensor in self._memory if isinstance(tensor, Tensor)]
        return sum(tensor.numel() * tensor.element_size() for tensor in kept)


def decoder_memory_bytes(vae: nn.Module, latent_size: tuple[int, int], dtype: torch.dtype) -> int:
    """Return what decoding at this size will remember, from shapes alone: `vae` is on the meta device."""
    stream = StreamingVae(vae)
    stream.begin()
    stream.decode(torch.empty(1, 16, 3, *latent_size, device="meta"))
    return stream.memory_bytes() // stream.dtype.itemsize * dtype.itemsize


def to_pixels(pictures: Tensor) -> Tensor:
    """[T, 3, H, W] in -1..1 → uint8 [T, H, W, 3], on the same device."""
    return (
        ((pictures.float() + 1) * 127.5)
        .round_()
        .clamp_(0, 255)
        .to(torch.uint8)
        .permute(0, 2, 3, 1)
        .contiguous()
    )
