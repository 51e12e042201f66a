"""What a model's code can do while a session runs: emit, send, look at the input, learn of the stop.

    author's code ──emit──▶ uint8 RGB ──▶ frame memory ──▶ record ──▶ gate … returns when the next is wanted
                            (or raises)   (waits for room)            (waits for the playout)

A `SessionContext` is made by the runner at the start of a session and is dead after it: emitting then
raises SessionStopped. Any thread of the process may use it; emits of several threads take turns.
"""

from __future__ import annotations

import logging
import math
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any, SupportsFloat

from pydantic import BaseModel

from .. import limits
from ..author.schema import reply_of
from ..errors import SessionStopped
from ..types import MAIN_VIDEO, InputFrame, ModelMessage, Pixels
from .frame_memory import FrameBooks, FrameMemory
from .frames import FrameNormalizer
from .inbox import Inbox
from .outlet import FrameInMemory, Outlet
from .pulse import Pulse, PulseState

log = logging.getLogger(__name__)


class StopEvent(threading.Event):
    """Set when the session ends. Looking at it is a sign of life, waiting for it is never a hang."""

    def __init__(self, pulse_of_this_thread: Callable[[], Pulse]) -> None:
        super().__init__()
        self._pulse = pulse_of_this_thread

    def is_set(self) -> bool:
        # A thread that a session left behind says nothing of the present one.
        if super().is_set():
            return True
        self._pulse().beat()
        return False

    def wait(self, timeout: float | None = None) -> bool:
        with self._pulse().waiting():
            return super().wait(timeout)


class SessionContext:
    """One session, seen from the model's code. Get it with `get_ctx()`."""

    def __init__(
        self,
        session_id: str,
        fps: float | None,
        *,
        seed: int | None = None,
        main_track: str = MAIN_VIDEO,
        inbox: Inbox,
        books: FrameBooks,
        memory: FrameMemory,
        outlet: Outlet,
        normalizer: FrameNormalizer,
        pulse_of_this_thread: Callable[[], Pulse],
    ) -> None:
        self._session_id = session_id
        self._fps = fps
        self._seed = seed
        self._main_track = main_track
        self._inbox = inbox
        self._books = books
        self._memory = memory
        self._outlet = outlet
        self._normalizer = normalizer
        self._pulse = pulse_of_this_thread
        self._stop_evt = StopEvent(pulse_of_this_thread)
        self._emitting = threading.Lock()
        #: How often frames were discarded; the lock keeps that in order with the frames that leave.
        self._discards = 0
        self._ordered = threading.Lock()
        self._shows = False
        self._emit_s = 0.0
        self._handled_seen = 0

    @property
    def session_id(self) -> str:
        """Name of this session, unique within the server."""
        return self._session_id

    @property
    def fps(self) -> float | None:
        """The fixed playout rate, or None when playout follows the model."""
        return self._fps

    @property
    def seed(self) -> int | None:
        """What to seed a generator of your own with. A live session always has one, which its log names; a run of
        `reactor render` without --seed has None.

        `numpy.random.default_rng(get_ctx().seed)` is right for both.
        """
        return self._seed

    @property
    def shows(self) -> bool:
        """Whether a frame has been emitted in this session."""
        return self._shows

    def should_stop(self) -> bool:
        """Return whether the session has ended and the loop should return."""
        return self._stop_evt.is_set()

    def emit_frame(self, frame: Any) -> None:
        """Show a frame: a numpy array, torch tensor or PIL image; HWC or CHW with 1, 3 or 4 channels.

        uint8, or float in [0, 1] or [-1, 1]; leading time or batch axes make a block. None is black.
        Returns when the next frame is wanted, so a loop that only emits runs at the playout's pace; while
        nobody watches it waits. The array may be reused at once. Raises FrameRejected when this is not a
        frame (nothing is shown, the session goes on) and SessionStopped when the session has ended.
        """
        self.emit(self._main_track, frame, None)

    def emit_block(self, frames: Any) -> None:
        """Show several frames that were made together: an array with a time axis, or a list of frames.

        As `emit_frame`. The playout spreads them over the time that the model needs for a block.
        """
        self.emit(self._main_track, frames, None)

    def discard_frames(self) -> None:
        """Drop every frame that was emitted before this call and is not shown yet, on every track.

        For a command that starts over: the rest of a block of the old world is not shown, the picture stands until
        the next frame, and that is wanted at once. Say first what is to be made from now on. An `emit_frame` or
        `emit_block` of another thread that has begun shows no more of what it was given. Nothing happens when the
        session has ended. `reactor render` and replays show every frame that was made.
        """
        self._pulse().beat()
        with self._ordered:
            if not self._inbox.stopping:
                self._discards += 1
                self._outlet.frames_discarded()

    def send(self, message: dict[str, Any] | BaseModel, type: str = "") -> None:
        """Send a message to every viewer; its type is a pydantic model's class name in snake case,
        or "message", unless given.

        Raises TypeError for what is not JSON, larger than MODEL_MESSAGE_MAX_BYTES, or of a type whose name is
        longer than MODEL_MESSAGE_TYPE_MAX.
        """
        self._pulse().beat()
        if len(type) > limits.MODEL_MESSAGE_TYPE_MAX:
            raise TypeError(
                f"a message's type has at most {limits.MODEL_MESSAGE_TYPE_MAX} characters, got {len(type)}"
            )
        kind, data = reply_of(message, type="message")
        if data is None:
            raise TypeError("send() takes a dict or a pydantic model, got None")
        self._outlet.message(ModelMessage(type or kind, data))

    def report(self, **numbers: SupportsFloat) -> None:
        """Publish named numbers, as seconds per step, on /metrics and the page; the last value counts.

        numpy's and torch's numbers are taken too. Raises TypeError for what is not one finite number.
        """
        self._pulse().beat()
        self._outlet.metrics({name: _number(name, value) for name, value in numbers.items()})

    def input_frame(self) -> InputFrame | None:
        """Return the newest frame of the user's camera, the same again until there is a newer, or None."""
        self._pulse().beat()
        return self._inbox.newest_input()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Sleep until a command has come, at most `timeout_s`; return whether one has.

        Returns at once if one came since the last `wait`, so that none is slept through. Inside a
        generator the command's handler runs at the next yield, else it has run already. Raises
        SessionStopped when the session has ended.
        """
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        with self._pulse().waiting():
            handled = self._inbox.await_command(self._handled_seen, deadline_s)
        if handled is None:
            return False
        self._handled_seen = handled
        return True

    @property
    def main_track(self) -> str:
        """The track that `emit_frame` and a generator's frames go to."""
        return self._main_track

    def emit(self, track: str, frames: Any, between: Callable[[], None] | None) -> None:
        """Emit on a track; while the gate is closed call `between` whenever a command or an input frame waits.

        For the runner, which drives a generator: authors use `emit_frame` and `emit_block`.
        """
        called_s, discards = time.monotonic(), self._discards
        self._pulse().beat()
        with self._emitting:
            if self._inbox.stopping:
                raise SessionStopped
            if not self._inbox.is_wanted(track):
                return
            pictures = self._normalizer.normalize(frames)
            if not pictures:
                return
            # Conversion waits for the device, so it is the model's own time; what follows is ours.
            started_s = time.monotonic()
            self._emit_s += started_s - called_s
            busy_s = self._inbox.emit_called(track, started_s)
            for picture in pictures:
                if not self._hand_over(track, picture, discards, emitted_s=called_s, busy_s=busy_s):
                    break
                busy_s = 0.0
        # Outside the lock: a handler that runs in between may emit as well.
        self._inbox.prompt()
        self._await_gate(track, between)

    def open(self, between: Callable[[], None] | None) -> None:
        """Run what was written down to come before the first frame, and wait for a demand if held. For the runner."""
        self._inbox.prompt()
        if self._inbox.opens_late:
            self._await_gate(self._main_track, between)

    def end(self) -> None:
        """Mark the session as over, for every thread. For the runner."""
        self._inbox.stop()
        self._stop_evt.set()

    def _hand_over(
        self, track: str, picture: Pixels, discards: int, *, emitted_s: float, busy_s: float
    ) -> bool:
        """Pass a picture on; False when it is not to be shown any more, because frames were discarded since."""
        started_s = time.monotonic()
        span = self._books.acquire(picture.nbytes)
        if span is None:
            with self._pulse().waiting():
                span = self._inbox.await_room(lambda: self._books.acquire(picture.nbytes))
            started_s = time.monotonic()
        self._memory.write(span, picture)
        with self._ordered:
            if discards != self._discards:
                self._books.release(span.ticket)
                return False
            frame_id, command_id = self._inbox.hand_over(track, span.ticket)
            self._shows = True
            emit_s, self._emit_s = self._emit_s + time.monotonic() - started_s, 0.0
            started_s = time.monotonic()
            height, width, _ = picture.shape
            frame = FrameInMemory(
                span.ticket,
                span.offset,
                height,
                width,
                track,
                frame_id,
                emitted_s,
                busy_s,
                command_id,
                emit_s,
            )
            self._outlet.frame(frame)
            # Telling the server is part of the cost, and known only now: the next frame carries it.
            self._emit_s = time.monotonic() - started_s
        return True

    def _await_gate(self, track: str, between: Callable[[], None] | None) -> None:
        while not self._gate_opened(track, between is not None):
            if between is not None:
                between()

    def _gate_opened(self, track: str, interruptible: bool) -> bool:
        """Wait until emit may return; False when a command or input frame came first."""
        pulse = self._pulse()
        pulse.enter(PulseState.BUSY)
        with pulse.waiting(PulseState.GATED):
            return self._inbox.await_gate(track, interruptible=interruptible)


def _number(name: str, value: Any) -> float:
    """Return a finite number as Python's own; numpy's and torch's are taken, and arrays with one number in them."""
    shape = getattr(value, "shape", ())
    try:
        value = value.item() if callable(getattr(value, "item", None)) else value
        number = value if isinstance(value, int) and not isinstance(value, bool) else float(value)
        if isinstance(value, str | bytes) or not math.isfinite(number):
            raise ValueError
    except (TypeError, ValueError, OverflowError, RuntimeError):
        what = f"an array of shape {tuple(shape)}" if shape else repr(value)[:80]
        raise TypeError(f"report({name}=...) takes one finite number, got {what}") from None
    return number


_running: list[SessionContext] = []
_of_thread = threading.local()
#: The author's own threads that have met a session.
_met: weakref.WeakKeyDictionary[threading.Thread, SessionContext] = weakref.WeakKeyDictionary()


def get_ctx() -> SessionContext:
    """Return the session that this thread belongs to: the one that ran when it first asked.

    A thread that outlives its session keeps it, so that its `emit_frame` raises SessionStopped, and never paints
    into the next user's picture. Hand the context of each session to a thread that serves all of them. Raises
    RuntimeError when no session runs and the thread has met none.
    """
    own: SessionContext | None = getattr(_of_thread, "ctx", None)
    if own is not None:
        _warn_of_a_stray(own)
        return own
    if len(_running) == 1:
        adopt(_running[0])
        _met[threading.current_thread()] = _running[0]
        return _running[0]
    if _running:
        raise RuntimeError(
            "several sessions run in this process, and this thread belongs to none of them: "
            "call get_ctx() in start_session() or a command and hand the result to your thread"
        )
    raise RuntimeError(
        "get_ctx() was called while no session runs: use it inside start_session(), in commands, "
        "and in threads that end with the session, not in __init__ or at import"
    )


def strays() -> list[str]:
    """Return the names of the author's threads that still run although the session that they met is over."""
    return sorted(
        thread.name for thread, ctx in list(_met.items()) if thread.is_alive() and ctx not in _running
    )


def _warn_of_a_stray(ctx: SessionContext) -> None:
    if _running and ctx not in _running and not getattr(_of_thread, "warned", False):
        _of_thread.warned = True
        log.warning(
            "The thread %r asked for the session, and belongs to one that has ended.\n"
            "  Fix: end it with its session, or hand it the context of each: ctx = get_ctx() in start_session().",
            threading.current_thread().name,
        )


def begin(ctx: SessionContext) -> None:
    """Make this the running session. For the runner, on the model's thread."""
    _running.append(ctx)
    adopt(ctx)


def adopt(ctx: SessionContext | None) -> None:
    """Bind this thread to a session, so that two in-process hosts do not mix."""
    _of_thread.ctx = ctx


def finish(ctx: SessionContext) -> None:
    """The session is over: from now on get_ctx() raises."""
    _running.remove(ctx)
    adopt(None)
