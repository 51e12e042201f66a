"""Whose session is meant where none is named. Pure.

Published clients name none when they end theirs. The one is meant that the same client started: known by its address
and by what it calls itself, because they bring nothing else from one request to the next: no cookie, no token, and
through a proxy one connection carries many clients. Two of one kind behind one address look alike. Nobody's session
is ended for another's, so among several that look alike the one is meant that is left alone at about the same time,
since who ends his session also hangs up: just before, as the Python client does, or just after, as the JavaScript
client does; until then the leave is kept. If none is left alone, its time without a viewer ends it.

A client whose session was ended by others ends it once more when it is closed, which may be minutes later. So while
such a stop may still come, the only session of those that look alike is one of several as well.
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
        self._began_s: dict[str, float] = {}
        self._seen: set[str] = set()
        """Those that had a viewer."""
        self._stopped: set[str] = set()
        """Those that their client ends, until they are over."""
        self._late_s: dict[Client, float] = {}
        """Until when a stop may come for a session that others have ended. The time bounds them."""

    def began(self, session_id: str, client: Client) -> None:
        self._by[session_id] = client
        self._began_s[session_id] = self._clock()

    def stopped(self, session_id: str) -> None:
        """Its client ends a session, which asks for no second stop."""
        self._stopped.add(session_id)

    def ended(self, session_id: str) -> None:
        client = self._by.pop(session_id, None)
        for each in (self._alone_s, self._began_s):
            each.pop(session_id, None)
        if client is None:
            return
        if session_id not in self._stopped:
            self._late_s[client] = self._clock() + limits.LATE_STOP_S
            self._late_s = {who: until_s for who, until_s in self._late_s.items() if until_s > self._clock()}
        self._stopped.discard(session_id)
        self._seen.discard(session_id)
        if client not in self._by.values():
            self._leaving.pop(client, None)

    def who(self, session_id: str) -> Client | None:
        """Return who started a session; None where nobody is known to."""
        return self._by.get(session_id)

    def of(self, client: Client) -> list[str]:
        """Return the sessions that somebody who looks like this started."""
        return [session_id for session_id, starter in self._by.items() if starter == client]

    def leave(self, client: Client) -> str | None:
        """Return the session that is meant by a client which started some; None: one of several."""
        own = self.of(client)
        earliest_s = self._clock() - limits.LEFT_MEANT_S
        if len(own) == 1:
            if not self._may_be_late(client, own[0]):
                return own[0]
            # One stop is used up, whoever sent it.
            del self._late_s[client]
        left = [session_id for session_id in own if self._alone_s.get(session_id, earliest_s) > earliest_s]
        if left:
            return max(left, key=self._alone_s.__getitem__)
        kept = self._leaving.setdefault(client, [])
        kept.append(self._clock() + limits.LEAVE_MEANT_S)
        del kept[: -len(own)]
        return None

    def _may_be_late(self, client: Client, running: str) -> bool:
        """Whether a stop may be meant for a session that is over, and would end this one for those who are in it."""
        now_s = self._clock()
        if now_s >= self._late_s.get(client, now_s):
            return False
        if running not in self._seen:
            return now_s < self._began_s[running] + limits.JOIN_S
        alone_for_s = now_s - self._alone_s.get(running, now_s - limits.LEFT_MEANT_S)
        return limits.LEFT_MEANT_S <= alone_for_s < limits.SEAT_KEPT_S

    def watched(self, session_id: str) -> None:
        """Somebody watches a session that had no viewers."""
        self._alone_s.pop(session_id, None)
        if session_id in self._by:
            self._seen.add(session_id)

    def is_left(self, session_id: str) -> bool:
        """Whether a session that has just lost its last viewer is one that was meant; each leave is of one."""
        if session_id not in self._by:
            return False
        self._alone_s[session_id] = self._clock()
        kept = self._leaving.get(self._by[session_id], [])
        while kept:
            if self._clock() < kept.pop(0):
                self._stopped.add(session_id)
                return True
        return False
