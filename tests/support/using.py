"""What people do on the page in real Chromium, whatever stands between it and the server.

await use(page, ("paint", {"red": 200}), "show")      # see, command, be answered, upload, reload, see again
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from playwright.async_api import Page

LIVE_S = 30

_COMMAND = "async ([name, args]) => (await reactorPage.sendCommand(name, args)).receipt"
_UPLOAD = """async (command) => {
  const canvas = new OffscreenCanvas(33, 22);
  canvas.getContext("2d").fillRect(0, 0, 9, 9);
  const picture = await reactorPage.upload(await canvas.convertToBlob(), "a.png");
  return (await reactorPage.sendCommand(command, { picture })).receipt;
}"""


async def use(watcher: Page, command: tuple[str, Mapping[str, Any]], shows: str) -> Any:
    """Do it on a page with hooks; return the receipt of the command that took the uploaded picture."""
    await until_state(watcher, "live")
    said = await watcher.evaluate(_COMMAND, list(command))
    assert said["accepted"], said
    shown = await watcher.evaluate(_UPLOAD, shows)
    assert shown["accepted"], shown
    await watcher.reload()
    await until_state(watcher, "live")
    return shown


async def until_state(watcher: Page, state: str, *, within_s: float = LIVE_S) -> None:
    async with asyncio.timeout(within_s):
        while (now := await watcher.evaluate("window.reactorPage?.state")) != state:
            assert now not in ("ended", "locked", "failed"), await watcher.inner_text("body")
            await asyncio.sleep(0.02)
