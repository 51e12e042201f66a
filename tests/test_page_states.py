"""The page in every state that a person may meet: no violation of axe's rules, text and edges that are seen on any
picture, what one plays with as large as a fingertip, and no two things of one name.

One server and one browser go through them, but for a line that is pulled out. With REACTOR_STATES=1 the pictures of
docs/states.md, and the page itself, are written anew.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import psutil
import pytest
from playwright.sync_api import Error as PlaywrightError
from playwright.sync_api import Playwright, sync_playwright
from support.cable import Cable, cable
from support.chromium import ARGUMENTS, CHROMIUM
from support.full_house import fill, let_go
from support.page_desk import ACROSS, DESKTOP, MODEL, PHONE, TABLET, Desk, document, save
from support.page_states import judge
from support.page_waits import expect, live
from support.server import running, write_model
from support.small_disk import small_disk

# The browser that the tests share keeps processes of its own between them.
pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.keeps_resources]

DOCUMENT = Path(__file__).parents[1] / "docs" / "states.md"
WRITING = os.environ.get("REACTOR_STATES")
#: How many may watch.
ROOM = 8
#: A turn, long enough that it does not end soon at once.
TURN_S = 18
#: Room for the films of all states; what is left is filled to the last byte.
DISK = "24m"

States = Generator[tuple[str, str], None, None]


def before_a_session(desk: Desk) -> States:
    with desk.answering("overview", lambda route: route.abort()):
        desk.until("gone")
        yield "unreachable", "No server answers at this address."
    loading = {"model": "probe", "step": "weights", "fraction": 0.4, "part": 2, "parts": 3, "elapsed_s": 12}
    with desk.answering("overview", desk.overview(state="loading", detail="2.1 of 5.2 GB", loading=loading)):
        desk.until("loading")
        yield "loading", "The model is being loaded."
    with desk.answering("overview", desk.overview(state="unhealthy", detail="CUDA is out of memory")):
        desk.until("failed")
        yield "load-failed", "The model could not be loaded."
    locked: dict[str, Any] = {
        "status": 401,
        "headers": {"WWW-Authenticate": "Bearer"},
        "json": {"detail": "no token"},
    }
    with desk.answering("overview", lambda route: route.fulfill(**locked)):
        desk.until("locked")
        yield "locked", "A token is needed."
        desk.page.get_by_test_id("token").fill("wrong")
        desk.page.get_by_role("button", name="Open").click()
        desk.see("cover-detail", "not accepted")
        yield "locked-wrong", "The token was not accepted."
        locked["json"] = {"detail": "it is over", "code": "token_expired"}
        desk.page.get_by_test_id("token").fill("old")
        desk.page.get_by_role("button", name="Open").click()
        desk.see("cover-detail", "The time of this access token is over")
    refused = {"status": 500, "json": {"detail": "The video engine has failed."}}
    with desk.answering("connect", lambda route: route.fulfill(**refused)):  # type: ignore[arg-type]
        desk.until("ended")
        yield "no-connection", "No connection could be made."
    with desk.answering("connect", lambda route: None):
        desk.until("connecting")
        yield "connecting", "The connection is being made."
    desk.page.goto("about:blank")
    desk.server.end_session()


def playing(desk: Desk) -> States:
    page = desk.page
    desk.live()
    yield "live", "Live, as a visitor finds it."
    page.keyboard.down("w")
    expect(page.get_by_test_id("key-drive.pedal-w")).to_have_attribute("aria-pressed", "true")
    yield "key-held", "A key is held."
    page.keyboard.up("w")
    desk.press("stats")
    desk.see("latency-total", "ms")
    yield "numbers", "Where the time from a press to its picture goes."
    page.locator(".more-numbers > summary").click()
    yield "numbers-all", "All numbers."
    desk.press("stats")
    page.get_by_role("textbox", name="Prompt").fill("x" * 40)
    yield "text-full", "A text that is as long as it may be."
    desk.press("send-set_prompt")
    desk.see("status-set_prompt", "Visible after")
    yield "command-seen", "A command, and when its picture was seen."
    desk.press("send-slow")
    desk.see("status-slow", "takes its time")
    yield "command-slow", "A command that takes long."
    desk.see("status-slow", "Visible after")
    desk.press("send-refuse")
    desk.see("status-refuse", "nothing to undo")
    yield "command-refused", "The model refused a command."
    page.locator("#panel .scroll").evaluate("panel => panel.scrollTo(0, 0)")
    page.get_by_label("Strength, exact value").fill("9")
    page.get_by_label("Strength, exact value").press("Enter")
    desk.see("problem-set_strength.strength", "At most 1")
    yield "value-refused", "A value that cannot be, told at its field."
    page.get_by_label("Strength, exact value").fill("0.5")
    find = page.get_by_test_id("find")
    find.fill("sky")
    yield "found", "A search among many commands."
    find.fill("nothing like it")
    yield "not-found", "A search that finds nothing."
    find.fill("")
    page.locator(".command-group > summary").click()
    yield "group-folded", "A group of commands, folded."
    page.locator(".command-group > summary").click()
    desk.press("send-say")
    expect(page.get_by_test_id("message")).to_be_visible()
    page.get_by_test_id("message").scroll_into_view_if_needed()
    yield "message", "The model said something."
    desk.press("capture")
    expect(page.get_by_test_id("notice-info")).to_be_visible()
    yield "notice", "A notice: the picture was saved."
    page.get_by_role("button", name="Dismiss").click()
    desk.press("camera")
    expect(page.get_by_test_id("preview")).to_be_visible()
    yield "camera", "A camera is shared."
    desk.press("camera")
    desk.press("help-open")
    yield "help", "Keys and help."
    page.keyboard.press("Escape")
    desk.press("share")
    expect(page.get_by_test_id("share-code")).to_be_visible()
    yield "share", "The page is shared: its link, and the link as a code."
    page.keyboard.press("Escape")
    desk.press("panel-toggle")
    yield "panel-hidden", "The controls are hidden."
    desk.press("panel-toggle")
    desk.press("full")
    page.wait_for_function("document.fullscreenElement !== null")
    yield "full-screen", "Full screen."
    page.keyboard.press("f")
    page.wait_for_function("document.fullscreenElement === null")
    desk.press("record")
    expect(page.get_by_test_id("record-time")).to_have_attribute("data-time", "0:01")
    yield "recording", "A film is recorded."


def as_the_system_has_it(desk: Desk) -> States:
    page = desk.page
    desk.live()
    page.emulate_media(color_scheme="light", reduced_motion="reduce")
    yield "light", "Light, where the system is."
    page.emulate_media(color_scheme="dark", reduced_motion="no-preference")
    yield "motion", "With motion, where the system does not say otherwise."
    page.emulate_media(color_scheme="dark", reduced_motion="reduce", forced_colors="active")
    yield "forced-colours", "The system's own colours."
    page.emulate_media(color_scheme="dark", reduced_motion="reduce", forced_colors="none")
    page.evaluate("document.documentElement.dir = 'rtl'")
    yield "right-to-left", "Translated into a language that is written from the right."
    page.evaluate("document.documentElement.dir = ''")
    for size, name, text in (
        ((640, 360), "zoom-200", "Magnified twice."),
        ((320, 256), "zoom-400", "Magnified four times: one column that scrolls."),
    ):
        desk.size(size)
        yield name, text
    desk.size(DESKTOP)


def in_hands(desk: Desk) -> States:
    with desk.in_hands(TABLET):
        desk.live()
        yield "tablet", "A tablet."
        desk.size(ACROSS)
        yield "phone-across", "A phone, held across."
        # The bar has gone away meanwhile.
        desk.page.mouse.move(*(side / 2 for side in ACROSS))
        desk.press("full")
        expect(desk.page.locator("body")).to_have_attribute("data-full", "true")
        yield "phone-full", "A phone, held across, in full screen."
        desk.press("full")
        desk.size(PHONE)
        yield "phone", "A phone."
        desk.press("stats")
        yield "phone-numbers", "The numbers on a phone."
        desk.press("stats")
        desk.press("sheet-handle")
        yield "phone-sheet", "The sheet of controls, pulled up."


def with_others(desk: Desk) -> States:
    page, other = desk.page, desk.visitor()
    desk.live()
    other.goto(desk.server.url)
    expect(page.get_by_test_id("company")).to_be_visible(timeout=15_000)
    yield "company", "Somebody else is here."
    desk.press("stop")
    yield "stop-asked", "Before it is stopped for everybody."
    page.get_by_test_id("stop-not").click()
    desk.press("send-stand_still")
    desk.see("state", "No new picture")
    yield "still", "The picture stands still."
    page.keyboard.press("w")
    expect(page.get_by_test_id("state")).not_to_contain_text("No new picture")
    # For a driver who leaves the last place is kept.
    fill(other, ROOM - 2)
    late = desk.page = desk.visitor()
    late.goto(desk.server.url)
    desk.until("full")
    yield "full", "There is no room for one more."
    let_go(other, ROOM - 2)
    other.context.close()
    desk.hurry()
    desk.until("live")
    late.context.close()
    desk.page = page


def give_up(desk: Desk) -> None:
    """End one's turn before its time, which is a quarter of a minute."""
    desk.press("company")
    desk.press("release")


def in_turns(desk: Desk) -> States:
    """Two people, one at a desk and one with a phone, drive one after the other."""
    here, phone = desk.page, desk.visitor(PHONE, touch=True)
    desk.live()
    desk.page = phone
    desk.live()
    desk.see("rail-title", "You watch")
    yield "watching-phone", "Somebody else drives, on a phone."
    desk.press("rail-request")
    desk.see("rail", "You have asked")
    desk.page = here
    desk.see("rail-title", "asks for the wheel")
    yield "asked", "Somebody asks for the wheel."
    desk.press("rail-give")
    desk.see("rail-title", "You watch")
    yield "watching", "Somebody else drives."
    desk.press("rail-line")
    desk.see("rail-title", "You are next")
    yield "in-line", "One waits for a turn."
    desk.page = phone
    desk.see("line", "1 waits")
    yield "driving-phone", "One drives, on a phone, and somebody waits."
    desk.see("rail-title", "Your turn ends")
    yield "turn-ends-phone", "One's turn ends soon, on a phone."
    give_up(desk)
    desk.page = here
    desk.see("rail-title", "It is your turn")
    yield "called", "It is one's turn."
    desk.press("rail-claim")
    expect(here.get_by_test_id("rail")).to_be_hidden()
    desk.page = phone
    desk.press("rail-line")
    desk.see("rail-title", "You are next")
    yield "in-line-phone", "One waits for a turn, on a phone."
    desk.page = here
    desk.see("line", "1 waits")
    yield "driving", "One drives, and somebody waits."
    desk.press("company")
    here.locator(".operate > summary").click()
    yield "roster", "Who is here, and what an operator may do."
    here.keyboard.press("Escape")
    desk.see("rail-title", "Your turn ends")
    yield "turn-ends", "One's turn ends soon."
    give_up(desk)
    desk.page = phone
    desk.see("rail-title", "It is your turn")
    yield "called-phone", "It is one's turn, on a phone."
    desk.press("share")
    expect(phone.get_by_test_id("share-code")).to_be_visible()
    yield "share-phone", "The page is shared, from a phone."
    phone.keyboard.press("Escape")
    desk.press("rail-unline")
    phone.context.close()
    desk.page = here
    desk.server.end_session()


def after_a_session(desk: Desk) -> States:
    desk.live()
    desk.press("stop")
    desk.until("ended")
    yield "stopped", "The session was stopped."
    desk.press("cover-start")
    desk.until("live")
    desk.press("send-fail")
    desk.until("ended")
    desk.see("cover-detail", "The model failed")
    yield "model-failed", "The model failed."
    desk.press("cover-start")
    desk.until("live")
    httpx.post(desk.server.url + "/stop_session", json={})
    desk.until("ended")
    yield "ended-elsewhere", "The session was ended by somebody else."
    stranger = desk.visitor()
    stranger.goto(desk.server.url)
    live(stranger)
    desk.press("cover-start")
    desk.until("occupied")
    yield "occupied", "A stranger has the model now."
    stranger.context.close()


def on_a_full_disk(desk: Desk) -> States:
    """Its author is told where the film is."""
    if not desk.disk.is_mount():
        pytest.skip("cannot mount a small disk")
    httpx.post(desk.server.url + "/stop_session", json={})
    desk.page.goto("about:blank")
    desk.page.goto(desk.server.author_url)
    desk.until("live")
    desk.press("record")
    expect(desk.page.get_by_test_id("record-time")).to_be_visible()
    desk.server.wait_for(
        lambda: any(part.stat().st_size for part in desk.disk.glob("*/*.part")), "a fragment"
    )
    with filled(desk.disk):
        desk.see("notice-problem", "The disk is full: the recording has stopped. What was recorded is in")
        (folder,) = [path for path in desk.disk.iterdir() if f"is in {path}." in desk.notice()]
        assert list(folder.glob("*.m4s")), "nothing is where it says"
        yield "disk-full", "The disk is full, and its author is told where the film is."


def over_a_bad_line(desk: Desk, line: Cable) -> States:
    desk.live()
    process = psutil.Process(desk.server.process.pid)
    process.suspend()
    try:
        desk.see("state", "Weak connection")
        yield "weak", "Nothing arrives: the connection is weak."
        line.pull()
        desk.until("offline")
        yield "offline", "The browser is offline."
        line.plug()
        desk.until("reconnecting")
        yield "reconnecting", "The browser is online again, and the server does not answer yet."
    finally:
        process.resume()


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as started:
        yield started


@pytest.fixture(scope="module")
def desk(playwright: Playwright, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    folder = tmp_path_factory.mktemp("states")
    with ExitStack() as stack:
        # The page says where the films are, and a picture of that shows no more of this machine than it must.
        disk = Path(stack.enter_context(TemporaryDirectory(prefix="recordings-"))) / "films"
        with suppress(pytest.skip.Exception):  # only the state of a full disk needs it
            stack.enter_context(small_disk(disk, DISK))
        model = write_model(folder, MODEL, video_input=True)
        server = stack.enter_context(
            running(
                model, "--record", "--record-dir", str(disk), "--viewers", str(ROOM), "--turn-s", str(TURN_S)
            )
        )
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        yield Desk(browser, server, disk)
        browser.close()


@pytest.fixture(scope="module")
def said() -> Iterator[dict[str, str]]:
    """What the states are called, in their order."""
    found: dict[str, str] = {}
    yield found
    if WRITING:
        DOCUMENT.write_text(document(found))


def visit(states: States, desk: Desk, said: dict[str, str]) -> tuple[int, list[str]]:
    """Go through them all, and return how many there were and what is wrong."""
    found: list[str] = []
    names = ["the first"]
    try:
        for name, text in states:
            names.append(name)
            said[name] = text
            found += [f"{name}: {problem}" for problem in judge(desk.page)]
            if WRITING:
                save(desk.page, DOCUMENT.parent / "images" / "states" / f"{name}.jpg")
            elif f"## {text}\n\n![{text}](images/states/{name}.jpg)" not in DOCUMENT.read_text():
                found.append(f"{name}: docs/states.md does not have it as it is: REACTOR_STATES=1")
    except (AssertionError, PlaywrightError) as error:
        found.append(f"after {names[-1]}: {str(error)[:600]}")
    finally:
        states.close()
    return len(names) - 1, found


PARTS = [
    before_a_session,
    playing,
    as_the_system_has_it,
    in_hands,
    with_others,
    in_turns,
    after_a_session,
    on_a_full_disk,
]


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.__name__)
def test_no_state_of_the_page_breaks_a_rule_of_accessibility(
    part: Callable[[Desk], States],
    desk: Desk,
    said: dict[str, str],
    record_property: Callable[[str, object], None],
) -> None:
    # A page that was closed is noticed to be gone only after seconds: each part begins with a session of its own.
    desk.page.goto("about:blank")
    desk.server.end_session()
    count, found = visit(part(desk), desk, said)
    record_property("measured", f"{count} states, {len(found)} violations")
    assert not found, "\n" + "\n".join(found)


def test_no_state_over_a_bad_line_breaks_a_rule_of_accessibility(
    playwright: Playwright,
    said: dict[str, str],
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    model = write_model(tmp_path / "model", MODEL, video_input=True)
    with cable() as line, running(model, "--host", line.server_address, "--allow-public") as server:
        inside = line.inside(CHROMIUM, tmp_path)
        browser = playwright.chromium.launch(executable_path=inside, args=list(ARGUMENTS))
        desk = Desk(browser, server, tmp_path)
        count, found = visit(over_a_bad_line(desk, line), desk, said)
        browser.close()
    record_property("measured", f"{count} states, {len(found)} violations")
    assert not found, "\n" + "\n".join(found)


@contextmanager
def filled(disk: Path) -> Iterator[None]:
    """Leave no byte free on this disk."""
    filler = disk / "filler"
    try:
        with filler.open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(4096))
        yield
    finally:
        filler.unlink()
