"""All sessions of a server: found by id, started on a free slot, and what the server says of itself.

    routes ──Service──▶ Sessions ──▶ admission.py: which slot, which place in the line, or why not
                           │
                           └──▶ slot.py ──▶ session.py

Owns the slots, the journal, the recordings and the logbook; one per server, on its event loop. There is one slot, and
clients that name no session speak of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Sequence

from .. import __version__, codes, limits
from ..author import documents
from ..config import SessionsSettings
from ..errors import SessionRefused
from ..host import HostFactory, ModelHost
from ..progress import Progress
from ..recording.playlist import Segment
from ..recording.recordings import Recordings
from ..session_log.logbook import Logbook
from ..tasks import Tasks
from ..types import JsonObject, ModelInfo
from ..webrtc.ice import parse_ice_server
from ..webrtc.peer import Candidate, IceServer, PeerEngine
from ..websocket.socket_link import Closing, carry
from ..wire import messages as say
from .admission import Admission, Admitted, Place
from .fanout import EncoderThread, FanOutFactory
from .grants import Grant, Right
from .journal import Entry, Journal
from .lifecycle import State, Transition
from .metrics import Snapshot, Totals, text_of
from .service import Health, Offer, Registration, SocketOffer
from .session import Session, SessionOwner
from .slot import NO_SESSION, ModelSlot
from .uploads import Reservation

#: Whoever waits for the model asks more often than this, also on a busy machine; and how long the question for the
#: reason may take after it.
LOOKS_S = 4.0
DETAILS_S = 2.0


class Sessions:
    """Implements `Service` and `SlotOwner`."""

    def __init__(
        self,
        make_host: HostFactory,
        engine: PeerEngine,
        settings: SessionsSettings,
        report: Callable[[Progress], None] = lambda progress: None,
        *,
        clock: Callable[[], float] = time.monotonic,
        fan_out: FanOutFactory = EncoderThread,
    ) -> None:
        self.journal = Journal()
        self.recordings = Recordings(settings)
        self.logbook = Logbook(settings)
        self._engine = engine
        self._settings = settings
        self._ice_servers = tuple(parse_ice_server(text) for text in settings.ice_servers)
        self._report = report
        self._clock = clock
        self._fan_out = fan_out
        self._totals = Totals()
        # A start may wait as long as a stop can take.
        self._admission = Admission(patience_s=settings.stop_s + 1, clock=clock)
        self._slot = ModelSlot(
            self,
            make_host,
            self._make_session,
            settings,
            number=0,
            stop_s=settings.stop_s,
            totals=self._totals,
            clock=clock,
        )
        self._moved = asyncio.Event()
        self._asked_s: float | None = None
        self._asked = asyncio.Event()
        """When it was last asked how the server is, and that it was asked again."""
        self._explained = asyncio.Event()
        """That somebody asked for the reason since."""
        self._tasks = Tasks("the sessions")
        self._draining = False
        self._closed = False

    async def load(self, prepare: Callable[[Callable[[Progress], None]], Awaitable[None]]) -> None:
        """Load the model, after `prepare(report)` has fetched what it needs.

        Raises what the author or the operator can fix, or ModelFailed.
        """
        if self.recordings.enabled:
            self._tasks.spawn(self.recordings.tend())
        await self._slot.load(prepare)

    def _make_session(
        self, session_id: str, *, info: ModelInfo, host: ModelHost, owner: SessionOwner
    ) -> Session:
        return Session(
            session_id,
            info=info,
            host=host,
            engine=self._engine,
            picture=self._settings,
            audience=self._settings,
            ping_timeout_s=self._settings.ping_timeout_s,
            owner=owner,
            counts=self._totals.messages,
            recordings=self.recordings,
            clock=self._clock,
            fan_out=self._fan_out,
        )

    # Service ------------------------------------------------------------------------------------------

    async def descriptor(self) -> JsonObject:
        return self._describe()

    def _describe(self) -> JsonObject:
        session, info = self._slot.session, self._slot.info
        descriptor: JsonObject = {
            "session_id": session.session_id if session is not None else NO_SESSION,
            "state": self._slot.state.value,
            "cluster": "local",
            "model": {"name": info.name if info is not None else ""},
            "server_info": {"server_version": __version__},
            "selected_transport": {"protocol": "webrtc", "version": "1.0"},
            "recording": {
                "enabled": session.recording if session is not None else self.recordings.enabled,
                "chunk_seconds": limits.RECORDING_CHUNK_S,
            },
        }
        if info is not None:
            descriptor["capabilities"] = documents.capabilities(info)
            descriptor["emission_fps"] = self._settings.fps or info.fps
        return descriptor

    async def start(self, session_id: str | None, *, grant: Grant) -> JsonObject:
        """Start a session; while the last one is closing, wait for that instead of refusing."""
        grant.require(Right.DRIVE)
        session_id = session_id or str(uuid.uuid4())
        slot = await self._admitted()
        slot.begin(session_id)
        # Only whoever started it is told; the descriptor is everybody's.
        ticket = self.logbook.ticket(session_id)
        return {**self._describe(), **({} if ticket is None else {"session_log": ticket})}

    async def _admitted(self) -> ModelSlot:
        """Wait for a slot; it is free until the next await. Raises SessionRefused."""
        request = self._admission.ask()
        try:
            while True:
                decision = self._admission.decide(request, [self._slot.view], draining=self._draining)
                if isinstance(decision, Admitted):
                    return self._slot
                if not isinstance(decision, Place):
                    raise decision.error
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(request.until_s - self._clock()):
                        await self._moved.wait()
        finally:
            self._admission.leave(request)

    async def stop(self, session_id: str | None, *, moderate: bool, reason: str, grant: Grant) -> None:
        grant.require(Right.OPERATE if moderate else Right.DRIVE)
        if session_id is not None:
            self._running(session_id)
        if moderate:
            text = reason or "the session was ended by the operator"
            self._slot.stop(say.Moderation("terminate", text), say.SessionEnded(codes.MODERATED))
        else:
            self._slot.stop(say.SessionEnded(reason or codes.STOPPED))

    def _running(self, session_id: str) -> Session:
        """Find a session. Raises SessionRefused."""
        session = self._slot.running
        raised = self._slot.raised_in(session_id)
        if session is None:
            self._explained.set()
            raise SessionRefused("No session running", status=400, raised=raised)
        if session.session_id != session_id:
            raise SessionRefused("Unknown session", status=404, raised=raised)
        return session

    async def health(self) -> Health:
        self._asked_s = self._clock()
        self._asked.set()
        word = self._slot.health_word
        if self._draining:
            return Health(False, word, "shutting down")
        return Health(word in ("available", "serving"), word, self._slot.detail, self._slot.loading.now())

    async def openapi(self) -> JsonObject:
        return self._slot.openapi()

    async def metrics_text(self) -> str:
        slot, session = self._slot, self._slot.session
        return text_of(
            Snapshot(
                state=slot.state.value,
                viewers=session.viewers if session is not None else 0,
                restarts=slot.restarts,
                host=slot.counters(),
                totals=self._totals.plus(session.streams.counters() if session is not None else None),
                session=session.numbers() if session is not None else {},
            )
        )

    def events(self, since: int) -> AsyncGenerator[Entry | None, None]:
        return self.journal.follow(since, idle_s=limits.EVENT_IDLE_S)

    async def check(self, session_id: str) -> None:
        self._running(session_id)

    async def ice_servers(self, session_id: str | None) -> tuple[IceServer, ...]:
        if session_id is not None:
            self._running(session_id)
        return self._ice_servers

    async def register(self, session_id: str) -> Registration:
        session = self._running(session_id)
        return Registration(session.connections.register(), session.track_map())

    async def offer(
        self, session_id: str, connection_id: int, offer: Offer, *, replace: bool, legacy: bool, grant: Grant
    ) -> None:
        grant.require(Right.WATCH)
        self._running(session_id).offer(connection_id, offer, replace=replace, legacy=legacy, grant=grant)

    async def answer(self, session_id: str, connection_id: int, *, hold_s: float) -> str | None:
        return await self._running(session_id).connections.answer(connection_id, hold_s)

    async def add_candidates(
        self, session_id: str, connection_id: int, candidates: Sequence[Candidate]
    ) -> None:
        self._running(session_id).connections.add_candidates(connection_id, candidates)

    async def media(
        self, session_id: str, inbound: AsyncIterable[str | bytes], offer: SocketOffer, *, grant: Grant
    ) -> AsyncGenerator[str | bytes | Closing, None]:
        grant.require(Right.WATCH)
        link = self._running(session_id).attach(offer, grant=grant)
        async with contextlib.aclosing(carry(link, inbound)) as outbound:
            async for message in outbound:
                yield message

    async def reserve_upload(
        self, session_id: str, *, name: str, size_bytes: int, mime_type: str, upload_id: str | None
    ) -> Reservation:
        uploads = self._running(session_id).uploads
        return uploads.reserve(name=name, size_bytes=size_bytes, mime_type=mime_type, upload_id=upload_id)

    async def receive_upload(
        self, session_id: str, upload_id: str, key: str, chunks: AsyncIterable[bytes]
    ) -> None:
        await self._running(session_id).uploads.receive(upload_id, key, chunks)

    async def session_log(self, session_id: str, key: str) -> bytes:
        return await asyncio.to_thread(self.logbook.read, session_id, key)

    async def clip(self, recording_id: str, start_s: float, end_s: float) -> list[Segment] | None:
        return self.recordings.clip(recording_id, start_s, end_s)

    async def clip_file(self, recording_id: str, name: str, *, begin: int) -> bytes:
        return await asyncio.to_thread(self.recordings.read, recording_id, name, begin=begin)

    # SlotOwner ----------------------------------------------------------------------------------------

    def moved(self, slot: int, transition: Transition) -> None:
        self.journal.transition(transition, slot=slot)
        self._wake_the_line()

    def noted(self, slot: int, event: str, state: State, detail: JsonObject) -> None:
        self.journal.note(event, state, detail, slot=slot)

    def reported(self, progress: Progress) -> None:
        self._report(progress)

    def _wake_the_line(self) -> None:
        # A fresh event each time: whoever waits on the old one wakes, whoever comes later waits anew.
        self._moved.set()
        self._moved = asyncio.Event()

    # Leaving ------------------------------------------------------------------------------------------

    async def drain(self) -> None:
        """Refuse new sessions and wait until the running one ended, at most `drain_s`."""
        self._draining = True
        self._wake_the_line()
        self._report(Progress("draining", "no new sessions are accepted"))
        await self._slot.drain()

    async def told(self) -> None:
        """Wait until whoever waited for the model has asked what became of it; not at all where nobody did."""
        if self._asked_s is None or self._clock() - self._asked_s > LOOKS_S:
            return
        self._asked.clear()
        self._explained.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOKS_S):
                await self._asked.wait()
            async with asyncio.timeout(DETAILS_S):
                await self._explained.wait()

    async def close(self) -> None:
        """End the session and the model. May be called twice and from any state."""
        if self._closed:
            return
        self._closed = self._draining = True
        self._wake_the_line()
        await self._slot.close()
        await self._tasks.cancel()
        self.recordings.close()
        self.journal.close()
