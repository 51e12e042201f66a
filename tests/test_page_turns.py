"""Several people at one model, each in a browser: who drives and who watches, the line, turns, the wheel given and
taken, what an operator may do, and the link that is shared. In Chromium.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page
from support.page_waits import expect, live, until_state
from support.promises import by_night
from support.server import ReactorRun, running, write_model

# The browser that the tests share keeps processes of its own between them.
pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.keeps_resources]

WORLD = """
    import numpy as np
    from typing import Literal
    from reactor_runtime import VideoModel, command, get_ctx

    class Model(VideoModel):
        fps = 5

        def start_session(self):
            while True:
                get_ctx().emit_frame(np.full((90, 160, 3), 90, np.uint8))

        @command("drive", description="W=forward, S=back, Q=none")
        def drive(self, pedal: Literal["w", "s", "q"] = "q"): ...

        @command("set_prompt", description="What is to be seen")
        def set_prompt(self, prompt: str): ...
"""
TURN_S = 4


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReactorRun]:
    model = write_model(tmp_path_factory.mktemp("turns"), WORLD)
    with running(model, "--turn-s", str(TURN_S)) as run:
        yield run


@pytest.fixture(autouse=True)
def nothing_runs(server: ReactorRun) -> Iterator[None]:
    yield
    server.end_session()


Visit = Callable[..., Page]


@pytest.fixture
def visit(new_context: Callable[..., BrowserContext], server: ReactorRun) -> Visit:
    """Open the page in a context of its own."""

    def come(address: str = server.url) -> Page:
        page = new_context(permissions=["clipboard-read", "clipboard-write"]).new_page()
        page.goto(address)
        return page

    return come


def rail(page: Page) -> Locator:
    return page.get_by_test_id("rail-title")


def press(page: Page, name: str) -> None:
    page.get_by_test_id(name).click()


def drives(page: Page) -> None:
    """What it says reaches the model, and its keys are there."""
    expect(page.locator("#commands")).to_have_js_property("inert", False)
    page.get_by_role("textbox", name="Prompt").fill("a road")
    press(page, "send-set_prompt")
    expect(page.get_by_test_id("status-set_prompt")).to_contain_text(re.compile("Visible|Accepted|Sent to"))
    page.keyboard.down("w")
    expect(page.get_by_test_id("key-drive.pedal-w")).to_have_attribute("aria-pressed", "true")
    page.keyboard.up("w")


def watches(page: Page) -> None:
    """Its controls are out of reach, and its keys say nothing."""
    expect(page.locator("#commands")).to_have_js_property("inert", True)
    expect(page.get_by_test_id("play")).to_be_hidden()
    page.keyboard.down("w")
    expect(page.get_by_test_id("key-drive.pedal-w")).to_have_attribute("aria-pressed", "false")
    page.keyboard.up("w")


# Whoever is alone ------------------------------------------------------------------------------------------


def test_whoever_is_alone_sees_nothing_of_it_and_nothing_of_it_is_loaded(visit: Visit) -> None:
    page = live(visit())
    drives(page)
    for name in ("company", "rail", "line"):
        assert not page.get_by_test_id(name).is_visible()
    loaded = page.evaluate("performance.getEntriesByType('resource').map(({ name }) => name)")
    assert not [name for name in loaded if re.search(r"/(together|share)\.", name)]


# The line --------------------------------------------------------------------------------------------------


def test_the_second_watches_waits_and_drives_when_the_turn_of_the_first_is_over(visit: Visit) -> None:
    first = live(visit())
    second = live(visit())
    expect(rail(second)).to_have_text("You watch")
    expect(second.get_by_test_id("company")).to_have_text("2 here, Visitor 1 drives")
    watches(second)
    drives(first)
    press(second, "rail-line")
    expect(rail(second)).to_contain_text("You are next")
    assert second.title().startswith("You are next"), second.title()
    expect(first.get_by_test_id("line")).to_have_text(re.compile(r"^1 waits; your turn ends in0:0\d$"))
    expect(rail(first)).to_contain_text("Your turn ends")
    expect(rail(second)).to_contain_text("It is your turn")
    assert second.title().startswith("It is your turn"), second.title()
    expect(second.get_by_test_id("rail-count")).to_have_text(re.compile(r"^0:(1\d|20)$"))
    expect(rail(first)).to_contain_text("Your turn is over")
    watches(first)
    press(second, "rail-claim")
    expect(first.get_by_test_id("company")).to_have_text("2 here, Visitor 2 drives")
    drives(second)
    watches(first)
    assert "turn" not in second.title()
    live(first)


def test_a_page_that_is_loaded_again_keeps_its_place_and_its_wheel(visit: Visit) -> None:
    first, second = live(visit()), live(visit())
    press(second, "rail-line")
    expect(rail(second)).to_contain_text("You are next")
    second.reload()
    expect(rail(second)).to_contain_text(re.compile("You are next|It is your turn"))
    press(second, "rail-claim")
    expect(first.get_by_test_id("company")).to_have_text(re.compile(r"2 here, Visitor \d drives"))
    drives(second)
    second.reload()
    live(second)
    drives(second)
    watches(first)


def test_whoever_lets_his_turn_go_watches_and_the_next_one_is_called(visit: Visit) -> None:
    live(visit())
    second, third = live(visit()), live(visit())
    press(second, "rail-line")
    expect(rail(second)).to_contain_text("You are next")
    press(third, "rail-line")
    expect(rail(second)).to_contain_text("It is your turn")
    press(second, "rail-unline")
    expect(rail(third)).to_contain_text("It is your turn")
    press(third, "rail-claim")
    drives(third)
    expect(second.get_by_test_id("company")).to_have_text("3 here, Visitor 3 drives")


def test_a_turn_in_another_session_is_taken_there(browser: Browser, tmp_path: Path) -> None:
    with running(write_model(tmp_path, WORLD), "--slots", "2") as run:
        run.wait_for(lambda: run.health()["slots"] == ["ready", "ready"], "both slots")
        contexts = [browser.new_context() for _ in range(3)]
        pages = [context.new_page() for context in contexts]
        for page in pages:
            page.goto(run.url)
            live(page)
        first, second, third = pages
        drives(first)
        drives(second)
        expect(rail(third)).to_have_text("You watch")
        press(third, "rail-line")
        expect(rail(third)).to_contain_text("You are next")
        # Whichever of the two he sees, it is the other's wheel that gets free.
        alone = first if second.get_by_test_id("company").is_visible() else second
        alone.get_by_test_id("stop").click()
        press(third, "rail-claim")
        live(third)
        drives(third)
        expect(third.get_by_test_id("company")).to_be_hidden()
        for context in contexts:
            context.close()


# The wheel -------------------------------------------------------------------------------------------------


def test_the_wheel_is_asked_for_given_given_up_and_taken(visit: Visit) -> None:
    first, second = live(visit()), live(visit())
    press(second, "rail-request")
    expect(second.get_by_test_id("rail")).to_contain_text("You have asked for the wheel.")
    expect(rail(first)).to_have_text("Visitor 2 asks for the wheel")
    press(first, "rail-decline")
    expect(first.get_by_test_id("rail")).to_be_hidden()
    press(second, "rail-request")
    press(first, "rail-give")
    expect(first.get_by_test_id("company")).to_have_text("2 here, Visitor 2 drives")
    drives(second)
    watches(first)
    press(second, "company")
    press(second, "release")
    expect(rail(first)).to_have_text("Nobody drives")
    press(first, "rail-take")
    drives(first)
    watches(second)


@pytest.mark.parametrize("how", ["by its button", *by_night("by closing")])
def test_whoever_is_left_alone_by_the_driver_has_the_wheel(visit: Visit, how: str) -> None:
    first, second = live(visit()), live(visit())
    expect(rail(second)).to_have_text("You watch")
    if how == "by closing":
        # It may come back: its seat is kept for a while, which test_wheel.py has in virtual time.
        first.context.close()
        expect(second.get_by_test_id("rail")).to_contain_text("is away for a moment")
    else:
        press(first, "stop")
        press(first, "stop-leave")
    expect(second.get_by_test_id("rail")).to_be_hidden(timeout=25_000)
    drives(second)


# Operators --------------------------------------------------------------------------------------------------


def test_an_operator_shows_somebody_out_after_asking_once_more(visit: Visit) -> None:
    first, second = live(visit()), live(visit())
    press(first, "company")
    expect(first.get_by_test_id("people").locator("li")).to_have_count(2)
    out = first.get_by_test_id("kick-2")
    out.click()
    expect(out).to_have_text("Show out?")
    expect(first.get_by_test_id("people").locator("li")).to_have_count(2)
    first.get_by_test_id("people").locator("..").locator("summary").click()
    first.get_by_test_id("operate-reason").fill("Please come back later.")
    out.click()
    out.click()
    expect(second.get_by_test_id("notices")).to_contain_text("Please come back later.")
    until_state(second, "ended")
    expect(first.get_by_test_id("company")).to_be_hidden()
    live(first)


# The link ---------------------------------------------------------------------------------------------------


def shared(page: Page) -> str:
    """Return the link of the dialog, which is also what a camera reads there."""
    link = page.get_by_test_id("share-link").input_value()
    with PIL.Image.open(io.BytesIO(page.get_by_test_id("share-code").screenshot())) as picture:
        read, *_ = cv2.QRCodeDetector().detectAndDecode(np.asarray(picture.convert("RGB").resize((800, 800))))
    assert read == link
    press(page, "share-copy")
    expect(page.get_by_test_id("share-copy")).to_have_text("Copied")
    page.bring_to_front()  # a clipboard is read by the page that has the focus, and several are open
    assert page.evaluate("navigator.clipboard.readText()") == link
    press(page, "share-close")
    return link


def test_a_shared_link_and_its_code_lead_to_this_session(visit: Visit) -> None:
    page = live(visit())
    press(page, "share")
    expect(page.get_by_test_id("share-about")).to_have_text("Whoever opens it joins this session.")
    expect(page.get_by_test_id("share-near")).to_contain_text("on this computer only")
    friend = live(visit(shared(page)))
    expect(rail(friend)).to_have_text("You watch")


def test_links_to_watch_and_to_drive_let_people_do_just_that(tmp_path: Path, visit: Visit) -> None:
    key = tmp_path / "keys"
    key.write_text("now:a-secret-of-at-least-thirty-two-letters\n")
    key.chmod(0o600)
    model = write_model(tmp_path / "model", WORLD)
    flags = ("--token", "an-operator-s-long-token", "--token-key-file", str(key), "--visitor-role", "watch")
    with running(model, *flags) as run:
        page = live(visit(f"{run.url}/#token=an-operator-s-long-token"))
        press(page, "share")
        expect(page.get_by_test_id("share-about")).to_contain_text("can change nothing")
        watcher = live(visit(shared(page)))
        expect(watcher.get_by_test_id("rail")).to_have_text("You watchVisitor 1 drives.")
        watches(watcher)
        assert "token" not in watcher.url
        press(page, "share")
        page.get_by_test_id("share-drive").check(force=True)
        expect(page.get_by_test_id("share-about")).to_contain_text("can drive when it is their turn")
        driver = live(visit(shared(page)))
        press(driver, "rail-request")
        press(page, "rail-give")
        drives(driver)
        press(driver, "company")
        expect(driver.get_by_test_id("operate")).to_be_hidden()
        # A link that counts no more keeps nobody out of where everybody may come.
        late = visit(f"{run.url}/#token=a.b.c")
        expect(late.get_by_test_id("cover-title")).to_have_text("This link does not count")
        press(late, "cover-start")
        expect(rail(live(late))).to_have_text("You watch")
        late.reload()
        expect(rail(live(late))).to_have_text("You watch")
        press(page, "company")
        expect(page.get_by_test_id("people")).to_contain_text("may watch")
        press(page, "roster-close")
        for each in (page, watcher, driver, late):
            each.context.close()


def test_where_no_visitors_are_let_in_one_waits_without_the_picture_and_drives_then(
    tmp_path: Path, visit: Visit
) -> None:
    with running(write_model(tmp_path, WORLD), "--join", "off") as run:
        first, second = live(visit(run.url)), visit(run.url)
        expect(second.get_by_test_id("cover-title")).to_have_text("Somebody else drives")
        expect(rail(second)).to_have_text("Wait for a turn?")
        press(second, "rail-line")
        expect(rail(second)).to_contain_text("You are next")
        press(first, "stop")
        press(second, "rail-claim")
        drives(live(second))
        for each in (first, second):
            each.context.close()
