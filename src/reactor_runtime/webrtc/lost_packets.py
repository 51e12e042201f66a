"""What a long line that loses packets is sent at most, so that its pictures seldom wait. Pure.

A lost packet is sent again a round trip later, and each picture behind it waits for that. At 3 % and 100 ms, 2 Mbit/s
are six lost packets a second: half of all pictures wait. Of fewer packets fewer are lost, so the rate is bounded to
what keeps pictures waiting for no more than WAITING of the time:

    loss x packets per second x round trip <= WAITING

A clean line and a short one are not held back: their bound is beyond what anybody is sent.
"""

from __future__ import annotations

import math
from typing import Final

#: The share of the time in which a picture may wait for a packet. The median picture does not.
WAITING: Final = 0.35
#: A packet of video, 1,200 bytes at most.
PACKET_BITS: Final = 8 * 1_100
#: Below this the picture is poor, and hardly less is lost: a picture is a packet at least.
LEAST: Final = 800_000
#: Loss is averaged over so long: a second's packets say little.
OVER_S: Final = 6.0


class LostPackets:
    """One per connection. `most` is the bound in bits per second."""

    def __init__(self, now_s: float) -> None:
        self.most = math.inf
        self._lost, self._at_s = 0.0, now_s

    def reported(self, *, lost: float, round_trip_s: float, now_s: float) -> None:
        """Take a report: the share of packets that were lost since the last, and the round trip."""
        kept = math.exp(-(now_s - self._at_s) / OVER_S)
        self._lost, self._at_s = kept * self._lost + (1 - kept) * lost, now_s
        waits = self._lost * round_trip_s
        self.most = max(LEAST, WAITING * PACKET_BITS / waits) if waits else math.inf
