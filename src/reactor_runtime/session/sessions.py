"""The model slot: one loaded model, one session after the other, and a fresh model when one was lost.

    load ─▶ ready ─▶ session ─▶ closing ─▶ ready ─▶ …        model lost ─▶ pause ─▶ load again

Owns the host, the running session and the lifecycle table, on the event loop. HTTP reaches it through
`server.service.Service`, the host through `host.HostEvents`, the session through `session.SessionOwner`.
A failure of the model ends the session it happened in and nothing else: viewers are told, the server
stays reachable, the next session is served.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import uuid
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from .. import __version__, limits
from ..author import documents
from ..config import Settings
from ..errors import ModelFailed, ReactorError, SessionRefused
from ..host import HostCounters, HostEvents, HostFactory, HostState, ModelHost
from ..progress import Progress
from ..recording.store import Recordings
from ..session_log.logbook import Logbook
from ..types import CommandOutcome, EmittedFrame, JsonObject, ModelInfo, ModelMessage
from ..webrtc.peer import PeerEngine
from ..wire import messages as say
from .fanout import EncoderThread, FanOutFactory
from .journal import Journal
from .lifecycle import Event, Lifecycle, State
from .metrics import Snapshot, Totals, render
from .restart import RestartBudget
from .service import Health
from .session import Session

log = logging.getLogger(__name__)
model_log = logging.getLogger("reactor_runtime.model")

#: How long the connections of an ended session may take to close before the server goes.
PART_S = 5.0


class Sessions:
    """Implements `Service`, `HostEvents` and `SessionOwner` for one model slot."""

    def __init__(
        self,
        make_host: HostFactory,
        engine: PeerEngine,
        settings: Settings,
        report: Callable[[Progress], None] = lambda progress: None,
        *,
        clock: Callable[[], float] = time.monotonic,
        fan_out: FanOutFactory = EncoderThread,
    ) -> None:
        self.journal = Journal()
        self.recordings = Recordings(settings)
        self.logbook = Logbook(settings)
        self._make_host = make_host
        self._engine = engine
        self._settings = settings
        self._report = report
        self._clock = clock
        self._fan_out = fan_out
        self._lifecycle = Lifecycle(orphan_s=settings.orphan_s, clock=clock)
        self._budget = RestartBudget(settings.restarts)
        self._host: ModelHost | None = None
        self._info: ModelInfo | None = None
        self._openapi: JsonObject = {}
        self._session: Session | None = None
        self._totals = Totals()
        self._detail: str | None = "loading the model"
        self._draining = False
        self._lost: ModelFailed | None = None
        """Why the host is unusable, until it is replaced."""
        self._settled = asyncio.Event()
        """Set while no session is running or closing."""
        self._settled.set()
        self._orphan_timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._ending: asyncio.Task[None] | None = None
        """The last session's cleanup, until its connections are closed."""
        self._closed = False

    # The model ----------------------------------------------------------------------------------------

    async def load(self, prepare: Callable[[Callable[[Progress], None]], Awaitable[None]]) -> None:
        """Load the model for the first time, after `prepare(report)` has fetched what it needs.

        Raises what the author or the operator can fix, or ModelFailed.
        """
        self._report(Progress("loading", "loading the model"))
        if self.recordings.enabled:
            self._spawn(self.recordings.tend())
        try:
            await prepare(self._preparing)
            self._detail = "loading the model"
            await self._load()
        except ReactorError:
            self._fire(Event.INITIALIZATION_FAIL)
            self._detail = "the model could not be loaded"
            raise

    def _preparing(self, progress: Progress) -> None:
        self._detail = progress.text
        self._report(progress)

    async def _load(self) -> None:
        host = self._host = self._make_host(_Events(self))
        info = await host.load()
        self._info = info
        self._openapi = documents.openapi(info)
        self._detail = None
        self._fire(Event.INITIALIZATION_SUCCESS)
        self._report(Progress("ready", f"{info.name} {info.version} is ready"))

    async def _reload(self) -> None:
        """Replace a lost model, within the restart budget."""
        while not self._closed:
            cause = self._lost or ModelFailed("the model process was lost")
            if self._host is not None:
                await self._host.close()
            pause_s = self._budget.pause_s(self._clock())
            if pause_s is None:
                self._detail = "the model failed too often; see the log, fix it and start the runtime again"
                self._fire(Event.INITIALIZATION_FAIL)
                self._report(Progress("failed", f"{self._detail} ({cause})"))
                return
            self._detail = f"the model is restarted after {cause.code.replace('_', ' ')}"
            self._report(Progress("restarting", f"{cause}; restarting the model in {pause_s:g} s"))
            await asyncio.sleep(pause_s)
            try:
                await self._load()
            except ReactorError as error:
                self._lost = error if isinstance(error, ModelFailed) else ModelFailed(str(error))
                log.error("the model could not be loaded again: %s", error)
            else:
                self._lost = None
                return

    # Service ------------------------------------------------------------------------------------------

    def descriptor(self) -> JsonObject:
        session, info = self._session, self._info
        loaded = info is not None and self._lifecycle.state is not State.CREATED
        descriptor: JsonObject = {
            "session_id": session.session_id if session is not None else NO_SESSION,
            "state": self._lifecycle.state.value,
            "cluster": "local",
            "model": {"name": info.name if info is not None and loaded else ""},
            "server_info": {"server_version": __version__},
            "selected_transport": {"protocol": "webrtc", "version": "1.0"},
            "recording": {
                "enabled": session.recording if session is not None else self.recordings.enabled,
                "chunk_seconds": limits.RECORDING_CHUNK_S,
            },
        }
        if info is not None and loaded:
            descriptor["capabilities"] = documents.capabilities(info)
            descriptor["emission_fps"] = self._settings.fps or info.fps
        return descriptor

    async def start(self, session_id: str | None) -> JsonObject:
        """Start a session; while the last one is closing, wait for that instead of refusing."""
        if self._lifecycle.state is State.CLOSING and not self._draining:
            # Past the time-out, the lifecycle table refuses in words.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._settings.stop_s + 1):
                    await self._settled.wait()
        if self._draining:
            raise SessionRefused("the server is shutting down", status=503, retry_after_s=10)
        if self._lifecycle.state is State.TERMINATED and self._detail is not None:
            raise SessionRefused(self._detail, status=503)
        self._fire(Event.START_SESSION)
        assert self._host is not None
        assert self._info is not None
        self._settled.clear()
        session = self._session = Session(
            session_id or str(uuid.uuid4()),
            info=self._info,
            host=self._host,
            engine=self._engine,
            settings=self._settings,
            owner=self,
            counts=self._totals.messages,
            recordings=self.recordings,
            clock=self._clock,
            fan_out=self._fan_out,
        )
        self._totals.sessions += 1
        self._host.start_session(session.session_id)
        self._report(Progress("session", f"session {session.session_id[:8]} started"))
        # Only whoever started it is told; the descriptor is everybody's.
        ticket = self.logbook.ticket(session.session_id)
        return {**self.descriptor(), **({} if ticket is None else {"session_log": ticket})}

    async def stop(self, *, moderate: bool, reason: str) -> None:
        self._fire(Event.STOP_SESSION)
        if moderate:
            text = reason or "the session was ended by the operator"
            self._end(say.Moderation("terminate", text), say.SessionEnded("moderated"))
        elif reason:
            self._end(say.SessionEnded(reason))
        else:
            self._end(say.SessionEnded("stopped"))

    def session(self, session_id: str) -> Session:
        if self._session is None or not self._lifecycle.running:
            raise SessionRefused("No session running", status=400)
        if self._session.session_id != session_id:
            raise SessionRefused("Unknown session", status=404)
        return self._session

    def health(self) -> Health:
        word = self._lifecycle.health_word
        if self._draining:
            return Health(False, word, "shutting down")
        return Health(word in ("available", "serving"), word, self._detail)

    def openapi(self) -> JsonObject:
        return self._openapi

    def capabilities(self) -> JsonObject:
        return documents.capabilities(self._info) if self._info is not None else {}

    def metrics_text(self) -> str:
        return render(
            Snapshot(
                state=self._lifecycle.state.value,
                viewers=self._session.viewers if self._session is not None else 0,
                restarts=self._budget.total,
                host=self._host.counters() if self._host is not None else HostCounters(),
                totals=self._totals.plus(self._session.stream.counters() if self._session else None),
                session=self._session.numbers() if self._session is not None else {},
            )
        )

    # SessionOwner -------------------------------------------------------------------------------------

    def viewer_opened(self) -> None:
        self._totals.viewers += 1
        self._fire(Event.CONNECTION_OPENED)

    def viewer_closed(self) -> None:
        self._fire(Event.CONNECTION_CLOSED)
        self._end_unwatched()

    def note(self, event: str, detail: JsonObject) -> None:
        if event == "command":
            self._totals.commands += 1
            self._totals.commands_refused += detail["code"] != "ok"
        self.journal.note(event, self._lifecycle.state, detail)

    # Ending a session ---------------------------------------------------------------------------------

    def model_finished(self, error: ModelFailed | None) -> None:
        """start_session returned or raised."""
        session = self._session
        if session is None or not self._lifecycle.running:
            return
        if error is None:
            self._spawn(self._finish(session))
            return
        self._totals.failures += 1
        self.journal.note("error", self._lifecycle.state, {"code": error.code})
        self._fire(Event.MODEL_FINISHED)
        self._end(say.RuntimeNotice(error.code, error.public()), say.SessionEnded(error.code))

    def model_lost(self, error: ModelFailed) -> None:
        """The model process is gone; whatever ran on it ends, then it is loaded again."""
        log.error("%s: %s", error.code, error)
        self._lost = error
        self._totals.failures += 1
        self.journal.note("error", self._lifecycle.state, {"code": error.code})
        if self._lifecycle.running:
            self._fire(Event.MODEL_FINISHED)
            self._end(say.RuntimeNotice(error.code, error.public()), say.SessionEnded(error.code))
        elif self._lifecycle.state is State.READY:
            self._fire(Event.MODEL_LOST)
            self._spawn(self._reload())
        # While CLOSING, `_cleanup` sees that the host has failed; while CREATED, `load` raises.

    async def _finish(self, session: Session) -> None:
        """The model has no more frames: show what was emitted, then end. Without viewers it is orphaned."""
        await session.stream.played_out()
        if self._session is session and self._lifecycle.running:
            self._fire(Event.MODEL_FINISHED)
            self._end(say.SessionEnded("finished"))

    def _end(self, *goodbyes: say.ServerMessage) -> None:
        session = self._session
        assert session is not None
        self._ending = asyncio.create_task(self._cleanup(session, goodbyes))
        self._ending.add_done_callback(self._finished)

    async def _cleanup(self, session: Session, goodbyes: tuple[say.ServerMessage, ...]) -> None:
        host = self._host
        assert host is not None
        ended = await asyncio.gather(session.end(*goodbyes), host.stop_session(), return_exceptions=True)
        for error in ended:
            if isinstance(error, BaseException):
                log.error("session %s did not end cleanly", session.session_id, exc_info=error)
        self._totals.add(session.stream.counters())
        self._session = None
        if host.state is HostState.FAILED:
            self._fire(Event.MODEL_LOST)
            self._spawn(self._reload())
        else:
            self._fire(Event.CLEANUP_COMPLETE)
        self._settled.set()
        self._report(Progress("ready", f"session {session.session_id[:8]} ended"))
        await session.part()

    # Time and transitions -----------------------------------------------------------------------------

    def _fire(self, event: Event) -> None:
        transition = self._lifecycle.fire(event)
        if transition is not None:
            self.journal.transition(transition)
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
        self.journal.transition(transition)
        self._end(say.SessionEnded("timed_out"))

    # Leaving ------------------------------------------------------------------------------------------

    async def drain(self) -> None:
        """Refuse new sessions and wait until the running one ended, at most `drain_s`."""
        self._draining = True
        self._report(Progress("draining", "no new sessions are accepted"))
        session = self._session
        if session is None:
            return
        seconds = self._settings.drain_s
        session.broadcast(say.RuntimeNotice("draining", f"the server stops in at most {seconds:.0f} s"))
        self._end_unwatched()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._settled.wait()

    def _end_unwatched(self) -> None:
        """While draining, nobody is waited for who has left."""
        if self._draining and self._lifecycle.state is State.ORPHANED:
            self._fire(Event.EVICTION)
            self._end(say.SessionEnded("server stopped"))

    async def close(self) -> None:
        """End the session and the model. May be called twice and from any state."""
        if self._closed:
            return
        self._closed = True
        self._draining = True
        if self._orphan_timer is not None:
            self._orphan_timer.cancel()
        if self._session is not None and self._lifecycle.running:
            self._fire(Event.EVICTION)
            self._end(say.SessionEnded("server stopped"))
        if self._session is not None:
            try:
                async with asyncio.timeout(self._settings.stop_s + 2):
                    await self._settled.wait()
            except TimeoutError:
                log.error("the session did not end in time")
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._ending is not None:  # its viewers may still be reading what was said last
            await asyncio.wait([self._ending], timeout=PART_S)
            self._ending.cancel()
        if self._host is not None:
            await self._host.close()
        self._fire(Event.EVICTION)
        self.recordings.close()
        self.journal.close()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a task of the model slot failed", exc_info=error)


#: What the descriptor names while no session runs; clients need a string.
NO_SESSION = "00000000-0000-0000-0000-000000000000"


class _Events(HostEvents):
    """What one host tells the slot, forwarded to the session that runs on it."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    @property
    def _session(self) -> Session | None:
        return self._sessions._session

    def frame(self, frame: EmittedFrame) -> None:
        session = self._session
        if session is None:
            frame.release()
        else:
            session.frame(frame)

    def outcome(self, outcome: CommandOutcome) -> None:
        if (session := self._session) is not None:
            session.outcome(outcome)

    def message(self, message: ModelMessage) -> None:
        if (session := self._session) is not None:
            session.message(message)

    def metrics(self, values: JsonObject) -> None:
        if (session := self._session) is not None:
            session.metrics(values)

    def session_ended(self, error: ModelFailed | None) -> None:
        self._sessions.model_finished(error)

    def failed(self, error: ModelFailed) -> None:
        self._sessions.model_lost(error)

    def log(self, line: str) -> None:
        model_log.info("%s", line)
