"""How many workers there should be, and which go first. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .roster import At, Worker


@dataclass(frozen=True, slots=True)
class Bounds:
    """At least `least` and at most `most` workers, `idle` of them free beyond those who drive and wait."""

    least: int = 1
    most: int = 1
    idle: int = 0

    def wanted(self, *, busy: int, waiting: int) -> int:
        return max(self.least, min(self.most, busy + waiting + self.idle))


def to_retire(workers: Iterable[Worker], count: int, *, idle_before_s: float) -> list[Worker]:
    """Return at most `count` workers to end: those that have been idle longest, and since before a moment.

    One that is loading, is being begun on or plays is never among them.
    """
    idle = [each for each in workers if each.at is At.IDLE and each.since_s <= idle_before_s]
    return sorted(idle, key=lambda each: each.since_s)[: max(0, count)]
