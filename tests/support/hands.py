"""Hands on the page: fingers that stay where they are put, and where things are on the screen.

fingers = Fingers(page)
fingers.put("left", *middle(page, thumb("A")))
fingers.lift("left")
"""

from __future__ import annotations

from playwright.sync_api import CDPSession, Page


class Fingers:
    """Fingers on the screen, each by a name."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.wire: CDPSession = page.context.new_cdp_session(page)
        self.down: dict[str, dict[str, float]] = {}

    def put(self, name: str, x: float, y: float) -> None:
        """Put a finger down, or slide it."""
        kind = "touchMove" if name in self.down else "touchStart"
        number = (
            self.down[name]["id"]
            if name in self.down
            else max((p["id"] for p in self.down.values()), default=0) + 1
        )
        self.down[name] = {"x": x, "y": y, "id": number}
        self._send(kind)

    def lift(self, name: str) -> None:
        del self.down[name]
        self._send("touchEnd")

    def _send(self, kind: str) -> None:
        self.wire.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": list(self.down.values())})


def middle(page: Page, selector: str) -> tuple[float, float]:
    x, y, width, height = box(page, selector)
    return x + width / 2, y + height / 2


def box(page: Page, selector: str) -> tuple[float, float, float, float]:
    """Left, top, width and height on the screen."""
    found = page.locator(selector).bounding_box()
    assert found is not None, selector
    return found["x"], found["y"], found["width"], found["height"]


def thumb(letter: str) -> str:
    """The place of a letter on a thumb's pad."""
    return f"[data-testid='thumb-control.keyboard_key-{letter}']"
