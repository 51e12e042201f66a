"""What a line takes, made of the receiver's reports alone: for an engine without congestion control. Pure.

Chromium tells aiortc no rate (REMB): nothing told it that a line of 0.5 Mbit/s is sent 2, of which three quarters are
lost. But each second it reports what share was lost, and the round trip, which a queue makes longer. The rate falls
below what was delivered when much was lost or the round trip has grown, and then waits until reports can know of
that; it stays while the queue becomes shorter, and rises else. The least round trip so far is taken for the line's own.
"""

from __future__ import annotations

import math
from typing import Final

#: Little at first: what a line does not take stands in its buffer, and a report comes once in a second.
START: Final = 400_000
#: Until the first trouble a line that loses some by itself grows as well, up to what makes a good picture.
FAIR: Final = 1_000_000
LEAST: Final = 100_000
MOST: Final = 20_000_000
#: A long round trip alone, which may be the line's own, makes it no lower than this.
LEAST_LATE: Final = 160_000
#: Shares of lost packets: beyond LOSSY too much is sent; below CLEAN more may be.
LOSSY: Final = 0.1
CLEAN: Final = 0.02
#: A round trip longer than the least by this stands for a queue; the first one may have met one already.
LATE_S: Final = 0.1
LEAST_MAX_S: Final = 0.4
#: A round trip that is shorter than the last by this: the queue becomes shorter.
SHORTER_S: Final = 0.02
#: Steps for each report: down to these shares of what was delivered, and up, faster until the first trouble.
DOWN_FIRST: Final = 0.5
DOWN_LATE: Final = 0.85
DOWN_LOSSY: Final = 0.7
UP_FIRST: Final = 1.5
UP: Final = 1.08
#: What is reported so long after a step down is of before, and a round trip longer.
STALE_S: Final = 1.0
#: The rate grows no further beyond what is really sent: it would say nothing of the line.
HEADROOM: Final = 1.6


class ReportedRate:
    """One per track that is sent. `bits_per_s` is what the line is taken to take."""

    def __init__(self) -> None:
        self.bits_per_s = START
        self._least_s, self._last_s = LEAST_MAX_S, math.inf
        self._troubled = False
        self._stale_until_s = -math.inf

    def reported(
        self, *, lost: float, round_trip_s: float | None, sent_bits_per_s: float, now_s: float
    ) -> int:
        """Take one report: the share of packets that were lost since the last, the round trip, and what was sent."""
        if round_trip_s is None:
            return self.bits_per_s
        self._least_s = min(self._least_s, round_trip_s)
        late_s, shorter_s = round_trip_s - self._least_s, self._last_s - round_trip_s
        self._last_s = round_trip_s
        if now_s < self._stale_until_s:
            return self.bits_per_s
        if lost > LOSSY or (late_s > LATE_S and shorter_s < SHORTER_S):
            down = DOWN_LOSSY if lost > LOSSY else DOWN_LATE
            delivered = min(self.bits_per_s, sent_bits_per_s * (1 - lost))
            lowered = (down if self._troubled else DOWN_FIRST) * delivered
            self.bits_per_s = int(min(self.bits_per_s, max(LEAST if lost > LOSSY else LEAST_LATE, lowered)))
            self._troubled = True
            self._stale_until_s = now_s + STALE_S + round_trip_s
        elif late_s <= LATE_S and (shorter_s < SHORTER_S or not self._troubled):
            raised = self.bits_per_s * (UP if self._troubled else UP_FIRST)
            most = MOST if lost < CLEAN else 0 if self._troubled else FAIR
            self.bits_per_s = int(max(self.bits_per_s, min(raised, HEADROOM * sent_bits_per_s, most)))
        return self.bits_per_s
