"""When a picture was where, and what is true of the last seconds. Pure: values and a clock in, values out.

    command asked ─▶ model began ─▶ emitted ─▶ encoding ─▶ sent        one clock, monotonic seconds

A client that knows these of a picture, and when it displayed it, can say what each part of the way took.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

#: What is shown to people as the present is true of so many seconds.
LATELY_S = 10.0


@dataclass(frozen=True, slots=True)
class PictureTimes:
    """One picture on its way to one viewer.

    began_s     when the model's own code began to make it
    emitted_s   when it was emitted
    encoding_s  when it was due and the encoder took it
    sent_s      when it was encoded and passed to the link
    """

    frame_id: int
    began_s: float
    emitted_s: float
    encoding_s: float
    sent_s: float = 0.0

    def since(self, origin_s: float) -> dict[str, float]:
        """Return all four in milliseconds since a moment, as they are told to clients."""
        return {
            "began_ms": ms_since(origin_s, self.began_s),
            "emitted_ms": ms_since(origin_s, self.emitted_s),
            "encoding_ms": ms_since(origin_s, self.encoding_s),
            "sent_ms": ms_since(origin_s, self.sent_s),
        }


def ms_since(origin_s: float, moment_s: float) -> float:
    return round((moment_s - origin_s) * 1000, 2)


class Lately:
    """Totals that only grow, remembered for `LATELY_S`: what they grew by tells how it is now."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._past: deque[tuple[float, Sequence[float]]] = deque()

    def note(self, *totals: float) -> None:
        """Remember the totals of this moment; always the same ones in the same order."""
        now_s = self._clock()
        self._past.append((now_s, totals))
        while len(self._past) > 1 and self._past[1][0] <= now_s - LATELY_S:
            self._past.popleft()

    def mean_ms(self, seconds: int, count: int) -> float:
        """Return the mean of seconds per count, by their places in `note`; 0 while nothing was counted."""
        if not self._past:
            return 0.0
        first, last = self._past[0][1], self._past[-1][1]
        counted = last[count] - first[count]
        return round((last[seconds] - first[seconds]) / counted * 1000, 2) if counted else 0.0
