"""On which worker a session runs, as a door remembers it for a moment: Placement is not asked for each candidate.

A session never moves, so what is remembered can only be over. Owned by a door, on its event loop.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable

from ..errors import SessionRefused
from ..types import JsonObject
from .limits import WHERE_MAX, WHERE_S


class Whereabouts:
    """`find` asks Placement: {url, key}, or None. Where it does not answer, what is known goes on counting."""

    def __init__(
        self, find: Callable[[str], Awaitable[JsonObject | None]], clock: Callable[[], float]
    ) -> None:
        self._find = find
        self._clock = clock
        self._known: OrderedDict[str, tuple[JsonObject, float]] = OrderedDict()

    async def of(self, session_id: str) -> JsonObject | None:
        """Return {url, key}; None for a session that does not run. Raises SessionRefused."""
        known = self._known.get(session_id)
        if known is not None and self._clock() < known[1]:
            return known[0]
        try:
            at = await self._find(session_id)
        except SessionRefused:
            if known is None:
                raise
            at = known[0]
        if at is None:
            self._known.pop(session_id, None)
        else:
            self.learn(session_id, at)
        return at

    def learn(self, session_id: str, at: JsonObject) -> None:
        self._known[session_id] = (at, self._clock() + WHERE_S)
        self._known.move_to_end(session_id)
        while len(self._known) > WHERE_MAX:
            self._known.popitem(last=False)

    def doubt(self, session_id: str) -> None:
        """What is known did not hold: ask again."""
        self._known.pop(session_id, None)
