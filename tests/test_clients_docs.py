"""docs/clients.md says what is so: its programs run as printed, and its matrix names tests that exist."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import AsyncIterator, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from playwright.async_api import Browser, Page
from support.chromium import chromium
from support.client_model import LEFT, RIGHT, write_client_model
from support.js_sdk import bundle, served_page, until_colour
from support.server import ReactorRun, running
from test_docs import BLOCK, ROOT

PAGE = (ROOT / "docs" / "clients.md").read_text(encoding="utf-8")
PROGRAMS = {match["name"]: match["text"] for match in BLOCK.finditer(PAGE)}
PLAIN = ROOT / "examples" / "plain_client.html"
DEFAULT_URL = "http://localhost:8080"
#: Reads a colour of what a page displays; see `until_colour`.
COLOUR = """void (window.colour = (x, y) => {
    const canvas = new OffscreenCanvas(320, 240), context = canvas.getContext("2d");
    context.drawImage(document.querySelector("video"), 0, 0, 320, 240);
    return Array.from(context.getImageData(x, y, 1, 1).data.slice(0, 3));
})"""


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReactorRun]:
    with running(write_client_model(tmp_path_factory.mktemp("model")), "--orphan-s", "1") as run:
        yield run


@pytest.fixture
def server(shared: ReactorRun) -> Iterator[ReactorRun]:
    """The module's server, with nobody on it."""
    shared.wait_for_state("ready")
    yield shared
    shared.wait_for_state("ready")


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def examples() -> Iterator[str]:
    """The examples as `python -m http.server` serves them."""
    files = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(PLAIN.parent)))
    thread = Thread(target=files.serve_forever, args=(0.02,))
    thread.start()
    yield f"http://localhost:{files.server_port}"
    files.shutdown()
    files.server_close()
    thread.join()


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as made:
        yield made


def test_every_test_that_the_matrix_names_exists() -> None:
    matrix = PAGE[PAGE.index("<!-- matrix: begin -->") :]
    named = set(re.findall(r"`(test_\w+)`", matrix))
    assert len(named) > 35
    tests = "\n".join(file.read_text(encoding="utf-8") for file in (ROOT / "tests").glob("test_*.py"))
    missing = [name for name in sorted(named) if not re.search(rf"def {name}\(", tests)]
    assert not missing


def test_a_column_of_the_matrix_names_tests_of_its_own_client() -> None:
    files = [
        (ROOT / "tests" / f"test_client_{name}.py").read_text(encoding="utf-8")
        + (ROOT / "tests" / "test_clients_together.py").read_text(encoding="utf-8")
        for name in ("python", "js", "js_wire")
    ]
    matrix = PAGE[PAGE.index("<!-- matrix: begin -->") : PAGE.index("<!-- matrix: end -->")]
    rows = [line.strip("| ").split(" | ") for line in matrix.splitlines() if line.startswith("| ")][1:]
    assert len(rows) >= 18
    for row in rows:
        for cell, tests in zip(row[1:], files, strict=True):
            for name in re.findall(r"`(test_\w+)`", cell):
                assert f"def {name}(" in tests, (row[0], name)


def test_the_example_without_an_sdk_is_printed_as_it_is_and_has_forty_lines() -> None:
    assert PROGRAMS["plain_client.html"] == PLAIN.read_text(encoding="utf-8")
    assert len(PROGRAMS["plain_client.html"].splitlines()) == 40


@pytest.mark.slow
@pytest.mark.browser
async def test_the_example_without_an_sdk_shows_frames_and_sends_commands(
    server: ReactorRun, browser: Browser, examples: str
) -> None:
    page = await browser.new_page()
    await page.goto(f"{examples}/{PLAIN.name}?server={server.url}")
    await page.evaluate(COLOUR)
    await until_colour(page, RIGHT, "b > 160")
    await page.locator("input[name=command]").fill("paint")
    await page.locator("input[name=data]").fill('{"red": 220}')
    await page.get_by_role("button").click()
    await until_colour(page, LEFT, "r > 190")
    said = await page.locator("pre").inner_text()
    assert '"accepted":true' in said.replace(" ", "")
    await page.goto("about:blank")
    await asyncio.to_thread(server.wait_for_state, "ready", within_s=5)
    await page.close()


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.parametrize("name", ["client.js", "client.jsx"])
async def test_the_printed_javascript_runs(server: ReactorRun, browser: Browser, name: str) -> None:
    assert DEFAULT_URL in PROGRAMS[name]
    program = PROGRAMS[name].replace(DEFAULT_URL, server.url)
    body = '<div id="app"></div>' if name.endswith("x") else "<video autoplay muted playsinline></video>"
    async with served_page(browser, bundle(program), body) as page:
        await page.evaluate(COLOUR)
        if name.endswith("x"):
            await ready_button(page)
        await until_colour(page, LEFT, "r > 190")
        await page.goto("about:blank")
    await asyncio.to_thread(server.wait_for_state, "ready", within_s=40)


async def ready_button(page: Page) -> None:
    """Press the example's button, which says the state."""
    await page.get_by_role("button", name="ready").click()


@pytest.mark.slow
async def test_the_printed_python_runs(server: ReactorRun, tmp_path: Path) -> None:
    program = tmp_path / "client.py"
    assert DEFAULT_URL in PROGRAMS["client.py"]
    program.write_text(PROGRAMS["client.py"].replace(DEFAULT_URL, server.url))
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(program), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await asyncio.wait_for(process.communicate(), 30)
    lines = output.decode().splitlines()
    assert process.returncode == 0, lines
    assert lines[0] == "None"
    assert lines[1].startswith("invalid_command ")
    assert "red: should be less than or equal to 255" in lines[1]
    assert int(lines[2].removesuffix(" frames")) >= 30
