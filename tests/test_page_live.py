"""The control page before a running server: restarts, strangers, cameras, failures. In Chromium."""

from __future__ import annotations

import os
import re
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect
from support.server import ReactorRun, running, write_model

# The browser that the tests share keeps processes of its own between them.
pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.keeps_resources]

PAINT = """
    import numpy as np
    from reactor_runtime import VideoModel, command, get_ctx

    class Model(VideoModel):
        fps = 20

        def start_session(self):
            self.broken = False
            while True:
                get_ctx().emit_frame(np.full((90, 160, 3), 90, np.uint8))
                if self.broken:
                    raise ValueError("there is no paint left")

        @command("{name}", description="Do it")
        def act(self, amount: int = 3):
            {body}
"""
CAMERA = """
    import numpy as np
    from reactor_runtime import VideoModel, get_ctx

    class Model(VideoModel):
        fps = 20
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


@pytest.fixture(scope="module")
def server() -> Iterator[ReactorRun]:
    with tempfile.TemporaryDirectory() as folder:
        model = write_model(
            Path(folder),
            PAINT.format(name="fail", body="self.broken = True")
            + """
        @command("smear", description="Do it wrong")
        def smear(self):
            raise ValueError("the brush is dry")
""",
        )
        with running(model) as run:
            yield run


@pytest.fixture
def port() -> str:
    """A port for one server after the other."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


@pytest.fixture(autouse=True)
def nothing_runs(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "server" in request.fixturenames:
        run: ReactorRun = request.getfixturevalue("server")
        run.end_session()


def live(page: Page, *, within_s: float = 20) -> None:
    expect(page.locator("body")).to_have_attribute("data-state", "live", timeout=within_s * 1000)


def test_the_author_reads_what_a_model_raised_before_the_page_was_connected(
    page: Page, tmp_path: Path
) -> None:
    model = """
        from reactor_runtime import VideoModel

        class Model(VideoModel):
            def start_session(self):
                raise ValueError("there is no canvas")
    """
    with running(write_model(tmp_path, model)) as run:
        page.goto(run.author_url)
        expect(page.get_by_test_id("cover-title")).to_have_text("Session ended", timeout=20_000)
        expect(page.get_by_test_id("cover-detail")).to_contain_text("ValueError: there is no canvas")
        assert "author" not in page.url


def test_the_page_comes_back_by_itself_after_a_restart_with_the_new_model_s_controls(
    page: Page, tmp_path: Path, port: str
) -> None:
    first = write_model(tmp_path / "first", PAINT.format(name="brush", body="pass"))
    second = write_model(tmp_path / "second", PAINT.format(name="pencil", body="pass"), model_name="drawing")
    with running(first, "--port", port) as run:
        page.goto(run.url)
        live(page)
        expect(page.get_by_test_id("command-brush")).to_be_visible()
        run.stop()
        expect(page.get_by_test_id("cover-title")).to_have_text("The server was shut down")
        expect(page.get_by_test_id("cover-detail")).to_contain_text("comes back by itself")
    with running(second, "--port", port):
        live(page)
        expect(page.get_by_test_id("notice-info")).to_contain_text("The server was restarted")
        expect(page.get_by_test_id("model-name")).to_have_text("drawing")
        expect(page.get_by_test_id("command-pencil")).to_be_visible()
        assert page.get_by_test_id("command-brush").count() == 0
        page.get_by_test_id("send-pencil").click()
        expect(page.get_by_test_id("status-pencil")).to_contain_text(re.compile("Accepted|Visible"))


def test_a_killed_server_is_told_as_such_at_once_and_so_is_its_return(
    page: Page, tmp_path: Path, port: str, record_property: Callable[[str, object], None]
) -> None:
    first = write_model(tmp_path / "first", PAINT.format(name="brush", body="pass"))
    second = write_model(
        tmp_path / "second",
        PAINT.format(name="pencil", body="pass"),
        model_name="drawing",
        model_version="2.0.0",
    )
    with running(first, "--port", port) as run:
        page.goto(run.url)
        live(page)
        began_s = time.monotonic()
        run.process.kill()
        expect(page.get_by_test_id("cover-title")).to_have_text("The server is gone", timeout=15_000)
        record_property("measured", f"told after {time.monotonic() - began_s:.1f} s")
        expect(page.get_by_test_id("cover-detail")).to_contain_text("it was killed, or it crashed")
    with running(second, "--port", port):
        live(page)
        expect(page.get_by_test_id("notice-info")).to_contain_text("was killed or crashed")
        expect(page.get_by_test_id("model-name")).to_have_text("drawing")
        assert page.title().startswith("drawing")
        expect(page.get_by_test_id("command-pencil")).to_be_visible()
        assert page.get_by_test_id("command-brush").count() == 0


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


def test_a_load_that_failed_keeps_its_cause_until_a_mended_model_runs(
    page: Page, tmp_path: Path, port: str
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
    with running(write_model(tmp_path, broken), "--port", port, ready=False) as run:
        page.goto(run.author_url)
        expect(page.get_by_test_id("cover-title")).to_contain_text("Loading", timeout=20_000)
        looked.touch()
        detail = page.get_by_test_id("cover-detail")
        expect(detail).to_contain_text("ValueError: there is no brush", timeout=30_000)
        assert run.process.wait(20) != 0
        expect(detail).to_contain_text("The server has ended", timeout=20_000)
        expect(detail).to_contain_text("ValueError: there is no brush")
        expect(page.get_by_test_id("cover-title")).to_have_text("The model is not available")
    write_model(tmp_path, PAINT.format(name="brush", body="pass"))
    with running(tmp_path, "--port", port):
        live(page)
        expect(page.get_by_test_id("notice-info")).to_contain_text("The server was restarted")


def test_whoever_s_session_is_over_is_asked_before_joining_a_stranger_s(
    page: Page, browser: Browser, server: ReactorRun
) -> None:
    page.goto(server.url)
    live(page)
    httpx.post(server.url + "/stop_session", json={})
    expect(page.locator("body")).to_have_attribute("data-state", "ended")
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


def test_a_new_visitor_joins_the_session_that_runs(page: Page, browser: Browser, server: ReactorRun) -> None:
    other = browser.new_page()
    other.goto(server.url)
    live(other)
    page.goto(server.url)
    live(page)
    other.close()


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
    page.get_by_test_id("send-smear").click()
    refused = page.get_by_test_id("command-smear")
    expect(refused).to_contain_text(
        "command 'smear' raised ValueError: the brush is dry" if told else "the command failed"
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
