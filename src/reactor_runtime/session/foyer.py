"""Where people ask about the line of one server: the usher over all of its slots, behind plain async values.

Implements `service.LineService`. Owned by `sessions.Sessions`, on its event loop.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager

from ..config import SessionsSettings
from ..errors import NotGranted
from ..session_log.logbook import Logbook
from ..types import JsonObject
from .admission import KEPT, SlotView
from .grants import Grant, Right
from .metrics import text_of_counters
from .slot import ModelSlot
from .slot_seat import SlotSeat
from .slots import Slots
from .starters import Client
from .usher import Usher


def open_foyer(
    slots: Slots,
    logbook: Logbook,
    settings: SessionsSettings,
    clock: Callable[[], float],
    *,
    began: Callable[[str, Client], None],
) -> Foyer:
    """Make the foyer of a server with these slots."""
    # As long as a stop may take, and a little.
    emptied_s = settings.stop_s + 2
    seats = [SlotSeat(slot, slots, logbook, emptied_s=emptied_s, clock=clock) for slot in slots]
    key = secrets.token_bytes(32)
    usher = Usher(seats, cap=settings.line, turn_s=settings.turn_s or None, key=key, clock=clock)
    return Foyer(usher, began)


def check_waits(grant: Grant) -> None:
    """Raise NotGranted for whom the line is not."""
    grant.require(Right.DRIVE)
    if grant.sid is not None:
        raise NotGranted("this token is for one session; take the wheel there, the line leads to any")


class Foyer:
    """`began` is told whose a session is now, by its id."""

    def __init__(
        self, usher: Usher, began: Callable[[str, Client], None] = lambda session, client: None
    ) -> None:
        self._usher = usher
        self._began = began

    # LineService --------------------------------------------------------------------------------------

    async def join(self, session_id: str | None, *, grant: Grant) -> JsonObject:
        check_waits(grant)
        return self._usher.join(session_id or "", grant.person)

    async def look(self, ticket: str) -> JsonObject:
        return self._usher.look(ticket)

    def follow(self, ticket: str) -> AsyncGenerator[JsonObject]:
        return self._usher.follow(ticket)

    async def claim(self, ticket: str, *, grant: Grant) -> JsonObject:
        grant.require(Right.DRIVE)
        given = await self._usher.claim(ticket)
        self._began(given.session_id, grant.client)
        return given.document()

    async def leave(self, ticket: str) -> None:
        self._usher.leave(ticket)

    async def length(self) -> JsonObject:
        return {"waiting": self._usher.waiting, "turn_s": self._usher.turn_s}

    # For the sessions ---------------------------------------------------------------------------------

    def moved(self) -> None:
        """A slot or a seat has moved."""
        self._usher.step()

    def view(self, slot: ModelSlot) -> SlotView:
        """Return what whoever comes without a ticket sees of a slot."""
        return KEPT if self._usher.keeps(slot.number) else slot.view

    def admitted(self, wait_s: float, grant: Grant) -> AbstractAsyncContextManager[int | None]:
        """Wait in the line; see `usher.Usher.admitted`."""
        return self._usher.admitted(wait_s, grant.person)

    def metrics_text(self) -> str:
        return text_of_counters(self._usher.counters())

    def drain(self) -> None:
        self._usher.drain()

    async def close(self) -> None:
        await self._usher.close()
