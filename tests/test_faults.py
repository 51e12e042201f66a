"""What a model can do to the server, and what the server promises about it (promises 10 to 19, 40).

Each test runs a FaultyModel in a real model process and holds a figure. The figures are the promises'; NOISE_S is what
tests that run beside these may add to a time. Under `make nightly` none do.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

import psutil
import pytest
from support.crowd import Crowd
from support.host_events import Recording, settings, watch, write_manifest, write_model
from support.promises import by_night, long_form

from reactor_runtime import limits
from reactor_runtime.errors import ModelCrashed, ModelFailed, ModelHung, ModelOutOfMemory
from reactor_runtime.host import HostState
from reactor_runtime.worker.parent import ProcessHost

pytestmark = pytest.mark.slow

NOISE_S = 1.0
Served = tuple[ProcessHost, Recording]


@asynccontextmanager
async def serving(
    folder: Path, *, model: str = "FaultyModel", args: dict[str, Any] | None = None, **limits_s: Any
) -> AsyncIterator[Served]:
    """A loaded model with a session that somebody watches, and frames that flow."""
    events = Recording()
    manifest = write_manifest(folder, f"reactor_runtime.testing:{model}", **(args or {}))
    host = ProcessHost(events, manifest, {}, settings(**limits_s))
    try:
        await host.load()
        host.start_session("first")
        watch(host)
        await events.until(lambda: len(events.frames) > 3)
        yield host, events
    finally:
        await host.close()


async def fault(host: ProcessHost, events: Recording, kind: str, **arguments: Any) -> float:
    """Ask for a fault that may never be answered; return when."""
    with suppress(AssertionError, TimeoutError):
        asked_s = time.monotonic()
        await events.ask(host, "fault", within_s=0.01, kind=kind, **arguments)
    return asked_s


async def next_user_is_served(host: ProcessHost, events: Recording) -> None:
    host.start_session("second")
    watch(host)
    await events.more_frames()


# 10 ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["FaultyModel", "FaultyGenerator"])
async def test_a_handler_that_raises_is_answered_at_once_and_no_frame_is_lost(
    tmp_path: Path, model: str, record_property: Callable[[str, object], None]
) -> None:
    async with serving(tmp_path, model=model) as (host, events):
        crowd, took_s = Crowd(), []
        for _ in range(long_form(20, nightly=500)):
            asked_s = time.monotonic()
            outcome = await events.ask(host, "fault", kind="raise", where="handler")
            took_s.append(time.monotonic() - asked_s)
            assert outcome.code == "internal_error"
            assert "secret" not in outcome.message
        record_property(
            "measured", f"{median(took_s) * 1000:.0f} ms, the slowest {max(took_s) * 1000:.0f} ms"
        )
        assert median(took_s) <= 0.2 + crowd.adds_s(0.2)
        assert max(took_s) <= 0.2 + crowd.adds_s(NOISE_S)
        await events.more_frames()
        ids = [frame_id for frame_id, _, _ in events.frames]
        assert ids == list(range(1, len(ids) + 1))
        await host.stop_session()
        assert events.ended == [None]
        await events.until(lambda: "ValueError: a secret path" in events.text)
        assert events.text.count("Traceback") == 1


# 11 ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["FaultyModel", "FaultyGenerator"])
async def test_a_loop_that_raises_ends_the_session_within_500_ms_and_the_next_user_is_served(
    tmp_path: Path, model: str
) -> None:
    async with serving(tmp_path, model=model) as (host, events):
        for number, kind in enumerate(("raise", "system_exit"), 1):
            crowd = Crowd()
            asked_s = await fault(host, events, kind)
            await events.until(lambda: events.ended)
            assert events.ended_s - asked_s <= 0.5 + crowd.adds_s(NOISE_S)
            error = events.ended.pop()
            assert type(error) is ModelFailed
            assert "secret" not in error.public()
            assert host.state is HostState.IDLE
            await next_user_is_served(host, events)
            assert (await events.ask(host, "status")).reply is not None
            assert events.text.count("Traceback") == number


# 12 ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "where"),
    [
        ("spin", "loop"),
        ("sleep_c", "handler"),
        *by_night(
            ("sleep", "loop"),
            ("sleep_gil", "loop"),
            ("sleep_c", "loop"),
            ("deadlock", "loop"),
            ("sleep", "handler"),
            ("sleep_gil", "handler"),  # test_failures.py has it in every run
            ("spin", "handler"),
            ("deadlock", "handler"),
        ),
    ],
)
async def test_a_hang_is_noticed_at_its_limit_with_the_stack_in_the_log(
    tmp_path: Path, kind: str, where: str, record_property: Callable[[str, object], None]
) -> None:
    async with serving(tmp_path, hang_s=1.0) as (host, events):
        pid, crowd = host.pid, Crowd()
        asked_s = await fault(host, events, kind, amount=30, where=where)
        await events.until(lambda: events.failures)
        over_s = events.failed_s - asked_s - 1.0
        record_property("measured", f"limit + {over_s * 1000:.0f} ms")
        assert 0.0 <= over_s <= 0.1 + crowd.adds_s(NOISE_S)
        assert isinstance(events.failures[0], ModelHung)
        assert host.state is HostState.FAILED
        assert f"in _{kind}\n" in events.text + "\n"
        assert pid is not None
        assert not psutil.pid_exists(pid)


async def test_an_await_that_never_returns_is_a_hang(tmp_path: Path) -> None:
    source = """
import asyncio
from reactor_runtime import VideoModel, command, get_ctx
import numpy as np

class Model(VideoModel):
    def start_session(self):
        while True:
            yield np.zeros((32, 32, 3), np.uint8)

    @command
    async def never(self):
        await asyncio.Event().wait()
"""
    events = Recording()
    host = ProcessHost(events, write_model(tmp_path, source), {}, settings(hang_s=0.5))
    await host.load()
    host.start_session("s")
    watch(host)
    await events.until(lambda: len(events.frames) > 3)
    outcome = await events.ask(host, "never")
    assert outcome.code == "model_hung"
    assert isinstance(events.failures[0], ModelHung)
    await host.close()


async def test_loading_and_the_first_frame_have_limits_of_their_own(tmp_path: Path) -> None:
    events = Recording()
    manifest = write_manifest(tmp_path, "reactor_runtime.testing:FaultyModel", load_fault="hang")
    host = ProcessHost(events, manifest, {}, settings(load_s=2.0, hang_s=0.1))
    crowd, began_s = Crowd(), time.monotonic()
    with pytest.raises(ModelHung, match="loading"):
        await host.load()
    assert 2.0 <= time.monotonic() - began_s <= 2.0 + 0.35 + crowd.adds_s(NOISE_S)
    assert events.failures == []
    await host.close()

    source = """
import time
from reactor_runtime import VideoModel
import numpy as np

class Model(VideoModel):
    def start_session(self):
        time.sleep(1.0)
        while True:
            yield np.zeros((32, 32, 3), np.uint8)
"""
    host = ProcessHost(events, write_model(tmp_path, source), {}, settings(hang_s=0.5, first_frame_s=5))
    await host.load()
    host.start_session("compiles")
    watch(host)
    await events.until(lambda: len(events.frames) > 3)
    await host.close()


async def test_waiting_for_viewers_and_for_commands_is_never_a_hang(tmp_path: Path) -> None:
    source = """
from reactor_runtime import VideoModel, command, get_ctx
import numpy as np

class Model(VideoModel):
    def start_session(self):
        get_ctx().emit_frame(np.zeros((32, 32, 3), np.uint8))
        get_ctx().wait(1.0)
        while True:
            get_ctx().emit_frame(np.zeros((32, 32, 3), np.uint8))
"""
    events = Recording()
    events.hold = True
    host = ProcessHost(events, write_model(tmp_path, source), {}, settings(hang_s=0.3, first_frame_s=0.3))
    await host.load()
    host.start_session("s")
    await asyncio.sleep(2.0)
    assert events.failures == []
    assert len(events.frames) == limits.FRAMES_AHEAD_UNWATCHED
    for frame in events.held:
        frame.release()
    await host.close()


# 13 ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "where", "exit_code", "stack"),
    [
        ("segfault", "loop", -signal.SIGSEGV, "in _segfault"),
        ("abort", "handler", -signal.SIGABRT, "in _abort"),
        ("exit", "handler", 3, ""),
        ("kill", "loop", -signal.SIGKILL, ""),
        *by_night(
            ("segfault", "handler", -signal.SIGSEGV, "in _segfault"),
            ("abort", "loop", -signal.SIGABRT, "in _abort"),
            ("exit", "loop", 3, ""),
            ("kill", "handler", -signal.SIGKILL, ""),
        ),
    ],
)
async def test_a_crash_is_told_within_100_ms_and_a_new_process_serves(
    tmp_path: Path,
    kind: str,
    where: str,
    exit_code: int,
    stack: str,
    record_property: Callable[[str, object], None],
) -> None:
    async with serving(tmp_path) as (host, events):
        crowd = Crowd()
        asked_s = await fault(host, events, kind, amount=3, where=where)
        await events.until(lambda: events.failures)
        took_s = events.failed_s - asked_s
        record_property("measured", f"{took_s * 1000:.0f} ms")
        # A frame may pass before the loop looks at what it was asked to do.
        assert took_s <= 0.1 + 1 / 30 + crowd.adds_s(NOISE_S)
        (error,) = events.failures
        assert isinstance(error, ModelCrashed)
        assert error.exit_code == exit_code
        assert stack in events.text
        assert events.ended == []
        assert host.pid is not None
        assert not psutil.pid_exists(host.pid)
    async with serving(tmp_path) as (host, events):
        assert host.state is HostState.RUNNING


async def test_a_crash_while_loading_is_what_load_raises(tmp_path: Path) -> None:
    for load_fault, error, text in [
        ("exit", ModelCrashed, "status 3"),
        ("raise", ModelFailed, "the weights are not what they were"),
        ("oom", ModelOutOfMemory, "CUDA out of memory"),
    ]:
        events = Recording()
        manifest = write_manifest(tmp_path, "reactor_runtime.testing:FaultyModel", load_fault=load_fault)
        host = ProcessHost(events, manifest, {}, settings())
        with pytest.raises(error, match=text):
            await host.load()
        assert host.state is HostState.FAILED
        assert events.failures == []
        await host.close()


async def test_every_command_is_answered_also_when_the_process_dies_with_it(tmp_path: Path) -> None:
    async with serving(tmp_path) as (host, events):
        outcome = await events.ask(host, "fault", kind="exit", where="handler")
        assert outcome.code == "model_crashed"
        assert len(events.outcomes) == 1


# 14 and 15 --------------------------------------------------------------------------------------------


async def test_running_out_of_memory_in_the_loop_ends_the_session_with_that_reason(tmp_path: Path) -> None:
    async with serving(tmp_path) as (host, events):
        for kind in ("allocate", "gpu_oom"):
            await fault(host, events, kind, amount=1e9)
            await events.until(lambda: events.ended)
            assert isinstance(events.ended.pop(), ModelOutOfMemory)
            await next_user_is_served(host, events)


@pytest.mark.parametrize("model", ["FaultyModel", "FaultyGenerator"])
async def test_running_out_of_memory_in_a_command_degrades_once_and_then_ends_the_session(
    tmp_path: Path, model: str
) -> None:
    async with serving(tmp_path, model=model) as (host, events):
        outcome = await events.ask(host, "fault", kind="gpu_oom", where="handler")
        assert outcome.code == "out_of_memory"
        assert [message.type for message in events.messages] == ["degraded"]
        await events.more_frames()
        await events.ask(host, "fault", kind="gpu_oom", where="handler")
        await events.until(lambda: events.ended)
        assert isinstance(events.ended[0], ModelOutOfMemory)
        await next_user_is_served(host, events)


async def test_the_kernels_out_of_memory_killer_takes_the_model_and_is_named(tmp_path: Path) -> None:
    group = Path("/sys/fs/cgroup/memory/reactor-test")
    limit = group / "memory.limit_in_bytes"
    if not group.parent.is_dir():
        group = Path("/sys/fs/cgroup/reactor-test")
        limit = group / "memory.max"
    try:
        group.mkdir(exist_ok=True)
    except OSError:
        pytest.skip("needs a writable memory cgroup")
    try:
        async with serving(tmp_path) as (host, events):
            try:
                (group / "cgroup.procs").write_text(str(host.pid))
                limit.write_text(str(psutil.Process(host.pid).memory_info().rss + 64 * limits.MIB))
            except OSError:
                pytest.skip("needs a writable memory cgroup")
            await fault(host, events, "allocate", amount=512)
            await events.until(lambda: events.failures)
            assert isinstance(events.failures[0], ModelOutOfMemory)
    finally:
        await Recording().until(lambda: _removed(group))


def _removed(group: Path) -> bool:
    with suppress(OSError):
        group.rmdir()
    return not group.exists()


# 16 ---------------------------------------------------------------------------------------------------


async def test_a_wrong_frame_raises_at_its_line_and_the_session_lives(tmp_path: Path) -> None:
    async with serving(tmp_path) as (host, events):
        for kind, where in product(("wrong_shape", "nan_frame"), ("loop", "handler")):
            await fault(host, events, kind, where=where)
            await events.until(lambda: events.messages)
            message = events.messages.pop()
            assert message.type == "rejected"
            assert "accepted" in str(message.data) or "NaN" in str(message.data)
            await events.more_frames()
            assert set(events.sizes) == {(360, 640, 3)}
        assert events.messages == []


# 17 ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["FaultyModel", "FaultyGenerator"])
async def test_a_stop_that_is_ignored_ends_in_a_kill_within_a_second_of_its_limit(
    tmp_path: Path, model: str
) -> None:
    async with serving(tmp_path, model=model, stop_s=1.0) as (host, events):
        await fault(host, events, "ignore_stop", amount=60)
        await asyncio.sleep(0.1)
        crowd, asked_s = Crowd(), time.monotonic()
        await host.stop_session()
        assert 1.0 <= time.monotonic() - asked_s <= 2.0 + crowd.adds_s(NOISE_S)
        assert isinstance(events.failures[0], ModelHung)
        assert events.ended == []


async def test_closing_a_model_that_ignores_the_stop_takes_no_longer_than_its_limit(tmp_path: Path) -> None:
    async with serving(tmp_path, stop_s=1.0) as (host, events):
        await fault(host, events, "spin", amount=60)
        await asyncio.sleep(0.1)
        crowd, asked_s = Crowd(), time.monotonic()
        await host.close()
        assert time.monotonic() - asked_s <= 2.0 + crowd.adds_s(NOISE_S)
        assert events.failures == []
        assert host.state is HostState.CLOSED


# 18 ---------------------------------------------------------------------------------------------------


async def test_ten_thousand_frames_at_once_are_held_back_and_memory_stays_flat(tmp_path: Path) -> None:
    async with serving(tmp_path) as (host, events):
        before = host.counters()
        await fault(host, events, "flood", amount=10_000)
        await events.until(lambda: len(events.frames) > 300)
        after = host.counters()
        assert after.model_rss_bytes - before.model_rss_bytes < 16 * limits.MIB
        events.hold = True
        await events.until(lambda: len(events.held) >= 2)
        held = await _settled(lambda: len(events.held))
        assert held <= limits.RING_MAX_FRAMES
        events.hold = False
        for frame in events.held:
            frame.release()
        seen = len(events.frames)
        watch(host)
        await events.until(lambda: len(events.frames) > seen + 100)
        await host.stop_session()
        assert events.ended == [None]


async def _settled(count: Callable[[], int]) -> int:
    """Wait until a number has not changed for a while."""
    last, since_s = count(), time.monotonic()
    while time.monotonic() - since_s < 0.3:
        await asyncio.sleep(0.01)
        if count() != last:
            last, since_s = count(), time.monotonic()
    return last


# 19 ---------------------------------------------------------------------------------------------------


@pytest.mark.alone
async def test_noise_of_100_mb_per_s_costs_neither_frames_nor_the_log(tmp_path: Path) -> None:
    async with serving(tmp_path) as (host, events):
        quiet = await _frames_within(events, 2.0)
        await fault(host, events, "noise", amount=100, where="handler")
        await asyncio.sleep(0.2)
        lines = len(events.lines)
        noisy = await _frames_within(events, 2.0)
        assert len(events.lines) - lines <= 3 * (limits.LOG_LINES_PER_S + 1)
        # Others use this machine as well: what costs frames for a while must not cost them always.
        for _ in range(3):
            if noisy < 0.95 * quiet:
                noisy = await _frames_within(events, 2.0)
        assert noisy >= 0.95 * quiet
        assert max(map(len, events.lines)) <= limits.LOG_LINE_MAX
        assert any("were dropped" in line for line in events.lines)
        assert host.counters().log_lines_dropped > 5_000
        asked_s = time.monotonic()
        await events.ask(host, "status")
        assert time.monotonic() - asked_s < 0.45


async def _frames_within(events: Recording, seconds: float) -> int:
    before = len(events.frames)
    await asyncio.sleep(seconds)
    return len(events.frames) - before


# 40 ---------------------------------------------------------------------------------------------------

SERVER = """
import asyncio, sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from support.host_events import Recording, watch
from reactor_runtime.config import Settings
from reactor_runtime.types import CommandCall
from reactor_runtime.worker.parent import ProcessHost

async def main():
    events = Recording()
    host = ProcessHost(events, Path(sys.argv[1]), {}, Settings())
    await host.load()
    host.start_session("s")
    watch(host)
    await events.until(lambda: len(events.frames) > 3)
    host.send_command(CommandCall(1, "fault", {"kind": sys.argv[3], "amount": 60}))
    await asyncio.sleep(0.2)
    print(host.pid, flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


@pytest.mark.parametrize("kind", ["silence", "sleep_gil"])
def test_the_model_dies_with_a_killed_server_within_2_s(tmp_path: Path, kind: str) -> None:
    manifest = write_manifest(tmp_path, "reactor_runtime.testing:FaultyModel")
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(manifest), str(Path(__file__).parent), kind],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdout is not None
    pid = int(server.stdout.readline())
    model = psutil.Process(pid)
    assert server.pid in [above.pid for above in model.parents()]
    crowd, killed_s = Crowd(), time.monotonic()
    os.kill(server.pid, signal.SIGKILL)
    server.wait()
    server.stdout.close()
    while model.is_running() and model.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() - killed_s <= 2.0 + crowd.adds_s(NOISE_S), "the model outlives its server"
        time.sleep(0.01)
