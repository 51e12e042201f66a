"""Drive on the page: driven with the keyboard and with two thumbs, and how it looks on a desktop and on a phone.

One server runs it for all of them, because its network keeps a processor busy. With REACTOR_SCREENSHOTS=1 the pictures
of the documents are written anew, into docs/images/.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import BrowserContext, Page
from support.chromium import HOOKS
from support.hands import Fingers, middle, thumb
from support.page_waits import expect, live
from support.promises import by_night, long_form
from support.server import ReactorRun, running

# The browser and the server that the tests share keep processes of their own between them.
pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.keeps_resources]

ROOT = Path(__file__).parents[1]
DRIVE = ROOT / "examples" / "drive"
IMAGES = ROOT / "docs" / "images"
SHOOTING = bool(os.environ.get("REACTOR_SCREENSHOTS"))
SNAPSHOT = """() => {
  const canvas = new OffscreenCanvas(96, 64), context = canvas.getContext('2d');
  context.drawImage(document.querySelector('video'), 0, 0, 96, 64);
  return Array.from(context.getImageData(0, 0, 96, 64).data);
}"""


@pytest.fixture(scope="module")
def server() -> Iterator[ReactorRun]:
    with running(DRIVE) as run:
        yield run


Visit = Callable[..., Page]


@pytest.fixture
def visit(new_context: Callable[..., BrowserContext], server: ReactorRun) -> Iterator[Visit]:
    """Open the page on a screen of this size, and wait until it is live; the session ends with the test."""

    def come(
        width: int = 1280,
        height: int = 720,
        *,
        touch: bool = False,
        url: str = server.url,
        heed: Callable[[Page], None] = lambda page: None,
        **options: Any,
    ) -> Page:
        size = {"width": width, "height": height}
        page = new_context(
            viewport=size, has_touch=touch, is_mobile=touch, bypass_csp=True, **options
        ).new_page()
        page.add_init_script(path=HOOKS)
        heed(page)
        page.goto(url)
        return live(page, within_s=30)

    yield come
    server.end_session()


def test_one_opens_the_address_and_drives_with_the_keyboard(visit: Visit) -> None:
    page = visit()
    page.wait_for_function("() => window.reactorPage?.stats.displayedFrames > 10", timeout=60_000)

    def motion() -> float:
        """The mean difference of two displayed pictures that are a third of a second apart."""
        first = np.array(page.evaluate(SNAPSHOT), np.int16)
        page.wait_for_timeout(330)
        return float(np.abs(np.array(page.evaluate(SNAPSHOT), np.int16) - first).mean())

    def until(moves: bool) -> None:
        deadline_s = time.monotonic() + 30
        while (motion() > 1.5) != moves:
            assert time.monotonic() < deadline_s, "the car moves" if not moves else "the car stands"

    page.keyboard.down("s")
    until(moves=False)
    page.keyboard.up("s")
    page.keyboard.down("w")
    until(moves=True)


def test_two_thumbs_on_a_phone_held_across_accelerate_and_steer_together(
    visit: Visit, record_property: Callable[[str, object], None]
) -> None:
    hold_s = long_form(2, 30)
    page = visit(844, 390, touch=True)
    fingers = Fingers(page)
    fingers.put("left", *middle(page, thumb("A")))
    fingers.put("right", *middle(page, thumb("W")))
    both = "reactorPage.stats.model.throttle === 1 && reactorPage.stats.model.steering === -1"
    page.wait_for_function(both)
    until_s, held = time.monotonic() + hold_s, []
    while time.monotonic() < until_s:
        held.append(page.evaluate(both))
        # A thumb is never quite still.
        x, y = middle(page, thumb("A"))
        fingers.put("left", x + len(held) % 5, y - len(held) % 3)
        time.sleep(0.1)
    # The left thumb slides over to the right, the right one stays.
    fingers.put("left", *middle(page, thumb("D")))
    page.wait_for_function(both.replace("-1", "1"))
    fingers.lift("left")
    fingers.lift("right")
    page.wait_for_function("reactorPage.stats.model.throttle === 0 && reactorPage.stats.model.steering === 0")
    assert page.evaluate("[scrollX, scrollY, visualViewport.scale]") == [0, 0, 1]
    record_property("measured", f"{hold_s} s, both held in {sum(held)} of {len(held)} looks")
    assert all(held)


SCREENS = [("page", (1440, 900), "dark"), ("page-phone", (390, 844), "dark")]
#: Light differs in colours alone, which test_page_states.py judges; whether it fits across is held by test_play.py.
MORE = [("page-light", (1440, 900), "light"), ("page-phone-across", (844, 390), "dark")]


@pytest.mark.parametrize(("name", "size", "scheme"), [*SCREENS, *(MORE if SHOOTING else by_night(*MORE))])
def test_the_page_fits_its_screen_and_its_console_stays_clean(
    visit: Visit, name: str, size: tuple[int, int], scheme: str
) -> None:
    problems: list[str] = []
    phone = "phone" in name

    def heed(page: Page) -> None:
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda said: problems.append(said.text) if said.type == "error" else None)

    page = visit(*size, touch=phone, color_scheme=scheme, heed=heed)
    hold(page, thumbs=phone)
    displayed = 100 if SHOOTING else 10
    page.wait_for_function("n => reactorPage.stats.displayedFrames > n", arg=displayed, timeout=60_000)
    wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    shown = page.evaluate("document.querySelector('video').getBoundingClientRect().width")
    if SHOOTING:
        take(page, name)
    page.evaluate("reactorPage.stop()")
    assert wide <= 0, "the page scrolls sideways"
    assert shown >= size[0] * 0.5
    assert problems == []


def hold(page: Page, *, thumbs: bool) -> None:
    """Accelerate and steer."""
    fingers = Fingers(page) if thumbs else None
    for letter in "WA":
        if fingers is None:
            page.keyboard.down(letter.lower())
        else:
            fingers.put(letter, *middle(page, thumb(letter)))


def take(page: Page, name: str) -> None:
    IMAGES.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=IMAGES / f"{name}.jpg", type="jpeg", quality=70)


if SHOOTING:  # its pictures are all that it is for

    def test_several_people_take_turns(tmp_path: Path, visit: Visit) -> None:
        keys = tmp_path / "keys"
        keys.write_text("now:a-secret-of-at-least-thirty-two-letters\n")
        keys.chmod(0o600)
        token = "an-operator-s-long-token"
        flags = ("--token", token, "--token-key-file", str(keys), "--visitor-role", "drive", "--turn-s", "60")
        with running(DRIVE, *flags) as server:

            def come(*, phone: bool = False, secret: str = "") -> Page:
                size = (390, 844) if phone else (1280, 800)
                return visit(*size, touch=phone, color_scheme="dark", url=server.url + secret)

            def shoot(page: Page, name: str) -> None:
                page.wait_for_timeout(600)
                take(page, name)

            driver = come(secret="/#token=" + token)
            driver.keyboard.down("w")
            first, second, phone = come(), come(), come(phone=True)
            for page in (first, second, phone):
                page.get_by_test_id("rail-line").click()
                expect(page.get_by_test_id("rail-unline")).to_be_visible()
            shoot(driver, "line-driving")
            shoot(second, "line-waiting")
            shoot(phone, "line-waiting-phone")
            driver.get_by_test_id("share").click()
            expect(driver.get_by_test_id("share-code").locator("svg")).to_be_visible()
            shoot(driver, "share")
            driver.get_by_test_id("share-close").click()
            phone.get_by_test_id("share").click()
            expect(phone.get_by_test_id("share-code").locator("svg")).to_be_visible()
            shoot(phone, "share-phone")
            phone.get_by_test_id("share-close").click()
            first.get_by_test_id("rail-unline").click()
            second.get_by_test_id("rail-unline").click()
            phone.get_by_test_id("rail-claim").click(timeout=60_000)
            for page in (first, second):
                page.get_by_test_id("rail-line").click()
            hold(phone, thumbs=True)
            shoot(phone, "line-driving-phone")
            for page in (driver, first, second, phone):
                page.context.close()
