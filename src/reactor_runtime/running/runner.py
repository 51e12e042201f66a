"""Drive one model for one session after another, on the thread that calls `serve`.

    start ─▶ start_session() ── a generator: commands run between two yields, on this thread
                │           └── a blocking loop: commands run on one command thread beside it
                ▼
       return, exception or stop ─▶ commands end ─▶ reset() ─▶ session_ended ─▶ wait for the next

Both hosts use it: the model process on its main thread, the inline host on a thread of its own. The other
methods may be called from any thread; they hand over and return. What an author's code raises ends here.
"""

from __future__ import annotations

import inspect
import logging
import threading
import time
from collections.abc import AsyncIterable, Generator, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any, Final

from .. import limits
from ..author.model import VideoModel
from ..causes import CauseLog
from ..errors import FrameRejected, ModelDefinitionError, ModelFailed, SessionStopped
from ..types import CommandCall, Cue, Demand, InputFrame, Track, track_names
from ..weights import resolve
from . import context
from .context import SessionContext
from .frame_memory import FrameBooks, FrameMemory
from .frames import FrameNormalizer
from .handlers import Handlers, failure_of, free_memory
from .inbox import Feed, Inbox
from .outlet import RunnerOutlet
from .pulse import COMMAND_LANE, MODEL_LANE, Pulse, PulseState
from .seeding import seed_generators

log = logging.getLogger(__name__)

#: A generator whose own code ran shorter than this before `yield None` is polling, not computing ...
POLLING_S: Final = 0.001
#: ... and is resumed after this, or at once when a command, an input frame or the stop comes.
POLL_S: Final = 0.01


class Runner:
    """One loaded model and its sessions."""

    def __init__(
        self,
        model: VideoModel,
        *,
        fps: float | None,
        tracks: Sequence[Track],
        outlet: RunnerOutlet,
        books: FrameBooks,
        memory: FrameMemory,
        words: memoryview,
    ) -> None:
        self._model = model
        self._fps = fps
        self._tracks = tuple(tracks)
        self._outlet = outlet
        self._books = books
        self._memory = memory
        self._pulse = Pulse(words, MODEL_LANE)
        self._command_pulse = Pulse(words, COMMAND_LANE)
        self._command_thread: threading.Thread | None = None
        self._causes = CauseLog(outlet.log)
        self._slow: set[str] = set()
        """Commands that were told of because they held up the picture."""
        self._calls_on_frame = type(model).on_frame is not VideoModel.on_frame
        self._wake = threading.Condition()
        self._session: SessionContext | None = None
        self._inbox: Inbox | None = None
        self._closing = False

    # Any thread -------------------------------------------------------------------------------------

    def start(
        self,
        session_id: str,
        *,
        seed: int | None = None,
        cues: Sequence[Cue] = (),
        feed: Feed | None = None,
        held: bool = False,
    ) -> None:
        """Let `serve` run a session. The one before has ended. See `Inbox` for what is written down."""
        inbox = Inbox(self._tracks, calls_on_frame=self._calls_on_frame, cues=cues, feed=feed, held=held)
        session = SessionContext(
            session_id,
            self._fps,
            seed=seed,
            main_track=track_names(self._tracks, "out")[0],
            inbox=inbox,
            books=self._books,
            memory=self._memory,
            outlet=self._outlet,
            normalizer=FrameNormalizer(self._model.value_range),
            pulse_of_this_thread=self._pulse_of_this_thread,
        )
        with self._wake:
            self._inbox, self._session = inbox, session
            self._wake.notify_all()

    def stop(self) -> None:
        """End the running session, if any."""
        if (session := self._session) is not None:
            session.end()

    def command(self, call: CommandCall) -> None:
        """Queue a command. Without a session it is dropped: the host answers what was left over."""
        if (inbox := self._inbox) is not None:
            inbox.put_call(call)

    @property
    def model(self) -> VideoModel:
        return self._model

    @property
    def busy(self) -> bool:
        """A session runs, or waits to run."""
        return self._session is not None

    @property
    def polls(self) -> int:
        """How often the generator has yielded None since its last frame with nothing to do."""
        inbox = self._inbox
        return 0 if inbox is None else inbox.polls

    def demand(self, demand: Demand) -> None:
        if (inbox := self._inbox) is not None:
            inbox.put_demand(demand)

    def input(self, frame: InputFrame) -> bool:
        """Replace the newest input frame; return False when the model never saw the one before."""
        inbox = self._inbox
        return inbox is None or inbox.put_input(frame)

    def released(self, ticket: int) -> None:
        """A frame's memory is free again, perhaps that of a session before this one."""
        self._books.release(ticket)
        if (inbox := self._inbox) is not None:
            inbox.released(ticket)

    def close(self) -> None:
        """End the session and let `serve` return."""
        with self._wake:
            self._closing = True
            self._wake.notify_all()
        self.stop()

    # The model's thread -----------------------------------------------------------------------------

    def serve(self) -> None:
        """Run sessions as they are started, until `close`."""
        while (session := self._next_session()) is not None:
            error = self._run(session)
            with self._wake:
                self._session = self._inbox = None
            self._pulse.enter(PulseState.IDLE)
            self._outlet.session_ended(error)

    def _next_session(self) -> SessionContext | None:
        with self._wake:
            while self._session is None and not self._closing:
                self._wake.wait()
            return None if self._closing else self._session

    def _run(self, session: SessionContext) -> ModelFailed | None:
        inbox = self._inbox
        assert inbox is not None
        handlers = Handlers(self._model, self._causes, self._outlet.message, self._outlet.frame_failed)
        self._pulse.enter(PulseState.WARMING)
        context.begin(session)
        failure: ModelFailed | None = None
        try:
            self._perform(session, inbox, handlers)
        except SessionStopped:
            pass
        except ModelDefinitionError as error:
            self._outlet.log(str(error))
            failure = ModelFailed(str(error))
        except BaseException as error:  # sys.exit() and the like: the author's process is not theirs to end
            failure = self._failed(error, "start_session")
        session.end()
        self._end_commands()
        handlers.close()
        failure = failure or handlers.fatal
        self._pulse.enter(PulseState.BUSY)
        try:
            self._model.reset()
        except BaseException as error:
            failure = failure or self._failed(error, "reset")
        context.finish(session)
        if failure is not None:
            free_memory()
        return failure

    def _failed(self, error: BaseException, place: str) -> ModelFailed:
        self._causes.exception(error, place)
        return failure_of(error, place)

    def _perform(self, session: SessionContext, inbox: Inbox, handlers: Handlers) -> None:
        inbox.model_runs()
        if session.seed is not None:
            seed_generators(session.seed)
        if not inspect.isgeneratorfunction(self._model.start_session):
            self._start_commands_beside(session, inbox, handlers)
            session.open(None)
        returned = self._model.start_session()
        if isinstance(returned, Iterator):
            # Also from a plain method that returned one: from here on commands wait for its yields.
            inbox.run_between_yields()
            self._end_commands()
            self._drive(returned, session, inbox, handlers)
        elif (problem := _not_a_session(returned)) is not None:
            raise ModelDefinitionError(f"start_session returned {problem}")

    def _drive(
        self, frames: Iterator[Any], session: SessionContext, inbox: Inbox, handlers: Handlers
    ) -> None:
        generator = frames if isinstance(frames, Generator) else (frame for frame in frames)

        def run_pending() -> None:
            self._run_pending(session, inbox, handlers, self._pulse)

        rejected: FrameRejected | None = None
        try:
            session.open(run_pending)
            while True:
                inbox.prompt()
                run_pending()
                if inbox.stopping:
                    return
                self._pulse.beat()
                resumed_s = time.monotonic()
                try:
                    frame = next(generator) if rejected is None else generator.throw(rejected)
                except StopIteration:
                    return
                rejected = None
                if frame is None:
                    self._pause(inbox, polling=time.monotonic() - resumed_s < POLLING_S)
                    continue
                try:
                    session.emit(session.main_track, frame, run_pending)
                except FrameRejected as error:
                    rejected = error
        finally:
            generator.close()

    def _pause(self, inbox: Inbox, *, polling: bool) -> None:
        """After `yield None`: go on at once, or sleep a little when the generator only polls."""
        with self._pulse.waiting():
            inbox.after_none(POLL_S if polling else None)

    def _end_commands(self) -> None:
        """Wait for the handler that still runs: the next user must not meet its effects."""
        if self._command_thread is not None:
            with self._pulse.waiting():
                self._command_thread.join()
            self._command_thread = None

    # The thread that runs commands: the model's, or the command thread ------------------------------

    def _start_commands_beside(self, session: SessionContext, inbox: Inbox, handlers: Handlers) -> None:
        inbox.run_beside()
        self._command_thread = threading.Thread(
            target=self._run_commands_beside,
            args=(session, inbox, handlers, resolve.outlook()),
            name="reactor-commands",
            daemon=True,
        )
        self._command_thread.start()

    def _run_commands_beside(
        self, session: SessionContext, inbox: Inbox, handlers: Handlers, outlook: resolve.Outlook
    ) -> None:
        context.adopt(session)
        resolve.adopt(outlook)
        pulse = self._command_pulse
        while inbox.await_work_beside():
            pulse.enter(PulseState.BUSY if session.shows else PulseState.WARMING)
            with suppress(SessionStopped):
                self._run_pending(session, inbox, handlers, pulse)
            pulse.enter(PulseState.IDLE)
        pulse.enter(PulseState.BUSY)
        handlers.close()
        pulse.enter(PulseState.IDLE)

    def _run_pending(self, session: SessionContext, inbox: Inbox, handlers: Handlers, pulse: Pulse) -> None:
        """Run everything that waits, in order."""
        while (work := inbox.take_work()) is not None:
            pulse.beat()
            if work.call is not None:
                began_s = time.monotonic()
                outcome = handlers.run(work.call)
                if pulse is self._pulse:
                    self._tell_of_slow(work.call.name, time.monotonic() - began_s)
                self._outlet.outcome(inbox.handled(outcome, work.place))
            elif work.frame is not None:
                handlers.run_on_frame(work.frame)
            if handlers.fatal is not None:
                session.end()

    def _tell_of_slow(self, name: str, took_s: float) -> None:
        """A generator's command runs between two frames: say once of each that holds up the picture for long."""
        if took_s > limits.SLOW_COMMAND_S and name not in self._slow:
            self._slow.add(name)
            log.warning(
                "command %r took %.1f s, and the picture stood still meanwhile: in a generator commands run between "
                "two frames.\n  Fix: let it note what to do and do that in steps between yields, or write a loop "
                "with emit_frame(), beside which commands run.",
                name,
                took_s,
            )

    def _pulse_of_this_thread(self) -> Pulse:
        return self._command_pulse if threading.current_thread() is self._command_thread else self._pulse


def _not_a_session(returned: object) -> str | None:
    """Say what a start_session that showed nothing returned instead of frames; None for a loop that is done."""
    if inspect.isawaitable(returned) or isinstance(returned, AsyncIterable):
        if inspect.iscoroutine(returned):
            returned.close()
        return (
            f"{type(returned).__name__}, which is never awaited.\n"
            "  Fix: write `def start_session(self)` without async; only commands may be async."
        )
    if hasattr(returned, "__array__") or (
        isinstance(returned, Iterable) and not isinstance(returned, str | bytes)
    ):
        return (
            f"{type(returned).__name__}, of which nothing is shown.\n"
            "  Fix: `yield` each frame, or show them in a loop with get_ctx().emit_frame(...)."
        )
    return None
