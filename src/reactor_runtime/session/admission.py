"""Who gets a free slot, and who is told what instead. Pure: values and a clock in, values out.

    ask() ─▶ a request's place in the line ─▶ decide() as often as something moved ─▶ leave()

While a slot closes, or is free for somebody further ahead, a request waits for its turn, for `patience_s` at most;
everything else is answered at once. First come, first served.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from .. import limits
from ..errors import SessionRefused
from .lifecycle import State, refusal_to_start


@dataclass(frozen=True, slots=True)
class SlotView:
    """What admission sees of a slot. `detail` says why it is as it is, where that is known."""

    state: State
    detail: str | None = None


#: What a slot looks like, for whoever comes without a ticket, while it is kept for somebody in the line.
KEPT: Final = SlotView(State.WAITING)


@dataclass(frozen=True, slots=True)
class Request:
    """A wish for a session. `until_s`: how long it may wait, on the clock."""

    number: int
    until_s: float


@dataclass(frozen=True, slots=True)
class Admitted:
    """Slot `index` is this request's, if it is taken before anything else happens."""

    index: int


@dataclass(frozen=True, slots=True)
class Place:
    """Ask again when a slot has moved. `number` is 1 for whoever is next."""

    number: int


@dataclass(frozen=True, slots=True)
class Refusal:
    error: SessionRefused


Decision: TypeAlias = Admitted | Place | Refusal

#: Which slot's state is told to whoever is refused: the one from which most is to be hoped.
_HOPE = (State.CREATED, State.CLOSING, State.WAITING, State.STREAMING, State.ORPHANED, State.TERMINATED)


class Admission:
    """The line of those who wait for one server's slots."""

    def __init__(self, *, patience_s: float, clock: Callable[[], float]) -> None:
        self._patience_s = patience_s
        self._clock = clock
        self._line: list[Request] = []
        self._asked = 0

    def ask(self) -> Request:
        """Join the line at its end. Whoever asked must `leave`, whatever is decided."""
        self._asked += 1
        request = Request(self._asked, self._clock() + self._patience_s)
        self._line.append(request)
        return request

    def leave(self, request: Request) -> None:
        """Leave the line; the place of everybody behind moves up."""
        self._line.remove(request)

    def decide(self, request: Request, slots: Sequence[SlotView], *, draining: bool) -> Decision:
        """Say what becomes of a request as things are now."""
        if draining:
            return Refusal(SessionRefused("the server is shutting down", status=503, retry_after_s=10))
        ahead = self._line.index(request)
        free = [index for index, slot in enumerate(slots) if slot.state is State.READY]
        if ahead < len(free):
            return Admitted(free[ahead])
        hopeful = bool(free) or any(slot.state is State.CLOSING for slot in slots)
        if hopeful and self._clock() < request.until_s and ahead - len(free) < limits.STARTS_WAITING:
            return Place(ahead - len(free) + 1)
        states = [slot.state for slot in slots]
        return Refusal(_refusal(next((slots[states.index(s)] for s in _HOPE if s in states), slots[0])))


def _refusal(slot: SlotView) -> SessionRefused:
    if slot.state is State.TERMINATED and slot.detail is not None:
        return SessionRefused(slot.detail, status=503)
    return refusal_to_start(slot.state)
