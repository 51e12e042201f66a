"""Whatever the author's code starts ends with the model process, and with the server, however they end."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from support.host_events import Recording, settings, watch, write_model

from reactor_runtime.worker.parent import ProcessHost

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="elsewhere only the process group ends"),
]

#: Five each: a fork, a program, a program in a session of its own whose parent is gone, a worker of multiprocessing.
STARTS = """
import multiprocessing, os, subprocess, time
import numpy as np
from reactor_runtime import VideoModel, command

def sleep(ready):
    ready.set()
    time.sleep(600)

class Model(VideoModel):
    fps = 30

    def __init__(self):
        for _ in range(5):
            if os.fork() == 0:
                time.sleep(600)
                os._exit(0)
            subprocess.Popen(["sleep", "600"])
            subprocess.run(["setsid", "-f", "sleep", "600"], check=True)
            ready = multiprocessing.get_context("fork").Event()
            multiprocessing.get_context("fork").Process(target=sleep, args=(ready,), daemon=True).start()
            ready.wait()

    def start_session(self):
        while True:
            yield np.zeros((32, 32, 3), np.uint8)
"""

SERVER = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from support.host_events import Recording, settings, watch
from reactor_runtime.worker.parent import ProcessHost

async def main():
    events = Recording()
    host = ProcessHost(events, Path(sys.argv[1]), {}, settings())
    await host.load()
    host.start_session("s")
    watch(host)
    await events.until(lambda: events.frames)
    print(host.pid, flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


def below(pid: int) -> list[psutil.Process]:
    """The guard and the reaper of this process, and whatever they are the parents of, at any depth."""
    reaper = psutil.Process(pid).parent()
    assert reaper is not None
    guard = reaper.parent()
    assert guard is not None
    return [guard, *guard.children(recursive=True)]


def living(tree: list[psutil.Process]) -> list[psutil.Process]:
    return [member for member in tree if lives(member)]


def lives(member: psutil.Process) -> bool:
    try:
        # Orphans are collected by whatever is process 1 here, which may take its time.
        return member.is_running() and member.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:  # ended between the two questions
        return False


def gone_within_s(tree: list[psutil.Process]) -> float:
    began_s = time.monotonic()
    while left := living(tree):
        if time.monotonic() - began_s > 10:
            for member in left:
                member.kill()
            pytest.fail(f"left over: {left}")
        time.sleep(0.01)
    return time.monotonic() - began_s


@pytest.mark.parametrize("ends", ["killed", "closed"])
async def test_twenty_children_of_a_model_end_with_it(
    tmp_path: Path, ends: str, record_property: Callable[[str, object], None]
) -> None:
    events = Recording()
    host = ProcessHost(events, write_model(tmp_path, STARTS), {}, settings())
    await host.load()
    host.start_session("s")
    watch(host)
    await events.until(lambda: events.frames)
    assert host.pid is not None
    tree = below(host.pid)
    assert len(tree) >= 3 + 20
    began_s = time.monotonic()
    if ends == "killed":
        os.kill(host.pid, signal.SIGKILL)
        await events.until(lambda: events.failures)
    await host.close()
    took_s = time.monotonic() - began_s
    # The server is told when all of them are gone, so that a new model finds the memory that they held.
    assert living(tree) == []
    record_property("measured", f"{ends}: {took_s:.2f} s")
    assert took_s <= 2.0


@pytest.mark.parametrize("killed", [0, 1], ids=["guard", "reaper"])
async def test_twenty_children_of_a_model_end_when_who_watches_them_is_killed(
    tmp_path: Path, killed: int, record_property: Callable[[str, object], None]
) -> None:
    events = Recording()
    host = ProcessHost(events, write_model(tmp_path, STARTS), {}, settings())
    await host.load()
    assert host.pid is not None
    tree = below(host.pid)
    assert len(tree) >= 3 + 20
    assert all("reaper.py" in " ".join(watcher.cmdline()) for watcher in tree[:2])
    tree[killed].kill()
    took_s = await asyncio.to_thread(gone_within_s, tree)
    await events.until(lambda: events.failures)
    await host.close()
    record_property("measured", f"{took_s:.2f} s")
    assert took_s <= 2.0


def test_twenty_children_of_a_model_end_with_a_killed_server(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    manifest = write_model(tmp_path, STARTS)
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(manifest), str(Path(__file__).parent)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdout is not None
    tree = below(int(server.stdout.readline()))
    assert len(tree) >= 3 + 20
    server.kill()
    server.wait()
    server.stdout.close()
    took_s = gone_within_s(tree)
    record_property("measured", f"{took_s:.2f} s")
    assert took_s <= 2.0


POOL = """
import multiprocessing, os, signal
import numpy as np
from reactor_runtime import VideoModel, command, get_ctx

def square(n):
    return n * n

def emits(n):
    try:
        get_ctx().emit_frame(np.zeros((32, 32, 3), np.uint8))
    except RuntimeError as error:
        return str(error)

class Model(VideoModel):
    def __init__(self):
        with multiprocessing.get_context("fork").Pool(4) as pool:
            self.squares = pool.map(square, range(8))

    def start_session(self):
        while True:
            yield np.zeros((32, 32, 3), np.uint8)

    @command
    def squared(self):
        return {"squares": self.squares}

    @command
    def emit_in_a_fork(self):
        with multiprocessing.get_context("fork").Pool(1) as pool:
            return {"said": pool.map(emits, [1])[0]}
"""


async def test_a_pool_of_forks_works_in_a_constructor_and_its_forks_cannot_show_frames(
    tmp_path: Path,
) -> None:
    events = Recording()
    host = ProcessHost(events, write_model(tmp_path, POOL), {}, settings(load_s=20.0))
    try:
        await host.load()
    finally:
        print(events.text)  # where it stood, should it ever stand
    host.start_session("s")
    watch(host)
    assert (await events.ask(host, "squared")).reply == {"squares": [0, 1, 4, 9, 16, 25, 36, 49]}
    outcome = await events.ask(host, "emit_in_a_fork")
    assert "hand results back" in str(outcome.reply)
    seen = len(events.frames)
    await events.until(lambda: len(events.frames) > seen + 5)
    await host.close()
    assert events.failures == []
