"""How much memory this process holds, once everything that nobody needs was given back."""

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


def gpu_bytes() -> int | None:
    """Return what torch holds on the GPU, None without one. torch is not imported for it."""
    cuda = getattr(sys.modules.get("torch"), "cuda", None)
    if cuda is None or not cuda.is_available() or not hasattr(cuda, "memory_allocated"):
        return None
    return int(cuda.memory_allocated())
