"""The `reactor` command, as a process: what it prints where, and its exit status."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import select
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from support.forked import finished
from support.promises import NIGHTLY, by_night

from reactor_runtime.cli.run import parse_args, require_token
from reactor_runtime.cli.serve import bind_refused
from reactor_runtime.cli.setting_flags import WithSettings
from reactor_runtime.config import Settings, flag_of
from reactor_runtime.errors import SettingError

REACTOR = str(Path(sys.executable).parent / "reactor")
DEADLINE_S = 60.0

MODEL = """
from reactor_runtime import VideoModel, command
import numpy as np

print("printed while imported")

class Grey(VideoModel):
    fps = 30

    def __init__(self, level=128):
        print("constructed")
        self.level = level

    def start_session(self):
        while True:
            yield np.full((48, 64, 3), self.level, np.uint8)

    @command
    def set_level(self, level: int) -> None:
        self.level = level

class NotAModel:
    pass
"""

MANIFEST = {"reactor-runtime": "0.1.0", "class": "grey:Grey", "model_name": "grey", "model_version": "1.2.3"}


def settings(**flags: object) -> Settings:
    return Settings.load(flags, {})


def environment(**extra: str) -> dict[str, str]:
    """The caller's environment, without what would change output or settings."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("REACTOR_", "NO_COLOR"))}
    return kept | {"COLUMNS": "100"} | extra


def reactor(*args: str | Path, **extra: str) -> subprocess.CompletedProcess[str]:
    return finished([REACTOR, *map(str, args)], environment(**extra), within_s=DEADLINE_S)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "grey.py").write_text(MODEL)
    (tmp_path / "manifest.json").write_text(json.dumps(MANIFEST))
    return tmp_path


def change(project: Path, **keys: object) -> None:
    (project / "manifest.json").write_text(json.dumps(MANIFEST | keys))


# Flags -------------------------------------------------------------------------------------------------


def test_an_argument_is_json_or_else_text() -> None:
    texts = ["fps=24", "size=[480,640]", "name=a cat", "on=true", "empty=", "equals=a=b", "nothing=null"]
    assert parse_args(texts) == {
        "fps": 24,
        "size": [480, 640],
        "name": "a cat",
        "on": True,
        "empty": "",
        "equals": "a=b",
        "nothing": None,
    }


@pytest.mark.parametrize(
    ("flags", "expected"),
    [([], True), (["--no-record"], False), (["--record"], True), (["--no-verbose"], True)],
)
def test_a_flag_switches_off_what_the_environment_switched_on(flags: list[str], expected: bool) -> None:
    app, seen = typer.Typer(), []

    @app.command(cls=WithSettings)
    def run(ctx: typer.Context) -> None:
        seen.append(Settings.load(ctx.obj, {"REACTOR_RECORD": "on", "REACTOR_VERBOSE": "1"}))

    app(flags, standalone_mode=False)
    assert seen[0].record is expected
    assert seen[0].verbose is ("--no-verbose" not in flags)


@pytest.mark.parametrize("text", ["fps", "=1", "a b=1", "1st=2", ""])
def test_an_argument_without_a_name_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(SettingError, match="--arg fps=24"):
        parse_args([text])


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.1.5", False),
        ("example.org", False),
        ("", False),
    ],
)
def test_beyond_this_machine_a_token_or_consent_is_needed(host: str, *, loopback: bool) -> None:
    require_token(settings(host=host, token="secret"))  # noqa: S106  # not a secret of anything
    require_token(settings(host=host, allow_public=True))
    if loopback:
        require_token(settings(host=host))
    else:
        with pytest.raises(SettingError, match=r"REACTOR_TOKEN.*--allow-public"):
            require_token(settings(host=host))


def test_an_os_error_that_is_not_about_the_address_stays_what_it_is() -> None:
    error = OSError(24, "Too many open files")
    assert bind_refused(error, settings()) is error


# Help, version, unknown commands ------------------------------------------------------------------------


@pytest.mark.slow
def test_help_lists_the_commands_and_every_setting_is_a_flag_of_run() -> None:
    overview = reactor("--help").stdout
    for command in ("run", "init", "capabilities", "doctor"):
        assert command in overview
    flags = reactor("run", "--help").stdout
    for setting in Settings.model_fields:
        assert f"{flag_of(setting).name} " in flags


@pytest.mark.slow
def test_version_is_one_line_on_stdout() -> None:
    done = reactor("--version")
    assert done.returncode == 0
    assert done.stdout.startswith("framehelm 0.")
    assert len(done.stdout.splitlines()) == 1


@pytest.mark.slow
def test_help_imports_nothing_that_a_command_works_with() -> None:
    script = (
        "import sys, reactor_runtime.cli as cli\n"
        "try: cli.app(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'numpy', 'pydantic', 'fastapi', 'av', 'uvicorn', 'asyncio'}\n"
        "print(*sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=DEADLINE_S)
    assert done.stderr.strip() == ""


@pytest.mark.slow
def test_a_mistyped_command_is_answered_with_the_nearest() -> None:
    done = reactor("rnu")
    assert done.returncode == 2
    assert "Did you mean 'run'?" in done.stderr
    assert done.stdout == ""


# Capabilities -------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("target", [".", "manifest.json"])
def test_capabilities_is_json_only_and_does_not_construct_the_model(project: Path, target: str) -> None:
    (project / "grey.py").write_text(
        MODEL + "\nimport atexit, os\nos.system('echo from a child')\natexit.register(print, 'at exit')\n"
    )
    done = reactor("capabilities", project / target)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["model"] == {"name": "grey", "version": "1.2.3", "description": "", "fps": 30.0}
    assert document["tracks"] == [{"name": "main_video", "kind": "video", "direction": "out"}]
    (command,) = document["commands"]
    assert command["name"] == "set_level"
    assert command["parameters"]["properties"]["level"]["type"] == "integer"
    assert document["manifest"]["class"] == "grey:Grey"
    for text in ("printed while imported", "from a child", "at exit"):
        assert text in done.stderr
    assert "constructed" not in done.stderr


# Mistakes -----------------------------------------------------------------------------------------------


def make_missing(project: Path) -> None:
    (project / "manifest.json").unlink()


def make_bad_json(project: Path) -> None:
    (project / "manifest.json").write_text('{"class": "grey:Grey",}')


def make_missing_module(project: Path) -> None:
    change(project, **{"class": "gray:Grey"})


def make_missing_class(project: Path) -> None:
    change(project, **{"class": "grey:Gray"})


def make_not_a_model(project: Path) -> None:
    change(project, **{"class": "grey:NotAModel"})


def make_unmet_version(project: Path) -> None:
    change(project, **{"reactor-runtime": ">=9"})


def make_import_error(project: Path) -> None:
    (project / "grey.py").write_text("import no_such_package\n" + MODEL)


def make_failing_import(project: Path) -> None:
    (project / "grey.py").write_text(MODEL + "\n1 / 0\n")


def make_twice_named_command(project: Path) -> None:
    again = '\n    @command("set_level")\n    def again(self) -> None: ...\n'
    (project / "grey.py").write_text(MODEL.replace("\nclass NotAModel", again + "\nclass NotAModel"))


def make_wrong_args(project: Path) -> None:
    change(project, args={"levle": 3})


MISTAKES = [
    (make_missing, ("manifest.json", "no such file", "Fix:")),
    (make_bad_json, ("manifest.json", "not JSON at line 1", "Fix:")),
    (make_missing_module, ("manifest.json", '"class"', "no module 'gray'", "Fix: did you mean 'grey'?")),
    (make_missing_class, ("manifest.json", '"class"', "no class 'Gray'", "Fix: did you mean 'Grey'?")),
    (make_not_a_model, ("manifest.json", '"class"', "NotAModel", "not a VideoModel", "Fix:")),
    (make_unmet_version, ("manifest.json", '"reactor-runtime"', ">=9", "Fix:")),
    (make_import_error, ("manifest.json", "grey.py", "no_such_package", "Fix: install it")),
    (make_failing_import, ("manifest.json", "grey.py", "ZeroDivisionError", "Fix:")),
    (make_twice_named_command, ("set_level",)),
]


def assert_told(done: subprocess.CompletedProcess[str], words: tuple[str, ...]) -> None:
    assert done.returncode == 2, done.stderr
    for word in words:
        assert word in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.slow
@pytest.mark.parametrize(("make", "words"), MISTAKES)
def test_a_mistake_of_the_author_is_one_readable_error(
    project: Path, make: object, words: tuple[str, ...]
) -> None:
    assert callable(make)
    make(project)
    assert_told(reactor("capabilities", project), words)


#: A server that ends takes five times as long as `capabilities`: at each change one that is found before the model
#: process, one in its import, one in its constructor.
RUN_MISTAKES = [
    *(MISTAKES if NIGHTLY else [each for each in MISTAKES if each[0] in (make_missing, make_failing_import)]),
    (make_wrong_args, ("manifest.json", '"args.levle"', "Fix: did you mean 'level'?")),
]


@pytest.mark.slow
@pytest.mark.parametrize(("make", "words"), RUN_MISTAKES)
def test_run_tells_the_same_mistakes(project: Path, make: object, words: tuple[str, ...]) -> None:
    assert callable(make)
    make(project)
    assert_told(reactor("run", project, "--port", "0"), words)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--port", "70000"), ("port", "--port", "REACTOR_PORT", "65535")),
        (("--port", "web"), ("--port", "valid integer")),
        (("--fps", "0"), ("fps", "greater than 0")),
        (("--codec", "av2"), ("--codec", "h264")),
        (("--bitrate-kbps", "3"), ("bitrate_kbps", "50")),
        (("--hang-s", "-1"), ("hang_s", "greater than 0")),
        (("--host", "0.0.0.0"), ("--host 0.0.0.0", "REACTOR_TOKEN", "--allow-public")),
        (
            ("--host", "nowhere.invalid", "--allow-public"),
            ("cannot listen on nowhere.invalid:8080", "--host"),
        ),
        (("--arg", "level"), ("--arg level", "key=value")),
        (("--arg", "depth=3", "--port", "0"), ("args.depth", "Grey takes no argument 'depth'")),
        (("--ice-server", "turn:host"), ("--ice-server", "turn:user:password@host")),
        (("--colour",), ("No such option", "--colour")),
    ],
)
def test_a_wrong_flag_names_the_setting_and_what_is_accepted(
    project: Path, flags: tuple[str, ...], words: tuple[str, ...]
) -> None:
    assert_told(reactor("run", project, *flags), words)


@pytest.mark.slow
def test_a_wrong_variable_is_told_as_a_wrong_flag_is(project: Path) -> None:
    assert_told(reactor("run", project, REACTOR_DRAIN_S="soon"), ("drain_s", "REACTOR_DRAIN_S", "soon"))


@pytest.mark.slow
def test_a_port_in_use_is_told_with_another_one(project: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = reactor("run", project, "--port", str(port))
    assert_told(done, (f"cannot listen on 127.0.0.1:{port}", f"--port {port + 1}"))


@pytest.mark.slow
def test_verbose_adds_the_traceback(project: Path) -> None:
    make_failing_import(project)
    done = reactor("capabilities", project, "--verbose")
    assert done.returncode == 2
    assert "Traceback" in done.stderr
    assert "ZeroDivisionError: division by zero" in done.stderr


# Terminals ----------------------------------------------------------------------------------------------


def on_a_terminal(*args: str | Path, columns: int, **extra: str) -> str:
    """Run in a pseudo-terminal and return everything it showed."""
    ours, theirs = pty.openpty()
    command = [REACTOR, *map(str, args)]
    env = environment(**extra) | {"COLUMNS": str(columns), "TERM": "xterm-256color"}
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=env) as process:
        os.close(theirs)
        shown = b""
        deadline_s = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline_s:
            if not select.select([ours], [], [], 0.1)[0]:
                continue
            try:
                piece = os.read(ours, 65536)
            except OSError:  # Linux says EIO when the other end is closed
                break
            shown += piece
        process.kill()
    os.close(ours)
    return shown.decode()


@pytest.mark.slow
def test_on_a_terminal_a_mistake_is_a_panel_that_fits_a_narrow_one(project: Path) -> None:
    make_missing_class(project)
    shown = on_a_terminal("capabilities", project, columns=40, NO_COLOR="1")
    assert "╭" in shown
    assert "Error" in shown
    assert "did you mean" in " ".join(shown.split())
    assert max(map(len, shown.splitlines())) <= 40
    assert "\x1b[3" not in shown  # no colour


@pytest.mark.slow
def test_without_no_color_the_panel_is_coloured(project: Path) -> None:
    make_missing_class(project)
    assert "\x1b[31m" in on_a_terminal("capabilities", project, columns=80)


@pytest.mark.slow
def test_in_a_log_lines_are_whole_and_plain(project: Path) -> None:
    make_missing_class(project)
    done = reactor("capabilities", project, COLUMNS="40")
    assert any("has no class 'Gray'" in line and "manifest.json" in line for line in done.stderr.splitlines())
    assert "\x1b" not in done.stderr
    assert "╭" not in done.stderr


# A server's life ----------------------------------------------------------------------------------------


class Running:
    """`reactor run` as a process."""

    def __init__(self, *args: str | Path) -> None:
        self.process = subprocess.Popen(
            [REACTOR, "run", *map(str, args)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
        )

    def address(self) -> str:
        """Wait for the one line on stdout."""
        assert self.process.stdout is not None
        assert select.select([self.process.stdout], [], [], DEADLINE_S)[0], "no address was printed"
        line = self.process.stdout.readline()
        assert line.startswith("Ready: http://"), self.process.stderr.read() if self.process.stderr else ""
        return line.removeprefix("Ready: ").strip()

    def end(self) -> tuple[int, str]:
        _, err = self.process.communicate(timeout=DEADLINE_S)
        return self.process.returncode, err


@pytest.fixture
def running(project: Path) -> Iterator[Running]:
    server = Running(project, "--port", "0")
    yield server
    server.process.kill()
    server.process.communicate()


@pytest.mark.slow
# SIGINT is sent at every change in test_failures.py.
@pytest.mark.parametrize("number", [signal.SIGTERM, *by_night(signal.SIGINT)])
def test_a_signal_ends_an_idle_server_with_status_zero(running: Running, number: signal.Signals) -> None:
    running.address()
    running.process.send_signal(number)
    status, err = running.end()
    assert status == 0, err
    assert "Draining: no new sessions" in err
    assert "Traceback" not in err


@pytest.mark.slow
def test_a_log_in_json_is_one_object_a_line_and_tells_of_each_session(project: Path) -> None:
    (project / "grey.py").write_text(
        MODEL + "\nimport logging\nlogging.getLogger('net').warning('two\\nlines %d', 3)\n"
    )
    server = Running(project, "--port", "0", "--log-format", "json")
    try:
        address = server.address()
        for path, body in (("start_session", {}), ("stop_session", {"reason": "over"})):
            request = urllib.request.Request(  # noqa: S310  # our own server
                f"{address}/{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}
            )
            urllib.request.urlopen(request, timeout=10).close()  # noqa: S310
        server.process.send_signal(signal.SIGTERM)
        status, err = server.end()
    finally:
        server.process.kill()
        server.process.communicate()
    assert status == 0, err
    entries = [json.loads(line) for line in err.splitlines()]
    assert all({"time", "level", "logger", "message"} <= entry.keys() for entry in entries)
    (model,) = (entry for entry in entries if entry["logger"] == "reactor_runtime.model.net")
    assert (model["level"], model["message"]) == ("WARNING", "two\nlines 3")
    (started,) = (entry for entry in entries if entry.get("event") == "session_started")
    (ended,) = (entry for entry in entries if entry.get("event") == "session_ended")
    assert ended["session_id"] == started["session_id"]
    assert ended["reason"] == "over"
    assert 0 <= ended["duration_s"] < DEADLINE_S
    assert any(entry.get("url") == address for entry in entries)
    assert "author" not in err


async def test_on_a_terminal_the_author_s_address_is_read_while_the_model_loads_and_again_when_it_is_ready(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from reactor_runtime.cli.screen import Screen

    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "40")
    author_url = "http://127.0.0.1:8080/#author=" + 32 * "f"
    with Screen(verbose=False) as screen:
        screen.listening("http://127.0.0.1:8080", author_url)
        shown = capsys.readouterr()
        assert f"Open {author_url} while the model loads\n" in re.sub(
            r"\x1b(\[[\d;?]*\w|]8;[^\\]*\\)", "", shown.err
        )
        assert shown.out == ""
        screen.ready("http://127.0.0.1:8080", author_url, took_s=2)
        assert "Ready" in capsys.readouterr().out


@pytest.mark.slow
def test_a_signal_while_the_model_loads_ends_it_too(project: Path) -> None:
    (project / "grey.py").write_text(MODEL.replace('print("constructed")', "__import__('time').sleep(600)"))
    server = Running(project, "--port", "0")
    try:
        assert server.process.stderr is not None
        assert re.search(
            r"opens http://127.0.0.1:\d+/#author=[0-9a-f]{32} ", server.process.stderr.readline()
        )
        assert "loading" in server.process.stderr.readline().lower()
        server.process.send_signal(signal.SIGTERM)
        status, err = server.end()
        assert status == 0, err
    finally:
        server.process.kill()
        server.process.communicate()


STUBBORN = """
import asyncio, sys
from reactor_runtime.cli.screen import Screen
from reactor_runtime.cli.serve import live
from reactor_runtime.config import Settings

class Stubborn:
    url = "http://127.0.0.1:1"
    author_url = url + "/#author=key"
    async def start(self): pass
    async def ready(self): pass
    async def told(self): pass
    async def drain_asked(self): await asyncio.sleep(3600)
    async def drain(self): await asyncio.sleep(3600)
    async def close(self):
        print("closed", flush=True)
        if "hang" in sys.argv: await asyncio.sleep(3600)

with Screen(verbose=False) as screen:
    sys.exit(asyncio.run(live(Stubborn(), screen, Settings(), asyncio.Event())))
"""


@pytest.fixture
def stubborn(request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[str]]:
    """A server whose sessions never end."""
    mode = getattr(request, "param", "")
    process = subprocess.Popen(
        [sys.executable, "-c", STUBBORN, mode], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    yield process
    process.kill()
    process.communicate()


def line_of(stream: object) -> str:
    assert hasattr(stream, "readline")
    return str(stream.readline())


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_second_signal_does_not_wait_for_sessions(
    stubborn: subprocess.Popen[str], number: signal.Signals, status: int
) -> None:
    assert "http://127.0.0.1:1/#author=key" in line_of(stubborn.stderr)
    assert line_of(stubborn.stdout) == "Ready: http://127.0.0.1:1\n"
    stubborn.send_signal(number)
    assert "Draining" in line_of(stubborn.stderr)
    stubborn.send_signal(number)
    assert "Stopping now" in line_of(stubborn.stderr)
    assert stubborn.wait(DEADLINE_S) == status
    assert line_of(stubborn.stdout) == "closed\n"


@pytest.mark.slow
@pytest.mark.parametrize("stubborn", ["hang"], indirect=True)
def test_a_third_signal_kills_a_server_that_does_not_close(stubborn: subprocess.Popen[str]) -> None:
    line_of(stubborn.stdout)
    line_of(stubborn.stderr)
    stubborn.send_signal(signal.SIGINT)
    line_of(stubborn.stderr)
    stubborn.send_signal(signal.SIGINT)
    line_of(stubborn.stderr)
    assert line_of(stubborn.stdout) == "closed\n"
    stubborn.send_signal(signal.SIGINT)
    assert stubborn.wait(DEADLINE_S) == -signal.SIGINT


async def test_a_server_that_failed_for_good_ends_with_status_one(capsys: pytest.CaptureFixture[str]) -> None:
    from reactor_runtime.cli.screen import Screen
    from reactor_runtime.cli.serve import live

    closed, told, failed = asyncio.Event(), asyncio.Event(), asyncio.Event()

    class Failing:
        url = author_url = "http://127.0.0.1:1"

        async def start(self) -> None: ...

        async def ready(self) -> None:
            failed.set()

        async def told(self) -> None:
            assert not closed.is_set()
            told.set()

        async def drain_asked(self) -> None:
            await asyncio.Event().wait()

        async def drain(self) -> None:
            raise AssertionError("there is nothing to drain")

        async def close(self) -> None:
            closed.set()

    with Screen(verbose=False) as screen:
        assert await live(Failing(), screen, settings(), failed) == 1
    assert told.is_set()
    assert closed.is_set()
    assert "Ready: http://127.0.0.1:1" in capsys.readouterr().out


# The machine --------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_doctor_finds_this_machine_fit() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
        busy = reactor("doctor", "--port", str(port))
    assert busy.returncode == 1
    assert f"reactor run --port {port + 1}" in busy.stdout
    done = reactor("doctor", "--port", str(port))
    assert done.returncode == 0, done.stdout
    assert "two peers met" in done.stdout
    assert "H.264" in done.stdout
