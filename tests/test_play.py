"""Playing on the page, in Chromium: several keys, thumbs, a drag, a mouse, a gamepad, full screen, on any screen.

What is held is what the model reports of the commands that reached it. test_drive_page.py has two thumbs in Drive.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page
from support.chromium import HOOKS
from support.hands import Fingers, box, middle, thumb
from support.page_waits import expect, live
from support.server import ReactorRun, running, write_model

# The browser and the server that the tests share keep processes of their own between them.
pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.keeps_resources]

GAME = """
    from typing import Annotated, Literal
    import numpy as np
    from pydantic import Field
    from reactor_runtime import CommandError, Show, VideoModel, command, get_ctx

    Key = Literal["W", "A", "S", "D", "I", "J", "K", "L"]
    Mouse = Literal["J", "K", "L", "I", "U"]
    Board = Literal["W", "A", "S", "D", "Q"]

    class Model(VideoModel):
        fps = 10

        def __init__(self):
            self.reset()

        def reset(self):
            self.held, self.turned = set(), 0.0

        def start_session(self):
            while True:
                get_ctx().report(**{key: key in self.held for key in "WASDIJKL"}, turned=self.turned)
                yield np.full((192, 288, 3), 90, np.uint8)

        @command("control", description="Drive")
        def control(
            self,
            mouse_key: Annotated[Mouse, Field(description="J=left, K=down, L=right, I=up, U=none")] = "U",
            keyboard_key: Annotated[Board, Field(description="W=faster, A=left, S=brake, D=right, Q=none")] = "Q",
            also_held: Annotated[tuple[Key, ...], Field(max_length=2)] = (),
        ):
            self.held = {mouse_key, keyboard_key, *also_held}

        @command("turn", description="Turn the view")
        def turn(self, look: Annotated[float, Field(ge=-2, le=2), Show(look="x")] = 0.0):
            self.turned = look

        @command("fly", description="N=up, M=down, O=none")
        def fly(self, key: Literal["N", "M", "O"] = "O"):
            if key != "O":
                raise CommandError("no_wings", "this car has no wings")

        @command("weather", description="Change the weather")
        def weather(self, kind: Literal["sun", "rain"] = "sun"):
            pass
"""
TOUCH_SIZES = {"a phone": (390, 844), "a phone across": (844, 390), "a tablet": (820, 1180)}
DESK = (1280, 720)


@pytest.fixture(scope="module")
def server() -> Iterator[ReactorRun]:
    with (
        tempfile.TemporaryDirectory() as folder,
        running(write_model(Path(folder), GAME), "--join", "drive") as run,
    ):
        yield run


def opened(browser: Browser, url: str, size: tuple[int, int], *, touch: bool = False, init: str = "") -> Page:
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]}, has_touch=touch, is_mobile=touch, bypass_csp=True
    )
    page = context.new_page()
    page.add_init_script(path=HOOKS)
    page.add_init_script(init)
    page.goto(url)
    return live(page, within_s=30)


@pytest.fixture(scope="module")
def desk_page(browser: Browser, server: ReactorRun) -> Iterator[Page]:
    page = opened(browser, server.url, DESK, init=GAMEPAD + POINTER)
    yield page
    page.context.close()


@pytest.fixture
def desk(desk_page: Page) -> Iterator[Page]:
    """At a desk: a keyboard and a mouse."""
    desk_page.bring_to_front()
    yield desk_page
    for key in "wasdjl":
        desk_page.keyboard.up(key)
    says(desk_page, "")


@pytest.fixture(scope="module")
def touch_page(browser: Browser, server: ReactorRun) -> Iterator[Page]:
    page = opened(browser, server.url, TOUCH_SIZES["a phone"], touch=True)
    yield page
    page.context.close()


@pytest.fixture
def touched(touch_page: Page) -> Iterator[Page]:
    """In two hands: a screen to touch."""
    touch_page.bring_to_front()
    yield touch_page
    says(touch_page, "")


def says(page: Page, letters: str, *, within_s: float = 10) -> None:
    """Wait until the model reports that just these keys are held."""
    held = "[...'WASDIJKL'].filter(key => reactorPage.stats.model[key]).join('')"
    page.wait_for_function(f"want => {held} === want", arg=letters, timeout=within_s * 1000)


def wake(page: Page) -> None:
    """Bring the bar back by a tap on the picture; one that a busy machine takes for a long one does not do it."""
    for _ in range(10):
        page.locator("#video").tap()
        if not page.locator(".stage.idle").count():
            return
    pytest.fail("the bar does not come back")


def key(letter: str, field: str = "keyboard_key") -> str:
    return f"[data-testid='key-control.{field}-{letter}']"


# Keys -----------------------------------------------------------------------------------------------------


def test_every_key_that_is_held_counts_and_is_lit(desk: Page) -> None:
    for letter in "wal":
        desk.keyboard.down(letter)
    says(desk, "WAL")
    for letter, field in [("W", "keyboard_key"), ("A", "keyboard_key"), ("L", "mouse_key")]:
        expect(desk.locator(key(letter, field))).to_have_attribute("aria-pressed", "true")
    expect(desk.locator(key("S"))).to_have_attribute("aria-pressed", "false")
    assert desk.get_by_test_id("field-control.also_held").count() == 0
    desk.keyboard.up("a")
    says(desk, "WL")


def test_arrow_keys_drive_and_leave_a_slider_alone_that_has_the_focus(desk: Page) -> None:
    desk.keyboard.down("ArrowUp")
    desk.keyboard.down("ArrowRight")
    says(desk, "WD")
    expect(desk.locator(key("D"))).to_have_attribute("aria-pressed", "true")
    desk.keyboard.up("ArrowUp")
    desk.keyboard.up("ArrowRight")
    says(desk, "")
    slider = desk.get_by_test_id("slider-turn.look")
    slider.focus()
    desk.keyboard.press("ArrowRight")
    assert float(slider.input_value()) > 0
    desk.keyboard.press("ArrowLeft")
    slider.blur()


def test_what_a_pointer_pressed_gives_the_focus_back_to_the_keys(desk: Page) -> None:
    focused = "document.activeElement === document.body"
    for selector in ["[data-testid='choice-weather.kind-rain']", "#stats", "#stats"]:
        desk.locator(selector).click(force=True)
        desk.wait_for_function(focused)
    desk.get_by_test_id("slider-turn.look").click(position={"x": 20, "y": 14})
    desk.wait_for_function(focused)
    desk.keyboard.down("ArrowLeft")
    says(desk, "A")
    desk.keyboard.up("ArrowLeft")
    # Whoever tabs there keeps it.
    desk.locator("#stats").focus()
    desk.keyboard.press("Enter")
    desk.keyboard.press("Enter")
    assert desk.evaluate("document.activeElement.id") == "stats"
    desk.locator("#stats").blur()


def test_full_screen_has_the_keys_the_notices_and_the_controls(desk: Page) -> None:
    desk.locator("#full").click()
    desk.wait_for_function("document.fullscreenElement !== null && document.body.dataset.full === 'true'")
    desk.keyboard.press(" ")
    desk.keyboard.down("w")
    says(desk, "W")
    assert desk.evaluate("document.fullscreenElement !== null"), "Space left full screen"
    expect(desk.locator(key("W"))).to_be_visible()
    expect(desk.get_by_test_id("panel")).to_be_hidden()
    desk.keyboard.press("h")
    expect(desk.get_by_test_id("panel")).to_be_visible()
    desk.keyboard.press("h")
    desk.mouse.move(640, 300)
    desk.locator("#capture").click()
    notice = desk.get_by_test_id("notice-info").first
    expect(notice).to_be_visible()
    x, y = middle(desk, "[data-testid='notice-info']")
    assert desk.evaluate("([x, y]) => document.elementFromPoint(x, y).closest('.notice') !== null", [x, y])
    # The bar goes away, and the model's keys do not bring it back.
    desk.mouse.move(640, 310)
    desk.wait_for_function("getComputedStyle(document.querySelector('.bar')).opacity === '0'", timeout=8_000)
    desk.keyboard.up("w")
    desk.keyboard.down("a")
    says(desk, "A")
    assert desk.evaluate("document.querySelector('.stage').classList.contains('idle')")
    desk.mouse.move(640, 320)
    desk.wait_for_function("getComputedStyle(document.querySelector('.bar')).opacity === '1'")
    desk.keyboard.press("f")
    desk.wait_for_function("document.fullscreenElement === null && document.body.dataset.full === 'false'")
    expect(desk.get_by_test_id("panel")).to_be_visible()


# Looking --------------------------------------------------------------------------------------------------


def test_a_drag_over_the_picture_looks_around_until_it_is_let_go(desk: Page) -> None:
    x, y = middle(desk, "#video")
    desk.mouse.move(x, y)
    desk.mouse.down()
    desk.mouse.move(x - 30, y)
    desk.wait_for_function("reactorPage.stats.model.turned !== 0")
    says(desk, "")
    desk.mouse.move(x - 400, y + 10)
    says(desk, "J")
    desk.wait_for_function("reactorPage.stats.model.turned === -2")
    desk.mouse.move(x - 250, y - 250)
    says(desk, "IJ")
    desk.mouse.up()
    says(desk, "")
    desk.wait_for_function("reactorPage.stats.model.turned === 0")


#: A pointer that locks as a browser's does: the one without windows hangs when it is asked to.
POINTER = """
    let locked = null;
    const become = element => { locked = element; document.dispatchEvent(new Event('pointerlockchange')); };
    Object.defineProperty(document, 'pointerLockElement', {get: () => locked});
    document.exitPointerLock = () => setTimeout(become, 0, null);
    Element.prototype.requestPointerLock = function () { setTimeout(become, 0, this); return Promise.resolve(); };
"""
#: Moves the mouse so many pixels every 20 ms.
MOVING = """([movementX, movementY]) => {
    clearInterval(window.hand);
    const move = () => document.dispatchEvent(new MouseEvent("mousemove", { movementX, movementY }));
    if (movementX || movementY) window.hand = setInterval(move, 20);
}"""


def test_the_mouse_alone_looks_around_until_esc_frees_it(desk: Page) -> None:
    word = desk.get_by_test_id("mouse-look")
    expect(word).to_have_text("Look with the mouse")
    word.click()
    expect(word).to_have_text("Esc frees the mouse")
    assert desk.evaluate("document.pointerLockElement?.id") == "screen"
    # It moves on and on, over what would be the edge of the screen.
    desk.evaluate(MOVING, [-60, 0])
    says(desk, "J")
    desk.wait_for_function("reactorPage.stats.model.turned < -1")
    # A mouse that rests looks nowhere.
    desk.evaluate(MOVING, [0, 0])
    says(desk, "")
    desk.wait_for_function("reactorPage.stats.model.turned === 0")
    desk.keyboard.down("w")
    desk.evaluate(MOVING, [60, -5])
    says(desk, "WL")
    desk.keyboard.up("w")
    desk.keyboard.press("Escape")
    expect(word).to_have_text("Look with the mouse")
    assert desk.evaluate("document.pointerLockElement === null")
    # A pointer that is free looks nowhere, wherever it goes.
    says(desk, "")
    desk.evaluate(MOVING, [0, 0])


def test_a_locked_mouse_is_free_again_where_nobody_could_see_how(desk: Page) -> None:
    word = desk.get_by_test_id("mouse-look")
    word.click()
    expect(word).to_have_text("Esc frees the mouse")
    desk.keyboard.press("?")
    desk.wait_for_function("document.pointerLockElement === null")
    desk.keyboard.press("Escape")
    expect(desk.get_by_test_id("help")).to_be_hidden()


def test_a_screen_to_touch_has_no_word_of_a_mouse(touched: Page) -> None:
    assert touched.get_by_test_id("mouse-look").count() == 0


# A gamepad ------------------------------------------------------------------------------------------------

#: A gamepad of the standard mapping that tests hold: `window.pad`.
GAMEPAD = """
    window.pad = {connected: false, mapping: 'standard', axes: [0, 0, 0, 0],
                  buttons: Array.from({length: 17}, () => ({value: 0, pressed: false}))};
    navigator.getGamepads = () => [null, pad.connected ? pad : null];
    window.plug = connected => {
        pad.connected = connected;
        dispatchEvent(new Event(connected ? 'gamepadconnected' : 'gamepaddisconnected'));
    };
"""


def test_a_gamepad_drives_and_looks(desk: Page) -> None:
    desk.evaluate("plug(true)")
    expect(desk.get_by_test_id("notice-info").filter(has_text="Gamepad")).to_be_visible()
    desk.evaluate("pad.axes = [-0.8, -0.2, 0.12, 0.1]")
    says(desk, "A")
    desk.evaluate("pad.buttons[7].value = 0.9")
    says(desk, "WA")
    expect(desk.locator(key("W"))).to_have_attribute("aria-pressed", "true")
    desk.evaluate("pad.axes = [0.1, -0.1, 0.9, 0]")
    says(desk, "WL")
    desk.evaluate("pad.buttons[7].value = 0; pad.buttons[13].value = 1; pad.buttons[14].value = 1")
    says(desk, "ASL")
    desk.evaluate("plug(false)")
    says(desk, "")


# Thumbs ---------------------------------------------------------------------------------------------------


def test_two_fingers_on_the_picture_neither_pinch_nor_scroll(touched: Page) -> None:
    fingers = Fingers(touched)
    x, y = middle(touched, "#video")
    for name, way in [("one", -1), ("two", 1)]:
        fingers.put(name, x + 20 * way, y)
    for step in range(6):
        for name, way in [("one", -1), ("two", 1)]:
            fingers.put(name, x + (20 + 20 * step) * way, y + 20 * step)
    for name in ("one", "two"):
        fingers.lift(name)
    assert touched.evaluate("[scrollX, scrollY, visualViewport.scale]") == [0, 0, 1]


def test_a_phone_without_the_browser_s_full_screen_has_the_page_s_own_with_its_pads(
    touched: Page,
) -> None:
    touched.set_viewport_size({"width": 844, "height": 390})
    # As an iPhone: only a video may fill the screen.
    touched.evaluate(
        "Object.defineProperty(document, 'fullscreenEnabled', {value: false, configurable: true})"
    )
    wake(touched)
    touched.locator("#full").tap()
    expect(touched.locator("body")).to_have_attribute("data-full", "true")
    assert touched.evaluate("document.fullscreenElement === null")
    fingers = Fingers(touched)
    fingers.put("left", *middle(touched, thumb("D")))
    fingers.put("right", *middle(touched, thumb("W")))
    says(touched, "WD")
    fingers.lift("left")
    fingers.lift("right")
    wake(touched)
    touched.locator("#full").tap()
    expect(touched.locator("body")).to_have_attribute("data-full", "false")


def test_a_refused_key_is_told_on_the_picture_where_the_controls_are_away(touched: Page) -> None:
    touched.keyboard.press("n")
    expect(touched.get_by_test_id("notice-problem")).to_contain_text("this car has no wings")
    touched.get_by_label("Dismiss").tap()


def test_a_phone_has_the_link_and_the_help(touched: Page) -> None:
    touched.set_viewport_size({"width": 390, "height": 844})
    for button in ("share", "help-open"):
        touched.get_by_test_id(button).scroll_into_view_if_needed()
        expect(touched.get_by_test_id(button)).to_be_in_viewport(ratio=1)
    touched.get_by_test_id("help-open").tap()
    expect(touched.get_by_test_id("help")).to_be_visible()
    touched.locator("#help-close").tap()


# Screens --------------------------------------------------------------------------------------------------


def assert_playable(page: Page, size: tuple[int, int], keys: list[str]) -> None:
    """Each key is on the screen and on top, and the middle of the picture and what drives there is free."""
    width, height = size
    page.set_viewport_size({"width": width, "height": height})
    page.wait_for_timeout(300)  # the panel slides
    for selector in keys:
        x, y, wide, high = box(page, selector)
        inside = 0 <= x <= x + wide <= width and 0 <= y <= y + high <= height
        assert inside, f"{selector} is out of view"
        assert min(wide, high) >= 44, f"{selector} is small"
        hit = "([s, x, y]) => document.querySelector(s).contains(document.elementFromPoint(x, y))"
        assert page.evaluate(hit, [selector, x + wide / 2, y + high / 2]), f"{selector} is covered"
    left, top, wide, high = box(page, "#video")
    assert wide * high >= 0.25 * width * height, "the picture is small"
    assert 0 <= top <= top + high <= height, "the picture is cut off"
    # A car is in the middle of the lower half.
    car = (left + wide * 0.33, top + high * 0.5, wide * 0.34, high * 0.5)
    shown = [".bar", ".overlay", ".top", ".invitation-hint", *keys]
    for selector in shown:
        if page.locator(selector).is_visible():
            assert not overlap(box(page, selector), car), f"{selector} lies over the car"
    assert page.evaluate("[document.scrollingElement.scrollTop, document.documentElement.scrollWidth]") == [
        0,
        width,
    ]


def overlap(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return all(a[i] < b[i] + b[i + 2] - 0.5 and b[i] < a[i] + a[i + 2] - 0.5 for i in (0, 1))


@pytest.mark.parametrize("name", TOUCH_SIZES)
def test_on_a_screen_to_touch_the_thumbs_are_in_view_and_nothing_lies_over_the_car(
    touched: Page, name: str
) -> None:
    assert_playable(touched, TOUCH_SIZES[name], [thumb(letter) for letter in "WASD"])
    touched.evaluate("document.getElementById('stats').click()")
    assert_playable(touched, TOUCH_SIZES[name], [thumb(letter) for letter in "WASD"])
    touched.evaluate("document.getElementById('stats').click()")


@pytest.mark.parametrize("size", [DESK, (1024, 600), (900, 1100)])
def test_at_a_desk_the_keys_are_in_view_and_nothing_lies_over_the_car(
    desk: Page, size: tuple[int, int]
) -> None:
    keys = [key(letter) for letter in "WASD"] + [key(letter, "mouse_key") for letter in "IJKL"]
    keys.append("[data-testid='mouse-look']")
    assert_playable(desk, size, keys)
    desk.locator("#stats").click()
    assert_playable(desk, size, keys)
    desk.locator("#stats").click()
    left, top, wide, high = box(desk, "#video")
    # Drive paints its speed there.
    edge = (left, top + high * 15 / 16, wide, high / 16)
    covering = [selector for selector in keys if overlap(box(desk, selector), edge)]
    assert not covering, "the lower edge of the picture is covered"
    desk.set_viewport_size({"width": DESK[0], "height": DESK[1]})


def test_a_command_whose_keys_are_on_the_picture_has_no_empty_card(desk: Page) -> None:
    expect(desk.get_by_test_id("command-fly")).to_be_visible()
    expect(desk.get_by_test_id("command-control")).to_have_count(0)


def test_the_hands_keep_their_sides_where_text_runs_from_right_to_left(desk: Page, touched: Page) -> None:
    for page, make in ((desk, key), (touched, thumb)):
        page.evaluate("document.documentElement.dir = 'rtl'")
        left, right = box(page, make("A")), box(page, make("D"))
        page.evaluate("document.documentElement.dir = 'ltr'")
        assert left[0] + left[2] <= right[0]
    assert box(touched, thumb("D"))[0] < box(touched, thumb("W"))[0]


def test_a_held_key_is_seen_without_colours_and_without_motion(desk: Page) -> None:
    desk.emulate_media(forced_colors="active", reduced_motion="reduce")
    outline = f'getComputedStyle(document.querySelector("{key("W")}")).outlineStyle'
    assert desk.evaluate(outline) == "none"
    desk.keyboard.down("w")
    desk.wait_for_function(f"{outline} === 'solid'")
    assert desk.evaluate(
        "parseFloat(getComputedStyle(document.querySelector('.bar')).transitionDuration) < 0.001"
    )
    desk.emulate_media(forced_colors="none", reduced_motion="no-preference")
