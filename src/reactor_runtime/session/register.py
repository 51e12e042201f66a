"""Who comes to a session and leaves it: their tokens counted, their coming and going written down.

    Connections ──check, entered, left──▶ Desk, of one session ──▶ Passes, Audit: of the server

One `Register` per server, one `Desk` per session, on the event loop.
"""

from __future__ import annotations

from collections.abc import Callable

from ..errors import NotGranted
from .audit import Audit, Deed
from .grants import Grant
from .passes import Passes
from .service import LEGACY_CONNECTION_ID
from .viewer import Viewer


class Register:
    def __init__(self, audit: Audit, clock: Callable[[], float], wall: Callable[[], float]) -> None:
        self.audit = audit
        self.passes = Passes(clock, wall)

    def desk(self, session_id: str) -> Desk:
        return Desk(self, session_id)


class Desk:
    def __init__(self, register: Register, session_id: str) -> None:
        self._audit = register.audit
        self._passes = register.passes
        self._session_id = session_id
        self._joined: dict[int, Grant] = {}
        """Who is here, by connection: of a kicked one's connection the grant is gone before the connection."""

    def check(self, grant: Grant, viewer: Viewer | None = None) -> None:
        """Let this grant offer a connection, or raise TokenExpired or a NotGranted.

        An id that somebody has offered on is his: who guesses it may not take it over.
        """
        if viewer is not None and viewer.grant.role is not None and not _same(viewer, grant):
            raise NotGranted("this connection is another visitor's")
        self._passes.check(grant, self._session_id, viewer)

    def entered(self, viewer: Viewer) -> None:
        """Take note of a connection. Raises what `check` raises, where another was faster."""
        viewer.ends_s = self._passes.enter(viewer.grant, self._session_id, viewer)
        self._joined[viewer.connection_id] = viewer.grant
        self._audit.note("join", viewer.grant, session_id=self._session_id)

    def left(self, viewer: Viewer, reason: str) -> None:
        grant = self._joined.pop(viewer.connection_id, None)
        if grant is not None:
            self._audit.note("leave", grant, session_id=self._session_id, reason=reason)

    def did(self, deed: Deed, viewer: Viewer, *, whom: str = "", reason: str = "") -> None:
        """Write down what somebody has done here."""
        self._audit.note(deed, viewer.grant, session_id=self._session_id, whom=whom, reason=reason)


def _same(viewer: Viewer, other: Grant) -> bool:
    one = viewer.grant
    # The one id that everybody knows is its client's as long as that is connected.
    if viewer.connection_id == LEGACY_CONNECTION_ID and viewer.there and one.client != other.client:
        return False
    return (one.role, one.jti, one.sub) == (other.role, other.jti, other.sub)
