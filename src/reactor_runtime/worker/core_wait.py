"""Notices that a model waits for a core, which makes it slower live than alone, so that this is said once.

    frame ─▶ 5 s are over ─▶ RunQueues: how long each thread ran, and waited for a core
                                 └─▶ CoreWait: twice in a row too long, and nothing but the model was slow

The kernel counts, for each thread, the time in which it could have run and had no core. A model that is held in
`emit` because its frame is not wanted yet waits harmlessly; one that is never held and waits for a core would be
faster alone. Judged by whole windows between two frames, so that one slow step is not taken for a habit.

`CoreWait` is pure; owned by a host, on its event loop.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

#: A window ends at the first frame after so long.
WINDOW_S: Final = 5.0
#: The model is slow by itself if its own code and emit take so much of the time.
BUSY_SHARE: Final = 0.8
#: Its slowest thread waits for a core so much of the time.
WAIT_SHARE: Final = 0.2
#: Windows in a row before it is said: the first one holds what a session does only once.
WINDOWS: Final = 2
#: A thread computes if it runs or waits to run for so much of the time.
COMPUTES_SHARE: Final = 0.1


@dataclass(frozen=True, slots=True)
class Ran:
    """Totals of one thread: seconds on a core, and ready to run without one."""

    ran_s: float
    waited_s: float


RunQueues = Callable[[], Mapping[int, Ran]]
"""The totals of every thread by its number; none where the system does not count them."""


class CoreWait:
    """Fed with every frame; `waited_s` is the total over all threads."""

    def __init__(self, run_queues: RunQueues, cores: int) -> None:
        self._run_queues = run_queues
        self._cores = cores
        self._before: Mapping[int, Ran] = {}
        self._began_s: float | None = None
        self._busy_s = 0.0
        self._slow_windows = 0
        self._said = False
        self.waited_s = 0.0

    def begin(self) -> None:
        """A session starts: nothing is known of it."""
        self._began_s = None
        self._slow_windows = 0

    def frame(self, busy_s: float, now_s: float) -> str | None:
        """Take a frame: how long the model's own code and emit took, and when it came; return what to say, once."""
        if self._began_s is None:
            self._open(now_s, self._run_queues())
            return None
        self._busy_s += busy_s
        elapsed_s = now_s - self._began_s
        if elapsed_s < WINDOW_S:
            return None
        after = self._run_queues()
        threads = [_between(self._before.get(number), ran) for number, ran in after.items()]
        self.waited_s += sum(each.waited_s for each in threads)
        waits = max((each.waited_s for each in threads), default=0.0) / elapsed_s
        slow = self._busy_s >= BUSY_SHARE * elapsed_s and waits >= WAIT_SHARE
        self._slow_windows = self._slow_windows + 1 if slow else 0
        self._open(now_s, after)
        if self._said or self._slow_windows < WINDOWS:
            return None
        self._said = True
        computing = sum(each.ran_s + each.waited_s >= COMPUTES_SHARE * elapsed_s for each in threads)
        return self._words(waits, computing)

    def _open(self, now_s: float, before: Mapping[int, Ran]) -> None:
        self._began_s, self._before, self._busy_s = now_s, before, 0.0

    def _words(self, waits: float, computing: int) -> str:
        found = f"the model waits for a core {waits:.0%} of its time and is slower live than alone"
        if computing > 1:
            fewer = max(1, min(computing, self._cores) - 1)
            return (
                f"{found}: it computes with {computing} threads, and the server that encodes needs a core too;"
                f" try --model-threads {fewer}, or torch.set_num_threads({fewer}) where the model sets its own number"
            )
        return (
            f"{found}: it computes with one thread, and others want that core;"
            " end what else runs here, make smaller or fewer pictures, or use a machine with more cores"
        )


def _between(before: Ran | None, after: Ran) -> Ran:
    """Return what was added. A number that was given to another thread meanwhile counts from its own beginning."""
    if before is None or after.ran_s < before.ran_s or after.waited_s < before.waited_s:
        return after
    return Ran(after.ran_s - before.ran_s, after.waited_s - before.waited_s)


def run_queues(pid: int | None) -> dict[int, Ran]:
    """Read the totals of every thread of a process; of None, nothing.

    The kernel's sched-stats.rst, /proc/PID/schedstat: nanoseconds on a core, nanoseconds on a run queue.
    """
    found: dict[int, Ran] = {}
    if pid is None:
        return found
    with contextlib.suppress(OSError):  # the process ended, or no /proc here
        for task in (Path("/proc") / str(pid) / "task").iterdir():
            with contextlib.suppress(OSError, ValueError):  # this thread ended, or nobody counts
                ran_ns, waited_ns = (task / "schedstat").read_bytes().split()[:2]
                found[int(task.name)] = Ran(int(ran_ns) / 1e9, int(waited_ns) / 1e9)
    return found
