"""Frames of the model process on their way to viewers. Owned by a host; a release may come from any thread.

A frame lies in the memory that both processes map, and belongs to this side from its record to its release.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable

from ..running.frame_memory import FrameMemory
from ..running.outlet import FrameInMemory
from ..types import Demand, EmittedFrame
from . import records
from .channel import Channel


class FrameReceiver:
    """Says as well whether one is overdue: a model that waits in `emit` gives no other sign of being frozen."""

    def __init__(self, show: Callable[[EmittedFrame], None]) -> None:
        self._show = show
        self._memory: FrameMemory | None = None
        self._channel: Channel | None = None
        self._tracks: tuple[str, ...] = ()
        self._wanted_s: dict[str, float] = {}
        """By track, since when a frame is wanted that has not come."""
        self._shown: dict[int, str] = {}
        """The tickets of frames that are not yet released, and their tracks."""
        self._last_ids: dict[str, int] = {}
        self.frames = 0
        self.emit_s = 0.0

    def open(self, memory: FrameMemory, channel: Channel) -> None:
        self._memory, self._channel = memory, channel

    def declare(self, tracks: tuple[str, ...]) -> None:
        """The model is loaded, and these are its output tracks."""
        self._tracks = tracks

    def begin(self) -> None:
        """A session begins: nothing of it is wanted yet, and nothing of another is shown."""
        self._wanted_s.clear()
        self._last_ids.clear()

    def demanded(self, demand: Demand) -> None:
        """The playout said when it wants a frame."""
        if not demand.watched:
            self._wanted_s.pop(demand.track, None)
        else:
            self._wanted_s.setdefault(demand.track, max(demand.due_s, time.monotonic()))

    @property
    def overdue_since(self) -> float | None:
        """Since when a frame is wanted that has not come, None while this side has frames of its track to show.

        A track that this session has not used says nothing once another has been: a model need not use all.
        """
        shown = set(self._shown.values())
        return min(
            (
                since_s
                for track, since_s in self._wanted_s.items()
                if track not in shown and (track in self._last_ids or not self._last_ids)
            ),
            default=None,
        )

    def take(self, frame: FrameInMemory, *, running: bool) -> None:
        """Show a frame, or give it back where its session has ended. Raises RecordError for an impossible one."""
        memory, channel = self._memory, self._channel
        if memory is None or channel is None:
            return
        if frame.track not in self._tracks:
            raise records.RecordError(f"a frame of a track that was not declared: {frame.track[:40]!r}")
        try:
            pixels = memory.view(frame.offset, frame.height, frame.width)
        except ValueError as error:
            raise records.RecordError(str(error)) from None
        release = functools.partial(self._release, channel, frame.ticket)
        # A session's ids begin with 1 and have no gaps, so what does not fit is of the user before.
        due = self._last_ids.get(frame.track, 0) + 1
        if not running or frame.frame_id != due:
            release()
            return
        self._last_ids[frame.track] = due
        self.frames += 1
        self.emit_s += frame.emit_s
        self._wanted_s.pop(frame.track, None)
        self._shown[frame.ticket] = frame.track
        self._show(
            EmittedFrame(
                frame.frame_id,
                pixels,
                frame.emitted_s,
                frame.busy_s,
                frame.command_id,
                release,
                frame.track,
            )
        )

    def close(self) -> None:
        """The process is gone. Frames that are still shown keep the mapping until they are released."""
        memory, self._memory = self._memory, None
        if memory is not None:
            memory.let_go()

    def _release(self, channel: Channel, ticket: int) -> None:
        self._shown.pop(ticket, None)
        channel.send(records.Released(ticket))
