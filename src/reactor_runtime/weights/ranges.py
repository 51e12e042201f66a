"""Which bytes of a file are there: a sorted list of disjoint half-open ranges. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator


class Ranges:
    """Bytes that are there. Not thread-safe: its owner holds a lock."""

    def __init__(self) -> None:
        self._spans: list[tuple[int, int]] = []

    def add(self, start: int, end: int) -> None:
        """Mark [start, end) as there; touching and overlapping spans become one."""
        if start >= end:
            return
        first = bisect_left(self._spans, (start, start))
        if first and self._spans[first - 1][1] >= start:
            first -= 1
        last = first
        while last < len(self._spans) and self._spans[last][0] <= end:
            start, end = min(start, self._spans[last][0]), max(end, self._spans[last][1])
            last += 1
        self._spans[first:last] = [(start, end)]

    def total(self) -> int:
        return sum(end - start for start, end in self._spans)

    def contiguous_from(self, position: int) -> int:
        """Return the end of the unbroken run that starts at or before `position`, or `position`."""
        for start, end in self._spans:
            if start <= position < end:
                return end
        return position

    def missing(self, size: int, *, piece: int) -> Iterator[tuple[int, int]]:
        """Yield what is not there yet, in order, in pieces of at most `piece` bytes."""
        position = 0
        for start, end in [*self._spans, (size, size)]:
            while position < min(start, size):
                stop = min(position + piece, start, size)
                yield position, stop
                position = stop
            position = max(position, end)
