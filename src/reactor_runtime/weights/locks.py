"""Locks between processes on this machine, on files that stay.

The kernel releases them when their owner dies, whatever way it dies. Some network file systems pretend:
there a lock costs nothing and protects nothing, and the callers' temporary folders and atomic renames
keep everything right (promise 36); only bandwidth is lost.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from ..errors import StoreUnreachable

_POLL_S = 0.1


def try_lock(path: Path, *, shared: bool = False) -> int | None:
    """Lock and return the descriptor that holds it, or None when someone else does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


@contextlib.contextmanager
def locked(path: Path, *, wait_s: float, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold the lock; `waiting` is called again and again while someone else has it, and may raise."""
    deadline_s = time.monotonic() + wait_s
    while (descriptor := try_lock(path)) is None:
        waiting()
        if time.monotonic() >= deadline_s:
            raise StoreUnreachable(
                f"another process has been downloading the same weights for {wait_s:.0f} s.\n"
                f"  Fix: look which process holds {path}, and end it."
            )
        time.sleep(_POLL_S)
    try:
        yield
    finally:
        os.close(descriptor)
