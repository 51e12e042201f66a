"""How fast people may come in, so that those who are here notice nothing of it. Pure: it is told the time.

    ask() ─▶ how long to wait: nothing for a few at once, then one after the other         too long a wait: come again

Each WebRTC link begins with a handshake, an encoder of its own in the engine and a keyframe. A hundred at once would
take the cores from the picture for seconds. One doorway per session, on its event loop.
"""

from __future__ import annotations

from .. import limits


class Doorway:
    """Lets `burst` in at once and `rate_per_s` in the long run, in the order in which they ask."""

    def __init__(self, rate_per_s: float = limits.JOINS_PER_S, burst: int = limits.JOINS_BURST) -> None:
        self._each_s = 1 / rate_per_s
        self._burst_s = (burst - 1) / rate_per_s
        self._taken_until_s = float("-inf")
        """Up to when the doorway is promised, were each to take it for itself."""

    def ask(self, now_s: float) -> float | None:
        """Return how long to wait before coming in; None where that would be too long: the place is not taken."""
        taken_until_s = max(self._taken_until_s, now_s)
        wait_s = max(0.0, taken_until_s - self._burst_s - now_s)
        if wait_s > limits.JOIN_WAIT_S:
            return None
        self._taken_until_s = taken_until_s + self._each_s
        return wait_s
