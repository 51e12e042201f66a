"""The painter: what is remembered → the picture it makes, with no other picture to copy from.

Convolutions are poor at drawing a line where a number says: every pixel would have to work out the perspective. So a
few edges are drawn first. In each row some lie at columns, and in each column some lie at rows, that the memory says
together with how sharp and how strong they are; the road is made of the former, the mountains of the latter. A few
convolutions make areas of them, and for each pixel the share of every colour: those of the look, which are
remembered, and some that are the same everywhere. So colours are exact, and shapes are learned for all looks at once.
"""

from __future__ import annotations

import torch
from keys import ACTION_SIZE
from torch import Tensor, nn
from torch.nn import functional
from world import CHANGING, CIRCLES, HEIGHT, PLAIN, WIDTH

from training.blocks import Block
from training.looks import COLOURS

#: What shapes depend on: all that is remembered but the colours, and the keys of the frame (the brake's lights).
_SHAPES = CHANGING + 1 + 2 * CIRCLES + ACTION_SIZE
_PALETTE = slice(CHANGING, CHANGING + 3 * len(COLOURS))
_IN_ROWS, _IN_COLUMNS = 24, 8
#: Colours that are no look's own: the car's.
_OTHERS = 8
_CHANNELS, _EMBEDDING, _PLACES = 32, 64, 8
#: From one colour to another over half a picture, or over half a pixel.
_SOFTEST, _SHARPEST = 0.05, 160.0


class Painter(nn.Module):
    """(B, 73) of what is remembered and (B, 6) of keys → (B, 3, 64, 96) in 0..1."""

    x: Tensor
    y: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.tell = nn.Sequential(nn.Linear(_SHAPES, 256), nn.SiLU(), nn.Linear(256, 256), nn.SiLU())
        self.edges = nn.Linear(256, 96)
        self.in_rows = nn.Linear(96, 3 * _IN_ROWS * HEIGHT)
        self.in_columns = nn.Linear(96, 3 * _IN_COLUMNS * WIDTH)
        self.film = nn.Sequential(nn.Linear(256, _EMBEDDING), nn.SiLU())
        self.place = nn.Parameter(torch.randn(_PLACES, HEIGHT // 2, WIDTH // 2) * 0.5)
        self.fold = nn.Conv2d(4 * (_IN_ROWS + _IN_COLUMNS) + _PLACES, _CHANNELS, 3, padding=1)
        self.blocks = nn.ModuleList(Block(_CHANNELS, _EMBEDDING) for _ in range(2))
        self.unfold = nn.Conv2d(_CHANNELS, 4 * (len(COLOURS) + _OTHERS), 3, padding=1)
        self.others = nn.Parameter(torch.rand(_OTHERS, 3))
        self.register_buffer("x", torch.linspace(-1, 1, WIDTH), persistent=False)
        self.register_buffer("y", torch.linspace(-1, 1, HEIGHT)[:, None], persistent=False)
        for layer, across in ((self.in_rows, HEIGHT), (self.in_columns, WIDTH)):
            places = layer.bias.data.unflatten(0, (3, -1, across))[0]
            places.copy_(torch.rand(len(places), 1) * 2 - 1)

    def forward(self, memory: Tensor, keys: Tensor) -> Tensor:
        count = len(memory)
        told = self.tell(torch.cat([memory[:, :CHANGING], memory[:, PLAIN - 1 :], keys], 1))
        edges = self.edges(told)
        in_rows = _edges(self.x, self.in_rows(edges).view(count, 3, _IN_ROWS, HEIGHT, 1))
        in_columns = _edges(self.y, self.in_columns(edges).view(count, 3, _IN_COLUMNS, 1, WIDTH))
        folded = functional.pixel_unshuffle(torch.cat([in_rows, in_columns], 1), 2)
        h = self.fold(torch.cat([folded, self.place.expand(count, -1, -1, -1)], 1))
        film = self.film(told)
        for block in self.blocks:
            h = block(h, film)
        shares = functional.pixel_shuffle(self.unfold(functional.silu(h)), 2).float().softmax(1)
        palette = memory[:, _PALETTE].unflatten(1, (len(COLOURS), 3)) / 2 + 0.5
        colours = torch.cat([palette, self.others.expand(count, -1, -1)], 1)
        return torch.einsum("bkhw,bkc->bchw", shares, colours)


def _edges(along: Tensor, told: Tensor) -> Tensor:
    """Return (B, K, 64, 96): from -strength to strength, across a place in -1..1 along each row or column."""
    place, strength, sharpness = told.float().unbind(1)
    middle, reach = (_SHARPEST * _SOFTEST) ** 0.5, (_SHARPEST / _SOFTEST) ** 0.5
    steep = middle * reach ** torch.tanh(sharpness)
    return torch.tanh((along - place) * steep) * (1 + strength)
