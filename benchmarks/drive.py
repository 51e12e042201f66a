"""Measure Drive as people meet it: `python -m benchmarks.drive`, JSON out.

The server and the model share one core, the browser has the others. Cold start: from the command to the first
picture on the page, the browser being open. Key to picture: as the page measures it, from the key to the displayed
picture that knows it; up to one picture (42 ms as shipped) and one refresh of the screen of that is waiting.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, Page

from .browser import viewer
from .cases import metrics
from .process import usage
from .stats import percentile

# The package's __init__ has put tests/ on the path.
from support import server as runs  # isort: skip
from support.chromium import WHOLE, chromium  # isort: skip

ROOT = Path(__file__).parents[1]
DRIVE = ROOT / "examples" / "drive"
STEERED = 20
SHOWN = "window.reactorPage?.stats.displayedFrames > 0"


@contextmanager
def on_cores(cores: set[int]) -> Iterator[None]:
    """What is started in here stays on these cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def network_ms(times: int = 100) -> float:
    """One picture on one thread, without the runtime."""
    sys.path.append(str(DRIVE))
    import start
    from keys import action
    from world import World

    world = World(DRIVE / "weights" / "drive")
    world.begin(start.look("meadow"), 0)
    held, taken = action(keyboard_key="W"), []
    for _ in range(times):
        began_s = time.perf_counter()
        world.step(held)
        world.enlarged()
        taken.append(time.perf_counter() - began_s)
    return round(statistics.median(taken) * 1000, 2)


async def steer(page: Page) -> list[float]:
    """Press and let go of keys at odd moments; from each to the displayed picture that knows it, in ms."""
    before = await page.evaluate("reactorPage.delays.length")
    for number in range(STEERED):
        key = "ad"[number % 2]
        for act in (page.keyboard.down, page.keyboard.up):
            await act(key)
            await page.wait_for_timeout(300 + 17 * (number % 5))
    delays: list[float] = (await page.evaluate("reactorPage.delays"))[before:]
    assert len(delays) == 2 * STEERED, "a key was never seen in a picture"
    return delays


async def once(browser: Browser, core: int, window_s: float, fps: int) -> dict[str, Any]:
    began_s = time.monotonic()
    with on_cores({core}):
        made = runs.running(DRIVE, "--arg", f"fps={fps}")
        run = await asyncio.to_thread(made.__enter__)
    try:
        async with viewer(browser, run.url, probing=False) as watcher:
            await watcher.page.wait_for_function(SHOWN)
            first_s = time.monotonic() - began_s
            await watcher.page.keyboard.down("w")
            await asyncio.sleep(3)
            model = run.children()[0]
            used, before, since_s = usage(model).cpu_s, metrics(run.url), time.monotonic()
            await asyncio.sleep(window_s)
            passed_s, after, model_usage = time.monotonic() - since_s, metrics(run.url), usage(model)
            delays = await steer(watcher.page)
            shown = after["reactor_frames_shown_total"] - before["reactor_frames_shown_total"]
            return {
                "first_picture_s": round(first_s, 2),
                "key_to_picture_p50_ms": round(percentile(delays, 0.5), 1),
                "key_to_picture_p95_ms": round(percentile(delays, 0.95), 1),
                "shown_fps": round(shown / passed_s, 2),
                "model_cpu_ms_per_frame": round((model_usage.cpu_s - used) * 1000 / max(1, shown), 2),
                "model_rss_mb": round(model_usage.rss_mb, 1),
            }
    finally:
        await asyncio.to_thread(made.__exit__, None, None, None)


async def measure(options: argparse.Namespace) -> dict[str, Any]:
    cores = sorted(os.sched_getaffinity(0))
    result: dict[str, Any] = {"cores": len(cores), "network_ms": network_ms()}
    with on_cores(set(cores[1:]) or set(cores)):
        async with chromium(executable=WHOLE) as browser:
            for name, fps in (("as shipped", 24), ("as fast as it goes", 120)):
                rounds = [await once(browser, cores[0], options.window_s, fps) for _ in range(options.rounds)]
                result[name] = {key: statistics.median(each[key] for each in rounds) for key in rounds[0]} | {
                    "rounds": rounds
                }
    return result


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--window-s", type=float, default=8.0)
    parser.add_argument("--out", type=Path, help="a JSON file; without it the result is printed")
    options = parser.parse_args()
    text = json.dumps(asyncio.run(measure(options)), indent=1) + "\n"
    if options.out:
        options.out.write_text(text)
    else:
        print(text, end="")


if __name__ == "__main__":
    main()
