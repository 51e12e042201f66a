"""What is measured: one real `reactor run` of the test card, one real Chromium, one case at a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import httpx
from playwright.async_api import Browser
from prometheus_client.parser import text_string_to_metric_families
from support import server as runs

from .browser import Viewer, viewer
from .process import machine_cpu_s, usage
from .stats import describe, longest_gap

TESTCARD = Path(__file__).parents[1] / "examples" / "testcard"
WARM_UP_S = 3.0


@dataclass(frozen=True)
class Case:
    """One configuration. `pace`: "sleep" keeps its own time, "emit" is paced by back-pressure alone."""

    width: int
    height: int
    fps: int
    pace: Literal["sleep", "emit"] = "sleep"
    viewers: int = 1
    codec: str = "auto"
    engine: str = "reactor"
    link: str = ""
    """The rung that is forced; "" for the page's own choice, here UDP."""
    flags: tuple[str, ...] = ()
    commands: int = 0
    note: str = ""

    @property
    def name(self) -> str:
        words = [f"{self.width}x{self.height}@{self.fps}", self.pace]
        words += [f"{self.viewers} viewers"] if self.viewers > 1 else []
        words += [word for word in (self.codec if self.codec != "auto" else "", self.note) if word]
        words += [word for word in (self.engine if self.engine != "reactor" else "", self.link) if word]
        return " ".join(words)


@asynccontextmanager
async def serving(case: Case) -> AsyncIterator[runs.ReactorRun]:
    """Run the test card as the case wants it."""
    args = {
        "width": case.width,
        "height": case.height,
        "fps": case.fps,
        "pace": f'"{case.pace}"',
        "stamp": "true",
    }
    flags = [flag for key, value in args.items() for flag in ("--arg", f"{key}={value}")]
    made = runs.running(TESTCARD, *flags, "--codec", case.codec, "--engine", case.engine, *case.flags)
    run = await asyncio.to_thread(made.__enter__)
    try:
        yield run
    finally:
        await asyncio.to_thread(made.__exit__, None, None, None)


def metrics(url: str) -> dict[str, float]:
    text = httpx.get(url + "/metrics", timeout=10).text
    return {
        sample.name: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def stream(browser: Browser, case: Case, *, window_s: float) -> dict[str, Any]:
    """Measure a running stream: latency, smoothness, cost, and commands if the case has any."""
    async with serving(case) as run, AsyncExitStack() as stack:
        url = f"{run.url}/?link={case.link}" if case.link else run.url
        watcher = await stack.enter_async_context(viewer(browser, url))
        for _ in range(case.viewers - 1):
            await stack.enter_async_context(viewer(browser, run.url, probing=False))
        await asyncio.sleep(WARM_UP_S)
        model_pid = run.children()[0]
        await watcher.call("probe.forget()")
        before, model_before, rtp_before = (
            usage(run.process.pid),
            usage(model_pid),
            await watcher.call("probe.inbound()"),
        )
        machine_before, counted_before, began = machine_cpu_s(), metrics(run.url), time.monotonic()
        await asyncio.sleep(window_s)
        passed_s = time.monotonic() - began
        after, model_after, rtp_after = (
            usage(run.process.pid),
            usage(model_pid),
            await watcher.call("probe.inbound()"),
        )
        machine_s, counted = machine_cpu_s() - machine_before, metrics(run.url)
        frames = await watcher.call("probe.frames")
        shown = counted["reactor_frames_shown_total"] - counted_before["reactor_frames_shown_total"]
        emitted = counted["reactor_frames_emitted_total"] - counted_before["reactor_frames_emitted_total"]
        emit_s = (
            counted["reactor_model_emit_seconds_total"] - counted_before["reactor_model_emit_seconds_total"]
        )
        server_s, model_s = after.cpu_s - before.cpu_s, model_after.cpu_s - model_before.cpu_s
        decoded = rtp_after["framesDecoded"] - rtp_before["framesDecoded"]
        result: dict[str, Any] = {
            "latency_ms": describe([frame["ageMs"] for frame in frames if frame["ageMs"] is not None]),
            "decoded_ms": describe([frame["decodedMs"] for frame in frames if frame["ageMs"] is not None]),
            "displayed_fps": round(len(frames) / passed_s, 2),
            "decoded_fps": round(decoded / passed_s, 2),
            "decoded_share": round(decoded / max(1.0, shown), 4),
            "unread": sum(frame["ageMs"] is None for frame in frames),
            "longest_freeze_ms": round(longest_gap([frame["atMs"] for frame in frames]), 1),
            "server_cpu_ms_per_frame": round(server_s * 1000 / max(1.0, shown), 2),
            "model_cpu_ms_per_frame": round(model_s * 1000 / max(1.0, emitted), 2),
            "emit_ms": round(emit_s * 1000 / max(1.0, emitted), 3),
            "server_rss_mb": round(after.rss_mb, 1),
            "model_rss_mb": round(model_after.rss_mb, 1),
            "other_cpu_percent": round((machine_s - server_s - model_s) / passed_s * 100, 1),
            "mbit_per_s": round(
                8 * (_bytes(rtp_after, counted) - _bytes(rtp_before, counted_before)) / passed_s / 1e6, 3
            ),
        }
        if "jitterBufferDelay" in rtp_after:
            result |= {
                "jitter_buffer_ms": _per_frame(
                    rtp_before, rtp_after, "jitterBufferDelay", "jitterBufferEmittedCount"
                ),
                "decode_ms": _per_frame(rtp_before, rtp_after, "totalDecodeTime", "framesDecoded"),
            }
        if case.commands:
            result |= await _commands(watcher, case.commands)
        return result


def _bytes(inbound: dict[str, float], counted: dict[str, float]) -> float:
    """What was received; over a WebSocket what was encoded, which is all sent on a good line."""
    return inbound.get("bytesReceived", counted["reactor_encoded_bytes_total"])


async def _commands(watcher: Viewer, count: int) -> dict[str, Any]:
    rows = await watcher.call(f"probe.commands({count}, 150)")
    seen = [row for row in rows if row is not None]
    return {
        "command_shown_ms": describe([row["shownMs"] for row in seen]),
        "command_handled_ms": describe([row["handledMs"] for row in seen]),
        "commands_seen": f"{len(seen)} of {count}",
    }


def _per_frame(before: dict[str, float], after: dict[str, float], total: str, count: str) -> float:
    return round((after[total] - before[total]) * 1000 / max(1.0, after[count] - before[count]), 2)


async def starts(browser: Browser, case: Case, *, times: int) -> dict[str, Any]:
    """Measure connecting to a loaded model with the page open, and the next user after a leave."""
    async with serving(case) as run, viewer(browser, run.url) as watcher:
        first, following = list[float](), list[float]()
        for _ in range(times):
            await watcher.call("window.reactorPage.stop()")
            await asyncio.to_thread(run.wait_for_state, "ready")
            await asyncio.sleep(0.3)
            first.append(await watcher.call("probe.connect()"))
            await asyncio.sleep(0.5)
            following.append(await watcher.call("probe.leaveAndReturn()"))
            await asyncio.sleep(0.5)
        return {"connect_to_first_frame_ms": describe(first), "next_user_ms": describe(following)}
