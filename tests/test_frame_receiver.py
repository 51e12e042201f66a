"""Frames on the server's side of the model process: which are taken, and since when one is overdue."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any

import pytest

from reactor_runtime.running.frame_memory import FrameMemory, create_memory
from reactor_runtime.running.outlet import FrameInMemory
from reactor_runtime.types import Demand, EmittedFrame
from reactor_runtime.worker.frame_receiver import FrameReceiver

SIZE_BYTES = 1 << 20


class Channel:
    def send(self, record: Any) -> None: ...


@pytest.fixture
def shown() -> list[EmittedFrame]:
    return []


@pytest.fixture
def receiver(shown: list[EmittedFrame]) -> Iterator[FrameReceiver]:
    fd = create_memory(SIZE_BYTES)
    try:
        memory = FrameMemory(fd, SIZE_BYTES, writable=False)
    finally:
        os.close(fd)
    made = FrameReceiver(shown.append)
    made.open(memory, Channel())  # type: ignore[arg-type]
    made.declare(("left", "right"))
    made.begin()
    yield made
    while shown:
        shown.pop().release()
    made.close()
    del memory


def wants(receiver: FrameReceiver, track: str, *, watched: bool = True) -> float:
    due_s = time.monotonic() + 1
    receiver.demanded(Demand(1, due_s=due_s, interval_s=0.03, watched=watched, track=track))
    return due_s


def comes(receiver: FrameReceiver, track: str, frame_id: int) -> None:
    frame = FrameInMemory(frame_id, 0, 8, 8, track, frame_id, 0.0, 0.0, 0, 0.0)
    receiver.take(frame, running=True)


def test_a_track_stands_still_also_while_frames_of_another_come(
    receiver: FrameReceiver, shown: list[EmittedFrame]
) -> None:
    comes(receiver, "left", 1)
    comes(receiver, "right", 1)
    while shown:
        shown.pop().release()
    since_s = wants(receiver, "left")
    for frame_id in range(2, 20):
        wants(receiver, "right")
        comes(receiver, "right", frame_id)
        assert receiver.overdue_since == since_s
    comes(receiver, "left", 2)
    assert receiver.overdue_since is None
    wants(receiver, "left", watched=False)
    assert receiver.overdue_since is None


def test_a_track_that_a_model_does_not_use_is_not_waited_for(
    receiver: FrameReceiver, shown: list[EmittedFrame]
) -> None:
    first_s = wants(receiver, "left")
    wants(receiver, "right")
    assert receiver.overdue_since == first_s
    comes(receiver, "left", 1)
    shown.pop().release()
    assert receiver.overdue_since is None
