"""What doors ask of Placement: the seam between them, of plain values, so that Ray may stand between or not.

    door ─▶ Desk ─▶ actors.RayDesk ─Ray─▶ Placement          a cluster
                └─▶ Placement                                 a test

Every method may raise SessionRefused: what was decided, or 503 that Placement does not answer.
"""

from __future__ import annotations

from typing import Protocol

from ..session.grants import Grant
from ..types import JsonObject


class Desk(Protocol):
    """See `placement.Placement`, which says what each does."""

    async def start(self, session_id: str | None, grant: Grant, wait_s: float = 0.0) -> JsonObject: ...

    async def find(self, session_id: str) -> JsonObject | None: ...

    async def own(self, client: str) -> list[str]: ...

    async def state(self) -> JsonObject: ...

    async def join(self, wish: str, person: str) -> JsonObject: ...

    async def look(self, ticket: str) -> JsonObject: ...

    async def changed(self, ticket: str, seen: JsonObject, within_s: float) -> JsonObject: ...

    async def claim(self, ticket: str, client: str) -> JsonObject: ...

    async def leave(self, ticket: str) -> None: ...

    async def drain(self) -> None: ...
