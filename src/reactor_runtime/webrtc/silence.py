"""Which STUN and TURN servers do not answer, so that no viewer waits for them. Pure.

An answer carries all our candidates, because nothing can be added to it later. Host candidates are there at
once, those that a STUN server tells about take a round trip, and those of a dead server never come. Waiting
is worth it only for servers that answered the last time.
"""

from __future__ import annotations

from collections.abc import Sequence

from .peer import IceServer


class SilentServers:
    """Remembers sets of servers by what they did last. One per engine, used on its event loop."""

    def __init__(self) -> None:
        self._silent: set[tuple[IceServer, ...]] = set()

    def worth_waiting_for(self, servers: Sequence[IceServer]) -> bool:
        return bool(servers) and tuple(servers) not in self._silent

    def answered(self, servers: Sequence[IceServer]) -> None:
        self._silent.discard(tuple(servers))

    def stayed_silent(self, servers: Sequence[IceServer]) -> None:
        if servers:
            self._silent.add(tuple(servers))


def is_from_server(candidate: str) -> bool:
    """Return whether a candidate line came from a STUN or TURN server (RFC 8839: typ srflx or relay)."""
    words = candidate.split()
    return "typ" in words[:-1] and words[words.index("typ") + 1] in ("srflx", "relay")
