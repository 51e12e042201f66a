"""What both networks are built of."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


def norm(x: Tensor) -> Tensor:
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
        h = functional.silu(norm(x) * (1 + scale) + shift)
        h = functional.silu(norm(self.first(h)))
        return torch.add(x, self.second(h))
