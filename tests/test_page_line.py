"""What the page says of its connection: weak, offline, gone, standing still, and how soon it is back. In Chromium."""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import psutil
import pytest
from playwright.sync_api import Browser, Page, Playwright, sync_playwright
from support.cable import Cable, cable
from support.chromium import ARGUMENTS, CHROMIUM, HOOKS
from support.page_waits import expect, live
from support.promises import long_form
from support.server import ReactorRun, running, write_model

# The browser that the tests share keeps processes of its own between them.
pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.keeps_resources]

PICTURES = """
    import numpy as np
    from reactor_runtime import VideoModel, command, get_ctx

    class Model(VideoModel):
        fps = 10

        def start_session(self):
            self.still = False
            while True:
                if self.still:
                    get_ctx().wait(0.05)
                else:
                    get_ctx().emit_frame(np.random.randint(0, 255, (90, 160, 3), np.uint8))

        @command("hold", description="Emit nothing more")
        def hold(self):
            self.still = True
"""
#: Notes each state of the page with its time, in `window.told`.
WATCH = """() => {
    window.told = [];
    const { body } = document;
    const note = () => told.push([performance.now(), body.dataset.state, body.dataset.line ?? "",
                                  document.querySelector("#state").textContent]);
    new MutationObserver(note).observe(body, { attributes: true });
    for (const type of ["online", "offline"])
        addEventListener(type, () => told.push([performance.now(), `browser ${type}`, "", ""]));
}"""

#: How long after the browser was online again the first picture was displayed; 0 while there is none.
DISPLAYED = """() => {
    const [onlineMs] = told.findLast((note) => note[1] === "browser online");
    const shown = reactorPage.frames.find(({ displayMs }) => displayMs > onlineMs);
    return shown ? shown.displayMs - onlineMs : 0;
}"""


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as started:
        yield started


@pytest.fixture(scope="module")
def browser(playwright: Playwright) -> Iterator[Browser]:
    chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
    yield chromium
    chromium.close()


@pytest.fixture(scope="module")
def server() -> Iterator[ReactorRun]:
    with (
        tempfile.TemporaryDirectory() as folder,
        running(write_model(Path(folder), PICTURES), "--join", "drive") as run,
    ):
        yield run


@pytest.fixture
def page(browser: Browser, server: ReactorRun) -> Iterator[Page]:
    context = browser.new_context()
    page = context.new_page()
    page.goto(server.url)
    live(page)
    page.evaluate(WATCH)
    yield page
    context.close()


def state(page: Page) -> Any:
    return page.locator("#state")


def told(page: Page, since: str, until: str) -> float:
    """Return the seconds from the last `since` to the first `until` after it, each a state or a line."""
    notes: list[list[Any]] = page.evaluate("told")
    began = max(index for index, note in enumerate(notes) if since in note)
    return float(next(note[0] for note in notes[began:] if until in note) - notes[began][0]) / 1000


# On one machine -------------------------------------------------------------------------------------------


def test_a_silent_line_is_called_weak_within_three_seconds_and_good_again_at_once(
    page: Page, server: ReactorRun, record_property: Callable[[str, object], None]
) -> None:
    process = psutil.Process(server.process.pid)
    page.evaluate("told.push([performance.now(), 'silence', '', ''])")
    process.suspend()
    try:
        expect(state(page)).to_have_text(re.compile("Weak connection: nothing for [234] s"), timeout=10_000)
        weak_s = told(page, "silence", "weak")
        assert weak_s <= 3
        assert "weak connection" in page.title()
    finally:
        page.evaluate("told.push([performance.now(), 'heard', '', ''])")
        process.resume()
    expect(state(page)).to_have_text("Live")
    record_property("measured", f"weak after {weak_s:.1f} s, good {told(page, 'heard', 'good'):.1f} s after")


def test_a_picture_that_stands_still_is_not_called_live(page: Page) -> None:
    page.get_by_test_id("send-hold").click()
    expect(state(page)).to_have_text(re.compile(r"No new picture for \d+ s"), timeout=10_000)
    assert "live" not in page.title()
    assert "live" not in page.locator("header.top").inner_text().lower()
    assert page.locator("body").get_attribute("data-line") in (None, "good")


# Over a cable ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def line() -> Iterator[Cable]:
    with cable() as plugged:
        yield plugged


@pytest.fixture(scope="module")
def far(line: Cable, playwright: Playwright, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """The page of a server at the other end of the cable."""
    folder = tmp_path_factory.mktemp("far")
    flags = ("--host", line.server_address, "--allow-public")
    with running(write_model(folder / "model", PICTURES), *flags) as run:
        inside = line.inside(CHROMIUM, folder)
        chromium = playwright.chromium.launch(executable_path=inside, args=list(ARGUMENTS))
        page = chromium.new_page()
        page.add_init_script(path=HOOKS)
        page.goto(run.url)
        live(page)
        page.evaluate(WATCH)
        yield page
        chromium.close()


def pull(page: Page, line: Cable, for_s: float) -> None:
    page.evaluate("told.push([performance.now(), 'pulled', '', ''])")
    line.pull()
    expect(page.get_by_test_id("cover-title")).to_have_text("You are offline", timeout=5_000)
    time.sleep(for_s)
    line.plug()


def test_a_browser_that_is_offline_says_so_and_is_back_within_a_second(
    far: Page, line: Cable, record_property: Callable[[str, object], None]
) -> None:
    offline, back = [], []
    for _ in range(long_form(3, nightly=20)):
        pull(far, line, 1.5)
        live(far)
        offline.append(told(far, "pulled", "offline"))
        far.wait_for_function(DISPLAYED)
        back.append(far.evaluate(DISPLAYED) / 1000)
        time.sleep(2)  # a browser tells changes of its network only so often
    record_property("measured", f"offline after {median(offline):.1f} s, back {median(back):.2f} s after")
    assert median(offline) <= 3
    assert median(back) <= 1


def test_after_a_long_absence_the_page_finds_its_session_again(
    far: Page, line: Cable, record_property: Callable[[str, object], None]
) -> None:
    before = far.evaluate("reactorPage.sessionId")
    pull(far, line, 12)
    live(far)
    assert far.evaluate("reactorPage.sessionId") == before
    record_property("measured", f"back {told(far, 'browser online', 'live'):.1f} s after twelve seconds away")
