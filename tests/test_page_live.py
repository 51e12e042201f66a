"""The control page before a running server: restarts, strangers, cameras, failures. In Chromium."""

from __future__ import annotations

import os
import re
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page
from support.page_waits import expect, live, until_state
from support.server import ReactorRun, running, write_model

# The browser that the tests share keeps processes of its own between them.
pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.keeps_resources]

#: Raises before its first picture where the file that it names is missing.
PAINT = """
    from pathlib import Path
    import numpy as np
    from reactor_runtime import VideoModel, command, get_ctx

    class Model(VideoModel):
        fps = 5

        def start_session(self):
            if not Path({canvas!r}).exists():
                raise ValueError("there is no canvas")
            self.broken = False
            while True:
                get_ctx().emit_frame(np.full((90, 160, 3), 90, np.uint8))
                if self.broken:
                    raise ValueError("there is no paint left")

        @command("{tool}", description="Do it")
        def act(self, amount: int = 3):
            if "{tool}" == "brush":
                raise ValueError("the brush is dry")

        @command("fail", description="Do nothing more")
        def fail(self):
            self.broken = True
"""
CAMERA = """
    import numpy as np
    from reactor_runtime import VideoModel, get_ctx

    class Model(VideoModel):
        fps = 5
        picture = None
        failed = False

        def start_session(self):
            while True:
                if self.picture is None:
                    get_ctx().wait(0.05)
                else:
                    get_ctx().emit_frame(self.picture)

        def on_frame(self, frame):
            if not self.failed:
                self.failed = True
                raise ValueError("the lens is dark")
            self.picture = np.full((90, 160, 3), 90, np.uint8)
"""


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context()
    yield context.new_page()
    context.close()


class Port:
    """A port for one server after the other. A test that asks for one that runs already gets that."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.canvas = folder / "canvas"
        self.canvas.touch()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.number = str(free.getsockname()[1])
        self._serves = ""
        self._running = ExitStack()

    def serve(self, tool: str) -> ReactorRun:
        """Serve a model with this tool: the brush's is called probe, the pencil's drawing."""
        if tool != self._serves:
            named = {"model_name": "drawing", "model_version": "2.0.0"} if tool == "pencil" else {}
            source = PAINT.format(tool=tool, canvas=str(self.canvas))
            self._run = self.run(write_model(self.folder / tool, source, **named))
            self._serves = tool
        return self._run

    def run(self, model: Path, *, ready: bool = True) -> ReactorRun:
        self.free()
        return self._running.enter_context(running(model, "--port", self.number, ready=ready))

    def end_session(self) -> None:
        if self._serves:
            self._run.end_session()

    def free(self) -> None:
        """Whatever runs ends."""
        self._running.close()
        self._serves = ""


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Port]:
    made = Port(tmp_path_factory.mktemp("models"))
    yield made
    made.free()


@pytest.fixture
def server(port: Port) -> ReactorRun:
    return port.serve("brush")


@pytest.fixture(autouse=True)
def nothing_runs(port: Port) -> Iterator[None]:
    yield
    port.end_session()


def test_a_load_that_failed_keeps_its_cause_until_a_mended_model_runs(
    page: Page, port: Port, tmp_path: Path
) -> None:
    looked = tmp_path / "looked"
    broken = f"""
        import time
        from pathlib import Path
        from reactor_runtime import VideoModel

        class Model(VideoModel):
            def __init__(self):
                while not Path({str(looked)!r}).exists():
                    time.sleep(0.02)
                raise ValueError("there is no brush")

            def start_session(self): ...
    """
    run = port.run(write_model(tmp_path, broken), ready=False)
    page.goto(run.author_url)
    expect(page.get_by_test_id("cover-title")).to_contain_text("Loading", timeout=20_000)
    looked.touch()
    detail = page.get_by_test_id("cover-detail")
    expect(detail).to_contain_text("ValueError: there is no brush", timeout=30_000)
    assert run.process.wait(20) != 0
    expect(detail).to_contain_text("The server has ended", timeout=20_000)
    expect(detail).to_contain_text("ValueError: there is no brush")
    expect(page.get_by_test_id("cover-title")).to_have_text("The model is not available")
    port.serve("brush")
    live(page)
    expect(page.get_by_test_id("notice-info")).to_contain_text("The server was restarted")


def test_the_page_comes_back_by_itself_after_a_restart_with_the_new_model_s_controls(
    page: Page, port: Port
) -> None:
    run = port.serve("brush")
    page.goto(run.url)
    live(page)
    expect(page.get_by_test_id("command-brush")).to_be_visible()
    run.stop()
    expect(page.get_by_test_id("cover-title")).to_have_text("The server was shut down")
    expect(page.get_by_test_id("cover-detail")).to_contain_text("comes back by itself")
    port.serve("pencil")
    live(page)
    expect(page.get_by_test_id("notice-info")).to_contain_text("The server was restarted")
    expect(page.get_by_test_id("model-name")).to_have_text("drawing")
    expect(page.get_by_test_id("command-pencil")).to_be_visible()
    assert page.get_by_test_id("command-brush").count() == 0
    page.get_by_test_id("send-pencil").click()
    expect(page.get_by_test_id("status-pencil")).to_contain_text(re.compile("Accepted|Visible"))


def test_a_killed_server_is_told_as_such_at_once_and_so_is_its_return(
    page: Page, port: Port, record_property: Callable[[str, object], None]
) -> None:
    run = port.serve("pencil")
    page.goto(run.url)
    live(page)
    began_s = time.monotonic()
    run.process.kill()
    expect(page.get_by_test_id("cover-title")).to_have_text("The server is gone", timeout=15_000)
    record_property("measured", f"told after {time.monotonic() - began_s:.1f} s")
    expect(page.get_by_test_id("cover-detail")).to_contain_text("it was killed, or it crashed")
    port.serve("brush")
    live(page)
    expect(page.get_by_test_id("notice-info")).to_contain_text("was killed or crashed")
    expect(page.get_by_test_id("model-name")).to_have_text("probe")
    assert page.title().startswith("probe")
    expect(page.get_by_test_id("command-brush")).to_be_visible()
    assert page.get_by_test_id("command-pencil").count() == 0


def test_the_author_reads_what_a_model_raised_before_the_page_was_connected(
    page: Page, port: Port, server: ReactorRun
) -> None:
    port.canvas.unlink()
    try:
        page.goto(server.author_url)
        expect(page.get_by_test_id("cover-title")).to_have_text("Session ended", timeout=20_000)
        expect(page.get_by_test_id("cover-detail")).to_contain_text("ValueError: there is no canvas")
        assert "author" not in page.url
    finally:
        port.canvas.touch()


def test_a_killed_model_is_told_as_such(page: Page, server: ReactorRun) -> None:
    page.goto(server.url)
    live(page)
    for child in server.children():
        os.kill(child, signal.SIGKILL)
    expect(page.get_by_test_id("cover-title")).to_have_text("Session ended")
    expect(page.get_by_test_id("cover-detail")).to_have_text(
        "The model process was killed by SIGKILL and is being restarted."
    )
    page.get_by_test_id("cover-start").click()
    live(page, within_s=40)


def test_whoever_s_session_is_over_is_asked_before_joining_a_stranger_s(
    page: Page, browser: Browser, server: ReactorRun
) -> None:
    page.goto(server.url)
    live(page)
    httpx.post(server.url + "/stop_session", json={})
    until_state(page, "ended")
    server.wait_for_state("ready")
    stranger = browser.new_page()
    stranger.goto(server.url)
    live(stranger)
    for come_in in (page.get_by_test_id("cover-start").click, page.reload):
        come_in()
        expect(page.get_by_test_id("cover-title")).to_have_text("Your session is over")
        expect(page.get_by_test_id("cover-detail")).to_contain_text("Somebody else uses the model now")
        expect(page.get_by_test_id("send-fail")).to_be_disabled()
    page.get_by_test_id("cover-start").click()
    live(page)
    stranger.close()


def test_whoever_comes_after_somebody_left_begins_afresh_with_one_request(
    page: Page, browser: Browser, server: ReactorRun
) -> None:
    left = browser.new_page()
    left.goto(server.url)
    live(left)
    before = httpx.get(server.url + "/session").json()["session_id"]
    left.close()
    server.wait_for_state("orphaned")
    with page.expect_request(lambda request: request.method == "POST") as asked:
        page.goto(server.url)
    live(page)
    now = httpx.get(server.url + "/session").json()
    assert (now["session_id"] != before, now["state"]) == (True, "streaming")
    assert asked.value.url == server.url + "/connect"


def test_a_model_that_waits_for_a_camera_is_offered_one_first_and_its_author_reads_what_on_frame_raises(
    page: Page, tmp_path: Path
) -> None:
    with running(write_model(tmp_path, CAMERA)) as run:
        page.goto(run.author_url)
        expect(page.locator("aside .scroll button:visible").first).to_have_text("Use your camera")
        expect(page.get_by_test_id("cover-detail")).to_have_text(
            "This model waits for your camera.", timeout=10_000
        )
        page.get_by_test_id("cover-camera").click()
        live(page)
        expect(page.get_by_test_id("notice-problem")).to_contain_text(
            "on_frame raised ValueError: the lens is dark"
        )
        expect(page.get_by_test_id("input-camera")).to_have_text("Stop your camera")
        page.get_by_test_id("input-camera").click()
        expect(page.get_by_test_id("input-camera")).to_have_text("Use your camera")


@pytest.mark.parametrize("who", ["author", "through a proxy", "without the key"])
def test_what_a_model_raised_is_shown_to_its_author_only(page: Page, server: ReactorRun, who: str) -> None:
    told = who == "author"
    if who == "through a proxy":
        page.set_extra_http_headers({"X-Forwarded-For": "203.0.113.7"})
    page.goto(server.url if who == "without the key" else server.author_url)
    live(page)
    page.get_by_test_id("send-brush").click()
    refused = page.get_by_test_id("command-brush")
    expect(refused).to_contain_text(
        "command 'brush' raised ValueError: the brush is dry" if told else "the command failed"
    )
    assert ("the brush is dry" in refused.inner_text()) is told
    page.get_by_test_id("send-fail").click()
    expect(page.get_by_test_id("cover-title")).to_have_text("Session ended")
    expect(page.get_by_test_id("cover-detail")).to_contain_text("The model failed.")
    text = page.get_by_test_id("cover-detail").inner_text()
    assert ("ValueError: there is no paint left" in text) is told, text


def test_a_visit_fetches_the_page_in_four_requests_and_at_most_60_kb(
    browser: Browser, server: ReactorRun, record_property: Callable[[str, object], None]
) -> None:
    pytest.importorskip("brotli")
    context = browser.new_context()
    page = context.new_page()
    page.goto(server.url)
    live(page)
    # What the page asks of the runtime has no extension. The icon is in the page.
    fetched = page.evaluate(
        """() => performance.getEntries()
            .filter(({name, entryType}) => entryType === "navigation" || /\\.(js|css|html)$/.test(name))
            .map(({name, transferSize}) => [new URL(name).pathname, transferSize])"""
    )
    # Fetched on lines that hold pictures up, as a machine that is crowded seems to be.
    fetched = [entry for entry in fetched if entry[0] != "/catching-up.js"]
    size_kb = sum(size for _, size in fetched) / 1000
    record_property("measured", f"{len(fetched)} requests, {size_kb:.1f} kB")
    # Nothing of a vote among them, or of company: there are none.
    assert len(fetched) == 4, fetched
    assert size_kb <= 60
    page.reload()
    live(page)
    again = page.evaluate(
        "() => performance.getEntriesByType('resource').filter(({name}) => /\\.(js|css)$/.test(name))"
        ".filter(({name}) => !name.endsWith('/catching-up.js')).map(({transferSize}) => transferSize)"
    )
    assert again == [0, 0, 0], "what is named by its content was fetched again"
    context.close()


def test_the_page_runs_from_its_sources_where_the_address_asks_for_them(
    page: Page, server: ReactorRun
) -> None:
    page.goto(f"{server.url}/?source")
    live(page)
    assert page.evaluate(
        "performance.getEntriesByType('resource').some(({name}) => name.endsWith('/wire.js'))"
    )
