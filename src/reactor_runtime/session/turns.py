"""When a driver's turn ends. Pure: it takes the time.

A turn has no end while nobody waits. Of several seats so many turns end as people wait, the longest first. Each has
at least `turn_s`, and whoever drove alone for an hour is told `limits.TURN_WARNING_S` before, like everybody.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .. import limits


@dataclass(slots=True)
class _Turn:
    began_s: float
    wanted_s: float | None = None
    """Since when somebody waits for this seat."""


class Turns:
    """The turns that are being driven, by seat. `turn_s` None: a turn lasts until its driver goes."""

    def __init__(self, turn_s: float | None, clock: Callable[[], float]) -> None:
        self.turn_s = turn_s
        self._clock = clock
        self._turns: dict[int, _Turn] = {}

    @property
    def warning_s(self) -> float:
        """How long before its end a driver is warned."""
        return min(limits.TURN_WARNING_S, self.turn_s or 0.0)

    def begin(self, seat: int) -> None:
        self._turns[seat] = _Turn(self._clock())

    def end(self, seat: int) -> None:
        """Its driver is gone. Without effect where no turn is driven."""
        self._turns.pop(seat, None)

    def began_s(self, seat: int) -> float | None:
        return self._turns[seat].began_s if seat in self._turns else None

    def want(self, seats: int) -> None:
        """So many people wait for a seat that somebody has."""
        by_age = sorted(self._turns.values(), key=lambda turn: turn.began_s)
        for index, turn in enumerate(by_age):
            if index >= seats:
                turn.wanted_s = None
            elif turn.wanted_s is None:
                turn.wanted_s = self._clock()

    def ends_s(self, seat: int) -> float | None:
        """Return when a turn ends as things are, on the clock; None while it has no end."""
        turn = self._turns.get(seat)
        return self._end_s(turn, turn.wanted_s) if turn is not None else None

    def ends_in_s(self, seat: int) -> float | None:
        """Return in how many seconds that is, as people are told."""
        ends_s = self.ends_s(seat)
        return None if ends_s is None else round(max(0.0, ends_s - self._clock()), 1)

    def would_end_s(self, seat: int) -> float | None:
        """Return when a turn would end with one more who waits."""
        turn = self._turns.get(seat)
        if turn is None:
            return None
        return self._end_s(turn, self._clock() if turn.wanted_s is None else turn.wanted_s)

    def _end_s(self, turn: _Turn, wanted_s: float | None) -> float | None:
        if wanted_s is None or self.turn_s is None:
            return None
        return max(turn.began_s + self.turn_s, wanted_s + self.warning_s)

    def over(self) -> list[int]:
        """Return the seats whose turn has ended."""
        now_s = self._clock()
        return [seat for seat in self._turns if (at := self.ends_s(seat)) is not None and at <= now_s]

    def due_s(self) -> float | None:
        """Return when somebody is to be warned, or a turn ends."""
        now_s = self._clock()
        ends_s = [at for seat in self._turns if (at := self.ends_s(seat)) is not None]
        moments = [at - self.warning_s for at in ends_s if at - self.warning_s > now_s] + ends_s
        return min(moments, default=None)
