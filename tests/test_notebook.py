"""The page behind a real jupyter-server with jupyter-server-proxy, which pass HTTP and WebSockets alone.

Not among the packages for development, because it brings forty of its own: `pip install -e '.[notebook]'`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import httpx
import pytest
from support.chromium import HOOKS, chromium
from support.client_model import write_client_model
from support.proxies import free_port
from support.server import running
from support.using import until_state, use

pytestmark = [pytest.mark.slow, pytest.mark.browser]

ROOT = Path(__file__).parents[1]
TOKEN = "of-the-notebook"
UP_S = 30.0


@contextmanager
def jupyter(folder: Path) -> Iterator[str]:
    """Run a notebook server with nothing of this machine's user; yield its address."""
    port = free_port()
    places = {f"JUPYTER_{place}_DIR": str(folder / place) for place in ("CONFIG", "DATA", "RUNTIME")}
    command = [sys.executable, "-m", "jupyter_server", "--no-browser", "--allow-root", f"--port={port}"]
    command += [
        "--ServerApp.port_retries=0",
        f"--IdentityProvider.token={TOKEN}",
        f"--ServerApp.root_dir={folder}",
    ]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            command, env={**os.environ, **places, "HOME": str(folder)}, stdout=log, stderr=subprocess.STDOUT
        )
    try:
        url, deadline_s = f"http://127.0.0.1:{port}", time.monotonic() + UP_S
        while True:
            try:
                httpx.get(f"{url}/api", timeout=5)
                break
            except httpx.HTTPError:
                assert process.poll() is None, (folder / "log").read_text()
                assert time.monotonic() < deadline_s, "jupyter-server did not listen"
                time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait(10)


@pytest.mark.skipif(find_spec("jupyter_server_proxy") is None, reason="needs: pip install -e '.[notebook]'")
async def test_the_page_is_used_through_a_notebooks_proxy(tmp_path: Path) -> None:
    folder = tmp_path / "notebook"
    folder.mkdir()
    with running(write_client_model(tmp_path / "model")) as run, jupyter(folder) as url:
        port = run.url.rpartition(":")[2]
        async with chromium() as browser:
            page = await browser.new_page()
            await page.add_init_script(path=HOOKS)
            await page.goto(f"{url}/proxy/{port}/?token={TOKEN}&link=websocket")
            await use(page, ("paint", {"red": 200}), "show")
            await page.wait_for_function("() => reactorPage.stats.rung === 'websocket'")
            assert await page.evaluate("document.querySelector('video').videoWidth") == 320


@pytest.mark.skipif(not os.environ.get("REACTOR_SCREENSHOTS"), reason="writes a picture of the documents")
async def test_the_documents_show_the_page_in_a_notebooks_proxy(tmp_path: Path) -> None:
    folder = tmp_path / "notebook"
    folder.mkdir()
    with running(ROOT / "examples" / "drive") as run, jupyter(folder) as url:
        port = run.url.rpartition(":")[2]
        async with chromium() as browser:
            page = await browser.new_page(viewport={"width": 1280, "height": 800})
            await page.add_init_script(path=HOOKS)
            await page.goto(f"{url}/proxy/{port}/?token={TOKEN}&link=websocket")
            await until_state(page, "live")
            await page.get_by_test_id("stats").click()
            await page.wait_for_timeout(4000)
            await page.screenshot(path=ROOT / "docs" / "images" / "notebook.jpg", quality=80)
