"""The operating system's side of a model process: start it, see it end, kill it, hear what it prints.

Owned by a `ProcessHost`, on its event loop. One thread waits for the exit, because that works the same
wherever Python runs; everything else is the loop's. Between this and the model process stands a `reaper`,
which leads a session of its own, so that a Ctrl-C in a terminal does not reach it, and lets nothing that the
author started outlive the model process or the server.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from ..limits import MIB
from ..types import LogLine
from ..weights.resolve import without_credentials
from . import reaper
from .loglines import LogLines, Tracebacks
from .threads import environment, usable_cores

#: One read of the model's output. A full one is followed by a pause, so that 100 MB/s of noise take
#: a few percent of the loop and what exceeds that waits in the model process.
_READ_BYTES: Final = 512 * 1024
_PAUSE_S: Final = 0.002
#: How long the interpreter may take to begin to write its stacks, where the machine is crowded, and then to end;
#: silence after the beginning is the end as well. A stopped process writes nothing, so it gets the second alone.
_DUMP_BEGINS_S: Final = 0.4
_DUMP_S: Final = 0.04
_DUMP_SILENT_S: Final = 0.02
#: How long the reaper may take to end the tree before it is killed itself; then the model process dies with it.
_REAP_S: Final = 2.5
#: Silence after which a traceback or stacks are taken to be whole.
_WHOLE_S: Final = 0.2
#: Output that is still read after the exit: the stacks of a crash come last.
_LAST_BYTES: Final = 4 * MIB


class ModelProcess:
    """A started child, given these descriptors by number. `on_exit(exit_code)` and `on_line(line)` are called on
    the loop."""

    def __init__(
        self,
        inherited: Sequence[int],
        *,
        threads: int,
        slots: int,
        gpu: str,
        on_exit: Callable[[int], None],
        on_line: Callable[[LogLine], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_exit = on_exit
        self._on_line = on_line
        self._lines = LogLines()
        self._whole = Tracebacks()
        self._silence: asyncio.TimerHandle | None = None
        self._output, write_fd = os.pipe()
        self._leash, theirs = socket.socketpair()
        try:
            os.set_blocking(self._output, False)
            if hasattr(fcntl, "F_SETPIPE_SZ"):
                # Room for a burst; an unprivileged process may be refused, and then has less.
                with contextlib.suppress(OSError):
                    fcntl.fcntl(write_fd, fcntl.F_SETPIPE_SZ, MIB)
            # -P: the author's folder is put on the path by the manifest, the working directory is not.
            command = [sys.executable, "-P", "-m", "reactor_runtime.worker", *map(str, inherited)]
            words = [str(theirs.fileno()), ",".join(map(str, inherited)), *command]
            self._process = subprocess.Popen(  # noqa: S603  # our own interpreter and modules
                [sys.executable, "-I", "-S", reaper.__file__, *words],
                stdin=subprocess.DEVNULL,
                stdout=write_fd,
                stderr=write_fd,
                pass_fds=(theirs.fileno(), *inherited),
                start_new_session=True,
                env=environment(
                    without_credentials(os.environ), threads, usable_cores(), slots=slots, gpu=gpu
                ),
            )
        except BaseException:
            os.close(self._output)
            self._leash.close()
            raise
        finally:
            os.close(write_fd)
            theirs.close()
        self._leash.setblocking(False)
        self._pid: int | None = None
        self._loop.add_reader(self._leash, self._read_pid)
        self._last_resort: asyncio.TimerHandle | None = None
        self._dump: asyncio.TimerHandle | None = None
        self._dump_by_s = 0.0
        """The end of a wait for stacks, and when it comes at the latest."""
        self._resume: asyncio.TimerHandle | None = None
        self._loop.add_reader(self._output, self._read)
        self.exit_code: int | None = None
        self._killing = False
        self._waiter = threading.Thread(target=self._wait, name="reactor-model-exit", daemon=True)
        self._waiter.start()

    @property
    def pid(self) -> int | None:
        """The model process, as soon as it is known."""
        return self._pid

    @property
    def lines_dropped(self) -> int:
        return self._lines.dropped

    def kill(self, *, dump: bool) -> None:
        """Kill it, after it has written its stacks if `dump`. Once is enough."""
        if self._killing or self.exit_code is not None:
            return
        self._killing = True
        if not dump:
            self._kill_now()
            return
        self._say(b"d")
        self._dump_by_s = self._loop.time() + (_DUMP_S if self._stopped() else _DUMP_BEGINS_S)
        self._dump = self._loop.call_at(self._dump_by_s, self._kill_now)

    def close(self) -> None:
        """Forget it after its exit: the output is closed, the thread joined."""
        if self._output >= 0:
            self._loop.remove_reader(self._output)
            for timer in (self._resume, self._silence, self._dump):
                if timer is not None:
                    timer.cancel()
            os.close(self._output)
            self._output = -1
            self._loop.remove_reader(self._leash)
            self._leash.close()
        if self._last_resort is not None:
            self._last_resort.cancel()
        self._waiter.join()

    def usage(self) -> tuple[float, int]:
        """Return CPU seconds and resident bytes; zeros where /proc does not tell."""
        if self.exit_code is not None or self.pid is None:
            return 0.0, 0
        try:
            proc = Path("/proc") / str(self.pid)
            # proc(5): the name in parentheses may hold anything; utime and stime are fields 14 and 15.
            fields = (proc / "stat").read_bytes().rpartition(b")")[2].split()
            resident = int((proc / "statm").read_bytes().split()[1])
        except (OSError, IndexError, ValueError):
            return 0.0, 0
        ticks = int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK"), resident * os.sysconf("SC_PAGE_SIZE")

    def _stopped(self) -> bool:
        """Whether it is stopped by a signal, as far as /proc tells: state is the first field after the name."""
        try:
            return b") T" in (Path("/proc") / str(self.pid) / "stat").read_bytes()
        except OSError:
            return False

    def _say(self, word: bytes) -> None:
        with contextlib.suppress(OSError):  # the reaper is gone, which its exit tells better
            self._leash.send(word)

    def _kill_now(self) -> None:
        self._dump = None
        if self.exit_code is None:
            self._say(b"k")
            self._last_resort = self._loop.call_later(_REAP_S, self._process.kill)

    def _read_pid(self) -> None:
        """The reaper's first words are the id of the model process; it says nothing else."""
        self._loop.remove_reader(self._leash)
        with contextlib.suppress(OSError, ValueError):
            self._pid = int(self._leash.recv(64))

    # The exit -----------------------------------------------------------------------------------------

    def _wait(self) -> None:
        """On the waiter thread. The reaper ends as the model process did, after everything below it."""
        exit_code = self._process.wait()
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to tell
            self._loop.call_soon_threadsafe(self._exited, exit_code)

    def _exited(self, exit_code: int) -> None:
        self.exit_code = exit_code
        left = _LAST_BYTES
        while self._output >= 0 and left > 0 and (size := self._read_lines()) > 0:
            left -= size
        for line in (*self._whole.feed(self._lines.end()), *self._whole.end()):
            self._on_line(line)
        self._on_exit(exit_code)

    # The output ---------------------------------------------------------------------------------------

    def _read(self) -> None:
        size = self._read_lines()
        if size == 0:
            self._loop.remove_reader(self._output)
        elif size == _READ_BYTES:
            self._loop.remove_reader(self._output)
            self._resume = self._loop.call_later(_PAUSE_S, self._read_on)

    def _read_on(self) -> None:
        self._resume = None
        self._loop.add_reader(self._output, self._read)

    def _read_lines(self) -> int:
        """Read once; return the number of bytes, 0 at the end, -1 when there is nothing now."""
        try:
            data = os.read(self._output, _READ_BYTES)
        except BlockingIOError:
            return -1
        if self._dump is not None and data:
            now_s = self._loop.time()
            self._dump_by_s = min(self._dump_by_s, now_s + _DUMP_S)
            self._dump.cancel()
            self._dump = self._loop.call_at(min(self._dump_by_s, now_s + _DUMP_SILENT_S), self._kill_now)
        for line in self._whole.feed(self._lines.feed(data, time.monotonic())):
            self._on_line(line)
        if self._silence is not None:
            self._silence.cancel()
        self._silence = self._loop.call_later(_WHOLE_S, self._end_whole) if self._whole.is_open else None
        return len(data)

    def _end_whole(self) -> None:
        for line in self._whole.end():
            self._on_line(line)
