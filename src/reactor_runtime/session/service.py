"""What the HTTP routes need of the runtime: the seam between `server/` and `sessions.py`.

    routes ──▶ Service ──▶ SessionAccess (one running session) ──▶ Uploads

Everything here is called on the server's event loop. Methods raise the errors of errors.py; `app.py`
alone turns them into HTTP answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from ..recording.store import Recordings
from ..session_log.logbook import Logbook
from ..types import JsonObject
from ..webrtc.peer import Candidate, IceServer, TrackMapping
from .journal import Journal
from .lifecycle import HealthWord
from .uploads import Uploads

#: The one connection that the flat signalling routes of JS 2.9.0 speak of; it is never registered.
LEGACY_CONNECTION_ID: Final = 1001
#: What `register` hands out, both ends included. 1000 is invalid for clients.
CONNECTION_IDS: Final = range(1002, 10_000)


@dataclass(frozen=True, slots=True)
class Offer:
    """A client's WebRTC offer. `ice_servers` overrides the server's own for this connection, () included."""

    sdp: str
    mapping: tuple[TrackMapping, ...] = ()
    ice_servers: tuple[IceServer, ...] | None = None
    client: str = ""
    """SDK and version as the client names itself, for the log; untrusted text, cut to 64 characters."""
    author: bool = False
    """Whether it comes from the machine that the model runs on: its author may read what the model raised."""


@dataclass(frozen=True, slots=True)
class Health:
    """`healthy` is readiness: a session could be started now or is being served."""

    healthy: bool
    state: HealthWord
    detail: str | None = None


class SessionAccess(Protocol):
    """The running session, as signalling needs it."""

    @property
    def uploads(self) -> Uploads: ...

    def ice_servers(self) -> Sequence[IceServer]:
        """Return what clients should use to gather their candidates."""

    def track_map(self) -> JsonObject:
        """Return name → {kind, direction (in/out), rate}. Clients ignore it, people read it."""

    def register(self) -> int:
        """Reserve a connection id. Raises SessionRefused 503 when there is no room for a viewer."""

    def offer(self, connection_id: int, offer: Offer, *, replace: bool, legacy: bool) -> None:
        """Start answering and return at once.

        `replace` (PUT) builds a fresh peer in place of any older one of that id, and works as well on an
        id that never offered. `legacy` starts its tracks active, because JS 2.9.0 never resumes them.
        Raises SessionRefused: 404 for an id that was never registered, 409 for a second POST, 503 when full.
        Raises OfferRejected for an offer that is refused unread.
        """

    async def answer(self, connection_id: int, *, hold_s: float) -> str | None:
        """Return the answer, waiting for it up to `hold_s`; None when there is none yet.

        Repeatable. Raises OfferRejected or PeerFailed if the offer could not be answered, SessionRefused 404
        for an id that was never registered, 400 when the session ends meanwhile.
        """

    def add_candidates(self, connection_id: int, candidates: Sequence[Candidate]) -> None:
        """Take candidates, also before the offer (the Python client sends them first): they are kept for it.

        Raises SessionRefused 404 for an id that was never registered.
        """


class Service(Protocol):
    """The runtime behind the HTTP surface."""

    @property
    def journal(self) -> Journal: ...

    @property
    def recordings(self) -> Recordings:
        """Everything recorded that is still kept, also of sessions that ended."""

    @property
    def logbook(self) -> Logbook:
        """The log of the session that runs or ran last."""

    def descriptor(self) -> JsonObject:
        """Return the session descriptor, in any state and without changing it."""

    async def start(self, session_id: str | None) -> JsonObject:
        """Start a session and return its descriptor, with where its log is. Raises SessionRefused 409 or 503."""

    async def stop(self, *, moderate: bool, reason: str) -> None:
        """End the session, telling its viewers why. Raises SessionRefused 409 when none runs."""

    def session(self, session_id: str) -> SessionAccess:
        """Return the running session.

        Raises SessionRefused: 400 "No session running", 404 "Unknown session".
        """

    def health(self) -> Health: ...

    def openapi(self) -> JsonObject:
        """Return the model's schema document, {} before the model is known."""

    def metrics_text(self) -> str:
        """Return the metrics in the Prometheus text format 0.0.4."""
