"""A model that stands still is noticed wherever it stands, and one that stood still with its machine is spared."""

from __future__ import annotations

import asyncio
import os
import signal
import struct
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import psutil
import pytest
from support.crowd import Crowd
from support.host_events import Recording, settings, watch, write_model
from support.server import running
from support.server import write_model as write_served

from reactor_runtime.errors import ModelCrashed, ModelHung
from reactor_runtime.host import HostState
from reactor_runtime.running.pulse import MODEL_LANE, PULSE_BYTES, Pulse, PulseLimits, PulseState, words_of
from reactor_runtime.worker import records
from reactor_runtime.worker.parent import ProcessHost
from reactor_runtime.worker.watchdog import GRACE_S, Watchdog

pytestmark = pytest.mark.slow

NOISE_S = 0.25
PACED = """
import os, sys
import numpy as np
from reactor_runtime import VideoModel, command

class Model(VideoModel):
    fps = 30

    def start_session(self):
        while True:
            yield np.zeros((32, 32, 3), np.uint8)

    @command
    def write(self, data: str):
        os.write(int(sys.argv[1]), bytes.fromhex(data))
"""


async def loaded(folder: Path, events: Recording, **limits_s: float) -> ProcessHost:
    host = ProcessHost(events, write_model(folder, PACED), {}, settings(**limits_s))
    await host.load()
    return host


@pytest.mark.parametrize("where", ["in emit", "between sessions", "after its session"])
async def test_a_frozen_process_is_a_hang_also_where_no_code_of_the_author_runs(
    tmp_path: Path, where: str, record_property: Callable[[str, object], None]
) -> None:
    events = Recording()
    host = await loaded(tmp_path, events, hang_s=1.0)
    if where != "between sessions":
        host.start_session("s")
        watch(host, interval_s=0.5)
        await events.until(lambda: len(events.frames) > 2)
    if where == "after its session":
        await host.stop_session()
    assert host.pid is not None
    os.kill(host.pid, signal.SIGSTOP)
    stopped_s = time.monotonic()
    crowd = Crowd()
    await events.until(lambda: events.failures)
    took_s = events.failed_s - stopped_s
    record_property("measured", f"{where}: {took_s:.2f} s of 1 s")
    assert 0.8 <= took_s <= 1.0 + 0.1 + NOISE_S + crowd.adds_s(1.0)
    assert isinstance(events.failures[0], ModelHung)
    assert host.state is HostState.FAILED
    await host.close()


async def test_a_process_that_lives_and_waits_for_its_viewers_is_left_alone(tmp_path: Path) -> None:
    events = Recording()
    events.hold = True
    host = await loaded(tmp_path, events, hang_s=0.4)
    await asyncio.sleep(1.0)
    host.start_session("s")
    watch(host)
    await asyncio.sleep(1.2)
    # This side holds the frames, so that none is owed to it.
    assert events.failures == []
    for frame in events.held:
        frame.release()
    events.hold = False
    await events.more_frames(10)
    await host.close()


# What no honest process says ----------------------------------------------------------------------------


async def test_a_record_that_claims_more_than_it_holds_is_the_end_of_its_process(tmp_path: Path) -> None:
    events = Recording()
    host = await loaded(tmp_path, events, hang_s=1.0)
    host.start_session("s")
    watch(host)
    await events.until(lambda: len(events.frames) > 2)
    await asyncio.wait_for(_forged(events, host, struct.pack("<II", records.HEADER_MAX_BYTES, 0)), 5)
    assert isinstance(events.failures[0], ModelCrashed)
    assert "protocol" in str(events.failures[0])
    await host.close()


async def _forged(events: Recording, host: ProcessHost, data: bytes) -> None:
    await asyncio.gather(events.ask(host, "write", data=data.hex()), return_exceptions=True)
    await events.until(lambda: events.failures)


async def test_an_end_that_is_not_one_is_found_out_when_the_next_user_comes(tmp_path: Path) -> None:
    events = Recording()
    host = await loaded(tmp_path, events, hang_s=1.0)
    host.start_session("s")
    watch(host)
    await events.until(lambda: len(events.frames) > 2)
    data = records.encode(records.Ended(None)).hex()
    await asyncio.gather(events.ask(host, "write", data=data), return_exceptions=True)
    await events.until(lambda: events.ended)
    seen = len(events.frames)
    host.start_session("next")
    watch(host)
    await events.until(lambda: events.failures, within_s=3)
    assert isinstance(events.failures[0], ModelCrashed)
    assert "it has not" in events.text
    assert len(events.frames) == seen, "no frame of the last user is shown to the next"
    await host.close()


# Time that both lived -----------------------------------------------------------------------------------


async def test_while_this_process_stood_still_nobody_was_silent() -> None:
    words = words_of(bytearray(PULSE_BYTES))
    pulse = Pulse(words, MODEL_LANE)
    hung = asyncio.Event()
    watchdog = Watchdog(words, PulseLimits(9, 9, hang_s=0.8), lambda state, silent_s: hung.set())
    pulse.enter(PulseState.BUSY)
    began_s = time.monotonic()
    crowd = Crowd()
    await asyncio.sleep(0.3)
    time.sleep(1.5)  # noqa: ASYNC251  # the machine sleeps, this process and the model with it
    await asyncio.sleep(0.25)
    assert not hung.is_set()
    await asyncio.wait_for(hung.wait(), 5)
    assert time.monotonic() - began_s >= 0.8 + 1.2
    assert time.monotonic() - began_s <= 0.8 + 1.5 + GRACE_S + 0.1 + NOISE_S + crowd.adds_s(1.0)
    watchdog.close()


def test_a_pause_of_server_and_model_together_kills_nobody(tmp_path: Path) -> None:
    write_served(tmp_path, PACED)
    with running(tmp_path, "--hang-s", "1") as server:
        httpx.post(server.url + "/start_session", json={})
        state = server.session_state()
        tree = [
            psutil.Process(server.process.pid),
            *psutil.Process(server.process.pid).children(recursive=True),
        ]
        for member in tree:
            member.suspend()
        time.sleep(2)
        for member in tree:
            member.resume()
        time.sleep(1.5)
        assert server.session_state() == state
        assert all(member.is_running() for member in tree)
        assert server.get("/health").status_code == 200
