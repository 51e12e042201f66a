"""Seats that a test plays by hand: the line's own tests need no slot, no session and no model."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable

from reactor_runtime.errors import ReactorError
from reactor_runtime.session.seats import Given
from reactor_runtime.session.usher import Usher
from reactor_runtime.wire.messages import Turn

_KEYS = itertools.count(1)


class FakeSeat:
    """A slot that is ready, or whose session somebody drives."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.session_id = ""
        self.key = ""
        self.ready = True
        self.closed = False
        self.failed = False
        self.pictures = 0
        self.withheld = False
        self.renewed = self.emptied = 0
        self.give_s = 0.0
        self.error: ReactorError | None = None
        self.told: list[Turn] = []
        self.usher: Usher

    @property
    def lost(self) -> bool:
        return not (self.ready or self.closed)

    @property
    def open(self) -> bool:
        return self.ready and not self.key

    def withhold(self, on: bool) -> None:
        self.withheld = on

    def vacate(self) -> None:
        self.key = ""
        self.usher.step()

    async def renew(self) -> None:
        self.renewed += 1

    async def give(self) -> Given:
        await asyncio.sleep(self.give_s)
        self._fail()
        self._have()
        return Given(self.session_id, self.key)

    async def empty(self) -> None:
        self._fail()
        self.emptied += 1
        self.session_id = ""

    def _fail(self) -> None:
        if self.error is not None:
            error, self.error = self.error, None
            self.lose()
            raise error

    def tell(self, turn: Turn) -> None:
        self.told.append(turn)

    # What a test makes happen -------------------------------------------------------------------------

    def taken_by_hand(self) -> None:
        """Somebody drives who came without a ticket."""
        self._have()
        self.usher.step()

    def _have(self) -> None:
        self.key = f"key {next(_KEYS)}"
        self.session_id = self.session_id or f"session {next(_KEYS)}"
        self.failed = False
        self.pictures = 0

    def pass_on(self) -> None:
        """Whoever drives gives the wheel to another."""
        self.key = f"key {next(_KEYS)}"
        self.usher.step()

    def release(self) -> None:
        self.key = ""
        self.usher.step()

    def lose(self) -> None:
        """The model is lost; it is loaded again in `recover`."""
        self.key = self.session_id = ""
        self.ready = False
        self.failed = self.pictures == 0
        self.usher.step()

    def recover(self) -> None:
        self.ready = True
        self.usher.step()

    def die(self) -> None:
        self.key, self.ready, self.closed = "", False, True
        self.usher.step()


def ushered(
    clock: Callable[[], float], *, seats: int = 1, cap: int = 100, turn_s: float | None = 60
) -> tuple[Usher, list[FakeSeat]]:
    """Make so many seats and who brings people to them."""
    made = [FakeSeat(number) for number in range(seats)]
    usher = Usher(made, cap=cap, turn_s=turn_s, key=b"key", clock=clock)
    for seat in made:
        seat.usher = usher
    return usher, made
