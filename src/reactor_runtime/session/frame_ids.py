"""One count of frames for viewers, whatever runs of the model a session has had: each of those begins with 1. Pure."""

from __future__ import annotations

from dataclasses import replace

from ..types import Demand, EmittedFrame


class FrameIds:
    """Frames outward, demands inward. `outward` on any thread, while no run ends; the rest on the event loop."""

    def __init__(self) -> None:
        self._before: dict[str, int] = {}
        """By track, the last id of the runs before."""
        self._last: dict[str, int] = {}

    @property
    def begun(self) -> bool:
        """Whether a frame of this run has come."""
        return self._last != self._before

    def outward(self, frame: EmittedFrame) -> EmittedFrame:
        """Return a frame of the present run as viewers count it."""
        before = self._before.get(frame.track, 0)
        self._last[frame.track] = frame.frame_id + before
        return replace(frame, frame_id=frame.frame_id + before) if before else frame

    def inward(self, demand: Demand) -> Demand:
        """Return a demand as the present run counts."""
        before = self._before.get(demand.track, 0)
        return replace(demand, frame_id=max(1, demand.frame_id - before)) if before else demand

    def start_over(self) -> None:
        """Another run begins; nothing more comes of the last one."""
        self._before = dict(self._last)
