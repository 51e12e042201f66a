"""What many cost one session: watchers on one encode, and ballots. `benchmarks/watchers.py` measures more of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest
from support.crowd import Crowd
from support.fakes import INFO, FakeEngine, FakeHost, FakeLink
from support.house import House
from support.load import CountingLink, Kind, crowded

from benchmarks.watchers import crowd
from reactor_runtime.session.doorway import Doorway
from reactor_runtime.types import CommandSpec

pytestmark = [pytest.mark.slow, pytest.mark.alone]

WATCHERS = 100
#: What a machine that does other things as well may add to a promise about its processor.
NOISE = 2.0


async def test_a_hundred_watchers_cost_the_event_loop_little_and_the_driver_no_frame(
    record_property: Callable[[str, object], None],
) -> None:
    crowded = Crowd()
    seen = await crowd("webrtc", watchers=WATCHERS, window_s=3.0, rounds=1)
    loop_ms, share = seen["loop_ms_per_watcher_frame"], seen["driver_share"]
    record_property("measured", f"{loop_ms * 1000:.1f} µs, {share:.1%}")
    assert loop_ms <= 0.15 * (NOISE if crowded.crowded else 1.0), seen
    assert share >= (0.8 if crowded.crowded else 0.99), seen
    assert seen["watchers_share"] >= 0.95 * share, "they are sent the pictures as well"


@pytest.mark.parametrize("kind", ["webrtc", "websocket"])
async def test_a_hundred_who_come_within_five_seconds_cost_the_driver_no_frame(
    kind: Kind, record_property: Callable[[str, object], None]
) -> None:
    crowded_s = Crowd()
    async with crowded() as people:
        coming = asyncio.create_task(people.arrive(WATCHERS, kind, within_s=5.0))
        seen = await people.measure(7.0)
        took_s = await coming
    share = seen.driver / seen.emitted
    record_property("measured", f"{kind}: {share:.1%} of the driver's frames, all in after {took_s:.1f} s")
    assert share >= (0.8 if crowded_s.crowded else 0.99)
    # Eight at once and eight a second come through the door of WebRTC; who is told to come again comes when told.
    assert took_s <= (30 if kind == "webrtc" else 7)


async def test_a_thousand_ballots_a_second_take_less_than_one_core(
    record_property: Callable[[str, object], None],
) -> None:
    sky = {"type": "object", "properties": {"sky": {"enum": ["day", "night", "storm"]}}, "required": ["sky"]}

    def prepare(host: FakeHost) -> None:
        host.info = INFO.__class__(
            name="sky",
            version="1",
            description="",
            tracks=INFO.tracks,
            commands=(CommandSpec("set_sky", "", sky),),
            fps=30,
        )

    engine = FakeEngine(CountingLink)
    crowded = Crowd()
    async with House.opened(prepare=prepare, engine=engine, viewers=500, vote="set_sky", vote_s=60) as house:
        await house.start()
        session = house.sessions.slots[0].session
        assert session is not None
        session.connections._doorway = Doorway(rate_per_s=1e6, burst=1_000)
        voters: list[FakeLink] = []
        for _ in range(WATCHERS):
            _, link = await house.join()
            link.connect()
            voters.append(link)
        began_s, count = time.process_time(), 3_000
        for n in range(count):
            voters[n % WATCHERS].ask("vote", {"round": 1, "choice": ("day", "night", "storm")[n % 3]})
            if n % 100 == 99:
                await asyncio.sleep(0.03)
        await asyncio.sleep(0.3)
        each_ms = (time.process_time() - began_s) / count * 1000
        assert session._together._voting._votes is not None
        assert sum(session._together._voting._votes.standing.counts.values()) == WATCHERS
    record_property("measured", f"{1000 / each_ms:.0f} ballots/s")
    assert each_ms <= 1.0 * (NOISE if crowded.crowded else 1.0)
