"""What the HTTP routes need of the runtime: the seam between `server/` and `sessions.py`.

    routes ──values──▶ Service ──values──▶ routes

Values in, values out, a session's id everywhere and no live object handed over: whatever stands behind may as well
be on another machine. Everything is called on the server's event loop. Methods raise the errors of errors.py;
`app.py` alone turns them into HTTP answers.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from ..recording.playlist import Segment
from ..types import JsonObject
from ..webrtc.peer import Candidate, IceServer, TrackMapping
from ..websocket.socket_link import Closing
from .grants import Grant
from .journal import Entry
from .lifecycle import HealthWord
from .uploads import Reservation

#: The one connection that the flat signalling routes of JS 2.9.0 speak of; it is never registered.
LEGACY_CONNECTION_ID: Final = 1001
#: What `register` hands out: 1000 is invalid for clients, and they keep it in 32 bits. Whoever knows the id of a
#: connection may come back as it, so nobody finds one by trying.
CONNECTION_IDS: Final = range(1002, 2**32)


@dataclass(frozen=True, slots=True)
class Offer:
    """A client's WebRTC offer. Of its `ice_servers` those are used that the operator lets clients name."""

    sdp: str
    mapping: tuple[TrackMapping, ...] = ()
    ice_servers: tuple[IceServer, ...] | None = None
    client: str = ""
    """SDK and version as the client names itself, for the log; untrusted text, cut to 64 characters."""
    active: bool = False
    """Whether output tracks are sent at once, without being resumed: a round trip less to the first picture."""
    author: bool = False
    """Whether it comes from the machine that the model runs on: its author may read what the model raised."""
    seat: str | None = None
    """The key of the driver's seat, "" where the client has none; None: it knows of no seats."""
    watch: bool = False
    """Whether it only wants to watch, even where the seat is free."""


@dataclass(frozen=True, slots=True)
class SocketOffer:
    """What a client says with its WebSocket. `codecs` are those that it decodes; unknown ones are ignored."""

    codecs: tuple[str, ...] = ("h264", "vp8")
    seat: str | None = None
    """The key of the driver's seat, "" where the client has none; None: it knows of no seats."""
    watch: bool = False
    """Whether it only wants to watch, even where the seat is free."""


@dataclass(frozen=True, slots=True)
class Health:
    """`healthy` is readiness: a session could be started now or is being served."""

    healthy: bool
    state: HealthWord
    detail: str | None = None
    loading: JsonObject | None = None
    """How far a load is: {model, part, parts, fraction, elapsed_s}, each where it is known."""
    slots: tuple[str, ...] = ()
    """The state of each slot."""


@dataclass(frozen=True, slots=True)
class Registration:
    """`track_map` is name → {kind, direction (in/out), rate}: clients ignore it, people read it."""

    connection_id: int
    track_map: JsonObject


class LineService(Protocol):
    """The line of those who wait for a turn. A ticket is its owner's alone.

    Everything that takes one raises SessionRefused 404 for a ticket that was never given.
    """

    async def join(self, session_id: str | None, *, grant: Grant) -> JsonObject:
        """Take the last place; return {ticket, state, ...}. `session_id`: which of several would be liked best.

        Raises SessionRefused 503, also `line_full`, and NotGranted.
        """

    async def look(self, ticket: str) -> JsonObject:
        """Return how a ticket stands; see `prospects.Prospects.document`."""

    def follow(self, ticket: str) -> AsyncGenerator[JsonObject]:
        """Yield how a ticket stands, at each change and every `limits.LINE_TOLD_S`, until it is gone."""

    async def claim(self, ticket: str, *, grant: Grant) -> JsonObject:
        """Take the seat that is kept for a ticket: {session_id, seat}. Raises SessionRefused 409, 503, NotGranted."""

    async def leave(self, ticket: str) -> None:
        """Give a ticket back, and the seat if it drives."""

    async def length(self) -> JsonObject:
        """Return {waiting, turn_s}: how many wait, and how long a turn is while they do."""


class Service(Protocol):
    """The runtime behind the HTTP surface.

    What takes a session's id raises SessionRefused 400 "No session running" and 404 "Unknown session".
    """

    @property
    def line(self) -> LineService: ...

    # The server ---------------------------------------------------------------------------------------

    async def descriptor(self, session_id: str | None = None) -> JsonObject:
        """Describe the session of this id while it runs, else a free slot, else whatever a slot does."""

    async def adopted(self, *, grant: Grant) -> JsonObject:
        """Describe the session of who names none: that of its token, else the newest that it started, else the
        only one that runs, else as `descriptor`.
        """

    def still_counts(self, grant: Grant, session_id: str | None) -> None:
        """Raise TokenExpired or TokenReplayed where one person's token was used up; None: asked is of no session."""

    async def running_sessions(self) -> list[JsonObject]:
        """Return {session_id, slot, state, viewers} of each session that runs."""

    async def start(self, session_id: str | None, *, grant: Grant, wait_s: float = 0.0) -> JsonObject:
        """Start a session and return its descriptor, with where its log is and the key of its seat.

        `wait_s`: so long it waits in the line where no slot is free.

        Raises SessionRefused 409 or 503, NotGranted.
        """

    async def stop(self, session_id: str | None, *, moderate: bool, reason: str, grant: Grant) -> None:
        """End a session, telling its viewers why; None is the one that this client started, see `starters`.

        Raises SessionRefused 409 when it has none that runs, NotGranted.
        """

    async def kick(self, session_id: str, connection_id: int, *, reason: str, grant: Grant) -> None:
        """Send a viewer away, telling it why. Raises SessionRefused 404 for an id that is nobody's, NotGranted."""

    async def ask_drain(self, *, grant: Grant) -> None:
        """Have the server stop: no new session starts, and the running ones have `drain_s`. Raises NotGranted."""

    async def health(self) -> Health: ...

    async def openapi(self) -> JsonObject:
        """Return the model's schema document, {} before the model is known."""

    async def metrics_text(self) -> str:
        """Return the metrics in the Prometheus text format 0.0.4."""

    def events(self, since: int) -> AsyncGenerator[Entry | None, None]:
        """Yield what happens after event `since`, and None after each silent `limits.EVENT_IDLE_S`."""

    # Signalling ---------------------------------------------------------------------------------------

    async def check(self, session_id: str) -> None:
        """Raise unless this session runs."""

    async def ice_servers(self, session_id: str | None) -> tuple[IceServer, ...]:
        """Return what clients should use to gather their candidates; None: for a session that may come."""

    async def register(self, session_id: str) -> Registration:
        """Reserve a connection. Raises SessionRefused 503 when there is no room for a viewer."""

    async def offer(
        self, session_id: str, connection_id: int, offer: Offer, *, replace: bool, legacy: bool, grant: Grant
    ) -> str:
        """Start answering and return at once. What comes over the connection may do what `grant` allows.

        Returns the key of the driver's seat where the connection has it once it is there, else "".

        `replace` (PUT) builds a fresh peer in place of any older one of that id, and works as well on an
        id that never offered. `legacy` starts its tracks active, because JS 2.9.0 never resumes them.
        Raises SessionRefused: 404 for an id that was never registered, 409 for a second POST and where the session
        takes no visitors, 503 when full.
        Raises OfferRejected for an offer that is refused unread, NotGranted.
        """

    async def answer(self, session_id: str, connection_id: int, *, hold_s: float) -> str | None:
        """Return the answer, waiting for it up to `hold_s`; None when there is none yet.

        Repeatable. Raises OfferRejected or PeerFailed if the offer could not be answered, SessionRefused 404
        for an id that was never registered, 400 when the session ends meanwhile.
        """

    async def add_candidates(
        self, session_id: str, connection_id: int, candidates: Sequence[Candidate]
    ) -> None:
        """Take candidates, also before the offer (the Python client sends them first): they are kept for it.

        Raises SessionRefused 404 for an id that was never registered.
        """

    def media(
        self, session_id: str, inbound: AsyncIterable[str | bytes], offer: SocketOffer, *, grant: Grant
    ) -> AsyncGenerator[str | bytes | Closing, None]:
        """Be a viewer over a WebSocket: yield what it is to send, last a `Closing`, until either side has enough.

        `inbound` is what comes over it, and ends with it. What it brings may do what `grant` allows. Raises before
        the first message: SessionRefused, also 503 when full and 400 without a codec in common, NotGranted.
        """

    # Files --------------------------------------------------------------------------------------------

    async def reserve_upload(
        self,
        session_id: str,
        *,
        name: str,
        size_bytes: int,
        mime_type: str,
        upload_id: str | None,
        grant: Grant,
    ) -> Reservation:
        """Reserve a slot for a file; see `uploads.Uploads.reserve`."""

    async def receive_upload(
        self, session_id: str, upload_id: str, key: str, chunks: AsyncIterable[bytes]
    ) -> None:
        """Fill a slot with exactly the announced bytes; see `uploads.Uploads.receive`."""

    async def session_log(self, session_id: str, key: str) -> bytes:
        """Return the log of the session that runs or ran last.

        Raises SessionRefused 404 for another session, or another key.
        """

    async def clip(self, recording_id: str, start_s: float, end_s: float) -> list[Segment] | None:
        """Return the segments of a clip; None while its last one is open. Raises ClipRefused."""

    async def clip_file(self, recording_id: str, name: str, *, begin: int) -> bytes:
        """Return a file of a recording, also of a session that ended. Raises ClipRefused."""
