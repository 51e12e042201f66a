"""Brings those who wait to their seats: the line, the turns and the seats of one server, moved along together.

    join, claim, leave ─▶ ┐                     ┌─▶ line.py: who is next
    a seat moved ───────▶ ├─▶ one step, at once ├─▶ turns.py: whose turn is over
    a moment came ──────▶ ┘                     └─▶ seats: kept for the line, taken, made new, given; what they are told

What is decided is pure; here it is carried out. Owned by `sessions.Sessions`, on its event loop. A step awaits nothing:
what takes time, as a model that is made new, goes on beside it and ends in another step.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass

from .. import codes, limits
from ..errors import ReactorError, SessionRefused
from ..tasks import Tasks
from ..types import JsonObject
from ..wire import messages as say
from .line import At, Event, Line, Ticket
from .prospects import Prospects, news
from .seats import Given, Seat
from .turns import Turns

#: Drivers are told of nothing but how many wait at most this often.
WAITING_TOLD_S = 1.0


@dataclass(slots=True)
class _Told:
    """What those in a session know of its turn, and since when."""

    ends_s: float | None = None
    warned: bool = False
    over: bool = False
    waiting: int = 0
    at_s: float = 0.0


class Usher:
    """`cap` may wait, `turn_s` is a turn while others do; None: as long as its driver stays."""

    def __init__(
        self,
        seats: Sequence[Seat],
        *,
        cap: int,
        turn_s: float | None,
        key: bytes,
        clock: Callable[[], float],
    ) -> None:
        self._seats = {seat.number: seat for seat in seats}
        self._clock = clock
        self._line = Line(cap, key=key, clock=clock)
        self._turns = Turns(turn_s, clock)
        self._turns_over = 0
        self._keys: dict[int, str] = {}
        self._since_s: dict[int, float] = {}
        """Since when each seat is somebody's, an offer included."""
        self._prospects = Prospects(self._line, self._turns, seats, self._since_s, clock)
        self._given: dict[int, Given] = {}
        """By the numbers of tickets that drive."""
        self._told: dict[int, _Told] = {}
        self._starting: dict[int, asyncio.Task[None]] = {}
        self._listeners: dict[int, asyncio.Event] = {}
        """By ticket, the event that ends the one who listens to it."""
        self._moved = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._stepping = self._again = False
        self._closed = False
        self._tasks = Tasks("the line")

    # What clients ask ---------------------------------------------------------------------------------

    @property
    def waiting(self) -> int:
        return len(self._line.waiting())

    @property
    def turn_s(self) -> float | None:
        return self._turns.turn_s

    def counters(self) -> list[tuple[str, float, str]]:
        """Return name, value and help of what is counted, for /metrics."""
        return [
            ("reactor_line_joined", self._line.joined, "Tickets given for the line"),
            ("reactor_line_refused", self._line.refused, "Refused because the line was full"),
            ("reactor_turns_over", self._turns_over, "Turns that ended because others waited"),
        ]

    def keeps(self, seat: int) -> bool:
        """Whether a seat is kept for somebody in the line."""
        ticket = self._line.of_seat(seat)
        return ticket is not None and ticket.at in (At.CLAIM, At.STARTING)

    def join(self, wish: str, person: str = "") -> JsonObject:
        """Take the last place of the line. Raises SessionRefused, also `line_full`."""
        ticket = self._join(wish, person)
        return {"ticket": ticket.text, **self._prospects.document(ticket)}

    def _join(self, wish: str, person: str) -> Ticket:
        if self._closed:
            raise SessionRefused("the server is shutting down", status=503, retry_after_s=10)
        if all(seat.closed for seat in self._seats.values()):
            raise SessionRefused("no model runs any more; nobody can drive", status=503)
        ticket = self._line.join(wish, person)
        self.step()
        return ticket

    def look(self, text: str) -> JsonObject:
        """Say how a ticket stands; its owner is heard by it. Raises SessionRefused 404."""
        ticket = self._line.find(text)
        self._line.heard(ticket)
        return self._prospects.document(ticket)

    async def follow(self, text: str) -> AsyncGenerator[JsonObject]:
        """Yield how a ticket stands, at each change and every `limits.LINE_TOLD_S`, until it is gone.

        Whoever listens is heard. Of two who listen to one ticket the later one goes on. Raises SessionRefused.
        """
        ticket = self._line.find(text)
        if (older := self._listeners.pop(ticket.number, None)) is not None:
            older.set()
        elif len(self._listeners) >= limits.LINE_LISTENERS:
            raise SessionRefused("too many listen; ask for the ticket instead", status=503, retry_after_s=2)
        ended = self._listeners[ticket.number] = asyncio.Event()
        ticket.following += 1
        try:
            last: JsonObject = {}
            while not ended.is_set():
                moved, now = self._moved, self._prospects.document(ticket)
                if not last or news(now) != news(last):
                    last = now
                    yield now
                if ticket.at is At.GONE or self._closed:
                    return
                try:
                    async with asyncio.timeout(limits.LINE_TOLD_S):
                        await moved.wait()
                except TimeoutError:
                    last = {}
        finally:
            ticket.following -= 1
            self._line.heard(ticket)
            if self._listeners.get(ticket.number) is ended:
                del self._listeners[ticket.number]
            self.step()

    async def claim(self, text: str) -> Given:
        """Take the seat that is kept for a ticket; asked again, it answers the same. Raises SessionRefused."""
        ticket = self._line.find(text)
        if ticket.at is At.CLAIM:
            assert ticket.seat is not None
            self._line.fire(ticket, Event.CLAIMED)
            self._starting[ticket.number] = self._tasks.spawn(self._start(ticket, self._seats[ticket.seat]))
        if (starting := self._starting.get(ticket.number)) is not None:
            await asyncio.wait([starting])
        given = self._given.get(ticket.number)
        if given is not None:
            return given
        match ticket.at:
            case At.GONE:
                raise SessionRefused(
                    f"this place in the line is gone: {codes.CODES[ticket.reason].words}",
                    status=409,
                    code=ticket.reason,
                )
            case At.WAITING if starting is not None:
                raise SessionRefused(
                    "the model could not be made ready; you are the next", status=503, retry_after_s=1
                )
            case _:
                raise SessionRefused("it is not your turn yet", status=409)

    async def _start(self, ticket: Ticket, seat: Seat) -> None:
        try:
            given = await seat.give()
        except ReactorError:
            self._line.fire(ticket, Event.FAILED)
        else:
            if self._line.fire(ticket, Event.STARTED):
                self._given[ticket.number] = given
            elif seat.key == given.key:
                seat.vacate()
        finally:
            self._starting.pop(ticket.number, None)
            self.step()

    def leave(self, text: str) -> None:
        """Give a ticket back, and the seat if it drives. Raises SessionRefused 404."""
        ticket = self._line.find(text)
        seat = self._seats.get(ticket.seat) if ticket.seat is not None else None
        drove = ticket.at is At.DRIVING
        self._line.fire(ticket, Event.LEFT)
        if drove and seat is not None:
            seat.vacate()
        self.step()

    @contextlib.asynccontextmanager
    async def admitted(self, wait_s: float, person: str = "") -> AsyncGenerator[int | None]:
        """Wait in the line for a client that has no words for it; yield the slot in which it may begin a session.

        That is free until the next await. None when its patience ended first. Raises SessionRefused.
        """
        ticket = self._join("", person)
        ticket.following += 1
        emptied = False
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._emptied(ticket)
                    emptied = True
            # Its patience may have ended while a slot was being emptied for it.
            if emptied and ticket.at is At.STARTING:
                yield ticket.seat
                self._line.fire(ticket, Event.STARTED)
            else:
                yield None
        finally:
            ticket.following -= 1
            if ticket.at is not At.DRIVING:
                self._line.fire(ticket, Event.LEFT)
            self.step()

    async def _emptied(self, ticket: Ticket) -> None:
        """Wait until a slot is empty for a ticket; it is claimed then, or gone."""
        while True:
            while ticket.at is At.WAITING:
                await self._moved.wait()
            if not self._line.fire(ticket, Event.CLAIMED):
                return
            assert ticket.seat is not None
            try:
                await self._seats[ticket.seat].empty()
                return
            except ReactorError:
                self._line.fire(ticket, Event.FAILED)
                self.step()

    # One step -----------------------------------------------------------------------------------------

    def step(self) -> None:
        """Do whatever is to be done now. What it does may call it again: that is done after it."""
        self._again = True
        if self._stepping:
            return
        self._stepping = True
        try:
            while self._again:
                self._again = False
                self._step()
        finally:
            self._stepping = False
        self._moved.set()
        self._moved = asyncio.Event()
        self._arm()

    def _step(self) -> None:
        for ticket in self._line.tick():
            if ticket.reason == codes.UNCLAIMED:
                self._prospects.took(limits.CLAIM_S)
        for seat in self._seats.values():
            self._look_at(seat)
        if self._closed or all(seat.closed for seat in self._seats.values()):
            self._let_all_go()
        self._offer()
        waiting = self.waiting
        self._turns.want(waiting)
        if over := self._turns.over():
            for number in over:
                self._end_turn(self._seats[number])
            self._again = True
            return
        for seat in self._seats.values():
            seat.withhold(waiting > 0 or self.keeps(seat.number))
            self._tell(seat, waiting)

    def _look_at(self, seat: Seat) -> None:
        """Take in what has become of a seat."""
        number, key, ticket = seat.number, seat.key, self._line.of_seat(seat.number)
        before, self._keys[number] = self._keys.get(number, ""), key
        if key and not before:
            self._turns.begin(number)
            self._since_s.setdefault(number, self._clock())
        elif key and key != before and ticket is not None and ticket.at is At.DRIVING:
            # He gave the wheel to somebody, who has it for the rest of the turn.
            self._done(ticket)
        if before and not key:
            self._freed(seat)
        if ticket is not None and ticket.at is At.DRIVING and not key:
            event = Event.FAILED if seat.failed else Event.ENDED
            self._line.fire(ticket, event)
            self._given.pop(ticket.number, None)
        elif ticket is not None and ticket.at is At.CLAIM and not seat.open:
            self._line.fire(ticket, Event.FAILED)
        if not key and not self.keeps(number):
            self._since_s.pop(number, None)

    def _freed(self, seat: Seat) -> None:
        now_s = self._clock()
        began_s = self._turns.began_s(seat.number) or now_s
        drove_s = now_s - began_s
        # Who drove for hours while nobody waited says nothing of how long others will.
        counted_s = drove_s if self.turn_s is None else min(drove_s, self.turn_s)
        self._prospects.took(began_s - self._since_s.pop(seat.number, began_s) + counted_s)
        self._turns.end(seat.number)
        told = self._told.get(seat.number)
        if told is not None and told.ends_s is not None:
            seat.tell(say.Turn(None, self.waiting))
            self._told[seat.number] = _Told(waiting=self.waiting, at_s=now_s)
        if self.waiting and seat.open:
            self._tasks.spawn(seat.renew())

    def _offer(self) -> None:
        while True:
            free = {
                seat.number: seat.session_id
                for seat in self._seats.values()
                if seat.open and self._line.of_seat(seat.number) is None
            }
            ticket = self._line.offer(free)
            if ticket is None or ticket.seat is None:
                return
            self._since_s[ticket.seat] = self._clock()

    def _end_turn(self, seat: Seat) -> None:
        self._turns_over += 1
        ticket = self._line.of_seat(seat.number)
        if ticket is not None:
            self._done(ticket, codes.TURN_OVER)
        seat.tell(say.Turn(0.0, self.waiting, over=True, reason=codes.TURN_OVER))
        self._told[seat.number] = _Told(over=True, waiting=self.waiting, at_s=self._clock())
        seat.vacate()

    def _done(self, ticket: Ticket, reason: str = "") -> None:
        self._line.fire(ticket, Event.ENDED, reason)
        self._given.pop(ticket.number, None)

    def _let_all_go(self) -> None:
        for ticket in self._line.known():
            self._line.fire(ticket, Event.CLOSED)

    # What people are told -----------------------------------------------------------------------------

    def _tell(self, seat: Seat, waiting: int) -> None:
        """Tell a session when its turn ends, where it does not know: set, moved, about to end, or nobody waits."""
        if self._turns.began_s(seat.number) is None:
            return
        now_s, told = self._clock(), self._told.setdefault(seat.number, _Told())
        ends_s = self._turns.ends_s(seat.number)
        warned = ends_s is not None and ends_s - now_s <= self._turns.warning_s
        if (told.ends_s, told.warned, told.over) == (ends_s, warned, False) and (
            told.waiting == waiting or now_s < told.at_s + WAITING_TOLD_S
        ):
            return
        self._told[seat.number] = _Told(ends_s, warned, waiting=waiting, at_s=now_s)
        seat.tell(say.Turn(self._turns.ends_in_s(seat.number), waiting))

    # Time ---------------------------------------------------------------------------------------------

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        told = [
            told.at_s + WAITING_TOLD_S
            for number, told in self._told.items()
            if told.waiting != self.waiting and self._turns.began_s(number) is not None
        ]
        moments = [at for at in (self._line.due_s(), self._turns.due_s(), *told) if at is not None]
        if moments and not self._closed:
            wait_s = max(0.0, min(moments) - self._clock()) + 0.001
            self._timer = asyncio.get_running_loop().call_later(wait_s, self.step)

    # Leaving ------------------------------------------------------------------------------------------

    def drain(self) -> None:
        """Nobody waits any more; whoever drives goes on."""
        self._closed = True
        self._let_all_go()
        self.step()

    async def close(self) -> None:
        """End everything. May be called twice."""
        self._closed = True
        self._let_all_go()
        if self._timer is not None:
            self._timer.cancel()
        self._moved.set()
        await self._tasks.cancel()
