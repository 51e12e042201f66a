"""The network: the next picture from six earlier ones, the player's keys and the road's course.

A U-Net of 2.7 million parameters on pixels folded two by two. Most of a picture is the last one seen from a step
further on, so the network says for each pixel where it comes from (`flow`), what else it might be (`fresh`), and
which of the two to trust (`share`):

    next = share * last[at flow] + (1 - share) * fresh

That copies textures instead of repainting them, which keeps them sharp from frame to frame, and it learns in minutes
what painting every pixel from nothing takes hours for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from course import COURSE_SIZE
from keys import ACTION_SIZE
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional
from world import ACTIONS, CONTEXT, COURSES

#: The actions come first in the condition, then the courses.
ACTION_ENTRIES = ACTIONS * ACTION_SIZE
CONDITION = ACTION_ENTRIES + len(COURSES) * COURSE_SIZE
#: No pixel moves further than this from one frame to the next.
_REACH = 24.0


@dataclass(frozen=True, slots=True)
class Size:
    channels: Sequence[int] = (32, 64, 112, 128)
    blocks: Sequence[int] = (1, 2, 2, 3)
    embedding: int = 128


def _norm(x: Tensor) -> Tensor:
    """Each pixel's channels at unit length: unlike statistics over a picture, nothing leaks between its places."""
    return x * torch.rsqrt(x.square().mean(1, keepdim=True) + 1e-4)


class Block(nn.Module):
    """Residual, with the condition as a scale and a shift of every channel."""

    def __init__(self, channels: int, embedding: int) -> None:
        super().__init__()
        self.film = nn.Linear(embedding, 2 * channels)
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.film.weight)
        nn.init.zeros_(self.film.bias)
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        scale, shift = self.film(condition)[:, :, None, None].chunk(2, 1)
        h = functional.silu(_norm(x) * (1 + scale) + shift)
        h = functional.silu(_norm(self.first(h)))
        return torch.add(x, self.second(h))


class Drive(nn.Module):
    """(B, 6, 3, 64, 96) pictures in 0..1, newest first, and a (B, 32) condition

    → the next picture (B, 3, 64, 96) and the flow (B, 2, 64, 96), in pixels to the right and down.
    """

    def __init__(self, size: Size | None = None) -> None:
        super().__init__()
        size = size or Size()
        widths, embedding = size.channels, size.embedding
        self.tell = nn.Sequential(
            nn.Linear(CONDITION, embedding), nn.SiLU(), nn.Linear(embedding, embedding), nn.SiLU()
        )
        self.fold = nn.Conv2d(len(CONTEXT) * 3 * 4 + 2, widths[0], 3, padding=1)
        self.down, self.shrink = nn.ModuleList(), nn.ModuleList()
        self.up, self.grow, self.join = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for level, (width, count) in enumerate(zip(widths, size.blocks, strict=True)):
            self.down.append(nn.ModuleList(Block(width, embedding) for _ in range(count)))
            if level + 1 < len(widths):
                wider = widths[level + 1]
                self.shrink.append(nn.Conv2d(width, wider, 2, stride=2))
                self.grow.append(nn.Conv2d(wider, width * 4, 1))
                self.join.append(nn.Conv2d(2 * width, width, 1))
                self.up.append(nn.ModuleList(Block(width, embedding) for _ in range(count)))
        self.unfold = nn.Conv2d(widths[0], 6 * 4, 3, padding=1)
        nn.init.zeros_(self.unfold.weight)
        assert self.unfold.bias is not None
        nn.init.zeros_(self.unfold.bias)

    def forward(self, pictures: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        last = pictures[:, 0]
        height, width = last.shape[-2:]
        # Where a pixel lies matters in a perspective, and convolutions cannot tell.
        y, x = torch.linspace(-1, 1, height // 2), torch.linspace(-1, 1, width // 2)
        place = torch.stack(torch.meshgrid(y, x, indexing="ij"))[None].to(last)
        folded = functional.pixel_unshuffle(pictures.flatten(1, 2) * 2 - 1, 2)
        h = self.fold(torch.cat([folded, place.expand(len(last), -1, -1, -1)], 1))
        told = self.tell(condition)
        passed = []
        for level, blocks in enumerate(self.down):
            for block in blocks:  # type: ignore[attr-defined]  # a ModuleList of Blocks
                h = block(h, told)
            if level < len(self.shrink):
                passed.append(h)
                h = self.shrink[level](h)
        for level in reversed(range(len(self.up))):
            h = functional.pixel_shuffle(self.grow[level](h), 2)
            h = self.join[level](torch.cat([h, passed[level]], 1))
            for block in self.up[level]:  # type: ignore[attr-defined]
                h = block(h, told)
        out = functional.pixel_shuffle(self.unfold(functional.silu(_norm(h))), 2).float()
        flow = _REACH * torch.tanh(out[:, :2] / _REACH)
        share = torch.sigmoid(out[:, 2:3] + 2.0)
        fresh = out[:, 3:] + 0.5
        return share * moved(last.float(), flow) + (1 - share) * fresh, flow


def moved(picture: Tensor, flow: Tensor) -> Tensor:
    """Return each pixel of `picture` (B, 3, H, W) from `flow` (B, 2, H, W) pixels further right and down.

    Bicubic: a bilinear copy of a copy of a copy is a blur.
    """
    height, width = picture.shape[-2:]
    y, x = torch.arange(height).to(flow) + 0.5, torch.arange(width).to(flow) + 0.5
    at_x = (x[None, None, :] + flow[:, 0]) * (2 / width) - 1
    at_y = (y[None, :, None] + flow[:, 1]) * (2 / height) - 1
    grid = torch.stack([at_x, at_y], -1)
    return functional.grid_sample(picture, grid, mode="bicubic", padding_mode="border", align_corners=False)


def load(path: Path) -> Drive:
    """Return the network with the weights of a `drive.safetensors`."""
    network = Drive()
    network.load_state_dict({name: value.float() for name, value in load_file(path).items()})
    return network.eval()
