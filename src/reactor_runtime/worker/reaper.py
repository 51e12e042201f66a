"""Stands between the server and the model process, and ends the whole tree when any of them is gone.

    server ──leash──▶ guard ──▶ reaper ──▶ model process ──▶ whatever the author's code started

Run as a program, on the standard library alone: `reaper.py LEASH FDS COMMAND...`. It starts the command in a
session of its own, with the reaper's process id as the last argument, and says the command's id on the leash. On
Linux the reaper is the subreaper of everything below it: a process that lost its parent, also in a session of its
own, becomes its child, so that none can leave the tree. It kills the tree when the command ends, on "k", and
when the leash ends, which is the server's death; "d" lets the command write its stacks. Then it ends as the
command did. The signals that a terminal or a service manager sends to all are the server's affair.

The guard is a fork of it and a subreaper as well. To it comes the tree of a reaper that was killed, and it kills
that; the reaper notices the guard's end and does the same. Whoever kills both at one moment leaves what the
author's code started, but not the model process, which asks the kernel to die with the reaper.

Where there is no subreaper, the command's process group is what is ended.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import select
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

#: prctl(2) PR_SET_CHILD_SUBREAPER, from <linux/prctl.h>.
_PR_SET_CHILD_SUBREAPER = 36
#: How long killed processes may take to go; one that hangs in a driver is left to the kernel after that.
_GONE_S = 1.5
_IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1)


class Reaper:
    """One command and everything below it."""

    def __init__(self, leash: int, guard: int, pid: int) -> None:
        self._leash = leash
        self._guard = guard
        self._pid = pid
        self._status: int | None = None

    def watch(self) -> int:
        """Wait for an end and bring it about; return how the command ended, as waitpid(2) says it."""
        woken, waker = os.pipe()
        os.set_blocking(waker, False)
        signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        poll = select.poll()
        poll.register(self._leash, select.POLLIN)
        poll.register(self._guard, select.POLLIN)
        poll.register(woken, select.POLLIN)
        while self._reap() and self._status is None:
            ready = [fd for fd, _ in poll.poll()]
            if woken in ready:
                os.read(woken, 4096)
            if self._guard in ready or (self._leash in ready and not self._obey()):
                break
        self._end_all()
        return int(signal.SIGKILL) if self._status is None else self._status

    def _obey(self) -> bool:
        """Do what the server says; False when everything is to end."""
        try:
            words = os.read(self._leash, 64)
        except OSError:
            return False
        if not words or b"k" in words:
            return False
        if self._status is None:  # not reaped yet, so the id is still its own
            os.kill(self._pid, signal.SIGUSR1)
        return True

    def _reap(self) -> bool:
        """Collect what has ended; False when no child is left."""
        try:
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return True
                if pid == self._pid:
                    self._status = status
        except ChildProcessError:
            return False

    def _end_all(self) -> None:
        if sys.platform != "linux":
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._pid, signal.SIGKILL)
        end_all(self._reap)


def end_all(reap: Callable[[], bool]) -> None:
    """Kill everything below this process until `reap` finds no child, or what is left does not go."""
    deadline_s = time.monotonic() + _GONE_S
    pause_s = 0.001
    while time.monotonic() < deadline_s:
        for pid in descendants(os.getpid()):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        if not reap():
            return
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, 0.02)


def _any_child() -> bool:
    """Collect what has ended; False when no child is left."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return False
    return True


def descendants(root: int) -> list[int]:
    """Return the living processes below this one, parents first; nothing where there is no /proc."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, IndexError, ValueError):
            # proc(5): the name in parentheses may hold anything; the state and the parent come after it.
            state, parent, *_ = (folder / "stat").read_bytes().rpartition(b")")[2].split()
            if state != b"Z":
                children.setdefault(int(parent), []).append(int(folder.name))
    found: list[int] = []
    waiting = [root]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return found


def main(argv: list[str]) -> None:
    leash, inherited = int(argv[0]), [int(fd) for fd in argv[1].split(",")]
    os.set_inheritable(leash, False)
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    # So that it can end as the command did without leaving a core of its own.
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    _adopt_orphans()
    guards, guard = os.pipe()
    reaper = os.fork()
    if reaper == 0:
        try:
            os.close(guard)
            # A signal to the group of one of the two leaves the other.
            os.setsid()
            _adopt_orphans()
            _end_as(_reap(leash, guards, inherited, argv[2:]))
        finally:
            os._exit(1)
    for fd in (leash, guards, *inherited):
        os.close(fd)
    pid, status = os.wait()
    while pid != reaper:
        pid, status = os.wait()
    end_all(_any_child)
    _end_as(status)


def _reap(leash: int, guard: int, inherited: list[int], command: list[str]) -> int:
    """Start the command and watch it; return how it ended."""
    command = [*command, str(os.getpid())]
    pid = os.fork()
    if pid == 0:
        try:
            os.setsid()
            for number in _IGNORED:
                signal.signal(number, signal.SIG_DFL)
            os.execv(command[0], command)  # noqa: S606
        finally:
            os._exit(127)
    for fd in inherited:
        os.close(fd)
    with contextlib.suppress(OSError):
        os.write(leash, f"{pid}\n".encode())
    return Reaper(leash, guard, pid).watch()


def _adopt_orphans() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _end_as(status: int) -> None:
    """End as waitpid(2) said that another did."""
    if os.WIFSIGNALED(status):
        ended_by = os.WTERMSIG(status)
        with contextlib.suppress(OSError, ValueError):
            signal.signal(ended_by, signal.SIG_DFL)
        os.kill(os.getpid(), ended_by)
    os._exit(os.WEXITSTATUS(status) if os.WIFEXITED(status) else 1)


if __name__ == "__main__":
    main(sys.argv[1:])
