"""Where a token is, as a rotation of channel pairs (Su et al., RoFormer, 2021).

A `Rotation` is made once per pass and shared by all layers. Angles are computed in float64: at frame 1000
float32 would be off in the fourth digit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Rotation:
    """cos and sin of each token's angles: [L, pairs], float32."""

    cos: Tensor
    sin: Tensor


def rotate(x: Tensor, by: Rotation) -> Tensor:
    """Rotate neighbouring channels of x [B, L, H, C] against each other; C = 2 * pairs."""
    a, b = x.float().unflatten(-1, (-1, 2)).unbind(-1)
    cos, sin = by.cos[:, None], by.sin[:, None]  # [L, 1, pairs]
    return torch.stack((a * cos - b * sin, a * sin + b * cos), -1).flatten(-2).to(x.dtype)


def video(frames: Sequence[int], height: int, width: int, head_dim: int, *, device: torch.device) -> Rotation:
    """Angles of the tokens of these frames, [F * height * width, head_dim / 2]: time, then row, then column.

    Of 64 pairs 22 turn with time and 21 each with row and column (Wan 2.1).
    """
    side = head_dim // 6
    time = _angles(frames, head_dim // 2 - 2 * side, 10_000.0, device)
    rows = _angles(range(height), side, 10_000.0, device)
    columns = _angles(range(width), side, 10_000.0, device)
    shape = (len(frames), height, width, -1)
    return _rotation(
        torch.cat(
            [
                time[:, None, None].expand(shape),
                rows[None, :, None].expand(shape),
                columns[None, None].expand(shape),
            ],
            -1,
        ).flatten(0, 2)
    )


def time_only(
    frames: Sequence[int], head_dim: int, rotated: int, theta: float, *, device: torch.device
) -> Rotation:
    """Angles of one token per frame, of which only the first `rotated` channels turn: [F, head_dim / 2]."""
    angles = _angles(frames, rotated // 2, theta, device)
    still = angles.new_zeros(len(frames), (head_dim - rotated) // 2)
    return _rotation(torch.cat([angles, still], -1))


def _angles(places: Sequence[int], pairs: int, theta: float, device: torch.device) -> Tensor:
    speeds = theta ** -(torch.arange(pairs, dtype=torch.float64) / pairs)
    return torch.outer(torch.tensor(list(places), dtype=torch.float64), speeds).to(device)


def _rotation(angles: Tensor) -> Rotation:
    return Rotation(angles.cos().float(), angles.sin().float())
