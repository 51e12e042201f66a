"""The page in every state that a person may meet: no violation of axe's rules, and text that is read on any picture.

One server and one browser go through them all. With REACTOR_STATES=1 the pictures of docs/states.md, and the page
itself, are written anew.
"""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import PIL.Image
import pytest
from playwright.sync_api import Browser, Page, Route, expect, sync_playwright
from playwright.sync_api import Error as PlaywrightError
from support.chromium import ARGUMENTS, CHROMIUM
from support.page_states import judge
from support.server import ReactorRun, running, write_model

pytestmark = [pytest.mark.slow, pytest.mark.browser]

ROOT = Path(__file__).parents[1]
DESKTOP, TABLET, PHONE, ACROSS = (1280, 720), (820, 1180), (390, 844), (844, 390)
MODEL = """
    import time
    from typing import Literal

    import numpy as np
    from pydantic import BaseModel, Field
    from reactor_runtime import CommandError, Image, VideoModel, command, get_ctx

    class Light(BaseModel):
        height: float = Field(0.5, ge=0, le=1)
        colour: str = "warm"

    class Model(VideoModel):
        '''A picture that moves, with a command of every kind.'''

        fps = 20

        def start_session(self):
            self.still = self.broken = False
            rows = np.linspace(40, 220, 180, dtype=np.uint8)[:, None]
            picture = np.stack([rows + np.zeros((1, 320), np.uint8)] * 3, 2)
            while True:
                if self.broken:
                    raise ValueError("there is no paint left")
                if self.still:
                    get_ctx().wait(0.05)
                    continue
                picture = np.roll(picture, 2, axis=0)
                get_ctx().emit_frame(picture)

        def on_frame(self, frame): ...

        @command("drive", description="W=forward, A=left, S=back, D=right, Q=none", hint="W A S D to drive")
        def drive(self, pedal: Literal["w", "a", "s", "d", "q"] = "q"):
            self.still = False

        @command("set_prompt", description="What is to be seen")
        def set_prompt(self, prompt: str = Field(..., max_length=40)): ...

        @command("set_strength", description="How much")
        def set_strength(self, strength: float = Field(0.5, ge=0, le=1)): ...

        @command("set_weather", description="The sky", group="World")
        def set_weather(self, weather: Literal["clear", "rain", "snow"] = "clear"): ...

        @command("set_place", description="Where", group="World")
        def set_place(self, place: Literal["a", "b1", "c22", "d3", "e4", "f5", "g6", "h7"] = "a"): ...

        @command("show_fog", description="Fog or none", group="World")
        def show_fog(self, fog: bool = False): ...

        @command("set_light", description="The sun", group="World")
        def set_light(self, light: Light, seed: int = Field(3, ge=0, le=99)): ...

        @command("set_caption", description="A line below, or none")
        def set_caption(self, text: str | None = None): ...

        @command("set_colours", description="Some colours")
        def set_colours(self, colours: list[str] = Field(["red", "blue"], max_length=5)): ...

        @command("set_start", description="What to begin with")
        def set_start(self, picture: Image): ...

        @command("slow", description="Takes long")
        def slow(self):
            time.sleep(3)

        @command("refuse", description="Says no")
        def refuse(self):
            raise CommandError("too_early", "There is nothing to undo yet.")

        @command("say", description="A message")
        def say(self):
            get_ctx().send({"frames": 12, "mood": "calm"}, type="report")

        @command("stand_still", description="No new picture")
        def stand_still(self):
            self.still = True

        @command("fail", description="Raise")
        def fail(self):
            self.still, self.broken = False, True
"""


class Desk:
    """What makes states: the server, the browser, and the page that is looked at."""

    def __init__(self, browser: Browser, server: ReactorRun) -> None:
        self.browser, self.server = browser, server
        self.page = self.visitor()

    def visitor(self) -> Page:
        context = self.browser.new_context(
            viewport={"width": DESKTOP[0], "height": DESKTOP[1]},
            color_scheme="dark",
            reduced_motion="reduce",
            permissions=["clipboard-read", "clipboard-write", "camera"],
            bypass_csp=True,
        )
        return context.new_page()

    def live(self) -> None:
        self.page.goto(self.server.url)
        self.until("live")

    def until(self, state: str) -> None:
        expect(self.page.locator("body")).to_have_attribute("data-state", state, timeout=20_000)

    def press(self, name: str) -> None:
        self.page.get_by_test_id(name).click()

    def see(self, name: str, text: str) -> None:
        expect(self.page.get_by_test_id(name)).to_contain_text(text, timeout=15_000)

    def size(self, size: tuple[int, int]) -> None:
        self.page.set_viewport_size({"width": size[0], "height": size[1]})

    @contextmanager
    def answering(self, path: str, answer: Callable[[Route], Any]) -> Iterator[None]:
        """Let a fault of the server's be what the page gets, and the page open afresh."""
        self.page.route(f"**/{path}", answer)
        self.page.goto(self.server.url)
        try:
            yield
        finally:
            self.page.unroute(f"**/{path}")

    def overview(self, **health: object) -> Callable[[Route], None]:
        schema = httpx.get(self.server.url + "/schema").json()
        body = {
            "health": {"status": "unhealthy", **health},
            "session": {},
            "schema": schema,
            "ice_servers": [],
        }
        return lambda route: route.fulfill(json=body)


States = Iterator[tuple[str, str]]


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
    locked = {"status": 401, "headers": {"WWW-Authenticate": "Bearer"}, "json": {"detail": "no token"}}
    with desk.answering("overview", lambda route: route.fulfill(**locked)):  # type: ignore[arg-type]
        desk.until("locked")
        yield "locked", "A token is needed."
        desk.page.get_by_test_id("token").fill("wrong")
        desk.page.get_by_role("button", name="Open").click()
        desk.see("cover-detail", "not accepted")
        yield "locked-wrong", "The token was not accepted."
    refused = {"status": 500, "json": {"detail": "The video engine has failed."}}
    with desk.answering("connect", lambda route: route.fulfill(**refused)):  # type: ignore[arg-type]
        desk.until("ended")
        yield "no-connection", "No connection could be made."
    with desk.answering("connect", lambda route: None):
        desk.until("connecting")
        yield "connecting", "The connection is being made."


def playing(desk: Desk) -> States:
    page = desk.page
    desk.live()
    yield "live", "Live, as a visitor finds it."
    page.keyboard.down("w")
    desk.see("status-drive", "Visible after")
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
    desk.press("copy")
    expect(page.get_by_test_id("notice-info")).to_be_visible()
    yield "notice", "A notice: the link was copied."
    page.get_by_role("button", name="Dismiss").click()
    desk.press("record")
    expect(page.get_by_test_id("record-time")).to_have_attribute("data-time", "0:01")
    yield "recording", "A film is recorded."
    desk.press("record")
    desk.see("notice-info", "Film saved")
    page.get_by_role("button", name="Dismiss").first.click()
    desk.press("camera")
    expect(page.get_by_test_id("preview")).to_be_visible()
    yield "camera", "A camera is shared."
    desk.press("camera")
    desk.press("help-open")
    yield "help", "Keys and help."
    page.keyboard.press("Escape")
    desk.press("panel-toggle")
    yield "panel-hidden", "The controls are hidden."
    desk.press("panel-toggle")


def on_other_screens(desk: Desk) -> States:
    page = desk.page
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
        (TABLET, "tablet", "A tablet."),
        (ACROSS, "phone-across", "A phone, held across."),
        (PHONE, "phone", "A phone."),
    ):
        desk.size(size)
        yield name, text
    desk.press("stats")
    yield "phone-numbers", "The numbers on a phone."
    desk.press("stats")
    desk.press("sheet-handle")
    yield "phone-sheet", "The sheet of controls, pulled up."
    desk.size(DESKTOP)
    page.reload()
    desk.until("live")


def with_others(desk: Desk) -> States:
    page, other = desk.page, desk.visitor()
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
    other.context.close()
    expect(page.get_by_test_id("company")).to_be_hidden(timeout=15_000)


def after_a_session(desk: Desk) -> States:
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
    expect(stranger.locator("body")).to_have_attribute("data-state", "live", timeout=20_000)
    desk.press("cover-start")
    desk.until("occupied")
    yield "occupied", "A stranger has the model now."
    stranger.context.close()


@pytest.mark.keeps_resources  # the browser keeps processes of its own for a moment
def test_no_state_of_the_page_breaks_a_rule_of_accessibility(
    record_property: Callable[[str, object], None],
) -> None:
    found: dict[str, list[str]] = {}
    said: dict[str, str] = {}
    images = ROOT / "docs" / "images" / "states"
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        model = write_model(Path(folder), MODEL, video_input=True)
        with running(model, "--record") as server:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
            desk = Desk(browser, server)
            for part in (before_a_session, playing, on_other_screens, with_others, after_a_session):
                name = "the first"
                try:
                    for name, text in part(desk):
                        said[name] = text
                        if problems := judge(desk.page):
                            found[name] = problems
                        if os.environ.get("REACTOR_STATES"):
                            save(desk.page, images / f"{name}.jpg")
                # The states of the next part are judged all the same.
                except (AssertionError, PlaywrightError) as error:
                    found[f"after {name}"] = [str(error)[:600]]
            browser.close()
    if os.environ.get("REACTOR_STATES"):
        (ROOT / "docs" / "states.md").write_text(document(said))
    record_property("measured", f"{len(said)} states, {sum(map(len, found.values()))} violations")
    assert not found, "\n" + "\n".join(f"{name}: {line}" for name, lines in found.items() for line in lines)
    assert len(said) >= 30


def save(page: Page, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with PIL.Image.open(io.BytesIO(page.screenshot(type="jpeg", quality=90))) as picture:
        picture.thumbnail((640, 640))
        picture.save(path, quality=60, optimize=True)


def document(said: dict[str, str]) -> str:
    """Write docs/states.md."""
    parts = [
        "# States of the page\n\n"
        "What a person may meet on the page, made and judged by `tests/test_page_states.py`: no state breaks a\n"
        "rule of axe, and text is read over any picture. `REACTOR_STATES=1` writes this page and its pictures.\n"
    ]
    parts += [f"\n## {text}\n\n![{text}](images/states/{name}.jpg)\n" for name, text in said.items()]
    return "".join(parts)
