"""What happens to packets on one direction of a bad line. Pure: a clock passed in, a seed, no sockets.

    packet ──▶ blackout? UDP barred? ──▶ lost? ──▶ buffer full? ──▶ sent at the line's rate ──▶ delay + jitter ──▶

As on a real line, packets stay in order: jitter holds up those behind as well. A packet that is lost takes its
share of the rate first only when it was lost behind the bottleneck, which we leave out: loss comes before the buffer.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

#: Of a home router, in bytes: about 100 ms at 10 Mbit/s and 1 s at 1 Mbit/s.
BUFFER_BYTES = 128 * 1024


@dataclass(frozen=True)
class Conditions:
    """One direction of a line.

    `loss` is a share of packets, in bursts of `burst` packets on average (Gilbert's model); 1 is independent loss.
    `jitter_ms` is the width of an even spread on top of `delay_ms`. `rate_bit_s` 0 is without limit; what does not
    fit into `buffer_bytes` before it is dropped. `blackouts` are spans of seconds since the conditions were set, in
    which nothing passes. Without `udp` only TCP passes (and ICMP).
    """

    loss: float = 0.0
    burst: float = 1.0
    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    rate_bit_s: float = 0.0
    buffer_bytes: int = BUFFER_BYTES
    blackouts: Sequence[tuple[float, float]] = ()
    udp: bool = True

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


class Line:
    """One direction. `counts` says what became of the packets: passed, lost, full, dark, barred."""

    def __init__(self, conditions: Conditions, *, seed: int, now_s: float = 0.0) -> None:
        self._random = random.Random(seed)
        self.counts: Counter[str] = Counter()
        self._free_s = self._last_s = now_s
        self._losing = False
        self.become(conditions, now_s)

    def become(self, conditions: Conditions, now_s: float) -> None:
        """Change from now on. What is under way arrives as it would have; blackouts count from now."""
        self._is = conditions
        self._since_s = now_s

    def arrival(self, size_bytes: int, now_s: float, *, is_udp: bool = True) -> float | None:
        """Return when a packet that is sent now arrives, None if never."""
        fate, at_s = self._fate(size_bytes, now_s, is_udp)
        self.counts[fate] += 1
        return at_s

    def _fate(self, size_bytes: int, now_s: float, is_udp: bool) -> tuple[str, float | None]:
        how = self._is
        dark_s = now_s - self._since_s
        if any(begin <= dark_s < end for begin, end in how.blackouts):
            return "dark", None
        if is_udp and not how.udp:
            return "barred", None
        if self._is_lost():
            return "lost", None
        sent_s = max(now_s, self._free_s)
        if how.rate_bit_s:
            if (sent_s - now_s) * how.rate_bit_s / 8 + size_bytes > how.buffer_bytes:
                return "full", None
            sent_s += size_bytes * 8 / how.rate_bit_s
        self._free_s = sent_s
        late_s = (how.delay_ms + self._random.uniform(0, how.jitter_ms)) / 1000
        self._last_s = max(self._last_s, sent_s + late_s)
        return "passed", self._last_s

    def _is_lost(self) -> bool:
        how = self._is
        if not how.loss:
            return False
        if how.burst <= 1:
            return self._random.random() < how.loss
        # The share of time in the losing state is loss, and a stay there is burst packets long.
        leave = 1 / how.burst
        enter = leave * how.loss / (1 - how.loss)
        self._losing = self._random.random() < (1 - leave if self._losing else enter)
        return self._losing
