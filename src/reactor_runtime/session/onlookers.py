"""Whoever waits for the model by asking again and again: he is told what became of it before the server goes.

Owned by `sessions.Sessions`, on its event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final

#: Whoever waits for the model asks more often than this, also on a busy machine; and how long the question for the
#: reason may take after it.
LOOKS_S: Final = 4.0
DETAILS_S: Final = 2.0


class Onlookers:
    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._looked_s: float | None = None
        self._looked = asyncio.Event()
        """When it was last asked how the server is, and that it was asked again."""
        self._explained = asyncio.Event()
        """That somebody asked for the reason since."""

    def looked(self) -> None:
        self._looked_s = self._clock()
        self._looked.set()

    def explained(self) -> None:
        self._explained.set()

    async def told(self) -> None:
        """Wait until whoever waited has asked what became of it; not at all where nobody did."""
        if self._looked_s is None or self._clock() - self._looked_s > LOOKS_S:
            return
        self._looked.clear()
        self._explained.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOKS_S):
                await self._looked.wait()
            async with asyncio.timeout(DETAILS_S):
                await self._explained.wait()
