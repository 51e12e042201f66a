"""A session's log says what happened exactly enough to repeat it, and survives whatever ends it."""

from __future__ import annotations

import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.headless_models import steps
from support.host_events import Recording, settings

from reactor_runtime import limits
from reactor_runtime.errors import LogRejected
from reactor_runtime.host import HostEvents, ModelHost
from reactor_runtime.running.inline import InlineHost
from reactor_runtime.session_log.lines import Began, Camera, Ended, Ran, Saw, SessionLog, read_log, redacted
from reactor_runtime.session_log.logbook import Logbook
from reactor_runtime.session_log.logged_host import Described, LoggedHost, weights_of
from reactor_runtime.types import CommandCall, Demand, UploadedFile
from reactor_runtime.worker.parent import ProcessHost

BEGAN = Began(
    session_id="s", started="2026-01-01T00:00:00+00:00", runtime="0.1.0", model="m", version="1", seed=7,
    model_class="model:Model", args={"size": [4, 4]}, weights={}, fps=30.0, digest_every=10, redacted=False,
)  # fmt: skip


@given(st.text(max_size=9), st.integers(1, 10**6), st.integers(0, 99), st.text(max_size=40))
def test_records_come_back_from_their_lines(name: str, frame: int, waits: int, text: str) -> None:
    ran = Ran(frame=frame, waits=waits, name=name, arguments={"text": text, "deep": [{"a": 1.5}]}, code="no")
    saw = Saw(frame=frame, size=(48, 64), digest="ab", picture="cd")
    lines = [each.line() for each in (BEGAN, ran, saw, Camera(frame=frame), Ended(frames=frame))]
    assert all(line.count("\n") == 1 and line.endswith("\n") for line in lines)
    log = read_log(lines, file="log")
    assert log == SessionLog(
        began=BEGAN, commands=[ran], frames=[saw], camera=Camera(frame=frame), ended=Ended(frames=frame)
    )
    (cue,) = log.cues()
    assert (cue.frame_id, cue.waits, cue.call.name, cue.call.arguments) == (frame, waits, name, ran.arguments)


@given(st.integers(1, 400))
def test_a_log_cut_anywhere_after_its_first_line_is_a_log_of_what_came_before(cut: int) -> None:
    ran = [Ran(frame=n, waits=0, name="a", arguments={"n": n}) for n in range(1, 6)]
    rest = "".join(each.line() for each in ran)
    kept = rest[: min(cut, len(rest))]
    log = read_log((BEGAN.line() + kept).splitlines(keepends=True), file="log")
    whole = [each for each in ran if each.line().rstrip("\n") in kept]
    assert log.commands == whole
    assert log.ended is None


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([], "empty"),
        (["{}"], "line 1"),
        ([Ended(frames=1).line()], "begins with its session"),
        ([BEGAN.line(), "nonsense", Ended(frames=1).line()], "line 2"),
        ([BEGAN.model_copy(update={"format": 9}).line()], "format 9"),
        ([BEGAN.line(), BEGAN.line()], "once"),
    ],
)
def test_what_is_not_a_log_is_refused_with_the_line(lines: list[str], words: str) -> None:
    with pytest.raises(LogRejected, match=words):
        read_log(lines, file="log")


def test_the_replay_goes_as_far_as_the_log_knows() -> None:
    log = SessionLog(began=BEGAN, commands=[Ran(frame=9, waits=0, name="a", arguments={})])
    assert log.last_frame == 8
    log.frames.append(Saw(frame=20, size=(1, 1), digest=""))
    assert log.last_frame == 20
    log.ended = Ended(frames=24)
    assert log.last_frame == 24


def test_redaction_keeps_the_choices_of_a_command_and_no_other_text() -> None:
    schema = {"properties": {"key": {"enum": ["W", "A"]}, "text": {"type": "string"}}}
    given_arguments = {"key": "W", "text": "my secret", "n": 3, "list": ["x", {"deep": "A"}]}
    assert redacted(given_arguments, schema) == {
        "key": "W",
        "text": "<9 characters>",
        "n": 3,
        "list": ["<1 characters>", {"deep": "A"}],
    }


# A host that writes ------------------------------------------------------------------------------------


@asynccontextmanager
async def logged(
    tmp_path: Path, kind: type[InlineHost | ProcessHost] = InlineHost, **changed: Any
) -> AsyncIterator[tuple[LoggedHost, Recording]]:
    manifest = steps(tmp_path)
    wanted = settings(log_session=str(tmp_path / "logs"), **changed)
    events = Recording()

    def make(inner: HostEvents) -> ModelHost:
        return kind(inner, manifest, {}, wanted)

    host = LoggedHost(events, make, wanted, Logbook(wanted), lambda: Described("authored:Model", {}, {}))
    await host.load()
    try:
        yield host, events
    finally:
        await host.close()


def only_log(tmp_path: Path) -> SessionLog:
    (file,) = (tmp_path / "logs").glob("*.jsonl")
    return read_log(file.read_text().splitlines(), file=str(file))


def show(host: LoggedHost, last: int) -> None:
    """Let the model make frames up to this one."""
    host.demand(Demand(last, due_s=0.0, interval_s=1e6, watched=True))


@pytest.mark.slow
@pytest.mark.parametrize("kind", [InlineHost, ProcessHost])
async def test_every_command_is_logged_with_the_frame_it_ran_before(
    tmp_path: Path, kind: type[InlineHost | ProcessHost]
) -> None:
    async with logged(tmp_path, kind, log_digest_every=4) as (host, events):
        host.start_session("12345678-session")
        show(host, 5)
        await events.until(lambda: len(events.frames) >= 5)
        for name, arguments in (("set_level", {"level": 3}), ("refuse", {}), ("set_level", {"level": 999})):
            await events.ask(host, name, **arguments)
        show(host, 9)
        await events.until(lambda: len(events.frames) >= 9)
        await host.stop_session()
        log = only_log(tmp_path)
    assert [(ran.frame, ran.waits, ran.name, ran.code) for ran in log.commands] == [
        (6, 0, "set_level", ""),
        (6, 0, "refuse", "no"),
        (6, 0, "set_level", "invalid_command"),
    ]
    assert [saw.frame for saw in log.frames] == [1, 4, 6, 8]
    assert log.ended == Ended(frames=9)
    assert log.began.session_id == "12345678-session"
    assert 0 <= log.began.seed < 2**32
    assert all(saw.size == (32, 48) and saw.picture for saw in log.frames)


@pytest.mark.slow
async def test_each_session_has_a_log_and_a_seed_of_its_own(tmp_path: Path) -> None:
    async with logged(tmp_path) as (host, events):
        for number in ("one", "two"):
            host.start_session(number)
            await events.until(lambda: events.frames)
            await host.stop_session()
    logs = [read_log(file.read_text().splitlines(), file="") for file in (tmp_path / "logs").iterdir()]
    assert {log.began.session_id for log in logs} == {"one", "two"}
    assert len({log.began.seed for log in logs}) == 2


async def test_a_redacted_log_has_neither_texts_nor_pictures_and_only_its_owner_reads_it(
    tmp_path: Path,
) -> None:
    async with logged(tmp_path, log_redact=True) as (host, events):
        host.start_session("s")
        await events.until(lambda: events.frames)
        await events.ask(host, "set_text", text="my secret prompt")
        show(host, 6)
        await events.until(lambda: len(events.frames) >= 6)
        await host.stop_session()
    (file,) = (tmp_path / "logs").iterdir()
    assert "secret" not in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    log = only_log(tmp_path)
    assert log.commands[0].arguments == {"text": "<16 characters>"}
    assert all(not saw.picture for saw in log.frames)
    assert log.frames


async def test_a_log_that_would_be_too_large_ends_and_the_session_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(limits, "SESSION_LOG_MAX_BYTES", 3000)
    async with logged(tmp_path, log_digest_every=1) as (host, events):
        host.start_session("s")
        show(host, 20)
        await events.until(lambda: len(events.frames) >= 20)
        await host.stop_session()
        assert events.ended == [None]
    (file,) = (tmp_path / "logs").iterdir()
    assert file.stat().st_size <= 3000
    assert only_log(tmp_path).frames
    assert "the log of the session ends here" in caplog.text


async def test_a_folder_that_cannot_be_written_costs_the_log_and_not_the_session(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "logs").write_text("a file, and no folder")
    async with logged(tmp_path) as (host, events):
        host.start_session("s")
        await events.until(lambda: events.frames)
        await host.stop_session()
        assert events.ended == [None]
    assert "the session is not logged" in caplog.text


async def test_a_camera_and_uploads_are_told_to_be_missing(tmp_path: Path) -> None:
    async with logged(tmp_path) as (host, events):
        host.start_session("s")
        await events.until(lambda: events.frames)
        host.push_input("webcam", np.zeros((16, 16, 3), np.uint8))
        host.push_input("webcam", np.zeros((16, 16, 3), np.uint8))
        upload = {"level": UploadedFile("u", "a.png", "image/png", b"x")}
        host.send_command(CommandCall(1, "set_level", {"level": 1}, upload))
        await events.until(lambda: events.outcomes)
        await host.stop_session()
    lacks = only_log(tmp_path).inexact()
    assert len(lacks) == 2
    assert "camera" in lacks[0]
    assert "1 uploaded file" in lacks[1]


def test_weights_are_named_by_their_index_or_their_listing(tmp_path: Path) -> None:
    folder = tmp_path / "weights" / "Net"
    folder.mkdir(parents=True)
    (folder / "a.bin").write_bytes(b"123")
    first = weights_of(["Net", "Absent"], beside=tmp_path)
    assert first["Net"].startswith("listing sha256:")
    assert first["Absent"].startswith("unknown")
    (folder / "a.bin").write_bytes(b"1234")
    assert weights_of(["Net"], beside=tmp_path)["Net"] != first["Net"]
