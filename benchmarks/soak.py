"""One long run at 720p30 with a viewer on each rung: freezes, drift, memory, threads, every half minute."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

from playwright.async_api import Browser
from rich.console import Console
from support.server import ReactorRun

from . import cases
from .browser import Viewer, viewer
from .cases import Case
from .process import usage
from .stats import describe, longest_gap

RUNGS = ("udp", "tcp", "websocket")
EVERY_S = 30.0


@dataclass
class Watched:
    """What one viewer has seen so far."""

    viewer: Viewer
    decoded_before: int
    windows: list[dict[str, float]] = field(default_factory=list)
    longest_freeze_ms: float = 0.0
    last_ms: float | None = None

    async def look(self) -> None:
        frames = await self.viewer.call("probe.frames.splice(0)")
        moments = ([self.last_ms] if self.last_ms is not None else []) + [frame["atMs"] for frame in frames]
        self.longest_freeze_ms = max(self.longest_freeze_ms, longest_gap(moments))
        self.last_ms = moments[-1] if moments else None
        self.windows.append(describe([frame["ageMs"] for frame in frames if frame["ageMs"] is not None]))

    async def summary(self, shown: float) -> dict[str, Any]:
        decoded = await _decoded(self.viewer) - self.decoded_before
        medians = [window["p50"] for window in self.windows if window]
        return {
            "longest_freeze_ms": round(self.longest_freeze_ms, 1),
            "decoded_share": round(decoded / max(1.0, shown), 5),
            "drift_ms": round(medians[-1] - medians[0], 2) if medians else None,
            "latency_ms_by_half_minute": self.windows,
        }


async def _decoded(watcher: Viewer) -> int:
    return int((await watcher.call("probe.inbound()"))["framesDecoded"])


async def soak(browser: Browser, minutes: float, console: Console) -> dict[str, Any]:
    case = Case(1280, 720, 30, note=f"{minutes:g} min")
    async with cases.serving(case) as run, AsyncExitStack() as stack:
        watched: dict[str, Watched] = {}
        for rung in RUNGS:
            watcher = await stack.enter_async_context(viewer(browser, f"{run.url}/?link={rung}"))
            watched[rung] = Watched(watcher, 0)
        await asyncio.sleep(cases.WARM_UP_S)
        shown_before = cases.metrics(run.url)["reactor_frames_shown_total"]
        for each in watched.values():
            each.decoded_before = await _decoded(each.viewer)
            await each.viewer.call("probe.forget()")
        processes: list[dict[str, float]] = [processes_of(run)]
        until_s = time.monotonic() + 60 * minutes
        while (left_s := until_s - time.monotonic()) > 0:
            await asyncio.sleep(min(EVERY_S, left_s))
            for each in watched.values():
                await each.look()
            processes.append(processes_of(run))
            told = {rung: each.windows[-1] for rung, each in watched.items()}
            console.print(f"[dim]{len(processes) / 2 - 0.5:g} min  {told}  {processes[-1]}[/dim]")
        shown = cases.metrics(run.url)["reactor_frames_shown_total"] - shown_before
        return {
            "soak": case.name,
            "rungs": {rung: await each.summary(shown) for rung, each in watched.items()},
            "processes_by_half_minute": processes,
        }


def processes_of(run: ReactorRun) -> dict[str, float]:
    """Return memory and threads of the server and of the model's process."""
    server, model = usage(run.process.pid), usage(run.children()[0])
    return {
        "server_rss_mb": round(server.rss_mb, 1),
        "server_threads": server.threads,
        "server_cpu_s": round(server.cpu_s, 1),
        "model_rss_mb": round(model.rss_mb, 1),
        "model_threads": model.threads,
        "model_cpu_s": round(model.cpu_s, 1),
    }
