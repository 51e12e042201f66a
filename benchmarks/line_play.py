"""A line of people for GPUs, played in virtual time with the server's own line, turns and estimate.

    people come ─▶ line.py ─▶ a seat is offered ─▶ claimed ─▶ driven (turns.py) ─▶ free again
                      └─▶ told how long it will be (estimate.py), and what it was

What `session/usher.py` does with a real clock and real seats is done here with a heap of moments.
"""

from __future__ import annotations

import functools
import heapq
import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from reactor_runtime import limits
from reactor_runtime.errors import SessionRefused
from reactor_runtime.session.estimate import Busy, Estimate, Wait
from reactor_runtime.session.line import At, Event, Line, Ticket
from reactor_runtime.session.turns import Turns

ARRIVALS: Final = ("poisson", "even", "bursts")
LENGTHS: Final = ("lognormal", "exponential", "fixed")
#: A burst brings so many within a minute: a link that is shared.
BURST: Final = 20
BURST_S: Final = 60.0
#: Of so many who wait the estimate is kept, and compared with what came: the line is played out for each.
ESTIMATES: Final = 100
#: The first part of each run is not counted: it begins with an empty house.
WARM_UP: Final = 0.2


@dataclass(frozen=True, slots=True)
class Case:
    """What is asked of so many GPUs. `people` come, in all; `sigma` is of the logarithm of the lengths."""

    gpus: int = 40
    per_hour: float = 400.0
    arrivals: str = "poisson"
    lengths: str = "lognormal"
    mean_s: float = 360.0
    sigma: float = 1.0
    turn_s: float | None = None
    cap: int = 1000
    patience_s: float | None = None
    """How long people wait before they go, on average; None: for ever."""
    claim_s: float = 4.0
    """How long it takes to press the button when it is one's turn, on average."""
    absent: float = 0.0
    """Which share of those who waited is not there when it is their turn."""
    renew_s: float = 0.2
    """How long a seat takes from one driver to the next."""
    people: int = 20_000
    seed: int = 0

    @property
    def load(self) -> float:
        """How many GPUs would be busy if nobody waited."""
        return self.per_hour / 3600 * (self.mean_s + self.renew_s)


@dataclass(slots=True)
class Outcome:
    """What became of those who were counted. Waits are of those who got to drive."""

    waits_s: list[float] = field(default_factory=list)
    people: int = 0
    refused: int = 0
    impatient: int = 0
    unclaimed: int = 0
    cut: int = 0
    """Turns that ended because somebody waited."""
    busy_s: float = 0.0
    """Seconds that seats were driven, of all."""
    lasted_s: float = 0.0
    told: list[tuple[Wait, float]] = field(default_factory=list)
    """What some were told when they came, and what it was."""


@dataclass(slots=True)
class Person:
    came_s: float
    length_s: float
    counted: bool
    told: Wait | None = None


class Play:
    """One run of one case."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.outcome = Outcome()
        self._now_s = 0.0
        self._draw = random.Random(case.seed)
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._numbered = 0
        self._line = Line(case.cap, key=b"played", clock=lambda: self._now_s)
        self._turns = Turns(case.turn_s, lambda: self._now_s)
        self._estimate = Estimate(case.turn_s)
        self._free = dict.fromkeys(range(case.gpus), "")
        self._since_s: dict[int, float] = {}
        self._people: dict[int, Person] = {}
        self._asked = 0
        self._window_s = (0.0, 0.0)
        """What is counted of the time that seats are driven."""

    def run(self) -> Outcome:
        first = int(self.case.people * WARM_UP)
        came = self._moments()
        self._window_s = came[first], came[-1]
        self.outcome.lasted_s = came[-1] - came[first]
        for number, at_s in enumerate(came):
            self._at(at_s, self._comes(Person(at_s, self._length_s(), number >= first)))
        while self._due:
            at_s, _, happens = heapq.heappop(self._due)
            self._now_s = at_s
            happens()
            self._step()
        return self.outcome

    def _at(self, at_s: float, happens: Callable[[], None]) -> None:
        self._numbered += 1
        heapq.heappush(self._due, (at_s, self._numbered, happens))

    # Who comes, and for how long ------------------------------------------------------------------------

    def _moments(self) -> list[float]:
        case, draw = self.case, self._draw
        each_s = 3600 / case.per_hour
        match case.arrivals:
            case "even":
                return [number * each_s for number in range(case.people)]
            case "bursts":
                bursts: list[float] = []
                at_s = 0.0
                while len(bursts) < case.people:
                    at_s += draw.expovariate(1 / (each_s * BURST))
                    bursts += [at_s + draw.uniform(0, BURST_S) for _ in range(BURST)]
                return sorted(bursts)[: case.people]
            case _:
                moments, at_s = [], 0.0
                for _ in range(case.people):
                    at_s += draw.expovariate(1 / each_s)
                    moments.append(at_s)
                return moments

    def _length_s(self) -> float:
        case = self.case
        match case.lengths:
            case "fixed":
                return case.mean_s
            case "exponential":
                return self._draw.expovariate(1 / case.mean_s)
            case _:
                return self._draw.lognormvariate(math.log(case.mean_s) - case.sigma**2 / 2, case.sigma)

    # What happens ---------------------------------------------------------------------------------------

    def _comes(self, person: Person) -> Callable[[], None]:
        def comes() -> None:
            self.outcome.people += person.counted
            try:
                ticket = self._line.join()
            except SessionRefused:
                self.outcome.refused += person.counted
                return
            ticket.following += 1  # a page listens as long as it is open
            self._people[ticket.number] = person
            if self.case.patience_s is not None:
                gone_s = self._now_s + self._draw.expovariate(1 / self.case.patience_s)
                self._at(gone_s, lambda: self._loses_patience(ticket))
            self._offer()
            if ticket.at is At.WAITING and person.counted:
                self._is_told(ticket, person)

        return comes

    def _is_told(self, ticket: Ticket, person: Person) -> None:
        self._asked += 1
        every = max(1, self.case.people // (4 * ESTIMATES))
        if self._asked % every or len(self.outcome.told) >= ESTIMATES:
            return
        busy = [self._busy(seat) for seat in range(self.case.gpus)]
        if waits := self._estimate.waits(busy, self._line.place(ticket)):
            person.told = waits[-1]

    def _busy(self, seat: int) -> Busy:
        ends_s = self._turns.would_end_s(seat)
        at_most_s = None if ends_s is None else max(0.0, ends_s - self._now_s)
        return Busy(self._now_s - self._since_s.get(seat, self._now_s), at_most_s)

    def _offer(self) -> None:
        while (ticket := self._line.offer(self._free)) is not None:
            assert ticket.seat is not None
            del self._free[ticket.seat]
            self._since_s[ticket.seat] = self._now_s
            waited = self._people[ticket.number].came_s < self._now_s
            if waited and self._draw.random() < self.case.absent:
                self._at(ticket.claim_by_s, lambda: None)
                continue
            after_s = self._draw.expovariate(1 / self.case.claim_s) if waited and self.case.claim_s else 0.0
            self._at(
                self._now_s + min(after_s, limits.CLAIM_S - 0.1), functools.partial(self._drives, ticket)
            )

    def _drives(self, ticket: Ticket) -> None:
        if not self._line.fire(ticket, Event.CLAIMED):
            return
        self._line.fire(ticket, Event.STARTED)
        assert ticket.seat is not None
        self._turns.begin(ticket.seat)
        person = self._people[ticket.number]
        waited_s = self._now_s - person.came_s
        if person.counted:
            self.outcome.waits_s.append(waited_s)
        if person.told is not None:
            self.outcome.told.append((person.told, waited_s))
        self._at(self._now_s + person.length_s, lambda: self._ends(ticket))

    def _ends(self, ticket: Ticket) -> None:
        seat = ticket.seat
        if seat is None or not self._line.fire(ticket, Event.ENDED):
            return
        drove_s = self._now_s - (self._turns.began_s(seat) or self._now_s)
        self._people.pop(ticket.number)
        first_s, last_s = self._window_s
        began_s = self._now_s - drove_s
        self.outcome.busy_s += max(0.0, min(self._now_s, last_s) - max(began_s, first_s))
        self._turns.end(seat)
        counted_s = drove_s if self.case.turn_s is None else min(drove_s, self.case.turn_s)
        self._estimate.took(began_s - self._since_s[seat] + counted_s)
        self._at(self._now_s + self.case.renew_s, lambda: self._is_free(seat))

    def _is_free(self, seat: int) -> None:
        self._since_s.pop(seat, None)
        self._free[seat] = ""

    def _loses_patience(self, ticket: Ticket) -> None:
        if ticket.at is At.WAITING:
            self._line.fire(ticket, Event.LEFT)
            self.outcome.impatient += self._people.pop(ticket.number).counted

    def _step(self) -> None:
        """Do what a server does after everything that happens (`usher.py`)."""
        for ticket in self._line.tick():
            self.outcome.unclaimed += self._people.pop(ticket.number).counted
            self._estimate.took(limits.CLAIM_S)
            taken = [seat for seat in self._since_s if self._line.of_seat(seat) is None]
            for seat in taken:
                if self._turns.began_s(seat) is None and seat not in self._free:
                    self._at(self._now_s, functools.partial(self._is_free, seat))
        self._offer()
        if self.case.turn_s is None:
            return
        self._turns.want(len(self._line.waiting()))
        for seat in self._turns.over():
            over = self._line.of_seat(seat)
            assert over is not None
            self.outcome.cut += self._people[over.number].counted
            self._ends(over)
        due_s = self._turns.due_s()
        if due_s is not None and due_s > self._now_s:
            self._at(due_s, lambda: None)
