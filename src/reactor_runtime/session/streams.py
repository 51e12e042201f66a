"""The streams of a session: one per output track, by name. Used on the event loop, but for `push`."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Sequence

from ..types import EmittedFrame
from .stream import StreamCounters, VideoStream


class Streams:
    """`tracks` are their names, the main one first; `make` makes a stream for a name."""

    def __init__(self, tracks: Sequence[str], make: Callable[[str], VideoStream]) -> None:
        self.by_track = {track: make(track) for track in tracks}
        self._main = self.by_track[tracks[0]]

    @property
    def interval_s(self) -> float:
        """The time between two frames of the main track."""
        return self._main.interval_s

    def push(self, frame: EmittedFrame) -> None:
        """Take a frame for its track, from any thread."""
        if (stream := self.by_track.get(frame.track)) is None:
            frame.release()  # of a model that does not keep to what it declared
        else:
            stream.push(frame)

    def discard(self) -> None:
        """Drop every frame that has come and is not shown yet."""
        for stream in self.by_track.values():
            stream.discard()

    @property
    def on_low(self) -> int:
        """How many viewers are sent the low rendition of the main track."""
        return self._main.on_low

    def want(self) -> None:
        """Say again what is wanted of every track, to a run of the model that has not heard it."""
        for stream in self.by_track.values():
            stream.want()

    def counters(self) -> StreamCounters:
        """Return the totals of all tracks."""
        return functools.reduce(StreamCounters.plus, (each.counters() for each in self.by_track.values()))

    async def played_out(self) -> None:
        """Wait until every frame that was emitted has been shown; while nobody watches, none is.

        The main track tells; others are waited for while someone watches them.
        """
        await self._main.played_out()
        await asyncio.gather(*(each.played_out() for each in self.by_track.values() if each.watched))

    async def close(self) -> None:
        """Release every frame and end the fan-outs. May be called twice."""
        await asyncio.gather(*(each.close() for each in self.by_track.values()))
