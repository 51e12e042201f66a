"""Leaving is clean: a hundred users later the server is what it was after five. And nobody suffers from another's end.

Promises 1, 3 and 7. The cycles run against a real `reactor run` for what the system sees (threads, descriptors,
processes, memory), and against a runtime in this process for what only Python sees (tasks and objects).
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import logging
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest
from aiortc import InvalidStateError
from support.crowd import Crowd
from support.promises import NIGHTLY, by_night, long_form
from support.served import MODEL, served, until_state
from support.server import ReactorRun, running, write_model
from support.visitor import Refused, Visitor, client_process, watching

from reactor_runtime.session.lifecycle import State
from reactor_runtime.session.session import Session
from reactor_runtime.session.stream import VideoStream
from reactor_runtime.session.viewer import Viewer

pytestmark = pytest.mark.slow

CYCLES = long_form(100, nightly=2_000)
WARM_UP = 5
#: How long a session waits for the next of two users; a new one that was started in it may not be late.
ORPHAN_S = long_form(2, nightly=4)
#: Samples of memory, one for ten users, that are left out of the line: the journal's 1,024 events fill in 200 users.
MEMORY_WARM_UP = long_form(2, nightly=20)
#: The figure, and what eight samples of a hundred users are held to: pools and arenas still fill in them.
SLOPE_MAX_KIB = 5.0
SLOPE_GUARD_KIB = 40.0
#: How long a client may be silent in the test; a server's default takes too long for every change.
SILENT_S = long_form(5, nightly=20)
#: What the model emits.
FPS = 30.0
#: Pools that fill as they are needed and belong to no user, by the name their threads have for the system:
#: asyncio's for blocking calls (as the process; six at most on two cores, besides the main thread and the one
#: that waits for the model's exit) and the WebRTC engine's, which grows in a rush and gives an idle thread back
#: after a while. A thread left behind by every user would be ninety-five.
POOLS = Counter({"reactor": 8, "tokio-rt-worker": 6})
POOL_IDLE_S = 10


def faulty(folder: Path) -> Path:
    source = "from reactor_runtime.testing import FaultyModel as Model\n"
    return write_model(folder, source, args={"size": [120, 160]})


@dataclass(frozen=True)
class Footprint:
    """What a server holds on to, apart from memory."""

    threads: Counter[str]
    """But those of the pools."""
    pooled: int
    descriptors: Counter[str]
    children: int
    shared_memory: int

    def beyond(self, baseline: Footprint) -> dict[str, object]:
        """What there is more of than in the baseline, which may have seen a connection that was about to close."""
        more = {
            "threads": self.threads - baseline.threads,
            "descriptors": self.descriptors - baseline.descriptors,
            "children": max(0, self.children - baseline.children),
            "shared_memory": max(0, self.shared_memory - baseline.shared_memory),
        }
        return {name: count for name, count in more.items() if count}

    @classmethod
    def of(cls, pid: int) -> Footprint:
        process = psutil.Process(pid)
        names = Counter(
            Path(f"/proc/{pid}/task/{thread.id}/comm").read_text().strip() for thread in process.threads()
        )
        return cls(
            names - POOLS,
            sum((names & POOLS).values()),
            Counter(_kind(pid, fd) for fd in os.listdir(f"/proc/{pid}/fd")),
            len(process.children(recursive=True)),
            Path(f"/proc/{pid}/maps").read_text().count("memfd:"),
        )


def _kind(pid: int, fd: str) -> str:
    target = os.readlink(f"/proc/{pid}/fd/{fd}")
    return target.split("[")[0] if target.endswith("]") else target


async def settled(server: ReactorRun, baseline: Footprint | None = None, within_s: float = 5.0) -> Footprint:
    """The footprint once nobody is there any more, and once it is the baseline again if it becomes that."""
    deadline_s = time.monotonic() + within_s
    while True:
        footprint = Footprint.of(server.process.pid)
        again = Footprint.of(server.process.pid)
        same = baseline is None or footprint.beyond(baseline) == {}
        if (footprint == again and same) or time.monotonic() > deadline_s:
            return footprint
        await asyncio.sleep(0.05)


async def stay(url: str, *, politely: bool) -> None:
    """Connect, see a frame, send a command, go. If the last one vanished, it is their session that is joined."""
    async with Visitor(url) as visitor:
        answer = await visitor.start()
        if answer.status_code == 409:
            await visitor.adopt()
        await visitor.watch()
        await visitor.ask("set_note", note="here")
        if politely:
            await visitor.leave()


async def test_after_a_hundred_users_the_server_is_what_it_was_after_five(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    # Whoever takes over the session of one who vanished steers it as well, whose seat is still kept.
    with running(faulty(tmp_path), "--orphan-s", str(ORPHAN_S), "--join", "drive") as server:
        process = psutil.Process(server.process.pid)
        began_s = time.monotonic()
        memory: list[float] = []
        baseline: Footprint | None = None
        for cycle in range(CYCLES):
            if cycle == WARM_UP:
                await asyncio.to_thread(server.wait_for_state, "ready")
                baseline = await settled(server, await settled(server))
            # Who vanishes is followed by one who takes the session over, but for a few whose session ends by itself.
            await stay(server.url, politely=cycle % 2 == 1 and cycle % 50 != 49)
            if cycle % 10 == 9:
                await asyncio.to_thread(server.wait_for_state, "ready")
                memory.append(process.memory_info().rss / 1024)
        await asyncio.to_thread(server.wait_for_state, "ready")
        took_s = time.monotonic() - began_s
        assert baseline is not None
        after = await settled(server, baseline, POOL_IDLE_S + 5)
        slope = growth(memory[MEMORY_WARM_UP:]) / 10
        record_property("measured", f"{slope:+.1f} KiB a session over {CYCLES}; all else ±0")
        print(
            f"\n  {CYCLES} users in {took_s:.0f} s; memory {memory[0] / 1024:.1f} → {memory[-1] / 1024:.1f} MiB,"
            f" slope {slope:+.1f} KiB per user; {sum(after.threads.values())} threads"
            f" and {after.pooled} in pools (after five users {baseline.pooled}),"
            f" {sum(after.descriptors.values())} descriptors, {after.children} child,"
            f" {after.shared_memory} shared mappings"
        )
        assert after.beyond(baseline) == {}
        assert slope <= (SLOPE_MAX_KIB if NIGHTLY else SLOPE_GUARD_KIB)


def growth(memory: list[float]) -> float:
    """Return the slope of the line through samples, by the median of all pairs: a pool that fills once is no growth.

    Theil and Sen's estimator (Sen, JASA 63, 1968).
    """
    slopes = [
        (later - earlier) / (n - m)
        for (m, earlier), (n, later) in itertools.combinations(enumerate(memory), 2)
    ]
    return float(np.median(slopes))


@pytest.mark.parametrize("engine", ["reactor", *by_night("aiortc")])
async def test_no_task_and_no_object_of_a_session_outlives_it(tmp_path: Path, engine: str) -> None:
    async with served(tmp_path, MODEL, engine=engine, orphan_s=1.0) as runtime:

        async def session(*, politely: bool) -> None:
            async with watching(runtime.url) as visitor:
                await visitor.ask("note", number=1)
                if politely:
                    await visitor.leave()
            await until_state(runtime, "ready")

        def left() -> Counter[str]:
            gc.collect()
            coroutines: list[Any] = [task.get_coro() for task in asyncio.all_tasks()]
            tasks = Counter(coroutine.__qualname__ for coroutine in coroutines)
            kinds = (Session, Viewer, VideoStream)
            objects = Counter(type(o).__name__ for o in gc.get_objects() if type(o) in kinds)
            peers = Counter(peer=len(runtime._engine._peers))  # type: ignore[attr-defined]
            return tasks + objects + peers

        # What the doctor is told of a load is found beside the first sessions.
        assert runtime._measuring is not None
        await runtime._measuring
        baseline = left()
        for cycle in range(long_form(6, nightly=100)):
            await session(politely=cycle % 2 == 0)
        deadline_s = time.monotonic() + 5
        while (now := left()) != baseline:
            assert time.monotonic() < deadline_s, (now - baseline, baseline - now)
            await asyncio.sleep(0.05)


#: What a client meets when somebody else ended its session in the middle of things.
NOT_OURS = (AssertionError, TimeoutError, httpx.HTTPStatusError, KeyError, InvalidStateError, Refused)


async def test_clients_that_come_and_go_at_random_are_counted_right(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with served(tmp_path, MODEL, orphan_s=0.5) as runtime:
        lags: list[float] = []
        ends_s = time.monotonic() + long_form(4, nightly=8)

        async def beat() -> None:
            while True:
                began_s = time.monotonic()
                await asyncio.sleep(0.01)
                lags.append(time.monotonic() - began_s - 0.01)

        async def client(seed: int) -> int:
            dice, visits = random.Random(seed), 0
            while time.monotonic() < ends_s:
                async with Visitor(runtime.url) as visitor:
                    with suppress(*NOT_OURS):
                        if (await visitor.start()).status_code != 200:
                            await visitor.adopt()
                        await asyncio.wait_for(visitor.connect(), 3)
                        visitor.resume()
                        visits += 1
                        await asyncio.sleep(dice.random() * 0.3)
                        visitor.tell("note", number=dice.randrange(1000))
                        if dice.random() < 0.3:
                            await asyncio.wait_for(visitor.connect(method="PUT"), 3)
                        if dice.random() < 0.2:
                            await visitor.http.post("/stop_session")
            return visits

        beating = asyncio.create_task(beat())
        visits = await asyncio.gather(*(client(seed) for seed in range(6)))
        beating.cancel()
        await until_state(runtime, "ready", within_s=20)
        print(
            f"\n  {sum(visits)} visits; loop lag p99 {np.percentile(lags, 99) * 1000:.0f} ms,"
            f" worst {max(lags) * 1000:.0f} ms (server, model and all clients on one loop's process)"
        )
        assert sum(visits) > 10
        entries = runtime.sessions.journal.since(0)
        starts = sum(entry.event == "start_session" for entry in entries)
        ends = sum((entry.before, entry.after) == (State.CLOSING, State.READY) for entry in entries)
        assert starts == ends
        assert runtime.sessions.slots[0]._lifecycle.viewers == 0
        assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_a_killed_client_is_noticed_and_nobody_else_notices(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    with running(faulty(tmp_path)) as server:
        async with watching(server.url) as other:
            with client_process(server.url) as client:
                assert viewers(server) == 2
                quiet_s = time.monotonic()
                quiet = await rate(other, 4.0)
                crowd = Crowd()
                client.kill()
                killed_s = time.monotonic()
                # On a thread: this loop is the other viewer's as well, and its pictures are what is timed.
                while await asyncio.to_thread(viewers, server) == 2:
                    other.ping()
                    await asyncio.sleep(0.1)
                    assert time.monotonic() - killed_s < 30
            took_s = time.monotonic() - killed_s
            before = np.diff([t for t in other.frame_times if quiet_s <= t < killed_s])
            # The promise is ten seconds; a machine that is busy with other tests takes longer to notice.
            assert took_s <= 12
            gaps = np.diff([t for t in other.frame_times if t >= killed_s - 0.1])
            record_property(
                "measured",
                f"{took_s:.1f} s; longest gap of others {gaps.max() * 1000:.0f} ms "
                f"({before.max() * 1000:.0f} ms in the four seconds before)",
            )
            print(
                f"\n  gone after {took_s:.1f} s; the other viewer had {len(gaps) / took_s:.1f} frames/s,"
                f" longest gap {gaps.max() * 1000:.0f} ms"
            )
            assert len(gaps) / took_s >= (0.5 if crowd.crowded else 0.8) * quiet
            # A crowded machine takes the cores from this viewer itself, for as long as it likes.
            assert gaps.max() < 0.6 + crowd.adds_s(2.4)
            assert server.session_state() == "streaming"


async def test_a_viewer_who_stops_reading_costs_the_others_nothing_and_is_cut_off(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    with running(faulty(tmp_path), "--ping-timeout-s", str(SILENT_S)) as server:
        process = psutil.Process(server.process.pid)
        async with watching(server.url) as healthy:
            with client_process(server.url) as client:
                await rate(healthy, 2.0)
                crowd = Crowd()
                before, seen, shown = process.memory_info().rss, healthy.frames, frames(server)["shown"]
                client.send_signal(signal.SIGSTOP)
                stopped_s = time.monotonic()
                peak = 0
                while viewers(server) == 2:
                    healthy.ping()
                    peak = max(peak, process.memory_info().rss)
                    # What is broadcast meanwhile waits in a bounded channel.
                    healthy.tell("set_note", note="x" * 200)
                    await asyncio.sleep(0.05)
                    assert time.monotonic() - stopped_s < SILENT_S + 15
                took_s = time.monotonic() - stopped_s
                seen, shown = healthy.frames - seen, frames(server)["shown"] - shown
                client.send_signal(signal.SIGCONT)
            grown = (peak - before) / 2**20
            gaps = np.diff([t for t in healthy.frame_times if t >= stopped_s])
            record_property(
                "measured",
                f"memory {grown:+.1f} MiB; the other {seen / shown:.1%} of frames; cut after {took_s:.1f} s",
            )
            print(
                f"\n  {shown / took_s:.1f} frames/s shown, the healthy viewer had {seen / took_s:.1f},"
                f" longest gap {gaps.max() * 1000:.0f} ms"
            )
            # A client that shares a crowded machine does not decode every frame that it is sent.
            assert seen >= (0.8 if crowd.crowded else 0.98) * shown
            assert grown <= 20
            assert took_s <= SILENT_S + 2 + crowd.adds_s(5)
            # Whichever comes first: its silence, or that no packet of its line is answered.
            reason = await asyncio.to_thread(farewell, server)
            assert f"nothing heard for {SILENT_S} s" in reason or "connection lost" in reason
            await until_counted(server)
            assert server.session_state() == "streaming"


def farewell(server: ReactorRun) -> str:
    """What the server's events say of the first viewer who went."""
    with httpx.stream("GET", server.url + "/events?since=0", timeout=10) as answer:
        return next(line for line in answer.iter_lines() if "viewer_gone" in line)


async def until_counted(server: ReactorRun) -> None:
    """Every frame was shown or is counted, and what was shown was encoded or is counted, but for a few on their way."""
    deadline_s = time.monotonic() + 5
    while True:
        now = frames(server)
        waiting = now["emitted"] - now["shown"] - now["skipped"]
        encoding = now["shown"] - now["encoded"] - now["dropped"]
        if 0 <= waiting <= 4 and encoding <= 4:
            return
        assert time.monotonic() < deadline_s, now
        await asyncio.sleep(0.05)


async def rate(visitor: Visitor, seconds: float) -> float:
    """Frames a second from now on; a client that had fallen behind and catches up counts as none that had."""
    before, began_s = visitor.frames, time.monotonic()
    while time.monotonic() - began_s < seconds:
        visitor.ping()
        await asyncio.sleep(0.1)
    return min(FPS, (visitor.frames - before) / (time.monotonic() - began_s))


def viewers(server: ReactorRun) -> int:
    return numbers(server)["reactor_viewers"]


def frames(server: ReactorRun) -> dict[str, int]:
    """Totals of frames since the server started, by what became of them, all of one moment."""
    now = numbers(server)
    kinds = ("emitted", "shown", "skipped", "encoded", "dropped")
    return {kind: now[f"reactor_frames_{kind}_total"] for kind in kinds}


def numbers(server: ReactorRun) -> dict[str, int]:
    text = server.get("/metrics").text.replace('{slot="0"}', "")
    lines = [line.split() for line in text.splitlines() if not line.startswith("#")]
    return {line[0]: int(float(line[1])) for line in lines}
