"""What the owner of a ticket is told: how it stands, and how long it will be. Pure.

The line is played out for all places at once, as seldom as people ask; see `estimate.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from .. import limits
from ..types import JsonObject
from .estimate import Busy, Estimate, Wait
from .line import At, Line, Ticket
from .seats import Seat
from .turns import Turns

#: How long an estimate is good for.
ESTIMATE_S: Final = limits.LINE_POLL_S


class Prospects:
    """Of one line. `since_s`: since when each seat is somebody's, an offer included."""

    def __init__(
        self,
        line: Line,
        turns: Turns,
        seats: Sequence[Seat],
        since_s: Mapping[int, float],
        clock: Callable[[], float],
    ) -> None:
        self._line = line
        self._turns = turns
        self._seats = {seat.number: seat for seat in seats}
        self._since_s = since_s
        self._clock = clock
        self._estimate = Estimate(turns.turn_s)
        self._waits: list[Wait] | None = None
        self._made = (0.0, 0)
        """When the estimate was made, and for how many places."""

    def took(self, length_s: float) -> None:
        """A seat was had for so long."""
        self._estimate.took(length_s)

    def document(self, ticket: Ticket) -> JsonObject:
        """Return how a ticket stands, as its owner is told."""
        now_s = self._clock()
        state = At.CLAIM if ticket.at is At.STARTING else ticket.at
        said: JsonObject = {"state": state.value, "poll_s": limits.LINE_POLL_S, "turn_s": self._turns.turn_s}
        match state:
            case At.WAITING:
                place = self._line.place(ticket)
                wait = self._wait(place)
                estimate = None if wait is None else {"p50": wait.p50_s, "p90": wait.p90_s}
                return {**said, "place": place, "estimate_s": estimate}
            case At.CLAIM:
                return {**said, "claim_by_s": round(max(0.0, ticket.claim_by_s - now_s), 1)}
            case At.DRIVING:
                assert ticket.seat is not None
                session_id = self._seats[ticket.seat].session_id
                ends_in_s = self._turns.ends_in_s(ticket.seat)
                return {**said, "session_id": session_id, "ends_in_s": ends_in_s}
            case _:
                return {**said, "reason": ticket.reason}

    def _wait(self, place: int) -> Wait | None:
        now_s, (made_s, places) = self._clock(), self._made
        if now_s > made_s + ESTIMATE_S or place > places:
            places = len(self._line.waiting())
            # Of a model that is being loaded nobody knows when it is driven again.
            there = [seat for seat in self._seats.values() if not (seat.closed or seat.lost)]
            in_use = [self._busy(seat, now_s) for seat in there]
            self._waits, self._made = self._estimate.waits(in_use, places), (now_s, places)
        return None if self._waits is None else self._waits[place - 1]

    def _busy(self, seat: Seat, now_s: float) -> Busy:
        ends_s = self._turns.would_end_s(seat.number)
        since_s = self._since_s.get(seat.number, now_s)
        return Busy(now_s - since_s, None if ends_s is None else max(0.0, ends_s - now_s))


def news(document: JsonObject) -> JsonObject:
    """Return what of a document is worth telling at once; the rest is only time that passes."""
    return {key: document.get(key) for key in ("state", "place", "session_id", "reason")} | {
        "ends": document.get("ends_in_s") is not None
    }
