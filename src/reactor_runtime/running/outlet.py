"""Where a session's frames and news leave the model's threads for the server.

Each host has an outlet of its own, and the runner and its sessions know only this. Any thread calls it; what one
thread tells keeps its order. Nothing in it blocks for long, and none of it raises.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ..errors import ModelFailed
from ..types import CommandOutcome, JsonObject, ModelMessage


@dataclass(frozen=True, slots=True)
class FrameInMemory:
    """A frame lies in the frame memory, and belongs to whoever is told of it until the ticket is released.

    emitted_s    when the author's code called emit
    busy_s       how long the model's own code ran before it, since its last emit returned
    command_id   the last command whose handler had finished, 0 for none
    emit_s       what emitting cost the model's thread besides: this frame's copy, and telling of the one before
    """

    ticket: int
    offset: int
    height: int
    width: int
    track: str
    frame_id: int
    emitted_s: float
    busy_s: float
    command_id: int
    emit_s: float


class Outlet(Protocol):
    """What a session tells."""

    def frame(self, frame: FrameInMemory) -> None: ...

    def frames_discarded(self) -> None: ...

    def message(self, message: ModelMessage) -> None: ...

    def metrics(self, values: JsonObject) -> None: ...


class RunnerOutlet(Outlet, Protocol):
    """What the runner tells its host, beyond what a session does."""

    def outcome(self, outcome: CommandOutcome) -> None: ...

    def frame_failed(self, raised: str) -> None:
        """`on_frame` raised this, as one line; told of some of many."""

    def session_ended(self, error: ModelFailed | None) -> None: ...

    def log(self, text: str) -> None:
        """What went wrong, for the operator: one record, of one or more lines."""
