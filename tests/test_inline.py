"""The model on a thread of this process."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from support.host_events import Recording, settings, watch, write_manifest, write_model

from reactor_runtime import limits
from reactor_runtime.errors import CommandRejected, ManifestError, ModelFailed, ModelHung
from reactor_runtime.host import HostState
from reactor_runtime.running.inline import InlineHost
from reactor_runtime.types import CommandCall


def faulty(folder: Path, events: Recording, *, model: str = "FaultyModel", **args: object) -> InlineHost:
    manifest = write_manifest(folder, f"reactor_runtime.testing:{model}", **args)
    return InlineHost(events, manifest, {}, settings(stop_s=1.0))


async def test_one_construction_serves_one_user_after_the_other(tmp_path: Path) -> None:
    events = Recording()
    host = faulty(tmp_path, events)
    info = await host.load()
    assert (info.name, info.version, host.pid) == ("tested", "1.0.0", None)
    for user in range(3):
        host.start_session(str(user))
        watch(host)
        status = await events.ask(host, "status")
        assert status.reply is not None
        assert (status.reply["note"], status.reply["resets"]) == ("", user)
        assert (await events.ask(host, "set_note", note=f"of {user}")).accepted
        await events.until(lambda: events.frames and events.frames[-1][0] > 2)
        await host.stop_session()
        assert host.state is HostState.IDLE
    assert events.ended == [None] * 3
    assert events.failures == []
    assert host.counters().frames == len(events.frames)
    await host.close()


async def test_mistakes_of_the_author_are_raised_by_load(tmp_path: Path) -> None:
    for name in ("unknown", "broken"):
        (tmp_path / name).mkdir()
    for host, error in [
        (InlineHost(Recording(), tmp_path / "none.json", {}, settings()), ManifestError),
        (faulty(tmp_path / "unknown", Recording(), nonsense=1), ManifestError),
        (faulty(tmp_path / "broken", Recording(), load_fault="raise"), ModelFailed),
    ]:
        with pytest.raises(error):
            await host.load()
        assert host.state is HostState.FAILED
        await host.close()


async def test_arguments_given_at_the_start_win_over_the_manifest(tmp_path: Path) -> None:
    events = Recording()
    manifest = write_manifest(tmp_path, "reactor_runtime.testing:FaultyModel", size=[64, 64])
    host = InlineHost(events, manifest, {"size": [32, 48]}, settings())
    await host.load()
    host.start_session("s")
    await events.until(lambda: events.frames)
    assert events.sizes[0] == (32, 48, 3)
    await host.close()


async def test_the_constructor_may_fix_the_rate(tmp_path: Path) -> None:
    source = """
from reactor_runtime import VideoModel
class Model(VideoModel):
    def __init__(self, slow=True):
        self.fps = 12 if slow else 24
    def start_session(self):
        yield None
"""
    host = InlineHost(Recording(), write_model(tmp_path, source), {}, settings())
    assert (await host.load()).fps == 12.0
    await host.close()


async def test_every_command_is_answered_and_too_many_are_refused(tmp_path: Path) -> None:
    events = Recording()
    host = faulty(tmp_path, events)
    await host.load()
    with pytest.raises(CommandRejected, match="no session"):
        host.send_command(CommandCall(1, "status", {}))
    host.start_session("s")
    arguments = {"kind": "sleep", "amount": 0.3, "where": "handler"}
    for command_id in range(1, limits.COMMAND_MAILBOX + 1):
        host.send_command(CommandCall(command_id, "fault", arguments))
    with pytest.raises(CommandRejected) as refused:
        host.send_command(CommandCall(999, "status", {}))
    assert refused.value.code == "rate_limited"
    await host.stop_session()
    assert sorted(outcome.command_id for outcome in events.outcomes) == list(
        range(1, limits.COMMAND_MAILBOX + 1)
    )
    assert {outcome.code for outcome in events.outcomes} <= {"", "session_ended"}
    await host.close()


async def test_a_model_that_does_not_stop_leaves_a_failed_host(tmp_path: Path) -> None:
    events = Recording()
    host = faulty(tmp_path, events)
    await host.load()
    host.start_session("s")
    watch(host)
    await events.until(lambda: events.frames)
    assert (await events.ask(host, "fault", kind="ignore_stop", amount=2.5)).accepted
    await asyncio.sleep(0.1)
    asked_s = time.monotonic()
    await host.stop_session()
    assert 1.0 <= time.monotonic() - asked_s <= 1.5
    assert host.state is HostState.FAILED
    assert isinstance(events.failures[0], ModelHung)
    await host.close()
    assert events.ended == []


async def test_inbound_frames_reach_the_model_and_unseen_ones_are_counted(tmp_path: Path) -> None:
    source = """
from reactor_runtime import VideoModel, get_ctx
class Model(VideoModel):
    def start_session(self):
        ctx = get_ctx()
        while (frame := ctx.input_frame()) is None or frame.frame_id < 5:
            ctx.wait(0.001)
        yield frame.pixels
"""
    events = Recording()
    host = InlineHost(events, write_model(tmp_path, source), {}, settings())
    await host.load()
    host.push_input("webcam", np.zeros((32, 32, 3), np.uint8))
    host.start_session("s")
    pixels = np.zeros((32, 32, 3), np.uint8)
    for value in range(5):
        pixels[:] = value
        host.push_input("webcam", pixels)
    await events.until(lambda: events.ended)
    assert events.pixels[0] in (3, 4)
    assert 0 <= host.counters().input_frames_dropped <= 4
    await host.close()


@pytest.mark.parametrize("when", ["created", "idle", "running"])
async def test_close_works_from_any_state_and_twice(tmp_path: Path, when: str) -> None:
    events = Recording()
    host = faulty(tmp_path, events, model="FaultyGenerator")
    if when != "created":
        await host.load()
    if when == "running":
        host.start_session("s")
        watch(host)
        await events.until(lambda: events.frames)
    await host.close()
    await host.close()
    assert host.state is HostState.CLOSED
    assert "reactor-model" not in [thread.name for thread in threading.enumerate()]
