"""The command rate of one viewer, on a virtual clock."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reactor_runtime import limits
from reactor_runtime.session.rate import TokenBucket


def test_a_burst_is_allowed_at_once_and_the_next_one_refused() -> None:
    bucket = TokenBucket(50, 100)
    assert [bucket.take(5.0) for _ in range(101)] == [True] * 100 + [False]
    assert bucket.refused == 1


def test_tokens_come_back_at_the_rate_and_never_beyond_the_burst() -> None:
    bucket = TokenBucket(2, 3)
    assert [bucket.take(0.0) for _ in range(4)] == [True, True, True, False]
    assert [bucket.take(0.5), bucket.take(0.5)] == [True, False]
    assert [bucket.take(100.0) for _ in range(4)] == [True, True, True, False]


def test_a_clock_that_steps_back_earns_nothing() -> None:
    bucket = TokenBucket(1, 1)
    assert bucket.take(10.0)
    assert not bucket.take(0.0)
    assert not bucket.take(0.5)
    assert bucket.take(1.5)


@given(st.lists(st.floats(0, 5), min_size=1, max_size=300), st.floats(0.1, 100), st.integers(1, 50))
def test_no_pattern_of_commands_gets_more_than_burst_plus_rate(
    pauses_s: list[float], rate_per_s: float, burst: int
) -> None:
    bucket = TokenBucket(rate_per_s, burst)
    now_s, allowed = 0.0, 0
    for pause_s in pauses_s:
        now_s += pause_s
        allowed += bucket.take(now_s)
    assert allowed <= burst + rate_per_s * now_s + 1e-6
    assert allowed + bucket.refused == len(pauses_s)


def test_a_steady_sender_below_the_rate_is_never_refused() -> None:
    bucket = TokenBucket(limits.COMMAND_RATE_PER_S, limits.COMMAND_BURST)
    interval_s = 1 / (limits.COMMAND_RATE_PER_S * 0.99)
    assert all(bucket.take(i * interval_s) for i in range(5_000))


def test_a_flood_gets_the_rate_in_the_long_run() -> None:
    bucket = TokenBucket(limits.COMMAND_RATE_PER_S, limits.COMMAND_BURST)
    allowed = sum(bucket.take(i / 10_000) for i in range(300_000))
    assert allowed == pytest.approx(limits.COMMAND_BURST + limits.COMMAND_RATE_PER_S * 30, abs=1)
