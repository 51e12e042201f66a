"""Learn to enlarge: from what the network makes of the games, to the games drawn finer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from world import LARGER

from training.drawing import Canvas
from training.enlarger import Enlarger
from training.game import Games, Players
from training.history import Pictures, Told
from training.network import Drive
from training.parts import Lesson, learn, unlike

#: Of the games only so many are drawn finer at a time: that takes longest.
_FINE = 4
#: After how many of its own pictures the network is shown the game again, on average.
_RUN = 16


class _Viewing:
    """Games that go on while the network predicts each frame, mostly from its own pictures and what is true."""

    def __init__(self, network: Drive, seed: int, count: int, device: torch.device) -> None:
        self._network, self._device = network, device
        self._random = np.random.default_rng(seed)
        self._games, self._players = Games(self._random, count), Players(self._random, count)
        self._fine = Canvas(LARGER)
        first = self._tensor(self._games.begin())
        self._real, self._own = Pictures(first), Pictures(first)
        self._told = Told(count, device)
        self._memory = self._tensor(self._games.memory())

    def next(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return the network's pictures of some games, (4, 3, 64, 96), those drawn finer, and what counts (4,)."""
        actions = self._players.next(self._games.lateral)
        step = self._games.step(actions)
        frames, begun = self._tensor(step.frames), self._tensor(step.begun)
        self._told.add(self._tensor(actions), self._tensor(step.course), begun)
        with torch.no_grad():
            made = self._network(self._own.context(), self._told.condition(), self._memory)
        picture = made.picture.clamp(0, 1)
        self._memory = self._tensor(step.memory)
        self._real.add(frames)
        self._own.add(picture)
        self._real.begin(begun, frames)
        self._own.put(begun | self._tensor(self._random.random(len(begun)) < 1 / _RUN), self._real)

        which = self._random.choice(len(begun), _FINE, replace=False)
        scene = self._games.scene.only(which)
        finer = self._tensor(self._fine.draw(scene, scene)[0])
        return picture[which], finer, (~begun[which]).float()

    def _tensor(self, values: npt.NDArray[Any]) -> Tensor:
        return torch.from_numpy(values).to(self._device)


def enlarged(iterations: int, network: Drive, lesson: Lesson) -> Enlarger:
    torch.manual_seed(lesson.seed)
    # Other games than those that the rest was learned from.
    viewing = _Viewing(
        network, lesson.seed * 1_000_003 + 700_000, max(_FINE, lesson.games // 2), lesson.device
    )
    enlarger = Enlarger()

    def loss(used: Callable[..., Tensor]) -> Tensor:
        pictures, finer, counts = viewing.next()
        return unlike(used(pictures), finer, counts)[1]

    learn("enlarging", enlarger, loss, iterations, lesson)
    return enlarger
