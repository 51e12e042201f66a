"""Measure the runtime with the null model and a real Chromium: `python -m benchmarks`, JSON and a table out.

    python -m benchmarks                     everything, about 12 minutes
    python -m benchmarks --quick             short windows, one round: a smoke test of the harness
    python -m benchmarks --only 640x480      cases whose name holds the text
    python -m benchmarks --soak-min 30       one long run at 720p30 instead, with a viewer on each rung: see soak.py

Cases run in turn, `--rounds` times over, and medians over the rounds are reported with their range. The bare
encoder is measured in the same run, so that ratios do not depend on the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from support.chromium import WHOLE, chromium

from . import cases, encoders
from .cases import Case
from .report import merge, tables
from .soak import soak as long_run

DEAD_STUN = ("--ice-server", "stun:127.0.0.1:9")

STREAMS = [
    Case(640, 480, 30, commands=40),
    Case(640, 480, 30, "emit", commands=40),
    Case(1280, 720, 30),
    Case(1280, 720, 30, link="websocket"),
    Case(1280, 720, 30, "emit"),
    Case(1920, 1080, 30),
    Case(640, 480, 30, viewers=2),
    Case(640, 480, 30, viewers=4),
    Case(640, 480, 30, codec="vp8"),
    Case(640, 480, 30, engine="aiortc"),
]
STARTS = [Case(640, 480, 30), Case(640, 480, 30, flags=DEAD_STUN, note="dead STUN")]


async def measure(options: argparse.Namespace, console: Console) -> dict[str, Any]:
    rounds, window_s, times = (1, 3.0, 1) if options.quick else (options.rounds, options.window_s, 5)
    wanted = lambda case: options.only in case.name  # noqa: E731
    streams: dict[str, list[dict[str, Any]]] = {}
    started: dict[str, list[dict[str, Any]]] = {}
    async with chromium(executable=WHOLE) as browser:
        for number in range(rounds):
            for case in filter(wanted, STREAMS):
                console.print(f"[dim]round {number + 1}/{rounds}  stream  {case.name}[/dim]")
                streams.setdefault(case.name, []).append(await cases.stream(browser, case, window_s=window_s))
            for case in filter(wanted, STARTS):
                console.print(f"[dim]round {number + 1}/{rounds}  start   {case.name}[/dim]")
                started.setdefault(case.name, []).append(await cases.starts(browser, case, times=times))
        version = browser.version
    bare = {
        f"{codec} {width}x{height}": encoders.measure(codec, width, height, 30)
        for codec in ("h264", "vp8")
        for width, height in ((640, 480), (1280, 720), (1920, 1080))
        if options.only.split("@")[0] in f"{width}x{height}"
    }
    return {
        "machine": machine(version),
        "rounds": rounds,
        "window_s": window_s,
        "streams": {name: merge(rows) for name, rows in streams.items()},
        "starts": {name: merge(rows) for name, rows in started.items()},
        "bare_encoder": bare,
    }


async def soak(minutes: float, console: Console) -> dict[str, Any]:
    async with chromium(executable=WHOLE) as browser:
        found = await long_run(browser, minutes, console)
        return {"machine": machine(browser.version), **found}


def machine(browser: str) -> dict[str, Any]:
    return {
        "date": time.strftime("%Y-%m-%d"),
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "chromium": browser,
        "load": os.getloadavg()[0],
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--quick", action="store_true", help="short windows, one round")
    parser.add_argument("--only", default="", help="only cases whose name holds this text")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--window-s", type=float, default=10.0)
    parser.add_argument("--soak-min", type=float, default=0.0, help="one long run of so many minutes instead")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "latest.json")
    options = parser.parse_args()
    console = Console(stderr=True)
    work = soak(options.soak_min, console) if options.soak_min else measure(options, console)
    result = asyncio.run(work)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=2) + "\n")
    if not options.soak_min:
        Console().print(tables(result))
    console.print(f"[dim]{options.out}[/dim]")


if __name__ == "__main__":
    main()
