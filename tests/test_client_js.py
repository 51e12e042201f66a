"""The published JavaScript client in Chromium drives a real `reactor run`: `@reactor-team/js-sdk` 2.9.0 as released.

It is the newest on the registry. It knows only the flat signalling routes and one data channel; later releases
speak as `test_client_js_wire.py` does.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page
from support.chromium import chromium
from support.client_model import LEFT, RIGHT, write_client_model
from support.js_sdk import command, connect, installed, sdk_page, shown, until_colour, until_ready
from support.sdk import png
from support.server import ReactorRun, running

pytestmark = [
    pytest.mark.slow,
    pytest.mark.browser,
    # One browser serves the whole file, so its tests share a loop, and it starts processes when it likes.
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.keeps_resources,
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_client_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def shared(model: Path) -> Iterator[ReactorRun]:
    with running(model, "--orphan-s", "5") as run:
        yield run


@pytest.fixture
def server(shared: ReactorRun) -> Iterator[ReactorRun]:
    """The module's server, with nobody on it."""
    shared.wait_for_state("ready")
    yield shared
    shared.wait_for_state("ready")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as made:
        yield made


@pytest_asyncio.fixture(loop_scope="module")
async def page(browser: Browser) -> AsyncIterator[Page]:
    async with sdk_page(browser) as made:
        yield made
        await made.evaluate("window.client?.disconnect()")


async def record(page: Page, kind: str) -> list[Any]:
    kept: list[Any] = await page.evaluate(f"record.{kind}")
    return kept


async def test_the_client_is_the_version_that_the_documents_name() -> None:
    package = installed() / "node_modules" / "@reactor-team" / "js-sdk" / "package.json"
    assert json.loads(package.read_text())["version"] == "2.9.0"


async def test_frames_are_displayed_as_drawn(server: ReactorRun, page: Page) -> None:
    await connect(page, server.url)
    assert await record(page, "statuses") == ["connecting", "waiting", "ready"]
    assert await record(page, "tracks") == ["main_video"]
    await shown(page, 60)
    await until_colour(page, RIGHT, "b > 160 && r < 60 && g < 60")


async def test_a_command_changes_the_picture(server: ReactorRun, page: Page) -> None:
    await connect(page, server.url)
    await until_colour(page, LEFT, "r < 40")
    await command(page, "paint", red=220)
    await until_colour(page, LEFT, "r > 190")


async def test_half_the_size_in_mid_stream_and_the_whole_again_is_displayed(
    server: ReactorRun, page: Page
) -> None:
    """What a viewer is sent who goes to the low rendition and comes back."""
    await connect(page, server.url)
    for small, width in ((True, 160), (False, 320)):
        await command(page, "halve", small=small)
        await page.wait_for_function(
            f"document.querySelector('video').videoWidth === {width}", timeout=10_000
        )
        await shown(page, 15)
        await until_colour(page, RIGHT, "b > 160 && r < 60 && g < 60")
    assert await record(page, "tracks") == ["main_video"]
    assert await record(page, "errors") == []


async def test_replies_and_broadcasts_arrive_as_messages(server: ReactorRun, page: Page) -> None:
    await connect(page, server.url)
    await command(page, "announce", text="sun")
    await command(page, "ask")
    await page.wait_for_function("record.messages.length === 2")
    announced, reply = await record(page, "messages")
    assert announced == {"type": "announcement", "data": {"text": "sun"}}
    assert reply["data"] == {"red": 0, "camera": False}


async def test_a_refused_command_disturbs_nothing(server: ReactorRun, page: Page) -> None:
    # The format has no words for an error.
    await connect(page, server.url)
    for name, arguments in (("paint", {"red": 700}), ("nothing", {}), ("refuse", {}), ("paint", {"blue": 1})):
        await command(page, name, **arguments)
    await command(page, "paint", red=220)
    await until_colour(page, LEFT, "r > 190")
    assert await record(page, "messages") == []
    assert await record(page, "errors") == []


async def test_an_upload_becomes_a_picture_argument(server: ReactorRun, page: Page) -> None:
    await connect(page, server.url)
    await page.evaluate(
        """async text => {
            const bytes = Uint8Array.from(atob(text), char => char.charCodeAt(0));
            const file = new File([bytes], "../../green.png", {type: "image/png"});
            await client.sendCommand("show", {picture: await client.uploadFile(file)});
        }""",
        base64.b64encode(png((0, 220, 0))).decode(),
    )
    await until_colour(page, RIGHT, "g > 150 && b < 90")


async def test_a_published_camera_reaches_the_model_without_a_claim(server: ReactorRun, page: Page) -> None:
    await connect(page, server.url)
    await page.evaluate("client.publishTrack('webcam', camera('rgb(220, 220, 20)'))")
    await until_colour(page, RIGHT, "r > 150 && g > 150 && b < 90")
    await page.evaluate("client.unpublishTrack('webcam')")
    assert await record(page, "errors") == []


async def test_the_browsers_own_camera_can_be_published(server: ReactorRun, page: Page) -> None:
    await connect(page, server.url)
    await page.evaluate(
        """async () => {
            const stream = await navigator.mediaDevices.getUserMedia({video: true});
            await client.publishTrack("webcam", stream.getVideoTracks()[0]);
        }"""
    )
    async with asyncio.timeout(10):
        while True:
            await page.evaluate("record.messages.length = 0")
            await command(page, "ask")
            await page.wait_for_function("record.messages.length === 1")
            if (await record(page, "messages"))[0]["data"]["camera"]:
                return
            await asyncio.sleep(0.05)


async def test_a_reconnect_finds_the_same_session_with_its_state(server: ReactorRun, page: Page) -> None:
    await connect(page, server.url)
    session_id = await page.evaluate("client.getSessionId()")
    await command(page, "paint", red=220)
    await until_colour(page, LEFT, "r > 190")
    await page.evaluate("client.disconnect(true)")
    await asyncio.to_thread(server.wait_for_state, "orphaned", within_s=3)
    await page.evaluate("client.reconnect()")
    await until_ready(page)
    await shown(page, 10)
    assert await page.evaluate("client.getSessionId()") == session_id
    await until_colour(page, LEFT, "r > 190")
    await command(page, "paint", red=0)
    await until_colour(page, LEFT, "r < 40")


async def test_a_reconnect_after_the_orphan_time_is_a_failed_reconnect(model: Path, page: Page) -> None:
    with running(model, "--orphan-s", "0.5") as server:
        await connect(page, server.url)
        await page.evaluate("client.disconnect(true)")
        await asyncio.to_thread(server.wait_for_state, "ready", within_s=5)
        await page.evaluate("client.reconnect()")
        await page.wait_for_function("record.errors.length === 1")
        assert (await record(page, "errors"))[0]["code"] == "RECONNECTION_FAILED"


async def test_a_disconnect_frees_the_slot_for_the_next_user_who_finds_nothing_of_it(
    server: ReactorRun, page: Page
) -> None:
    await connect(page, server.url)
    await command(page, "paint", red=220)
    await until_colour(page, LEFT, "r > 190")
    await page.evaluate("client.disconnect()")
    assert await page.evaluate("client.getStatus()") == "disconnected"
    await connect(page, server.url)
    await until_colour(page, LEFT, "r < 40")


async def test_a_closed_tab_is_noticed_and_its_session_ends(model: Path, browser: Browser) -> None:
    # The client pings every 5 s; a tab says nothing when it goes.
    with running(model, "--orphan-s", "0.5", "--ping-timeout-s", "6") as server:
        async with sdk_page(browser) as page:
            await connect(page, server.url)
        await asyncio.to_thread(server.wait_for_state, "ready", within_s=10)


async def test_a_busy_server_is_a_failed_connect_that_harms_nobody(
    server: ReactorRun, page: Page, browser: Browser
) -> None:
    await connect(page, server.url)
    async with sdk_page(browser) as late:
        refused = await late.evaluate(
            "async url => { makeClient(url); try { await client.connect(); } catch (e) { return e.message; } }",
            server.url,
        )
        assert "409" in refused
        assert (await record(late, "errors"))[0]["code"] == "CONNECTION_FAILED"
    await shown(page, 10)
    assert await page.evaluate("client.getStatus()") == "ready"


async def test_a_session_ended_by_the_server_is_told_at_once(server: ReactorRun, page: Page) -> None:
    await connect(page, server.url)
    async with httpx.AsyncClient() as http:
        await http.post(server.url + "/stop_session", json={"reason": "maintenance"})
    await page.wait_for_function("record.runtime.some(message => message.type === 'sessionEnded')")
    ended = [m for m in await record(page, "runtime") if m["type"] == "sessionEnded"]
    assert ended == [{"type": "sessionEnded", "data": {"reason": "maintenance"}}]


async def test_a_model_that_raises_ends_the_session_in_a_word_and_serves_the_next(
    server: ReactorRun, page: Page
) -> None:
    await connect(page, server.url)
    await command(page, "fail")
    await page.wait_for_function("record.runtime.some(message => message.type === 'sessionEnded')")
    # This page is on the model's own machine, so its author may read what was raised, in a notice of its own.
    told = [message for message in await record(page, "runtime") if "secret" in str(message)]
    assert [list(message["data"]) for message in told] in ([], [["code", "message", "detail"]])
    await page.evaluate("client.disconnect()")
    await asyncio.to_thread(server.wait_for_state, "ready", within_s=5)
    await connect(page, server.url)


async def test_the_react_components_show_the_picture_and_a_control_for_each_command(
    server: ReactorRun, page: Page
) -> None:
    await page.evaluate("url => renderReact(url)", server.url)
    await page.wait_for_function("document.querySelector('output')?.textContent === 'ready'", timeout=15_000)
    await page.wait_for_function("document.querySelector('#root video').videoWidth === 320", timeout=15_000)
    root = page.locator("#root")
    for name in ("paint", "show", "ask", "announce", "refuse"):
        await root.get_by_text(name, exact=True).first.wait_for()
    await root.get_by_text("paint", exact=True).click()
    slider = root.locator("input[type=range]").first
    await slider.wait_for()
    assert (await slider.get_attribute("min"), await slider.get_attribute("max")) == ("0", "255")
    await until_colour(page, LEFT, "r < 40")
    # The widget sends the value before the one that it shows, so the slider is moved twice.
    await slider.fill("219")
    await slider.fill("220")
    await until_colour(page, LEFT, "r > 190")
    await page.reload()  # the provider ends its session when the page goes
