"""Where the frames of the past lie, against the plain rules: keep the sink, drop the oldest of the rest."""

from __future__ import annotations

import pytest
import torch
from causal_wan.rotary import Rotation
from causal_wan.window import FrameWindow, Here, KeyValues
from hypothesis import given
from hypothesis import strategies as st

WINDOWS = st.sampled_from([(12, 3, 3), (12, 0, 3), (6, 0, 3), (4, 0, 3), (9, 3, 3), (5, 1, 2), (7, 2, 1)])


def held_by_lists(window: FrameWindow, frames: int) -> list[int]:
    """The frames that a window holds once so many were written, oldest first."""
    if frames <= window.capacity:
        return list(range(frames))
    return [*range(window.sink), *range(frames - window.ring, frames)]


@given(WINDOWS, st.integers(1, 20), st.sampled_from(["relative", "absolute"]))
def test_slots_hold_the_sink_and_the_newest_frames(
    shape: tuple[int, int, int], blocks: int, positions: str
) -> None:
    capacity, sink, block = shape
    window = FrameWindow(capacity, sink, positions)  # type: ignore[arg-type]
    slots: list[int] = [-1] * capacity
    for start in range(0, blocks * block, block):
        for _ in range(3):  # repeated passes over one block change nothing
            place = window.place(start, block)
            for into, own in place.parts:
                slots[into] = range(start, start + block)[own]
        held = held_by_lists(window, start + block)
        assert sorted(slots[: place.filled]) == held
        if positions == "absolute":
            assert place.keys is None
            assert place.queries == tuple(range(start, start + block))
        else:
            assert place.keys == tuple(held.index(frame) for frame in slots[: place.filled])
            assert place.queries == tuple(held.index(frame) for frame in range(start, start + block))
            assert max(place.keys) < capacity


@given(WINDOWS, st.integers(1, 20))
def test_a_rewrite_covers_all_but_a_sink_that_was_left_behind(
    shape: tuple[int, int, int], blocks: int
) -> None:
    capacity, sink, block = shape
    window = FrameWindow(capacity, sink, "relative")
    for start in range(0, blocks * block, block):
        window.place(start, block)
    frames = window.rewritable()
    held = held_by_lists(window, window.end)
    assert list(frames) == (held if window.end <= capacity else held[sink:])
    place = window.place(frames[0], len(frames))
    written = [slot for into, _ in place.parts for slot in range(capacity)[into]]
    assert sorted(written) == list(range(len(held)))[0 if window.end <= capacity else sink :]


def test_frames_that_are_gone_or_never_came_are_refused() -> None:
    window = FrameWindow(6, 0, "relative")
    for start in (0, 3, 6):
        window.place(start, 3)
    for start in (0, 12):
        with pytest.raises(AssertionError):
            window.place(start, 3)


def test_the_past_is_written_in_place() -> None:
    window = FrameWindow(4, 0, "absolute")
    past = KeyValues((1, 4, 2, 1, 4), device=torch.device("cpu"), dtype=torch.float32)
    storage = past.keys.data_ptr(), past.values.data_ptr()
    still = Rotation(torch.ones(6, 2), torch.zeros(6, 2))
    for start in (0, 3, 6):
        k = torch.full((1, 6, 1, 4), float(start))
        seen, _ = past.write_and_read(k, k, Here(still, place=window.place(start, 3)))
    assert (past.keys.data_ptr(), past.values.data_ptr()) == storage
    assert seen.data_ptr() == past.keys.data_ptr()
    # Frame 5 of the block before is the one that a window of four keeps beside the newest three.
    assert sorted(seen[0, :, 0, 0].tolist()) == [3.0, 3.0, *[6.0] * 6]
