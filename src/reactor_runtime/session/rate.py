"""A token bucket: how many commands one viewer may send.

Pure: it is told the time and holds no task. One bucket per viewer, used on the event loop only. A bucket
starts full, loses one token per `take()` and refills at `rate_per_s` up to `burst`.
"""

from __future__ import annotations


class TokenBucket:
    """Allow `burst` at once and `rate_per_s` in the long run; refuse what is beyond, queue nothing."""

    def __init__(self, rate_per_s: float, burst: int) -> None:
        self._rate_per_s = rate_per_s
        self._burst = float(burst)
        self._tokens = float(burst)
        self._at_s: float | None = None
        self.refused = 0
        """How many were refused, for /metrics."""

    def take(self, now_s: float, cost: float = 1.0) -> bool:
        """Take `cost` tokens at `now_s` (monotonic). False when there are fewer: the caller refuses."""
        # A clock that steps back earns nothing, and costs nothing either.
        passed_s = 0.0 if self._at_s is None else max(0.0, now_s - self._at_s)
        self._tokens = min(self._burst, self._tokens + passed_s * self._rate_per_s)
        self._at_s = now_s
        if self._tokens < cost:
            self.refused += 1
            return False
        self._tokens -= cost
        return True
