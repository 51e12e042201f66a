"""What a session tells whoever has it: its slot."""

from __future__ import annotations

from typing import Protocol

from ..types import JsonObject
from ..wire import messages as say


class SessionOwner(Protocol):
    """What a session tells its slot. On the event loop."""

    def viewer_opened(self) -> None: ...

    def viewer_closed(self) -> None: ...

    def seat_moved(self) -> None:
        """The driver's seat is another's, or free, or kept for somebody."""

    def operated(self, action: say.OperatorVerb, reason: str) -> None:
        """An operator in this session ends it, or has the server stop. Raises SessionRefused."""

    def note(self, event: str, detail: JsonObject) -> None: ...

    def openapi(self) -> JsonObject: ...

    def capabilities(self) -> JsonObject: ...
