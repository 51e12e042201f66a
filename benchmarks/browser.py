"""The product's page in headless Chromium, with the probe that reads stamps off the displayed pictures."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from net.watched import install_probe
from playwright.async_api import Browser, Page
from support.chromium import HOOKS


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
            await install_probe(page)
        yield Viewer(page)
    finally:
        await context.close()
