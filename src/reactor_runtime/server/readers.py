"""Who reads the stream of events: as many as there are places, shared out by address. Pure.

A reader that takes nothing looks like one to whom nothing happened, so nobody keeps a place for ever: each
has to ask again after a while, which event sources do by themselves, and where all places are taken a new
reader gets the one of the oldest, of the address that has the most.
"""

from __future__ import annotations

from collections.abc import Callable

from .. import limits


class Reader:
    def __init__(self, address: str, now_s: float, on_end: Callable[[], None]) -> None:
        self.address = address
        self._until_s = now_s + limits.EVENT_STREAM_S
        self._ended = False
        self._on_end = on_end

    def end(self) -> None:
        self._ended = True
        self._on_end()

    def may_go_on(self, now_s: float) -> bool:
        return not self._ended and now_s < self._until_s


class Readers:
    """One per server, used on its event loop."""

    def __init__(self) -> None:
        # Insertion order is age.
        self._reading: dict[Reader, None] = {}

    def enter(self, address: str, now_s: float, on_end: Callable[[], None]) -> Reader:
        """Give a place, if need be that of another, whose `on_end` is called."""
        if len(self._reading) >= limits.EVENT_STREAMS:
            held: dict[str, list[Reader]] = {}
            for reader in self._reading:
                held.setdefault(reader.address, []).append(reader)
            oldest = max(held.values(), key=len)[0]
            oldest.end()
            self.leave(oldest)
        reader = Reader(address, now_s, on_end)
        self._reading[reader] = None
        return reader

    def leave(self, reader: Reader) -> None:
        """Give the place back. May be called twice."""
        self._reading.pop(reader, None)
