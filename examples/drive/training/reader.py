"""The reader: a picture → what there is to remember of it.

A row of a road shows one distance, so rows are kept while columns are summed up. A colour is read where it shows.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional
from world import CHANGING, CIRCLES, HEIGHT, MEMORY, PLAIN, WIDTH

from training.blocks import norm
from training.looks import COLOURS

_CHANNELS = (32, 48, 64, 64)
_FEWER, _HIDDEN = 16, 128


class Reader(nn.Module):
    """(B, 3, 64, 96) in 0..1 → (B, 73)."""

    def __init__(self) -> None:
        super().__init__()
        self.place = nn.Parameter(torch.randn(4, HEIGHT // 2, WIDTH // 2) * 0.5)
        self.fold = nn.Conv2d(3 * 4 + 4, _CHANNELS[0], 3, padding=1)
        self.shrink = nn.ModuleList(
            nn.Conv2d(narrow, wide, 3, stride=(1, 2), padding=1) for narrow, wide in pairwise(_CHANNELS)
        )
        # Where in the picture each colour of the look shows.
        self.shows = nn.Conv2d(_CHANNELS[1], len(COLOURS), 3, padding=1)
        self.fewer = nn.Conv2d(_CHANNELS[-1], _FEWER, 1)
        self.read = nn.Sequential(
            nn.Linear(_FEWER * (HEIGHT // 2) * (WIDTH // 16), _HIDDEN), nn.SiLU(), nn.Linear(_HIDDEN, MEMORY)
        )

    def forward(self, picture: Tensor) -> Tensor:
        folded = functional.pixel_unshuffle(picture * 2 - 1, 2)
        h = functional.silu(self.fold(torch.cat([folded, self.place.expand(len(picture), -1, -1, -1)], 1)))
        where = torch.zeros(())
        for level, shrink in enumerate(self.shrink):
            h = functional.silu(norm(shrink(h)))
            if level == 0:
                where = self.shows(h).flatten(2).float().softmax(2)
        small = functional.avg_pool2d(picture * 2 - 1, (2, 4)).flatten(2)
        palette = torch.einsum("bkp,bcp->bkc", where, small).flatten(1)
        read = self.read(functional.silu(self.fewer(h)).flatten(1)).float()
        end = CHANGING + palette.shape[1]
        palette = palette + read[:, CHANGING:end]
        circles = read[:, PLAIN:].unflatten(1, (CIRCLES, 2))
        circles = circles * torch.rsqrt(circles.square().sum(2, keepdim=True) + 1e-4)
        plain = torch.cat([read[:, :CHANGING], palette, read[:, end:PLAIN]], 1)
        return torch.cat([plain.clamp(-4, 4), circles.flatten(1)], 1)
