"""A camera or film that says which way is up is seen upright by the model, wherever it comes from.

The stored picture has a colour in each corner; ffmpeg says where each belongs. test_firefox.py has Firefox.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright
from support.chromium import ARGUMENTS, CHROMIUM
from support.films import TURNS, corners, write_turned
from support.promises import by_night
from support.server import ReactorRun, running, write_model
from support.upright import MODEL, SEEN, as_shown, expect_upright
from test_offer import CHROMIUM as OFFER
from test_offer import plan

from reactor_runtime.headless.film import ClipFeed


@pytest.mark.slow
@pytest.mark.parametrize(("degrees", "mirrored"), TURNS)
def test_a_film_is_fed_the_way_up_that_its_container_says(
    tmp_path: Path, degrees: int, mirrored: bool
) -> None:
    film = write_turned(tmp_path / "film.mov", degrees, mirrored)
    feed = ClipFeed(film, fps=25)
    try:
        pixels = feed(1)
    finally:
        feed.close()
    shown = as_shown(film, degrees)
    assert pixels.shape == shown.shape
    assert corners(pixels) == corners(shown)


def test_a_camera_is_asked_to_send_its_pictures_upright() -> None:
    """Neither engine tells how a picture is turned, so a sender must not say it beside the picture."""
    assert "urn:3gpp:video-orientation" in OFFER
    assert "video-orientation" not in plan(OFFER).offer_sdp
    assert "playout-delay" in plan(OFFER).offer_sdp


# The page --------------------------------------------------------------------------------------------

#: A camera that says of its frames how they are turned, as some do.
CAMERA = """turn => {
    const stored = new OffscreenCanvas(160, 120), paint = stored.getContext('2d');
    for (const [x, y, colour] of [[0, 0, 'rgb(210,30,30)'], [80, 0, 'rgb(30,190,30)'],
        [0, 60, 'rgb(30,30,210)'], [80, 60, 'rgb(220,220,220)']]) {
      paint.fillStyle = colour; paint.fillRect(x, y, 80, 60);
    }
    window.camera = new MediaStreamTrackGenerator({kind: 'video'});
    const writer = camera.writable.getWriter();
    const timer = setInterval(() => {
      if (camera.readyState === 'ended') return clearInterval(timer);
      const timestamp = Math.round(performance.now() * 1000);
      writer.write(new VideoFrame(stored, {timestamp, ...turn})).catch(() => {});
    }, 40);
    navigator.mediaDevices.getUserMedia = async () => new MediaStream([camera]);
    document.getElementById('camera').click();
}"""


@pytest.fixture(scope="module", params=["reactor", *by_night("aiortc")])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReactorRun]:
    folder = write_model(tmp_path_factory.mktemp("model"), MODEL, video_input=True)
    with running(folder, "--engine", request.param, "--join", "drive") as run:
        yield run


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.keeps_resources
def test_chromium_sends_films_and_cameras_the_way_up_that_they_say(
    server: ReactorRun, tmp_path: Path
) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        page = browser.new_page(bypass_csp=True)
        page.goto(server.url)
        page.wait_for_function("document.body?.dataset.state === 'live'", timeout=30_000)
        for degrees, mirrored in TURNS:
            film = write_turned(tmp_path / f"{degrees}{mirrored}.mp4", degrees, mirrored, frames=50)
            page.set_input_files("#video-file-input", film)
            expect_upright(lambda: page.evaluate(f"() => {{ {SEEN} }}"), as_shown(film, degrees))
        page.click("#preview-stop")
        # ffmpeg counts a turn against the clock, a frame with it.
        page.evaluate(CAMERA, {"rotation": 90, "flip": True})
        expect_upright(lambda: page.evaluate(f"() => {{ {SEEN} }}"), as_shown(tmp_path / "270True.mp4", 270))
        page.click("#preview-stop")
        page.wait_for_function("camera.readyState === 'ended'")  # nobody is filmed any longer
        browser.close()
