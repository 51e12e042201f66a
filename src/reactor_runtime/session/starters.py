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
from dataclasses import dataclass
from typing import TypeAlias

from .. import limits

#: How a client is known again: of whom, from where, and what it calls itself.
Client: TypeAlias = tuple[str, ...]


@dataclass(slots=True)
class _Started:
    client: Client
    began_s: float
    seen: bool = False
    """Whether it had a viewer."""
    alone_s: float | None = None
    """When it lost its last viewer, while it has none."""
    stopped: bool = False
    """Whether its client ends it."""


class Starters:
    """Who started which session that runs, oldest first."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._started: dict[str, _Started] = {}
        self._leaving: dict[Client, list[float]] = {}
        """Until when the leaves of a client are kept that may be of several sessions; no more than those."""
        self._late_s: dict[Client, float] = {}
        """Until when a stop may come for a session that others have ended. The time bounds them."""

    def began(self, session_id: str, client: Client) -> None:
        """A client begins a session, or one that runs is handed over to it."""
        started = self._started.setdefault(session_id, _Started(client, self._clock()))
        started.client, started.began_s = client, self._clock()

    def stopped(self, session_id: str) -> None:
        """Its client ends a session, which asks for no second stop."""
        self._started[session_id].stopped = True

    def ended(self, session_id: str) -> None:
        over = self._started.pop(session_id, None)
        if over is None:
            return
        if not over.stopped:
            self._late_s[over.client] = self._clock() + limits.LATE_STOP_S
            self._late_s = {who: until_s for who, until_s in self._late_s.items() if until_s > self._clock()}
        if not self.of(over.client):
            self._leaving.pop(over.client, None)

    def who(self, session_id: str) -> Client | None:
        """Return who started a session; None where nobody is known to."""
        started = self._started.get(session_id)
        return started.client if started is not None else None

    def of(self, client: Client) -> list[str]:
        """Return the sessions that somebody who looks like this started."""
        return [session_id for session_id, each in self._started.items() if each.client == client]

    def leave(self, client: Client) -> str | None:
        """Return the session that is meant by a client which started some; None: one of several."""
        own = self.of(client)
        if len(own) == 1:
            if not self._may_be_late(client, self._started[own[0]]):
                return own[0]
            # One stop is used up, whoever sent it.
            del self._late_s[client]
        alone = {each: alone_s for each in own if (alone_s := self._started[each].alone_s) is not None}
        latest = max(alone, key=alone.__getitem__, default=None)
        if latest is not None and alone[latest] > self._clock() - limits.LEFT_MEANT_S:
            return latest
        kept = self._leaving.setdefault(client, [])
        kept.append(self._clock() + limits.LEAVE_MEANT_S)
        del kept[: -len(own)]
        return None

    def _may_be_late(self, client: Client, running: _Started) -> bool:
        """Whether a stop may be meant for a session that is over, and would end this one for those who are in it."""
        now_s = self._clock()
        if now_s >= self._late_s.get(client, now_s):
            return False
        if not running.seen:
            return now_s < running.began_s + limits.JOIN_S
        if running.alone_s is None:
            return True
        return limits.LEFT_MEANT_S <= now_s - running.alone_s < limits.SEAT_KEPT_S

    def watched(self, session_id: str) -> None:
        """Somebody watches a session that had no viewers."""
        if (started := self._started.get(session_id)) is not None:
            started.seen, started.alone_s = True, None

    def is_left(self, session_id: str) -> bool:
        """Whether a session that has just lost its last viewer is one that was meant; each leave is of one."""
        started = self._started.get(session_id)
        if started is None:
            return False
        started.alone_s = self._clock()
        kept = self._leaving.get(started.client, [])
        while kept:
            if self._clock() < kept.pop(0):
                started.stopped = True
                return True
        return False
