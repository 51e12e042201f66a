"""A picture to what Matrix-Game starts from: latents that join the noise, and tokens that are attended to.

The network gets 20 more channels with each latent frame: a mask of four, 1 where the picture is given, and the
latents of a video that shows the picture once and then grey. The VAE looks back a limited time, so the latents
of the grey become constant and an endless stream needs only the first `REACH` of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .config import TEMPORAL
from .transformer import Context
from .vae import StreamingVae

#: Latent frames after which nothing of the picture is left in Wan's encoder, whatever its weights: the last one is
#: repeated for ever. Found, and held, by tests/causal_wan/test_wan_vae.py.
REACH = 29


@dataclass(frozen=True, slots=True)
class Start:
    """What a world grows from."""

    context: Context
    condition: Tensor  # [1, 20, REACH + 1, h, w]

    def at(self, start: int, frames: int) -> Tensor:
        """Return the condition of latent frames start .. start + frames - 1."""
        last = self.condition.shape[2] - 1
        return self.condition[:, :, [min(frame, last) for frame in range(start, start + frames)]]


def fit(picture: Image.Image, size: tuple[int, int], device: torch.device) -> Tensor:
    """Cut the middle out and scale it to height and width: [3, H, W] in -1..1, pixel for pixel as published."""
    height, width = size
    cut = picture.convert("RGB").crop(_middle(picture.size, (width, height)))
    fitted = cut.resize((width, height), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(fitted)).to(device).permute(2, 0, 1).float() / 127.5 - 1


def _middle(whole: tuple[int, int], shape: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return the largest box of this shape in the middle: left, top, right, bottom, on whole pixels, halves to even."""
    (width, height), (wide, high) = whole, shape
    if height / width > high / wide:
        cut_width, cut_height = width, int(width * high / wide)
    else:
        cut_width, cut_height = int(height * wide / high), height
    left, top = (width - cut_width) / 2, (height - cut_height) / 2
    return round(left), round(top), round(left + cut_width), round(top + cut_height)


def condition(vae: StreamingVae, picture: Tensor) -> Tensor:
    """Return mask and latents of a picture [3, H, W] and the grey after it."""
    video = picture.new_zeros(1, 3, 1 + TEMPORAL * REACH, *picture.shape[1:])
    video[:, :, 0] = picture
    latents = vae.encode(video)
    mask = torch.zeros_like(latents[:, :TEMPORAL])
    mask[:, :, 0] = 1
    return torch.cat([mask, latents], 1)


def landscape(size: tuple[int, int]) -> Image.Image:
    """Draw what is shown until someone sends a picture: grass, hills and sky."""
    height, width = size
    y, x = np.mgrid[0:height, 0:width]
    y, x = y / height, x / width
    hills = 0.45 + 0.05 * np.sin(7 * x) + 0.03 * np.sin(17 * x + 1)
    sky = np.stack([110 + 120 * y, 160 + 80 * y, 235 + 10 * y], -1)
    tufts = 14 * np.sin(90 * x / (0.3 + y)) * np.sin(160 * y * y)
    grass = np.stack([60 + 40 * y + tufts, 120 + 30 * y + tufts, 50 + 0 * y + tufts], -1)
    return Image.fromarray(np.where((y > hills)[..., None], grass, sky).clip(0, 255).astype(np.uint8))
