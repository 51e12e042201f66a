"""Whose session is meant where none is named. Pure.

Published clients name none when they end theirs. On a server of several slots the one is meant that the same client
started: known by its address and by what it calls itself, because they bring nothing else from one request to the
next: no cookie, no token, and through a proxy one connection carries many clients. Two of one kind behind one address
look alike. Nobody's session is ended for another's, so among several that look alike the one is meant that is left
alone at about the same time, since who ends his session also hangs up: just before, as the Python client does, or
just after, as the JavaScript client does; until then the leave is kept. If none is left alone, its time without a
viewer ends it.
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
        self._alone_s: dict[str, float] = {}
        """When which session lost its last viewer."""

    def began(self, session_id: str, client: Client) -> None:
        self._by[session_id] = client

    def ended(self, session_id: str) -> None:
        client = self._by.pop(session_id, None)
        self._alone_s.pop(session_id, None)
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
        earliest_s = self._clock() - limits.LEFT_MEANT_S
        left = [session_id for session_id in own if self._alone_s.get(session_id, earliest_s) > earliest_s]
        if left:
            return max(left, key=self._alone_s.__getitem__)
        kept = self._leaving.setdefault(client, [])
        kept.append(self._clock() + limits.LEAVE_MEANT_S)
        del kept[: -len(own)]
        return None

    def watched(self, session_id: str) -> None:
        """Somebody watches a session that had lost its viewers."""
        self._alone_s.pop(session_id, None)

    def is_left(self, session_id: str) -> bool:
        """Whether a session that has just lost its last viewer is one that was meant; each leave is of one."""
        if session_id not in self._by:
            return False
        self._alone_s[session_id] = self._clock()
        kept = self._leaving.get(self._by[session_id], [])
        while kept:
            if self._clock() < kept.pop(0):
                return True
        return False
