"""The page on a desk: a server with a command of every kind, a browser, and what brings the page into its states.

desk = Desk(browser, server)
desk.live()
desk.press("record")
desk.see("record-time", "0:01")
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import PIL.Image
from playwright.sync_api import Browser, Page, Route

from .page_waits import expect, until_state
from .server import ReactorRun

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

        fps = 10

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

    def __init__(self, browser: Browser, server: ReactorRun, disk: Path) -> None:
        self.browser, self.server, self.disk = browser, server, disk
        self.page = self.visitor()

    def visitor(self, size: tuple[int, int] = DESKTOP, *, touch: bool = False) -> Page:
        context = self.browser.new_context(
            viewport={"width": size[0], "height": size[1]},
            has_touch=touch,
            is_mobile=touch,
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
        until_state(self.page, state)

    def press(self, name: str) -> None:
        self.page.get_by_test_id(name).click()

    def hurry(self) -> None:
        """Try now, where the page waits for its next try."""
        self.page.evaluate("() => { const { hidden } = start; if (!hidden) start.click(); }")

    def see(self, name: str, text: str) -> None:
        expect(self.page.get_by_test_id(name)).to_contain_text(text, timeout=15_000)

    @contextmanager
    def in_hands(self, size: tuple[int, int]) -> Iterator[None]:
        """Look at the page of a visitor with a screen to touch."""
        before = self.page
        self.page = self.visitor(size, touch=True)
        try:
            yield
        finally:
            self.page.context.close()
            self.page = before

    def notice(self) -> str:
        return self.page.get_by_test_id("notice-problem").inner_text()

    def size(self, size: tuple[int, int]) -> None:
        self.page.set_viewport_size({"width": size[0], "height": size[1]})
        self.page.wait_for_timeout(100)  # bar and panel find their places, without motion

    @contextmanager
    def answering(self, path: str, answer: Callable[[Route], Any]) -> Iterator[None]:
        """Let a fault of the server's be what the page gets, and the page open afresh."""
        # The page says which session it was in.
        asked = re.compile(rf"/{path}(\?.*)?$")
        self.page.route(asked, answer)
        # Nor does it ask where the answer comes in the page itself.
        self.page.route(f"{self.server.url}/", without_overview)
        self.page.goto(self.server.url)
        try:
            yield
        finally:
            self.page.unroute(asked)
            self.page.unroute(f"{self.server.url}/")

    def overview(self, **health: object) -> Callable[[Route], None]:
        schema = self.server.get("/schema").json()
        body = {
            "health": {"status": "unhealthy", **health},
            "session": {},
            "schema": schema,
            "ice_servers": [],
        }
        return lambda route: route.fulfill(json=body)


def without_overview(route: Route) -> None:
    """Answer with the page alone, so that it asks for its overview."""
    # Loading the authorities takes a client 30 ms, which plain HTTP has no use for.
    answer = httpx.get(route.request.url, headers={"Accept-Encoding": "identity"}, verify=False)
    bare = re.sub(r'(<script id="overview"[^>]*>).*?(</script>)', r"\1\2", answer.text, flags=re.S)
    route.fulfill(body=bare, headers={"Content-Type": "text/html; charset=utf-8"})


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
