"""The rate of a line by reports alone, in virtual time: a line of a rate behind a buffer, one report a second."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from reactor_runtime.webrtc.reported_rate import FAIR, LEAST, LEAST_LATE, MOST, START, ReportedRate

BUFFER_BITS = 8 * 128 * 1024
TRIP_S = 0.05


@dataclass
class Line:
    takes: float
    wanted: float = 2_000_000
    """What an encoder makes of it if it may."""
    loss: float = 0.0
    rate: ReportedRate = field(default_factory=ReportedRate)
    queued: float = 0.0
    ages_s: list[float] = field(default_factory=list)
    lost: list[float] = field(default_factory=list)
    now_s: float = 0.0

    def run(self, seconds: int) -> Line:
        for _ in range(seconds):
            sent = min(self.wanted, self.rate.bits_per_s)
            self.queued += sent * (1 - self.loss) - self.takes
            dropped = max(0.0, self.queued - BUFFER_BITS)
            self.queued = max(0.0, self.queued - dropped)
            self.ages_s.append(TRIP_S + self.queued / self.takes)
            self.lost.append(self.loss + dropped / sent)
            self.now_s += 1
            self.rate.reported(
                lost=self.lost[-1], round_trip_s=self.ages_s[-1], sent_bits_per_s=sent, now_s=self.now_s
            )
        return self


@pytest.mark.parametrize(("takes", "after_s"), [(0.25e6, 40), (0.5e6, 20), (1e6, 12), (1.5e6, 12)])
def test_a_slow_line_is_sent_what_it_takes_after_seconds_and_its_buffer_is_emptied(
    takes: float, after_s: int
) -> None:
    line = Line(takes).run(60)
    assert max(line.ages_s[after_s:]) <= 0.5
    assert max(line.lost[12:]) == 0
    assert 0.5 * takes <= line.rate.bits_per_s <= 1.2 * takes


def test_half_a_megabit_is_hardly_late_from_the_first_picture_on() -> None:
    assert max(Line(0.5e6).run(60).ages_s) <= 0.5


def test_a_good_line_has_all_of_it_within_four_seconds() -> None:
    assert Line(50e6).run(4).rate.bits_per_s >= 2_000_000


def test_a_line_that_loses_some_by_itself_is_not_slowed_down() -> None:
    assert Line(50e6, loss=0.05).run(30).rate.bits_per_s == FAIR
    assert Line(50e6, loss=0.01).run(30).rate.bits_per_s >= 2_000_000


def test_a_line_that_becomes_good_is_used_again() -> None:
    line = Line(0.5e6).run(20)
    line.takes = 50e6
    assert line.run(30).rate.bits_per_s >= 2_000_000


def test_a_still_scene_says_nothing_of_the_line() -> None:
    line = Line(50e6, wanted=50_000).run(100)
    assert line.rate.bits_per_s == START


def test_the_rate_keeps_its_bounds() -> None:
    rate = ReportedRate()
    told = rate.bits_per_s
    for second in range(50):
        told = rate.reported(lost=1.0, round_trip_s=0.1, sent_bits_per_s=1e6, now_s=2 * second)
    assert told == LEAST
    for second in range(50, 500):
        told = rate.reported(lost=0.0, round_trip_s=0.1, sent_bits_per_s=1e9, now_s=2 * second)
    assert told == MOST


def test_a_line_that_is_long_and_good_is_not_starved() -> None:
    rate = ReportedRate()
    for second in range(100):
        rate.reported(lost=0.0, round_trip_s=0.6, sent_bits_per_s=rate.bits_per_s, now_s=second)
    assert rate.bits_per_s >= LEAST_LATE
