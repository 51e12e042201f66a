"""The page beside a running model, as people see it: on a desktop and on a phone, dark and light.

With REACTOR_SCREENSHOTS=1 the pictures of the documents are written anew, into docs/images/.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from playwright.async_api import Page, expect
from support.chromium import HOOKS, chromium
from support.server import ReactorRun, running

pytestmark = [pytest.mark.slow, pytest.mark.browser]

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"


@pytest.fixture(scope="module")
def server() -> Iterator[ReactorRun]:
    with running(ROOT / "examples" / "drive") as run:
        yield run


async def hold_keys(page: Page) -> None:
    for key in ("w", "a"):
        await page.keyboard.down(key)


async def hold_thumbs(page: Page) -> None:
    wire = await page.context.new_cdp_session(page)
    fingers = []
    for number, letter in enumerate("WA"):
        box = await page.get_by_test_id(f"thumb-control.keyboard_key-{letter}").bounding_box()
        assert box is not None
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        fingers.append({"x": x, "y": y, "id": number})
    await wire.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": fingers})


SCREENS = [
    ("page", (1440, 900), "dark"),
    ("page-light", (1440, 900), "light"),
    ("page-phone", (390, 844), "dark"),
]
#: Whether it fits is held by test_play.py.
FOR_THE_DOCUMENTS = (
    [("page-phone-across", (844, 390), "dark")] if os.environ.get("REACTOR_SCREENSHOTS") else []
)


@pytest.mark.keeps_resources  # the server outlives each of these tests
@pytest.mark.parametrize(("name", "size", "scheme"), [*SCREENS, *FOR_THE_DOCUMENTS])
async def test_the_page_fits_its_screen_and_its_console_stays_clean(
    server: ReactorRun, name: str, size: tuple[int, int], scheme: Literal["dark", "light"]
) -> None:
    problems: list[str] = []
    phone = "phone" in name
    async with chromium() as browser:
        context = await browser.new_context(
            bypass_csp=True,
            viewport={"width": size[0], "height": size[1]},
            color_scheme=scheme,
            has_touch=phone,
            is_mobile=phone,
        )
        page = await context.new_page()
        await page.add_init_script(path=HOOKS)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        await page.goto(server.url)
        await page.wait_for_function("window.reactorPage?.state === 'live'", timeout=30_000)
        await (hold_thumbs(page) if phone else hold_keys(page))
        await page.wait_for_function("reactorPage.stats.displayedFrames > 100", timeout=60_000)
        wide = await page.evaluate("document.documentElement.scrollWidth - innerWidth")
        video = await page.evaluate(
            "(r => [r.width, r.height])(document.querySelector('video').getBoundingClientRect())"
        )
        if os.environ.get("REACTOR_SCREENSHOTS"):
            IMAGES.mkdir(parents=True, exist_ok=True)
            await page.screenshot(path=IMAGES / f"{name}.jpg", type="jpeg", quality=70)
        await page.evaluate("reactorPage.stop()")
        await context.close()
    server.wait_for_state("ready")
    assert wide <= 0, "the page scrolls sideways"
    assert video[0] >= size[0] * 0.5
    assert problems == []


if os.environ.get("REACTOR_SCREENSHOTS"):  # its pictures are all that it is for

    async def test_several_people_take_turns(tmp_path: Path) -> None:
        keys = tmp_path / "keys"
        keys.write_text("now:a-secret-of-at-least-thirty-two-letters\n")
        keys.chmod(0o600)
        token = "an-operator-s-long-token"
        flags = ("--token", token, "--token-key-file", str(keys), "--visitor-role", "drive", "--turn-s", "60")
        with running(ROOT / "examples" / "drive", *flags) as server:
            async with chromium() as browser:

                async def come(*, phone: bool = False, secret: str = "") -> Page:
                    width, height = (390, 844) if phone else (1280, 800)
                    context = await browser.new_context(
                        viewport={"width": width, "height": height},
                        has_touch=phone,
                        is_mobile=phone,
                        color_scheme="dark",
                        bypass_csp=True,
                    )
                    page = await context.new_page()
                    await page.goto(server.url + secret)
                    await page.wait_for_function("document.body.dataset.state === 'live'", timeout=30_000)
                    return page

                async def take(page: Page, name: str) -> None:
                    await page.wait_for_timeout(600)
                    await page.screenshot(path=IMAGES / f"{name}.jpg", type="jpeg", quality=70)

                driver = await come(secret="/#token=" + token)
                await driver.keyboard.down("w")
                first, second, phone = await come(), await come(), await come(phone=True)
                for page in (first, second, phone):
                    await page.get_by_test_id("rail-line").click()
                    await expect(page.get_by_test_id("rail-unline")).to_be_visible()
                await take(driver, "line-driving")
                await take(second, "line-waiting")
                await take(phone, "line-waiting-phone")
                await driver.get_by_test_id("share").click()
                await expect(driver.get_by_test_id("share-code").locator("svg")).to_be_visible()
                await take(driver, "share")
                await driver.get_by_test_id("share-close").click()
                await phone.get_by_test_id("share").click()
                await expect(phone.get_by_test_id("share-code").locator("svg")).to_be_visible()
                await take(phone, "share-phone")
                await phone.get_by_test_id("share-close").click()
                await first.get_by_test_id("rail-unline").click()
                await second.get_by_test_id("rail-unline").click()
                await phone.get_by_test_id("rail-claim").click(timeout=60_000)
                for page in (first, second):
                    await page.get_by_test_id("rail-line").click()
                await hold_thumbs(phone)
                await take(phone, "line-driving-phone")
