"""How much memory this process holds, once everything that nobody needs was given back.

Two numbers, because either alone is blind: what a session leaks into room that malloc had kept for itself makes no
page resident, and what was not taken from malloc (Python's small objects, shared memory) it does not count.
glibc keeps such room: malloc_trim(3) leaves the top of every arena but the first, up to 64 MiB for each thread.
"""

from __future__ import annotations

import ctypes
import gc
import os
import sys
from contextlib import suppress
from pathlib import Path


def resident_bytes() -> int:
    """Collect what is unreachable, return free pages to the system, and return what is left."""
    gc.collect()
    if sys.platform == "linux":
        with suppress(AttributeError):  # a C library without it, as musl
            ctypes.CDLL(None).malloc_trim(0)
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        import resource

        # The peak, in bytes on macOS; a leak shows in it as well.
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


class _Mallinfo2(ctypes.Structure):
    """struct mallinfo2 of <malloc.h>."""

    _fields_ = [
        *((name, ctypes.c_size_t) for name in ("arena", "ordblks", "smblks", "hblks", "hblkhd")),
        *((name, ctypes.c_size_t) for name in ("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")),
    ]


def allocated_bytes() -> int | None:
    """Collect what is unreachable, and return what malloc has handed out; None without glibc 2.33."""
    gc.collect()
    try:
        mallinfo2 = ctypes.CDLL(None).mallinfo2
    except (AttributeError, TypeError):  # another C library; Windows has no CDLL(None)
        return None
    mallinfo2.restype = _Mallinfo2
    found = mallinfo2()
    # Blocks of all arenas, and those that have a mapping of their own.
    return int(found.uordblks + found.hblkhd)


def gpu_bytes() -> int | None:
    """Return what torch holds on the GPU, None without one. torch is not imported for it."""
    cuda = getattr(sys.modules.get("torch"), "cuda", None)
    if cuda is None or not cuda.is_available() or not hasattr(cuda, "memory_allocated"):
        return None
    return int(cuda.memory_allocated())
