"""A real `reactor run` at one end of a bad network and a real browser at the other.

async with over_there(net, folder) as run:                       # in the namespace "server"
    async with chromium(executable=net.wrapper("client", CHROMIUM)) as browser, page(browser, run.url) as watcher:
        assert await rung(watcher) == "udp"
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from playwright.async_api import Browser, Page
from support.chromium import HOOKS
from support.server import REACTOR, ReactorRun, running
from support.using import until_state

from .relay import ADDRESSES, Network

#: Run in the server's namespace: end what session there is, and wait until the model is ready for the next.
_END = """
import json, sys, time, urllib.error, urllib.request as http
try:
    http.urlopen(http.Request(sys.argv[1] + "/stop_session", b"{}", {"Content-Type": "application/json"}))
except urllib.error.HTTPError:
    pass
while json.load(http.urlopen(sys.argv[1] + "/session"))["state"] != "ready":
    time.sleep(0.03)
"""
_RUNG = """async () => {
  const all = await window.reactorPage.peer.getStats();
  for (const each of all.values()) {
    if (each.type !== "transport" || !each.selectedCandidatePairId) continue;
    return all.get(all.get(each.selectedCandidatePairId).localCandidateId).protocol;
  }
}"""


@asynccontextmanager
async def over_there(
    net: Network, model: Path, *flags: str, host: str = "0.0.0.0", program: Path = REACTOR
) -> AsyncIterator[ReactorRun]:
    """Serve a model in the server's namespace; `url` is its address there. `program` is called as `reactor` is."""
    options = () if host == "127.0.0.1" else ("--allow-public",)
    made = running(model, "--host", host, *options, *flags, command=net.wrapper("server", program))
    run = await asyncio.to_thread(made.__enter__)
    try:
        if host != "127.0.0.1":
            run.url = f"http://{ADDRESSES['server']}:{run.url.rpartition(':')[2]}"
        yield run
    finally:
        await asyncio.to_thread(made.__exit__, None, None, None)


@asynccontextmanager
async def page(browser: Browser, url: str, *, until: str = "live") -> AsyncIterator[Page]:
    """Open the control page and wait for a state of it."""
    context = await browser.new_context(bypass_csp=True)
    opened = await context.new_page()
    await opened.add_init_script(path=HOOKS)
    try:
        await opened.goto(url)
        await until_state(opened, until)
        yield opened
    finally:
        await context.close()


def near(run: ReactorRun) -> str:
    """Return a server's address on its own side of the line."""
    return f"http://127.0.0.1:{run.url.rpartition(':')[2]}"


def metrics(net: Network, run: ReactorRun) -> str:
    """Return what a server counts."""
    code = "import sys, urllib.request as http; print(http.urlopen(sys.argv[1]).read().decode())"
    return _over_there(net, code, near(run) + "/metrics")


def end_session(net: Network, run: ReactorRun) -> None:
    """End the session that runs, if any, and wait until the model is ready for the next."""
    _over_there(net, _END, near(run))


def _over_there(net: Network, code: str, *arguments: str) -> str:
    command = net.command("server", sys.executable, "-c", code, *arguments)
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=20).stdout


async def rung(opened: Page) -> str:
    """Return what carries the video: "udp" or "tcp"."""
    found: str = await opened.evaluate(_RUNG)
    return found
