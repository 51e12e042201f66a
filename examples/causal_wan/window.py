"""Which past frames a pass sees, and where their keys and values lie.

    frame   0  1  2 │  ·  ·  ·  ·  ·  12 13 14 15 16 17 18 19 20      a sink of 3, a window of 12
    slot    0  1  2 │  3 ... 11: frame f lies in slot sink + (f - sink) % (window - sink)

The sink is kept for ever, the rest is a ring: a new block overwrites the oldest frames where they lie, and
nothing is ever shifted. Attention does not care about the order of its keys, only about their rotation.

`FrameWindow` does the arithmetic once per pass for all layers; `KeyValues` are one layer's tensors. A pass over
frames that are there already (the later steps of a block, a re-cache) overwrites them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .config import Positions
from .rotary import Rotation, rotate


@dataclass(frozen=True, slots=True)
class Placement:
    """One pass: where its frames are written, and which positions queries and keys have."""

    parts: tuple[tuple[slice, slice], ...]
    """Pairs of slots and of the pass's own frames."""
    filled: int
    """Slots that hold frames, from the first on, once this pass has written."""
    queries: tuple[int, ...]
    """Position of each frame of the pass."""
    keys: tuple[int, ...] | None
    """Position of each filled slot. None: keys are rotated when they are written, by `queries`."""


class FrameWindow:
    """Counts frames. `end` is the number of frames that were ever written."""

    def __init__(self, capacity: int, sink: int, positions: Positions) -> None:
        assert 0 <= sink < capacity
        self.capacity = capacity
        self.sink = sink
        self.ring = capacity - sink
        self._relative = positions == "relative"
        self.end = 0

    def place(self, start: int, count: int) -> Placement:
        """Write frames start .. start + count - 1, which follow or repeat the newest ones."""
        end = max(self.end, start + count)
        first = max(self.sink, end - self.ring)  # the oldest frame in the ring
        assert start <= self.end, "frames would be missing in between"
        assert end <= self.capacity or start >= first, "frames that are gone for good"
        self.end = end
        filled = min(end, self.capacity)
        frames = range(start, start + count)
        if not self._relative:
            return Placement(self._parts(start, count), filled, tuple(frames), None)
        in_slot = [self._frame_in(slot, end) for slot in range(filled)]
        return Placement(
            self._parts(start, count),
            filled,
            tuple(self._position(frame, first) for frame in frames),
            tuple(self._position(frame, first) for frame in in_slot),
        )

    def rewritable(self) -> range:
        """The frames that one pass can write again: all of them, or once frames have been overwritten, the ring.

        A sink that the window has left behind is not among them: it stays as it was first written.
        """
        return range(0 if self.end <= self.capacity else self.end - self.ring, self.end)

    def _slot(self, frame: int) -> int:
        return frame if frame < self.sink else self.sink + (frame - self.sink) % self.ring

    def _frame_in(self, slot: int, end: int) -> int:
        """The newest frame before `end` that lies in this slot."""
        if slot < self.sink:
            return slot
        return slot + (end - 1 - slot) // self.ring * self.ring

    def _position(self, frame: int, first: int) -> int:
        return frame if frame < self.sink else self.sink + frame - first

    def _parts(self, start: int, count: int) -> tuple[tuple[slice, slice], ...]:
        """Runs of neighbouring slots: at most two, as a run wraps around once."""
        parts: list[tuple[slice, slice]] = []
        done = 0
        while done < count:
            slot = self._slot(start + done)
            run = min(count - done, self.capacity - slot)
            parts.append((slice(slot, slot + run), slice(done, done + run)))
            done += run
        return tuple(parts)


@dataclass(frozen=True, slots=True)
class Here:
    """What all layers of one pass share: where its tokens are, and what they see."""

    queries: Rotation
    keys: Rotation | None = None
    """Of every filled slot. None: keys are rotated by `queries` when they are written."""
    place: Placement | None = None
    """None: there is no past."""
    mask: Tensor | None = None


class KeyValues:
    """One layer's past: keys and values [B, slots, S, H, C]. Allocated once, written in place."""

    def __init__(
        self,
        shape: tuple[int, int, int, int, int],
        *,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self.keys = torch.empty(shape, device=device, dtype=dtype)
        self.values = torch.empty(shape, device=device, dtype=dtype)

    def write_and_read(self, k: Tensor, v: Tensor, here: Here) -> tuple[Tensor, Tensor]:
        """Store this pass's k, v [B, L, H, C] and return all that it sees, rotated: [B, L', H, C]."""
        assert here.place is not None
        if here.keys is None:
            k = rotate(k, here.queries)
        frames = len(here.place.queries)
        k, v = k.unflatten(1, (frames, -1)), v.unflatten(1, (frames, -1))
        for slots, own in here.place.parts:
            self.keys[:, slots].copy_(k[:, own])
            self.values[:, slots].copy_(v[:, own])
        seen = self.keys[:, : here.place.filled].flatten(1, 2)
        values = self.values[:, : here.place.filled].flatten(1, 2)
        return seen if here.keys is None else rotate(seen, here.keys), values


def see(k: Tensor, v: Tensor, here: Here, past: KeyValues | None) -> tuple[Tensor, Tensor]:
    """Return the keys, rotated, and the values that a pass attends to: its own, or those of its window."""
    return (rotate(k, here.queries), v) if past is None else past.write_and_read(k, v, here)
