"""The page on its last rung: one WebSocket, in a real browser, with the picture, commands, receipts and a camera."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page
from support.chromium import HOOKS
from support.page_waits import expect, live, until_state
from support.server import ReactorRun, running, write_model

MODEL = """
    import numpy as np
    from pydantic import Field
    from reactor_runtime import VideoModel, command, get_ctx

    class Model(VideoModel):
        fps = 20

        def __init__(self):
            self.red = 30
            self.seen = 0

        def start_session(self):
            picture = np.zeros((240, 320, 3), np.uint8)
            for n in range(10_000_000):
                picture[:] = (self.red, min(255, self.seen), 40)
                picture[:, n % 320] = 255
                get_ctx().emit_frame(picture)

        def reset(self):
            self.__init__()

        @command("paint", description="Make it red")
        def paint(self, red: int = Field(30, ge=0, le=255)):
            self.red = red

        def on_frame(self, frame):
            self.seen += 1
"""
#: The middle of the picture, left of the moving line or right of it.
COLOUR = """() => {
    const video = document.getElementById("video");
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
    const context = canvas.getContext("2d");
    context.drawImage(video, 0, 0);
    return [...context.getImageData(canvas.width / 3, canvas.height / 2, 1, 1).data];
}"""

#: From now on no new WebRTC connection finds the server.
FIREWALL = """() => {
    const Real = RTCPeerConnection;
    window.tried = 0;
    window.RTCPeerConnection = class extends Real {
        constructor(...how) { super(...how); window.tried += 1; }
        setRemoteDescription({ type, sdp }) {
            const lines = sdp.split("\\r\\n").filter((line) => !line.startsWith("a=candidate:"));
            return super.setRemoteDescription({ type, sdp: lines.join("\\r\\n") });
        }
        addIceCandidate() { return Promise.resolve(); }
    };
}"""

# The browser that the tests share keeps processes of its own between them.
pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.keeps_resources]


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(permissions=["camera"])
    page = context.new_page()
    page.add_init_script(path=HOOKS)
    yield page
    context.close()


@pytest.fixture(scope="module")
def server() -> Iterator[ReactorRun]:
    with tempfile.TemporaryDirectory() as folder, running(write_model(Path(folder), MODEL)) as run:
        yield run


@pytest.fixture(autouse=True)
def nothing_runs(server: ReactorRun) -> Iterator[None]:
    yield
    server.end_session()


def rung_of(page: Page) -> str:
    page.wait_for_function("() => reactorPage.stats.rung", timeout=5_000)
    return str(page.evaluate("() => reactorPage.stats.rung"))


def test_the_page_shows_the_picture_over_a_websocket_and_says_so(page: Page, server: ReactorRun) -> None:
    page.goto(server.url + "/?link=websocket")
    live(page)
    assert rung_of(page) == "websocket"
    page.wait_for_function("() => reactorPage.stats.framesDecoded >= 10")
    stats = page.evaluate("() => reactorPage.stats")
    assert (stats["width"], stats["height"]) == (320, 240)


def test_a_command_is_answered_and_its_first_picture_found(page: Page, server: ReactorRun) -> None:
    page.goto(server.url + "/?link=websocket")
    live(page)
    page.evaluate("() => reactorPage.sendCommand('paint', { red: 220 })")
    page.wait_for_function("() => reactorPage.delays.length === 1", timeout=5_000)
    assert page.evaluate("() => reactorPage.delays[0]") < 2_000
    page.wait_for_function(f"({COLOUR})()[0] >= 180", timeout=2_000)


def test_a_camera_goes_to_the_model_over_the_same_socket(page: Page, server: ReactorRun) -> None:
    page.goto(server.url + "/?link=websocket")
    live(page)
    page.click("#camera")
    page.wait_for_function(f"() => ({COLOUR})()[1] > 60", timeout=15_000)


def test_where_webrtc_does_not_get_through_the_websocket_is_there_within_three_seconds_and_remembered(
    page: Page, server: ReactorRun
) -> None:
    page.add_init_script(f"({FIREWALL})()")
    hide_browser(page)
    page.goto(server.url)
    live(page)
    took_ms = page.wait_for_function("() => reactorPage.frames[0]?.displayMs").json_value()
    assert took_ms <= 6_000
    assert rung_of(page) == "websocket"
    assert page.evaluate("() => window.tried") == 1
    page.reload()
    live(page)
    assert rung_of(page) == "websocket"
    assert page.evaluate("() => window.tried") == 0


def hide_browser(page: Page) -> None:
    """The server must not find the browser either."""
    page.route(
        "**/connect",
        lambda route: route.continue_(post_data=without_candidates(route.request.post_data or "")),
    )
    page.route("**/ice_candidates", lambda route: route.fulfill(status=202))


def without_candidates(body: str) -> str:
    said = json.loads(body)
    lines = said["sdp_offer"].split("\r\n")
    said["sdp_offer"] = "\r\n".join(line for line in lines if not line.startswith("a=candidate:"))
    return json.dumps(said)


@pytest.mark.parametrize("rung", ["udp", "tcp"])
def test_the_rung_that_the_address_asks_for_carries_the_picture_and_is_named(
    page: Page, server: ReactorRun, rung: str
) -> None:
    page.goto(f"{server.url}/?link={rung}")
    live(page)
    page.get_by_test_id("stats").click()
    expect(page.get_by_test_id("stat-rung")).to_have_text(rung.upper())


def test_a_page_that_loses_webrtc_goes_on_over_the_websocket_in_the_same_session(
    page: Page, server: ReactorRun, record_property: Callable[[str, object], None]
) -> None:
    page.goto(server.url)
    live(page)
    assert rung_of(page) == "UDP"
    session = page.evaluate("() => reactorPage.sessionId")
    page.evaluate("() => reactorPage.sendCommand('paint', { red: 220 })")
    page.evaluate(FIREWALL)
    hide_browser(page)
    began_s = time.monotonic()
    page.evaluate("() => reactorPage.peer.close()")
    until_state(page, "reconnecting")
    live(page)
    record_property("measured", f"back after {time.monotonic() - began_s:.1f} s")
    assert rung_of(page) == "websocket"
    assert page.evaluate("() => window.tried") == 1
    assert page.evaluate("() => reactorPage.sessionId") == session
    assert page.evaluate(COLOUR)[0] >= 180


def test_a_socket_that_is_lost_is_made_again_in_the_same_session(page: Page, server: ReactorRun) -> None:
    page.goto(server.url + "/?link=websocket")
    live(page)
    session = page.evaluate("() => reactorPage.sessionId")
    page.evaluate(
        """async () => {
            const app = await import(document.querySelector("script[type='module']").src);
            app.session.connection.worker.postMessage({ close: true });
        }"""
    )
    until_state(page, "reconnecting", within_s=5)
    live(page)
    assert page.evaluate("() => reactorPage.sessionId") == session
