"""What the network is given at a frame, kept for many games at once."""

from __future__ import annotations

import torch
from course import COURSE_SIZE
from keys import ACTION_SIZE
from torch import Tensor
from world import ACTIONS, CONTEXT, COURSES


class Pictures:
    """The last 16 pictures of each game, newest first."""

    def __init__(self, first: Tensor) -> None:
        """`first`: (B, 3, 64, 96), which is taken to have stood still so far."""
        self._kept = first[:, None].repeat(1, max(CONTEXT), 1, 1, 1)
        self._taken = torch.tensor(CONTEXT, device=first.device) - 1

    def add(self, picture: Tensor) -> None:
        self._kept = torch.cat([picture[:, None], self._kept[:, :-1]], 1)

    def put(self, which: Tensor, other: Pictures) -> None:
        """Take over the games in `which` (B,) from `other`."""
        self._kept[which] = other._kept[which]

    def begin(self, which: Tensor, picture: Tensor) -> None:
        self._kept[which] = picture[which, None]

    def context(self) -> Tensor:
        """(B, 6, 3, 64, 96)"""
        return self._kept[:, self._taken]


class Told:
    """The last actions and courses of each game, newest first."""

    def __init__(self, count: int, device: torch.device) -> None:
        self._actions = torch.zeros(count, ACTIONS, ACTION_SIZE, device=device)
        self._courses = torch.zeros(count, max(COURSES) + 1, COURSE_SIZE, device=device)
        self._taken = torch.tensor(COURSES, device=device)

    def add(self, actions: Tensor, courses: Tensor, begun: Tensor) -> None:
        self._actions = torch.cat([actions[:, None], self._actions[:, :-1]], 1)
        self._courses = torch.cat([courses[:, None], self._courses[:, :-1]], 1)
        self._actions[begun] = 0
        self._courses[begun] = courses[begun, None]

    def condition(self) -> Tensor:
        """(B, 32)"""
        return torch.cat([self._actions.flatten(1), self._courses[:, self._taken].flatten(1)], 1)
