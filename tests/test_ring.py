"""Frame memory: whose bytes are whose, and that nothing of it has a name or stays."""

from __future__ import annotations

import os
import threading
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reactor_runtime import limits
from reactor_runtime.running.frame_memory import UNMAP_S, FrameBooks, FrameMemory, create_memory

PAGE = 4096
Step = tuple[str, int]


@given(
    st.lists(st.tuples(st.sampled_from(["take", "give"]), st.integers(1, 9 * PAGE)), max_size=60),
)
def test_slots_in_flight_never_overlap_and_stay_within_the_memory(steps: list[Step]) -> None:
    books = FrameBooks(size_bytes=16 * PAGE, frames_max=5)
    flying = []
    tickets = set()
    for verb, number in steps:
        if verb == "take":
            span = books.acquire(number)
            if span is None:
                continue
            assert span.ticket not in tickets
            tickets.add(span.ticket)
            flying.append(span)
        elif flying:
            books.release(flying.pop(number % len(flying)).ticket)
        spans = sorted((span.offset, span.offset + span.size_bytes) for span in flying)
        assert all(before[1] <= after[0] for before, after in pairwise(spans))
        assert not spans or (spans[0][0] >= 0 and spans[-1][1] <= 16 * PAGE)
        assert len(books) == len(flying) <= 5


def test_a_slot_is_as_large_as_what_was_asked_for() -> None:
    span = FrameBooks(size_bytes=16 * PAGE, frames_max=5).acquire(PAGE + 1)
    assert span is not None
    assert span.size_bytes == 2 * PAGE


def test_the_lowest_gap_is_used_first_so_that_little_memory_is_touched() -> None:
    books = FrameBooks(size_bytes=64 * PAGE, frames_max=64)
    for _ in range(1000):
        first, second = books.acquire(3 * PAGE), books.acquire(3 * PAGE)
        assert first is not None
        assert second is not None
        assert (first.offset, second.offset) == (0, 3 * PAGE)
        books.release(first.ticket)
        books.release(second.ticket)


def test_a_larger_frame_fits_while_smaller_ones_are_still_shown() -> None:
    books = FrameBooks(size_bytes=10 * PAGE, frames_max=8)
    small = [books.acquire(PAGE) for _ in range(3)]
    large = books.acquire(4 * PAGE)
    assert large is not None
    assert large.offset == 3 * PAGE
    assert books.acquire(4 * PAGE) is None
    for span in small:
        assert span is not None
        books.release(span.ticket)
    refilled = books.acquire(3 * PAGE)
    assert refilled is not None
    assert refilled.offset == 0


def test_full_means_none_by_number_and_by_size() -> None:
    few = FrameBooks(size_bytes=64 * PAGE, frames_max=2)
    assert few.acquire(1)
    assert few.acquire(1)
    assert few.acquire(1) is None
    small = FrameBooks(size_bytes=4 * PAGE, frames_max=64)
    assert small.acquire(5 * PAGE) is None
    assert small.acquire(4 * PAGE)


def test_releasing_twice_or_something_unknown_frees_nothing_else() -> None:
    books = FrameBooks(size_bytes=8 * PAGE, frames_max=8)
    first, second = books.acquire(PAGE), books.acquire(PAGE)
    assert first is not None
    assert second is not None
    for _ in range(2):
        books.release(first.ticket)
        books.release(999)
    assert len(books) == 1


def test_pixels_written_in_one_mapping_are_read_in_another_and_cannot_be_changed_there() -> None:
    fd = create_memory(64 * PAGE)
    writer, reader = FrameMemory(fd, 64 * PAGE, writable=True), FrameMemory(fd, 64 * PAGE, writable=False)
    os.close(fd)
    books = FrameBooks(size_bytes=64 * PAGE, frames_max=8)
    books.acquire(PAGE)
    span = books.acquire(48 * 64 * 3)
    assert span is not None
    picture = np.arange(48 * 64 * 3, dtype=np.uint32).astype(np.uint8).reshape(48, 64, 3)
    writer.write(span, picture[:, ::-1])
    seen = reader.view(span.offset, 48, 64)
    assert np.array_equal(seen, picture[:, ::-1])
    with pytest.raises(ValueError, match="read-only"):
        seen[0, 0, 0] = 1


@pytest.mark.parametrize(
    ("offset", "height", "width"), [(0, 300, 300), (64 * PAGE - 2, 1, 1), (-1, 1, 1), (0, -1, -1)]
)
def test_what_lies_outside_is_not_shown(offset: int, height: int, width: int) -> None:
    memory = FrameMemory(-1, 64 * PAGE, writable=True)
    with pytest.raises(ValueError, match="outside"):
        memory.view(offset, height, width)


def test_the_memory_has_no_name_and_cannot_be_shrunk_under_the_other_process() -> None:
    fd = create_memory(16 * PAGE)
    assert os.fstat(fd).st_size == 16 * PAGE
    assert os.fstat(fd).st_nlink == 0
    with pytest.raises(PermissionError):
        os.ftruncate(fd, PAGE)
    os.close(fd)


def test_only_what_was_written_takes_memory() -> None:
    fd = create_memory(1024 * PAGE)
    memory = FrameMemory(fd, 1024 * PAGE, writable=True)
    span = FrameBooks(size_bytes=1024 * PAGE, frames_max=8).acquire(2 * PAGE)
    assert span is not None
    memory.write(span, np.ones((64, 32, 3), np.uint8))
    assert os.fstat(fd).st_blocks * 512 <= 4 * PAGE
    os.close(fd)


def test_without_memfd_an_unlinked_file_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "memfd_create")
    fd = create_memory(16 * PAGE)
    assert os.fstat(fd).st_size == 16 * PAGE
    assert os.fstat(fd).st_nlink == 0
    FrameMemory(fd, 16 * PAGE, writable=True)
    os.close(fd)


def test_a_mapping_lives_as_long_as_the_pictures_that_look_into_it() -> None:
    memory = FrameMemory(-1, 16 * PAGE, writable=True)
    span = FrameBooks(size_bytes=16 * PAGE, frames_max=1).acquire(PAGE)
    assert span is not None
    memory.write(span, np.full((8, 8, 3), 7, np.uint8))
    picture = memory.view(span.offset, 8, 8)
    del memory
    assert int(picture.sum()) == 7 * 8 * 8 * 3


@pytest.mark.usefixtures("hasty_threads")
def test_threads_that_take_and_give_at_once_never_share_a_slot() -> None:
    books = FrameBooks(size_bytes=64 * PAGE, frames_max=16)
    owners: dict[int, int] = {}
    shared = []

    def churn(name: int) -> None:
        for _ in range(300):
            span = books.acquire(2 * PAGE)
            if span is None:
                continue
            if owners.setdefault(span.offset, name) != name:
                shared.append(span)
            if owners.pop(span.offset) != name:
                shared.append(span)
            books.release(span.ticket)

    threads = [threading.Thread(target=churn, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert shared == []
    assert len(books) == 0


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="the system does not tell what is mapped")
def test_memory_is_let_go_on_a_thread_as_soon_as_nothing_looks_into_it() -> None:
    unmapped_on: list[int] = []

    class Memory(FrameMemory):
        def _unmap(self) -> None:
            unmapped_on.append(threading.get_ident())
            super()._unmap()

    def mapped() -> int:
        return Path("/proc/self/maps").read_text().count("reactor-frames")

    before, fd = mapped(), create_memory(limits.RING_MAX_BYTES)
    memory = Memory(fd, limits.RING_MAX_BYTES, writable=True)
    os.close(fd)
    picture = memory.view(0, 4, 4)
    memory.let_go()
    time.sleep(3 * UNMAP_S)
    assert (mapped(), int(picture.sum())) == (before + 1, 0)
    del picture
    deadline_s = time.monotonic() + 5
    while mapped() > before:
        assert time.monotonic() < deadline_s
        time.sleep(UNMAP_S)
    assert unmapped_on
    assert threading.get_ident() not in unmapped_on
