"""A vote on the page: the bar over the picture, two voters, keys, a phone, a screen reader. In Chromium.

With REACTOR_SCREENSHOTS=1 the pictures of the documents are written anew, into docs/images/.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page
from support import page_modules
from support.page_states import judge
from support.page_waits import expect, live
from support.server import ReactorRun, running, write_model

# The browser that the tests share keeps processes of its own between them.
pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.keeps_resources]

IMAGES = Path(__file__).parents[1] / "docs" / "images"
PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
ROUND_S = 4
SKY = """
    import numpy as np
    from typing import Literal
    from reactor_runtime import CommandError, VideoModel, command, get_ctx

    class Model(VideoModel):
        fps = 5

        def start_session(self):
            while True:
                get_ctx().emit_frame(np.full((90, 160, 3), 90, np.uint8))

        @command("set_sky", label="Sky")
        def set_sky(self, sky: Literal["day", "starry_night", "storm"] = "day"):
            if sky == "storm":
                raise CommandError("too_wet", "no storms today")
"""


# Words ------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("node")
@pytest.mark.parametrize(
    ("told", "left_ms", "text"),
    [
        ({"counts": {"a": 0, "b": 0}}, None, "The first vote starts the clock"),
        ({"counts": {"a": 1, "b": 0}}, 8_200, "9 s left, 1 vote"),
        ({"counts": {"a": 3, "b": 2}}, -40, "0 s left, 5 votes"),
        ({"counts": {"a": 3, "b": 2}, "result": "a"}, None, "A won with 3 of 5"),
        (
            {"counts": {"a": 1}, "result": "a", "receipt": {"accepted": False, "message": "not now"}},
            None,
            "A won with 1 of 1, and was refused: not now",
        ),
    ],
)
def test_what_stands_over_the_choices(told: dict[str, Any], left_ms: float | None, text: str) -> None:
    body = "return m.saying(x.told, x.left, (choice) => choice.toUpperCase());"
    assert page_modules.run("ballot", body, {"told": {"result": None, **told}, "left": left_ms}) == text


# In a browser -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server() -> Iterator[ReactorRun]:
    with (
        tempfile.TemporaryDirectory() as folder,
        # The page of the test before may not be gone yet for the server.
        running(
            write_model(Path(folder), SKY),
            *("--vote", "set_sky", "--vote-s", str(ROUND_S), "--join", "drive"),
        ) as run,
    ):
        yield run


@pytest.fixture
def visit(browser: Browser, server: ReactorRun) -> Iterator[Callable[..., Page]]:
    """Open the page in a context of its own, and wait until it is live."""
    contexts: list[BrowserContext] = []

    def come(**options: Any) -> Page:
        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        page.goto(server.url)
        live(page)
        expect(page.get_by_test_id("ballot")).to_be_visible()
        return page

    yield come
    for context in contexts:
        context.close()
    server.end_session()


def choice(page: Page, name: str) -> Any:
    return page.get_by_test_id(f"ballot-{name}")


def test_two_voters_see_each_others_ballots_and_what_most_want_is_done(visit: Callable[..., Page]) -> None:
    ann, ben = visit(), visit()
    expect(ann.get_by_test_id("ballot-title")).to_have_text("Vote: Sky")
    expect(ann.get_by_test_id("ballot-words")).to_have_text("The first vote starts the clock")
    choice(ann, "day").click()
    expect(choice(ann, "day")).to_have_attribute("aria-pressed", "true")
    expect(choice(ben, "day")).to_have_accessible_name("Day 1 vote")
    expect(choice(ben, "day")).to_have_attribute("aria-pressed", "false")
    expect(ben.get_by_test_id("ballot-words")).to_have_text(re.compile(r"[1-4] s left, 1 vote"))
    expect(ben.get_by_test_id("announce")).to_have_text(f"Vote: Sky. {ROUND_S} seconds.")
    # By its key, and the last ballot counts.
    ben.keyboard.press("3")
    expect(choice(ann, "storm")).to_have_accessible_name("Storm 1 vote")
    ben.keyboard.press("2")
    ann.keyboard.press("2")
    expect(choice(ann, "starry_night")).to_have_accessible_name("Starry night 2 votes")
    expect(choice(ann, "day")).to_have_accessible_name("Day 0 votes")
    for page in (ann, ben):
        expect(choice(page, "starry_night")).to_have_attribute("aria-pressed", "true")
        expect(page.get_by_test_id("ballot-words")).to_have_text(
            "Starry night won with 2 of 2", timeout=(ROUND_S + 8) * 1000
        )
        expect(choice(page, "starry_night")).to_have_attribute("data-won", "true")
        # An ordinary command: the control follows.
        expect(
            page.get_by_test_id("field-set_sky.sky").locator("[aria-checked=true], :checked")
        ).to_have_count(1)
    # The next round begins with its first ballot, also while the result still stands there.
    choice(ben, "storm").click()
    expect(choice(ann, "storm")).to_have_accessible_name("Storm 1 vote")
    expect(choice(ann, "starry_night")).to_have_attribute("aria-pressed", "false")
    expect(ann.get_by_test_id("ballot-words")).to_have_text(
        "Storm won with 1 of 1, and was refused: no storms today", timeout=(ROUND_S + 8) * 1000
    )
    expect(ann.get_by_test_id("ballot-words")).to_have_text("The first vote starts the clock")


def test_keys_are_in_the_help_and_type_into_a_field_that_has_the_cursor(visit: Callable[..., Page]) -> None:
    page = visit()
    page.keyboard.press("?")
    expect(page.get_by_test_id("help")).to_contain_text("Vote for Starry night")
    page.keyboard.press("Escape")
    page.get_by_test_id("ballot").get_by_role("button", name="Vote: Sky").click()
    expect(page.get_by_test_id("ballot-choices")).to_be_hidden()
    page.keyboard.press("1")
    page.get_by_test_id("ballot").get_by_role("button", name="Vote: Sky").click()
    expect(choice(page, "day")).to_have_attribute("aria-pressed", "true")


@pytest.mark.parametrize("screen", [{}, PHONE], ids=["desktop", "phone"])
def test_the_bar_keeps_to_the_rules_on_every_screen(
    visit: Callable[..., Page], screen: dict[str, Any]
) -> None:
    page = visit(**screen, reduced_motion="reduce")
    assert judge(page) == []
    press = choice(page, "starry_night").tap if screen else choice(page, "starry_night").click
    press()
    expect(choice(page, "starry_night")).to_have_accessible_name("Starry night 1 vote")
    for name in ("day", "starry_night", "storm"):
        expect(choice(page, name)).to_be_in_viewport(ratio=1)
    assert judge(page) == []
    expect(page.get_by_test_id("ballot-words")).to_contain_text("won", timeout=(ROUND_S + 8) * 1000)
    # What won is chosen among the controls as well, a moment later.
    expect(page.locator(".pill:nth-child(2) input")).to_be_checked()
    assert judge(page) == []


def test_whoever_may_only_watch_sees_the_bars_and_presses_none(browser: Browser, tmp_path: Path) -> None:
    flags = ("--vote", "set_sky", "--token", "a-long-enough-token", "--visitor-role", "watch")
    with running(write_model(tmp_path, SKY), *flags) as run:
        host, watcher = browser.new_page(), browser.new_page()
        host.goto(run.url + "/#token=a-long-enough-token")
        live(host)
        watcher.goto(run.url)
        expect(choice(watcher, "day")).to_be_disabled(timeout=20_000)
        expect(watcher.get_by_test_id("ballot-words")).to_have_text("Others vote, you watch")
        choice(host, "day").click()
        expect(choice(watcher, "day")).to_have_accessible_name("Day 1 vote")
        watcher.keyboard.press("2")
        expect(choice(watcher, "starry_night")).to_have_accessible_name("Starry night 0 votes")
        host.close()
        watcher.close()


@pytest.mark.skipif(not os.environ.get("REACTOR_SCREENSHOTS"), reason="writes pictures into docs/images")
@pytest.mark.parametrize(
    "screen", [{"viewport": {"width": 1440, "height": 900}}, PHONE], ids=["vote", "vote-phone"]
)
def test_a_picture_of_a_vote_for_the_documents(
    browser: Browser, request: pytest.FixtureRequest, screen: dict[str, Any]
) -> None:
    example = Path(__file__).parents[1] / "examples" / "drive"
    with running(example, "--vote", "set_look", "--vote-s", "12") as run:
        pages = []
        for options in (screen, {}, {}, {}):
            context = browser.new_context(color_scheme="dark", **options)
            pages.append(context.new_page())
            pages[-1].goto(run.url)
            expect(pages[-1].locator("body")).to_have_attribute("data-state", "live", timeout=30_000)
            expect(pages[-1].get_by_test_id("ballot")).to_be_visible()
        for page, name in zip(pages, ("snow", "snow", "desert", "night"), strict=True):
            choice(page, name).click()
        expect(choice(pages[0], "night")).to_have_accessible_name("Night 1 vote")
        pages[0].wait_for_timeout(1_500)
        name = request.node.callspec.id
        pages[0].screenshot(path=IMAGES / f"{name}.jpg", type="jpeg", quality=75)
        for page in pages:
            page.context.close()
