"""A slot as a seat of the line: whose it is, and how it goes from one driver to the next. On the event loop."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable

from .. import codes
from ..errors import SessionRefused
from ..session_log.logbook import Logbook
from ..wire import messages as say
from .lifecycle import State
from .seats import Given
from .slot import ModelSlot
from .slots import Slots

log = logging.getLogger(__name__)


class SlotSeat:
    """Implements `seats.Seat`. `emptied_s`: how long the end of a session may take."""

    def __init__(
        self,
        slot: ModelSlot,
        slots: Slots,
        logbook: Logbook,
        *,
        emptied_s: float,
        clock: Callable[[], float],
    ) -> None:
        self._slot = slot
        self._slots = slots
        self._logbook = logbook
        self._emptied_s = emptied_s
        self._clock = clock

    @property
    def number(self) -> int:
        return self._slot.number

    @property
    def session_id(self) -> str:
        session = self._slot.running
        return session.session_id if session is not None else ""

    @property
    def key(self) -> str:
        session = self._slot.running
        return session.wheel.holder if session is not None else ""

    @property
    def open(self) -> bool:
        session = self._slot.running
        return self._slot.state is State.READY if session is None else not session.wheel.taken

    @property
    def closed(self) -> bool:
        return self._slot.state is State.TERMINATED

    @property
    def lost(self) -> bool:
        return self._slot.state is State.CREATED

    @property
    def failed(self) -> bool:
        return self._slot.spoiled

    def withhold(self, on: bool) -> None:
        if (session := self._slot.running) is not None:
            session.wheel.withhold(on)

    def vacate(self) -> None:
        if (session := self._slot.running) is not None:
            session.wheel.end_turn()

    async def renew(self) -> None:
        try:
            await self._slot.hand_over()
        except SessionRefused as refused:
            log.debug("slot %d was not handed over: %s", self.number, refused)

    async def give(self) -> Given:
        if self._slot.running is None:
            self._slot.begin(str(uuid.uuid4()))
        else:
            await self._slot.hand_over()
        session = self._slot.running
        if session is None or session.wheel.taken:
            raise SessionRefused("the seat is somebody else's", status=503)
        session.wheel.withhold(True)
        key = session.wheel.promise()
        return Given(session.session_id, key, self._logbook.ticket(session.session_id))

    async def empty(self) -> None:
        if self._slot.running is not None:
            self._slot.stop(say.SessionEnded(codes.TURN_OVER))
        until_s = self._clock() + self._emptied_s
        while self._slot.state is not State.READY:
            if self._slot.state is not State.CLOSING or self._clock() >= until_s:
                raise SessionRefused("the model is not ready", status=503)
            await self._slots.wait_moved(until_s)

    def tell(self, turn: say.Turn) -> None:
        if (session := self._slot.running) is not None:
            session.tell_turn(turn)
