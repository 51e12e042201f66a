"""The six checks that the guide ends with ("What to verify"), against a real `reactor run` and a real Chromium.

The model paints one colour, which a command changes, so that what a person would see can be read off a pixel.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page
from support.chromium import HOOKS, chromium
from support.server import ReactorRun, running, write_model

pytestmark = [pytest.mark.slow, pytest.mark.browser]

MODEL = """
    import time
    import numpy as np
    from pydantic import Field
    from reactor_runtime import VideoModel, command, get_ctx

    class Model(VideoModel):
        def __init__(self, fps=30, step_s=0.0):
            time.sleep(1.0)  # weights take a while
            self.step_s = step_s
            self.red = 0
            print("CONSTRUCTED")

        def start_session(self):
            print("SESSION BEGINS")
            for step in range(100_000):
                if get_ctx().should_stop():
                    break
                time.sleep(self.step_s)
                frame = np.zeros((240, 320, 3), np.uint8)
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


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ReactorRun]:
    with running(write_model(tmp_path, MODEL)) as run:
        yield run


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as made:
        yield made


@asynccontextmanager
async def visit(browser: Browser, url: str) -> AsyncIterator[Page]:
    """Open the product's own page as a new visitor, and wait until it shows frames."""
    context = await browser.new_context(bypass_csp=True)
    page = await context.new_page()
    await page.add_init_script(path=HOOKS)
    try:
        await page.goto(url)
        await page.wait_for_function("window.reactorPage?.state === 'live'", timeout=20_000)
        yield page
    finally:
        await context.close()


async def red(page: Page) -> int:
    colour: list[int] = await page.evaluate(COLOUR)
    return colour[0]


async def until_red(page: Page, low: int, high: int, within_s: float = 3.0) -> float:
    """Wait until the displayed picture's red lies in a range; return how long it took."""
    began = time.monotonic()
    async with asyncio.timeout(within_s):
        while not low <= await red(page) <= high:
            await asyncio.sleep(0.005)
    return time.monotonic() - began


async def leave(page: Page, server: ReactorRun) -> None:
    await page.evaluate("reactorPage.stop()")
    await asyncio.to_thread(server.wait_for_state, "ready")


async def test_the_model_is_loaded_once_at_startup(server: ReactorRun) -> None:
    assert server.text.count("CONSTRUCTED") == 1
    assert server.text.index("CONSTRUCTED") < server.text.index(f"Ready: {server.url}")
    assert server.health()["state"] == "available"


async def test_the_first_user_connects_quickly_because_the_model_is_loaded(
    server: ReactorRun, browser: Browser
) -> None:
    context = await browser.new_context(bypass_csp=True)
    page = await context.new_page()
    await page.add_init_script(path=HOOKS)
    began = time.monotonic()
    await page.goto(server.url)
    await page.wait_for_function("window.reactorPage?.state === 'live'", timeout=20_000)
    # Generous, because a busy machine starts Chromium's WebRTC slowly; benchmarks/ have the figure.
    assert time.monotonic() - began < 10
    assert server.text.count("CONSTRUCTED") == 1
    await context.close()


async def test_frames_stream_while_they_are_generated(tmp_path: Path, browser: Browser) -> None:
    with running(write_model(tmp_path, MODEL), "--arg", "step_s=0.1") as server:
        async with visit(browser, server.url) as page:
            first: int = await page.evaluate("reactorPage.stats.displayedFrames ?? 0")
            await asyncio.sleep(1.5)
            later: int = await page.evaluate("reactorPage.stats.displayedFrames")
        assert later - first >= 8
        assert "ALL FRAMES GENERATED" not in server.text


async def test_a_user_can_disconnect_and_reconnect_while_the_model_stays_loaded(
    server: ReactorRun, browser: Browser
) -> None:
    async with visit(browser, server.url) as page:
        await leave(page, server)
        await page.evaluate("reactorPage.start()")
        await page.wait_for_function("reactorPage.state === 'live'", timeout=10_000)
    assert server.text.count("SESSION BEGINS") == 2
    assert server.text.count("CONSTRUCTED") == 1


async def test_commands_act_during_generation(server: ReactorRun, browser: Browser) -> None:
    async with visit(browser, server.url) as page:
        assert await red(page) < 40
        for value in (230, 0, 230):
            receipt = await page.evaluate("v => reactorPage.sendCommand('set_red', {red: v})", value)
            assert receipt["receipt"]["accepted"]
            await until_red(page, value - 30, value + 30)
    assert server.text.count("SESSION BEGINS") == 1


async def test_the_second_user_connects_without_a_reload_and_finds_nothing_of_the_first(
    server: ReactorRun, browser: Browser
) -> None:
    async with visit(browser, server.url) as first:
        await first.evaluate("reactorPage.sendCommand('set_red', {red: 230})")
        await until_red(first, 200, 255)
        await leave(first, server)
    began = time.monotonic()
    async with visit(browser, server.url) as second:
        assert time.monotonic() - began < 10
        assert await red(second) < 40
    assert server.text.count("CONSTRUCTED") == 1
    assert server.text.count("SESSION BEGINS") == 2
