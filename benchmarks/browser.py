"""The product's page in headless Chromium, with the probe that reads stamps off the displayed pictures."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from playwright.async_api import Browser, Page

HERE = Path(__file__).parent
#: Gives the page `window.reactorPage`, by which probes hold on to its parts.
HOOKS = HERE.parent / "tools" / "page" / "hooks.js"


def _module(text: str) -> str:
    return "data:text/javascript;charset=utf-8," + quote(text)


def _probe() -> str:
    stamp = _module((HERE / "stamp.js").read_text())
    return _module((HERE / "probe.js").read_text().replace("STAMP_MODULE", stamp))


class Viewer:
    """One page that watches."""

    def __init__(self, page: Page) -> None:
        self.page = page

    async def call(self, expression: str) -> Any:
        """Evaluate with `probe` in scope and return its JSON value."""
        return await self.page.evaluate(
            f"async () => {{ const probe = window.probe; return await ({expression}); }}"
        )


@asynccontextmanager
async def viewer(browser: Browser, url: str, *, probing: bool = True) -> AsyncIterator[Viewer]:
    """Open the page and wait until it is live."""
    context = await browser.new_context(bypass_csp=True, viewport={"width": 1280, "height": 800})
    page = await context.new_page()
    await page.add_init_script(path=HOOKS)
    try:
        await page.goto(url)
        await page.wait_for_function("window.reactorPage?.state === 'live'", timeout=60_000)
        if probing:
            await page.evaluate(
                "async url => { window.probe = new (await import(url)).Probe(window.reactorPage); }",
                _probe(),
            )
        yield Viewer(page)
    finally:
        await context.close()
