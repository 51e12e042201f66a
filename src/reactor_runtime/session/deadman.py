"""The dead-man's switch of held keys: what is done for a driver who is not heard any more. Pure.

    arm(): what letting go would say ─▶ beat() while keys are held ─▶ silence, or the link is gone ─▶ done once

A key that is held stays held by saying nothing, so a browser that dies holds it for ever. Beats come every
100 ms, and `limits.DEADMAN_S` without one is the end. Event loop only; connections by their ids.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from .. import limits
from ..wire import messages as say

Release: TypeAlias = tuple[say.Command, ...]


@dataclass(slots=True)
class _Armed:
    release: Release
    due_s: float


class DeadMan:
    """The switches of a session, one for each connection that armed one."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._armed: dict[int, _Armed] = {}

    @property
    def due_s(self) -> float | None:
        """When `due` has something to give unless beats come, on the clock."""
        return min((each.due_s for each in self._armed.values()), default=None)

    def arm(self, who: int, release: Sequence[say.Command]) -> None:
        """Do these when it falls silent, in place of what was armed before; nothing disarms."""
        if release:
            self._armed[who] = _Armed(tuple(release), self._clock() + limits.DEADMAN_S)
        else:
            self._armed.pop(who, None)

    def beat(self, who: int) -> None:
        """It is there. Means nothing where nothing is armed."""
        armed = self._armed.get(who)
        if armed is not None:
            armed.due_s = self._clock() + limits.DEADMAN_S

    def lost(self, who: int) -> Release:
        """Return what is to be done for whoever is gone, or drives no more. Once."""
        armed = self._armed.pop(who, None)
        return armed.release if armed is not None else ()

    def due(self) -> dict[int, Release]:
        """Return what is to be done for those who fell silent. Once."""
        now_s = self._clock()
        silent = [who for who, armed in self._armed.items() if now_s >= armed.due_s]
        return {who: self._armed.pop(who).release for who in silent}
