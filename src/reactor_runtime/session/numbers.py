"""A session's numbers, as they are now: for the page's overlay, and for /metrics. On the event loop, but `took`."""

from __future__ import annotations

from collections.abc import Callable

from .. import limits
from ..types import JsonObject
from .clips import Clips
from .commands import CommandBook
from .streams import Streams
from .times import Lately

#: The places of the totals that `note` remembers.
_BUSY, _EMITTED, _CONVERT, _ENCODE, _ENCODED, _HANDLING, _HANDLED = range(7)


class SessionNumbers:
    """Lives as long as its session, which tells it what happens and twice a second that time passes."""

    def __init__(self, streams: Streams, book: CommandBook, clips: Clips, clock: Callable[[], float]) -> None:
        self._streams = streams
        self._book = book
        self._clips = clips
        self._lately = Lately(clock)
        self._busy_s = 0.0
        self._emitted = 0
        self.reported: JsonObject = {}
        """What the model reports, by the author's names."""

    def report(self, values: JsonObject) -> None:
        """Take what the model reports; of more than `limits.REPORTS_MAX` names, the later ones are left out."""
        for name, value in values.items():
            if name in self.reported or len(self.reported) < limits.REPORTS_MAX:
                self.reported[name] = value

    def start_over(self) -> None:
        """Forget what a run of the model has reported that is over."""
        self.reported = {}

    def took(self, busy_s: float) -> None:
        """The model's own code took so long for a frame. From the thread that brings the frames."""
        self._busy_s += busy_s
        self._emitted += 1

    def note(self) -> None:
        """Remember how far everything is."""
        sent = self._streams.counters()
        self._lately.note(
            self._busy_s, self._emitted, sent.convert_s, sent.encode_s, sent.encoded, *self._book.handled()
        )

    def runtime(self) -> JsonObject:
        """Return the runtime's own; milliseconds where the name says so, means of the last seconds."""
        counters = self._streams.counters()
        mean_ms = self._lately.mean_ms
        return {
            **self._clips.numbers(),
            "fps": round(1 / self._streams.interval_s, 2),
            "model_ms": mean_ms(_BUSY, _EMITTED),
            "convert_ms": mean_ms(_CONVERT, _ENCODED),
            "encode_ms": mean_ms(_ENCODE, _ENCODED),
            "command_ms": mean_ms(_HANDLING, _HANDLED),
            "viewers_on_low": self._streams.on_low,
            "frames_shown": counters.shown,
            "frames_skipped": counters.skipped + counters.dropped,
        }
