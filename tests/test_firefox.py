"""The page in a real Firefox, against a real `reactor run`: picture, hands, uploads, webcam, and the other rungs.
With either engine by night; what Firefox offers is given to both in test_offer.py.

Firefox offers otherwise than Chromium: sections of a bundle with port 0, and here no H.264, which is a plugin from the
network.
The model's picture has three parts, each read off one pixel: what is held (W red, A green, else blue), the uploaded
picture, the webcam. While S is held it has half the size.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from support import upright
from support.films import TURNS, write_turned
from support.firefox import ARROW_LEFT, ARROW_UP, Firefox, firefox
from support.promises import by_night
from support.server import ReactorRun, running, write_model

pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.keeps_resources]

MODEL = """
    from typing import Literal
    import cv2
    import numpy as np
    from reactor_runtime import Image, VideoModel, command, get_ctx

    class Model(VideoModel):
        fps = 20

        def __init__(self):
            self.reset()

        def reset(self):
            self.held = {"Q"}
            self.shown = np.zeros((240, 120, 3), np.uint8)

        def start_session(self):
            while True:
                picture = np.zeros((240, 360, 3), np.uint8)
                held = ["W" in self.held, "A" in self.held, self.held == {"Q"}]
                picture[:, :120] = [220 if part else 20 for part in held]
                picture[:, 120:240] = self.shown
                camera = get_ctx().input_frame()
                if camera is not None:
                    picture[:, 240:] = cv2.resize(camera.pixels, (120, 240)) // 2 + 100
                yield np.ascontiguousarray(picture[::2, ::2]) if "S" in self.held else picture

        @command("drive", description="W=faster, A=left, S=brake, D=right, Q=none")
        def drive(
            self,
            key: Literal["W", "A", "S", "D", "Q"] = "Q",
            also_held: tuple[Literal["W", "A", "S", "D"], ...] = (),
        ):
            self.held = {key, *also_held}

        @command("show", description="Show a picture")
        def show(self, picture: Image):
            self.shown = np.asarray(picture.resize((120, 240)), np.uint8)
"""
#: [red, green, blue] in the middle of each part of the picture.
COLOURS = """
    const video = document.querySelector('#video');
    const canvas = document.createElement('canvas');
    canvas.width = 3; canvas.height = 1;
    const context = canvas.getContext('2d');
    for (const part of [0, 1, 2])
        context.drawImage(video, 120 * part + 55, 115, 10, 10, part, 0, 1, 1);
    const bytes = context.getImageData(0, 0, 3, 1).data;
    const colours = [0, 1, 2].map(part => Array.from(bytes.slice(4 * part, 4 * part + 3)));
"""


@pytest.fixture(scope="module", params=["reactor", *by_night("aiortc")])
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def server(engine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReactorRun]:
    folder = write_model(tmp_path_factory.mktemp("model"), MODEL, video_input=True)
    # Firefox dials no loopback address by TCP.
    everywhere = ("--host", "0.0.0.0", "--allow-public")
    with running(folder, "--engine", engine, "--join", "drive", *everywhere) as run:
        yield run


@pytest.fixture(scope="module")
def page(server: ReactorRun) -> Iterator[Firefox]:
    with firefox() as browser:
        browser.go(server.url)
        browser.until("return document.body?.dataset.state === 'live'")
        yield browser


def until(page: Firefox, condition: str) -> None:
    """Wait for a condition on `colours`."""
    page.until(f"{COLOURS} return {condition};")


#: How red a point of the first part is, in either size.
COLOUR = """
    const video = document.querySelector('#video');
    const context = new OffscreenCanvas(1, 1).getContext('2d');
    context.drawImage(video, 20, 50, 10, 10, 0, 0, 1, 1);
    const [red] = context.getImageData(0, 0, 1, 1).data;
"""
NOTHING = "colours[0][2] > 150 && colours[0][0] < 90"
BOTH = "Math.min(colours[0][0], colours[0][1]) > 130 && colours[0][2] < 90"
#: A gamepad of the standard mapping whose left stick points up and to the left.
GAMEPAD = """
    window.pad = {connected: true, mapping: 'standard', axes: [-1, -1, 0, 0], buttons: []};
    navigator.getGamepads = () => [window.pad.connected ? window.pad : null];
    dispatchEvent(new Event('gamepadconnected'));
"""


def test_firefox_shows_the_picture_and_holds_keys_together(page: Firefox) -> None:
    until(page, NOTHING)
    page.key_down("w")
    until(page, "colours[0][0] > 150 && Math.max(colours[0][1], colours[0][2]) < 90")
    page.key_down("a")
    until(page, BOTH)
    page.key_up("w")
    page.key_up("a")
    until(page, NOTHING)
    for key in (ARROW_UP, ARROW_LEFT):
        page.key_down(key)
    until(page, BOTH)
    for key in (ARROW_UP, ARROW_LEFT):
        page.key_up(key)
    until(page, NOTHING)


def test_firefox_shows_half_the_size_in_mid_stream_and_the_whole_again(page: Firefox) -> None:
    """What a viewer is sent who goes to the low rendition and comes back."""
    until(page, NOTHING)
    page.key_down("s")
    page.key_down("w")
    page.until(f"{COLOUR} return video.videoWidth === 180 && red > 150")
    page.key_up("w")
    page.until(f"{COLOUR} return video.videoWidth === 180 && red < 90")
    page.key_up("s")
    page.until("return document.querySelector('#video').videoWidth === 360")
    until(page, NOTHING)


def test_firefox_drives_with_two_thumbs(page: Firefox) -> None:
    page.touch("left", "#video")
    page.lift("left")
    page.until("return document.body.dataset.hands === 'thumbs'")
    page.touch("left", "[data-testid='thumb-drive.key-A']")
    page.touch("right", "[data-testid='thumb-drive.key-W']")
    until(page, BOTH)
    page.lift("left")
    page.lift("right")
    until(page, NOTHING)


def test_firefox_drives_with_a_gamepad(page: Firefox) -> None:
    page.run(GAMEPAD)
    until(page, BOTH)
    page.run("window.pad.connected = false")
    until(page, NOTHING)


def test_firefox_uploads_a_picture_that_is_too_large_for_a_message(page: Firefox, tmp_path: Path) -> None:
    noise = np.random.default_rng(1).integers(0, 60, (800, 800, 3), np.uint8)
    noise[..., 1] += 190
    PIL.Image.fromarray(noise).save(tmp_path / "green.png")
    assert (tmp_path / "green.png").stat().st_size > 1_000_000
    page.type("[data-testid='file-show.picture']", str(tmp_path / "green.png"))
    page.until("return document.querySelector('.drop.filled') !== null")
    page.click("[data-testid='send-show']")
    until(page, "colours[1][1] > 150 && colours[1][0] < 90")


def test_firefox_sends_its_webcam_to_the_model(page: Firefox) -> None:
    until(page, "Math.max(...colours[2]) < 40")
    page.click("#camera")
    page.until("return !document.getElementById('preview').hidden")
    until(page, "Math.min(...colours[2]) > 60")
    page.click("#preview-stop")
    page.until("return document.getElementById('preview').hidden")


def test_firefox_sends_a_film_as_it_shows_it(page: Firefox, engine: str, tmp_path: Path) -> None:
    """Firefox shows all turns, but of a mirrored film the stored picture."""
    model = write_model(tmp_path / "model", upright.MODEL, video_input=True)
    with running(model, "--engine", engine) as mirror:
        page.go(mirror.url)
        page.until("return document.body?.dataset.state === 'live'")
        for degrees, mirrored in TURNS[:4]:
            film = write_turned(tmp_path / f"{degrees}.mp4", degrees, mirrored, frames=50)
            page.type("#video-file-input", str(film))
            upright.expect_upright(lambda: page.run(upright.SEEN), upright.as_shown(film, degrees))
        page.go("about:blank")


# The other rungs ------------------------------------------------------------------------------------------


def carried(page: Firefox, url: str, rung: str) -> None:
    """Open an address, and wait until the picture comes by this rung and is told to."""
    page.go(url)
    page.until("return document.body?.dataset.state === 'live'")
    page.until("return document.getElementById('video').videoWidth === 360")
    page.click("[data-testid='stats']")
    page.until(
        "return document.querySelector(`[data-testid='stat-rung']`)?.textContent === arguments[0]", rung
    )


def test_firefox_shows_the_picture_over_the_websocket(page: Firefox, server: ReactorRun) -> None:
    carried(page, f"{server.url}/?link=websocket", "websocket")


def test_firefox_shows_the_picture_by_tcp(page: Firefox, server: ReactorRun) -> None:
    carried(page, f"{server.url.replace('127.0.0.1', own_address())}/?link=tcp", "TCP")


def own_address() -> str:
    """Return this machine's address on its own interface; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.77", 9))
        address: str = probe.getsockname()[0]
    return address
