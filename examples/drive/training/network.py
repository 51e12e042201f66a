"""The network: the next picture from six earlier ones, the player's keys, the road's course, and its own memory.

2.9 million parameters, in five parts. What is remembered between frames is 73 numbers (world.py says which). The
reader finds them in the first picture; the reckoner says at each frame what the keys make of them; the painter
(painter.py) draws what they look like. None of that sees the last picture, so nothing in it can smear, but what a
picture shows beyond those numbers would be lost. So a U-Net says for each pixel where in the last picture it comes from
(`flow`), what else it might be (`fresh`: what was painted, and corrections to it), and which to trust (`share`):

    next = share * last[at flow] + (1 - share) * fresh

What is shown of it, the enlarger (enlarger.py) makes.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
from course import COURSE_SIZE
from keys import ACTION_SIZE
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional
from world import ACTIONS, CHANGING, CIRCLES, CONTEXT, COURSES, HEIGHT, MEMORY, PLAIN, WIDTH

from training.blocks import Block, norm
from training.enlarger import Enlarger
from training.painter import Painter
from training.reader import Reader

#: The actions come first in the condition, then the courses.
ACTION_ENTRIES = ACTIONS * ACTION_SIZE
CONDITION = ACTION_ENTRIES + len(COURSES) * COURSE_SIZE
#: No pixel moves further than this from one frame to the next.
_REACH = 24.0


_CHANNELS, _BLOCKS = (32, 64, 96, 112), (1, 2, 1, 1)
_EMBEDDING, _RECKONING, _PLACES = 128, 256, 16


class Reckoner(nn.Module):
    """(B, 73) of what is remembered and the (B, 32) condition → (B, 73) of what the keys make of it."""

    def __init__(self) -> None:
        super().__init__()
        self.change = nn.Sequential(
            nn.Linear(CONDITION + CHANGING, _RECKONING), nn.SiLU(), nn.Linear(_RECKONING, _RECKONING), nn.SiLU(),
            nn.Linear(_RECKONING, CHANGING + CIRCLES),
        )  # fmt: skip
        last = self.change[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        #: What changes stays within what the games were seen to do: no road is wider than the widest one.
        self.low, self.high = (nn.Buffer(torch.full((CHANGING,), edge)) for edge in (-4.0, 4.0))

    def forward(self, memory: Tensor, condition: Tensor) -> Tensor:
        change = self.change(torch.cat([condition, memory[:, :CHANGING]], 1))
        plain = (memory[:, :CHANGING] + change[:, :CHANGING]).clamp(self.low, self.high)
        # A circle is turned, so that it stays one for ever.
        turn = change[:, CHANGING:]
        circles = memory[:, PLAIN:].unflatten(1, (CIRCLES, 2))
        x, y = circles[..., 0], circles[..., 1]
        turned = torch.stack([x * turn.cos() - y * turn.sin(), x * turn.sin() + y * turn.cos()], 2)
        return torch.cat([plain, memory[:, CHANGING:PLAIN], turned.flatten(1)], 1)


class Made(NamedTuple):
    """What the network makes of one frame."""

    #: (B, 3, 64, 96), about 0..1
    picture: Tensor
    #: (B, 73)
    memory: Tensor
    #: (B, 2, 64, 96), in pixels to the right and down, and (B, 3, 64, 96): what `picture` is mixed from
    flow: Tensor
    fresh: Tensor


class Drive(nn.Module):
    """(B, 6, 3, 64, 96) pictures in 0..1, newest first, a (B, 32) condition and a (B, 73) memory → what comes next."""

    def __init__(self) -> None:
        super().__init__()
        widths = _CHANNELS
        self.reader, self.reckoner, self.painter = Reader(), Reckoner(), Painter()
        self.tell = nn.Sequential(
            nn.Linear(CONDITION + MEMORY, 256), nn.SiLU(), nn.Linear(256, _EMBEDDING), nn.SiLU()
        )
        # Where a pixel lies matters in a perspective, and convolutions cannot tell.
        self.place = nn.Parameter(torch.randn(_PLACES, HEIGHT // 2, WIDTH // 2) * 0.5)
        self.fold = nn.Conv2d(len(CONTEXT) * 3 * 4 + _PLACES, widths[0], 3, padding=1)
        self.down, self.shrink = nn.ModuleList(), nn.ModuleList()
        self.up, self.grow, self.join = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for level, (width, count) in enumerate(zip(widths, _BLOCKS, strict=True)):
            self.down.append(nn.ModuleList(Block(width, _EMBEDDING) for _ in range(count)))
            if level + 1 < len(widths):
                wider = widths[level + 1]
                self.shrink.append(nn.Conv2d(width, wider, 2, stride=2))
                self.grow.append(nn.Conv2d(wider, width * 4, 1))
                # At the finest, what was painted comes in as well.
                self.join.append(nn.Conv2d(2 * width + (3 * 4 if level == 0 else 0), width, 1))
                more = count + (level == 0)
                self.up.append(nn.ModuleList(Block(width, _EMBEDDING) for _ in range(more)))
        self.unfold = nn.Conv2d(widths[0], 6 * 4, 3, padding=1)
        nn.init.zeros_(self.unfold.weight)
        assert self.unfold.bias is not None
        nn.init.zeros_(self.unfold.bias)
        self.enlarger = Enlarger()

    def forward(self, pictures: Tensor, condition: Tensor, memory: Tensor) -> Made:
        last = pictures[:, 0]
        folded = functional.pixel_unshuffle(pictures.flatten(1, 2) * 2 - 1, 2)
        h = self.fold(torch.cat([folded, self.place.expand(len(last), -1, -1, -1)], 1))
        with torch.autocast(last.device.type, enabled=False):
            remembered = self.reckoner(memory, condition)
        told = self.tell(torch.cat([condition, remembered], 1))
        passed = []
        for level, blocks in enumerate(self.down):
            for block in blocks:  # type: ignore[attr-defined]  # a ModuleList of Blocks
                h = block(h, told)
            if level < len(self.shrink):
                passed.append(h)
                h = self.shrink[level](h)
        painted = self.painter(remembered, condition[:, :ACTION_SIZE])
        passed[0] = torch.cat([passed[0], functional.pixel_unshuffle(painted * 2 - 1, 2)], 1)
        for level in reversed(range(len(self.up))):
            h = functional.pixel_shuffle(self.grow[level](h), 2)
            h = self.join[level](torch.cat([h, passed[level]], 1))
            for block in self.up[level]:  # type: ignore[attr-defined]
                h = block(h, told)
        out = functional.pixel_shuffle(self.unfold(functional.silu(norm(h))), 2).float()
        flow = _REACH * torch.tanh(out[:, :2] / _REACH)
        share = torch.sigmoid(out[:, 2:3])
        fresh = painted + out[:, 3:]
        picture = share * moved(last.float(), flow) + (1 - share) * fresh
        return Made(picture, remembered, flow, fresh)


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
