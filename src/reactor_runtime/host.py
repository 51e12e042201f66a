"""Where a model lives: the protocol between the session and the model.

Two hosts conform. `worker.parent.ProcessHost` runs the model in a process of its own, which is what
`reactor run` uses; `inline.InlineHost` runs it on a thread of this process, for debuggers, tests and the
headless renderer. Both drive the same `runner.Runner`.

A host belongs to one asyncio event loop. Its methods are called on that loop and do not block;
its events are delivered on that loop, except `frame`, which may come from any thread.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from .errors import ModelFailed
from .types import (
    CommandCall,
    CommandOutcome,
    Demand,
    EmittedFrame,
    JsonObject,
    LogLine,
    ModelInfo,
    ModelMessage,
    Pixels,
)


class HostState(Enum):
    """created → loading → idle ⇄ running → … → failed | closed.

    `failed` means the model process is gone or unusable: the owner makes a new host.
    """

    CREATED = "created"
    LOADING = "loading"
    IDLE = "idle"
    RUNNING = "running"
    FAILED = "failed"
    CLOSED = "closed"


class HostEvents(Protocol):
    """What a host tells its owner. Nothing here may block or raise."""

    def frame(self, frame: EmittedFrame) -> None:
        """A frame was emitted. Any thread. The receiver must call `frame.release()` exactly once."""

    def frames_discarded(self) -> None:
        """The frames that were delivered before this are not to be shown any more."""

    def outcome(self, outcome: CommandOutcome) -> None:
        """A command was handled or refused; exactly one per `send_command`, in order of handling."""

    def message(self, message: ModelMessage) -> None:
        """The model sent a message to its viewers."""

    def metrics(self, values: JsonObject) -> None:
        """The model reported named numbers (`get_ctx().report(...)`), for /metrics and the page."""

    def frame_failed(self, raised: str) -> None:
        """`on_frame` raised this, as one line for the author, at most once in `handlers.FRAME_FAILED_S`."""

    def session_ended(self, error: ModelFailed | None) -> None:
        """start_session returned (None) or failed. The host is IDLE again unless `failed` follows."""

    def failed(self, error: ModelFailed) -> None:
        """The model process is gone: crashed, hung or out of memory. Ends the session with it."""

    def log(self, line: LogLine) -> None:
        """One record of the model's log, or a line of its output, cut to `limits.LOG_RECORD_MAX`."""


@dataclass(frozen=True, slots=True)
class HostCounters:
    """Totals since the host was made, for /metrics and the benchmarks."""

    frames: int = 0
    emit_s: float = 0.0
    """Seconds the model's thread spent inside emit, waiting excluded."""
    log_lines_dropped: int = 0
    input_frames_dropped: int = 0
    model_cpu_s: float = 0.0
    """CPU seconds of the model process; 0 for the inline host."""
    model_core_wait_s: float = 0.0
    """Seconds in which threads of the model process could run and had no core; while frames are made only."""
    model_rss_bytes: int = 0


class ModelHost(Protocol):
    """One model, loaded once, run for one session after the other."""

    @property
    def state(self) -> HostState: ...

    @property
    def pid(self) -> int | None:
        """The model process, or None for the inline host."""

    async def load(self) -> ModelInfo:
        """Construct the model.

        Raises ManifestError or ModelDefinitionError for what the author can fix, ModelFailed for the rest.
        """

    def start_session(self, session_id: str, *, seed: int | None = None) -> None:
        """Begin `start_session()` on the model's thread. Needs state IDLE; returns at once.

        A seed makes the model's random numbers repeatable, see `seeding`.
        """

    async def stop_session(self) -> None:
        """End the running session and wait until the model is idle.

        Sets the stop event, unwinds emit, and after `stop_s` kills the process: then the host ends FAILED
        and `failed(ModelHung)` is delivered. Returns when either happened. No-op when nothing runs.
        """

    def send_command(self, call: CommandCall) -> None:
        """Queue a command for its handler. Raises CommandRejected(`rate_limited`) when the mailbox is full."""

    def demand(self, demand: Demand) -> None:
        """Tell the model when its next frame is due and whether anyone watches."""

    def push_input(self, track: str, pixels: Pixels) -> None:
        """Hand over an input frame, (height, width, 3) uint8 RGB. Any thread; the newest wins."""

    def counters(self) -> HostCounters: ...

    async def close(self) -> None:
        """End the session, the model and its process. May be called twice and from any state."""


HostFactory = Callable[[HostEvents, int], ModelHost]
"""Makes the host of a slot, by its number."""
