"""What a slot needs of whoever has it, and of whoever makes its sessions."""

from __future__ import annotations

from typing import Protocol

from ..host import ModelHost
from ..progress import Progress
from ..types import JsonObject, ModelInfo
from ..wire import messages as say
from .lifecycle import State, Transition
from .metrics import MessageCounts
from .session import Session
from .session_owner import SessionOwner


class SlotOwner(Protocol):
    """What a slot tells whoever has it, by its number. On the event loop."""

    def moved(self, slot: int, transition: Transition) -> None: ...

    def seat_moved(self, slot: int) -> None:
        """The seat of its session is somebody else's, or free."""

    def noted(self, slot: int, event: str, state: State, detail: JsonObject) -> None:
        """Something happened that moved no state."""

    def reported(self, slot: int, progress: Progress) -> None: ...

    def operated(self, slot: int, action: say.OperatorVerb, reason: str) -> None:
        """An operator ends a session from inside it, or has the server stop. Raises SessionRefused."""


class SessionFactory(Protocol):
    def __call__(
        self,
        session_id: str,
        *,
        info: ModelInfo,
        host: ModelHost,
        owner: SessionOwner,
        counts: MessageCounts,
    ) -> Session: ...
