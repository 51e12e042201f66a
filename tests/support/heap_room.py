"""Makes a heap as a long-lived process has it: free, touched room that malloc keeps for its threads."""

from __future__ import annotations

import ctypes
import threading
import time
from pathlib import Path
from typing import Final

_THREADS: Final = 3


def room_in_this_thread() -> None:
    """Leave 48 MiB of touched, free room at the top of this thread's arena; of any thread but the first.

    A block that was mapped and freed raises the size from which glibc maps blocks (mallopt(3), M_MMAP_THRESHOLD), so
    the next ones come from the arena. Blocks of malloc's own, because what lies above a block keeps it from
    joining the top, and an array brings small ones along.
    """
    libc = ctypes.CDLL(None)
    libc.malloc.restype = ctypes.c_void_p
    libc.free(ctypes.c_void_p(libc.malloc(ctypes.c_size_t(31 << 20))))
    size = ctypes.c_size_t(24 << 20)
    blocks = [ctypes.c_void_p(libc.malloc(size)) for _ in range(2)]
    for block in blocks:
        libc.memset(block, 1, size)
    for block in blocks:
        libc.free(block)


def room_in_every_arena() -> None:
    """The same in the arenas that the next threads will take: those of the threads that ended last."""
    together = threading.Barrier(_THREADS)

    def touch() -> None:
        bytes(1 << 16)  # the first block gives a thread its arena, which is its own while it lives
        together.wait(timeout=30)
        room_in_this_thread()
        together.wait(timeout=30)

    threads = [threading.Thread(target=touch) for _ in range(_THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # join() returns a little before a thread gives its arena up, at the end of its task.
    deadline_s = time.monotonic() + 10
    while any(Path(f"/proc/self/task/{thread.native_id}").exists() for thread in threads):
        assert time.monotonic() < deadline_s
        time.sleep(0.001)
