"""The model in a process of its own: what crosses, what is raised, what is left."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any, cast

import numpy as np
import psutil
import pytest
from support.host_events import Recording, settings, watch, write_manifest, write_model

from reactor_runtime import limits
from reactor_runtime.author.manifest import Manifest
from reactor_runtime.errors import (
    CommandRejected,
    ManifestError,
    ModelCrashed,
    ModelDefinitionError,
    ModelFailed,
)
from reactor_runtime.host import HostState
from reactor_runtime.types import CommandCall, Demand, LogLine, UploadedFile
from reactor_runtime.worker import records
from reactor_runtime.worker.child import ServerOutlet
from reactor_runtime.worker.parent import ProcessHost

pytestmark = pytest.mark.slow

SHOWS = """
import os, signal, subprocess, sys, threading, time
import numpy as np
from reactor_runtime import VideoModel, command, get_ctx

class Model(VideoModel):
    def __init__(self):
        print("constructed")
        self.value = 0

    def reset(self):
        self.value = 0

    def start_session(self):
        while True:
            yield np.full((48, 64, 3), self.value, np.uint8)
            time.sleep(0.005)
"""


async def loaded(folder: Path, source: str, events: Recording, **limits_s: float) -> ProcessHost:
    host = ProcessHost(events, write_model(folder, source), {}, settings(**limits_s))
    await host.load()
    return host


async def running(folder: Path, source: str, events: Recording, **limits_s: float) -> ProcessHost:
    host = await loaded(folder, source, events, **limits_s)
    host.start_session("s")
    watch(host)
    return host


async def test_one_construction_serves_one_user_after_the_other_in_another_process(tmp_path: Path) -> None:
    events = Recording()
    manifest = write_manifest(tmp_path, "reactor_runtime.testing:FaultyModel")
    host = ProcessHost(events, manifest, {"size": [32, 48]}, settings())
    info = await host.load()
    read = Manifest.read(manifest)
    assert info == read.info(read.load_class())
    assert host.pid not in (None, os.getpid())
    for user in range(5):
        host.start_session(str(user))
        watch(host)
        status = await events.ask(host, "status")
        assert status.reply is not None
        assert (status.reply["note"], status.reply["resets"], status.reply["pid"]) == ("", user, host.pid)
        assert (await events.ask(host, "set_note", note="é \U0001f600")).reply == {
            "note": "é \U0001f600",
            "frames": pytest.approx(events.frames[-1][0] if events.frames else 0, abs=9),
        }
        await events.more_frames()
        await host.stop_session()
        assert host.state is HostState.IDLE
    assert events.ended == [None] * 5
    assert set(events.sizes) == {(32, 48, 3)}
    counters = host.counters()
    assert counters.frames == len(events.frames)
    assert counters.model_cpu_s > 0
    assert counters.model_rss_bytes > 10 * limits.MIB
    assert 0 < counters.emit_s / counters.frames < 0.02
    await host.close()
    assert host.counters().model_rss_bytes == 0


async def test_the_next_user_has_a_frame_within_100_ms_of_the_last_ones_stop(tmp_path: Path) -> None:
    events = Recording()
    host = await running(tmp_path, SHOWS, events)
    await events.until(lambda: events.frames)
    asked_s = time.monotonic()
    await host.stop_session()
    seen = len(events.frames)
    host.start_session("next")
    await events.until(lambda: len(events.frames) > seen)
    assert time.monotonic() - asked_s < 0.1 + 0.25
    await host.close()


# What load raises -------------------------------------------------------------------------------------


async def test_a_mistake_in_the_manifest_is_the_same_error_with_the_same_text(tmp_path: Path) -> None:
    manifest = write_model(tmp_path, SHOWS, "Modle")
    with pytest.raises(ManifestError) as here:
        Manifest.read(manifest).load_class()
    events = Recording()
    host = ProcessHost(events, manifest, {}, settings())
    with pytest.raises(ManifestError) as there:
        await host.load()
    assert str(there.value) == str(here.value)
    assert (there.value.key, there.value.file, there.value.fix) == (
        here.value.key,
        here.value.file,
        here.value.fix,
    )
    assert host.state is HostState.FAILED
    await host.close()
    assert "Traceback" not in events.text


async def test_a_class_that_cannot_be_served_is_the_authors_error(tmp_path: Path) -> None:
    source = (
        SHOWS
        + """
    @command("same")
    def one(self): ...
    @command("same")
    def two(self): ...
"""
    )
    with pytest.raises(ModelDefinitionError, match="two commands named 'same'"):
        await loaded(tmp_path, source, Recording())


@pytest.mark.parametrize("statement", ["raise OSError('/secret')", "sys.exit(2)"])
async def test_a_constructor_that_raises_is_a_failed_model_with_its_traceback_in_the_log(
    tmp_path: Path, statement: str
) -> None:
    events = Recording()
    host = ProcessHost(
        events, write_model(tmp_path, SHOWS.replace("self.value = 0", statement, 1)), {}, settings()
    )
    with pytest.raises(ModelFailed) as failed:
        await host.load()
    assert type(failed.value) is ModelFailed
    assert "secret" not in failed.value.public()
    await host.close()
    assert events.text.count("Traceback") == 1
    assert events.failures == []


# What crosses -----------------------------------------------------------------------------------------


async def test_relative_paths_of_a_model_are_seen_from_its_own_folder(tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "model.pt").write_text("weights")
    events = Recording()
    source = SHOWS.replace('print("constructed")', 'print(open("./weights/model.pt").read())')
    host = await loaded(tmp_path, source, events)
    assert "weights" in events.lines
    await host.close()


async def test_inbound_frames_arrive_whole_and_the_newest_wins(tmp_path: Path) -> None:
    source = (
        SHOWS.split("    def start_session")[0]
        + """
    def start_session(self):
        ctx = get_ctx()
        last = 0
        while True:
            frame = ctx.input_frame()
            if frame is None or frame.frame_id == last:
                ctx.wait(0.001)
                continue
            assert frame.frame_id > last
            last = frame.frame_id
            if frame.pixels.min() != frame.pixels.max():
                ctx.send({"torn": last})
            yield frame.pixels
            if frame.pixels[0, 0, 0] == 255:
                return
"""
    )
    events = Recording()
    host = await running(tmp_path, source, events)

    def push() -> None:
        for value in range(200):
            size = (480, 640, 3) if value % 2 else (720, 1280, 3)
            host.push_input("webcam", np.full(size, value, np.uint8))
            time.sleep(0.001)

    await asyncio.to_thread(push)

    def last_one_was_seen() -> bool:
        host.push_input("webcam", np.full((480, 640, 3), 255, np.uint8))
        return bool(events.ended)

    await events.until(last_one_was_seen)
    assert events.ended == [None]
    assert events.messages == []
    assert set(events.sizes) <= {(480, 640, 3), (720, 1280, 3)}
    assert len(events.frames) > 1
    await host.close()


async def test_uploads_reach_the_handler_whole(tmp_path: Path) -> None:
    from io import BytesIO

    from PIL import Image

    source = (
        SHOWS.replace("import VideoModel", "import Image, VideoModel")
        + """
    @command("show")
    def show(self, picture: Image) -> dict:
        return {"size": list(picture.size)}
"""
    )
    buffer = BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (600, 800, 3), np.uint8)
    Image.fromarray(noise).save(buffer, "PNG")
    events = Recording()
    host = await running(tmp_path, source, events)
    file = UploadedFile("u1", "noise.png", "image/png", buffer.getvalue())
    assert len(file.data) > limits.MIB
    reference = {"upload_id": "u1", "name": "noise.png", "mime_type": "image/png", "size": len(file.data)}
    host.send_command(CommandCall(1, "show", {"picture": reference}, {"u1": file}))
    await events.until(lambda: events.outcomes)
    assert events.outcomes[0].reply == {"size": [800, 600]}, events.outcomes
    await host.close()


async def test_printed_lines_and_libraries_output_come_as_they_are_written(tmp_path: Path) -> None:
    source = (
        SHOWS
        + """
    @command("say")
    def say(self, text: str):
        print(text)
        os.system("echo from a child")
        os.write(2, b"half a li")
        os.write(2, b"ne\\n")
"""
    )
    events = Recording()
    host = await running(tmp_path, source, events)
    assert (await events.ask(host, "say", text="hello")).accepted
    await events.until(lambda: "half a line" in events.text)
    assert events.lines == ["constructed", "hello", "from a child", "half a line"]
    await host.close()


LOGS = (
    """
import logging, multiprocessing, warnings
logging.basicConfig(level=logging.CRITICAL)
log = logging.getLogger("coral.net")
"""
    + SHOWS
    + """
    @command("speak")
    def speak(self):
        log.debug("weights are %s", "warm")
        log.info("one\\ntwo")
        log.error("lost %d", 3)
        try:
            1 / 0
        except ZeroDivisionError:
            log.exception("went wrong")
            import traceback
            traceback.print_exc()
        warnings.warn("old", UserWarning)
        threading.Thread(target=lambda: {}["no"], name="painter").start()
        child = multiprocessing.get_context("fork").Process(target=log.error, args=("from a fork",))
        child.start()
        child.join()

    @command("fail")
    def fail(self):
        raise KeyError("inner")
"""
)


@pytest.mark.parametrize("verbose", [False, True])
async def test_a_models_log_arrives_record_by_record_with_logger_and_level(
    tmp_path: Path, verbose: bool
) -> None:
    events = Recording()
    host = await running(tmp_path, LOGS, events, verbose=verbose)
    assert (await events.ask(host, "speak")).accepted
    assert not (await events.ask(host, "fail")).accepted
    await events.until(
        lambda: "inner" in events.text and "from a fork" in events.text and "'no'" in events.text
    )
    mine = [(line.level, line.text) for line in events.records if line.logger == "coral.net"]
    assert mine[:-1] == [(logging.DEBUG, "weights are warm")] * verbose + [
        (logging.INFO, "one\ntwo"),
        (logging.ERROR, "lost 3"),
    ]
    level, text = mine[-1]
    assert level == logging.ERROR
    assert text.startswith("went wrong\nTraceback")
    assert text.endswith("ZeroDivisionError: division by zero")
    printed = [line for line in events.records if line.text.startswith("Traceback")]
    assert [(line.level, line.text.splitlines()[-1]) for line in printed] == [
        (logging.ERROR, "ZeroDivisionError: division by zero")
    ]
    for start, end in (
        ("thread 'painter' raised:", "KeyError: 'no'"),
        ("command 'fail' raised:", "KeyError: 'inner'"),
    ):
        (line,) = (line for line in events.records if line.text.startswith(start))
        assert line.level == logging.ERROR
        assert line.text.endswith(end)
    (warning,) = (line for line in events.records if line.logger == "py.warnings")
    assert warning.level == logging.WARNING
    assert "UserWarning: old" in warning.text
    await host.close()


TICKS = (
    """
import logging
"""
    + SHOWS
    + """
    def start_session(self):
        signal.signal(signal.SIGALRM, lambda *_: logging.info("tick"))
        signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
        while True:
            get_ctx().emit_frame(np.zeros((48, 64, 3), np.uint8))
"""
)


async def test_a_signals_handler_may_log_in_the_middle_of_whatever_the_model_sends(tmp_path: Path) -> None:
    events = Recording()
    host = await running(tmp_path, TICKS, events, hang_s=2)
    await events.until(lambda: events.lines.count("tick") >= 10)
    await events.more_frames(500)
    assert events.failures == []
    await host.close()


def test_what_is_sent_in_the_middle_of_another_record_goes_behind_it() -> None:
    sent: list[str] = []

    class Interrupted:
        """A socket on which a finaliser or a signal's handler runs while it writes."""

        def sendall(self, data: bytes) -> None:
            (record,) = records.RecordReader(records.TO_SERVER, body_max_bytes=0).feed(data)
            if record.text == "first":
                outlet.send(LogLine("second"))
                outlet.send(LogLine("third"))
            sent.append(record.text)

    outlet = ServerOutlet(cast(Any, Interrupted()))
    outlet.send(LogLine("first"))
    outlet.send(LogLine("fourth"))
    assert sent == ["first", "second", "third", "fourth"]


async def test_a_crash_of_native_code_is_one_record_with_its_stack(tmp_path: Path) -> None:
    events = Recording()
    source = (
        SHOWS
        + """
    @command("crash")
    def crash(self):
        os.kill(os.getpid(), signal.SIGSEGV)
"""
    )
    host = await running(tmp_path, source, events)
    host.send_command(CommandCall(1, "crash", {}))
    await events.until(lambda: events.failures)
    (line,) = (line for line in events.records if line.text.startswith("Fatal Python error"))
    assert line.level == logging.ERROR
    assert "in crash" in line.text
    await host.close()


async def test_stacks_that_are_asked_for_are_one_record_also_while_nothing_else_is_printed(
    tmp_path: Path,
) -> None:
    events = Recording()
    host = await running(tmp_path, SHOWS, events)
    await events.more_frames(1)
    assert host.pid is not None
    os.kill(host.pid, signal.SIGUSR1)
    await events.until(lambda: "in start_session" in events.text)
    (line,) = (line for line in events.records if "most recent call first" in line.text)
    assert line.level == logging.ERROR
    assert line.text.count("most recent call first") >= 2
    await host.close()


async def test_frames_may_be_released_from_any_thread_and_outlive_the_host(tmp_path: Path) -> None:
    events = Recording()
    events.hold = True
    host = await running(tmp_path, SHOWS, events)
    await events.until(lambda: len(events.held) >= 2)
    kept = events.held.pop()

    def release() -> None:
        for frame in events.held:
            frame.release()

    releasing = threading.Thread(target=release)
    releasing.start()
    releasing.join()
    events.hold = False
    seen = len(events.frames)
    watch(host)
    await events.until(lambda: len(events.frames) > seen + 5)
    await host.close()
    assert kept.pixels.shape == (48, 64, 3)
    assert int(kept.pixels.sum()) == 0
    kept.release()


async def test_commands_without_a_session_or_beyond_the_mailbox_are_refused(tmp_path: Path) -> None:
    events = Recording()
    host = ProcessHost(
        events, write_manifest(tmp_path, "reactor_runtime.testing:FaultyModel"), {}, settings()
    )
    await host.load()
    with pytest.raises(CommandRejected, match="no session"):
        host.send_command(CommandCall(1, "status", {}))
    host.start_session("s")
    arguments = {"kind": "sleep", "amount": 0.5, "where": "handler"}
    for command_id in range(1, limits.COMMAND_MAILBOX + 1):
        host.send_command(CommandCall(command_id, "fault", arguments))
    with pytest.raises(CommandRejected) as refused:
        host.send_command(CommandCall(999, "status", {}))
    assert refused.value.code == "rate_limited"
    await host.stop_session()
    assert len(events.outcomes) == limits.COMMAND_MAILBOX
    # Answers of the last session are not taken for answers in the next, though ids start again.
    host.start_session("next")
    watch(host)
    events.outcomes.clear()
    assert (await events.ask(host, "status")).reply_type == "status"
    await host.close()


# What the process is ----------------------------------------------------------------------------------


STARTS_OVER = """
import numpy as np
from reactor_runtime import VideoModel, command, get_ctx

class Model(VideoModel):
    world = 0

    def start_session(self):
        while True:
            yield np.full((12, 48, 64, 3), self.world, np.uint8)

    @command("start_over")
    def start_over(self):
        self.world += 1
        get_ctx().discard_frames()
"""


async def test_a_wish_to_discard_frames_crosses_behind_them_and_before_the_reply(tmp_path: Path) -> None:
    events = Recording()
    host = await loaded(tmp_path, STARTS_OVER, events)
    try:
        host.start_session("s")
        events.hold = True
        # Frame 13 is far off: the model waits with a block that nobody has seen the end of.
        host.demand(Demand(frame_id=1, due_s=time.monotonic(), interval_s=60.0, watched=True))
        await events.until(lambda: len(events.frames) == 12)
        outcome = await events.ask(host, "start_over")
        assert outcome.accepted
        assert events.discarded_after == [12]
        for frame in events.held:
            frame.release()
        events.held.clear()
        host.demand(Demand(frame_id=13, due_s=0.0, interval_s=60.0, watched=True))
        await events.until(lambda: len(events.frames) == 24)
        assert events.pixels == (1, 1, 1)
        assert [frame_id for frame_id, _, _ in events.frames] == list(range(1, 25))
        assert {command_id for _, _, command_id in events.frames[12:]} == {outcome.command_id}
        await host.stop_session()
        for frame in events.held:
            frame.release()
    finally:
        await host.close()


async def test_the_process_listens_on_nothing_and_knows_no_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REACTOR_TOKEN", "hush-hush")
    source = SHOWS + (
        '    @command("environment")\n    def environment(self):\n'
        '        return {"text": str(dict(os.environ))}\n'
    )
    events = Recording()
    host = await running(tmp_path, source, events)
    reply = (await events.ask(host, "environment")).reply
    assert reply is not None
    assert "hush" not in reply["text"]
    assert host.pid is not None
    listening = [c for c in psutil.Process(host.pid).net_connections("inet") if c.status == "LISTEN"]
    assert listening == []
    await host.close()


async def test_signals_meant_for_the_server_do_not_end_it(tmp_path: Path) -> None:
    events = Recording()
    host = await running(tmp_path, SHOWS, events)
    assert host.pid is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(host.pid, number)
    seen = len(events.frames)
    await events.until(lambda: len(events.frames) > seen + 10)
    await host.close()
    assert events.failures == []


async def test_what_the_author_started_ends_with_it(tmp_path: Path) -> None:
    source = SHOWS.replace(
        "self.value = 0", 'self.value = subprocess.Popen(["sleep", "600"]).pid', 1
    ).replace("np.full((48, 64, 3), self.value, np.uint8)", "None") + (
        '    @command("started")\n    def started(self):\n        return {"pid": self.value}\n'
        '    @command("leave")\n    def leave(self):\n        os._exit(0)\n'
    )
    for leaves in (False, True):
        events = Recording()
        host = await running(tmp_path, source, events)
        reply = (await events.ask(host, "started")).reply
        assert reply is not None
        if leaves:
            outcome = await events.ask(host, "leave")
            assert outcome.code == "model_crashed"
        await host.close()
        await _ended(events, reply["pid"])


async def _ended(events: Recording, pid: int) -> None:
    await events.until(lambda: not _lives(pid))


def _lives(pid: int) -> bool:
    # Orphans are reaped by whatever is process 1 here, which may take its time.
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


async def test_a_process_that_speaks_out_of_turn_is_killed(tmp_path: Path) -> None:
    source = SHOWS + (
        '    @command("garble")\n    def garble(self):\n        os.write(int(sys.argv[1]), b"x" * 100)\n'
    )
    events = Recording()
    host = await running(tmp_path, source, events)
    await events.ask(host, "garble")
    await events.until(lambda: events.failures)
    assert isinstance(events.failures[0], ModelCrashed)
    assert "protocol" in str(events.failures[0])
    await host.close()


# Closing ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("when", ["created", "loading", "idle", "running", "stopping", "failed"])
async def test_close_works_from_any_state_twice_and_at_once(tmp_path: Path, when: str) -> None:
    events = Recording()
    load_fault = "hang" if when == "loading" else ""
    manifest = write_manifest(tmp_path, "reactor_runtime.testing:FaultyModel", load_fault=load_fault)
    host = ProcessHost(events, manifest, {}, settings())
    other: asyncio.Task[object] | None = None
    if when == "loading":
        other = asyncio.create_task(host.load())
        await events.until(lambda: host.pid)
    elif when != "created":
        await host.load()
    if when in ("running", "stopping", "failed"):
        host.start_session("s")
        watch(host)
        await events.until(lambda: events.frames)
    if when == "stopping":
        other = asyncio.create_task(host.stop_session())
        await asyncio.sleep(0)
    if when == "failed":
        assert host.pid is not None
        os.kill(host.pid, signal.SIGKILL)
        await events.until(lambda: events.failures)
    asked_s = time.monotonic()
    await asyncio.gather(host.close(), host.close())
    await host.close()
    assert time.monotonic() - asked_s < 2.0
    assert host.state is HostState.CLOSED
    assert len(events.failures) == (when == "failed")
    assert host.pid is None or not psutil.pid_exists(host.pid)
    if other is not None:
        (result,) = await asyncio.gather(other, return_exceptions=True)
        assert isinstance(result, ModelFailed) if when == "loading" else result is None


async def test_a_load_that_is_cancelled_leaves_no_process(tmp_path: Path) -> None:
    events = Recording()
    manifest = write_manifest(tmp_path, "reactor_runtime.testing:FaultyModel", load_fault="hang")
    host = ProcessHost(events, manifest, {}, settings())
    loading = asyncio.create_task(host.load())
    await events.until(lambda: host.pid)
    loading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await loading
    assert host.pid is not None
    assert not psutil.pid_exists(host.pid)
    await host.close()


async def test_sessions_leave_no_descriptor_no_thread_and_no_memory_behind(tmp_path: Path) -> None:
    events = Recording()
    host = await loaded(tmp_path, SHOWS, events)
    assert host.pid is not None
    counts: list[tuple[int, int, int, int]] = []
    model = psutil.Process(host.pid)
    for user in range(30):
        host.start_session(str(user))
        watch(host)
        await events.more_frames()
        await host.stop_session()
        here = psutil.Process()
        counts.append((here.num_fds(), threading.active_count(), model.num_fds(), model.num_threads()))
    assert counts[-1] == counts[4]
    await host.close()


@pytest.mark.usefixtures("hasty_threads")
async def test_hasty_threads_lose_no_frame_and_no_answer(tmp_path: Path) -> None:
    events = Recording()
    source = SHOWS.replace("import os,", "import sys; sys.setswitchinterval(1e-6)\nimport os,", 1) + (
        '    @command("set_value")\n    def set_value(self, value: int):\n        self.value = value\n'
    )
    host = await running(tmp_path, source, events)
    for value in range(100):
        assert (await events.ask(host, "set_value", value=value)).accepted
    await events.until(lambda: events.pixels == (99, 99, 99))
    ids = [frame_id for frame_id, _, _ in events.frames]
    assert ids == list(range(1, len(ids) + 1))
    commands = [command_id for _, _, command_id in events.frames]
    assert commands == sorted(commands)
    await host.close()


async def test_commands_are_answered_also_when_the_model_closed_its_output(tmp_path: Path) -> None:
    events = Recording()
    source = (
        SHOWS
        + """
    @command("close")
    def close(self):
        for number in (1, 2):
            os.close(number)
        sys.stdout.close()
        sys.stderr.close()

    @command("fail")
    def fail(self):
        print("never seen")
"""
    )
    host = await running(tmp_path, source, events)
    await events.ask(host, "close")
    for _ in range(2):
        assert (await events.ask(host, "fail")).code == "internal_error"
    await events.until(lambda: "I/O operation on closed file" in events.text)
    await host.close()
