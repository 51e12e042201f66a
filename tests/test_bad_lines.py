"""Rows of the matrix of bad networks, with the page in real Chromium: the most telling ones, the rest by night.

`python -m benchmarks.network` measures all of them. Bounds are those of the promises where a quiet machine keeps them
with room, and are only guards where it does not: the figure is told.
"""

from __future__ import annotations

import asyncio
import re
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from net.clients import looking
from net.lag import Noting
from net.line import Conditions
from net.live import over_there, page
from net.relay import Network, bad_network, missing
from net.watched import TESTCARD, Row, card, first_frame_s, install_probe, row_of, watch
from playwright.async_api import Browser
from support.chromium import CHROMIUM, chromium
from support.crowd import Crowd
from support.promises import NIGHTLY, long_form
from support.using import until_state

pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.alone]

Tell = Callable[[str, object], None]
#: What other programs on two cores add to a figure, and how far the p95 of two quiet windows of seconds is apart.
NOISE_S, WINDOW_MS = 0.2, 8.0


@pytest.fixture
def net() -> Iterator[Network]:
    if why := missing():
        pytest.skip(why)
    with bad_network() as made:
        yield made


@pytest.fixture
async def browser(net: Network) -> AsyncIterator[Browser]:
    async with chromium(executable=net.wrapper("client", CHROMIUM)) as made:
        yield made


async def row(net: Network, browser: Browser, conditions: Conditions) -> Row:
    net.become(conditions)
    async with over_there(net, TESTCARD, *card()) as run, page(browser, run.url) as watcher:
        await install_probe(watcher)
        await asyncio.sleep(3)
        return await watch(watcher, long_form(8, 60))


async def test_of_frames_on_a_line_that_loses_three_percent_nearly_all_are_shown(
    net: Network, browser: Browser, record_property: Tell
) -> None:
    crowd = Crowd()
    found = await row(net, browser, Conditions(loss=0.03, delay_ms=50))
    record_property("measured", str(found))
    assert found.shown >= (0.5 if crowd.crowded else 0.75)
    assert found.freeze_ms <= 600 + 1000 * crowd.adds_s(NOISE_S)


async def test_half_a_megabit_a_second_is_late_and_goes_on(
    net: Network, browser: Browser, record_property: Tell
) -> None:
    if not NIGHTLY:
        pytest.skip("by night")
    found = await row(net, browser, Conditions(rate_bit_s=5e5, delay_ms=25))
    record_property("measured", str(found))
    assert found.age_p95_ms <= 800
    assert found.freeze_ms <= 800


async def test_a_poor_viewer_behind_a_large_buffer_takes_nothing_from_a_good_one(
    net: Network, tmp_path: Path, record_property: Tell
) -> None:
    """One at 1 Mbit/s behind 2 MiB of buffer, by WebSocket; one by UDP, on the server's own side."""
    crowd = Crowd()
    noting, alone_s, both_s = Noting(tmp_path), long_form(5, 20), long_form(8, 60)
    net.become(Conditions(delay_ms=10, rate_bit_s=1e6, buffer_bytes=2 * 2**20))
    async with over_there(net, TESTCARD, *card(), program=noting.program) as run:
        near = f"http://127.0.0.1:{run.url.rpartition(':')[2]}"
        async with looking(net, "server", "aiortc", near, 5 + alone_s + both_s) as good:
            await asyncio.sleep(5)  # it is there, and congestion control has settled
            marks, rates = [time.time()], [encoded_bytes(net, near)]
            await asyncio.sleep(alone_s)
            marks.append(time.time())
            rates.append(encoded_bytes(net, near))
            async with looking(net, "client", "socket", run.url, both_s - 3) as poor:
                await poor
            marks.append(time.time())
            rates.append(encoded_bytes(net, near))
    near_seen = await good
    alone, beside = (
        row_of([each for each in near_seen if begin <= each.at_ms / 1000 < end], end - begin)
        for begin, end in pairwise(marks)
    )
    bits_per_s = [
        8 * (after - before) / (end - begin)
        for (before, after), (begin, end) in zip(pairwise(rates), pairwise(marks), strict=True)
    ]
    seen = await poor
    settled = row_of([each for each in seen if each.at_ms >= seen[0].at_ms + 2000], both_s - 5)
    lag_ms = [noting.p99_ms(begin, end) for begin, end in pairwise(marks)]
    record_property(
        "measured",
        f"{beside.shown:.1%} of frames, {bits_per_s[1] / bits_per_s[0]:.0%} of the rate, "
        f"age p95 {alone.age_p95_ms:.1f} → {beside.age_p95_ms:.1f} ms, "
        f"loop lag p99 {lag_ms[0]:.1f} → {lag_ms[1]:.1f} ms; the poor one {settled}",
    )
    assert beside.shown >= (0.85 if crowd.crowded else 0.98) * alone.shown
    assert bits_per_s[1] >= 0.95 * bits_per_s[0]
    room_ms = 1000 * crowd.adds_s(NOISE_S)
    assert beside.age_p95_ms <= alone.age_p95_ms + WINDOW_MS + room_ms
    assert lag_ms[1] <= 5 + room_ms
    assert settled.age_p95_ms <= 400 + room_ms
    assert settled.fps >= (15 if room_ms else 20)


async def test_the_page_on_a_poor_line_is_sent_the_low_rendition_and_the_full_one_when_it_is_good(
    net: Network, browser: Browser, record_property: Tell
) -> None:
    """By WebRTC at 1 Mbit/s, beside one by UDP on the server's own side; then without a limit."""
    if not NIGHTLY:
        pytest.skip("by night")
    poor_s, good_s = 20.0, 40.0
    async with over_there(net, TESTCARD, *card()) as run:
        near = f"http://127.0.0.1:{run.url.rpartition(':')[2]}"
        async with looking(net, "server", "aiortc", near, 15 + poor_s) as good:
            await asyncio.sleep(6)
            net.become(Conditions(delay_ms=25, rate_bit_s=1e6))
            marks, rates = [time.time()], [encoded_bytes(net, near)]
            async with page(browser, run.url) as watcher:
                await install_probe(watcher)
                async with asyncio.timeout(poor_s):
                    while await watcher.evaluate("reactorPage.stats.rendition") != "low":
                        await asyncio.sleep(0.1)
                low_s = time.time() - marks[0]
                await asyncio.sleep(2)
                found = await watch(watcher, poor_s - low_s - 2)
                assert await watcher.evaluate("document.querySelector('video').videoWidth") == 320
                marks.append(time.time())
                rates.append(encoded_bytes(net, near))
                net.become(Conditions(delay_ms=25))
                async with asyncio.timeout(good_s):
                    while await watcher.evaluate("document.querySelector('video').videoWidth") != 640:
                        await asyncio.sleep(0.1)
                full_s = time.time() - marks[1]
    near_seen = [each for each in await good if marks[0] <= each.at_ms / 1000 < marks[1]]
    beside = row_of(near_seen, marks[1] - marks[0])
    rate = 8 * (rates[1] - rates[0]) / (marks[1] - marks[0])
    record_property(
        "measured",
        f"the good one {beside}, {rate / 1e6:.2f} Mbit/s; the poor one {found}; low after {low_s:.1f} s, "
        f"full {full_s:.1f} s after the line was good",
    )
    assert beside.shown >= 0.95
    assert rate >= 0.95 * 2e6 * 0.85


def encoded_bytes(net: Network, url: str) -> float:
    """Return how much was encoded in full size so far."""
    code = f"import urllib.request as r; print(r.urlopen('{url}/metrics').read().decode())"
    asked = subprocess.run(
        net.command("server", sys.executable, "-c", code),
        check=True,
        capture_output=True,
        text=True,
        timeout=20,
    )
    found = re.findall(r"^reactor_encoded_bytes_total\S* (\S+)", asked.stdout, re.MULTILINE)
    return sum(map(float, found))


@pytest.mark.parametrize(("trip_ms", "bound_s"), [(100, 2.4), (150, 3.0), (300, 6.0)])
async def test_the_first_frame_takes_few_round_trips(
    net: Network, browser: Browser, record_property: Tell, trip_ms: int, bound_s: float
) -> None:
    """From the click on the address, with nothing in the browser's cache, and again. Bounds: twice the figures."""
    crowd = Crowd()
    if trip_ms != 100 and not NIGHTLY:
        pytest.skip("by night")
    took_s, again_s = [], []
    async with over_there(net, TESTCARD, *card()) as run:
        net.become(Conditions(delay_ms=trip_ms / 2))
        for _ in range(long_form(1, 7)):
            async with page(browser, run.url) as watcher:
                took_s.append(await first_frame_s(watcher))
                await watcher.reload()
                await until_state(watcher, "live")
                again_s.append(await first_frame_s(watcher))
            await asyncio.sleep(1)
    first, again = statistics.median(took_s), statistics.median(again_s)
    record_property("measured", f"RTT {trip_ms} ms: {first:.2f} s, after a reload {again:.2f} s")
    assert first <= bound_s + crowd.adds_s(2.0)
    assert again <= bound_s + crowd.adds_s(2.0)


@pytest.mark.parametrize("dark_s", [5, 12, 25])
async def test_after_a_blackout_the_picture_is_back_and_the_page_said_what_happened(
    net: Network, browser: Browser, record_property: Tell, dark_s: int
) -> None:
    if dark_s != 5 and not NIGHTLY:
        pytest.skip("by night")
    async with over_there(net, TESTCARD, *card()) as run, page(browser, run.url) as watcher:
        session_id = await watcher.evaluate("reactorPage.sessionId")
        await asyncio.sleep(1)
        net.become(Conditions(blackouts=[(0, dark_s)]))
        began_s, words = time.monotonic(), set[str]()
        while time.monotonic() - began_s < dark_s:
            words.add(
                await watcher.evaluate("reactorPage.state + ': ' + document.body.innerText.slice(0, 4000)")
            )
            await asyncio.sleep(0.5)
        await install_probe(watcher)
        await watcher.evaluate("probe.until(frame => frame.ageMs !== null && frame.ageMs < 1000, 20000)")
        back_s = time.monotonic() - began_s - dark_s
        await until_state(watcher, "live")
        record_property("measured", f"{dark_s} s dark: picture back after {back_s:.1f} s")
        assert await watcher.evaluate("reactorPage.sessionId") == session_id
        assert any("Weak connection" in text or "Reconnecting" in text for text in words)
        assert back_s <= 10
