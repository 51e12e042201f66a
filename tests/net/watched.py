"""What the page shows of a stamped test card over a bad network: a row of the matrix.

    async with page(browser, run.url) as watcher:
        await install_probe(watcher)
        row = await watch(watcher, 15)

The test card says in each picture when it was emitted and which frame it is, so age and share are of pictures that
are displayed, and need no help of the page. Both ends have one clock: they are one machine.
"""

from __future__ import annotations

import asyncio
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import quote

from playwright.async_api import Page

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
TESTCARD = Path(__file__).parents[2] / "examples" / "testcard"
#: A frame number of the stamp counts modulo this.
_FRAMES = 2**16


@dataclass(frozen=True)
class Seen:
    """A displayed picture: when, in milliseconds of the wall clock, how old it was, and its number."""

    at_ms: float
    age_ms: float
    frame: int


@dataclass(frozen=True)
class Row:
    """`shown` is the share of the model's frames that were displayed; a freeze lasts from picture to picture."""

    fps: float
    shown: float
    freeze_ms: float
    age_p50_ms: float
    age_p95_ms: float
    pictures: int

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        return (
            f"{self.shown:.0%} shown, freeze {self.freeze_ms:.0f} ms, age p50 {self.age_p50_ms:.0f} "
            f"p95 {self.age_p95_ms:.0f} ms, {self.fps:.1f} fps"
        )


def row_of(seen: list[Seen], window_s: float) -> Row:
    """Sum up what was displayed in a window. Frames that were never displayed count between the first and the last."""
    if len(seen) < 2:
        return Row(len(seen) / window_s, 0.0, window_s * 1000, 0.0, 0.0, len(seen))
    ages = sorted(each.age_ms for each in seen)
    emitted = (max(_after(seen[0], each) for each in seen)) + 1
    return Row(
        fps=round(len({each.frame for each in seen}) / window_s, 2),
        shown=round(len({each.frame for each in seen}) / emitted, 4),
        freeze_ms=round(max(b.at_ms - a.at_ms for a, b in pairwise(seen)), 1),
        age_p50_ms=round(ages[len(ages) // 2], 1),
        age_p95_ms=round(ages[int(len(ages) * 0.95)], 1),
        pictures=len(seen),
    )


def _after(first: Seen, other: Seen) -> int:
    return (other.frame - first.frame) % _FRAMES


def card(width: int = 640, height: int = 480) -> list[str]:
    """Return the flags of `reactor run` for a stamped test card of 30 pictures a second."""
    args = {"width": width, "height": height, "fps": 30, "pace": '"sleep"', "stamp": "true"}
    return [flag for key, value in args.items() for flag in ("--arg", f"{key}={value}")]


async def install_probe(watcher: Page) -> None:
    """Put the benchmark's reader of stamps into a page, whose policy must be bypassed."""
    stamp = _module((BENCHMARKS / "stamp.js").read_text())
    probe = _module((BENCHMARKS / "probe.js").read_text().replace("STAMP_MODULE", stamp))
    code = "async url => { window.probe = new (await import(url)).Probe(window.reactorPage); }"
    await watcher.evaluate(code, probe)


def _module(text: str) -> str:
    return "data:text/javascript;charset=utf-8," + quote(text)


async def watch(watcher: Page, window_s: float) -> Row:
    """Look for so long, from now on."""
    await watcher.evaluate("window.probe.forget()")
    await asyncio.sleep(window_s)
    frames = await watcher.evaluate("window.probe.frames")
    return row_of(
        [Seen(each["atMs"], each["ageMs"], each["frame"]) for each in frames if each["ageMs"] is not None],
        window_s,
    )


async def first_frame_s(watcher: Page) -> float:
    """Return how long after the navigation began the first picture was displayed."""
    ms: float = await watcher.evaluate("window.reactorPage.firstFrameMs")
    return ms / 1000
