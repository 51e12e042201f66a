"""Rows of the matrix of bad networks, with the page in real Chromium: the most telling ones, the rest by night.

`python -m benchmarks.network` measures all of them. Bounds are those of the promises where a quiet machine keeps them
with room, and are only guards where it does not: the figure is told.
"""

from __future__ import annotations

import asyncio
import re
import statistics
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from net.clients import looking
from net.lag import Noting
from net.line import Conditions
from net.live import metrics, near, over_there, page
from net.relay import Network, bad_network, missing
from net.watched import TESTCARD, Row, Seen, card, first_frame_s, install_probe, row_of, watch
from playwright.async_api import Browser, Page
from support.chromium import CHROMIUM, chromium
from support.crowd import Crowd
from support.promises import NIGHTLY, long_form
from support.server import ReactorRun
from support.using import until_state

pytestmark = [pytest.mark.slow, pytest.mark.browser]

Tell = Callable[[str, object], None]
#: What other programs on two cores add to a figure, and how far the p95 of two quiet windows of seconds is apart.
NOISE_S, WINDOW_MS = 0.2, 8.0
#: After so long with a picture a client is there, and congestion control has settled.
SETTLED_S = 5.0


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


async def row(net: Network, browser: Browser, conditions: Conditions, engine: str = "reactor") -> Row:
    net.become(conditions)
    flags = (*card(), "--engine", engine)
    async with over_there(net, TESTCARD, *flags) as run, page(browser, run.url) as watcher:
        await install_probe(watcher)
        await asyncio.sleep(3)
        return await watch(watcher, long_form(6, 60))


@pytest.mark.alone
async def test_of_frames_on_a_line_that_loses_three_percent_nearly_all_are_shown(
    net: Network, browser: Browser, record_property: Tell
) -> None:
    crowd = Crowd()
    found = await row(net, browser, Conditions(loss=0.03, delay_ms=50))
    record_property("measured", str(found))
    assert found.shown >= (0.5 if crowd.crowded else 0.75)
    assert found.freeze_ms <= 600 + 1000 * crowd.adds_s(NOISE_S)
    if NIGHTLY:
        assert found.age_p50_ms <= 110


@pytest.mark.alone
@pytest.mark.parametrize("engine", ["reactor", "aiortc"])
async def test_half_a_megabit_a_second_is_late_and_goes_on(
    net: Network, browser: Browser, record_property: Tell, engine: str
) -> None:
    if not NIGHTLY:
        pytest.skip("by night")
    found = await row(net, browser, Conditions(rate_bit_s=5e5, delay_ms=25), engine)
    record_property("measured", f"{engine}: {found}")
    assert found.age_p95_ms <= 800
    assert found.freeze_ms <= 800


@pytest.mark.alone
async def test_a_poor_viewer_behind_a_large_buffer_takes_nothing_from_a_good_one(
    net: Network, tmp_path: Path, record_property: Tell
) -> None:
    """One at 1 Mbit/s behind 2 MiB of buffer, by WebSocket; one by UDP, on the server's own side.

    The second is counted without the first, with it as soon as it has settled, and without it again.
    """
    if not NIGHTLY:
        pytest.skip(
            "by night: 24 s with nothing beside; test_leaving.py has one who stops reading at every change"
        )
    noting = Noting(tmp_path)
    net.become(Conditions(delay_ms=10, rate_bit_s=1e6, buffer_bytes=2 * 2**20))
    windows: list[Window] = []
    async with over_there(net, TESTCARD, *card(), program=noting.program) as run:

        async def count() -> None:
            async with counting(net, run, windows):
                await asyncio.sleep(60)

        async with looking(net, "server", "aiortc", near(run)) as good:
            await good.began
            await asyncio.sleep(20)
            await count()
            async with looking(net, "client", "socket", run.url, niceness=10) as poor:
                await poor.began
                await asyncio.sleep(SETTLED_S)
                await count()
            await asyncio.sleep(2)
            await count()
    near_seen, far_seen = await good.seen, await poor.seen
    seen = [each.row(near_seen) for each in windows]
    lag_ms = [noting.p99_ms(each.from_s, each.until_s) for each in windows]
    alone, beside, poor_row = seen[0], seen[1], windows[1].row(far_seen)
    # A machine's own ups and downs are told by the two windows that nobody shares.
    alone_p95_ms = statistics.mean(each.age_p95_ms for each in seen[::2])
    record_property(
        "measured",
        f"{beside.shown:.1%} of frames, {windows[1].bits_per_s / windows[0].bits_per_s:.0%} of the rate, "
        f"age p50 {' → '.join(f'{each.age_p50_ms:.1f}' for each in seen)}, "
        f"p95 {' → '.join(f'{each.age_p95_ms:.1f}' for each in seen)} ms, "
        f"loop lag p99 {' → '.join(f'{each:.1f}' for each in lag_ms)} ms; the poor one {poor_row}",
    )
    assert beside.shown >= 0.98 * alone.shown
    assert windows[1].bits_per_s >= 0.95 * windows[0].bits_per_s
    assert beside.age_p50_ms <= alone.age_p50_ms + WINDOW_MS
    assert beside.age_p95_ms <= alone_p95_ms + WINDOW_MS
    assert lag_ms[1] <= 5
    assert poor_row.age_p95_ms <= 400
    assert poor_row.fps >= 20


@pytest.mark.alone
async def test_the_page_on_a_poor_line_is_sent_the_low_rendition_and_the_full_one_when_it_is_good(
    net: Network, browser: Browser, record_property: Tell
) -> None:
    """By WebRTC at 1 Mbit/s, beside one by UDP on the server's own side; then without a limit."""
    if not NIGHTLY:
        pytest.skip("by night")
    windows: list[Window] = []
    async with (
        over_there(net, TESTCARD, *card()) as run,
        looking(net, "server", "aiortc", near(run)) as good,
    ):
        await good.began
        await asyncio.sleep(SETTLED_S)
        async with counting(net, run, windows):
            await asyncio.sleep(10)
        net.become(Conditions(delay_ms=25, rate_bit_s=1e6))
        async with page(browser, run.url) as watcher:
            await install_probe(watcher)
            await watcher.evaluate(NOTE_WIDTHS)
            async with counting(net, run, windows):
                low_s = await until_width(watcher, 320, 15)
                await asyncio.sleep(2)
                await watcher.evaluate("widths.splice(0)")
                found = await watch(watcher, 15)
                low = await watcher.evaluate("widths.filter(width => width === 320).length / widths.length")
            net.become(Conditions(delay_ms=25))
            full_s = await until_width(watcher, 640, 35)
            await watcher.evaluate("widths.splice(0)")
            await asyncio.sleep(10)
            full = await watcher.evaluate("widths.filter(width => width === 640).length / widths.length")
    alone, beside = windows
    row_beside = beside.row(await good.seen)
    record_property(
        "measured",
        f"the good one {row_beside}, {alone.bits_per_s / 1e6:.2f} → {beside.bits_per_s / 1e6:.2f} Mbit/s; the poor "
        f"one {found}, low after {low_s:.1f} s and {low:.0%} of the time; full {full_s:.1f} s after the line was "
        f"good, and {full:.0%} of the time",
    )
    assert row_beside.shown >= 0.95
    assert beside.bits_per_s >= 0.95 * alone.bits_per_s
    # A trial of the full one that fails takes a second or two of the poor line's time, and then becomes rare.
    assert low >= 0.75
    assert full >= 0.9


NOTE_WIDTHS = """
    window.widths = [];
    setInterval(() => window.widths.push(document.querySelector("video").videoWidth), 100);
"""


async def until_width(watcher: Page, width: int, within_s: float) -> float:
    """Wait until the picture has this width; return how long that was."""
    began_s = time.monotonic()
    async with asyncio.timeout(within_s):
        while await watcher.evaluate("widths.at(-1)") != width:
            await asyncio.sleep(0.1)
    return time.monotonic() - began_s


@asynccontextmanager
async def counting(net: Network, run: ReactorRun, windows: list[Window]) -> AsyncIterator[None]:
    """Add the time that the block took to the windows."""
    before, began_s = encoded_bytes(net, run), time.time()
    yield
    ended_s = time.time()
    bits_per_s = 8 * (encoded_bytes(net, run) - before) / (ended_s - began_s)
    windows.append(Window(began_s, ended_s, bits_per_s))


@dataclass(frozen=True)
class Window:
    """A time of the wall clock, and what was encoded in full size in it."""

    from_s: float
    until_s: float
    bits_per_s: float

    def row(self, seen: list[Seen]) -> Row:
        within = [each for each in seen if self.from_s <= each.at_ms / 1000 < self.until_s]
        return row_of(within, self.until_s - self.from_s)


def encoded_bytes(net: Network, run: ReactorRun) -> float:
    """Return how much was encoded in full size so far."""
    found = re.findall(r"^reactor_encoded_bytes_total\S* (\S+)", metrics(net, run), re.MULTILINE)
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
    crowd = Crowd()
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
        assert back_s <= 1.5 + crowd.adds_s(8.5)
