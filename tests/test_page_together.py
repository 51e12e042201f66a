"""Several pages in one session: the model's values, whoever set them, and each other's company. In Chromium."""

from __future__ import annotations

import io
import itertools
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import PIL.Image
import pytest
from playwright.sync_api import Browser, BrowserContext, Page
from support.full_house import fill, let_go
from support.page_waits import expect, live
from support.promises import long_form
from support.server import ReactorRun, running, write_model

# The browser that the tests share keeps processes of its own between them.
pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.keeps_resources]

CAR = """
    import numpy as np
    from typing import Literal
    from pydantic import Field
    from reactor_runtime import Image, VideoModel, command, get_ctx

    class Model(VideoModel):
        fps = 5

        def start_session(self):
            while True:
                get_ctx().emit_frame(np.full((90, 160, 3), 90, np.uint8))

        @command("set_zoom", description="Zoom")
        def set_zoom(self, zoom: float = Field(1, ge=1, le=8)): ...

        @command("set_scene", description="Scene")
        def set_scene(self, prompt: str = "a road", seed: int = Field(3, ge=0, le=9)): ...

        @command("look_at", description="Look")
        def look_at(self, picture: Image): ...

        @command("drive", description="W=forward, S=back, Q=none")
        def drive(self, pedal: Literal["w", "s", "q"] = "q"): ...

        @command("reset", description="Back to the start")
        def reset(self): ...
"""
#: How many may watch.
ROOM = 8
#: Counts how often the key W is not lit any more.
UNLIT = """() => {
    window.unlit = 0;
    const count = ([{ target }]) => target.dataset.elsewhere === "false" && (window.unlit += 1);
    const key = document.querySelector("[data-testid='key-drive.pedal-w']");
    new MutationObserver(count).observe(key, { attributeFilter: ["data-elsewhere"] });
}"""


@pytest.fixture(scope="module")
def server() -> Iterator[ReactorRun]:
    with (
        tempfile.TemporaryDirectory() as folder,
        running(write_model(Path(folder), CAR), "--viewers", str(ROOM), "--join", "drive") as run,
    ):
        yield run


@pytest.fixture(autouse=True)
def nothing_runs(request: pytest.FixtureRequest, server: ReactorRun) -> None:
    """Each test begins a session, but for those of the pair, which stand first and share one."""
    if "pair" not in request.fixturenames:
        server.end_session()


@pytest.fixture(scope="module")
def two(browser: Browser, server: ReactorRun) -> Iterator[tuple[Page, Page]]:
    pages = browser.new_context().new_page(), browser.new_context().new_page()
    for page in pages:
        page.goto(server.url)
        live(page)
    yield pages
    for page in pages:
        page.context.close()


@pytest.fixture
def pair(two: tuple[Page, Page]) -> Iterator[tuple[Page, Page]]:
    """Two who play with the model's values, one test after the other, each from the defaults on."""
    first, _ = two
    yield two
    first.keyboard.up("w")
    first.get_by_test_id("send-reset").click()
    for page in two:
        expect(zoom(page)).to_have_value("1")


@pytest.fixture
def visit(new_context: Callable[..., BrowserContext], server: ReactorRun) -> Callable[[], Page]:
    """Open the page in a context of its own, and wait until it is live."""

    def come() -> Page:
        page = new_context(permissions=["clipboard-read", "clipboard-write"]).new_page()
        page.goto(server.url)
        live(page)
        return page

    return come


def zoom(page: Page) -> Any:
    return page.get_by_test_id("slider-set_zoom.zoom")


def set_zoom(page: Page, value: int) -> None:
    page.get_by_label("Zoom, exact value").fill(str(value))
    page.get_by_label("Zoom, exact value").press("Enter")
    expect(page.get_by_test_id("status-set_zoom")).to_contain_text(re.compile("Visible|Accepted|Sent to"))


def prompt(page: Page) -> Any:
    return page.get_by_test_id("field-set_scene.prompt").locator("textarea, input")


# The model's values ---------------------------------------------------------------------------------------


def test_a_second_visitor_sees_what_the_first_has_set_and_each_sees_the_other_s_changes(
    pair: tuple[Page, Page], visit: Callable[[], Page]
) -> None:
    first, _ = pair
    set_zoom(first, 4)
    prompt(first).fill("a beach")
    first.get_by_test_id("send-set_scene").click()
    second = visit()
    expect(zoom(second)).to_have_value("4")
    expect(prompt(second)).to_have_value("a beach")
    set_zoom(second, 6)
    expect(zoom(first)).to_have_value("6")
    expect(first.get_by_label("Zoom, exact value")).to_have_value("6")


def test_what_somebody_is_just_entering_stays_theirs(pair: tuple[Page, Page]) -> None:
    first, second = pair
    prompt(first).fill("half a sen")
    seed = second.get_by_test_id("slider-set_scene.seed")
    seed.fill("7")
    prompt(second).fill("a city")
    second.get_by_test_id("send-set_scene").click()
    expect(first.get_by_test_id("slider-set_scene.seed")).to_have_value("7")
    expect(prompt(first)).to_have_value("half a sen")
    first.get_by_test_id("send-set_scene").click()
    expect(prompt(second)).to_have_value("half a sen")


def test_an_uploaded_picture_is_named_to_the_others(pair: tuple[Page, Page]) -> None:
    first, second = pair
    pixel = io.BytesIO()
    PIL.Image.new("RGB", (1, 1)).save(pixel, "PNG")
    first.get_by_test_id("file-look_at.picture").set_input_files(
        {"name": "cat.png", "mimeType": "image/png", "buffer": pixel.getvalue()}
    )
    field = first.get_by_test_id("field-look_at.picture")
    expect(field).to_contain_text("1 × 1")
    first.get_by_test_id("send-look_at").click()
    expect(second.get_by_test_id("field-look_at.picture")).to_contain_text("The model has")
    expect(field).to_contain_text("1 × 1")


def test_keys_that_somebody_else_holds_are_lit(pair: tuple[Page, Page], visit: Callable[[], Page]) -> None:
    first, second = pair
    first.keyboard.press("Escape")
    first.keyboard.down("w")
    theirs = second.get_by_test_id("key-drive.pedal-w")
    expect(theirs).to_have_attribute("data-elsewhere", "true")
    expect(theirs).to_have_attribute("aria-pressed", "false")
    expect(first.get_by_test_id("key-drive.pedal-w")).to_have_attribute("aria-pressed", "true")
    third = visit()
    expect(third.get_by_test_id("key-drive.pedal-w")).to_have_attribute("data-elsewhere", "true")
    first.keyboard.up("w")
    expect(theirs).to_have_attribute("data-elsewhere", "false")


def test_after_a_reset_everybody_sees_the_defaults_and_held_keys_are_said_again(
    pair: tuple[Page, Page],
) -> None:
    first, second = pair
    set_zoom(first, 4)
    expect(zoom(second)).to_have_value("4")
    first.keyboard.press("Escape")
    first.keyboard.down("w")
    lit = second.get_by_test_id("key-drive.pedal-w")
    expect(lit).to_have_attribute("data-elsewhere", "true")
    second.evaluate(UNLIT)
    second.get_by_test_id("send-reset").click()
    for page in (first, second):
        expect(zoom(page)).to_have_value("1")
    second.wait_for_function("window.unlit > 0")
    expect(lit).to_have_attribute("data-elsewhere", "true")
    first.keyboard.up("w")
    expect(lit).to_have_attribute("data-elsewhere", "false")


def test_a_stop_alone_is_not_asked_and_a_new_session_begins_at_the_defaults_on_the_page_too(
    visit: Callable[[], Page], server: ReactorRun
) -> None:
    page = visit()
    set_zoom(page, 4)
    prompt(page).fill("a beach")
    page.get_by_test_id("send-set_scene").click()
    expect(page.get_by_test_id("status-set_scene")).to_contain_text(re.compile("Visible|Accepted|Sent to"))
    page.get_by_test_id("stop").click()
    expect(page.get_by_test_id("cover-title")).to_have_text("Session stopped")
    server.wait_for_state("ready")
    page.get_by_test_id("cover-start").click()
    live(page)
    expect(zoom(page)).to_have_value("1")
    expect(prompt(page)).to_have_value("a road")


def test_half_an_hour_of_play_leaves_the_page_as_small_as_its_first_seconds(
    visit: Callable[[], Page], record_property: Callable[[str, object], None]
) -> None:
    page, other = visit(), visit()
    devtools = page.context.new_cdp_session(page)
    devtools.send("Performance.enable")

    def play(seconds: float) -> None:
        until_s = time.monotonic() + seconds
        for n in itertools.count():
            if time.monotonic() > until_s:
                return
            page.keyboard.press("ws"[n % 2], delay=30)
            zoom(page).fill(str(1 + n % 8))
            zoom(other).fill(str(1 + (n + 3) % 8))
            if n % 10 == 0:
                page.get_by_test_id("send-reset").click()
                page.keyboard.press("o")

    def size() -> dict[str, float]:
        devtools.send("HeapProfiler.collectGarbage")
        metrics = {each["name"]: each["value"] for each in devtools.send("Performance.getMetrics")["metrics"]}
        return {name: metrics[name] for name in ("JSHeapUsedSize", "Nodes", "JSEventListeners")}

    # Histories of bounded length fill first: displayed frames, delays.
    play(long_form(3, nightly=120))
    before = size()
    play(long_form(5, nightly=1800))
    after = size()
    grown = {name: after[name] - before[name] for name in before}
    record_property(
        "measured", f"heap {grown['JSHeapUsedSize'] / 1024:+.0f} KiB, nodes {grown['Nodes']:+.0f}"
    )
    # In the first minute the browser still compiles what is played; thirty are held to half of that.
    assert grown["JSHeapUsedSize"] <= long_form(1024, nightly=512) * 1024, grown
    assert grown["Nodes"] <= 50, grown
    assert grown["JSEventListeners"] <= 10, grown


# Company --------------------------------------------------------------------------------------------------


def test_each_is_told_how_many_are_here_and_who_drives(visit: Callable[[], Page]) -> None:
    first = visit()
    expect(first.get_by_test_id("company")).to_be_hidden()
    second = visit()
    for page in (first, second):
        expect(page.get_by_test_id("company")).to_have_text("2 here, nobody drives")
    set_zoom(second, 4)
    expect(first.get_by_test_id("company")).to_have_text("2 here, somebody else drives")
    expect(second.get_by_test_id("company")).to_have_text("2 here, you drive")
    set_zoom(first, 2)
    expect(first.get_by_test_id("company")).to_have_text("2 here, you and 1 other drive")
    second.close()
    expect(first.get_by_test_id("company")).to_be_hidden(timeout=15_000)


def test_a_stop_of_what_others_watch_is_asked_and_may_leave_it_to_them(visit: Callable[[], Page]) -> None:
    first, second = visit(), visit()
    expect(first.get_by_test_id("company")).to_be_visible()
    first.get_by_test_id("stop").click()
    expect(first.get_by_test_id("stop-ask")).to_contain_text("Somebody else is watching.")
    first.get_by_test_id("stop-not").click()
    expect(first.get_by_test_id("stop-ask")).to_be_hidden()
    first.get_by_test_id("stop").click()
    first.get_by_test_id("stop-leave").click()
    expect(first.get_by_test_id("cover-title")).to_have_text("You left the session")
    expect(second.get_by_test_id("company")).to_be_hidden()
    live(second)
    first.get_by_test_id("cover-start").click()
    live(first)
    expect(first.get_by_test_id("company")).to_be_visible()
    first.get_by_test_id("stop").click()
    first.get_by_test_id("stop-all").click()
    expect(second.get_by_test_id("cover-title")).to_have_text("Session ended")


def test_whoever_finds_no_room_is_told_and_gets_in_when_somebody_leaves(
    visit: Callable[[], Page], browser: Browser, server: ReactorRun
) -> None:
    host = visit()
    fill(host, ROOM - 1)
    expect(host.get_by_test_id("company")).to_contain_text(f"{ROOM} here", timeout=20_000)
    late = browser.new_page()
    late.goto(server.url)
    expect(late.get_by_test_id("cover-title")).to_have_text("No room at the moment", timeout=10_000)
    expect(late.get_by_test_id("cover-detail")).to_contain_text(f"{ROOM} viewers are connected")
    expect(late.get_by_test_id("cover-detail")).to_contain_text("when there is room")
    let_go(host, 1)
    live(late)
    late.close()


def test_a_shared_link_opens_where_a_token_is_needed(browser: Browser, tmp_path: Path) -> None:
    with running(write_model(tmp_path, CAR), "--token", "a-long-enough-token") as run:
        context = browser.new_context(permissions=["clipboard-read", "clipboard-write"])
        page = context.new_page()
        page.goto(run.url + "/#token=a-long-enough-token")
        live(page)
        assert "token" not in page.url
        page.get_by_test_id("share").click()
        expect(page.get_by_test_id("share-about")).to_contain_text("your access token is in it")
        link = page.get_by_test_id("share-link").input_value()
        friend = browser.new_page()
        friend.goto(link)
        live(friend)
        assert "token" not in friend.url
        friend.close()
        context.close()
