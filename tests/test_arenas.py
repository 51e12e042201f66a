"""The C library keeps what the server's threads have freed in one place."""

from __future__ import annotations

import subprocess
import sys

import pytest

#: Sixteen threads that allocate at once, and how many arenas there are then: glibc tells of each in its statistics.
THREADS = """
import ctypes, re, sys, threading
from reactor_runtime.cli import arenas

took = arenas.keep_one()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
together = threading.Barrier(16)

def allocate():
    together.wait()
    held = [libc.malloc(2_000) for _ in range(500)]
    together.wait()
    for each in held:
        libc.free(each)

threads = [threading.Thread(target=allocate) for _ in range(16)]
for thread in threads: thread.start()
for thread in threads: thread.join()
libc.malloc_stats()
print(took, file=sys.stderr)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the arenas are glibc's")
@pytest.mark.parametrize(("environ", "few"), [({}, True), ({"MALLOC_ARENA_MAX": "8"}, False)])
def test_threads_share_one_arena_unless_the_operator_says_otherwise(
    environ: dict[str, str], few: bool
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", THREADS], capture_output=True, text=True, check=True, env=environ
    )
    assert done.stderr.rstrip().endswith(str(few))
    found = done.stderr.count("Arena ")
    assert found == 1 if few else 1 < found <= 8
