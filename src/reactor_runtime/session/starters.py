"""Whose session is meant where none is named. Pure.

Published clients name none when they end theirs. On a server of several slots the one is meant that the same client
started: known by its address and by what it calls itself, because they bring nothing else from one request to the
next (no cookie, no token, and behind a proxy one connection carries many clients). Two browsers of one kind behind one
address look alike. Nobody's session is ended for another's, so among several that look alike a leave is kept for
`limits.LEAVE_MEANT_S`: whoever leaves closes his connection next, and the first of them that is left alone is the
one. If none is, its time without a viewer ends it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from .. import limits

#: How a client is known again: of whom, from where, and what it calls itself.
Client: TypeAlias = tuple[str, ...]


class Starters:
    """Who started which session that runs, oldest first."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._by: dict[str, Client] = {}
        self._leaving: dict[Client, list[float]] = {}
        """Until when the leaves of a client are kept that may be of several sessions; no more than those."""

    def began(self, session_id: str, client: Client) -> None:
        self._by[session_id] = client

    def ended(self, session_id: str) -> None:
        client = self._by.pop(session_id, None)
        if client is not None and client not in self._by.values():
            self._leaving.pop(client, None)

    def of(self, client: Client) -> list[str]:
        """Return the sessions that somebody who looks like this started."""
        return [session_id for session_id, starter in self._by.items() if starter == client]

    def leave(self, client: Client) -> str | None:
        """Return the session that is meant by a client which started some; None: one of several."""
        own = self.of(client)
        if len(own) == 1:
            return own[0]
        kept = self._leaving.setdefault(client, [])
        kept.append(self._clock() + limits.LEAVE_MEANT_S)
        del kept[: -len(own)]
        return None

    def is_left(self, session_id: str) -> bool:
        """Whether a session that has just lost its last viewer is one that was meant; each leave is of one."""
        kept = self._leaving.get(self._by.get(session_id, ()), [])
        while kept:
            if self._clock() < kept.pop(0):
                return True
        return False
