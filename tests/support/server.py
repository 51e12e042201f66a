"""A real `reactor run` for tests and benchmarks: the command line in a process of its own.

with running(folder, "--fps", "30") as server:
    httpx.get(server.url + "/health")
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent

import httpx
import psutil

from .forked import Forked, Process, started

REACTOR = Path(sys.executable).with_name("reactor")
READY = re.compile(r"[Rr]eady(?:: | at )(http://[\w.:\[\]-]+)")
AUTHORS = re.compile(r"http://\S+/#author=[0-9a-f]{32}")


class ReactorRun:
    """A `reactor run` that is up. `log` grows with what it prints."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.log: list[str] = []
        self._reader = threading.Thread(target=self._read, name="reactor-run-log", daemon=True)
        self._reader.start()
        self.url = ""

    @property
    def text(self) -> str:
        return "".join(self.log)

    @property
    def author_url(self) -> str:
        """The address that shows the page to be its author's."""
        self.wait_for(lambda: AUTHORS.search(self.text) is not None, "the author's address")
        found = AUTHORS.search(self.text)
        assert found is not None  # waited for
        return found.group(0)

    def wait_for(
        self, condition: Callable[[], bool], what: str, within_s: float = 30.0, every_s: float = 0.01
    ) -> None:
        deadline = time.monotonic() + within_s
        while not condition():
            assert time.monotonic() < deadline, f"{what} did not happen within {within_s} s:\n{self.text}"
            time.sleep(every_s)

    def get(self, path: str) -> httpx.Response:
        # Loading the authorities takes a client 30 ms, which plain HTTP has no use for.
        return httpx.get(self.url + path, timeout=10, verify=False)

    def health(self) -> dict[str, object]:
        body: dict[str, object] = self.get("/health").json()
        return body

    def session_state(self) -> str:
        state: str = self.get("/session").json()["state"]
        return state

    def wait_for_state(self, *states: str, within_s: float = 30.0) -> None:
        # A question takes both sides 3 ms.
        what = f"state {' or '.join(states)}"
        self.wait_for(lambda: self.session_state() in states, what, within_s, every_s=0.03)

    def end_session(self) -> None:
        """End the session that runs, if any, and wait until the model is ready for the next."""
        httpx.post(self.url + "/stop_session", json={})  # 409 where there is none
        self.wait_for_state("ready")

    def children(self) -> list[int]:
        """Process ids of the model process and whatever else was started, without the reaper between."""
        tree = psutil.Process(self.process.pid).children(recursive=True)
        return [member.pid for member in tree if "reaper.py" not in " ".join(member.cmdline())]

    def stop(self, within_s: float = 20.0) -> int:
        """End it as Ctrl-C twice does; return its exit status."""
        # Two signals at once may arrive as one, which lets a session go on.
        if not self._draining:
            self._terminate()
            until_s = time.monotonic() + within_s
            while not self._draining and self.process.poll() is None and time.monotonic() < until_s:
                time.sleep(0.01)
        self._terminate()
        try:
            status = self.process.wait(within_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        self._reader.join(5)
        assert self.process.stdout is not None
        self.process.stdout.close()
        if isinstance(self.process, Forked):
            self.process.close()
        return status

    @property
    def _draining(self) -> bool:
        return "Draining" in self.text

    def _terminate(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.log.append(line)


@contextmanager
def running(
    path: Path,
    *flags: str,
    ready: bool = True,
    env: dict[str, str] | None = None,
    command: Path = REACTOR,
) -> Iterator[ReactorRun]:
    """Serve the model of `path` on a free port until the block ends. `command`: of another environment."""
    words = [str(command), "run", str(path), "--port", "0", *flags]
    its = {**os.environ, "NO_COLOR": "1", "PYTHONUNBUFFERED": "1", "COLUMNS": "120", **(env or {})}
    run = ReactorRun(started(words, its) if command == REACTOR else _of_another(words, its))
    try:
        if ready:
            run.wait_for(
                lambda: READY.search(run.text) is not None or run.process.poll() is not None,
                "the address",
                60,
            )
            found = READY.search(run.text)
            assert found is not None, run.text
            run.url = found.group(1)
        yield run
    finally:
        run.stop()


def _of_another(words: list[str], env: dict[str, str]) -> Process:
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env)


def write_model(folder: Path, source: str, **manifest: object) -> Path:
    """Write a model and its manifest; the class must be called `Model`. Return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.py").write_text(dedent(source))
    described = {
        "reactor-runtime": "0.1.0",
        "class": "model:Model",
        "model_name": "probe",
        "model_version": "1.0.0",
        "args": {},
        **manifest,
    }
    (folder / "manifest.json").write_text(json.dumps(described))
    return folder
