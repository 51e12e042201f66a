"""The model on a thread of this process: for debuggers, tests and the headless renderer.

Same runner, same frame memory, same limits as the model process, except that nothing here can kill a
thread: a model that does not stop leaves the host FAILED and its thread behind, a crash takes the process
with it, and a hang is noticed only when the session is told to stop. The model is constructed, run and
reset on one thread, which lives as long as the host.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from .. import codes, limits
from ..author import author_module
from ..author.manifest import file_of
from ..author.model import VideoModel
from ..config import HostSettings
from ..errors import CommandRejected, ModelFailed, ModelHung, ReactorError
from ..host import HostCounters, HostEvents, HostState
from ..types import (
    CommandCall,
    CommandOutcome,
    Cue,
    Demand,
    EmittedFrame,
    InputFrame,
    JsonObject,
    LogLine,
    ModelInfo,
    ModelMessage,
    Pixels,
)
from ..weights import resolve
from ..weights.resolve import Source
from .frame_memory import FrameBooks, FrameMemory
from .inbox import Feed
from .loading import load_model
from .mailbox import Mailbox
from .outlet import FrameInMemory
from .pulse import PULSE_BYTES, words_of
from .runner import Runner

log = logging.getLogger(__name__)


class InlineHost:
    """A ModelHost without a process of its own."""

    def __init__(
        self,
        events: HostEvents,
        manifest_path: Path,
        args_overrides: Mapping[str, Any],
        settings: HostSettings,
        weights: Source | None = None,
    ) -> None:
        """`weights` is asked for those that are not local; None: a registry of this process."""
        self._events = events
        self._manifest_path = manifest_path
        self._overrides = dict(args_overrides)
        self._settings = settings
        self._weights = weights
        self._loop = asyncio.get_running_loop()
        self._state = HostState.CREATED
        self._mailbox = Mailbox()
        self._books = FrameBooks(size_bytes=limits.RING_MAX_BYTES, frames_max=limits.RING_MAX_FRAMES)
        self._memory = FrameMemory(-1, limits.RING_MAX_BYTES, writable=True)
        self._thread: threading.Thread | None = None
        self._runner: Runner | None = None
        self._loaded: asyncio.Future[tuple[ModelInfo, Runner]] = self._loop.create_future()
        self._settled = asyncio.Event()
        self._settled.set()
        self._finished = asyncio.Event()
        self._cued: set[int] = set()
        """Commands of the session's cues that are not answered yet."""
        self._input_ids: Counter[str] = Counter()
        self._input_lock = threading.Lock()
        self._frames = 0
        self._emit_s = 0.0
        self._input_frames_dropped = 0

    @property
    def state(self) -> HostState:
        return self._state

    @property
    def pid(self) -> int | None:
        return None

    async def load(self) -> ModelInfo:
        assert self._state is HostState.CREATED
        self._state = HostState.LOADING
        self._thread = threading.Thread(target=self._run, name="reactor-model", daemon=True)
        self._thread.start()
        try:
            info, self._runner = await self._loaded
        except ReactorError:
            self._state = HostState.FAILED
            raise
        self._state = HostState.IDLE
        return info

    def start_session(
        self,
        session_id: str,
        *,
        seed: int | None = None,
        cues: Sequence[Cue] = (),
        feed: Feed | None = None,
        held: bool = False,
    ) -> None:
        """As the protocol says. What is written down comes by itself, each at its frame; see `Inbox`."""
        assert self._state is HostState.IDLE
        assert self._runner is not None
        self._state = HostState.RUNNING
        self._settled.clear()
        self._cued = {cue.call.command_id for cue in cues}
        self._runner.start(session_id, seed=seed, cues=cues, feed=feed, held=held)

    async def stop_session(self) -> None:
        if self._state is not HostState.RUNNING or self._runner is None:
            return
        self._runner.stop()
        try:
            await asyncio.wait_for(self._settled.wait(), self._settings.stop_s)
        except TimeoutError:
            self._fail(ModelHung(f"start_session did not end within {self._settings.stop_s:g} s of its stop"))

    def send_command(self, call: CommandCall) -> None:
        if self._state is not HostState.RUNNING or self._runner is None:
            raise CommandRejected("no session runs", code=codes.SESSION_ENDED)
        self._mailbox.admit(call)
        self._runner.command(call)

    def demand(self, demand: Demand) -> None:
        if self._runner is not None:
            self._runner.demand(demand)

    def push_input(self, track: str, pixels: Pixels) -> None:
        if (runner := self._runner) is None:
            return
        with self._input_lock:
            self._input_ids[track] += 1
            frame = InputFrame(pixels.copy(), self._input_ids[track], self._loop.time(), track)
            if not runner.input(frame):
                self._input_frames_dropped += 1

    @property
    def model(self) -> VideoModel:
        """The constructed model, for those who check it. It belongs to its own thread while a session runs."""
        assert self._runner is not None
        return self._runner.model

    @property
    def polls(self) -> int:
        """How often the generator has yielded None since its last frame with nothing to do."""
        return 0 if self._runner is None else self._runner.polls

    def counters(self) -> HostCounters:
        return HostCounters(
            frames=self._frames, emit_s=self._emit_s, input_frames_dropped=self._input_frames_dropped
        )

    async def close(self) -> None:
        if self._state is HostState.CLOSED:
            return
        if self._state is HostState.RUNNING:
            await self.stop_session()
        stuck = self._state is HostState.FAILED and not self._settled.is_set()
        self._state = HostState.CLOSED
        if self._runner is not None:
            self._runner.close()
        if self._thread is None or stuck:
            return
        try:
            await asyncio.wait_for(self._finished.wait(), self._settings.stop_s)
        except TimeoutError:
            log.warning("the model's thread is still loading; it ends with the process")
        else:
            self._thread.join()

    # The model's thread -----------------------------------------------------------------------------

    def _run(self) -> None:
        outlet = _Outlet(self)
        folder = file_of(self._manifest_path).parent
        author_module.keep(folder)
        resolve.enter(self._weights)
        try:
            model, info = load_model(self._manifest_path, self._overrides, outlet.log)
            runner = Runner(
                model,
                fps=info.fps if self._settings.fps is None else self._settings.fps,
                tracks=info.tracks,
                outlet=outlet,
                books=self._books,
                memory=self._memory,
                words=words_of(bytearray(PULSE_BYTES)),
            )
        except ReactorError as error:
            self._tell(self._on_loaded, error)
        else:
            self._tell(self._on_loaded, (info, runner))
            runner.serve()
        finally:
            resolve.leave()
            author_module.let_go(folder)
        self._tell(self._finished.set)

    def _tell(self, callback: Callable[..., None], *args: Any) -> None:
        """Run this on the host's loop; a loop that is closed has nobody left to tell."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(callback, *args)

    # On the loop ------------------------------------------------------------------------------------

    def _on_loaded(self, result: tuple[ModelInfo, Runner] | ReactorError) -> None:
        if self._loaded.done():  # load() was cancelled
            if isinstance(result, tuple):
                result[1].close()
        elif isinstance(result, tuple):
            self._loaded.set_result(result)
        else:
            self._loaded.set_exception(result)

    def _on_outcome(self, outcome: CommandOutcome) -> None:
        if self._mailbox.answer(outcome) or outcome.command_id in self._cued:
            self._cued.discard(outcome.command_id)
            self._events.outcome(outcome)

    def _on_ended(self, error: ModelFailed | None) -> None:
        if self._state is not HostState.RUNNING:
            return
        self._settle(codes.SESSION_ENDED, "the session has ended")
        self._state = HostState.IDLE
        self._settled.set()
        self._events.session_ended(error)

    def _fail(self, error: ModelFailed) -> None:
        self._settle(error.code, error.public())
        self._state = HostState.FAILED
        self._events.failed(error)

    def _settle(self, code: str, message: str) -> None:
        for outcome in self._mailbox.settle(code=code, message=message):
            self._events.outcome(outcome)


class _Outlet:
    """What the runner tells, brought to the loop; frames go straight on. Any thread."""

    def __init__(self, host: InlineHost) -> None:
        self._host = host

    def frame(self, frame: FrameInMemory) -> None:
        host = self._host
        assert host._runner is not None
        host._frames += 1
        host._emit_s += frame.emit_s
        pixels = host._memory.view(frame.offset, frame.height, frame.width)
        release = functools.partial(host._runner.released, frame.ticket)
        host._events.frame(
            EmittedFrame(
                frame.frame_id, pixels, frame.emitted_s, frame.busy_s, frame.command_id, release, frame.track
            )
        )

    def frames_discarded(self) -> None:
        # Whoever takes frames takes them to the same loop, so this comes behind those before it.
        self._host._tell(self._host._events.frames_discarded)

    def outcome(self, outcome: CommandOutcome) -> None:
        self._host._tell(self._host._on_outcome, outcome)

    def message(self, message: ModelMessage) -> None:
        self._host._tell(self._host._events.message, message)

    def metrics(self, values: JsonObject) -> None:
        self._host._tell(self._host._events.metrics, values)

    def frame_failed(self, raised: str) -> None:
        self._host._tell(self._host._events.frame_failed, raised)

    def session_ended(self, error: ModelFailed | None) -> None:
        self._host._tell(self._host._on_ended, error)

    def log(self, text: str) -> None:
        self._host._tell(self._host._events.log, LogLine(text, logging.ERROR).cut())
