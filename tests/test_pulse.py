"""When silence is a hang."""

from __future__ import annotations

import asyncio
import time

import pytest

from reactor_runtime.running.pulse import (
    COMMAND_LANE,
    MODEL_LANE,
    PULSE_BYTES,
    Pulse,
    PulseLimits,
    PulseState,
    read,
    words_of,
)
from reactor_runtime.worker.watchdog import Watchdog

LIMITS = PulseLimits(load_s=100, first_frame_s=30, hang_s=5)


def word(seconds: float, state: PulseState) -> int:
    return int(seconds * 1e9) << 3 | state


@pytest.mark.parametrize(
    ("state", "expected_s"),
    [
        (PulseState.IDLE, None),
        (PulseState.WAITING, None),
        (PulseState.GATED, None),
        (PulseState.LOADING, 100.0),
        (PulseState.WARMING, 30.0),
        (PulseState.BUSY, 5.0),
    ],
)
def test_each_state_has_its_own_patience(state: PulseState, expected_s: float | None) -> None:
    assert read(word(10, state)) == (state, 10.0)
    assert LIMITS.of(state) == expected_s


def test_memory_that_nobody_wrote_is_idle() -> None:
    assert read(words_of(bytearray(PULSE_BYTES))[COMMAND_LANE]) == (PulseState.IDLE, 0.0)


def test_a_lane_waits_while_any_of_its_threads_waits() -> None:
    words = words_of(bytearray(PULSE_BYTES))
    pulse = Pulse(words, MODEL_LANE)
    pulse.enter(PulseState.BUSY)
    with pulse.waiting():
        with pulse.waiting():
            pass
        pulse.beat()
        assert words[MODEL_LANE] & 7 == PulseState.WAITING
    assert words[MODEL_LANE] & 7 == PulseState.BUSY
    assert words[COMMAND_LANE] == 0


def test_a_sign_of_life_moves_the_deadline() -> None:
    words = words_of(bytearray(PULSE_BYTES))
    pulse = Pulse(words, MODEL_LANE)
    pulse.enter(PulseState.BUSY)
    before = words[MODEL_LANE]
    time.sleep(0.001)
    pulse.beat()
    assert words[MODEL_LANE] > before
    assert words[MODEL_LANE] >> 3 <= time.monotonic_ns()


@pytest.mark.slow
async def test_the_watchdog_calls_once_at_the_limit_and_not_while_there_is_life() -> None:
    words = words_of(bytearray(PULSE_BYTES))
    pulse = Pulse(words, MODEL_LANE)
    hangs: list[tuple[PulseState, float, float]] = []
    hung = asyncio.Event()

    def on_hang(state: PulseState, silent_s: float) -> None:
        hangs.append((state, silent_s, time.monotonic()))
        hung.set()

    limits = PulseLimits(load_s=9, first_frame_s=9, hang_s=0.3)
    watchdog = Watchdog(words, limits, on_hang)
    pulse.enter(PulseState.BUSY)
    for _ in range(10):
        await asyncio.sleep(0.05)
        pulse.beat()
    assert hangs == []
    with pulse.waiting():
        await asyncio.sleep(0.5)
    assert hangs == []
    silent_from_s = time.monotonic()
    await asyncio.wait_for(hung.wait(), 5)
    ((state, silent_s, at_s),) = hangs
    assert state is PulseState.BUSY
    assert silent_s >= 0.3
    assert at_s - silent_from_s <= 0.3 + 0.1 + 0.15
    await asyncio.sleep(0.4)
    assert len(hangs) == 1
    watchdog.close()
    watchdog.close()
