"""After every test nothing of it may be left: threads, descriptors, child processes."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import psutil
import pytest
from support.forked import NURSERY
from support.promise_report import PromiseReport, rows_named
from support.promises import NIGHTLY

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext

# A long form alone takes longer than a test may take of every change: whoever starts one by hand says nothing of that.
if NIGHTLY:
    os.environ.setdefault("PYTEST_TIMEOUT", "3600")

#: What a test started may need a moment to end, so leftovers are looked for until then.
GONE_WITHIN_S = 3.0
#: How long a page may take to show what it is expected to, while other tests have the cores.
PAGE_SHOWS_WITHIN_MS = 15_000


def _descriptors() -> set[str]:
    """Name every open socket, pipe and memory; files and devices that a library keeps are its own affair."""
    found = set()
    for fd in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{fd}")
        except OSError:
            continue
        if target.startswith(("socket:", "pipe:", "/memfd:reactor")) and int(fd) != NURSERY.fd:
            found.add(f"{fd} → {target}")
    return found


def _children() -> set[str]:
    try:
        # Most tests have none, and this is told at once; the whole of /proc takes milliseconds, twice for each test.
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return set()
    found = set()
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # it ended while we looked
            name = child.name()
            # A browser that several tests share begins and ends processes of its own as it likes.
            parent = child.parent()
            if (
                not (parent is not None and name.startswith("chrom") and parent.name().startswith("chrom"))
                and child.pid != NURSERY.pid
            ):
                found.add(f"{child.pid} {name}")
    return found


def _leftovers(threads: set[threading.Thread], fds: set[str], children: set[str]) -> str:
    new_threads = [thread.name for thread in threading.enumerate() if thread not in threads]
    new_fds = sorted(_descriptors() - fds)
    new_children = sorted(_children() - children)
    return "\n".join(
        f"left over {kind}: {', '.join(found)}"
        for kind, found in (("threads", new_threads), ("descriptors", new_fds), ("children", new_children))
        if found
    )


#: These begin first where files are shared out, the longest before the others, so that none is begun at the end; then
#: come those with the most slow tests. Those that mostly wait stand between those that mostly compute.
FIRST: Final = (
    "test_create_reactor_app.py",
    "test_page_turns.py",
    "test_leaving.py",
    "test_drive.py",
    "test_failures.py",
    "test_page_together.py",
    "test_wan_models.py",
    "test_faults.py",
    "test_check.py",
    "test_aiming.py",
    "test_bad_lines.py",
    "test_page_live.py",
    "test_page_vote.py",
    "test_peer_conformance.py",
    "test_firefox.py",
    "test_first_visit.py",
    "test_client_python.py",
    "test_client_js.py",
    "test_clients_together.py",
    "test_cli.py",
    "test_orientation.py",
    "test_replay.py",
    "test_http_attacks.py",
    "test_line_live.py",
    "test_recording.py",
    "test_clips.py",
    "test_worker.py",
    "test_queues.py",
    "test_package.py",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--promises", metavar="FILE", type=Path, help="run the tests of promises and write FILE")
    parser.addoption(
        "--rows", default="", help='"1,4-7": of the promises only these; the page keeps the others'
    )


def pytest_configure(config: pytest.Config) -> None:
    # What a server keeps of its user is not to be that of whoever runs the tests.
    os.environ["XDG_STATE_HOME"] = str(Path(tempfile.gettempdir()) / f"reactor-tests-{os.getuid()}")
    if file := config.getoption("--promises"):
        config.pluginmanager.register(PromiseReport(file, rows_named(config.getoption("--rows"))))
    config.addinivalue_line("markers", "keeps_resources: an engine of the process's own outlives this test")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if hasattr(config, "workerinput"):
        place = {name: number for number, name in enumerate(FIRST)}
        slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
        items.sort(key=lambda item: (place.get(item.path.name, len(FIRST)), -slow[item.path]))
    if any(item.get_closest_marker("browser") for item in items):
        from playwright import async_api, sync_api

        for expect in (async_api.expect, sync_api.expect):
            expect.set_options(timeout=PAGE_SHOWS_WITHIN_MS)


@pytest.fixture(scope="session")
def node() -> Iterator[None]:
    """What `support.page_modules.run` asks."""
    from support import page_modules

    with page_modules.node():
        yield


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium without the event loop, one for a file; it keeps processes of its own between tests."""
    from playwright.sync_api import sync_playwright
    from support.chromium import ARGUMENTS, CHROMIUM

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        yield chromium
        chromium.close()


@pytest.fixture
def new_context(browser: Browser) -> Iterator[Callable[..., BrowserContext]]:
    """Make contexts of the browser, as `Browser.new_context` does, that close with the test."""
    made: list[BrowserContext] = []

    def make(**options: Any) -> BrowserContext:
        made.append(browser.new_context(**options))
        return made[-1]

    yield make
    for context in made:
        context.close()


@pytest.fixture(autouse=True)
def leaves_nothing_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves a thread, a descriptor or a process. Marked `keeps_resources`: not checked."""
    before = set(threading.enumerate()), _descriptors(), _children()
    yield
    if request.node.get_closest_marker("keeps_resources") is not None:
        return
    deadline_s = time.monotonic() + GONE_WITHIN_S
    while (left := _leftovers(*before)) and time.monotonic() < deadline_s:
        gc.collect()
        time.sleep(0.01)
    if left:
        pytest.fail(left)


@pytest.fixture
def hasty_threads() -> Iterator[None]:
    """Let the interpreter switch threads as often as it can, for tests of what crosses threads."""
    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval_s)
