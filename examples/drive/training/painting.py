"""Learn to paint what is remembered: single frames, in any order."""

from __future__ import annotations

import math

import numpy as np
import torch
from rich.progress import Progress
from torch import Tensor, nn

from training.painter import Painter
from training.plays import Moment, playing

_LEARNING_RATE = 2e-3
_WARM_UP = 100


def unlike(picture: Tensor, true: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """Return the squared error, and what is minimised; `counts` (B,) are 1, or 0 where there is nothing to learn."""
    each = (counts / counts.sum().clamp(min=1))[:, None, None, None]
    size = true[0].numel()
    off = (picture - true) * each
    squared = (off * (picture - true)).sum() / size
    # Errors of the differences between neighbours: a blurred edge costs more than a shade too light.
    edges = (off.diff(dim=-1).abs().sum() + off.diff(dim=-2).abs().sum()) / size
    return squared, squared + 0.1 * off.abs().sum() / size + 0.2 * edges


def painted(
    iterations: int,
    games: int,
    seed: int,
    progress: Progress,
    device: torch.device,
    *,
    workers: int,
    compiled: bool,
) -> Painter:
    torch.manual_seed(seed)
    painter = Painter().to(device)
    painter.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    paint = torch.compile(painter) if compiled else painter
    optimizer = torch.optim.AdamW(painter.parameters(), _LEARNING_RATE, weight_decay=0.01)
    task = progress.add_task("painting", total=iterations)
    errors: list[float] = []
    # Other games than those that the pictures are learned from later.
    with playing(seed * 1_000_003 + 500_000, games, workers) as moments:
        next(moments)
        for iteration in range(iterations):
            slower = 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * iteration / iterations))
            for group in optimizer.param_groups:
                group["lr"] = _LEARNING_RATE * min(1.0, (iteration + 1) / _WARM_UP) * slower
            true, memory, keys = _tensors(next(moments), device)
            with torch.autocast(device.type, torch.bfloat16):
                picture = paint(memory, keys)
            squared, loss = unlike(picture, true, torch.ones(len(true), device=device))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(painter.parameters(), 1.0)
            optimizer.step()
            errors.append(float(squared.detach()))
            if iteration % 100 == 99:
                description = f"painting, {-10 * math.log10(float(np.mean(errors))):.2f} dB"
                errors.clear()
                progress.update(task, completed=iteration + 1, description=description)
    return painter


def _tensors(moment: Moment, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    frames, memory, keys = (
        torch.from_numpy(each).to(device) for each in (moment.frames, moment.memory, moment.actions)
    )
    return frames.float() / 255, memory, keys
