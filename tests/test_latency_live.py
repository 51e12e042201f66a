"""The page's bar of latency against stamps in the pictures, on a line that is clean and on one of 150 ms."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from net.line import Conditions
from net.live import over_there, page
from net.relay import bad_network, missing
from playwright.async_api import Page
from support.chromium import CHROMIUM, chromium

pytestmark = [pytest.mark.slow, pytest.mark.browser]

ROOT = Path(__file__).parents[1]
COMMANDS = 40
#: Each command paints its number; the picture that shows it is found by reading its stamp, and by nothing else.
MEASURE = """async ([stamps, count]) => {
  const { STAMP_AREA, readStampArea } = await import(stamps);
  const video = document.querySelector("#video");
  const { x, y, width, height } = STAMP_AREA;
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  const seen = new Map();
  const look = (_now, { expectedDisplayTime }) => {
    video.requestVideoFrameCallback(look);
    context.drawImage(video, x, y, width, height, 0, 0, width, height);
    const stamp = readStampArea(context.getImageData(0, 0, width, height));
    if (stamp && !seen.has(stamp.command)) seen.set(stamp.command, expectedDisplayTime);
  };
  video.requestVideoFrameCallback(look);
  const sent = new Map(), found = [];
  await new Promise((done) => setTimeout(done, 3000));  // both clocks have been heard
  for (let number = 1; number <= count; number += 1) {
    await new Promise((done) => setTimeout(done, 60 + 60 * Math.random()));
    sent.set(number, performance.now());
    reactorPage.sendCommand("mark", { number }).then(async ({ shown }) => found.push([number, await shown]));
  }
  const untilMs = performance.now() + 10000;
  while (found.length < count && performance.now() < untilMs) await new Promise((done) => setTimeout(done, 50));
  // A sample says when it was seen and how long that took; its command was sent so long before.
  const began = ({ atMs, totalMs }) => atMs - totalMs;
  const partsOf = (sentMs) => reactorPage.breakdowns.reduce((best, sample) =>
    Math.abs(began(sample) - sentMs) < Math.abs(began(best) - sentMs) ? sample : best).parts;
  return found.filter(([number]) => seen.has(number)).map(([number, { sentMs }]) =>
    ({ stampMs: seen.get(number) - sent.get(number), parts: partsOf(sentMs) }));
}"""


async def measured(watcher: Page) -> list[dict[str, Any]]:
    stamps = "data:text/javascript;charset=utf-8," + quote((ROOT / "benchmarks" / "stamp.js").read_text())
    samples: list[dict[str, Any]] = await watcher.evaluate(MEASURE, [stamps, COMMANDS])
    assert len(samples) >= COMMANDS * 3 / 4, "too few commands were seen by their stamps"
    return samples


async def test_the_parts_of_the_bar_add_up_to_what_stamps_measure(
    record_property: Callable[[str, object], None],
) -> None:
    if why := missing():
        pytest.skip(why)
    off_ms: dict[int, float] = {}
    with bad_network() as net:
        async with (
            chromium(executable=net.wrapper("client", CHROMIUM)) as browser,
            over_there(net, ROOT / "examples" / "testcard", "--arg", "stamp=true", "--join", "drive") as run,
        ):
            for round_trip_ms in (0, 150):
                net.become(Conditions(delay_ms=round_trip_ms / 2))
                async with page(browser, run.url) as watcher:
                    samples = await measured(watcher)
                    text = await watcher.evaluate("document.querySelector('#age').textContent")
                off = sorted(abs(sum(each["parts"].values()) - each["stampMs"]) for each in samples)
                off_ms[round_trip_ms] = off[int(len(off) * 0.95) - 1]
                assert text.endswith(" ms"), "the picture's age is always on"
                for part in ("uplink", "network"):
                    typical = statistics.median(each["parts"][part] for each in samples)
                    assert typical == pytest.approx(round_trip_ms / 2, abs=30), part
    record_property("measured", ", ".join(f"{off:.1f} ms at RTT {rtt}" for rtt, off in off_ms.items()))
    assert max(off_ms.values()) <= 5
