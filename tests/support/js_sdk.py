"""The published JavaScript client, as released, in a page of a real browser.

    async with sdk_page(browser) as page:
        await connect(page, server.url)

`bundle()` installs the packages of `js_clients/package.json` once into tests/.cache, which git ignores, and
bundles an entry with them. The page has an origin of its own, so every call to the server is cross-origin.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from playwright.async_api import Browser, Page

SOURCES = Path(__file__).parents[1] / "js_clients"
CACHE = Path(__file__).parents[1] / ".cache"


def installed() -> Path:
    """Return the folder with the packages, which are installed when their list is another than last time."""
    wanted = (SOURCES / "package.json").read_bytes()
    folder = CACHE / f"js-{hashlib.sha256(wanted).hexdigest()[:12]}"
    if not (folder / "node_modules").is_dir():
        partial = folder.with_name(f"{folder.name}.{os.getpid()}")
        partial.mkdir(parents=True)
        try:
            (partial / "package.json").write_bytes(wanted)
            _run(["npm", "install", "--no-audit", "--no-fund", "--loglevel=error"], partial)
            partial.rename(folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return folder


@cache
def bundle(source: str, loader: str = "jsx") -> str:
    """Bundle a module's text with the packages into one module for a browser."""
    folder = installed()
    return _run(
        [
            str(folder / "node_modules" / "esbuild" / "bin" / "esbuild"),
            "--bundle",
            f"--loader={loader}",
            "--format=esm",
            "--jsx=automatic",
            "--log-level=error",
            '--define:process.env.NODE_ENV="production"',
        ],
        folder,
        source,
    )


def _run(command: list[str], folder: Path, text: str | None = None) -> str:
    done = subprocess.run(command, cwd=folder, input=text, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, f"{' '.join(command)} failed:\n{done.stdout}\n{done.stderr}"
    return done.stdout


@contextmanager
def served(script: str, body: str = "") -> Iterator[str]:
    """Serve a page with a script in it, as a development server does; yield its address."""
    html = (
        f'<!doctype html><meta charset="utf-8"><body>{body}<script type="module" src="/script.js"></script>'
    )

    class Files(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            is_script = self.path == "/script.js"
            self.send_response(200)
            self.send_header("Content-Type", f"text/{'javascript' if is_script else 'html'}; charset=utf-8")
            self.end_headers()
            self.wfile.write((script if is_script else html).encode())

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Files)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        # `localhost`, so that the page may use cameras.
        yield f"http://localhost:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@asynccontextmanager
async def served_page(browser: Browser, script: str, body: str = "") -> AsyncIterator[Page]:
    """Open a page of its own origin with a script in it."""
    with served(script, body) as address:
        page = await browser.new_page()
        try:
            await page.goto(address)
            yield page
        finally:
            await page.close()


@asynccontextmanager
async def sdk_page(browser: Browser) -> AsyncIterator[Page]:
    """Open the tests' page: `client`, `record`, `colour`, `camera`, `renderReact` and the SDK as `sdk`."""
    async with served_page(browser, bundle((SOURCES / "page.jsx").read_text())) as page:
        yield page


async def connect(page: Page, url: str) -> None:
    """Connect as an application does, and wait until pictures are displayed."""
    await page.evaluate("async url => { makeClient(url); await client.connect(); }", url)
    await until_ready(page)
    await shown(page, 5)


async def until_ready(page: Page) -> None:
    await page.wait_for_function("client.getStatus() === 'ready'", timeout=15_000)


async def shown(page: Page, count: int) -> None:
    """Wait for so many more displayed pictures."""
    before: int = await page.evaluate("record.shown")
    await page.wait_for_function(f"record.shown >= {before + count}", timeout=15_000)


async def command(page: Page, name: str, **arguments: object) -> None:
    await page.evaluate("([name, data]) => client.sendCommand(name, data)", [name, arguments])


async def until_colour(page: Page, at: tuple[int, int], wanted: str) -> None:
    """Wait until the displayed colour at a point fulfils an expression of r, g and b."""
    expression = f"(() => {{ const [r, g, b] = colour({at[0]}, {at[1]}); return {wanted}; }})()"
    await page.wait_for_function(expression, timeout=10_000)
