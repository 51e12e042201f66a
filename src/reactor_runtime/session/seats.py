"""A place to drive, as the line sees it: the seam between who waits and what there is to wait for.

usher.py ──Seat──▶ slot_seat.py ──▶ a slot, its session, its wheel
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ..types import JsonObject
from ..wire import messages as say


@dataclass(frozen=True, slots=True)
class Given:
    """A seat that somebody may take: with this key, in this session. `session_log`: where its log is, if anywhere."""

    session_id: str
    key: str
    session_log: JsonObject | None = None

    def document(self) -> JsonObject:
        """Return it as whoever claims it is told."""
        log = {} if self.session_log is None else {"session_log": self.session_log}
        return {"session_id": self.session_id, "seat": self.key, **log}


class Seat(Protocol):
    """A place to drive: one slot, as the line needs it. On the event loop."""

    @property
    def number(self) -> int: ...

    @property
    def session_id(self) -> str:
        """The session that runs there; "" for none."""

    @property
    def key(self) -> str:
        """The key of whoever has it; "" while nobody does."""

    @property
    def open(self) -> bool:
        """Whether it could be given at once: nobody has it."""

    @property
    def closed(self) -> bool:
        """Whether it will never be open again."""

    @property
    def lost(self) -> bool:
        """Whether its model is being loaded: nobody knows when it is open again."""

    @property
    def failed(self) -> bool:
        """Whether whoever had it last lost it before the first picture, by a fault on this side."""

    def withhold(self, on: bool) -> None:
        """Let nobody have it who shows no key, while somebody waits."""

    def vacate(self) -> None:
        """Take it from whoever has it."""

    async def renew(self) -> None:
        """Make the model new unless it is, for the next driver. Does not raise."""

    async def give(self) -> Given:
        """Keep it for whoever shows a key; begin a session where none runs. Raises ReactorError."""

    async def empty(self) -> None:
        """End the session that runs there, if one does, until another could be begun. Raises SessionRefused."""

    def tell(self, turn: say.Turn) -> None:
        """Tell everybody in its session when the turn ends."""
