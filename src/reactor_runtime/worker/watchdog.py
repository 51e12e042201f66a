"""Judges the model process by its pulse, from the server process. Owned by a host, on its event loop.

    a lane that runs author code       silent for its own limit, see `PulseLimits`
    no lane does                       the process answers pings with its io lane; silent for hang_s: it is frozen
    the model's lane waits in emit     for a frame that has been overdue for hang_s: it will never come

Only time that both processes lived counts. A check that comes late was late because this process stood still,
and with it, perhaps, the whole machine: a laptop's lid, a paused container. That time is nobody's silence.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from ..running import pulse
from ..running.pulse import IO_LANE, LANES, MODEL_LANE, PulseLimits, PulseState

#: How often the lanes are looked at; a look that is later than this by LATE_S ends a pause.
TICK_S: Final = 0.25
LATE_S: Final = 0.5
#: How long after a pause the model may take to wake up as well.
GRACE_S: Final = 0.2
#: Pings within the time in which an unanswered one is a hang.
PINGS: Final = 10


class Watchdog:
    """Calls `on_hang(state, silent_s)` once, when there was no sign of life for longer than a limit."""

    def __init__(
        self,
        words: memoryview,
        limits: PulseLimits,
        on_hang: Callable[[PulseState, float], None],
        *,
        ping: Callable[[], None] | None = None,
        overdue_since: Callable[[], float | None] = lambda: None,
    ) -> None:
        """`ping` makes the process beat its io lane; `overdue_since`: when a frame was wanted that has not come."""
        self._words = words
        self._limits = limits
        self._on_hang = on_hang
        self._ping = ping
        self._overdue_since = overdue_since
        self._loop = asyncio.get_running_loop()
        self._pauses: deque[tuple[float, float]] = deque(maxlen=64)
        self._pinged_s = self._began_s = time.monotonic()
        self._timer: asyncio.TimerHandle | None = None
        self._plan(self._began_s)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _plan(self, now_s: float) -> None:
        due_s = [self._deadline_s(since_s, limit_s) for _, since_s, limit_s in self._silences()]
        # Timers fire a little early at times; a millisecond keeps this from spinning.
        next_s = max(min([now_s + TICK_S, *due_s]), now_s + 0.001)
        self._timer = self._loop.call_later(next_s - now_s, self._check, next_s)

    def _check(self, planned_s: float) -> None:
        now_s = time.monotonic()
        if now_s - planned_s > LATE_S:
            self._pauses.append((planned_s, now_s + GRACE_S))
        if self._ping is not None and now_s - self._pinged_s >= self._limits.hang_s / PINGS:
            self._pinged_s = now_s
            self._ping()
        for state, since_s, limit_s in self._silences():
            if self._deadline_s(since_s, limit_s) <= now_s:
                self._timer = None
                self._on_hang(state, now_s - since_s)
                return
        self._plan(now_s)

    def _silences(self) -> list[tuple[PulseState, float, float]]:
        """Return (state, since, limit) of everything that may be a hang one day if nothing changes."""
        lanes = [pulse.read(self._words[lane]) for lane in range(LANES)]
        judged = [
            (state, since_s, limit_s)
            for state, since_s in lanes
            if (limit_s := self._limits.of(state)) is not None
        ]
        if judged:
            return judged
        state, waits_since_s = lanes[MODEL_LANE]
        if self._ping is not None:
            _, answered_s = pulse.read(self._words[IO_LANE])
            life_s = max(self._began_s, answered_s, *(since_s for _, since_s in lanes))
            judged.append((state, life_s, self._limits.hang_s))
        if state is PulseState.GATED and (wanted_s := self._overdue_since()) is not None:
            judged.append((state, max(wanted_s, waits_since_s), self._limits.hang_s))
        return judged

    def _deadline_s(self, since_s: float, limit_s: float) -> float:
        """Return when a silence since then is too long, by the time that both processes lived."""
        deadline_s = since_s + limit_s
        for began_s, ended_s in self._pauses:
            if since_s < ended_s and began_s < deadline_s:
                deadline_s += ended_s - max(began_s, since_s)
        return deadline_s
