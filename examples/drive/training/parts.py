"""Learn to read and to paint what is remembered: single frames, each part by itself."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from rich.progress import Progress
from torch import Tensor, nn
from world import CHANGING, MEMORY, PLAIN

from training.painter import Painter
from training.plays import Moment, playing
from training.reader import Reader

_LEARNING_RATE = 2e-3
_WARM_UP = 100
#: The reader sees one frame in so many of a game: those between would tell it little more.
_EVERY = 24

_Part = TypeVar("_Part", bound=nn.Module)


@dataclass(frozen=True, slots=True)
class Lesson:
    """What all parts have in common."""

    games: int
    seed: int
    device: torch.device
    workers: int
    compiled: bool
    progress: Progress


def unlike(picture: Tensor, true: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """Return the squared error, and what is minimised; `counts` (B,) are 1, or 0 where there is nothing to learn."""
    each = (counts / counts.sum().clamp(min=1))[:, None, None, None]
    size = true[0].numel()
    off = (picture - true) * each
    squared = (off * (picture - true)).sum() / size
    # Errors of the differences between neighbours: a blurred edge costs more than a shade too light.
    edges = (off.diff(dim=-1).abs().sum() + off.diff(dim=-2).abs().sum()) / size
    return squared, squared + 0.1 * off.abs().sum() / size + 0.2 * edges


def painted(iterations: int, lesson: Lesson) -> Painter:
    def loss(paint: Callable[..., Tensor], pictures: Tensor, memory: Tensor, keys: Tensor) -> Tensor:
        return unlike(paint(memory, keys), pictures, torch.ones(len(pictures), device=pictures.device))[1]

    return _learned("painting", Painter, loss, iterations, lesson)


def read(iterations: int, lesson: Lesson) -> Reader:
    # What most of a picture depends on counts most: where the car is and where one looks, then the road, nearest first.
    counts = torch.ones(MEMORY, device=lesson.device)
    counts[1], counts[3:5] = 8, 4
    counts[5:CHANGING] = torch.linspace(2, 0.3, CHANGING - 5, device=lesson.device)

    def loss(reader: Callable[..., Tensor], pictures: Tensor, memory: Tensor, _keys: Tensor) -> Tensor:
        off = (reader(pictures) - memory).abs() * counts
        return off[:, :PLAIN].mean() + off[:, PLAIN:].mean()

    return _learned("reading", Reader, loss, iterations, lesson, every=_EVERY)


def _learned(
    name: str,
    kind: type[_Part],
    loss_of: Callable[..., Tensor],
    iterations: int,
    lesson: Lesson,
    *,
    every: int = 1,
) -> _Part:
    torch.manual_seed(lesson.seed)
    part = kind()
    # Other games than those that the pictures are learned from later.
    with playing(lesson.seed * 1_000_003 + 500_000, lesson.games, lesson.workers, every=every) as moments:
        next(moments)

        def loss(used: Callable[..., Tensor]) -> Tensor:
            return loss_of(used, *_tensors(next(moments), lesson.device))

        learn(name, part, loss, iterations, lesson)
    return part


def learn(
    name: str,
    part: nn.Module,
    loss_of: Callable[[Callable[..., Tensor]], Tensor],
    iterations: int,
    lesson: Lesson,
) -> None:
    """Minimise what `loss_of` makes of the part in each iteration."""
    part.to(lesson.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    used = torch.compile(part) if lesson.compiled else part
    optimizer = torch.optim.AdamW(part.parameters(), _LEARNING_RATE, weight_decay=0.01)
    task = lesson.progress.add_task(name, total=iterations)
    losses: list[float] = []
    for iteration in range(iterations):
        slower = 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * iteration / iterations))
        for group in optimizer.param_groups:
            group["lr"] = _LEARNING_RATE * min(1.0, (iteration + 1) / _WARM_UP) * slower
        with torch.autocast(lesson.device.type, torch.bfloat16):
            loss = loss_of(used)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(part.parameters(), 1.0)
        optimizer.step()
        losses.append(float(loss.detach()))
        if iteration % 100 == 99:
            description = f"{name}, off by {np.mean(losses):.4f}"
            losses.clear()
            lesson.progress.update(task, completed=iteration + 1, description=description)


def _tensors(moment: Moment, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    frames, memory, keys = (
        torch.from_numpy(each).to(device) for each in (moment.frames, moment.memory, moment.actions)
    )
    return frames.float() / 255, memory, keys
