"""One viewer's end of a stream: what it wishes, what it was sent last, and how it comes from one rendition to another.

The loop sets the wishes. Each rendition has a thread that offers its pictures here; a lock makes one sequence of
them, which changes the rendition at a keyframe only, and never goes back in time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Protocol

from ..types import Codec, EncodedFrame
from .renditions import Rendition, Standing
from .times import PictureTimes

#: A viewer gets no more keyframes than one in this time, because every other viewer pays for them.
KEYFRAME_GAP_S = 0.5
#: One that takes nothing else gets one this often.
KEYFRAMES_ONLY_S = 2.0


class SendFrame(Protocol):
    def __call__(self, frame: EncodedFrame, *, report: bool) -> None:
        """Pass a picture to one viewer; any thread, never blocks."""


def _nothing() -> None:
    return


@dataclass(slots=True, eq=False)
class Sink:
    codec: Codec
    send: SendFrame
    on_too_slow: Callable[[], None] = _nothing
    """Called on the loop, once: its line takes not even keyframes."""
    standing: Standing = field(default_factory=Standing)
    """What its line takes, and which rendition it is to be on."""
    on: Rendition = "full"
    """Which rendition it is sent."""
    report_from: int | None = None
    """Report the first frame that saw this command or a later one; None for no such wish."""
    report_every_s: float | None = None
    """Report a frame this often as well; None for never."""
    reported: PictureTimes | None = None
    """The last frame that was reported. Written before it is sent."""
    needs_keyframe: bool = True
    keyframe_s: float = 0.0
    """When its last keyframe was sent, monotonic seconds."""
    _sent: tuple[int, int] = (-1, -1)
    """Number and time of the last picture."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def give_up(self) -> None:
        """Its line is too slow for anything. On the loop."""
        told, self.on_too_slow = self.on_too_slow, _nothing
        told()

    def takes_report(self, command_id: int, times: PictureTimes, sent_s: float) -> bool:
        """Whether the sending of a frame that saw this command is to be reported; True once for each wish.

        `times` are the frame's but for `sent_s`. Asked for every picture and viewer, so it makes nothing until it must.
        """
        wished = self.report_from is not None and command_id >= self.report_from
        if wished:
            self.report_from = None
        elif self.report_every_s is None or (
            self.reported is not None and sent_s < self.reported.sent_s + self.report_every_s
        ):
            return False
        self.reported = replace(times, sent_s=sent_s)
        return True

    def looks_at(self, rendition: Rendition) -> bool:
        """Whether it is on this rendition, or shall come to it."""
        return self.on == rendition or self.standing.rendition == rendition

    def gets_keyframe(self, rendition: Rendition, now_s: float) -> bool:
        """Whether this rendition's next picture is to be a keyframe, for it."""
        if self.standing.rendition != rendition:
            return False
        since_s = now_s - self.keyframe_s
        if self.on == rendition and self.standing.keyframes_only:
            return since_s >= KEYFRAMES_ONLY_S
        return (self.needs_keyframe or self.on != rendition) and since_s >= KEYFRAME_GAP_S

    def takes_deltas(self, rendition: Rendition) -> bool:
        return self.on == rendition and not self.standing.keyframes_only

    def offer(
        self, frame: EncodedFrame, rendition: Rendition, *, command_id: int, times: PictureTimes, now_s: float
    ) -> None:
        """Send a picture of this rendition if it is on that, or can come to it with this picture. Any thread."""
        with self._lock:
            if self.on != rendition:
                # An encoder of its own clock may be a picture behind the other.
                number, at_us = self._sent
                later = frame.frame_id >= number and frame.pts_us > at_us
                if self.standing.rendition != rendition or not frame.keyframe or not later:
                    return
                self.on = rendition
            elif not frame.keyframe and (self.needs_keyframe or self.standing.keyframes_only):
                return
            if frame.keyframe:
                self.needs_keyframe, self.keyframe_s = False, now_s
            self._sent = frame.frame_id, frame.pts_us
            self.send(frame, report=self.takes_report(command_id, times, now_s))
