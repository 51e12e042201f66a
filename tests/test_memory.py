"""What a process holds is counted also where it had room for it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from reactor_runtime.headless.memory import allocated_bytes

MIB = 1 << 20
BLOCK_BYTES = 4 * MIB


#: In a process of its own, whose arenas hold nothing else.
LEAK = """
import threading
import numpy as np
from support.heap_room import room_in_this_thread
from reactor_runtime.headless.memory import allocated_bytes, resident_bytes

def leak():
    room_in_this_thread()
    kept = []
    for _ in range(3):
        print(allocated_bytes(), resident_bytes())
        kept.append(np.ones(4 << 20, np.uint8))

thread = threading.Thread(target=leak)
thread.start()
thread.join()
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the arenas are glibc's")
def test_what_is_taken_from_room_that_malloc_kept_counts_as_allocated_and_not_as_resident() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LEAK], cwd=Path(__file__).parent, capture_output=True, text=True, check=True
    )
    (allocated, resident), _, (allocated_then, resident_then) = (
        map(int, line.split()) for line in done.stdout.splitlines()
    )
    assert abs(allocated_then - allocated - 8 * MIB) < MIB // 2
    assert resident_then - resident < MIB // 2


def test_what_was_given_back_does_not_count() -> None:
    before = allocated_bytes()
    if before is None:
        pytest.skip("this C library does not tell")
    ring: list[object] = [np.ones(BLOCK_BYTES, np.uint8)]
    ring.append(ring)
    assert (allocated_bytes() or 0) - before > BLOCK_BYTES - MIB
    del ring
    assert (allocated_bytes() or 0) - before < MIB // 2
