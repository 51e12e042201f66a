"""How often a lost model process is started again, and after what pause. Pure: it takes the time.

A model that dies once deserves another try at once; one that dies every time it is loaded must not burn
a machine for ever. The budget is a number of restarts within a sliding window.
"""

from __future__ import annotations

from collections import deque

from .. import limits


class RestartBudget:
    """`restarts` within `window_s`, each after a longer pause. Times are monotonic seconds."""

    def __init__(
        self,
        restarts: int,
        *,
        window_s: float = limits.RESTART_WINDOW_S,
        backoff_s: tuple[float, ...] = limits.RESTART_BACKOFF_S,
    ) -> None:
        self._restarts = restarts
        self._window_s = window_s
        self._backoff_s = backoff_s
        self._recent: deque[float] = deque()
        self.total = 0

    def pause_s(self, now_s: float) -> float | None:
        """Take one restart; return the pause before it, or None when the budget is used up."""
        while self._recent and now_s - self._recent[0] > self._window_s:
            self._recent.popleft()
        if len(self._recent) >= self._restarts:
            return None
        pause_s = self._backoff_s[min(len(self._recent), len(self._backoff_s) - 1)]
        self._recent.append(now_s)
        self.total += 1
        return pause_s
