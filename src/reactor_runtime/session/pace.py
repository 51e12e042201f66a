"""How often everybody is told what is worth telling each time it changes, and costs more the more there are. Pure.

At once while it is little; where many come together, as often as it may cost, and whoever tells looks again later.
"""

from __future__ import annotations

from .. import limits


class Pace:
    """`per_s` words in the long run, `burst` at once. What is begun is told to all."""

    def __init__(self, per_s: float = limits.TOLD_PER_S, burst: int = limits.TOLD_BURST) -> None:
        self._per_s = per_s
        self._burst_s = burst / per_s
        self._paid_s = float("-inf")
        """Up to when what was told is paid for, were no burst allowed."""

    def may(self, now_s: float) -> bool:
        return now_s >= self._paid_s - self._burst_s

    def told(self, words: int, now_s: float) -> None:
        self._paid_s = max(self._paid_s, now_s) + words / self._per_s
