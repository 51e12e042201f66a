"""Threads whose work may wait a little give way to those that bring pictures to viewers."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from typing import Final

#: Five steps: about a third of another thread's share while both want the same core, and all of a core that is free.
NICENESS: Final = 5


def give_way() -> None:
    """Put the calling thread behind the others, for good. On Linux, where a thread's niceness is its own."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            thread = threading.get_native_id()
            os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + NICENESS)
