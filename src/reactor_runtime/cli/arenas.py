"""How the C library keeps memory that the server's threads have given back.

glibc keeps an arena for each thread that allocates while another does, up to eight per core, and each keeps what was
once taken from it. libwebrtc, the encoders and asyncio's pool are some twenty threads that take turns, so what a
session frees is spread over arenas that the next one misses, and the process grows for hundreds of users: 15 KiB
each. One arena is enough for threads that mostly wait, and each has a cache of its own before it. Elsewhere, and
where an operator has set it already, nothing is done.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from typing import Final

#: <malloc.h>
_M_ARENA_MAX: Final = -8


def keep_one() -> bool:
    """Do it, before threads are started. Whether the C library took it."""
    if "MALLOC_ARENA_MAX" in os.environ or "glibc.malloc.arena_max" in os.environ.get("GLIBC_TUNABLES", ""):
        return False
    with contextlib.suppress(OSError, AttributeError):  # another C library
        return bool(ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1))
    return False
