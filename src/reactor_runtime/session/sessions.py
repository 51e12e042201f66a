"""All sessions of a server: found by id, started on a free slot, and what the server says of itself.

    routes ──Service──▶ Sessions ──▶ starts.py: which slot, and when, or why not
                           │
                           ├──▶ foyer.py: the line of those who wait for a turn
                           └──▶ slots.py ──▶ slot.py ──▶ session.py

Owns the slots, the journal, the recordings and the logbook; one per server, on its event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Sequence

from .. import codes, limits
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
from .audit import Audit, Silent
from .describing import describe
from .ending import check_ends, end_moderated
from .fanout import EncoderThreads, FanOutFactory
from .foyer import open_foyer
from .grants import Grant, Right
from .journal import Entry, Journal
from .lifecycle import State, Transition
from .loads import Prepare
from .metrics import MessageCounts, text_of
from .onlookers import Onlookers
from .register import Register
from .service import Health, Offer, Registration, SocketOffer
from .session import Session
from .session_owner import SessionOwner
from .slot import ModelSlot
from .slots import Slots
from .starters import Starters
from .starts import Starts
from .uploads import Reservation


class Sessions:
    """Implements `Service`."""

    def __init__(
        self,
        make_host: HostFactory,
        engine: PeerEngine,
        settings: SessionsSettings,
        report: Callable[[Progress], None] = lambda progress: None,
        *,
        audit: Audit | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        fan_out: FanOutFactory = EncoderThreads,
    ) -> None:
        self.audit = audit or Silent()
        self._register = Register(self.audit, clock, wall)
        self.journal = Journal()
        self.recordings = Recordings(settings)
        self.logbook = Logbook(settings)
        self._engine = engine
        self._settings = settings
        self._ice_servers = tuple(parse_ice_server(text) for text in settings.ice_servers)
        self._report = report
        self._clock = clock
        self._fan_out = fan_out
        self.slots = Slots(
            make_host,
            self._make_session,
            settings,
            journal=self.journal,
            moved=self._moved,
            seat_moved=lambda: self.line.moved(),
            report=report,
            clock=clock,
        )
        self._starters = Starters(clock)
        self.line = open_foyer(self.slots, self.logbook, settings, clock, began=self._starters.began)
        # A start may wait as long as a stop can take.
        self._starts = Starts(self.slots, self.line, patience_s=settings.stop_s + 1, clock=clock)
        self.slots.on_drain_wanted = self._drain_wanted
        self._onlookers = Onlookers(clock)
        self._tasks = Tasks("the sessions")
        self._drain_asked = asyncio.Event()
        self._closed = False

    async def load(self, prepare: Prepare) -> None:
        """Load the model, after `prepare(report)` has fetched what it needs.

        Raises what the author or the operator can fix, or ModelFailed.
        """
        if self.recordings.enabled:
            self._tasks.spawn(self.recordings.tend())
        await self.slots.load(prepare)

    def _make_session(
        self,
        session_id: str,
        *,
        info: ModelInfo,
        host: ModelHost,
        owner: SessionOwner,
        counts: MessageCounts,
    ) -> Session:
        return Session(
            session_id,
            info=info,
            host=host,
            engine=self._engine,
            picture=self._settings,
            audience=self._settings,
            vote=self._settings,
            ping_timeout_s=self._settings.ping_timeout_s,
            owner=owner,
            counts=counts,
            register=self._register,
            recordings=self.recordings,
            clock=self._clock,
            fan_out=self._fan_out,
        )

    # Service ------------------------------------------------------------------------------------------

    async def descriptor(self, session_id: str | None = None) -> JsonObject:
        return self._describe(self.slots.find(session_id) or self.slots.best)

    async def adopted(self, *, grant: Grant) -> JsonObject:
        own, running = self._starters.of(grant.client), self.slots.running
        if grant.sid is not None:
            return await self.descriptor(grant.sid)
        if own:
            return await self.descriptor(own[-1])
        return self._describe(running[0] if len(running) == 1 else self.slots.best)

    async def running_sessions(self) -> list[JsonObject]:
        return [
            {
                "session_id": session.session_id,
                "slot": slot.number,
                "state": slot.state.value,
                "viewers": session.viewers,
                "driven": bool(session.wheel.drivers()),
            }
            for slot in self.slots.running
            if (session := slot.running) is not None
        ]

    def _describe(self, slot: ModelSlot) -> JsonObject:
        return describe(slot, fps=self._settings.fps, recorded=self.recordings.enabled)

    async def start(self, session_id: str | None, *, grant: Grant, wait_s: float = 0.0) -> JsonObject:
        """Start a session; while the last one is closing, wait for that instead of refusing."""
        # Who has a token for one session starts that one.
        session_id = session_id or grant.sid or str(uuid.uuid4())
        grant.require(Right.DRIVE, session_id)
        self._register.passes.check(grant, session_id)
        async with self._starts.slot(wait_s, grant) as slot:
            # Its time may have ended while it waited.
            self._register.passes.check(grant, session_id)
            return self._begin(slot, session_id, grant)

    def _begin(self, slot: ModelSlot, session_id: str, grant: Grant) -> JsonObject:
        if any(each.session is not None and each.session.session_id == session_id for each in self.slots):
            raise SessionRefused("a session of this id runs", status=409)
        slot.begin(session_id)
        self.audit.note("start", grant, session_id=session_id)
        self._starters.began(session_id, grant.client)
        # Only whoever started it is told; the descriptor is everybody's.
        ticket, seat = self.logbook.ticket(session_id), self._running(session_id).wheel.promise(keyless=True)
        return {**self._describe(slot), "seat": seat, **({} if ticket is None else {"session_log": ticket})}

    async def stop(self, session_id: str | None, *, moderate: bool, reason: str, grant: Grant) -> None:
        right = Right.OPERATE if moderate else Right.DRIVE
        grant.require(right, session_id)
        slot = self._slot_meant(grant, moderate=moderate) if session_id is None else self._slot_of(session_id)
        if slot is None:
            return
        stopped = slot.session.session_id if slot.session is not None else ""
        grant.require(right, stopped or None)
        if slot.running is not None:
            started = stopped in self._starters.of(grant.client)
            check_ends(slot.running, grant, started=started)
            if started and not moderate:
                self._starters.stopped(stopped)
        self.audit.note("moderate" if moderate else "stop", grant, session_id=stopped, reason=reason)
        if moderate:
            end_moderated(slot, reason)
        else:
            slot.stop(say.SessionEnded(reason or codes.STOPPED))

    def _slot_meant(self, grant: Grant, *, moderate: bool) -> ModelSlot | None:
        """Return the slot that a stop without a session's id is for; None: it is kept. Raises SessionRefused."""
        own = self._starters.of(grant.client)
        if len(self.slots) == 1 and (moderate or not own or grant.sid is not None):
            return self.slots[0]
        if grant.sid is not None:
            return self._slot_of(grant.sid)
        running = self.slots.running
        if moderate and len(running) == 1:
            return running[0]
        if moderate or not own:
            text = "this client started no session that runs; name the one to stop by its session_id"
            raise SessionRefused(text, status=409)
        meant = self._starters.leave(grant.client)
        return None if meant is None else self._slot_of(meant)

    def _slot_of(self, session_id: str) -> ModelSlot:
        """Find a session that runs. Raises SessionRefused."""
        try:
            return self.slots.of(session_id)
        except SessionRefused as refused:
            if refused.status == 400:
                self._onlookers.explained()
            raise

    def starter(self, session_id: str) -> str:
        """Return the name of the token with which a session was started; "" where that is not known."""
        return next(iter(self._starters.who(session_id) or ("",)))

    def still_counts(self, grant: Grant, session_id: str | None) -> None:
        self._register.passes.still_counts(grant, session_id)

    async def kick(self, session_id: str, connection_id: int, *, reason: str, grant: Grant) -> None:
        grant.require(Right.OPERATE, session_id)
        self._running(session_id).wheel.kick(connection_id, reason)
        self.audit.note("kick", grant, session_id=session_id, whom=str(connection_id), reason=reason)

    async def ask_drain(self, *, grant: Grant) -> None:
        grant.require_everywhere(Right.OPERATE)
        self.audit.note("drain", grant)
        self._drain_wanted()

    def _running(self, session_id: str) -> Session:
        session = self._slot_of(session_id).running
        assert session is not None
        return session

    async def health(self) -> Health:
        self._onlookers.looked()
        best = self.slots.best
        word, states = best.health_word, tuple(slot.state.value for slot in self.slots)
        if self._starts.draining:
            return Health(False, word, "shutting down", slots=states)
        healthy = word in ("available", "serving")
        return Health(healthy, word, best.detail, best.loading, states)

    async def openapi(self) -> JsonObject:
        return self.slots[0].openapi()

    async def metrics_text(self) -> str:
        return text_of([slot.snapshot() for slot in self.slots]) + self.line.metrics_text()

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
    ) -> str:
        grant.require(Right.WATCH, session_id)
        session = self._running(session_id)
        return session.offer(connection_id, offer, replace=replace, legacy=legacy, grant=grant)

    async def answer(self, session_id: str, connection_id: int, *, hold_s: float) -> str | None:
        return await self._running(session_id).connections.answer(connection_id, hold_s)

    async def add_candidates(
        self, session_id: str, connection_id: int, candidates: Sequence[Candidate]
    ) -> None:
        self._running(session_id).connections.add_candidates(connection_id, candidates)

    async def media(
        self, session_id: str, inbound: AsyncIterable[str | bytes], offer: SocketOffer, *, grant: Grant
    ) -> AsyncGenerator[str | bytes | Closing, None]:
        grant.require(Right.WATCH, session_id)
        link = self._running(session_id).attach(offer, grant=grant)
        async with contextlib.aclosing(carry(link, inbound)) as outbound:
            async for message in outbound:
                yield message

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
        session = self._running(session_id)
        return session.uploads.reserve(
            name=name,
            size_bytes=size_bytes,
            mime_type=mime_type,
            upload_id=upload_id,
            owner=grant.client,
            drivers=session.wheel.driving_clients(),
        )

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

    def _moved(self, slot: ModelSlot, transition: Transition) -> None:
        """A slot has moved: see who is next, and whether it was left, or its session is over."""
        self.line.moved()
        session = slot.session
        if session is None:
            return
        if transition.after is State.CLOSING:
            self._starters.ended(session.session_id)
        elif transition.after is State.STREAMING:
            self._starters.watched(session.session_id)
        elif transition.after is State.ORPHANED and self._starters.is_left(session.session_id):
            asyncio.get_running_loop().call_soon(self._left, session)

    def _left(self, session: Session) -> None:
        for slot in self.slots.running:
            if slot.running is session and slot.state is State.ORPHANED:
                slot.stop(say.SessionEnded(codes.STOPPED))

    def _drain_wanted(self) -> None:
        self._starts.draining = True
        self.slots.wake()
        self._drain_asked.set()

    async def until_drain_asked(self) -> None:
        """Wait until an operator wants the server to stop."""
        await self._drain_asked.wait()

    # Leaving ------------------------------------------------------------------------------------------

    async def drain(self) -> None:
        """Refuse new sessions and wait until the running ones ended, at most `drain_s`."""
        self._starts.draining = True
        self.line.drain()
        self.slots.wake()
        self._report(Progress("draining", "no new sessions are accepted"))
        await self.slots.drain()

    async def told(self) -> None:
        """Wait until whoever waited for the model has asked what became of it; not at all where nobody did."""
        await self._onlookers.told()

    async def close(self) -> None:
        """End the session and the model. May be called twice and from any state."""
        if self._closed:
            return
        self._closed = self._starts.draining = True
        await self.line.close()
        self.slots.wake()
        await self.slots.close()
        await self._tasks.cancel()
        self.recordings.close()
        self.journal.close()
