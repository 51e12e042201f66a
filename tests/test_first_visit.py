"""The first ten seconds of somebody who was sent a link: what to do, said where they look, until they do it.

One model has keys, a prompt and a camera; each test is told by the schema which of them its author would have first.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route
from support.page_desk import without_overview
from support.page_states import settle
from support.page_waits import expect, live
from support.promises import NIGHTLY
from support.server import ReactorRun, running, write_model

# The browser that the tests share keeps processes of its own between them.
pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.keeps_resources]

MODEL = """
    from typing import Annotated, Literal

    import numpy as np
    from pydantic import Field
    from reactor_runtime import Show, VideoModel, command, get_ctx

    Keys = Literal["W", "A", "S", "D", "Q"]

    class Model(VideoModel):
        fps = 5
        first_frame = "The road is laid out, about 2 seconds"
        hold = False
        initial_values = {"set_prompt": {"prompt": "A road in the morning"}}

        def start_session(self):
            while True:
                if self.hold:
                    get_ctx().wait(0.05)
                    continue
                get_ctx().emit_frame(np.full((90, 160, 3), 90, np.uint8))

        def on_frame(self, frame): ...

        def reset(self):
            self.said = ""

        @command("pause")
        def pause(self):
            self.hold = True

        @command("go_on")
        def go_on(self):
            self.hold = False

        @command("control", label="Drive", hint="W A S D to drive", primary=True)
        def control(
            self,
            key: Annotated[Keys, Field(description="W=faster, A=left, S=brake, D=right, Q=none")] = "Q",
            also_held: Annotated[tuple[Keys, ...], Show(also_held=True)] = (),
        ): ...

        @command("set_prompt", hint="Say what you want to see")
        def set_prompt(
            self, prompt: Annotated[str, Show(placeholder="A hill", examples=["Fog", "Rain at night", "Snow", "Sun"])]
        ):
            self.said = prompt

        @command("set_starting_image")
        def set_starting_image(self, base64_image: str, image_id: Annotated[str, Field(max_length=200)]): ...

        @command("say")
        def say(self) -> None:
            get_ctx().send({"said": self.said}, type="said")
"""
PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d49444154789c6360606060000000050001a5f6"
    "45400000000049454e44ae426082"
)


@pytest.fixture(scope="module")
def server() -> Iterator[ReactorRun]:
    with (
        tempfile.TemporaryDirectory() as folder,
        running(write_model(Path(folder), MODEL), "--join", "drive") as run,
    ):
        yield run


Visit = Callable[..., Page]


@pytest.fixture
def visit(browser: Browser, server: ReactorRun) -> Iterator[Visit]:
    """Open the page, of a model whose author has `primary` first; "" for one who did not say."""
    contexts = []

    def open_page(*, primary: str = "control", camera: bool = False, **screen: Any) -> Page:
        context = browser.new_context(**screen)
        contexts.append(context)
        page = context.new_page()

        def answer(route: Route) -> None:
            body = server.get("/overview").json()
            tracks = body["schema"]["x-reactor"]["tracks"]
            body["schema"]["x-reactor"]["tracks"] = [
                track for track in tracks if camera or track["direction"] == "out"
            ]
            for path, item in body["schema"]["paths"].items():
                item["post"].pop("x-primary", None)
                if path == f"/events/{primary}":
                    item["post"]["x-primary"] = True
            route.fulfill(status=200, content_type="application/json", body=json.dumps(body))

        page.route("**/overview", answer)
        page.route(f"{server.url}/", without_overview)
        page.goto(server.url)
        return page

    yield open_page
    for context in contexts:
        context.close()
    server.end_session()


def test_the_picture_says_which_keys_drive_until_the_first_of_them(visit: Visit) -> None:
    page = visit()
    live(page)
    hint = page.get_by_test_id("hint")
    expect(hint).to_have_text("W A S D to drive")
    # Its keys are on the picture, and the panel has the rest.
    expect(page.locator("#play kbd", has_text="W")).to_be_visible()
    expect(page.locator("#commands h3", has_text="Drive")).to_have_count(0)
    page.keyboard.press("w")
    expect(hint).to_have_count(0)
    page.get_by_test_id("stop").click()
    page.get_by_test_id("start").click()
    live(page)
    expect(hint).to_have_count(0)


def test_the_model_s_own_prompt_stands_in_the_field_until_an_example_is_pressed_instead_of_typing(
    visit: Visit,
) -> None:
    page = visit(primary="set_prompt")
    live(page)
    expect(page.get_by_test_id("hint")).to_have_text("Say what you want to see")
    card = page.get_by_test_id("command-set_prompt")
    expect(card.locator("textarea")).to_have_value("A road in the morning")
    expect(card.locator("textarea")).to_have_attribute("placeholder", "A hill")
    card.get_by_test_id("example").get_by_text("Rain at night").click()
    expect(card.locator("textarea")).to_have_value("Rain at night")
    expect(page.get_by_test_id("status-set_prompt")).to_contain_text("Visible after")
    expect(page.get_by_test_id("hint")).to_have_count(0)
    page.get_by_test_id("send-say").click()
    expect(page.get_by_test_id("log")).to_contain_text("Rain at night")


def test_where_the_panel_is_hidden_the_examples_are_on_the_picture(visit: Visit) -> None:
    page = visit(primary="set_prompt")
    live(page)
    presses = page.get_by_test_id("invitation-press")
    expect(presses.first).to_be_hidden()
    page.keyboard.press("h")
    expect(presses).to_have_text(["Fog", "Rain at night", "Snow"])
    presses.nth(2).click()
    expect(page.get_by_test_id("invitation")).to_be_hidden()
    page.keyboard.press("h")
    expect(page.get_by_test_id("command-set_prompt").locator("textarea")).to_have_value("Snow")


def test_a_model_that_paints_a_camera_asks_for_it_on_the_picture(visit: Visit) -> None:
    page = visit(primary="", camera=True)
    live(page)
    page.get_by_test_id("invitation-camera").click()
    expect(page.get_by_test_id("preview")).to_be_visible()
    expect(page.get_by_test_id("invitation")).to_be_hidden()
    page.locator("#preview-stop").click()
    expect(page.get_by_test_id("invitation")).to_be_hidden()


def test_the_wait_for_the_first_frame_says_what_to_expect_and_for_how_long_it_is(
    visit: Visit, server: ReactorRun
) -> None:
    page = visit()
    live(page)
    page.set_default_timeout(8_000)
    page.get_by_test_id("send-pause").click()
    expect(page.get_by_test_id("status-pause")).to_contain_text("Accepted")
    page.get_by_test_id("stop").click()
    page.get_by_test_id("start").click()
    expect(page.get_by_test_id("cover-title")).to_have_text("Waiting for the first frame")
    expect(page.get_by_test_id("cover-detail")).to_have_text("The road is laid out, about 2 seconds.")
    expect(page.get_by_test_id("cover-time")).to_have_text(re.compile("^[345]\u00a0s so far"), timeout=8_000)
    page.get_by_test_id("send-go_on").click()
    live(page)
    expect(page.get_by_test_id("cover-time")).to_be_hidden()


def test_a_load_is_told_with_name_part_and_time(visit: Visit, browser: Browser, server: ReactorRun) -> None:
    context = browser.new_context()
    page = context.new_page()
    told = server.get("/overview").json()
    told["health"] |= {
        "status": "unhealthy",
        "state": "loading",
        "detail": "downloading wan 1.2 of 3.0 GB, 100 MB/s, 18 s left",
        "loading": {"model": "drive", "part": 2, "parts": 3, "fraction": 0.4, "elapsed_s": 65.4},
    }
    page.route(f"{server.url}/", without_overview)
    page.route(
        "**/overview",
        lambda route: route.fulfill(status=200, content_type="application/json", body=json.dumps(told)),
    )
    page.goto(server.url)
    expect(page.get_by_test_id("cover-title")).to_have_text("Loading drive")
    expect(page.get_by_test_id("cover-detail")).to_have_text(
        "Downloading wan 1.2 of 3.0 GB, 100 MB/s, 18 s left"
    )
    expect(page.get_by_test_id("cover-time")).to_have_text("Part 2 of 3 · 65\u00a0s so far")
    share = page.locator("#progress i").evaluate(
        "i => i.getBoundingClientRect().width / i.parentElement.clientWidth"
    )
    assert share == pytest.approx(0.4, abs=0.02)
    context.close()


def test_a_picture_is_called_by_the_name_of_its_file(visit: Visit) -> None:
    page = visit()
    live(page)
    card = page.get_by_test_id("command-set_starting_image")
    expect(card.locator("h3")).to_have_text("Starting picture")
    file = page.get_by_test_id("file-set_starting_image.base64_image")
    name = page.get_by_test_id("field-set_starting_image.image_id").locator("input")
    file.set_input_files({"name": "road.png", "mimeType": "image/png", "buffer": PIXEL})
    expect(name).to_have_value("road.png")
    file.set_input_files({"name": "sea.png", "mimeType": "image/png", "buffer": PIXEL})
    expect(name).to_have_value("sea.png")
    name.fill("mine")
    file.set_input_files({"name": "road.png", "mimeType": "image/png", "buffer": PIXEL})
    expect(card.locator("img")).to_be_visible()
    expect(name).to_have_value("mine")


#: What an author may have first, and what of it is to be pressed.
FIRSTS = {
    "control": "#play button",
    "set_prompt": ".example",
    "": "[data-testid='invitation-camera']",
}


@pytest.mark.parametrize("size", [(390, 844), (844, 390), (820, 1180), (1280, 720)])
def test_a_newcomer_finds_what_to_press_first_without_scrolling(visit: Visit, size: tuple[int, int]) -> None:
    width, height = size
    touch = {"has_touch": True, "is_mobile": True} if width != 1280 else {}
    # All of them on every size by night; on each change the smallest and the largest, and the keys on all.
    everywhere = NIGHTLY or width in (390, 1280)
    for primary, first in list(FIRSTS.items())[: 3 if everywhere else 1]:
        page = visit(
            primary=primary, camera=not primary, viewport={"width": width, "height": height}, **touch
        )
        live(page)
        if primary == "control":
            # Who has no keyboard is not told of letters.
            hint = page.get_by_test_id("hint")
            expect(hint).to_have_text("Touch the keys to drive" if touch else "W A S D to drive")
            expect(hint).to_be_in_viewport(ratio=1)
            apart = """() => {
              const box = (place) => document.querySelector(place).getBoundingClientRect();
              const [a, b] = [box("[data-testid=hint]"), box(".bar")];
              return a.bottom <= b.top || b.bottom <= a.top || a.right <= b.left || b.right <= a.left;
            }"""
            settle(page)
            assert page.evaluate(apart), "the bar lies over the hint"
        target = page.locator(f"{first}:visible").first
        expect(target).to_be_in_viewport(ratio=1)
        box = target.bounding_box()
        assert box is not None
        # On top, not below the bar or a pill.
        on_top = "([x, y, first]) => document.elementFromPoint(x, y)?.closest(first) != null"
        assert page.evaluate(on_top, [box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, first])
        page.context.close()
