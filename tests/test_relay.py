"""What one viewer over TCP is sent, in virtual time: a pipe of a rate and a delay behind a large buffer."""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from reactor_runtime.websocket import relay as policy
from reactor_runtime.websocket.relay import Relay

FPS = 30
#: What the fan-out never goes below.
FLOOR = 250_000


@dataclass
class Line:
    """A stream of `ceiling` bits a second through a pipe that takes any amount and passes `bits_per_s` on."""

    bits_per_s: float
    round_trip_s: float = 0.02
    ceiling: float = 2_500_000
    keyframe: float = 3.0
    """How many times the size of a delta."""
    acks: bool = True
    becomes: tuple[float, float] = (math.inf, 0.0)
    """Another rate from this time on."""
    relay: Relay = field(default_factory=lambda: Relay(1, 0.0))
    ages: list[tuple[float, float]] = field(default_factory=list)
    """When each picture was decoded, and how old it was then."""
    keyframes_s: list[float] = field(default_factory=list)
    closed_s: float | None = None

    def run(self, seconds: float) -> Line:
        random_ = random.Random(7)
        due: list[tuple[float, int, Callable[[float], None]]] = []
        count = itertools.count()
        free_s, rate = 0.0, self.ceiling
        wanted, asked_s = True, -1.0
        relay = self.relay

        def at(when_s: float, act: Callable[[float], None]) -> None:
            heapq.heappush(due, (when_s, next(count), act))

        def judge(now_s: float) -> None:
            nonlocal wanted
            wanted = bool(relay.wants_keyframe(now_s)) or wanted
            if self.closed_s is None and relay.too_slow(now_s):
                self.closed_s = now_s

        def send(now_s: float, frame_id: int, size: int) -> None:
            nonlocal free_s
            bits_per_s = self.bits_per_s if now_s < self.becomes[0] else self.becomes[1]
            free_s = max(now_s, free_s) + 8 * size / bits_per_s
            decoded_s = free_s + self.round_trip_s / 2 + 0.004
            at(decoded_s, lambda when_s: self.ages.append((when_s, when_s - now_s)))
            if self.acks:

                def acked(when_s: float) -> None:
                    relay.acked(0, frame_id, queue=0, now_s=when_s)
                    judge(when_s)

                at(decoded_s + self.round_trip_s / 2, acked)

        def show(frame_id: int) -> Callable[[float], None]:
            def shown(now_s: float) -> None:
                nonlocal rate, wanted, asked_s
                rate += 0.3 * (max(FLOOR, min(self.ceiling, relay.rate or self.ceiling)) - rate)
                keyframe = wanted and now_s - asked_s >= 0.5
                size = int(rate / FPS / 8 * (self.keyframe if keyframe else random_.uniform(0.8, 1.2)))
                if keyframe:
                    wanted, asked_s = False, now_s
                    self.keyframes_s.append(now_s)
                if relay.admit(0, frame_id, keyframe=keyframe, size_bytes=size, now_s=now_s):
                    send(now_s, frame_id, size)
                judge(now_s)

            return shown

        for frame_id in range(int(seconds * FPS)):
            at(frame_id / FPS, show(frame_id))
        while due and self.closed_s is None and due[0][0] <= seconds:
            when_s, _, act = heapq.heappop(due)
            act(when_s)
        return self

    def after(self, begin_s: float) -> list[float]:
        """Return the ages in ms of what was decoded after this time, least first."""
        return sorted(1000 * age_s for when_s, age_s in self.ages if when_s >= begin_s)


@pytest.mark.parametrize(
    ("bits_per_s", "round_trip_s", "fps", "p95_ms"),
    [
        # a line that takes it all is left alone
        (20e6, 0.002, 29.9, 12),
        (20e6, 0.3, 29.9, 165),
        (3e6, 0.05, 29.9, 65),
        # 1 Mbit/s behind a buffer: the row of the promises is p95 <= 250 ms at >= 20 fps
        (1e6, 0.002, 28, 120),
        (1e6, 0.05, 28, 140),
        (1e6, 0.3, 26, 320),
        (0.5e6, 0.05, 27, 140),
        # below the least rate of the encoder pictures are left out, and those that come are not old
        (0.2e6, 0.05, 12, 450),
    ],
)
def test_a_line_shows_what_it_takes_and_nothing_old(
    bits_per_s: float, round_trip_s: float, fps: float, p95_ms: float
) -> None:
    line = Line(bits_per_s, round_trip_s).run(30)
    ages = line.after(8)
    assert len(ages) / 22 >= fps
    assert ages[int(0.95 * len(ages))] <= p95_ms
    assert line.closed_s is None


def test_a_line_that_takes_everything_drops_nothing_and_knows_no_rate() -> None:
    line = Line(20e6).run(30)
    assert (line.relay.dropped, line.relay.rate) == (0, None)
    assert len(line.keyframes_s) == 1


def test_a_line_that_becomes_slow_and_recovers_gets_its_rate_back() -> None:
    line = Line(1e6).run(10)
    slow = line.relay.rate
    assert slow is not None
    assert 0.5e6 < slow < 1.1e6
    recovered = Line(1e6, becomes=(10.0, 20e6)).run(30).relay.rate
    assert recovered is not None
    assert recovered > 2.5e6


def test_a_viewer_that_only_began_slowly_has_the_whole_rate_within_fifteen_seconds() -> None:
    line = Line(20e6)
    line.relay.rate = 150_000
    line.run(15)
    assert line.relay.rate >= line.ceiling


def test_keyframes_are_asked_for_twice_a_second_at_most() -> None:
    line = Line(0.1e6).run(30)
    pauses = [later - earlier for earlier, later in itertools.pairwise(line.keyframes_s)]
    assert min(pauses) >= policy.KEYFRAME_PAUSE_S - 1e-6


def test_a_viewer_who_cannot_take_keyframes_gets_them_rarer_and_is_then_too_slow() -> None:
    line = Line(10_000, ceiling=250_000).run(120)
    pauses = [later - earlier for earlier, later in itertools.pairwise(line.keyframes_s)]
    assert min(pauses) > 2 * policy.KEYFRAME_PAUSE_S
    assert line.closed_s is not None
    assert line.closed_s > policy.SLOW_S


def test_a_viewer_who_never_acks_gets_little_and_is_closed() -> None:
    line = Line(100e6, acks=False).run(30)
    assert line.closed_s == pytest.approx(policy.SILENT_S, abs=0.1)
    assert len(line.ages) <= 12


def test_acks_for_pictures_never_sent_change_nothing() -> None:
    relay = Relay(2, 0.0)
    assert relay.admit(0, 5, keyframe=True, size_bytes=1000, now_s=0.0)
    for track, frame_id in ((0, 4), (0, 6), (1, 5), (200, 5)):
        relay.acked(track, frame_id, queue=0, now_s=0.1)
    assert relay.unknown_acks == 4
    relay.acked(0, 5, queue=3, now_s=0.1)
    relay.acked(0, 5, queue=0, now_s=0.1)
    assert (relay.unknown_acks, relay.decode_queue) == (5, 3)
    assert relay.base_s == pytest.approx(0.1)


def test_a_dropped_picture_breaks_its_track_until_a_keyframe_and_no_other_track() -> None:
    relay = Relay(2, 0.0)
    assert relay.wants_keyframe(0.0) == [0, 1]
    assert relay.wants_keyframe(0.0) == []  # each is asked for once
    assert not relay.admit(0, 1, keyframe=False, size_bytes=10, now_s=0.0)
    assert relay.admit(0, 2, keyframe=True, size_bytes=10, now_s=0.0)
    assert relay.admit(1, 2, keyframe=True, size_bytes=10, now_s=0.0)
    assert relay.admit(0, 3, keyframe=False, size_bytes=10, now_s=0.03)
    relay.broke(0)
    assert not relay.admit(0, 4, keyframe=False, size_bytes=10, now_s=0.06)
    assert relay.admit(1, 4, keyframe=False, size_bytes=10, now_s=0.06)
    assert relay.wants_keyframe(0.06) == []
    assert relay.keyframe_due_s() == pytest.approx(policy.KEYFRAME_PAUSE_S)


def test_what_is_on_the_way_is_bounded_in_pictures_and_in_bytes() -> None:
    relay = Relay(1, 0.0)
    sent = [relay.admit(0, n, keyframe=n == 0, size_bytes=1, now_s=0.0) for n in range(200)]
    assert sum(sent) == policy.FLIGHT_PICTURES
    relay = Relay(1, 0.0)
    sent = [relay.admit(0, n, keyframe=n == 0, size_bytes=1 << 20, now_s=0.0) for n in range(20)]
    assert sum(sent) == 4
