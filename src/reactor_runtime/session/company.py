"""Who is in a session together: how many watch, and who of them drives. Pure.

Where one has the wheel, that one drives. Where everybody may, whoever had a command accepted in the last
`limits.DRIVES_S` does; so does whoever was the last to, however long ago, because a key may be held for minutes.
Nobody has a name here, so each is told how many others there are.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from .. import limits
from ..wire import messages as say


class Company:
    """Used on the event loop only; connections by their ids."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._drove_s: dict[int, float] = {}
        """When each last drove, the latest last; only of those who are here."""
        self._told: dict[int, say.Company] = {}

    def drove(self, who: int) -> None:
        """One of its commands was accepted."""
        self._drove_s.pop(who, None)
        self._drove_s[who] = self._clock()

    def left(self, who: int) -> None:
        self._drove_s.pop(who, None)
        self._told.pop(who, None)

    def news(self, here: Collection[int], drivers: Collection[int] | None = None) -> dict[int, say.Company]:
        """Return what those who are here are to be told, where it is not what they know already.

        `drivers`: who has the wheel; None where everybody may drive.
        """
        drivers = self._active(here) if drivers is None else [who for who in drivers if who in here]
        now = {who: say.Company(len(here), len(drivers), who in drivers) for who in here}
        news = {who: company for who, company in now.items() if self._told.get(who) != company}
        self._told.update(news)
        return news

    def _active(self, here: Collection[int]) -> Collection[int]:
        since_s = self._clock() - limits.DRIVES_S
        drivers = {who for who, drove_s in self._drove_s.items() if drove_s >= since_s and who in here}
        return drivers.union([who for who in self._drove_s if who in here][-1:])
