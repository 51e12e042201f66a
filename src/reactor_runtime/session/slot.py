"""A model slot: one loaded model, one session after the other, and a fresh model when one was lost.

    load ─▶ ready ─▶ session ─▶ closing ─▶ ready ─▶ …        model lost ─▶ pause ─▶ load again

Owns the session, the lifecycle table and the loads of its model, on the event loop. `slots.Slots` owns all slots of a
server, `sessions.Sessions` tells them what to begin and to stop; the host reaches a slot through `host.HostEvents`,
the session through `session_owner.SessionOwner`. A failure of the model ends the session it happened in and nothing
else: viewers are told, the server stays reachable, the next session is served.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable

from .. import codes
from ..author import documents
from ..config import SessionsSettings
from ..errors import ModelFailed, ReactorError, SessionRefused
from ..host import HostCounters, HostFactory, HostState
from ..progress import Progress
from ..tasks import Tasks
from ..types import JsonObject, ModelInfo
from ..wire import messages as say
from .admission import SlotView
from .from_host import FromHost
from .hand_over import HandOver
from .lifecycle import Event, HealthWord, Lifecycle, State
from .loads import Loads, Prepare
from .metrics import Snapshot, Totals
from .session import Session
from .slot_owner import SessionFactory, SlotOwner
from .told import SessionTold
from .votes import question

log = logging.getLogger(__name__)

#: What the descriptor names while no session runs; clients need a string.
NO_SESSION = "00000000-0000-0000-0000-000000000000"
#: How long the connections of an ended session may take to close before the server goes.
PART_S = 5.0


class ModelSlot:
    """Implements `SessionOwner` and `LoadsOwner`; a host's events reach it through `from_host.FromHost`."""

    def __init__(
        self,
        owner: SlotOwner,
        make_host: HostFactory,
        make_session: SessionFactory,
        settings: SessionsSettings,
        *,
        number: int,
        clock: Callable[[], float],
    ) -> None:
        self.number = number
        self.label = f"slot {number}: " if settings.slot_count > 1 else ""
        """What a line of the log begins with that is of this slot; "" where there is no other."""
        self._owner = owner
        self._make_session = make_session
        self._drain_s, self._stop_s, self._vote = settings.drain_s, settings.stop_s, settings.vote
        self._totals = Totals()
        self._clock = clock
        self._lifecycle = Lifecycle(orphan_s=settings.orphan_s, clock=clock)
        self._loads = Loads(
            lambda: make_host(FromHost(self), number),
            self,
            label=self.label,
            restarts=settings.restarts,
            clock=clock,
        )
        self._session: Session | None = None
        self._told: SessionTold | None = None
        self._handing = HandOver()
        self.spoiled = False
        """Whether the last run was lost before its first picture."""
        self._last_failed = ("", "")
        """The last session that failed, by its id, and what the model raised in it; also of the load before any."""
        self._settled = asyncio.Event()
        """Set while no session is running or closing."""
        self._settled.set()
        self._orphan_timer: asyncio.TimerHandle | None = None
        self._tasks = Tasks("the model slot")
        self._endings = Tasks("the end of a session")
        """The cleanup of sessions that have ended, until their connections are closed."""
        self._draining = False
        self._closed = False

    # What it is now -----------------------------------------------------------------------------------

    @property
    def state(self) -> State:
        return self._lifecycle.state

    @property
    def health_word(self) -> HealthWord:
        return self._lifecycle.health_word

    @property
    def detail(self) -> str | None:
        """Why it can serve nobody, in words; None where there is nothing to say."""
        return self._loads.detail

    @property
    def loading(self) -> JsonObject | None:
        """How far a load is; None while nothing loads."""
        return self._loads.loading.now()

    @property
    def view(self) -> SlotView:
        return SlotView(self.state, self.detail)

    @property
    def session(self) -> Session | None:
        """The session that runs or closes."""
        return self._session

    @property
    def running(self) -> Session | None:
        """The session that runs: it may be joined and asked."""
        return self._session if self._lifecycle.running else None

    @property
    def info(self) -> ModelInfo | None:
        """What is known of the model while it is loaded."""
        return None if self.state is State.CREATED else self._loads.info

    @property
    def pid(self) -> int | None:
        """The model process; None while there is none, and for the inline host."""
        return self._loads.host.pid if self._loads.host is not None else None

    def snapshot(self) -> Snapshot:
        """Return its numbers as they are now."""
        session, host = self._session, self._loads.host
        return Snapshot(
            slot=self.number,
            state=self.state.value,
            viewers=session.viewers if session is not None else 0,
            restarts=self._loads.restarts,
            host=host.counters() if host is not None else HostCounters(),
            totals=self._totals.plus(session.streams.counters() if session is not None else None),
            session=session.numbers() if session is not None else {},
        )

    def openapi(self) -> JsonObject:
        return self._loads.openapi

    def capabilities(self) -> JsonObject:
        info = self._loads.info
        return documents.capabilities(info) if info is not None else {}

    # The model ----------------------------------------------------------------------------------------

    async def load(self, prepare: Prepare) -> None:
        """Load the model for the first time, after `prepare(report)` has fetched what it needs.

        Raises what the author or the operator can fix, or ModelFailed.
        """
        try:
            await self._loads.first(prepare)
        except ReactorError as error:
            self._last_failed = NO_SESSION, str(error)
            raise

    async def load_beside(self) -> None:
        """Load what another slot has loaded. A failure costs of the budget, as any later one, and no other's time."""
        if not await self._loads.beside():
            self._tasks.spawn(self._loads.again())

    # LoadsOwner ---------------------------------------------------------------------------------------

    def check(self, info: ModelInfo) -> None:
        if self._vote:
            question(info.commands, self._vote)

    def loaded(self) -> None:
        self._fire(Event.INITIALIZATION_SUCCESS)

    def given_up(self) -> None:
        self._fire(Event.INITIALIZATION_FAIL)

    def reported(self, progress: Progress) -> None:
        self._owner.reported(self.number, progress)

    # Beginning and ending a session -------------------------------------------------------------------

    def begin(self, session_id: str) -> None:
        """Start a session. Raises SessionRefused unless the slot is READY."""
        self._fire(Event.START_SESSION)
        host, info = self._loads.host, self._loads.info
        assert host is not None
        assert info is not None
        self._settled.clear()
        self._session = self._make_session(
            session_id, info=info, host=host, owner=self, counts=self._totals.messages
        )
        self._totals.sessions += 1
        self._handing.needed = self.spoiled = False
        host.start_session(session_id)
        self._told = SessionTold(session_id, self._clock())
        self.reported(self._told.started())

    async def hand_over(self) -> None:
        """Make the model new for the next driver, unless it is. Raises SessionRefused unless a session runs."""
        session, host = self.running, self._loads.host
        if session is None or host is None:
            raise SessionRefused("No session running", status=400)
        runs = self._handing.runs
        await self._handing.make(session, host, runs=lambda: self.running is session)
        if self._handing.runs != runs:
            self.spoiled = False
            self.note("hand_over", {})

    def stop(self, *goodbyes: say.ServerMessage) -> None:
        """End the session, saying why. Raises SessionRefused when none runs."""
        self._fire(Event.STOP_SESSION)
        self._end(*goodbyes)

    def model_finished(self, error: ModelFailed | None) -> None:
        """start_session returned or raised."""
        session = self.running
        if session is None or self._handing.going:
            return
        if error is None:
            self._tasks.spawn(self._finish(session))
            return
        self._failed(error)
        self._fire(Event.MODEL_FINISHED)
        self._end(
            say.RuntimeNotice(error.code, error.public(), detail=str(error)), say.SessionEnded(error.code)
        )

    def model_lost(self, error: ModelFailed) -> None:
        """The model process is gone; whatever ran on it ends, then it is loaded again."""
        log.error("%s%s: %s", self.label, error.code, error)
        self._loads.lost = error
        self._failed(error)
        if self._lifecycle.running:
            self._fire(Event.MODEL_FINISHED)
            self._end(
                say.RuntimeNotice(error.code, error.public(), detail=str(error)), say.SessionEnded(error.code)
            )
        elif self.state is State.READY:
            self._fire(Event.MODEL_LOST)
            self._tasks.spawn(self._loads.again())
        # While CLOSING, `_cleanup` sees that the host has failed; while CREATED, `load` raises.

    def raised_in(self, session_id: str) -> str:
        """Return what the model raised in the last session that failed, if it was this one."""
        failed, raised = self._last_failed
        return raised if failed == session_id else ""

    def _failed(self, error: ModelFailed) -> None:
        self._totals.failures += 1
        self.spoiled = self._session is not None and not self._session.frame_ids.begun
        if self._session is not None:
            self._last_failed = (self._session.session_id, str(error))
        self._owner.noted(self.number, "error", self.state, {"code": error.code})

    async def _finish(self, session: Session) -> None:
        """The model has no more frames: show what was emitted, then end. Without viewers it is orphaned."""
        run = self._handing.runs
        await session.streams.played_out()
        if self.running is session and self._handing.runs == run and not self._handing.going:
            self._fire(Event.MODEL_FINISHED)
            self._end(say.SessionEnded(codes.FINISHED))

    def _end(self, *goodbyes: say.ServerMessage) -> None:
        session = self._session
        assert session is not None
        self._endings.spawn(self._cleanup(session, goodbyes))

    async def _cleanup(self, session: Session, goodbyes: tuple[say.ServerMessage, ...]) -> None:
        host = self._loads.host
        assert host is not None
        ended = await asyncio.gather(session.end(*goodbyes), host.stop_session(), return_exceptions=True)
        for error in ended:
            if isinstance(error, BaseException):
                log.error("%ssession %s did not end cleanly", self.label, session.session_id, exc_info=error)
        self._totals.add(session.streams.counters())
        self._session = None
        if host.state is HostState.FAILED:
            self._fire(Event.MODEL_LOST)
            self._tasks.spawn(self._loads.again())
        else:
            self._fire(Event.CLEANUP_COMPLETE)
        self._settled.set()
        reason = next((each.reason for each in goodbyes if isinstance(each, say.SessionEnded)), "")
        if self._told is not None:
            self.reported(self._told.ended(reason, self._clock()))
        await session.part()

    # SessionOwner -------------------------------------------------------------------------------------

    def viewer_opened(self) -> None:
        self._totals.viewers += 1
        self._fire(Event.CONNECTION_OPENED)

    def viewer_closed(self) -> None:
        self._fire(Event.CONNECTION_CLOSED)
        self._end_unwatched()

    def seat_moved(self) -> None:
        # Whoever had the seat may have left something behind.
        self._handing.needed = True
        self._owner.seat_moved(self.number)

    def operated(self, action: say.OperatorVerb, reason: str) -> None:
        self._owner.operated(self.number, action, reason)

    def note(self, event: str, detail: JsonObject) -> None:
        if event == "offer" and self._told is not None:
            self._told.offered(detail["client"])
        if event == "command":
            self._totals.commands += 1
            self._totals.commands_refused += detail["code"] != "ok"
        self._owner.noted(self.number, event, self.state, detail)

    # Time and transitions -----------------------------------------------------------------------------

    def _fire(self, event: Event) -> None:
        transition = self._lifecycle.fire(event)
        if transition is not None:
            self._owner.moved(self.number, transition)
        self._arm_orphan_timer()

    def _arm_orphan_timer(self) -> None:
        if self._orphan_timer is not None:
            self._orphan_timer.cancel()
            self._orphan_timer = None
        left_s = self._lifecycle.orphan_left_s()
        if left_s is not None and not self._closed:
            self._orphan_timer = asyncio.get_running_loop().call_later(left_s + 0.001, self._orphaned)

    def _orphaned(self) -> None:
        transition = self._lifecycle.poll()
        if transition is None:
            self._arm_orphan_timer()
            return
        self._owner.moved(self.number, transition)
        self._end(say.SessionEnded(codes.TIMED_OUT))

    # Leaving ------------------------------------------------------------------------------------------

    async def drain(self) -> None:
        """Tell the running session that its time is up, and wait until it ended, at most `drain_s`."""
        self._draining = True
        session = self._session
        if session is None:
            return
        seconds = self._drain_s
        session.broadcast(say.RuntimeNotice(codes.DRAINING, f"the server stops in at most {seconds:.0f} s"))
        self._end_unwatched()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._settled.wait()

    def _end_unwatched(self) -> None:
        """While draining, a session that nobody watches is not waited for, whether they left or never came."""
        session = self.running
        if not self._draining or session is None or session.connections.joining:
            return
        if self.state in (State.WAITING, State.ORPHANED):
            self._fire(Event.EVICTION)
            self._end(say.SessionEnded(codes.SERVER_STOPPED))

    async def close(self) -> None:
        """End the session and the model. May be called twice and from any state."""
        if self._closed:
            return
        self._closed = self._draining = True
        if self._orphan_timer is not None:
            self._orphan_timer.cancel()
        if self.running is not None:
            self._fire(Event.EVICTION)
            self._end(say.SessionEnded(codes.SERVER_STOPPED))
        if self._session is not None:
            try:
                async with asyncio.timeout(self._stop_s + 2):
                    await self._settled.wait()
            except TimeoutError:
                log.error("%sthe session did not end in time", self.label)
        await self._tasks.cancel()
        with contextlib.suppress(TimeoutError):  # their viewers may still be reading what was said last
            async with asyncio.timeout(PART_S):
                await self._endings.wait()
        await self._endings.cancel()
        await self._loads.close()
        self._fire(Event.EVICTION)
