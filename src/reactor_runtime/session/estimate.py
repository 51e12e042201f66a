"""How long each place in the line will wait, most likely and at worst: the line played out many times. Pure.

    the last twenty turns ─▶ drawn from, again and again ─▶ when seat after seat comes free ─▶ p50, p90 of each place

Bootstrap sampling (Efron 1979): no shape is assumed of the lengths, of which many are a full turn and some end at
once. The draws are the same each time, so that what a person is told does not flicker.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

#: Turns that are looked back at, and times that the line is played: a percentile is then good to a few per cent.
TURNS: Final = 20
PLAYED: Final = 200


@dataclass(frozen=True, slots=True)
class Busy:
    """A seat that somebody has: for how long so far, and in how many seconds it is free at the latest, if so."""

    elapsed_s: float
    at_most_s: float | None = None


@dataclass(frozen=True, slots=True)
class Wait:
    """Half of those at this place wait less than `p50_s`, nine of ten less than `p90_s`."""

    p50_s: float
    p90_s: float


class Estimate:
    """`turn_s`: how long a turn is when others wait; until one has ended that is what is expected. None: no bound."""

    def __init__(self, turn_s: float | None) -> None:
        self._turn_s = turn_s
        self._lengths: deque[float] = deque(maxlen=TURNS)

    def took(self, length_s: float) -> None:
        """A seat was had for so long: from when it was offered until it was free again."""
        self._lengths.append(length_s)

    def waits(self, seats: Sequence[Busy], places: int) -> list[Wait] | None:
        """Return what the places wait, the first one first; None where nothing is known, or there is no seat."""
        lengths = np.array(self._lengths or ([] if self._turn_s is None else [self._turn_s]))
        if not lengths.size or not seats:
            return None
        draw = np.random.default_rng(0)
        free_s = np.stack([self._remaining(seat, lengths, draw) for seat in seats], axis=1)
        waits_s = np.empty((places, PLAYED))
        turns_s = draw.choice(lengths, (places, PLAYED))
        rows = np.arange(PLAYED)
        for place in range(places):
            first = free_s.argmin(axis=1)
            waits_s[place] = free_s[rows, first]
            free_s[rows, first] += turns_s[place]
        p50_s, p90_s = np.percentile(waits_s, (50, 90), axis=1)
        return [
            Wait(round(float(p50), 1), round(float(p90), 1)) for p50, p90 in zip(p50_s, p90_s, strict=True)
        ]

    def _remaining(self, seat: Busy, lengths: np.ndarray, draw: np.random.Generator) -> np.ndarray:
        # A turn that has lasted so long is one of the longer ones; one that is longer than all begins anew.
        longer = lengths[lengths > seat.elapsed_s] - seat.elapsed_s
        left_s: np.ndarray = draw.choice(longer if longer.size else lengths, PLAYED)
        return left_s if seat.at_most_s is None else np.minimum(left_s, seat.at_most_s)
