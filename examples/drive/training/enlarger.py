"""The enlarger: a picture of the network → the same four times as large, learned from the game drawn that fine.

It sees what is around each pixel and adds to a plain enlargement what the edges there must be
(sub-pixel convolution, arXiv 1609.05158). Nothing of it goes back into the next picture.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional
from world import LARGER

_CHANNELS, _LAYERS = 48, 3


class Enlarger(nn.Module):
    """(B, 3, 64, 96) in 0..1 → (B, 3, 256, 384), about 0..1."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, _CHANNELS, 3, padding=1)
        self.layers = nn.ModuleList(nn.Conv2d(_CHANNELS, _CHANNELS, 3, padding=1) for _ in range(_LAYERS))
        self.last = nn.Conv2d(_CHANNELS, 3 * LARGER**2, 3, padding=1)
        nn.init.zeros_(self.last.weight)
        assert self.last.bias is not None
        nn.init.zeros_(self.last.bias)

    def forward(self, picture: Tensor) -> Tensor:
        h = functional.silu(self.first(picture * 2 - 1))
        for layer in self.layers:
            h = functional.silu(h + layer(h))
        plain = functional.interpolate(
            picture, scale_factor=float(LARGER), mode="bilinear", align_corners=False
        )
        return plain + functional.pixel_shuffle(self.last(h), LARGER).float()
