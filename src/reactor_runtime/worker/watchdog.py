"""Judges the model process by its pulse, from the server process. Owned by a host, on its event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

from ..running.pulse import LANES, PulseLimits, PulseState, deadline_s

#: A check that comes later than this was late because this process stood still, and with it perhaps
#: the whole machine: the model gets a moment to show that it lives.
LATE_S: Final = 0.5
GRACE_S: Final = 0.2


class Watchdog:
    """Calls `on_hang(state, silent_s)` once, when a lane is silent for longer than its limit."""

    def __init__(
        self, words: memoryview, limits: PulseLimits, on_hang: Callable[[PulseState, float], None]
    ) -> None:
        self._words = words
        self._limits = limits
        self._on_hang = on_hang
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._plan(time.monotonic())

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _plan(self, now_s: float, at_least_s: float = 0.0) -> None:
        # A lane that cannot be hung now cannot be before the shortest limit has passed from now on.
        times = [deadline_s(self._words[lane], self._limits) for lane in range(LANES)]
        next_s = min(t if t is not None else now_s + self._limits.shortest_s for t in times)
        next_s = max(min(next_s, now_s + self._limits.shortest_s), now_s + at_least_s)
        self._timer = self._loop.call_later(next_s - now_s, self._check, next_s)

    def _check(self, planned_s: float) -> None:
        now_s = time.monotonic()
        words = [self._words[lane] for lane in range(LANES)]
        overdue = [w for w in words if (t := deadline_s(w, self._limits)) is not None and t <= now_s]
        if not overdue:
            # Timers fire a little early at times; a millisecond keeps this from spinning.
            self._plan(now_s, at_least_s=0.001)
        elif now_s - planned_s > LATE_S:
            self._plan(now_s, at_least_s=GRACE_S)
        else:
            self._timer = None
            self._on_hang(PulseState(overdue[0] & 7), now_s - (overdue[0] >> 3) / 1e9)
