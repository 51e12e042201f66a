"""Who waits for a seat, in which order, and what has become of each. Pure: values and a clock in, values out.

    join() ─▶ waiting ──offer()──▶ claim ──claim()──▶ starting ──started()──▶ driving ──ended()──▶ gone
                 ▲                   │ seat lost          │ failed here           │ lost before its first picture
                 └───────────────────┴────────────────────┴───────────────────────┘  back to the head

First come, first served: a place is the number of those who came before and still wait. Whoever comes back for
what was not his fault has his old number, so he is next. A ticket is a number that this server signed: nobody makes
one up, and one that is long gone is still known to have been real.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final, NoReturn

from .. import codes, limits
from ..errors import SessionRefused


class At(Enum):
    """How far a ticket is."""

    WAITING = "waiting"
    CLAIM = "claim"
    """A seat is kept for it, if it is claimed in time."""
    STARTING = "starting"
    """It is claimed, and the model is being made ready for it. Told as `claim`."""
    DRIVING = "driving"
    GONE = "gone"


class Event(Enum):
    OFFERED = "offered"
    CLAIMED = "claimed"
    STARTED = "started"
    FAILED = "failed"
    """What it was to have is gone, by no fault of its own."""
    UNHEARD = codes.UNHEARD
    UNCLAIMED = codes.UNCLAIMED
    ENDED = codes.ENDED
    """It drives no more."""
    LEFT = codes.LEFT
    CLOSED = codes.LINE_CLOSED
    """The server goes away, or no seat will ever be free again."""


_TABLE: Final[dict[tuple[At, Event], At]] = {
    (At.WAITING, Event.OFFERED): At.CLAIM,
    (At.CLAIM, Event.CLAIMED): At.STARTING,
    (At.STARTING, Event.STARTED): At.DRIVING,
    (At.CLAIM, Event.FAILED): At.WAITING,
    (At.STARTING, Event.FAILED): At.WAITING,
    (At.DRIVING, Event.FAILED): At.WAITING,
    (At.WAITING, Event.UNHEARD): At.GONE,
    (At.CLAIM, Event.UNCLAIMED): At.GONE,
    (At.DRIVING, Event.ENDED): At.GONE,
    # Whoever drives may drive on while the server drains.
    **{(at, Event.CLOSED): At.GONE for at in (At.WAITING, At.CLAIM, At.STARTING)},
    **{(at, Event.LEFT): At.GONE for at in (At.WAITING, At.CLAIM, At.STARTING, At.DRIVING)},
}


@dataclass(slots=True)
class Ticket:
    """One place in the line. Only its `Line` changes it."""

    number: int
    text: str
    wish: str
    """The session that it would like to drive, if that is one of several; "" for any."""
    person: str
    """Whose it is, as far as people are known apart; "" where they are not."""
    joined_s: float
    heard_s: float
    at: At = At.WAITING
    seat: int | None = None
    """The seat that it is offered or has."""
    claim_by_s: float = 0.0
    reason: str = ""
    """Why it is gone, a code."""
    following: int = 0
    """How many listen to it: it is heard as long as one does."""


class Line:
    """`cap` tickets may wait. `key` signs them: another key, another line."""

    def __init__(self, cap: int, *, key: bytes, clock: Callable[[], float]) -> None:
        self._cap = cap
        self._key = key
        self._clock = clock
        # In the order of their numbers, which is that of their coming.
        self._tickets: dict[int, Ticket] = {}
        self._gone: dict[int, Ticket] = {}
        self._joined = 0
        self.refused = 0
        """How many came while it was full."""

    @property
    def joined(self) -> int:
        """How many tickets were given."""
        return self._joined

    # Coming and going ---------------------------------------------------------------------------------

    def join(self, wish: str = "", person: str = "") -> Ticket:
        """Join at the end. Raises SessionRefused `line_full`, also where this person waits often enough."""
        if not self._cap:
            self._refuse("this server keeps no line; try again later")
        if len(self.waiting()) >= self._cap:
            self._refuse(f"the line is full: {self._cap} are waiting; try again later")
        if person and self._waits_often(person):
            self._refuse(f"{limits.LINE_PER_ADDRESS} of your network are waiting already; try again later")
        self._joined += 1
        now_s = self._clock()
        ticket = Ticket(self._joined, self._sign(self._joined), wish, person, now_s, now_s)
        self._tickets[ticket.number] = ticket
        return ticket

    def _waits_often(self, person: str) -> bool:
        # Who drives waits no more.
        theirs = [
            each for each in self._tickets.values() if each.person == person and each.at is not At.DRIVING
        ]
        return len(theirs) >= limits.LINE_PER_ADDRESS

    def _refuse(self, text: str) -> NoReturn:
        self.refused += 1
        raise SessionRefused(text, status=503, code=codes.LINE_FULL, retry_after_s=limits.LINE_RETRY_S)

    def find(self, text: str) -> Ticket:
        """Return the ticket that a client shows. Raises SessionRefused 404 for one that was never given."""
        number = self._read(text)
        if number is None:
            raise SessionRefused("no such ticket", status=404)
        known = self._tickets.get(number) or self._gone.get(number)
        if known is not None:
            return known
        return Ticket(number, text, "", "", 0.0, 0.0, At.GONE, reason=codes.FORGOTTEN)

    def heard(self, ticket: Ticket) -> None:
        """Its owner is there."""
        ticket.heard_s = self._clock()

    # What there is ------------------------------------------------------------------------------------

    def waiting(self) -> list[Ticket]:
        """Return who waits, the next one first."""
        return [ticket for ticket in self._tickets.values() if ticket.at is At.WAITING]

    def known(self) -> list[Ticket]:
        """Return every ticket that is not gone."""
        return list(self._tickets.values())

    def place(self, ticket: Ticket) -> int:
        """Return 1 for whoever is next."""
        return self.waiting().index(ticket) + 1

    def of_seat(self, seat: int) -> Ticket | None:
        """Return the ticket that is offered a seat, or has it."""
        return next((ticket for ticket in self._tickets.values() if ticket.seat == seat), None)

    # What happens -------------------------------------------------------------------------------------

    def offer(self, seats: dict[int, str]) -> Ticket | None:
        """Offer one of these free seats to whoever is next, the one he wishes for if it is among them.

        `seats` are numbers and the sessions that run there, "" for none. None when nobody waits.
        """
        ticket = next(iter(self.waiting()), None)
        if ticket is None or not seats:
            return None
        wished = [seat for seat, session in seats.items() if ticket.wish and session == ticket.wish]
        self.fire(ticket, Event.OFFERED)
        ticket.seat = next(iter(wished or seats))
        ticket.claim_by_s = self._clock() + limits.CLAIM_S
        return ticket

    def fire(self, ticket: Ticket, event: Event, reason: str = "") -> bool:
        """Apply an event; False when it changes nothing here: late ones are normal.

        `reason` is told to whoever is gone by it; "" says the event.
        """
        after = _TABLE.get((ticket.at, event))
        if after is None:
            return False
        ticket.at = after
        if after is At.WAITING:
            ticket.seat = None
            # He was told to drive, and must be given the time to notice.
            self.heard(ticket)
        elif after is At.GONE:
            ticket.seat = None
            ticket.reason = reason or event.value
            self._forget(ticket)
        return True

    def tick(self) -> list[Ticket]:
        """Let go of whoever was not heard, or did not claim, and return them."""
        now_s = self._clock()
        late = []
        for ticket in list(self._tickets.values()):
            due_s = self._due_s(ticket)
            if due_s is not None and due_s <= now_s:
                event = Event.UNHEARD if ticket.at is At.WAITING else Event.UNCLAIMED
                self.fire(ticket, event)
                late.append(ticket)
        return late

    def due_s(self) -> float | None:
        """Return when `tick` has something to do, or None."""
        return min((at for at in map(self._due_s, self._tickets.values()) if at is not None), default=None)

    def _due_s(self, ticket: Ticket) -> float | None:
        if ticket.at is At.CLAIM:
            return ticket.claim_by_s
        if ticket.at is At.WAITING and not ticket.following:
            return ticket.heard_s + limits.PLACE_KEPT_S
        return None

    def _forget(self, ticket: Ticket) -> None:
        del self._tickets[ticket.number]
        self._gone[ticket.number] = ticket
        while len(self._gone) > limits.TICKETS_REMEMBERED:
            del self._gone[next(iter(self._gone))]

    # Signatures ---------------------------------------------------------------------------------------

    def _sign(self, number: int) -> str:
        body = number.to_bytes(6, "big")
        return base64.urlsafe_b64encode(body + self._seal(body)).decode()

    def _read(self, text: str) -> int | None:
        try:
            raw = base64.b64decode(text.encode(), altchars=b"-_", validate=True)
        except ValueError:
            return None
        body = raw[:6]
        return int.from_bytes(body, "big") if hmac.compare_digest(raw[6:], self._seal(body)) else None

    def _seal(self, body: bytes) -> bytes:
        return hmac.digest(self._key, body, "sha256")[:18]
