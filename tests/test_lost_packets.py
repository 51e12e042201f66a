"""What a line that loses packets is sent at most, by reports of one a second in virtual time."""

from __future__ import annotations

import asyncio
import math
import random
from types import SimpleNamespace
from typing import Any

import pytest
from support.virtual_time import VirtualTimeLoop

from reactor_runtime.webrtc.lost_packets import LEAST, PACKET_BITS, LostPackets
from reactor_runtime.webrtc.reactor_rates import Rates


def after(seconds: int, *, loss: float, round_trip_s: float, bits_per_s: float = 2e6, seed: int = 1) -> float:
    """What is sent at most in the end; each report counts that second's packets, of which some are lost."""
    numbers, line = random.Random(seed), LostPackets(0.0)
    for second in range(1, seconds + 1):
        packets = int(min(bits_per_s, line.most) / PACKET_BITS)
        lost = sum(numbers.random() < loss for _ in range(packets)) / packets
        line.reported(lost=lost, round_trip_s=round_trip_s, now_s=float(second))
    return line.most


def waiting(bits_per_s: float, *, loss: float, round_trip_s: float) -> float:
    """Return the share of the time in which a packet is awaited that was lost."""
    return 1 - math.exp(-loss * bits_per_s / PACKET_BITS * round_trip_s)


@pytest.mark.parametrize("seed", range(5))
def test_on_a_long_line_that_loses_three_percent_the_median_picture_waits_for_nothing(seed: int) -> None:
    most = after(30, loss=0.03, round_trip_s=0.1, seed=seed)
    assert waiting(2e6, loss=0.03, round_trip_s=0.1) > 0.45
    assert waiting(most, loss=0.03, round_trip_s=0.1) < 0.4


@pytest.mark.parametrize(("loss", "round_trip_s"), [(0.0, 0.3), (0.03, 0.02), (0.01, 0.05), (0.001, 0.3)])
def test_a_line_that_is_clean_or_short_is_not_held_back(loss: float, round_trip_s: float) -> None:
    assert after(30, loss=loss, round_trip_s=round_trip_s) > 2e6


def test_what_loses_most_keeps_a_picture() -> None:
    assert after(30, loss=0.3, round_trip_s=0.3) == LEAST


def test_it_is_over_when_nothing_is_lost_any_more() -> None:
    line = LostPackets(0.0)
    for second in range(1, 20):
        line.reported(lost=0.05, round_trip_s=0.1, now_s=float(second))
    assert line.most == LEAST
    for second in range(20, 35):
        line.reported(lost=0.0, round_trip_s=0.1, now_s=float(second))
    assert line.most > 4e6


def test_a_peers_rate_is_bounded_while_its_receiver_reports_losses_and_no_longer() -> None:
    told: list[tuple[str, int]] = []
    stream = SimpleNamespace(packets_sent=100, fraction_lost=0.03, round_trip_time_s=0.1)

    async def look_up() -> Any:
        if stream.packets_sent < 0:
            raise RuntimeError("the connection is closed")
        return SimpleNamespace(outbound_rtp=[stream])

    async def play() -> None:
        rates = Rates(lambda track, rate: told.append((track, rate)), asyncio.get_running_loop().time)
        rates.allow("main_video", 2_000_000)
        assert told == [("main_video", 2_000_000)]
        watching = asyncio.create_task(rates.watch(look_up))
        await asyncio.sleep(30)
        assert LEAST < told[-1][1] < 1_100_000
        rates.allow("main_video", 900_000)
        assert told[-1] == ("main_video", 900_000)
        rates.allow("main_video", 2_000_000)
        stream.fraction_lost = 0.0
        await asyncio.sleep(30)
        assert told[-1] == ("main_video", 2_000_000)
        stream.packets_sent = -1
        await watching

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(play())
