"""Measure what many watchers cost: `python -m benchmarks.watchers`, JSON and a table out.

    python -m benchmarks.watchers                everything, about six minutes
    python -m benchmarks.watchers --quick        short windows, one round: a smoke test of the harness
    python -m benchmarks.watchers --only crowd   one part: crowd, browsers or joining

    crowd      a hundred links that only count beside the driver's, in one process with the session: CPU on the event
               loop and of the process for each watcher and frame, and the driver's frames; WebRTC and WebSockets
    browsers   one real Chromium, then four: CPU of the server process for each frame, and their ratio
    joining    a hundred real WebRTC clients that come within five seconds and leave: the driver's frames meanwhile

Rounds of one and of many alternate, and medians over the rounds are reported: ratios do not depend on the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import reactor_webrtc as rw
from rich.console import Console
from support.chromium import chromium
from support.clients import LibwebrtcViewer
from support.load import Kind, Measured, crowded
from support.visitor import Visitor

from . import cases
from .__main__ import machine
from .cases import Case
from .report import table
from .stats import longest_gap

PARTS = ("crowd", "browsers", "joining")
WATCHERS = 100
SIZES = ((640, 480), (1280, 720))
JOIN_WITHIN_S = 5.0
STAY_S = 1.0
TRIES = 60


# A crowd in process -----------------------------------------------------------------------------------------


async def crowd(kind: Kind, *, watchers: int, window_s: float, rounds: int) -> dict[str, Any]:
    """Measure one session with its driver, then with so many watchers beside him."""
    alone: list[Measured] = []
    beside: list[Measured] = []
    for _ in range(rounds):
        async with crowded() as people:
            alone.append(await people.measure(window_s))
            await people.join(watchers, kind)
            await asyncio.sleep(1.0)  # everybody's first picture
            beside.append(await people.measure(window_s))
    return {
        "watchers": watchers,
        "loop_ms_per_watcher_frame": _each(alone, beside, watchers, lambda each: each.loop_s),
        "process_ms_per_watcher_frame": _each(alone, beside, watchers, lambda each: each.process_s),
        "loop_busy": round(median(each.loop_s for each in beside) / window_s, 4),
        "driver_share": round(median(each.driver / each.emitted for each in beside), 4),
        "watchers_share": round(median(each.watchers / watchers / each.emitted for each in beside), 4),
    }


def _each(
    alone: Iterable[Measured], beside: Iterable[Measured], watchers: int, what: Callable[[Measured], float]
) -> float:
    """Return the milliseconds that each watcher adds to each frame."""
    added = [
        what(many) / many.emitted - what(one) / one.emitted for one, many in zip(alone, beside, strict=True)
    ]
    return round(median(added) / watchers * 1000, 4)


# Browsers ---------------------------------------------------------------------------------------------------


async def browsers(width: int, height: int, *, window_s: float, rounds: int) -> dict[str, Any]:
    """Measure the server's CPU with one real viewer and with four, in turn."""
    cost: dict[int, list[float]] = {1: [], 4: []}
    shown: dict[int, list[float]] = {1: [], 4: []}
    async with chromium() as browser:
        for _ in range(rounds):
            for viewers in cost:
                row = await cases.stream(browser, Case(width, height, 30, viewers=viewers), window_s=window_s)
                cost[viewers].append(row["server_cpu_ms_per_frame"])
                shown[viewers].append(row["decoded_share"])
    one, four = median(cost[1]), median(cost[4])
    return {
        "server_cpu_ms_per_frame": {"1": one, "4": four},
        "ratio": round(four / one, 3),
        "ratios": [round(b / a, 3) for a, b in zip(cost[1], cost[4], strict=True)],
        "first_viewers_decoded_share": {"1": median(shown[1]), "4": median(shown[4])},
    }


# Joining ----------------------------------------------------------------------------------------------------


async def joining(*, joiners: int, rounds: int) -> dict[str, Any]:
    """Let so many come within five seconds while somebody drives, and count what the driver sees."""
    rows = [await _join_once(joiners) for _ in range(rounds)]
    return {
        "joiners": joiners,
        "joined": median(row["joined"] for row in rows),
        "told_to_come_again": median(row["refusals"] for row in rows),
        "all_in_after_s": median(row["took_s"] for row in rows),
        "driver_share": round(median(row["share"] for row in rows), 4),
        "driver_share_before": round(median(row["share_before"] for row in rows), 4),
        "driver_longest_gap_ms": median(row["gap_ms"] for row in rows),
    }


async def _join_once(joiners: int) -> dict[str, float]:
    case = Case(640, 480, 30, codec="vp8", flags=("--viewers", str(joiners + 8)))
    async with cases.serving(case) as run, Visitor(run.url) as driver:
        await driver.start()
        await driver.watch(30)
        pings = asyncio.create_task(_ping(driver))
        before = await _share(run.url, driver, asyncio.sleep(JOIN_WITHIN_S))
        began_s = time.monotonic()
        arguments = [
            sys.executable,
            "-m",
            "benchmarks.watchers",
            "--join",
            run.url,
            "--joiners",
            str(joiners),
        ]
        crowd = await asyncio.create_subprocess_exec(*arguments, stdout=asyncio.subprocess.PIPE)
        share = await _share(run.url, driver, crowd.wait())
        assert crowd.stdout is not None
        told = json.loads((await crowd.stdout.read()).decode())
        pings.cancel()
        gap_s = longest_gap([at for at in driver.frame_times if at >= began_s])
        return {**told, "share": share, "share_before": before, "gap_ms": round(gap_s * 1000)}


async def _ping(driver: Visitor) -> None:
    while True:
        await asyncio.sleep(5)
        driver.ping()


async def _share(url: str, driver: Visitor, until: Any) -> float:
    """Return which share of the frames that are emitted until then the driver decodes."""
    emitted, seen = cases.metrics(url)["reactor_frames_emitted_total"], driver.frames
    await until
    return (driver.frames - seen) / (cases.metrics(url)["reactor_frames_emitted_total"] - emitted)


async def join(url: str, joiners: int) -> dict[str, float]:
    """Come with so many clients, as a process of its own; each stays a second after it is connected."""
    factory = rw.PeerConnectionFactoryBuilder().build()
    refusals = joined = 0
    began_s = time.monotonic()
    async with httpx.AsyncClient(base_url=url, timeout=30) as http:
        session_id = (await http.get("/session")).json()["session_id"]

        async def come(after_s: float) -> None:
            nonlocal refusals, joined
            await asyncio.sleep(after_s)
            async with LibwebrtcViewer(factory) as viewer:
                mapping = [{"mid": each.mid, "name": each.name} for each in viewer.mapping]
                body = {"session_id": session_id, "sdp_offer": await viewer.offer(), "track_mapping": mapping}
                for _ in range(TRIES):
                    answer = await http.post("/connect", json=body)
                    if answer.status_code != 503:
                        break
                    refusals += 1
                    await asyncio.sleep(float(answer.headers.get("retry-after", 1)))
                answer.raise_for_status()
                await viewer.accept(answer.json()["sdp_answer"])
                await viewer.wait(lambda: "Connected" in viewer.state, within_s=20)
                joined += 1
                await asyncio.sleep(STAY_S)

        await asyncio.gather(*(come(n * JOIN_WITHIN_S / joiners) for n in range(joiners)))
    return {"joined": joined, "refusals": refusals, "took_s": round(time.monotonic() - began_s, 2)}


# All of it --------------------------------------------------------------------------------------------------


async def measure(options: argparse.Namespace, console: Console) -> dict[str, Any]:
    rounds, window_s, joiners = (1, 3.0, 20) if options.quick else (options.rounds, 10.0, WATCHERS)
    wanted = [options.only] if options.only else PARTS
    made: dict[str, Any] = {"machine": machine(""), "rounds": rounds, "window_s": window_s}
    kinds: tuple[Kind, ...] = ("webrtc", "websocket")
    if "crowd" in wanted:
        console.print("[dim]crowd[/dim]")
        made["crowd"] = {
            kind: await crowd(kind, watchers=WATCHERS, window_s=window_s, rounds=rounds) for kind in kinds
        }
    if "browsers" in wanted:
        console.print("[dim]browsers[/dim]")
        made["browsers"] = {
            f"{width}x{height}": await browsers(width, height, window_s=window_s, rounds=rounds)
            for width, height in SIZES
        }
    if "joining" in wanted:
        console.print("[dim]joining[/dim]")
        made["joining"] = {"640x480": await joining(joiners=joiners, rounds=min(rounds, 3))}
    return made


def tables(result: dict[str, Any]) -> str:
    """Return what was measured as Markdown."""
    parts = [
        table({name: _column(name) for name in next(iter(rows.values()))}, rows)
        for part in PARTS
        if (rows := result.get(part))
    ]
    return "\n\n".join(parts)


def _column(name: str) -> Any:
    return lambda _, row: row[name]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", choices=PARTS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--join", help=argparse.SUPPRESS)
    parser.add_argument("--joiners", type=int, default=WATCHERS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.join:
        print(json.dumps(asyncio.run(join(options.join, options.joiners))))
        return
    console = Console(stderr=True)
    result = asyncio.run(measure(options, console))
    console.print(tables(result))
    text = json.dumps(result, indent=1)
    if options.out:
        options.out.write_text(text + "\n")
    else:
        print(text)


if __name__ == "__main__":
    main()
