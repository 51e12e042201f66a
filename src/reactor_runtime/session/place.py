"""A place for one item between an owner and a thread: the newest wins, and what it overtakes goes back."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Taken(Generic[T]):
    """What the thread is to do next: with an item, else `refresh`, else end."""

    item: T | None
    refresh: bool
    closed: bool


class Place(Generic[T]):
    """`put`, `take_back`, `refresh`, `close` from any thread; `take` and `done` from the one that works."""

    def __init__(self) -> None:
        self._wake = threading.Condition()
        self._item: T | None = None
        self._refresh = self._busy = self._closed = False
        self.overtaken = 0

    def put(self, item: T) -> T | None:
        """Leave an item; return the one that it overtakes, which counts in `overtaken`."""
        with self._wake:
            before, self._item = self._item, item
            self.overtaken += before is not None
            self._wake.notify_all()
        return before

    def take_back(self) -> T | None:
        """Return the item that waits, if there is one; it is the caller's again."""
        with self._wake:
            waiting, self._item = self._item, None
            self._wake.notify_all()
        return waiting

    def refresh(self) -> None:
        with self._wake:
            self._refresh = True
            self._wake.notify_all()

    def close(self) -> None:
        with self._wake:
            self._closed = True
            self._wake.notify_all()

    def wait_empty(self, timeout_s: float) -> None:
        """Wait until nothing waits and nothing is worked on."""
        with self._wake:
            self._wake.wait_for(
                lambda: self._closed or (self._item is None and not self._busy), timeout=timeout_s
            )

    def take(self) -> Taken[T]:
        """Wait for something to do."""
        with self._wake:
            self._wake.wait_for(lambda: self._item is not None or self._refresh or self._closed)
            taken = Taken(self._item, self._refresh, self._closed)
            self._item, self._refresh, self._busy = None, False, taken.item is not None
            return taken

    def done(self) -> None:
        """What was taken is worked off."""
        with self._wake:
            self._busy = False
            self._wake.notify_all()
