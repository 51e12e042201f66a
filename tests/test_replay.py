"""A logged session runs again frame by frame, and a model that changed is caught where it did."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest
from playwright.sync_api import Page, sync_playwright
from support.chromium import ARGUMENTS, CHROMIUM, HOOKS
from support.headless_models import LOOP, WAITER, steps
from support.host_events import write_model
from support.sdk import connected, warm_up
from support.server import ReactorRun, running

from reactor_runtime.errors import LogRejected
from reactor_runtime.headless.render import Take, render
from reactor_runtime.headless.replay import Replayed, open_log, replay, side_by_side
from reactor_runtime.session_log.digests import digest_of
from reactor_runtime.session_log.lines import Began, Ended, Ran, Saw, SessionLog
from reactor_runtime.types import EmittedFrame

TESTCARD = Path(__file__).parent.parent / "examples" / "testcard"


def again(log: SessionLog, manifest: Path) -> Replayed:
    return asyncio.run(replay(log, manifest, lambda frame: None))


def log_of(
    manifest: Path, commands: list[Ran], *, frames: int = 12, every: int = 1, **args: Any
) -> SessionLog:
    """The log of a session that was rendered: what a live one writes, without its timing."""
    began = Began(
        session_id="s", started="", runtime="0.1.0", model="tested", version="1.0.0", seed=11,
        model_class="authored:Model", args=args, weights={}, fps=30.0, digest_every=every, redacted=False,
    )  # fmt: skip
    log = SessionLog(began=began, commands=commands, ended=Ended(frames=frames))

    def show(frame: EmittedFrame) -> None:
        if frame.frame_id % every == 0:
            log.frames.append(Saw(frame=frame.frame_id, size=(32, 48), digest=digest_of(frame.pixels)))

    asyncio.run(render(Take(manifest, args, frames, 11, log.cues()), show))
    return log


def ran(frame: int, name: str = "set_level", waits: int = 0, code: str = "", **arguments: Any) -> Ran:
    return Ran(frame=frame, waits=waits, name=name, arguments=arguments, code=code)


def test_a_replay_has_the_commands_the_seed_and_the_arguments_of_the_session(tmp_path: Path) -> None:
    manifest = steps(tmp_path)
    commands = [
        ran(1, level=3),
        ran(4, "refuse", code="no"),
        ran(4, level=5),
        ran(9, "set_text", text="hello"),
    ]
    log = log_of(manifest, commands, block=2)
    replayed = again(log, manifest)
    assert replayed.equal
    assert replayed.comparison.compared == 12


def test_a_model_that_works_in_steps_gets_its_commands_between_the_same_steps(tmp_path: Path) -> None:
    manifest = write_model(tmp_path, WAITER)
    log = log_of(manifest, [ran(1, waits=5, level=2), ran(3, waits=2, level=7)])
    assert again(log, manifest).equal
    log.commands[1] = ran(3, waits=3, level=7)
    assert again(log, manifest).comparison.first_difference == 3


@pytest.mark.parametrize(("every", "found", "after"), [(1, 7, 6), (3, 9, 6)])
def test_a_change_is_caught_at_the_first_digest_after_it(
    tmp_path: Path, every: int, found: int, after: int
) -> None:
    manifest = steps(tmp_path)
    log = log_of(manifest, [ran(2, level=3)], every=every)
    log.began = log.began.model_copy(update={"args": {"bug_from": 7}})
    replayed = again(log, manifest)
    assert not replayed.equal
    assert (replayed.comparison.first_difference, replayed.comparison.after) == (found, after)
    assert replayed.comparison.side_by_side is not None


def test_a_blocking_loop_replays_between_its_frames(tmp_path: Path) -> None:
    manifest = write_model(tmp_path, LOOP)
    log = log_of(manifest, [ran(4, level=9)])
    assert again(log, manifest).equal


def test_another_answer_or_version_is_told_even_if_the_frames_are_equal(tmp_path: Path) -> None:
    manifest = steps(tmp_path)
    log = log_of(manifest, [ran(4, level=5)])
    log.began = log.began.model_copy(update={"version": "0.9"})
    log.commands[0] = ran(4, code="invalid_command", level=5)
    replayed = again(log, manifest)
    assert replayed.answers == ["set_level before frame 4: invalid_command then, accepted now"]
    assert replayed.warnings == ["the version was 0.9 and is 1.0.0"]
    assert not replayed.equal


def test_a_session_that_ends_sooner_than_its_log_is_not_equal(tmp_path: Path) -> None:
    manifest = steps(tmp_path)
    log = log_of(manifest, [])
    log.frames = [Saw(frame=99, size=(32, 48), digest="")]
    assert again(log, manifest).missing == 1
    assert not again(log, manifest).equal


def test_the_picture_of_a_difference_shows_then_now_and_what_differs() -> None:
    import base64

    past, now = np.full((60, 80, 3), 40, np.uint8), np.full((120, 160, 3), 40, np.uint8)
    now[:, :80] = 140
    jpeg = base64.b64encode(cv2.imencode(".jpg", past)[1].tobytes()).decode()
    picture = side_by_side(Saw(frame=1, size=(120, 160), digest="", picture=jpeg), now)
    assert picture.shape == (120, 3 * 160 + 8, 3)
    left, middle, right = picture[:, :160], picture[:, 164:324], picture[:, 328:]
    assert abs(int(left.mean()) - 40) <= 2
    assert np.array_equal(middle, now)
    assert right[:, :70].min() == 255
    assert right[:, 90:].max() < 20


def test_a_redacted_or_empty_log_is_refused_with_what_to_do(tmp_path: Path) -> None:
    log = log_of(steps(tmp_path), [ran(4, level=5)], frames=4)
    file = tmp_path / "log.jsonl"
    began = log.began.model_copy(update={"redacted": True})
    file.write_text(began.line() + log.commands[0].line())
    with pytest.raises(LogRejected, match="--log-redact"):
        open_log(file)
    file.write_text(log.began.line())
    with pytest.raises(LogRejected, match="before its first frame"):
        open_log(file)
    with pytest.raises(LogRejected, match="cannot be read"):
        open_log(tmp_path / "absent.jsonl")


# Live sessions --------------------------------------------------------------------------------------------


def only_file(folder: Path) -> Path:
    (file,) = folder.glob("*.jsonl")
    return file


@pytest.mark.slow
@pytest.mark.browser
def test_a_session_in_chromium_replays_with_every_digest_equal(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    with running(TESTCARD, "--log-session", str(logs)) as server, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        page = browser.new_page(bypass_csp=True)
        page.add_init_script(path=HOOKS)
        page.goto(server.url)
        page.wait_for_function("window.reactorPage?.state === 'live' && reactorPage.frames.length > 5")
        for name, arguments in (
            ("set_text", {"text": "in Chromium"}),
            ("set_palette", {"palette": "ember"}),
            ("nudge", {"key": "W"}),
            ("go_to", {"frame": 0}),  # refused: passed already
            ("set_look", {"look": {"radius": 60, "shape": "ring"}}),
            ("flash", {}),
        ):
            page.evaluate("([name, data]) => { reactorPage.sendCommand(name, data); }", [name, arguments])
            seen = page.evaluate("reactorPage.frames.at(-1).presented")
            page.wait_for_function("n => reactorPage.frames.at(-1).presented > n", arg=seen)
        page.wait_for_timeout(300)
        page.evaluate("reactorPage.stop()")
        server.wait_for_state("ready")
        browser.close()
    log = open_log(only_file(logs))
    assert [each.name for each in log.commands] == [
        "set_text", "set_palette", "nudge", "go_to", "set_look", "flash",
    ]  # fmt: skip
    assert log.commands[3].code == "frame_passed"
    assert log.ended is not None
    assert len(log.frames) > 5
    replayed = again(log, TESTCARD)
    assert replayed.comparison.first_difference is None
    assert replayed.equal
    # The frames that the commands changed are among those that were compared.
    assert {each.frame for each in log.commands if not each.code} <= set(replayed.comparison.expected)


def saved_log(page: Page, target: Path) -> SessionLog:
    """Press the page's button and read what it saves."""
    with page.expect_download(timeout=30_000) as download:
        page.get_by_test_id("session-log").click()
    assert download.value.suggested_filename.endswith(".jsonl")
    download.value.save_as(target)
    return open_log(target)


def said(page: Page, text: str) -> None:
    """Send a command and wait for pictures after it."""
    page.evaluate("text => { reactorPage.sendCommand('set_text', { text }); }", text)
    seen = page.evaluate("reactorPage.frames.at(-1).presented")
    page.wait_for_function("n => reactorPage.frames.at(-1).presented > n + 15", arg=seen)


@pytest.mark.slow
@pytest.mark.browser
def test_the_page_saves_a_log_of_any_session_it_began_and_the_log_replays(tmp_path: Path) -> None:
    live = "() => window.reactorPage?.state === 'live' && reactorPage.frames.length > 5"
    with running(TESTCARD) as server, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        page = browser.new_context().new_page()
        page.add_init_script(path=HOOKS)
        page.goto(server.url)
        page.wait_for_function(live)
        said(page, "from the page")
        middle = saved_log(page, tmp_path / "middle.jsonl")

        # The page that began the session stays it when it is loaded again, and after the end.
        page.reload()
        page.wait_for_function(live)
        said(page, "after a reload")
        page.get_by_test_id("stop").click()
        server.wait_for_state("ready")
        whole = saved_log(page, tmp_path / "whole.jsonl")

        # What is typed in a session that somebody else began is not this viewer's.
        begun = httpx.post(f"{server.url}/start_session", json={}).json()
        assert begun["session_log"]["path"].startswith(f"sessions/{begun['session_id']}/log/")
        assert "session_log" not in server.get("/session").json()
        page.reload()
        page.get_by_test_id("cover-start").click()  # says "Join": this visitor's own session is over
        page.wait_for_function(live)
        assert page.evaluate("() => reactorPage.sessionId") == begun["session_id"]
        assert not page.get_by_test_id("session-log").is_visible()
        browser.close()
    assert [each.arguments for each in middle.commands] == [{"text": "from the page"}]
    assert [each.arguments["text"] for each in whole.commands] == ["from the page", "after a reload"]
    assert middle.ended is None
    assert whole.ended is not None
    for log in (middle, whole):
        assert {each.frame for each in log.commands} <= {saw.frame for saw in log.frames}
    reactor = str(Path(sys.executable).with_name("reactor"))
    for file, log in (("middle.jsonl", middle), ("whole.jsonl", whole)):
        done = subprocess.run(
            [reactor, "replay", file, str(TESTCARD), "--verify"],
            capture_output=True, text=True, timeout=120, check=False, cwd=tmp_path,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert f"equal: all {len(log.frames)} digests" in done.stderr


async def steer_and_kill(server: ReactorRun) -> None:
    async with connected(server) as client:
        await client.frames(10)
        await client.send_command("set_text", {"text": "killed"})
        await client.frames(20)
        server.process.send_signal(signal.SIGKILL)
        server.process.wait(10)


@pytest.mark.slow
@pytest.mark.keeps_resources
def test_the_log_of_a_killed_server_replays_as_far_as_it_goes(tmp_path: Path) -> None:
    warm_up()
    logs = tmp_path / "logs"
    with running(TESTCARD, "--log-session", str(logs)) as server:
        asyncio.run(steer_and_kill(server))
    log = open_log(only_file(logs))
    assert log.ended is None
    assert [each.name for each in log.commands] == ["set_text"]
    assert log.last_frame > 20
    assert again(log, TESTCARD).equal


@pytest.mark.slow
def test_the_command_line_verifies_and_leaves_a_picture(tmp_path: Path) -> None:
    manifest = steps(tmp_path)
    log = log_of(manifest, [ran(3, level=9)], every=2)
    file = tmp_path / "session.jsonl"

    def write(**args: Any) -> None:
        began = log.began.model_copy(update={"args": args})
        file.write_text("".join(each.line() for each in (began, *log.commands, *log.frames)))

    def reactor_replay(*flags: str) -> subprocess.CompletedProcess[str]:
        reactor = str(Path(sys.executable).with_name("reactor"))
        return subprocess.run(
            [reactor, "replay", str(file), str(manifest), *flags],
            capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path, env={**os.environ},
        )  # fmt: skip

    write()
    done = reactor_replay("--verify", "--out", "film.mp4")
    assert done.returncode == 0, done.stderr
    assert "equal: all 6 digests" in done.stderr
    assert (tmp_path / "film.mp4").exists()

    ran_with_upload = log.commands[0].model_copy(update={"uploads": 1})
    began = log.began.model_copy(update={"args": {}})
    file.write_text("".join(each.line() for each in (began, ran_with_upload, *log.frames)))
    done = reactor_replay()
    lack = done.stderr.index("note: the log lacks 1 uploaded file; frames may differ")
    assert lack < done.stderr.index("12 frames, 1 commands")
    assert done.stderr.count("the log lacks") == 1

    write(bug_from=5)
    done = reactor_replay("--verify", "--json")
    assert done.returncode == 1
    assert "frame 6 differs (frame 4 was equal)" in done.stderr
    found = json.loads(done.stdout)
    assert (found["equal"], found["first_difference"]) == (False, 6)
    assert cv2.imread(found["picture"]) is not None
    assert reactor_replay().returncode == 0  # without --verify it only tells
