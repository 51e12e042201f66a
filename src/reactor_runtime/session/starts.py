"""Which slot a start gets: at once, when the session before has closed, or in its turn in the line.

What is decided is `admission.py`'s, and `usher.py`'s for whoever prefers to wait; here it is waited for. Owned by
`sessions.Sessions`, on its event loop.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

from .admission import Admission, Admitted, Place
from .foyer import Foyer
from .grants import Grant
from .slot import ModelSlot
from .slots import Slots


class Starts:
    """`patience_s`: how long a start waits for a session that closes."""

    def __init__(self, slots: Slots, line: Foyer, *, patience_s: float, clock: Callable[[], float]) -> None:
        self._slots = slots
        self._line = line
        self._admission = Admission(patience_s=patience_s, clock=clock)
        self.draining = False

    @asynccontextmanager
    async def slot(self, wait_s: float, grant: Grant) -> AsyncGenerator[ModelSlot]:
        """Yield a slot that is free until the next await, after `wait_s` in the line at most. Raises SessionRefused."""
        if wait_s > 0:
            async with self._line.admitted(wait_s, grant) as number:
                if number is not None:
                    yield self._slots[number]
                    return
        yield await self._admitted()

    async def _admitted(self) -> ModelSlot:
        request = self._admission.ask()
        try:
            while True:
                views = [self._line.view(slot) for slot in self._slots]
                decision = self._admission.decide(request, views, draining=self.draining)
                if isinstance(decision, Admitted):
                    return self._slots[decision.index]
                if not isinstance(decision, Place):
                    raise decision.error
                await self._slots.wait_moved(request.until_s)
        finally:
            self._admission.leave(request)
