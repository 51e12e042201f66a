"""Who is on which rendition, in virtual time: lines of a rate, and what congestion control makes of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from reactor_runtime.session.renditions import (
    FLOOR,
    SLOW_S,
    TRY_MAX_S,
    Rendition,
    Standing,
    choose,
)

CEILING = 2_000_000
STEP_S = 0.05
#: No engine says that a line takes less.
LEAST = 150_000


@dataclass
class Line:
    """A viewer's line. The estimate grows by 8 % a second to 1.5 times what is sent, and falls below what is taken."""

    takes: float
    standing: Standing = field(default_factory=Standing)
    estimate: float = 1_000_000
    changes: list[tuple[float, Rendition]] = field(default_factory=list)
    low_s: float = 0.0
    keyframes_only_s: float = 0.0
    too_slow_s: float | None = None

    def hears(self, sent: float, now_s: float) -> None:
        if sent > self.takes:
            self.estimate = max(LEAST, min(self.estimate, 0.85 * self.takes))
        elif self.estimate < 1.5 * sent:
            self.estimate = min(1.5 * sent, 0.95 * self.takes, self.estimate * (1 + 0.08 * STEP_S))
        self.standing.limit = int(self.estimate)
        if not self.changes or self.changes[-1][1] != self.standing.rendition:
            self.changes.append((round(now_s, 2), self.standing.rendition))
        self.low_s += STEP_S * (self.standing.rendition == "low")
        self.keyframes_only_s += STEP_S * self.standing.keyframes_only
        if self.standing.too_slow and self.too_slow_s is None:
            self.too_slow_s = now_s


@dataclass
class Session:
    lines: list[Line]
    needs: float = 1.0
    """The share of an encoder's rate that the scene needs: little where it is still."""
    now_s: float = 0.0
    rates: dict[Rendition, int] = field(default_factory=dict)
    full_rates: list[int] = field(default_factory=list)

    def run(self, seconds: float, before: Callable[[float], None] = lambda now_s: None) -> Session:
        until_s = self.now_s + seconds
        while self.now_s < until_s:
            before(self.now_s)
            used = {line.standing.rendition for line in self.lines}
            sent = {
                rendition: rate * self.needs for rendition, rate in self.rates.items() if rendition in used
            }
            self.rates = choose(
                [line.standing for line in self.lines], ceiling=CEILING, sent=sent, now_s=self.now_s
            )
            self.full_rates.append(self.rates["full"])
            for line in self.lines:
                rate = self.needs * self.rates[line.standing.rendition]
                line.hears(20_000 if line.standing.keyframes_only else rate, self.now_s)
            self.now_s += STEP_S
        return self


def on(line: Line) -> Rendition:
    return line.standing.rendition


def good() -> Line:
    return Line(takes=50e6, estimate=20e6)


def test_one_viewer_at_a_megabit_does_not_hold_down_one_without_a_limit() -> None:
    session = Session([good(), Line(takes=1e6)]).run(60)
    assert session.lines[0].changes == [(0.0, "full")]
    assert sum(session.full_rates) / len(session.full_rates) >= 0.95 * CEILING
    assert session.lines[1].low_s >= 50
    assert 600_000 <= session.rates["low"] <= 1_000_000


def test_viewers_of_like_lines_share_the_full_rendition_whatever_they_take() -> None:
    for takes in (50e6, 1e6, 0.5e6):
        session = Session([Line(takes), Line(0.9 * takes)]).run(60)
        assert [line.standing.rendition for line in session.lines] == ["full", "full"]
        assert session.rates["full"] <= takes


def test_a_viewer_alone_is_sent_the_full_rendition_down_to_its_floor() -> None:
    assert Session([Line(takes=400_000)]).run(30).lines[0].low_s == 0
    assert Session([Line(takes=200_000)]).run(30).lines[0].low_s >= 25


def test_a_viewer_who_leaves_the_full_rendition_alone_is_not_sent_more_of_it_until_he_has() -> None:
    """Its pictures go on to him until the low one's keyframe."""
    poor = Line(takes=200_000, estimate=400_000)
    session = Session([poor]).run(20)
    assert poor.low_s > 10
    assert max(session.full_rates[1:]) <= 400_000  # of the first moment nothing is known


def test_a_viewer_moves_up_again_after_its_line_is_good_and_not_before() -> None:
    line = Line(takes=1e6)
    session = Session([good(), line]).run(20)
    assert on(line) == "low"
    line.takes, before = 50e6, len(line.changes)
    session.run(30)
    assert on(line) == "full"
    assert len(line.changes) == before + 1
    assert line.changes[-1][0] - 20 <= 20


def test_a_line_that_comes_and_goes_does_not_change_the_rendition_each_time() -> None:
    line = Line(takes=1e6)
    session = Session([good(), line]).run(10)

    def waver(now_s: float) -> None:
        line.takes = 5e6 if now_s % 4 < 2 else 1e6

    before = len(line.changes)
    session.run(120, waver)
    assert len(line.changes) - before <= 14, line.changes
    assert min(session.full_rates[20:]) >= 0.95 * CEILING


def test_who_joins_an_old_session_is_on_the_full_rendition_within_seconds() -> None:
    session = Session([good(), good()]).run(20)
    late = Line(takes=50e6)
    session.lines.append(late)
    session.run(1)
    late.estimate = 3e6  # what congestion control makes of its first probes
    session.run(2)
    assert late.standing.rendition == "full"
    assert min(session.full_rates) == CEILING


def test_a_poorer_viewer_on_the_low_rendition_does_not_keep_a_better_one_there() -> None:
    better, poor = Line(takes=1e6), Line(takes=0.3e6)
    session = Session([good(), better, poor]).run(20)
    assert {on(better), on(poor)} == {"low"}
    better.takes = 50e6
    session.run(90)
    assert on(better) == "full"
    assert on(poor) == "low"


def test_trials_that_fail_become_rare() -> None:
    better, poor = Line(takes=1e6), Line(takes=0.3e6)
    session = Session([good(), better, poor]).run(600)
    tried = [at_s for at_s, rendition in better.changes[1:] if rendition == "full"]
    assert 3 <= len(tried) <= 5 + 600 / TRY_MAX_S
    assert better.low_s >= 540
    assert min(session.full_rates[20:]) >= 0.95 * CEILING


def test_a_still_scene_brings_nobody_down_whose_line_has_room_for_it() -> None:
    line = Line(takes=50e6, estimate=200_000)
    session = Session([good(), line], needs=0.02).run(60)
    assert line.low_s <= 1
    session.needs = 1.0
    session.run(60)
    assert on(line) == "full"


def test_a_line_below_the_floor_gets_keyframes_in_phases_and_is_then_given_up() -> None:
    line = Line(takes=60_000)
    session = Session([good(), line]).run(60)
    assert line.keyframes_only_s >= 10
    assert line.too_slow_s is not None
    assert SLOW_S <= line.too_slow_s <= SLOW_S + 10
    assert session.rates["full"] == CEILING


def test_a_line_that_was_below_the_floor_for_a_while_is_not_given_up() -> None:
    line = Line(takes=60_000)
    session = Session([good(), line]).run(20)
    assert line.keyframes_only_s > 0
    line.takes = 50e6
    session.run(60)
    assert not line.standing.too_slow
    assert on(line) == "full"


def test_an_estimate_that_grows_from_little_brings_nobody_down() -> None:
    """A receiver that says what it takes, and knows after a still scene no more of it than that it took little."""
    line = Line(takes=50e6, estimate=LEAST)
    session = Session([good(), line], needs=0.02).run(10)
    session.needs = 1.0
    session.run(1.5, lambda now_s: setattr(line, "estimate", line.estimate * 1.09))
    assert line.low_s <= 0.5


def test_a_still_scene_on_a_line_of_which_little_is_known_starves_nobody() -> None:
    line = Line(takes=50e6, estimate=LEAST)
    session = Session([good(), line], needs=1.0).run(1)
    session.needs = 0.02
    session.run(120)
    assert not line.standing.too_slow
    assert line.keyframes_only_s <= 6


def test_no_rate_is_below_the_floor_or_beyond_the_ceiling() -> None:
    for takes in (1e3, 1e5, 1e6, 1e9):
        session = Session([Line(takes), Line(takes * 3), Line(2e5)]).run(10)
        assert FLOOR["full"] <= session.rates["full"] <= CEILING
        assert FLOOR["low"] <= session.rates["low"] <= CEILING // 2
