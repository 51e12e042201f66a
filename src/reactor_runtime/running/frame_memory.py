"""Frame memory: pixels cross between the processes without being copied through a pipe.

    writer: acquire → copy in → tell the ticket ──pipe──▶ reader: view … release ──pipe──▶ writer: release

The memory is anonymous (a memfd; where there is none, an unlinked temporary file) and reaches the child
as an inherited descriptor, so there is no name that could leak or be guessed. It is as large as the limit
and sparse: what was never used takes no memory. The lowest gap is used first, so that a model which is
held back by the playout touches only the few frames in flight. Only the writer keeps the books.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from typing import Final

import numpy as np

from .. import limits
from ..types import Pixels

_PAGE: Final = mmap.PAGESIZE
#: The pulses' page, see `pulse`.
PULSE_MEMORY_BYTES: Final = _PAGE
#: Input frames: one that is being written, one on its way, one being copied.
INPUT_SPANS: Final = 3
INPUT_MAX_BYTES: Final = INPUT_SPANS * limits.FRAME_MAX_SIDE**2 * 3


#: How often it is looked whether memory that is to go is still looked into, and for how long; then it goes with the
#: last frame.
UNMAP_S: Final = 0.02
LOOKED_INTO_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of frame memory, owned by a frame in flight. `ticket` is never used twice."""

    ticket: int
    offset: int
    size_bytes: int


class FrameBooks:
    """Who owns which bytes: a first-fit allocator for a handful of frames. Any thread.

    Frames of different sizes may be in flight at once. Policy when full: `acquire` returns None and the
    caller decides (the model's emit waits, an input frame is dropped).
    """

    def __init__(self, *, size_bytes: int, frames_max: int) -> None:
        self._size_bytes = size_bytes
        self._frames_max = frames_max
        self._lock = threading.Lock()
        self._spans: list[Span] = []
        self._tickets = 0

    def __len__(self) -> int:
        return len(self._spans)

    def acquire(self, size_bytes: int) -> Span | None:
        """Take the lowest gap that is large enough, or None when it would be too many or too much."""
        needed = -(-size_bytes // _PAGE) * _PAGE
        with self._lock:
            if len(self._spans) >= self._frames_max:
                return None
            index, offset = self._lowest_gap(needed)
            if self._size_bytes - offset < needed:
                return None
            self._tickets += 1
            taken = Span(self._tickets, offset, needed)
            self._spans.insert(index, taken)
            return taken

    def _lowest_gap(self, needed: int) -> tuple[int, int]:
        """Return the place in the list and the offset; behind the last span when no gap is large enough."""
        offset = 0
        for index, span in enumerate(self._spans):
            if span.offset - offset >= needed:
                return index, offset
            offset = span.offset + span.size_bytes
        return len(self._spans), offset

    def release(self, ticket: int) -> None:
        """Give a span back. An unknown ticket, or the same one again, is ignored."""
        with self._lock:
            self._spans = [span for span in self._spans if span.ticket != ticket]


def create_memory(size_bytes: int) -> int:
    """Return the descriptor of a new anonymous memory of this size; the caller closes it."""
    if not hasattr(os, "memfd_create"):
        with tempfile.TemporaryFile() as file:
            file.truncate(size_bytes)
            return os.dup(file.fileno())
    fd = os.memfd_create("reactor-frames", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, size_bytes)
    # Shrunk by the other process, the mapping would kill this one with SIGBUS.
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
    return fd


class FrameMemory:
    """A mapping of frame memory. It goes away with the last frame that looks into it."""

    def __init__(self, fd: int, size_bytes: int, *, writable: bool) -> None:
        """Map a descriptor (-1: private to this process), which may be closed afterwards."""
        protection = mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0)
        flags = mmap.MAP_SHARED if fd >= 0 else mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        self._map = mmap.mmap(fd, size_bytes, flags=flags, prot=protection)

    def write(self, span: Span, pixels: Pixels) -> None:
        """Copy a frame into its span."""
        np.copyto(np.ndarray(pixels.shape, np.uint8, buffer=self._map, offset=span.offset), pixels)

    def view(self, offset: int, height: int, width: int) -> Pixels:
        """Return a read-only picture of what lies at an offset. Raises ValueError outside the memory."""
        # numpy itself takes a negative offset.
        if min(offset, height, width) < 0 or offset + height * width * 3 > len(self._map):
            raise ValueError("a frame lies outside the frame memory")
        pixels: Pixels = np.ndarray((height, width, 3), np.uint8, buffer=self._map, offset=offset)
        pixels.flags.writeable = False
        return pixels

    def buffer(self) -> memoryview:
        return memoryview(self._map)

    def let_go(self) -> None:
        """Unmap it on a thread, as soon as no frame looks into it; it is not used any more.

        The kernel takes some 50 ms for 256 MiB that were used, in which the event loop would stand, and with it the
        pictures of every other model.
        """
        threading.Thread(target=self._unmap, name="reactor-unmap", daemon=True).start()

    def _unmap(self) -> None:
        until_s = time.monotonic() + LOOKED_INTO_S
        # A picture keeps what it looks into alive, and numpy does not keep it from being closed: whoever is the last
        # one to have it may close it. One of the two that are counted is the argument.
        while sys.getrefcount(self._map) > 2:
            if time.monotonic() > until_s:
                return
            time.sleep(UNMAP_S)
        self._map.close()
