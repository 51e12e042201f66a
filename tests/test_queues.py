"""Every queue is bounded in items and in bytes, whoever fills it. docs/queues.md is the table."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from support.host_events import Recording, settings, watch, write_model
from support.server import running
from support.server import write_model as write_served
from support.visitor import Refused, Visitor, watching

from reactor_runtime import limits
from reactor_runtime.config import Settings
from reactor_runtime.errors import CommandRejected, MessageRejected
from reactor_runtime.recording.recorder import Recorder
from reactor_runtime.recording.recordings import Recordings
from reactor_runtime.recording.segments import SegmentWriter
from reactor_runtime.running.mailbox import Mailbox
from reactor_runtime.types import CommandCall, CommandOutcome, Demand, UploadedFile
from reactor_runtime.wire.v0 import V0
from reactor_runtime.worker import records
from reactor_runtime.worker.channel import Channel
from reactor_runtime.worker.parent import ProcessHost

DOCS = Path(__file__).parent.parent / "docs" / "queues.md"


def test_the_table_names_limits_that_exist_and_tests_that_exist() -> None:
    rows = [line for line in DOCS.read_text().splitlines() if line.startswith("| ") and "`" in line]
    assert len(rows) >= 12
    tests = "\n".join(path.read_text() for path in Path(__file__).parent.rglob("test_*.py"))
    for row in rows:
        *bounds, test = re.findall(r"`(\w+)`", row)
        assert f"def {test}(" in tests, test
        for bound in bounds:
            if bound.isupper():
                assert hasattr(limits, bound), bound


# The server, towards the model --------------------------------------------------------------------------


def test_unanswered_commands_are_bounded_in_bytes_and_room_returns_with_each_answer() -> None:
    mailbox = Mailbox()
    large = {"text": "x" * limits.MIB}
    for command_id in range(1, 8):
        mailbox.admit(CommandCall(command_id, "c", large))
    with pytest.raises(CommandRejected, match="bytes") as refused:
        mailbox.admit(CommandCall(8, "c", large))
    assert refused.value.code == "rate_limited"
    assert mailbox.answer(CommandOutcome(1))
    mailbox.admit(CommandCall(8, "c", large))


@contextmanager
def channel() -> Iterator[tuple[Channel, socket.socket]]:
    ours, theirs = socket.socketpair()
    made = Channel(ours, on_record=lambda record: None, on_garbage=lambda error: None)
    try:
        yield made, theirs
    finally:
        made.close()
        theirs.close()


def read_all(theirs: socket.socket, made: list[Any]) -> None:
    reader = records.RecordReader(records.TO_MODEL)
    theirs.settimeout(0.5)
    while not made or not isinstance(made[-1], records.Close):
        made += reader.feed(theirs.recv(limits.MIB))


async def test_the_pipe_takes_so_many_bytes_and_no_more_and_copies_none() -> None:
    data = bytes(limits.UPLOAD_MAX_BYTES)
    before = psutil.Process().memory_info().rss
    with channel() as (pipe, theirs):
        taken = 0
        while pipe.offer(UploadedFile(f"u{taken}", "", "", data)):
            taken += 1
        assert limits.MODEL_PIPE_MAX_BYTES - 2 * len(data) < pipe.unsent_bytes <= limits.MODEL_PIPE_MAX_BYTES
        assert psutil.Process().memory_info().rss - before < 4 * limits.MIB
        pipe.send(records.Close())
        seen: list[Any] = []
        await asyncio.to_thread(read_all, theirs, seen)
        assert [type(record).__name__ for record in seen] == ["UploadedFile"] * taken + ["Close"]
        assert all(record.data == data for record in seen[:-1])
        assert pipe.unsent_bytes == 0


async def test_of_the_demands_that_nobody_reads_only_the_newest_waits() -> None:
    with channel() as (pipe, theirs):
        for frame_id in range(20_000):
            pipe.send_latest("main", Demand(frame_id, 0.0, 1.0, True))
        assert pipe.unsent_bytes < limits.KIB
        seen: list[Any] = []
        reading = asyncio.create_task(asyncio.to_thread(read_all, theirs, seen))
        while pipe.unsent_bytes:
            await asyncio.sleep(0.001)
        pipe.send(records.Close())
        await reading
        assert seen[-2].frame_id == 19_999


TAKES_FILES = """
import os
import numpy as np
from reactor_runtime import Image, VideoModel, command

class Model(VideoModel):
    def start_session(self):
        while True:
            yield np.zeros((32, 32, 3), np.uint8)

    @command
    def use(self, picture: Image):
        return {"size": list(picture.size)}
"""


@pytest.mark.slow
async def test_an_upload_crosses_to_the_model_once_per_session(tmp_path: Path) -> None:
    from io import BytesIO

    from PIL import Image

    noise = np.random.default_rng(0).integers(0, 256, (600, 800, 3), np.uint8)
    Image.fromarray(noise).save(buffer := BytesIO(), "PNG")
    file = UploadedFile("u1", "noise.png", "image/png", buffer.getvalue())
    events = Recording()
    host = ProcessHost(events, write_model(tmp_path, TAKES_FILES), {}, settings())
    await host.load()
    assert host._channel is not None
    crossed = 0
    plain = host._channel._queue

    def counted(parts: list[bytes]) -> None:
        nonlocal crossed
        crossed += sum(map(len, parts[1:]))
        plain(parts)

    host._channel._queue = counted  # type: ignore[method-assign]
    for session in (1, 2):
        host.start_session(str(session))
        watch(host)
        events.outcomes.clear()
        for command_id in range(1, 21):
            host.send_command(CommandCall(command_id, "use", {}, {"picture": file}))
        await events.until(lambda: len(events.outcomes) == 20)
        assert {str(outcome.reply) for outcome in events.outcomes} == {"{'size': [800, 600]}"}
        assert crossed < session * (len(file.data) + 10_000)
        await host.stop_session()
    await host.close()


# The server, towards its clients ------------------------------------------------------------------------


def test_the_names_and_ids_of_a_message_are_short() -> None:
    long = "x" * (limits.MESSAGE_ID_MAX + 1)
    for inner in ({"type": long, "data": {}}, {"type": "go", "data": {}, "request_id": long}):
        with pytest.raises(MessageRejected):
            V0().decode("data", json.dumps({"scope": "application", "data": inner}))


def test_pictures_that_wait_for_the_recorder_are_bounded_in_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()
    monkeypatch.setattr(SegmentWriter, "write", lambda writer, picture, at: go_on.wait(10))
    recordings = Recordings(Settings.load({"record": True, "record_dir": str(tmp_path)}, {}))
    recorder = Recorder(recordings, fps=30, rate=lambda width, height: 10**6, on_stopped=lambda *_: None)
    try:
        large = np.zeros((limits.FRAME_MAX_SIDE * 3 // 2, limits.FRAME_MAX_SIDE), np.uint8)
        for shown in range(6):
            recorder.show(large, shown / 30)
            assert sum(picture.nbytes for picture, _ in recorder._queue) <= limits.RECORDING_PICTURES_BYTES
        assert recorder.dropped >= 6 - 1 - limits.RECORDING_PICTURES_BYTES // large.nbytes
    finally:
        go_on.set()
        recorder.close()
        recordings.close()


# The attack ----------------------------------------------------------------------------------------------

PILES_UP = """
    import time
    import numpy as np
    from reactor_runtime import Image, VideoModel, command, get_ctx

    class Model(VideoModel):
        fps = 30

        def start_session(self):
            picture = np.zeros((360, 640, 3), np.uint8)
            while True:
                picture += 1
                get_ctx().emit_frame(picture)

        @command
        def block(self, seconds: float):
            time.sleep(seconds)

        @command
        def mix(self, a: Image, b: Image, c: Image):
            return {}
"""
FILE_BYTES = limits.UPLOAD_MAX_BYTES


async def upload(visitor: Visitor) -> dict[str, Any]:
    name = {"name": "a.png", "size": FILE_BYTES, "mime_type": "image/png"}
    reserved = (await visitor.http.post(f"/sessions/{visitor.session_id}/uploads", json=name)).json()
    answer = await visitor.http.put(
        reserved["presigned_url"], content=b"\x89PNG\r\n\x1a\n" + bytes(FILE_BYTES - 8)
    )
    assert answer.status_code == 200
    return {"upload_id": reserved["presigned_id"], **name}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mix", "no_such_command"])
async def test_a_viewer_that_names_its_files_in_many_commands_takes_no_memory_and_no_frame(
    tmp_path: Path, name: str
) -> None:
    write_served(tmp_path, PILES_UP)
    with running(tmp_path) as server:
        process = psutil.Process(server.process.pid)

        def resident() -> tuple[int, int]:
            """Of the server, and of all processes together."""
            tree = [process, *process.children(recursive=True)]
            sizes = [member.memory_info().rss for member in tree]
            return sizes[0], sum(sizes)

        async with watching(server.url) as attacker:
            await attacker.see(10)
            before = resident()
            files = [await upload(attacker) for _ in range(3)]
            attacker.tell("block", seconds=2.5).add_done_callback(lambda done: done.exception())
            frames, began_s, seen = attacker.frames, time.monotonic(), [before]
            replies = []
            for sent in range(117):
                replies.append(attacker.tell(name, uploads=dict(zip("abc", files, strict=True))))
                if sent % 10 == 0:
                    await asyncio.sleep(0.15)
            while (passed_s := time.monotonic() - began_s) < 3.0:
                seen.append(resident())
                await asyncio.sleep(0.1)
            rate = (attacker.frames - frames) / passed_s
            answers = await asyncio.gather(*replies, return_exceptions=True)
            assert all(isinstance(answer, Refused) for answer in answers)
            server_mib, all_mib = (
                (max(sizes) - base) / limits.MIB
                for sizes, base in zip(zip(*seen, strict=True), before, strict=True)
            )
            print(f"{name}: +{server_mib:.0f} MiB, with the model +{all_mib:.0f} MiB, {rate:.1f} frames/s")
            # The three files lie in the server and, when a command that exists named them, in the model as well.
            assert server_mib < 150
            assert all_mib < 250
            assert rate > 24  # 28 of 30 where the cores are this test's own
