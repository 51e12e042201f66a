"""When a failed request is tried again, when a slow one is abandoned, and when all is given up.

Pure: the clock and the dice come from the caller. Back-off is exponential with full jitter (Brooker,
"Exponential Backoff And Jitter", AWS Architecture Blog, 2015), so that many downloaders that lost the same
store do not come back together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .. import limits


@dataclass(frozen=True, slots=True)
class Patience:
    """The bounds of one download; tests shorten them."""

    connect_s: float = limits.WEIGHTS_CONNECT_S
    stall_s: float = limits.WEIGHTS_STALL_S
    min_bytes_per_s: float = limits.WEIGHTS_MIN_BYTES_PER_S
    give_up_s: float = limits.WEIGHTS_GIVE_UP_S
    backoff_first_s: float = limits.WEIGHTS_BACKOFF_FIRST_S
    backoff_max_s: float = limits.WEIGHTS_BACKOFF_MAX_S

    def pause_s(self, failures: int, dice: Callable[[], float]) -> float:
        """Return how long to wait after this many failures in a row; `dice` gives numbers in [0, 1)."""
        ceiling = min(self.backoff_max_s, self.backoff_first_s * 2.0 ** min(failures - 1, 32))
        return ceiling * (0.1 + 0.9 * dice())

    def exhausted(self, *, last_progress_s: float, now_s: float) -> bool:
        """Tell whether nothing at all has arrived for too long."""
        return now_s - last_progress_s >= self.give_up_s


class Trickle:
    """Notices a connection that delivers, but too little. One per request."""

    def __init__(self, patience: Patience, now_s: float) -> None:
        self._patience = patience
        self._since_s = now_s
        self._bytes = 0

    def too_slow(self, size_bytes: int, now_s: float) -> bool:
        """Count a chunk; true when a whole window of `stall_s` brought less than the least rate."""
        self._bytes += size_bytes
        elapsed_s = now_s - self._since_s
        if elapsed_s < self._patience.stall_s:
            return False
        slow = self._bytes < self._patience.min_bytes_per_s * elapsed_s
        self._since_s, self._bytes = now_s, 0
        return slow
