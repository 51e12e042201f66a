"""Pacing, in virtual time: a model, its emit gate and the pacer, with nothing between them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import mean, median

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reactor_runtime import limits
from reactor_runtime.pacing import Cadence, EmitGate, Pacer, recurring_peak
from reactor_runtime.types import Demand


@dataclass
class Run:
    """What one simulated session showed: (frame id, emitted, shown) and what was skipped."""

    shown: list[tuple[int, float, float]] = field(default_factory=list)
    emitted: int = 0
    skipped: int = 0

    def delays(self, *, after_s: float = 0.0, before_s: float = float("inf")) -> list[float]:
        return [shown - emitted for _, emitted, shown in self.shown if after_s <= shown < before_s]

    def intervals(self, *, after_s: float = 0.0) -> list[float]:
        return [b[2] - a[2] for a, b in pairwise(self.shown) if a[2] >= after_s]


def simulate(
    busy: Iterator[float],
    *,
    until_s: float,
    fps: float | None = None,
    playout_stalls: Callable[[float], bool] = lambda now_s: False,
    step_s: float = 0.0005,
) -> Run:
    """Run a model whose code takes the next of `busy` before each emit, on a clock of half milliseconds."""
    run = Run()
    gate, pacer = EmitGate(), Pacer[tuple[int, float]](fps=fps)
    gate.resumed(0.0)
    emits_at, frame_id, waiting = next(busy), 0, False
    now = 0.0
    while now < until_s:
        if not playout_stalls(now):
            popped = pacer.pop(now)
            if popped is not None:
                (shown_id, emitted_s), overtaken = popped
                run.shown.append((shown_id, emitted_s, now))
                run.skipped += len(overtaken)
                gate.demand(pacer.demand(watched=True))
        if not waiting and now >= emits_at:
            frame_id += 1
            pacer.push((frame_id, now), frame_id=frame_id, busy_s=gate.called(now), now_s=now)
            gate.demand(pacer.demand(watched=True))
            waiting = True
            continue
        opens = gate.opens_at(frame_id + 1, len(pacer)) if waiting else None
        if opens is not None and opens <= now:
            gate.resumed(now)
            emits_at, waiting = now + next(busy), False
            continue
        # Nothing happens before the next of these moments.
        moments = [
            moment for moment in (pacer.due_s(), opens, None if waiting else emits_at) if moment is not None
        ]
        ahead = min(moments, default=now) - now
        now += step_s * max(1, int(ahead / step_s))
    run.emitted = frame_id
    return run


def constant(seconds: float) -> Iterator[float]:
    while True:
        yield seconds


def blocks(frames: int, seconds: float) -> Iterator[float]:
    while True:
        yield seconds
        for _ in range(frames - 1):
            yield 0.0002


def test_a_model_that_emits_as_fast_as_it_may_leaves_no_standing_queue() -> None:
    run = simulate(constant(0.001), fps=30, until_s=10)
    assert median(run.delays(after_s=1)) <= 0.004
    assert max(run.delays(after_s=1)) <= 1 / 30
    assert mean(run.intervals(after_s=1)) == pytest.approx(1 / 30, rel=0.005)


def test_a_model_with_its_own_clock_is_shown_at_once() -> None:
    rng = random.Random(1)

    def jittery() -> Iterator[float]:
        while True:
            yield 1 / 30 + rng.uniform(-0.004, 0.004)

    run = simulate(jittery(), fps=30, until_s=20)
    assert median(run.delays(after_s=1)) <= 0.001
    assert max(run.delays(after_s=1)) <= 0.010
    assert run.skipped == 0


@pytest.mark.parametrize("fps", [None, 30.0])
@pytest.mark.parametrize(("frames", "seconds"), [(12, 0.48), (33, 2.0), (4, 0.2)])
def test_a_block_is_spread_over_the_time_the_model_needs_for_a_block(
    fps: float | None, frames: int, seconds: float
) -> None:
    run = simulate(blocks(frames, seconds), fps=fps, until_s=seconds * 12)
    settled = run.intervals(after_s=seconds * 4)
    assert median(settled) == pytest.approx(seconds / frames, rel=0.05)
    assert min(settled) >= 0.8 * seconds / frames
    assert max(settled) <= 2 * seconds / frames
    assert run.skipped == 0


def test_a_block_model_is_never_held_while_it_could_work() -> None:
    run = simulate(blocks(12, 0.48), fps=30, until_s=10)
    assert run.emitted >= 0.95 * 10 / 0.48 * 12


def test_a_block_model_faster_than_its_playout_rate_is_held_to_it() -> None:
    run = simulate(blocks(12, 0.30), fps=16, until_s=15)
    assert mean(run.intervals(after_s=3)) == pytest.approx(1 / 16, rel=0.02)
    newest = run.delays(after_s=3)
    # Frame k of a block waits k intervals by nature; nothing waits for a second block on top.
    assert max(newest) <= 12 / 16 + 0.05


@pytest.mark.parametrize("fps", [None, 30.0])
def test_the_delay_is_back_at_its_minimum_within_a_second_after_the_model_stalled(fps: float | None) -> None:
    def stalling() -> Iterator[float]:
        for index in range(10_000):
            yield 0.5 if index == 150 else 0.001

    run = simulate(stalling(), fps=fps, until_s=12)
    stalled_at = next(b[2] for a, b in pairwise(run.shown) if b[2] - a[2] > 0.4)
    assert median(run.delays(after_s=stalled_at + 1, before_s=stalled_at + 2)) <= 0.005
    assert max(run.delays(after_s=stalled_at + 1)) <= 1 / 30


def test_the_delay_is_back_at_its_minimum_within_a_second_after_the_playout_stalled() -> None:
    run = simulate(constant(0.001), fps=30, until_s=10, playout_stalls=lambda now_s: 4 <= now_s < 5)
    assert max(run.delays(after_s=6)) <= 1 / 30
    assert median(run.delays(after_s=6)) <= 0.005


def test_a_burst_is_not_shown_in_rapid_fire_and_the_frame_after_a_gap_comes_at_once() -> None:
    run = simulate(blocks(33, 2.0), fps=30, until_s=20)
    assert min(run.intervals()) >= 0.8 / 30
    firsts = [shown - emitted for frame_id, emitted, shown in run.shown if frame_id % 33 == 1]
    # The first block is played at the assumed rate, so a gap follows it; later ones fill their time.
    assert firsts[1] <= 0.001
    assert max(firsts) <= 2.0 / 33


def test_ten_thousand_frames_at_once_are_held_back_at_the_emitting_line() -> None:
    run = simulate(constant(0.0), fps=30, until_s=5)
    assert run.emitted <= 5 * 30 + 5


@settings(max_examples=10, deadline=None)
@given(ppm=st.integers(-200, 200))
def test_a_day_of_clock_drift_neither_queues_nor_skips(ppm: int) -> None:
    """24 h at 29.97 fps are 2.6 million frames; drift per frame is constant, so five thousand show it."""
    pacer = Pacer[int](fps=29.97)
    interval = 1 / 29.97 * (1 + ppm * 1e-6)
    late = 0.0
    for frame_id in range(1, 5_000):
        now = frame_id * interval
        pacer.push(frame_id, frame_id=frame_id, busy_s=interval, now_s=now)
        due = pacer.due_s()
        assert due is not None
        late = max(late, due - now)
        assert pacer.pop(max(now, due)) == (frame_id, [])
    assert late < 0.001


def test_the_newest_frame_wins_when_the_playout_fell_behind() -> None:
    pacer = Pacer[str](fps=30)
    pacer.push("first", frame_id=1, busy_s=0.03, now_s=0.0)
    assert pacer.pop(0.0) == ("first", [])
    for frame_id in range(2, 6):
        pacer.push(f"frame {frame_id}", frame_id=frame_id, busy_s=0.03, now_s=0.03 * frame_id)
    assert pacer.pop(1.0) == ("frame 5", ["frame 2", "frame 3", "frame 4"])
    assert pacer.skipped == 3


def test_nothing_is_due_from_an_empty_pacer() -> None:
    pacer = Pacer[str]()
    assert pacer.due_s() is None
    assert pacer.pop(1e9) is None


def test_without_a_rate_the_pace_is_the_models_own_up_to_the_ceiling() -> None:
    slow = simulate(constant(0.1), until_s=5)
    assert mean(slow.intervals(after_s=1)) == pytest.approx(0.1, rel=0.02)
    fast = simulate(constant(0.001), until_s=5)
    assert mean(fast.intervals(after_s=1)) == pytest.approx(1 / limits.FPS_MAX, rel=0.03)


def test_unwatched_a_model_is_held_after_its_first_frames() -> None:
    gate = EmitGate()
    assert gate.opens_at(2, 1) == 0.0
    assert gate.opens_at(3, limits.FRAMES_AHEAD_UNWATCHED) is None
    gate.demand(Demand(frame_id=3, due_s=1.0, interval_s=0.03, watched=True))
    opens = gate.opens_at(3, limits.FRAMES_AHEAD_UNWATCHED)
    assert opens is not None
    assert opens <= 1.0


def test_clear_returns_what_was_queued() -> None:
    pacer = Pacer[int]()
    for frame_id in (1, 2, 3):
        pacer.push(frame_id, frame_id=frame_id, busy_s=0.0, now_s=0.0)
    assert pacer.clear() == [1, 2, 3]
    assert len(pacer) == 0


def test_one_stall_is_not_a_rhythm_and_two_are() -> None:
    assert recurring_peak([]) == 0.0
    assert recurring_peak([0.4]) == 0.4
    assert recurring_peak([0.001] * 80 + [0.5]) == 0.001
    assert recurring_peak([0.001] * 80 + [0.5, 0.5]) == 0.5


@given(st.lists(st.floats(0, 5), min_size=1, max_size=300))
def test_the_interval_is_never_negative_and_never_above_the_longest_gap(gaps: list[float]) -> None:
    cadence = Cadence()
    for gap in gaps:
        cadence.add(gap)
    if cadence.interval_s is not None:
        assert 0 <= cadence.interval_s <= max(gaps) + 1e-9
