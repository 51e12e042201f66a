"""An event loop whose time jumps to the next timer: hours pass in a moment, and always in the same way.

    async def test_...():              in tests/session/, whose conftest runs every test on this loop
        await asyncio.sleep(30)        returns at once, and asyncio.get_running_loop().time() is 30 s later

There is nothing to wait for besides timers: no socket, no thread, no process. A test that waits for what no
timer and no task will ever bring fails with `Stuck` instead of hanging.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

#: Where time begins; not 0, so that a "never" that is written as 0 shows.
BEGAN_S: Final = 1_000.0


class Stuck(Exception):
    """Everything waits, and no timer is left that could wake it."""


class _Selector:
    """Waits by moving the clock."""

    def __init__(self) -> None:
        self.now_s = BEGAN_S

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None:
            raise Stuck("every task waits for something that will never happen")
        self.now_s += timeout
        return []

    def close(self) -> None: ...


class VirtualTimeLoop(asyncio.BaseEventLoop):
    """Runs tasks, callbacks and timers; refuses whatever needs the world outside."""

    def __init__(self) -> None:
        super().__init__()
        self._selector = _Selector()
        # Times are sums of floats: what is due within a microsecond is due.
        self._clock_resolution = 1e-6

    def time(self) -> float:
        return self._selector.now_s

    def _process_events(self, event_list: list[Any]) -> None: ...

    def _write_to_self(self) -> None:
        """Nothing sleeps that had to be woken."""

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:  # type: ignore[override]
        raise RuntimeError(f"virtual time has no threads, and {func} asks for one")


def now_s() -> float:
    """The time of the loop that runs."""
    return asyncio.get_running_loop().time()


async def settle() -> None:
    """Let everything happen that is to happen now."""
    for _ in range(25):
        await asyncio.sleep(0)
