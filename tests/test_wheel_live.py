"""The wheel between real browsers: one that dies with a key held, a reload, a second tab."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import async_playwright
from playwright.sync_api import BrowserContext, Page
from support.chromium import ARGUMENTS, CHROMIUM, HOOKS
from support.page_waits import expect, live
from support.promises import NIGHTLY
from support.server import ReactorRun, running, write_model
from support.visitor import Refused, Visitor

from reactor_runtime import limits

# The browser that the tests share keeps processes of its own between them.
pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.keeps_resources]

CAR = """
    import numpy as np
    from typing import Literal
    from reactor_runtime import VideoModel, command, get_ctx

    class Model(VideoModel):
        fps = 5

        def start_session(self):
            while True:
                get_ctx().emit_frame(np.full((90, 160, 3), 90, np.uint8))

        @command("drive", description="W=forward, S=back, Q=none")
        def drive(self, pedal: Literal["w", "s", "q"] = "q"):
            get_ctx().send({"pedal": pedal}, type="drove")
"""


@pytest.fixture(scope="module")
def server() -> Iterator[ReactorRun]:
    with tempfile.TemporaryDirectory() as folder, running(write_model(Path(folder), CAR)) as run:
        yield run


@pytest.fixture(autouse=True)
def nothing_runs(server: ReactorRun) -> Iterator[None]:
    yield
    server.end_session()


@pytest.fixture
def visit(new_context: Callable[..., BrowserContext], server: ReactorRun) -> Callable[[str], Page]:
    """Open the page in a context of its own, and wait until it is live."""

    def come(path: str = "") -> Page:
        context = new_context()
        context.add_init_script(path=HOOKS)
        page = context.new_page()
        page.goto(server.url + path)
        return live(page)

    return come


def drive(page: Page, pedal: str = "w") -> Any:
    """Send a command; return its receipt."""
    done = "async (pedal) => (await reactorPage.sendCommand('drive', { pedal })).receipt"
    return page.evaluate(done, pedal)


def ask(page: Page, action: str) -> str:
    """Ask for the wheel; return the words that it is refused with."""
    asked = "(action) => reactorPage.ask('wheel', { action }).then(() => '', (error) => error.message)"
    return str(page.evaluate(asked, action))


@pytest.mark.alone
async def test_a_browser_that_dies_with_a_key_held_lets_it_go_and_its_seat_is_kept(
    server: ReactorRun, record_property: Callable[[str, object], None]
) -> None:
    async with async_playwright() as playwright, Visitor(server.url) as watcher:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
            context = await playwright.chromium.launch_persistent_context(
                profile, executable_path=CHROMIUM, args=list(ARGUMENTS)
            )
            page = context.pages[0]
            await page.goto(server.url)
            await page.wait_for_selector("body[data-state=live]")
            await watcher.adopt()
            await watcher.watch()
            assert (await watcher.hear("wheel"))["you"] == "watch"
            await page.keyboard.down("w")
            await watcher.hear("message:drove")
            await asyncio.sleep(1)
            assert watcher.heard("message:drove") == [{"pedal": "w"}]
            died_s = time.monotonic()
            kill(profile)
            await watcher.until(lambda: len(watcher.heard("message:drove")) == 2)
            took_s = time.monotonic() - died_s
            record_property("measured", f"{took_s * 1000:.0f} ms")
            assert watcher.heard("message:drove")[1] == {"pedal": "q"}
            assert took_s <= 0.35
            with contextlib.suppress(Exception):  # nothing is left to close
                await context.close()
        with pytest.raises(Refused) as refused:
            await watcher.ask("drive")
        assert refused.value.code == "not_driving"
        if NIGHTLY:
            staying = asyncio.create_task(stay(watcher))
            # That a peer is gone for good is noticed within ten seconds.
            await watcher.until(lambda: watcher.heard("wheel")[-1]["kept_s"], within_s=12)
            noticed_s = time.monotonic()
            await watcher.until(lambda: watcher.heard("wheel")[-1]["may"] == ["take"])
            assert time.monotonic() - noticed_s == pytest.approx(limits.SEAT_KEPT_S, abs=0.5)
            staying.cancel()
        assert len(watcher.heard("message:drove")) == 2
        await watcher.vanish()


async def stay(visitor: Visitor) -> None:
    """Be heard of, as clients are that are still there."""
    while True:
        visitor.ping()
        await asyncio.sleep(5)


def kill(profile: str) -> None:
    """End a browser and all that it started, as an operating system does that has no memory left."""
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            if profile.encode() in (entry / "cmdline").read_bytes():
                os.kill(int(entry.name), signal.SIGKILL)


def test_a_reload_keeps_the_wheel_and_another_tab_watches_and_takes_what_is_free(
    visit: Callable[[str], Page],
) -> None:
    first = visit("")
    second = visit("")
    assert drive(first)["accepted"]
    refused = drive(second)
    assert refused["code"] == "not_driving"
    assert "watching" in refused["message"]
    expect(second.get_by_test_id("company")).to_contain_text("Visitor 1 drives")
    assert "drives" in ask(second, "take")
    first.reload()
    live(first)
    assert drive(first)["accepted"]
    expect(first.get_by_test_id("company")).to_contain_text("you drive", timeout=15_000)
    # A tab that is made of this one has a copy of all that this one keeps.
    with first.expect_popup() as made:
        first.evaluate("() => void window.open(location.href)")
    live(made.value)
    expect(made.value.locator("body")).to_have_attribute("data-wheel", "watch")
    assert drive(first)["accepted"]
    made.value.close()
    assert ask(first, "release") == ""
    assert ask(second, "take") == ""
    assert drive(second)["accepted"]
    assert drive(first)["code"] == "not_driving"
    expect(second.get_by_test_id("company")).to_contain_text("you drive")


@pytest.mark.parametrize("path", ["", "?link=websocket"], ids=["webrtc", "websocket"])
def test_a_page_that_stands_still_has_its_keys_let_go_and_says_them_again(
    visit: Callable[[str], Page], path: str
) -> None:
    page = visit(path)
    pedals = page.get_by_test_id("message").locator("code")
    page.keyboard.down("w")
    # The newest is the first. On a busy machine it may have stood still before, and once more after.
    expect(pedals.first).to_have_text('{"pedal":"w"}')
    said = pedals.count()
    page.evaluate("() => { const until = performance.now() + 600; while (performance.now() < until); }")
    page.wait_for_function(
        "said => document.querySelectorAll('[data-testid=message] code').length >= said + 2", arg=said
    )
    expect(pedals.first).to_have_text('{"pedal":"w"}')
    expect(pedals.nth(1)).to_have_text('{"pedal":"q"}')
    page.keyboard.up("w")
    expect(pedals.first).to_have_text('{"pedal":"q"}')
