"""The painter: what is remembered → the picture it makes, with no other picture to copy from.

Convolutions are poor at drawing a line where a number says: every pixel would have to work out the perspective. So a
few edges are drawn first. In each row some lie at columns, and in each column some lie at rows, that the memory says
together with how sharp and how strong they are; the road is made of the former. What repeats is drawn as waves: the
stripes of the road over its distance, row by row, and what stands around the horizon over the compass, column by
column. A few convolutions make areas of them, and for each pixel the share of every colour: those of the look, which
are remembered, and some that are the same everywhere. So colours are exact, and shapes are learned for all looks at
once.
"""

from __future__ import annotations

import math
from itertools import product

import torch
from keys import ACTION_SIZE
from torch import Tensor, nn
from torch.nn import functional
from world import CHANGING, CIRCLES, HEIGHT, PLAIN, WIDTH

from training.blocks import Block
from training.drawing import BAND, DASH, FOCAL, HORIZON, KERB, PANORAMA
from training.looks import COLOURS

#: A network learns slow functions of its inputs first (Fourier features, arXiv 2006.10739): so the circles come with
#: their multiples, few to say where things are, more to draw an outline around the horizon.
_MULTIPLES, _OUTLINE = 4, 8
#: What shapes depend on: all that is remembered but the colours, and the keys of the frame (the brake's lights).
_SHAPES = CHANGING + 1 + 2 * CIRCLES * _MULTIPLES + ACTION_SIZE
_PALETTE = slice(CHANGING, CHANGING + 3 * len(COLOURS))
_IN_ROWS, _IN_COLUMNS = 24, 8
#: The circles but the last are along the road, and it is the compass.
_ALONG = CIRCLES - 1
_PLANES = _IN_ROWS + _IN_COLUMNS + 2 * _ALONG + 2 * _OUTLINE
#: Colours that are no look's own, the car's, begin as the corners of all colours there are.
_OTHERS = tuple(product((0.1, 0.9), repeat=3))
_CHANNELS, _EMBEDDING, _PLACES = 32, 64, 8
#: From one colour to another over half a picture, or over half a pixel.
_SOFTEST, _SHARPEST = 0.05, 160.0
#: Where the distances of the rows and the directions of the columns begin to be learned: as on a plain, seen with the
#: game's camera. Stripes that are off by whole rounds would never be found.
_NEAREST_ROW, _FURTHEST = 2.0, 20.0
_ROUNDS = 2 * math.pi / torch.tensor([BAND, DASH, KERB])
_HALF_WIDTH = math.pi * WIDTH / PANORAMA


class Painter(nn.Module):
    """(B, 73) of what is remembered and (B, 6) of keys → (B, 3, 64, 96) in 0..1."""

    x: Tensor
    y: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.tell = nn.Sequential(nn.Linear(_SHAPES, 256), nn.SiLU(), nn.Linear(256, 256), nn.SiLU())
        self.in_rows = nn.Sequential(nn.Linear(256, 96), nn.Linear(96, 3 * _IN_ROWS * HEIGHT))
        self.in_columns = nn.Sequential(nn.Linear(256, 48), nn.Linear(48, 3 * _IN_COLUMNS * WIDTH))
        # The logarithm of how far away what a row shows is, and how far everything is turned to the side.
        self.distance, self.turned = nn.Linear(256, HEIGHT), nn.Linear(256, 1)
        self.rounds = nn.Parameter(_ROUNDS.clone())
        self.film = nn.Sequential(nn.Linear(256, _EMBEDDING), nn.SiLU())
        self.place = nn.Parameter(torch.randn(_PLACES, HEIGHT // 2, WIDTH // 2) * 0.5)
        self.fold = nn.Conv2d(4 * _PLANES + _PLACES, _CHANNELS, 3, padding=1)
        self.blocks = nn.ModuleList(Block(_CHANNELS, _EMBEDDING) for _ in range(2))
        self.unfold = nn.Conv2d(_CHANNELS, 4 * (len(COLOURS) + len(_OTHERS)), 3, padding=1)
        self.others = nn.Parameter(torch.tensor(_OTHERS))
        self.register_buffer("x", torch.linspace(-1, 1, WIDTH), persistent=False)
        self.register_buffer("y", torch.linspace(-1, 1, HEIGHT)[:, None], persistent=False)
        for edges, across in ((self.in_rows, HEIGHT), (self.in_columns, WIDTH)):
            last = edges[-1]
            assert isinstance(last, nn.Linear)
            places = last.bias.data.unflatten(0, (3, -1, across))[0]
            places.copy_(torch.rand(len(places), 1) * 2 - 1)
        for straight in (self.distance, self.turned):
            nn.init.zeros_(straight.weight)
            nn.init.zeros_(straight.bias)
        below = (torch.arange(HEIGHT) + 0.5 - HORIZON).clamp(min=_NEAREST_ROW)
        self.distance.bias.data.copy_((FOCAL / below).log())

    def forward(self, memory: Tensor, keys: Tensor) -> Tensor:
        # Half precision would shift an edge by a fifth of a pixel.
        with torch.autocast(memory.device.type, enabled=False):
            circles = memory[:, PLAIN:].unflatten(1, (CIRCLES, 2))
            multiples = _multiples(circles, _MULTIPLES).flatten(1)
            told = self.tell(
                torch.cat([memory[:, :CHANGING], memory[:, PLAIN - 1 : PLAIN], multiples, keys], 1)
            )
            planes = torch.cat([*self._edges(told), *self._waves(told, circles)], 1)
        folded = functional.pixel_unshuffle(planes, 2)
        h = self.fold(torch.cat([folded, self.place.expand(len(memory), -1, -1, -1)], 1))
        film = self.film(told)
        for block in self.blocks:
            h = block(h, film)
        shares = functional.pixel_shuffle(self.unfold(functional.silu(h)), 2).float().softmax(1)
        palette = memory[:, _PALETTE].unflatten(1, (len(COLOURS), 3)) / 2 + 0.5
        colours = torch.cat([palette, self.others.expand(len(memory), -1, -1)], 1)
        with torch.autocast(memory.device.type, enabled=False):
            return torch.einsum("bkhw,bkc->bchw", shares, colours)

    def _edges(self, told: Tensor) -> list[Tensor]:
        """Return (B, K, 64, 96) twice: from -strength to strength, across a place in -1..1 of each row or column."""
        return [
            _edge(self.x, self.in_rows(told).view(-1, 3, _IN_ROWS, HEIGHT, 1)),
            _edge(self.y, self.in_columns(told).view(-1, 3, _IN_COLUMNS, 1, WIDTH)),
        ]

    def _waves(self, told: Tensor, circles: Tensor) -> list[Tensor]:
        """Return (B, K, 64, 96) twice: the stripes of each row, and what goes around the horizon, of each column."""
        distance = self.distance(told).clamp(max=math.log(_FURTHEST)).exp()
        stripes = _turned(circles[:, :_ALONG], distance[:, None] * self.rounds[:, None])
        direction = _turned(circles[:, _ALONG], _HALF_WIDTH * self.x + self.turned(told))
        outline = _multiples(direction, _OUTLINE)
        return [
            stripes.transpose(2, 3).flatten(1, 2)[..., None].expand(-1, -1, -1, WIDTH),
            outline.permute(0, 2, 3, 1).flatten(1, 2)[:, :, None].expand(-1, -1, HEIGHT, -1),
        ]


def _turned(circles: Tensor, by: Tensor) -> Tensor:
    """Return circles, each a cosine and a sine (..., 2), turned by these angles (..., N): (..., N, 2)."""
    x, y = circles.unsqueeze(-2).unbind(-1)
    return torch.stack([x * by.cos() - y * by.sin(), x * by.sin() + y * by.cos()], -1)


def _multiples(circles: Tensor, count: int) -> Tensor:
    """Return circles (B, N, 2), and those of their angles twice, three times, ...: (B, N, count, 2)."""
    x, y = circles.unbind(-1)
    made = [(x, y)]
    for _ in range(count - 1):
        cosine, sine = made[-1]
        made.append((cosine * x - sine * y, cosine * y + sine * x))
    return torch.stack([torch.stack(each, -1) for each in made], 2)


def _edge(along: Tensor, told: Tensor) -> Tensor:
    place, strength, sharpness = told.unbind(1)
    middle, reach = (_SHARPEST * _SOFTEST) ** 0.5, (_SHARPEST / _SOFTEST) ** 0.5
    steep = middle * reach ** torch.tanh(sharpness)
    return torch.tanh((along - place) * steep) * (1 + strength)
