"""create-reactor-app as people get it: packed, run by npx, installed, built, and played in a real browser.

    npm ci, npm pack ─▶ tarball ─▶ npx, offline ─▶ a project per template ─▶ typecheck, build
                                                       └─ one `npm install` serves all three ─▶ Chromium ⇄ `reactor run`

The packages come from the registry through npm's and pnpm's own caches. With REACTOR_SCREENSHOTS=1 the pictures
of the templates in docs/images are taken anew.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import pty
import re
import select
import shutil
import signal
import socket
import subprocess
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from playwright.sync_api import Browser, FilePayload, Page, expect
from support.server import ReactorRun, running, write_model

pytestmark = [pytest.mark.browser, pytest.mark.slow]

ROOT = Path(__file__).parents[1]
TESTCARD = ROOT / "examples" / "testcard"
# The guide's two models over pipelines that need no GPU.
LONGLIVE = ROOT / "tests" / "page_models" / "longlive"
MATRIX = ROOT / "tests" / "page_models" / "matrix"
PACKAGE = ROOT / "create-reactor-app"
TEMPLATES = ("dynamic", "longlive", "matrix")
ESC, CTRL_C, ENTER, DOWN = "\x1b", "\x03", "\r", "\x1b[B"
ANSI = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")

#: Nothing answers here: what gets through without a registry needs none.
OFFLINE = {"npm_config_offline": "true", "npm_config_registry": "http://127.0.0.1:9"}

Pixels = npt.NDArray[np.int16]


def call(*command: str, cwd: Path, env: dict[str, str] | None = None, within_s: float = 100) -> str:
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, "NO_COLOR": "1", **(env or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=within_s,
    )
    assert done.returncode == 0, f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}"
    return done.stdout


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for_port(port: int, within_s: float = 30) -> None:
    deadline_s = time.monotonic() + within_s
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        assert time.monotonic() < deadline_s, f"nothing listens on {port}"
        time.sleep(0.05)


# The package ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package in a copy with its libraries, so that the working tree gets no node_modules from a test."""
    copy = tmp_path_factory.mktemp("package") / "create-reactor-app"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("node_modules", "*.tgz"))
    call("npm", "ci", "--prefer-offline", "--no-audit", "--no-fund", cwd=copy)
    return copy


@pytest.fixture(scope="module")
def tarball(package: Path) -> Path:
    call("npm", "pack", cwd=package)
    (packed,) = package.glob("create-reactor-app-*.tgz")
    return packed


@pytest.fixture(scope="module")
def unpacked(tarball: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The command that npx runs, without npx."""
    folder = tmp_path_factory.mktemp("unpacked")
    call("tar", "xf", str(tarball), cwd=folder)
    return ["node", str(folder / "package" / "bin" / "create-reactor-app.js")]


def npx(tarball: Path) -> list[str]:
    return ["npx", "--yes", f"file:{tarball}"]


@pytest.fixture(scope="module")
def projects(tarball: Path, unpacked: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a project per template, made offline with an empty npm cache, under one node_modules."""
    folder = tmp_path_factory.mktemp("projects")
    env = {**OFFLINE, "npm_config_cache": str(tmp_path_factory.mktemp("empty-cache"))}
    # The first by npx, which takes longer than the command itself.
    for template, command in zip(TEMPLATES, (npx(tarball), unpacked, unpacked), strict=True):
        call(*command, template, "--template", template, "--no-install", cwd=folder, env=env)
    shutil.copy(folder / "dynamic" / "package.json", folder / "package.json")
    call("npm", "install", "--prefer-offline", "--no-audit", "--no-fund", cwd=folder)
    return folder


def test_the_packages_own_tests_and_types_pass(package: Path) -> None:
    call("npm", "run", "typecheck", cwd=package)
    # Node 20 says "# fail 0", Node 24 "ℹ fail 0".
    assert re.search(r"^\S fail 0$", call("npm", "test", cwd=package), re.MULTILINE)


def test_no_lock_file_and_no_template_names_a_registry() -> None:
    files = [path for path in PACKAGE.rglob("*") if path.is_file() and "node_modules" not in path.parts]
    assert PACKAGE / "package-lock.json" in files
    for path in files:
        if path.suffix != ".svg":
            assert not re.search(r'npmjs|registry\.\w+\.|"resolved"', path.read_text(encoding="utf-8")), path


@pytest.mark.parametrize("template", TEMPLATES)
def test_the_packed_tarball_makes_a_template_offline(projects: Path, template: str) -> None:
    project = projects / template
    manifest = json.loads((project / "package.json").read_text())
    assert manifest["name"] == template
    assert manifest["dependencies"]["@reactor-team/js-sdk"] == "2.9.0"
    # One install serves all three, so they must need the same.
    assert manifest == json.loads((projects / "package.json").read_text()) | {"name": template}
    assert (project / ".env").read_text().count("VITE_REACTOR_URL=http://localhost:8080") == 1
    assert "node_modules" in (project / ".gitignore").read_text()
    assert not list(project.rglob("_*"))
    shown = re.findall(r"`(src/[\w.]+)`", (project / "README.md").read_text())
    assert len(shown) > 5
    assert [name for name in shown if not (project / name).is_file()] == []
    assert json.loads((project / "package.json").read_text())["scripts"]["build"].startswith("tsc && ")
    assert list(build_of(project).glob("assets/*.js"))


def test_a_folder_with_something_in_it_is_refused(unpacked: list[str], tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "work.txt").write_text("of years")
    (tmp_path / "test-app").write_text("a file")
    for arguments, says in (
        (["mine", "--yes"], 'The folder "mine" exists and is not empty.'),
        (["--yes"], '"test-app" exists and is not a folder.'),
        (["Not Valid", "--yes"], "cannot be a package"),
    ):
        done = subprocess.run(
            [*unpacked, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=60
        )
        assert (done.returncode, says in done.stdout + done.stderr) == (1, True), done.stdout + done.stderr
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["work.txt"]


def test_without_a_terminal_it_says_which_flags_are_missing(unpacked: list[str], tmp_path: Path) -> None:
    done = subprocess.run(
        [*unpacked, "name"],
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert "--template" in done.stdout
    assert list(tmp_path.iterdir()) == []


# The conversation -------------------------------------------------------------------------------------


class Terminal:
    """A command on a terminal of its own; what it shows is `text`, without colours."""

    def __init__(self, command: list[str], cwd: Path, env: dict[str, str]) -> None:
        self._fd, theirs = pty.openpty()
        termios.tcsetwinsize(theirs, (30, 100))
        try:
            self.process = subprocess.Popen(
                ["setsid", "--ctty", *command],
                cwd=cwd,
                env={**os.environ, "TERM": "xterm-256color", "npm_config_progress": "false", **env},
                stdin=theirs,
                stdout=theirs,
                stderr=theirs,
            )
        finally:
            os.close(theirs)
        self.text = ""

    def wait_for(self, shown: str, within_s: float = 30) -> None:
        self._read_until(lambda: shown in self.text, f'"{shown}"', within_s)

    def type(self, keys: str) -> None:
        os.write(self._fd, keys.encode())

    def end(self, within_s: float = 30) -> int:
        """Wait for the exit status."""
        self._read_until(lambda: self.process.poll() is not None, "the end", within_s)
        return self.process.wait()

    def close(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        os.close(self._fd)

    def _read_until(self, done: Callable[[], bool], what: str, within_s: float) -> None:
        deadline_s = time.monotonic() + within_s
        while not done():
            assert time.monotonic() < deadline_s, f"{what} did not come:\n{self.text}"
            if not select.select([self._fd], [], [], 0.05)[0]:
                continue
            try:
                read = os.read(self._fd, 65536)
            except OSError:  # Linux's word for: nobody has the terminal open any more
                self.process.wait(within_s)
                continue
            self.text += ANSI.sub("", read.decode(errors="replace"))


@contextmanager
def conversation(command: list[str], cwd: Path, *arguments: str, **env: str) -> Iterator[Terminal]:
    terminal = Terminal([*command, *arguments], cwd, env)
    try:
        yield terminal
    finally:
        terminal.close()


def test_only_what_is_missing_is_asked(unpacked: list[str], tmp_path: Path) -> None:
    with conversation(unpacked, tmp_path, "--no-install") as terminal:
        terminal.wait_for("What is the project called?")
        terminal.wait_for("test-app")
        terminal.type("My App" + ENTER)
        terminal.wait_for("cannot be a package")
        terminal.type("\x7f" * 6 + "my-app" + ENTER)
        terminal.wait_for("Which template?")
        terminal.type(DOWN + ENTER)
        assert terminal.end() == 0
        for step in ("cd my-app", "install", "run dev"):
            assert step in terminal.text
    assert "LongLive" in (tmp_path / "my-app" / "src" / "App.tsx").read_text()

    with conversation(unpacked, tmp_path, "other", "--no-install") as terminal:
        terminal.wait_for("Which template?")
        assert "called" not in terminal.text
        terminal.type(ENTER)
        assert terminal.end() == 0

    with conversation(unpacked, tmp_path, "-t", "matrix", "--no-install") as terminal:
        terminal.wait_for("What is the project called?")
        terminal.type(ENTER)
        assert terminal.end() == 0
        assert "Which template?" not in terminal.text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["my-app", "other", "test-app"]


@pytest.mark.parametrize("key", [ESC, CTRL_C], ids=["Esc", "Ctrl-C"])
@pytest.mark.parametrize("question", ["What is the project called?", "Which template?"])
def test_a_cancelled_conversation_leaves_nothing(
    unpacked: list[str], tmp_path: Path, question: str, key: str
) -> None:
    with conversation(unpacked, tmp_path) as terminal:
        terminal.wait_for("What is the project called?")
        if question != "What is the project called?":
            terminal.type(ENTER)
            terminal.wait_for(question)
        terminal.type(key)
        assert terminal.end() == 130
        assert "Cancelled. Nothing was left behind." in terminal.text
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_while_the_packages_are_installed_takes_the_project_back(
    tarball: Path, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # a registry that never answers
        env = {
            "npm_config_registry": f"http://127.0.0.1:{silent.getsockname()[1]}",
            "npm_config_cache": str(tmp_path / "cache"),
        }
        work = tmp_path / "work"
        work.mkdir()
        with conversation(npx(tarball), work, "--yes", "-p", "npm", **env) as terminal:
            terminal.wait_for("Installing the packages with npm")
            assert select.select([silent], [], [], 30)[0], terminal.text
            assert (work / "test-app" / "package.json").exists()
            terminal.type(CTRL_C)
            assert terminal.end() != 0
            assert "Cancelled. Nothing was left behind." in terminal.text
        assert list(work.iterdir()) == []


# In the browser ---------------------------------------------------------------------------------------


#: The browser that the tests share keeps processes of its own between them.
in_browser = pytest.mark.keeps_resources


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


#: Stands in a build for the runtime's address, which Vite writes into it as text: one build serves every test.
SOMEWHERE = "http://runtime.invalid"


@cache
def build_of(project: Path) -> Path:
    """Check the types and build."""
    call("npm", "run", "build", cwd=project, env={"VITE_REACTOR_URL": SOMEWHERE})
    return project / "dist"


@contextmanager
def built(project: Path, url: str) -> Iterator[str]:
    """Serve the built project, for a runtime at `url`; any web server can."""
    with TemporaryDirectory() as folder:
        shutil.copytree(build_of(project), folder, dirs_exist_ok=True)
        scripts = {path: path.read_text() for path in Path(folder).rglob("*.js")}
        assert any(SOMEWHERE in text for text in scripts.values())
        for path, text in scripts.items():
            path.write_text(text.replace(SOMEWHERE, url))
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder))
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/"
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


@contextmanager
def opened(browser: Browser, address: str, *, phone: bool = False) -> Iterator[Page]:
    """Open the address; an exception that nothing caught in the page fails the test."""
    context = browser.new_context(
        viewport={"width": 390, "height": 844} if phone else {"width": 1280, "height": 800},
        has_touch=phone,
        is_mobile=phone,
        color_scheme="light" if phone else "dark",
    )
    page = context.new_page()
    thrown: list[str] = []
    page.on("pageerror", lambda error: thrown.append(str(error)))
    page.goto(address)
    try:
        yield page
    finally:
        # As a person closes a tab: the browser stays, and sends what the page says at its end.
        with page.expect_event("close"):
            page.close(run_before_unload=True)
    assert thrown == []


def shown(page: Page) -> None:
    expect(page.locator('.stage[data-shown="true"]')).to_be_visible()


def pixels(page: Page) -> Pixels:
    """The picture in the video element, 16 × 12."""
    values = page.evaluate(
        """() => {
          const context = new OffscreenCanvas(16, 12).getContext('2d');
          context.drawImage(document.querySelector('.picture video'), 0, 0, 16, 12);
          return Array.from(context.getImageData(0, 0, 16, 12).data);
        }"""
    )
    return np.array(values, np.int16).reshape(12, 16, 4)[..., :3]


def difference(a: Pixels, b: Pixels) -> float:
    """Mean absolute difference, 0..255."""
    return float(np.abs(a - b).mean())


def changes(page: Page, act: Callable[[], object], *, least: float = 25, within_s: float = 15) -> None:
    """Do something and see the picture change by far more than it does by itself."""
    deadline_s = time.monotonic() + within_s
    before = pixels(page)
    while True:
        page.wait_for_timeout(400)  # the time in which it must not change by itself
        last, before = before, pixels(page)
        if (moved := difference(last, before)) < least / 2:
            break
        assert time.monotonic() < deadline_s, f"the picture never rests; it moved by {moved:.0f}"
    act()
    while (seen := difference(before, pixels(page))) < least:
        assert time.monotonic() < deadline_s, f"the picture changed by {seen:.0f} only"
        page.wait_for_timeout(50)


def take_pictures(page: Page, name: str) -> None:
    """Keep what the page looks like for docs/images, if asked to."""
    if os.environ.get("REACTOR_SCREENSHOTS") != "1":
        return
    expect(page.locator(".picture")).to_have_css("opacity", "1")
    expect(page.locator(".fps")).to_be_attached()
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    for width in (960, 800, 640):
        picture.thumbnail((width, 900), Image.Resampling.LANCZOS)
        # An octree keeps a colour that few pixels have, as the accent is; dithering keeps the gradients.
        palette = picture.quantize(256, method=Image.Quantize.FASTOCTREE)
        small = io.BytesIO()
        picture.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG).save(
            small, "PNG", optimize=True
        )
        if small.tell() <= 150_000:
            break
    folder = ROOT / "docs" / "images"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"template-{name}.png").write_bytes(small.getvalue())


@pytest.fixture(scope="module")
def one_testcard() -> Iterator[ReactorRun]:
    with running(TESTCARD) as run:
        yield run


@pytest.fixture
def testcard(one_testcard: ReactorRun) -> ReactorRun:
    """The module's, with nobody on it."""
    one_testcard.end_session()
    return one_testcard


@in_browser
def test_dynamic_makes_controls_that_change_the_picture(
    projects: Path, browser: Browser, testcard: ReactorRun
) -> None:
    with built(projects / "dynamic", testcard.url) as address:
        with opened(browser, address) as page:
            shown(page)
            take_pictures(page, "dynamic")
            expect(page.get_by_role("heading", name="testcard")).to_be_visible()
            changes(page, page.get_by_role("button", name="ember").click)

            speed = page.get_by_role("slider", name="Speed")
            expect(speed).to_have_attribute("max", "4")
            speed.fill("0")
            text = page.get_by_role("form", name="Text").get_by_role("textbox")
            expect(text).to_have_attribute("maxlength", "40")

            # A nested object, then an upload: a white picture in the corner.
            look = page.get_by_role("form", name="Look")
            look.get_by_role("slider", name="Radius").fill("120")
            look.get_by_role("button", name="Send").click()
            page.get_by_role("button", name="Status").click()
            expect(page.get_by_role("region", name="Messages")).to_contain_text('"palette":"ember"')
            white = io.BytesIO()
            Image.new("RGB", (160, 120), "white").save(white, "PNG")
            form = page.get_by_role("form", name="Picture")
            form.locator("input[type=file]").set_input_files(
                {"name": "white.png", "mimeType": "image/png", "buffer": white.getvalue()}
            )
            changes(page, form.get_by_role("button", name="Send").click, least=4)
            bars = page.get_by_role("form", name="Bars")
            bars.get_by_role("textbox").fill("nonsense")
            bars.get_by_role("button", name="Send").click()
            expect(bars.get_by_role("alert")).to_contain_text("not JSON")

        with opened(browser, address, phone=True) as page:
            shown(page)
            take_pictures(page, "dynamic-phone")
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@in_browser
def test_dynamic_sends_the_camera_to_a_model_that_takes_one(
    projects: Path, browser: Browser, testcard: ReactorRun
) -> None:
    with built(projects / "dynamic", testcard.url) as address, opened(browser, address) as page:
        shown(page)
        page.get_by_role("button", name="Camera").click()
        status = page.get_by_role("button", name="Status")
        messages = page.get_by_role("region", name="Messages")
        deadline_s = time.monotonic() + 15
        while True:
            status.click()
            page.wait_for_timeout(200)
            if '"camera":true' in (messages.text_content() or ""):
                break
            assert time.monotonic() < deadline_s, messages.text_content()


@in_browser
def test_longlive_takes_prompts_while_it_plays_by_keyboard_alone(projects: Path, browser: Browser) -> None:
    with running(LONGLIVE) as run, built(projects / "longlive", run.url) as address:
        with opened(browser, address) as page:
            shown(page)
            tab_to(page, "Prompt")
            page.keyboard.type("snow at night")
            changes(page, lambda: page.keyboard.press("Enter"))
            page.keyboard.type("neon")
            changes(page, lambda: page.keyboard.press("Enter"))
            history = page.get_by_role("complementary", name="Prompt history")
            expect(history.get_by_role("listitem")).to_have_text(
                [re.compile("neon$"), re.compile("snow at night$")]
            )
            take_pictures(page, "longlive")
            tab_to(page, re.compile("snow at night"))
            changes(page, lambda: page.keyboard.press("Enter"))
            expect(page.locator(".caption")).to_have_text("snow at night")

        with opened(browser, address, phone=True) as page:
            shown(page)
            changes(page, page.get_by_role("button", name="A forest in spring").tap)
            take_pictures(page, "longlive-phone")
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


SEEDED = """
    import numpy as np

    from reactor_runtime import VideoModel, command

    class Model(VideoModel):
        fps = 30

        def reset(self):
            self._prompt, self._seed = "", 0

        def start_session(self):
            self.reset()
            while True:
                picture = np.full((120, 160, 3), 40, np.uint8)
                picture[..., 0] = 250 if self._prompt else 40
                picture[..., 1] = self._seed
                yield picture

        @command("set_prompt")
        def set_prompt(self, prompt: str) -> None:
            self._prompt = prompt

        @command("set_seed")
        def set_seed(self, seed: int) -> None:
            self._seed = seed

        @command("reset")
        def start_over(self) -> None:
            self.reset()
"""


@in_browser
def test_longlive_starts_over_with_a_seed_where_the_model_takes_one(
    projects: Path, browser: Browser, tmp_path: Path
) -> None:
    folder = write_model(tmp_path / "seeded", SEEDED)
    with (
        running(folder) as run,
        built(projects / "longlive", run.url) as address,
        opened(browser, address) as page,
    ):
        shown(page)
        changes(page, page.get_by_role("button", name="A forest in spring").click)
        expect(page.locator(".caption")).to_have_text("A forest in spring")
        page.get_by_role("textbox", name="Seed").fill("250")
        changes(page, page.get_by_role("button", name="Start over").click)
        expect(page.locator(".caption")).to_have_count(0)
        deadline_s = time.monotonic() + 10
        while not (pixels(page)[..., 1].mean() > 200 and pixels(page)[..., 0].mean() < 100):
            assert time.monotonic() < deadline_s, pixels(page).mean((0, 1))
            page.wait_for_timeout(50)


def tab_to(page: Page, name: str | re.Pattern[str]) -> None:
    """Press Tab until the control of this name has the focus."""
    for _ in range(40):
        page.keyboard.press("Tab")
        label: str = page.evaluate(
            "document.activeElement.getAttribute('aria-label') || document.activeElement.textContent"
        )
        if re.search(name, label) and page.evaluate("document.activeElement !== document.body"):
            return
    raise AssertionError(f"Tab never came to {name}")


@in_browser
def test_matrix_is_played_with_keys_mouse_and_fingers(projects: Path, browser: Browser) -> None:
    with running(MATRIX) as run, built(projects / "matrix", run.url) as address:
        with opened(browser, address) as page:
            shown(page)
            changes(page, page.get_by_role("button", name="Dusk").click)
            take_pictures(page, "matrix")
            page.get_by_role("button", name="Reset").click()
            changes(page, lambda: page.keyboard.down("i"), least=20)
            expect(page.get_by_role("button", name="Look up")).to_have_attribute("data-held", "true")
            page.keyboard.up("i")
            expect(page.get_by_role("button", name="Look up")).to_have_attribute("data-held", "false")

            own = io.BytesIO()
            Image.new("RGB", (2000, 1500), (220, 20, 20)).save(own, "JPEG")
            red: FilePayload = {"name": "red.jpg", "mimeType": "image/jpeg", "buffer": own.getvalue()}
            changes(page, lambda: page.locator("input[type=file]").set_input_files(red))

            page.locator(".picture").click()
            expect(page.get_by_text("Esc gives the mouse back")).to_be_visible()

        with opened(browser, address, phone=True) as page:
            shown(page)
            take_pictures(page, "matrix-phone")
            key = page.get_by_role("button", name="Look down")
            box = key.bounding_box()
            assert box is not None
            finger = page.context.new_cdp_session(page)
            at = {"x": box["x"] + 20, "y": box["y"] + 20}
            touch = {"type": "touchStart", "touchPoints": [at]}
            changes(page, lambda: finger.send("Input.dispatchTouchEvent", touch), least=20)
            expect(key).to_have_attribute("data-held", "true")
            finger.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
            expect(key).to_have_attribute("data-held", "false")
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


TWO_KEYS = """
    from typing import Annotated, Literal
    import numpy as np
    from reactor_runtime import Show, VideoModel, command, get_ctx

    Keys = Literal["W", "A", "S", "D"]

    class Model(VideoModel):
        fps = 20
        grey = 40

        def start_session(self):
            while True:
                get_ctx().emit_frame(np.full((90, 160, 3), self.grey, np.uint8))

        @command("control", hint="W A S D to fly")
        def control(
            self,
            mouse_key: Literal["J", "K", "L", "I", "U"] = "U",
            keyboard_key: Literal["W", "A", "S", "D", "Q"] = "Q",
            more: Annotated[tuple[Keys, ...], Show(also_held=True)] = (),
        ):
            self.grey = 200 if {keyboard_key, *more} == {"W", "A"} else 40

        @command("set_prompt")
        def set_prompt(self, prompt: Annotated[str, Show(placeholder="A hill", examples=["Fog", "Rain"])]):
            self.grey = 200 if prompt == "Rain" else 40
"""


@in_browser
def test_the_templates_use_what_an_author_said_of_keys_and_prompts(
    projects: Path, browser: Browser, tmp_path: Path
) -> None:
    with running(write_model(tmp_path, TWO_KEYS)) as run:
        with built(projects / "matrix", run.url) as address, opened(browser, address) as page:
            shown(page)
            expect(page.get_by_text("W A S D to fly")).to_be_visible()
            page.keyboard.down("w")
            expect(page.get_by_text("W A S D to fly")).to_have_count(0)
            changes(page, lambda: page.keyboard.down("a"))
            changes(page, lambda: page.keyboard.up("a"))
            page.keyboard.up("w")
        with built(projects / "longlive", run.url) as address, opened(browser, address) as page:
            shown(page)
            expect(page.get_by_label("Prompt", exact=True)).to_have_attribute("placeholder", "A hill")
            expect(page.get_by_role("group", name="Examples").get_by_role("button")).to_have_text(
                ["Fog", "Rain"]
            )
            changes(page, page.get_by_role("button", name="Rain").click)


@in_browser
def test_what_stands_in_the_way_is_said_in_words_and_passes_by_itself(
    projects: Path, browser: Browser
) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with built(projects / "longlive", url) as address, opened(browser, address) as page:
        notice = page.locator(".notice")
        expect(notice).to_contain_text("No answer from the runtime")
        expect(notice).to_contain_text(f"Is “reactor run” serving at {url}?")
        with running(LONGLIVE, "--port", str(port)) as run:
            shown(page)
            with opened(browser, address) as second:
                expect(second.locator(".notice")).to_contain_text("Someone else is using the model")
                page.get_by_role("button", name="Leave").click()
                expect(notice).to_contain_text("You left")
                shown(second)
            # The second page was closed without leaving; the model is free at once all the same.
            run.wait_for_state("ready", within_s=5)
            page.get_by_role("button", name="Connect").click()
            shown(page)
            page.reload()
            shown(page)
            assert httpx.post(f"{url}/stop_session").status_code == 200
            expect(notice).to_contain_text("The session was stopped.")
            page.get_by_role("button", name="Connect").click()
            shown(page)
            # A runtime that dies says nothing; the page finds out, and joins the next one by itself.
            run.process.kill()
            expect(notice).to_contain_text("No answer from the runtime", timeout=30_000)
        with running(LONGLIVE, "--port", str(port)) as run:
            shown(page)
            os.kill(run.children()[0], signal.SIGKILL)
            expect(notice).to_contain_text("killed by SIGKILL")
            page.get_by_role("button", name="Connect").click()
            shown(page)
        expect(notice).to_contain_text("The runtime was shut down.")
        page.get_by_role("button", name="Connect").click()
        expect(notice).to_contain_text("No answer from the runtime")


@in_browser
def test_a_runtime_with_a_token_is_told_from_one_that_does_not_answer_and_can_be_given_it(
    projects: Path, browser: Browser
) -> None:
    port = free_port()
    with (
        running(LONGLIVE, "--port", str(port), env={"REACTOR_TOKEN": "open sesame"}) as run,
        built(projects / "longlive", f"http://127.0.0.1:{port}") as address,
    ):
        with opened(browser, address) as page:
            expect(page.locator(".notice")).to_contain_text("The runtime wants a token")
        with opened(browser, f"{address}#token=wrong") as page:
            expect(page.locator(".notice")).to_contain_text("The runtime wants a token")
        with opened(browser, f"{address}#token=open%20sesame") as page:
            shown(page)
            assert "token" not in page.url
            page.reload()
            shown(page)
        # A page that goes away gives the model back, with a request that has no headers.
        deadline_s = time.monotonic() + 5
        while httpx.get(f"{run.url}/session", params={"token": "open sesame"}).json()["state"] != "ready":
            assert time.monotonic() < deadline_s
            time.sleep(0.05)


@in_browser
def test_the_guides_last_step_works_as_written(
    tarball: Path,
    browser: Browser,
    testcard: ReactorRun,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """`npx create-reactor-app`, `cd test-app`, `pnpm run dev`, with nothing but Enter typed."""
    tools = tmp_path_factory.mktemp("tools")
    call(
        "npm",
        "install",
        "--prefix",
        str(tools),
        "--prefer-offline",
        "--no-audit",
        "--no-fund",
        "pnpm@10",
        cwd=tools,
    )
    path = f"{tools / 'node_modules' / '.bin'}{os.pathsep}{os.environ['PATH']}"
    with conversation(npx(tarball), tmp_path, PATH=path) as terminal:
        terminal.wait_for("What is the project called?")
        terminal.type(ENTER)
        terminal.wait_for("Which template?")
        terminal.type(ENTER)
        terminal.wait_for("Installing the packages with pnpm")
        assert terminal.end(within_s=100) == 0, terminal.text
        said = re.sub(r"\s+", " ", re.sub(r"[│╮╯├─]", " ", terminal.text))
        assert "cd test-app pnpm run dev" in said
    project = tmp_path / "test-app"
    call("pnpm", "run", "typecheck", cwd=project, env={"PATH": path})

    port = free_port()
    with (tmp_path / "dev.log").open("w+") as log:
        dev = subprocess.Popen(
            ["pnpm", "run", "dev", "--port", str(port), "--strictPort", "--host", "127.0.0.1"],
            cwd=project,
            env={**os.environ, "PATH": path, "VITE_REACTOR_URL": testcard.url},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            wait_for_port(port)
            with opened(browser, f"http://127.0.0.1:{port}/") as page:
                shown(page)
                changes(page, page.get_by_role("button", name="ember").click)
        finally:
            os.killpg(dev.pid, signal.SIGTERM)
            dev.wait(20)
