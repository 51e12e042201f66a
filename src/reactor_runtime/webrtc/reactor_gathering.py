"""The candidates of one libwebrtc peer, and how long its answer waits for them.

Host ones come within milliseconds, an unreachable STUN server never ends. It is waited for once; after that its
silence is remembered. Without servers the end of gathering is not waited for either: libwebrtc reports it after it has
tried TCP, 0.1 s later. Its TCP candidates are of no use to us: see `ice_tcp.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

import reactor_webrtc as rw

from .. import limits
from .peer import IceServer
from .silence import SilentServers, is_from_server

#: No further host candidate for this long means that there are no more.
QUIET_S = 0.01


class Gathering:
    """`found` and `became` are told on the event loop."""

    def __init__(self, silent: SilentServers, ice_servers: Sequence[IceServer]) -> None:
        self._silent = silent
        self._ice_servers = tuple(ice_servers)
        self._ended = asyncio.Event()
        self.candidates: list[str] = []

    def found(self, candidate: str) -> None:
        if candidate and " tcp " not in candidate and candidate not in self.candidates:
            self.candidates.append(candidate)
            if is_from_server(candidate):
                self._silent.answered(self._ice_servers)

    def became(self, state: str) -> None:
        if state == str(rw.IceGatheringState.Complete):
            self._ended.set()

    async def wait(self) -> None:
        """Wait until there are no more candidates that are worth it."""
        loop = asyncio.get_running_loop()
        patient = self._silent.worth_waiting_for(self._ice_servers)
        give_up = loop.time() + limits.GATHER_S
        while not self._ended.is_set() and (left := give_up - loop.time()) > 0:
            known = len(self.candidates)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ended.wait(), min(left, QUIET_S))
            if not patient and known and known == len(self.candidates):
                return
        if not any(map(is_from_server, self.candidates)):
            self._silent.stayed_silent(self._ice_servers)
