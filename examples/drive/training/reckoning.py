"""Learn what the keys make of what is remembered: the state of the games alone, without a picture."""

from __future__ import annotations

import math

import numpy as np
import torch
from rich.progress import Progress
from torch import Tensor
from world import CHANGING, PLAIN

from training.game import Games, Players
from training.history import Told
from training.network import Reckoner

_GAMES = 512
#: For this share of the iterations the next frame alone is learned; then the frames in a row that the gradients go
#: back through grow to the longest. From the start a circle would be turned by whole rounds too few.
_SHORT, _LONGEST = 0.85, 24
#: The chance that a game then goes on from what was reckoned instead of what is true.
_ASTRAY = 0.5
_LEARNING_RATE = 3e-3


def reckoned(iterations: int, seed: int, progress: Progress) -> Reckoner:
    torch.manual_seed(seed)
    random = np.random.default_rng(seed)
    games, players = Games(random, _GAMES), Players(random, _GAMES)
    reckoner = Reckoner()
    optimizer = torch.optim.Adam(reckoner.parameters(), _LEARNING_RATE)
    told = Told(_GAMES, torch.device("cpu"))
    task = progress.add_task("reckoning", total=iterations)

    def played() -> tuple[Tensor, Tensor]:
        actions = players.next(games.lateral)
        course, memory, begun = (torch.from_numpy(each) for each in games.move(actions))
        told.add(torch.from_numpy(actions), course, begun)
        return memory, begun

    memory, _ = played()
    low, high = memory[:, :CHANGING].aminmax(dim=0)
    for iteration in range(iterations):
        for group in optimizer.param_groups:
            group["lr"] = _LEARNING_RATE * (
                0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * iteration / iterations))
            )
        grown = max(0.0, (iteration / iterations - _SHORT) / (1 - _SHORT))
        unroll = 1 + round(grown * (_LONGEST - 1))
        total = torch.zeros(())
        for _ in range(unroll):
            true, begun = played()
            seen = true[:, :CHANGING].aminmax(dim=0)
            low, high = torch.minimum(low, seen.min), torch.maximum(high, seen.max)
            memory = torch.where(begun[:, None], true, reckoner(memory, told.condition()))
            off = (memory - true).abs()
            total = total + off[:, :CHANGING].mean() + off[:, PLAIN:].mean()
        optimizer.zero_grad(set_to_none=True)
        (total / unroll).backward()
        torch.nn.utils.clip_grad_norm_(reckoner.parameters(), 1.0)
        optimizer.step()
        astray = torch.from_numpy(random.random(_GAMES) < (_ASTRAY if unroll > 1 else 0))
        memory = torch.where(astray[:, None], memory.detach(), true)
        off_by = float(total.detach()) / unroll
        progress.update(task, advance=1, description=f"reckoning, off by {off_by:.4f}")
    reckoner.low.copy_(low)
    reckoner.high.copy_(high)
    return reckoner
