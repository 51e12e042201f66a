"""`reactor` as a fork of a process that has imported all of it, which takes a second of processor time each time.

    tests ──socket: arguments, environment, outputs──▶ the nursery ──fork──▶ reactor run …
      ▲                                                    │ waits for it
      └──────────────────── pipe: exit status ◀────────────┘

The nursery has one thread, opened nothing and made no event loop: what is forked has modules, and nothing else that
`reactor` itself would not have. It ends with the tests' process. Under `make nightly`, and in benchmarks, every command
is started as users start it.
"""

from __future__ import annotations

import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Final, NoReturn, Protocol

#: Nights have no hurry.
FORKS: Final = (
    "PYTEST_VERSION" in os.environ and "REACTOR_NIGHTLY" not in os.environ and sys.platform == "linux"
)

#: What a server that has a viewer has imported.
MODULES: Final = (
    "framehelm",
    "reactor_runtime.cli",
    "reactor_runtime.cli.screen",
    "reactor_runtime.cli.serve",
    "reactor_runtime.server.runtime",
    "reactor_runtime.webrtc.engines",
    "reactor_runtime.worker.parent",
)
REQUEST_MAX_BYTES: Final = 1 << 18


class Process(Protocol):
    """What tests use of a `subprocess.Popen`."""

    pid: int
    stdout: IO[str] | None

    @property
    def returncode(self) -> int | None: ...
    def poll(self) -> int | None: ...
    def wait(self, timeout: float | None = None) -> int: ...
    def kill(self) -> None: ...
    def send_signal(self, sig: int) -> None: ...


class Forked:
    """A `Process` that the nursery forked and waits for."""

    stdout: IO[str] | None = None

    def __init__(self, pid: int, status_fd: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._status = os.fdopen(status_fd, "rb", buffering=0)
        self._reading = threading.Lock()

    def poll(self) -> int | None:
        return self._look(0)

    def wait(self, timeout: float | None = None) -> int:
        """Raises subprocess.TimeoutExpired."""
        if (status := self._look(timeout)) is None:
            raise subprocess.TimeoutExpired("reactor", timeout or 0)
        return status

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def send_signal(self, sig: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, sig)

    def _look(self, timeout: float | None) -> int | None:
        if self.returncode is None and select.select([self._status], [], [], timeout)[0]:
            with self._reading:
                if self.returncode is None:
                    # Nothing is told where the nursery was killed.
                    self.returncode = int(self._status.read(32) or -signal.SIGKILL)
        return self.returncode

    def close(self) -> None:
        self._status.close()


class Nursery:
    """The process that forks, from the tests' side. Begun with the first server that is wanted."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._ours: socket.socket | None = None
        self._asking = threading.Lock()

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    @property
    def fd(self) -> int | None:
        """The descriptor that it keeps in this process."""
        return self._ours.fileno() if self._ours is not None else None

    def fork(self, command: Sequence[str], env: Mapping[str, str], *, out_fd: int, err_fd: int) -> Forked:
        """Run `reactor` with these arguments."""
        request = json.dumps({"command": command, "env": dict(env), "cwd": os.getcwd()}).encode()
        assert len(request) <= REQUEST_MAX_BYTES
        with self._asking:
            if self._ours is None:
                self._begin()
            assert self._ours is not None
            status_fd, theirs = os.pipe()
            try:
                socket.send_fds(self._ours, [request], [out_fd, err_fd, theirs])
            finally:
                os.close(theirs)
            return Forked(int(self._ours.recv(32)), status_fd)

    def _begin(self) -> None:
        self._ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            # -P: this folder has modules of names that others have as well.
            self._process = subprocess.Popen(
                [sys.executable, "-P", __file__, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"},
            )


NURSERY: Final = Nursery()


def started(command: Sequence[str], env: Mapping[str, str]) -> Process:
    """Start `reactor` with these arguments; what it says on stderr is on stdout."""
    if not FORKS:
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=dict(env)
        )
    ours, theirs = os.pipe()
    try:
        process = NURSERY.fork(command, env, out_fd=theirs, err_fd=theirs)
    finally:
        os.close(theirs)
    process.stdout = os.fdopen(ours, "r")
    return process


def finished(
    command: Sequence[str], env: Mapping[str, str], *, within_s: float
) -> subprocess.CompletedProcess[str]:
    """Run `reactor` with these arguments to its end. Raises subprocess.TimeoutExpired."""
    if not FORKS:
        return subprocess.run(command, capture_output=True, text=True, timeout=within_s, env=env)
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = NURSERY.fork(command, env, out_fd=out.fileno(), err_fd=err.fileno())
        try:
            status = process.wait(within_s)
        finally:
            process.kill()
            process.close()
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(command, status, out.read(), err.read())


# The nursery itself -------------------------------------------------------------------------------------


def _main(fd: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal: the tests end, and the socket with them
    from reactor_runtime.importing import importing

    with importing():
        for module in MODULES:
            importlib.import_module(module)
    assert len(os.listdir("/proc/self/task")) == 1, "a thread does not survive a fork"
    # By the descriptor of the process: its id, and where its end is told.
    children: dict[int, tuple[int, int]] = {}
    with socket.socket(fileno=fd) as tests:
        while True:
            for ready in select.select([fd, *children], [], [])[0]:
                if ready != fd:
                    _tell_the_end(ready, *children.pop(ready))
                    continue
                data, fds, _, _ = socket.recv_fds(tests, REQUEST_MAX_BYTES, 3)
                if not data:
                    return
                out_fd, err_fd, status_fd = fds
                if (pid := os.fork()) == 0:
                    tests.close()
                    for descriptor, (_, other) in children.items():
                        os.close(descriptor)
                        os.close(other)
                    os.close(status_fd)
                    _become(out_fd, err_fd, **json.loads(data))
                os.close(out_fd)
                os.close(err_fd)
                children[os.pidfd_open(pid)] = pid, status_fd
                tests.send(str(pid).encode())


def _tell_the_end(descriptor: int, pid: int, status_fd: int) -> None:
    _, status = os.waitpid(pid, 0)
    os.close(descriptor)
    os.write(status_fd, str(os.waitstatus_to_exitcode(status)).encode())
    os.close(status_fd)


def _become(out_fd: int, err_fd: int, command: list[str], env: dict[str, str], cwd: str) -> NoReturn:
    """Be what the command would be that is started with these arguments."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(cwd)
    os.dup2(out_fd, 1)
    os.dup2(err_fd, 2)
    os.close(out_fd)
    os.close(err_fd)
    os.environ.clear()
    os.environ.update(env)
    # Its threads have this name for the system.
    Path("/proc/self/comm").write_text(Path(command[0]).name)
    sys.argv = command
    sys.path[0:0] = [str(Path(command[0]).parent)]
    import framehelm

    framehelm.main()
    sys.exit(0)


if __name__ == "__main__":
    _main(int(sys.argv[1]))
