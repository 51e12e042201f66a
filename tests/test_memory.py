"""What a process holds is counted also where it had room for it."""

from __future__ import annotations

import sys
import threading

import numpy as np
import pytest
from heap_room import room_in_this_thread

from reactor_runtime.memory import allocated_bytes, resident_bytes

MIB = 1 << 20
BLOCK_BYTES = 4 * MIB


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the arenas are glibc's")
def test_what_is_taken_from_room_that_malloc_kept_counts_as_allocated_and_not_as_resident() -> None:
    found: list[tuple[int, int]] = []

    def leak() -> None:
        room_in_this_thread()
        kept = []
        for _ in range(3):
            found.append((allocated_bytes() or 0, resident_bytes()))
            kept.append(np.ones(BLOCK_BYTES, np.uint8))

    thread = threading.Thread(target=leak)
    thread.start()
    thread.join()
    (allocated, resident), *_, (allocated_then, resident_then) = found
    assert abs(allocated_then - allocated - 2 * BLOCK_BYTES) < MIB // 2
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
