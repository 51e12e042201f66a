"""Which rendition of a picture each viewer is sent, and what each is encoded for. Pure: it is told the time.

    full   the model's size, at what those take who take most of it
    low    half of each side, at what its poorest viewer takes; made only while somebody is on it

A viewer whose line takes less than DOWN of what the best one's takes leaves the full rendition as soon as that shrinks
or no longer grows, and holds nobody down meanwhile. It comes back when its line takes UP of that for UP_S. Congestion
control knows no more of a line than is sent over it, and some of it learns slowly: so what grows is waited for, what
is really sent counts where a still scene needs less, and a viewer whose line has SPARE of what the low rendition needs
is tried on the full one; a trial that fails doubles the pause before the next. On a line that takes not even FLOOR
phases of keyframes alone follow phases of all pictures, and after SLOW_S of both the viewer is too slow. One `Standing`
per viewer and track, judged with the others of its codec.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

Rendition: TypeAlias = Literal["full", "low"]
RENDITIONS: Final[tuple[Rendition, ...]] = ("full", "low")

#: Bits per second that an encoder never goes below. Who cannot take even that holds nobody else down.
FLOOR: Final[Mapping[Rendition, int]] = {"full": 250_000, "low": 160_000}
#: The low rendition's ceiling, as a share of the full one's.
LOW_SHARE: Final = 0.5
#: Shares of what the best line takes: a line below DOWN leaves the full rendition, one from UP on comes back, for which
#: it waits UP_S, or UP_FIRST_S where its line was never known to be better: congestion control has just begun.
DOWN: Final = 0.7
UP: Final = 0.8
UP_S: Final = 3.0
UP_FIRST_S: Final = 0.3
#: A line that takes too little is waited for while it grows by GROWS each GROWS_S, for TRIAL_S at most, and not at all
#: when it takes LOST of what it took.
GROWS: Final = 1.03
GROWS_S: Final = 1.0
LOST: Final = 0.9
TRIAL_S: Final = 8.0
#: A line has room for what is sent if it takes this many times as much.
ROOM: Final = 1.1
#: A line that takes this many times what the low rendition needs is tried on the full one, after TRY_S of that.
SPARE: Final = 1.3
TRY_S: Final = 6.0
TRY_MAX_S: Final = 60.0
#: A viewer that was on the full rendition for so long is tried again as soon as a new one.
STEADY_S: Final = 30.0
#: How long a phase of all pictures, or of keyframes, lasts for a line that takes less than the low rendition's floor;
#: and the growth within one that says that it will take more.
PHASE_S: Final = 6.0
PHASE_GROWS: Final = 1.15
SLOW_S: Final = 30.0
#: Over how long what is sent is averaged.
SENT_S: Final = 1.0


@dataclass(slots=True)
class Standing:
    """Where one viewer stands. `limit` is what its line takes in bits per second, None while nothing is known."""

    limit: int | None = None
    rendition: Rendition = "full"
    keyframes_only: bool = False
    too_slow: bool = False
    _proved: bool = False
    """Whether it is known that its line took the full rendition at some time."""
    _short_s: float | None = None
    """Since when its line has taken less than the full rendition needs."""
    _grown: tuple[int, float] = (0, 0.0)
    """What it took when it last grew or began to be short, and when."""
    _able_s: float | None = None
    _spare_s: float | None = None
    _trial: bool = False
    _full_s: float = math.inf
    """Since when it has been on the full rendition, and able to."""
    _pause_s: float = TRY_S
    _starved_s: float | None = None
    _phase: tuple[int, float] = (0, 0.0)
    """What its line took when the phase began, and when that was."""

    def on_full(self, need: float, now_s: float) -> None:
        """Judge whether its line takes `need`."""
        if self.limit is None or self.limit >= need:
            self._proved = self._proved or self.limit is not None
            self._short_s, self._trial = None, False
            self._full_s = min(self._full_s, now_s)
            if now_s - self._full_s >= STEADY_S:
                self._pause_s = TRY_S
            return
        self._full_s = math.inf
        if self._short_s is None:
            self._short_s, self._grown = now_s, (self.limit, now_s)
        took, at_s = self._grown
        if self.limit >= GROWS * took:
            self._grown = self.limit, now_s
        elif self.limit < LOST * took or now_s - at_s >= GROWS_S or now_s - self._short_s >= TRIAL_S:
            if self._trial:
                self._pause_s = min(2 * self._pause_s, TRY_MAX_S)
            self._go("low")

    def on_low(self, need: float, low_bits_per_s: float | None, now_s: float) -> None:
        """Judge whether its line takes `need`, or has room to spare, or takes not even this."""
        if self.limit is None or self.limit >= need:
            self._able_s = now_s if self._able_s is None else self._able_s
            if now_s - self._able_s >= (UP_S if self._proved else UP_FIRST_S):
                self._go("full")
                return
        else:
            self._able_s = None
            if (
                low_bits_per_s is not None
                and self.limit >= SPARE * low_bits_per_s
                and not self.keyframes_only
            ):
                self._spare_s = now_s if self._spare_s is None else self._spare_s
                if now_s - self._spare_s >= self._pause_s:
                    self._go("full")
                    self._trial = True
                    return
            else:
                self._spare_s = None
        self._starve(low_bits_per_s, now_s)

    def _starve(self, low_bits_per_s: float | None, now_s: float) -> None:
        tight = self.keyframes_only or (
            low_bits_per_s is not None and ROOM * low_bits_per_s >= (self.limit or 0)
        )
        if self.limit is None or self.limit >= FLOOR["low"] or not tight:
            self._starved_s, self.keyframes_only = None, False
            return
        if self._starved_s is None:
            self._starved_s, self._phase = now_s, (self.limit, now_s)
        self.too_slow = now_s - self._starved_s >= SLOW_S
        took, began_s = self._phase
        if now_s - began_s < PHASE_S:
            return
        if not self.keyframes_only and self.limit >= PHASE_GROWS * took:
            self._starved_s = None
        else:
            self._phase, self.keyframes_only = (self.limit, now_s), not self.keyframes_only

    def _go(self, rendition: Rendition) -> None:
        self.rendition = rendition
        self._short_s = self._able_s = self._spare_s = self._starved_s = None
        self._full_s = math.inf
        self._trial = self.keyframes_only = False


def choose(
    standings: Sequence[Standing], *, ceiling: int, sent: Mapping[Rendition, float], now_s: float
) -> dict[Rendition, int]:
    """Give each viewer its rendition and return what each rendition is to be encoded for, in bits per second.

    `ceiling` is the full rendition's; `sent` what is really sent of each, as far as it is known.
    """
    ceiling = max(ceiling, FLOOR["full"])
    lines = [min(ceiling, standing.limit or ceiling) for standing in standings]
    best = max(lines, default=ceiling)
    stay = max(FLOOR["full"], DOWN * best)
    come_back = stay * UP / DOWN
    now_sent = sent.get("full") if any(standing.rendition == "full" for standing in standings) else None
    if now_sent is not None:
        stay, come_back = min(stay, ROOM * now_sent), min(come_back, SPARE * now_sent)
    for standing in standings:
        if standing.rendition == "full":
            standing.on_full(stay, now_s)
        else:
            standing.on_low(come_back, sent.get("low"), now_s)
    on_full = [min(ceiling, s.limit or ceiling) for s in standings if s.rendition == "full"]
    on_low = [s.limit or ceiling for s in standings if s.rendition == "low" and not s.keyframes_only]
    low_ceiling = max(FLOOR["low"], int(ceiling * LOW_SHARE))
    # Who is leaving the full rendition is sent it until the other's keyframe comes, so alone it is not raised.
    holding = [line for line in on_full if line >= DOWN * best] or on_full or lines
    return {
        "full": _least(holding, FLOOR["full"], ceiling),
        "low": _least([line for line in on_low if line >= FLOOR["low"]] or on_low, FLOOR["low"], low_ceiling),
    }


def _least(lines: Sequence[int], floor: int, ceiling: int) -> int:
    return max(floor, min([ceiling, *lines]))


class Sent:
    """Bits per second that are sent, averaged over SENT_S."""

    def __init__(self) -> None:
        self._value = 0.0
        self._at_s: float | None = None
        self._began_s: float | None = None

    def add(self, size_bytes: int, now_s: float) -> None:
        self._began_s = now_s if self._began_s is None else self._began_s
        self._value = self.bits_per_s(now_s) + 8 * size_bytes / SENT_S
        self._at_s = now_s

    def settled(self, now_s: float) -> bool:
        """Whether it has been counted for long enough to mean something."""
        return self._began_s is not None and now_s - self._began_s >= 2 * SENT_S

    def bits_per_s(self, now_s: float) -> float:
        if self._at_s is None:
            return 0.0
        return self._value * math.exp(-(now_s - self._at_s) / SENT_S)
