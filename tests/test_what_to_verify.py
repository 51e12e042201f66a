"""The six checks that the guide ends with ("What to verify"), against a real `reactor run` and a real Chromium.

The model paints one colour, which a command changes, so that what a person would see can be read off a pixel. One
server serves them all: what it has printed since a test began is what that test made it do.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import BrowserContext, Page
from support.chromium import HOOKS
from support.page_waits import live
from support.server import ReactorRun, running, write_model

# The browser that the tests share keeps processes of its own between them.
pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.keeps_resources]

MODEL = """
    import time
    import numpy as np
    from pydantic import Field
    from reactor_runtime import VideoModel, command, get_ctx

    class Model(VideoModel):
        def __init__(self, fps=20):
            time.sleep(1.0)  # weights take a while
            self.red = 0
            print("CONSTRUCTED")

        def start_session(self):
            print("SESSION BEGINS")
            for step in range(100_000):
                if get_ctx().should_stop():
                    break
                time.sleep(0.04)  # so does a frame
                frame = np.zeros((120, 160, 3), np.uint8)
                frame[..., 0] = self.red
                frame[..., 2] = 200
                get_ctx().emit_frame(frame)
            else:
                print("ALL FRAMES GENERATED")

        def reset(self):
            self.red = 0

        @command("set_red", description="How red the picture is")
        def set_red(self, red: int = Field(..., ge=0, le=255)):
            self.red = red
"""

COLOUR = """() => {
    const video = document.querySelector('video');
    const canvas = new OffscreenCanvas(8, 8);
    const context = canvas.getContext('2d');
    context.drawImage(video, 0, 0, 8, 8);
    return Array.from(context.getImageData(4, 4, 1, 1).data);
}"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReactorRun]:
    with running(write_model(tmp_path_factory.mktemp("model"), MODEL)) as run:
        yield run


@pytest.fixture
def began(server: ReactorRun) -> Iterator[Callable[[], int]]:
    """How many sessions have begun since this test did; the last of them ends with it."""
    before = server.text.count("SESSION BEGINS")
    yield lambda: server.text.count("SESSION BEGINS") - before
    server.end_session()


@pytest.fixture
def visit(new_context: Callable[..., BrowserContext], server: ReactorRun) -> Callable[[], Page]:
    """Open the product's own page as a new visitor, and wait until it shows frames."""

    def come() -> Page:
        page = new_context(bypass_csp=True).new_page()
        page.add_init_script(path=HOOKS)
        page.goto(server.url)
        return live(page)

    return come


def red(page: Page) -> int:
    colour: list[int] = page.evaluate(COLOUR)
    return colour[0]


def until_red(page: Page, low: int, high: int) -> None:
    """Wait until the displayed picture's red lies in a range."""
    where = "([low, high]) => { const [red] = (" + COLOUR + ")(); return low <= red && red <= high; }"
    page.wait_for_function(where, arg=[low, high], timeout=3_000)


def leave(page: Page, server: ReactorRun) -> None:
    page.evaluate("reactorPage.stop()")
    server.wait_for_state("ready")


def test_the_model_is_loaded_once_at_startup(server: ReactorRun) -> None:
    assert server.text.count("CONSTRUCTED") == 1
    assert server.text.index("CONSTRUCTED") < server.text.index(f"Ready: {server.url}")
    assert server.health()["state"] == "available"


def test_the_first_user_connects_quickly_because_the_model_is_loaded(
    server: ReactorRun, visit: Callable[[], Page], began: Callable[[], int]
) -> None:
    began_s = time.monotonic()
    visit()
    # Generous, because a busy machine starts Chromium's WebRTC slowly; benchmarks/ have the figure.
    assert time.monotonic() - began_s < 10
    assert server.text.count("CONSTRUCTED") == began() == 1


def test_frames_stream_while_they_are_generated(
    server: ReactorRun, visit: Callable[[], Page], began: Callable[[], int]
) -> None:
    page = visit()
    first: int = page.evaluate("reactorPage.stats.displayedFrames ?? 0")
    page.wait_for_function(
        "first => reactorPage.stats.displayedFrames >= first + 8", arg=first, timeout=3_000
    )
    assert "ALL FRAMES GENERATED" not in server.text
    assert began() == 1


def test_a_user_can_disconnect_and_reconnect_while_the_model_stays_loaded(
    server: ReactorRun, visit: Callable[[], Page], began: Callable[[], int]
) -> None:
    page = visit()
    leave(page, server)
    page.evaluate("reactorPage.start()")
    live(page)
    assert began() == 2
    assert server.text.count("CONSTRUCTED") == 1


def test_commands_act_during_generation(visit: Callable[[], Page], began: Callable[[], int]) -> None:
    page = visit()
    assert red(page) < 40
    for value in (230, 0, 230):
        receipt = page.evaluate("v => reactorPage.sendCommand('set_red', {red: v})", value)
        assert receipt["receipt"]["accepted"]
        until_red(page, value - 30, value + 30)
    assert began() == 1


def test_the_second_user_connects_without_a_reload_and_finds_nothing_of_the_first(
    server: ReactorRun, visit: Callable[[], Page], began: Callable[[], int]
) -> None:
    first = visit()
    first.evaluate("reactorPage.sendCommand('set_red', {red: 230})")
    until_red(first, 200, 255)
    leave(first, server)
    began_s = time.monotonic()
    second = visit()
    assert time.monotonic() - began_s < 10
    assert red(second) < 40
    assert server.text.count("CONSTRUCTED") == 1
    assert began() == 2
