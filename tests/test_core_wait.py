"""A model that waits for a core is slower live than alone, and the log says so once, with what to do."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.host_events import Recording, settings, watch, write_model

from reactor_runtime.worker.core_wait import WINDOW_S, CoreWait, Ran, run_queues
from reactor_runtime.worker.parent import ProcessHost


class Machine:
    """A model that makes four frames a second for so many windows; each thread runs and waits at its own rate."""

    def __init__(self, *shares: tuple[float, float]) -> None:
        self.shares = shares
        self.now_s = 100.0

    def run_queues(self) -> Mapping[int, Ran]:
        return {
            number: Ran(self.now_s * runs, self.now_s * waits)
            for number, (runs, waits) in enumerate(self.shares)
        }

    def heard(self, judge: CoreWait, windows: int, *, busy: float = 0.95) -> list[str]:
        said = []
        for _ in range(int(windows * WINDOW_S * 4) + 1):
            said.append(judge.frame(busy * 0.25, self.now_s))
            self.now_s += 0.25
        return [text for text in said if text is not None]


@pytest.mark.parametrize(
    ("shares", "cores", "busy", "words"),
    [
        ([(0.6, 0.35), (0.6, 0.3)], 2, 0.95, "waits for a core 35% of its time"),
        ([(0.6, 0.35), (0.6, 0.3)], 2, 0.95, "2 threads, and the server that encodes needs a core too"),
        ([(0.6, 0.35), (0.6, 0.3)], 2, 0.95, "try --model-threads 1,"),
        ([(0.5, 0.4)] * 16 + [(0.0, 0.01)] * 3, 8, 0.95, "try --model-threads 7,"),
        ([(0.5, 0.4)] * 4, 16, 0.95, "try --model-threads 3,"),
        ([(0.6, 0.35)], 2, 0.95, "one thread, and others want that core"),
        ([(0.95, 0.04)], 2, 0.95, None),  # it has its core
        ([(0.6, 0.35), (0.6, 0.3)], 2, 0.6, None),  # no slower than it is wanted
        ([(0.05, 0.1)] * 8, 2, 0.95, None),  # it waits for something else, a GPU perhaps
        ([], 2, 0.95, None),  # a system that does not count
    ],
)
def test_a_model_that_waits_for_a_core_and_is_never_held_is_told_what_to_do(
    shares: list[tuple[float, float]], cores: int, busy: float, words: str | None
) -> None:
    machine = Machine(*shares)
    found = machine.heard(CoreWait(machine.run_queues, cores), 4, busy=busy)
    assert len(found) == (words is not None)
    assert words is None or words in found[0]


def test_one_slow_window_is_not_a_habit_and_what_was_said_is_not_repeated() -> None:
    machine = Machine((0.6, 0.35))
    judge = CoreWait(machine.run_queues, 2)
    for _ in range(3):  # a window of its own in each session
        judge.begin()
        assert machine.heard(judge, 1) == []
    judge.begin()
    assert len(machine.heard(judge, 2)) == 1
    judge.begin()
    assert machine.heard(judge, 10) == []


def test_time_without_a_core_adds_up_over_threads_that_come_and_go() -> None:
    machine = Machine((0.5, 0.1), (0.5, 0.2))
    judge = CoreWait(machine.run_queues, 2)
    machine.heard(judge, 2)
    assert judge.waited_s == pytest.approx(0.3 * 2 * WINDOW_S)
    machine.shares = ((0.5, 0.01),)  # another thread has the number now
    before_s = judge.waited_s
    machine.heard(judge, 1)
    assert judge.waited_s >= before_s


def test_the_system_counts_every_thread_of_this_process() -> None:
    if not Path("/proc/self/task").is_dir():
        pytest.skip("needs /proc")
    found = run_queues(os.getpid())
    assert found[os.getpid()].ran_s > 0
    assert run_queues(2**22 + 1) == {}


CROWDED = """
import os, time
os.sched_setaffinity(0, {CORE})
from reactor_runtime import VideoModel
import numpy as np

class Model(VideoModel):
    def start_session(self):
        while True:
            ends_s = time.thread_time() + 0.05
            while time.thread_time() < ends_s:
                pass
            yield np.zeros((32, 32, 3), np.uint8)
"""


@contextmanager
def taken(core: int) -> Iterator[None]:
    """Two others that want this core all the time."""
    source = f"import os\nos.sched_setaffinity(0, {{{core}}})\nwhile True: pass"
    others = [subprocess.Popen([sys.executable, "-c", source]) for _ in range(2)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs Linux")
async def test_a_model_that_shares_its_core_says_so_in_the_log_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reactor_runtime.worker.core_wait.WINDOW_S", 0.6)
    core = max(os.sched_getaffinity(0))
    events = Recording()
    manifest = write_model(tmp_path, CROWDED.replace("CORE", str(core)))
    host = ProcessHost(events, manifest, {}, settings())
    try:
        await host.load()
        with taken(core):
            host.start_session("first")
            watch(host)
            await events.until(lambda: "waits for a core" in events.text, within_s=30)
            await events.more_frames(8)
        (said,) = [record for record in events.records if "waits for a core" in record.text]
        assert said.level == logging.WARNING
        assert host.counters().model_core_wait_s > 0.2
    finally:
        await host.close()
