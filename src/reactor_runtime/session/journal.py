"""What happened to the sessions, for operators: a bounded journal that `/events` streams.

The orchestrator appends on the event loop; each reader keeps only its own place in it, so that a slow
reader costs nothing and loses the oldest events instead. Events never hold prompts or arguments.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field

from .. import limits
from ..types import JsonObject
from .lifecycle import State, Transition


@dataclass(frozen=True, slots=True)
class Entry:
    """One event. `ts` is wall-clock epoch milliseconds, for people who compare it with other logs."""

    seq: int
    event: str
    before: State
    after: State
    ts: int
    detail: JsonObject = field(default_factory=dict)
    slot: int = 0
    """Of which model slot, counted from 0."""

    def public(self) -> JsonObject:
        return {
            "type": "transition",
            "event": self.event,
            "from": self.before.value,
            "to": self.after.value,
            "ts": self.ts,
            "slot": self.slot,
            "detail": self.detail,
        }


class Journal:
    """The last `limits.JOURNAL_EVENTS` events, numbered from 1."""

    def __init__(self, *, wall_clock: Callable[[], float] = time.time) -> None:
        self._wall_clock = wall_clock
        self._entries: deque[Entry] = deque(maxlen=limits.JOURNAL_EVENTS)
        self._appended = asyncio.Event()
        self._seq = 0
        self._closed = False

    def transition(self, transition: Transition, detail: JsonObject | None = None, *, slot: int = 0) -> None:
        self._append(transition.event.value, transition.before, transition.after, detail, slot)

    def note(self, event: str, state: State, detail: JsonObject | None = None, *, slot: int = 0) -> None:
        """Record something that moved no state (command, error, connection_answered, ...)."""
        self._append(event, state, state, detail, slot)

    def since(self, seq: int) -> list[Entry]:
        """Return the kept entries after `seq`, oldest first."""
        if not self._entries:
            return []
        first = self._entries[0].seq
        return [self._entries[i] for i in range(max(0, seq + 1 - first), len(self._entries))]

    async def follow(self, seq: int, *, idle_s: float) -> AsyncGenerator[Entry | None, None]:
        """Yield what comes after `seq`, and None after each silent `idle_s`. Ends with `close()`."""
        while True:
            appended = self._appended
            entries = self.since(seq)
            for entry in entries:
                seq = entry.seq
                yield entry
            if entries:
                continue
            if self._closed:
                return
            try:
                async with asyncio.timeout(idle_s):
                    await appended.wait()
            except TimeoutError:
                yield None

    def close(self) -> None:
        """End every `follow` after what was appended. May be called twice."""
        self._closed = True
        self._appended.set()

    def _append(self, event: str, before: State, after: State, detail: JsonObject | None, slot: int) -> None:
        self._seq += 1
        ts = int(self._wall_clock() * 1000)
        self._entries.append(Entry(self._seq, event, before, after, ts, detail or {}, slot))
        # A fresh event per entry: whoever waits on the old one wakes, whoever comes later waits anew.
        self._appended.set()
        if not self._closed:
            self._appended = asyncio.Event()
