"""What each track of one viewer is to be encoded for: what congestion control says, bounded where packets are lost.

Congestion control takes a few per cent of lost packets for a line's own and holds its rate; what that costs on a long
line is known of the receiver's reports, which are looked up each EVERY_S. On the event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import reactor_webrtc as rw

from .lost_packets import LostPackets

#: A receiver reports once in about this time.
EVERY_S = 1.0


class Rates:
    """`tell` is told a track's rate whenever it may have changed."""

    def __init__(self, tell: Callable[[str, int], None], clock: Callable[[], float]) -> None:
        self._tell = tell
        self._clock = clock
        self._allowed: dict[str, int] = {}
        self._lost = LostPackets(clock())

    def allow(self, track: str, bits_per_s: int) -> None:
        """Congestion control says so much."""
        self._allowed[track] = bits_per_s
        self._tell(track, int(min(bits_per_s, self._lost.most)))

    async def watch(self, look_up: Callable[[], Awaitable[rw.StatsReport]]) -> None:
        """Look up the receiver's reports until cancelled, or the connection has none any more."""
        while True:
            await asyncio.sleep(EVERY_S)
            try:
                report = await look_up()
            except RuntimeError:
                return
            self._judge([stream for stream in report.outbound_rtp if stream.packets_sent])

    def _judge(self, streams: list[rw.OutboundRtpStats]) -> None:
        if not streams:
            return
        before = self._lost.most
        self._lost.reported(
            lost=max(stream.fraction_lost for stream in streams),
            round_trip_s=max(stream.round_trip_time_s for stream in streams),
            now_s=self._clock(),
        )
        if self._lost.most != before:
            for track, bits_per_s in self._allowed.items():
                self.allow(track, bits_per_s)
