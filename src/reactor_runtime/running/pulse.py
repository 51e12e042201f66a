"""Signs of life of the threads that run an author's code, and when their absence is a hang.

A pulse is one 64-bit word, `monotonic_ns << 3 | state`, in memory that the server process maps as well.
A single store keeps time and state together, and a judge in another process sees it also while the
model's process holds its GIL inside a C call (a watchdog thread of that process would not run then).

There are two lanes: the model's thread, and the command thread while it runs a handler. A third word is the
process's own: its io thread beats it when the server asks for a sign of life. A process that an author forks
off beats nothing, see `mute`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

MODEL_LANE: Final = 0
COMMAND_LANE: Final = 1
LANES: Final = 2
"""Those that run an author's code."""
IO_LANE: Final = 2
PULSE_BYTES: Final = 8 * (LANES + 1)


class PulseState(IntEnum):
    """What a lane is doing. A lane that nobody has used yet is idle: memory starts as zeros."""

    IDLE = 0
    WAITING = 1
    """In a wait of ours: for the playout, for room, for a command."""
    LOADING = 2
    WARMING = 3
    """In a session that has not shown its first frame: it may be compiling."""
    BUSY = 4
    GATED = 5
    """In emit, until the next frame is wanted."""


@dataclass(frozen=True, slots=True)
class PulseLimits:
    """Seconds without a sign of life that are still life."""

    load_s: float
    first_frame_s: float
    hang_s: float

    def of(self, state: PulseState) -> float | None:
        match state:
            case PulseState.LOADING:
                return self.load_s
            case PulseState.WARMING:
                return self.first_frame_s
            case PulseState.BUSY:
                return self.hang_s
            case _:
                return None


class Pulse:
    """One lane, seen from the process that lives. Any thread of it may call."""

    def __init__(self, words: memoryview, lane: int) -> None:
        self._words = words
        self._lane = lane
        self._lock = threading.Lock()
        self._waiting = {PulseState.WAITING: 0, PulseState.GATED: 0}
        self._state = PulseState.IDLE
        self.beat()

    def enter(self, state: PulseState) -> None:
        with self._lock:
            self._state = state
            self._write()

    def beat(self) -> None:
        with self._lock:
            self._write()

    @contextmanager
    def waiting(self, state: PulseState = PulseState.WAITING) -> Iterator[None]:
        """Say that this lane waits for us. While one of its threads does, the lane's own time is not judged."""
        with self._lock:
            self._waiting[state] += 1
            self._write()
        try:
            yield
        finally:
            with self._lock:
                self._waiting[state] -= 1
                self._write()

    def _write(self) -> None:
        if _muted:
            return
        state = next((state for state, threads in self._waiting.items() if threads), self._state)
        self._words[self._lane] = time.monotonic_ns() << 3 | state


_muted = False


def mute() -> None:
    """Let no pulse of this process beat any more: it is a fork, whose life says nothing of the model's."""
    global _muted
    _muted = True


def words_of(memory: bytearray | memoryview) -> memoryview:
    """Return the lanes' words in the first PULSE_BYTES of a memory."""
    return memoryview(memory)[:PULSE_BYTES].cast("q")


def read(word: int) -> tuple[PulseState, float]:
    """Return what a lane does, and the monotonic time of its last sign of life."""
    return PulseState(word & 7), (word >> 3) / 1e9
