"""Calls from a thread to an event loop, many at once for one wake-up.

    encoder thread ─call, call, call─▶ queue ─one wake-up─▶ loop: each in its order

`call_soon_threadsafe` writes to a socket each time, and lets the loop have Python's lock meanwhile: a thread that
hands a picture to a hundred viewers then waits a hundred times until it has the lock again, and the next picture is
overtaken. What is called bounds what waits; this only carries it.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from typing import Any


class Crossing:
    """To the loop on which it is made. `call` from any thread."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._calls: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()

    def call(self, function: Callable[..., object], *arguments: Any) -> None:
        """Call it on the loop, after what was called before. Not at all once the loop is closed."""
        with self._lock:
            wakes = not self._calls
            self._calls.append((function, arguments))
        if wakes and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._carry)

    def _carry(self) -> None:
        with self._lock:
            calls, self._calls = self._calls, deque()
        for function, arguments in calls:
            # Each by itself, so that one that raises takes no other along.
            self._loop.call_soon(function, *arguments)
