"""The model process: constructs the author's class, then serves sessions until it is told to close.

    main thread   load → Runner.serve(): the author's __init__, start_session, reset, generator handlers
    io thread     reads the pipe: start, stop, commands, demands, releases, input frames, end of file
    command thread, while a blocking loop runs: handlers

Run as `python -m reactor_runtime.worker CONTROL PULSE FRAMES INPUT PARENT`: four inherited
descriptors, and the process id of its `reaper`, which the reaper adds. It listens on nothing, inherits nothing
else, and dies with the reaper by the kernel's parent-death signal where there is one, and at the end of the pipe.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import functools
import logging
import os
import queue
import resource
import signal
import socket
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from .. import limits
from ..errors import ModelFailed, ReactorError
from ..importing import importing_what_others_wrote
from ..running.frame_memory import INPUT_MAX_BYTES, PULSE_MEMORY_BYTES, FrameBooks, FrameMemory
from ..running.loading import load_model
from ..running.outlet import FrameInMemory
from ..running.pulse import IO_LANE, PULSE_BYTES, Pulse, mute, words_of
from ..running.runner import Runner
from ..types import (
    CommandCall,
    CommandOutcome,
    Demand,
    InputFrame,
    JsonObject,
    LogLine,
    ModelMessage,
    UploadedFile,
)
from ..weights import resolve
from . import records
from .breakpoints import PassedBy
from .failures import pack, unpack
from .log_pipe import LogPipe

#: prctl(2) PR_SET_PDEATHSIG, from <linux/prctl.h>.
_PR_SET_PDEATHSIG: Final = 1
#: Worker dies before the server does when the machine runs out of memory; proc(5), oom_score_adj.
_OOM_SCORE: Final = "500"
#: sysexits(3), EX_SOFTWARE: what the two processes believe of each other is not true any more.
_BROKEN: Final = 70


class ServerOutlet:
    """The pipe, as the runner and the io thread write to it. Any thread; records keep their order.

    Also in the middle of its own writing: what a signal's handler or a finaliser logs then goes behind it.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._lock = threading.RLock()
        self._unsent: deque[bytes] = deque()
        self._writing = False
        self._detached = False
        self.on_session_end: Callable[[], None] = lambda: None

    def detach(self) -> None:
        """In a fork: let go of the pipe, which is the model process's own."""
        self._sock.close()
        self._detached = True

    def send(self, record: records.ToServer) -> None:
        if self._detached:
            raise RuntimeError(
                "this process was forked from the model process, and only that one shows frames and talks to the "
                "viewers: hand results back to it, through a queue or a pipe"
            )
        data = records.encode(record)
        try:
            with self._lock:
                self._unsent.append(data)
                # Asked anew after each round, so that nothing stays behind that came at its very end.
                while self._unsent and not self._writing:
                    self._write()
        except OSError:
            os._exit(0)  # the server is gone, and nothing is worth doing without it

    def _write(self) -> None:
        """With the lock held."""
        self._writing = True
        try:
            while self._unsent:
                self._sock.sendall(self._unsent.popleft())
        finally:
            self._writing = False

    def frame(self, frame: FrameInMemory) -> None:
        self.send(frame)

    def frames_discarded(self) -> None:
        self.send(records.FramesDiscarded())

    def outcome(self, outcome: CommandOutcome) -> None:
        self.send(outcome)

    def message(self, message: ModelMessage) -> None:
        self.send(message)

    def metrics(self, values: JsonObject) -> None:
        self.send(records.Metrics(values))

    def frame_failed(self, raised: str) -> None:
        self.send(records.FrameFailed(raised))

    def session_ended(self, error: ModelFailed | None) -> None:
        self.on_session_end()
        self.send(records.Ended(None if error is None else pack(error)))

    def log(self, text: str) -> None:
        self.send(LogLine(text, logging.ERROR).cut())


class ServerReader:
    """The io thread: hands what the server sends to the runner."""

    def __init__(
        self, sock: socket.socket, outlet: ServerOutlet, input_memory: FrameMemory, words: memoryview
    ) -> None:
        self._pulse = Pulse(words, IO_LANE)
        self._sock = sock
        self._outlet = outlet
        self._input_memory = input_memory
        self._reader = records.RecordReader(records.TO_MODEL)
        self._records = self._read()
        self._weights: queue.SimpleQueue[records.Weights] = queue.SimpleQueue()
        self._asking = threading.Lock()
        #: The session's uploads by their id. They crossed once, and any command of the session may name them.
        self._files: dict[str, UploadedFile] = {}
        self.runner: Runner | None = None
        outlet.on_session_end = self.forget_uploads

    def first(self) -> records.Load:
        """Return what is to be loaded. Before `run`, on the main thread."""
        load = next(self._records)
        assert isinstance(load, records.Load)
        return load

    def ask(self, name: str) -> Path:
        """Let the server fetch weights, and wait for their folder. Any thread of the author's."""
        with self._asking:
            self._outlet.send(records.WantWeights(name))
            answer = self._weights.get()
        if answer.failure is not None:
            raise unpack(answer.failure)
        return Path(answer.folder)

    def forget_uploads(self) -> None:
        """The session is over. Before the server is told, so that no file of the next one is lost."""
        self._files = {}

    def run(self) -> None:
        try:
            for record in self._records:
                if isinstance(record, records.Weights):
                    self._weights.put(record)
                elif isinstance(record, records.Ping):
                    self._pulse.beat()
                # Before the model is loaded there is only Close, and for that the server kills.
                elif self.runner is not None:
                    self._hand_over(self.runner, record)
        except BaseException:  # without this thread nothing would reach the model any more
            traceback.print_exc()
            os._exit(_BROKEN)
        os._exit(0)

    def _read(self) -> Any:
        while data := self._sock.recv(limits.MIB):
            yield from self._reader.feed(data)

    def _hand_over(self, runner: Runner, record: records.ToModel) -> None:
        match record:
            case Demand():
                runner.demand(record)
            case records.Released(ticket):
                runner.released(ticket)
            case UploadedFile():
                self._files[record.upload_id] = record
            case records.Command(command_id, name, arguments, uploads):
                # Of the last session, whose files are gone, are only commands that nobody waits for any more.
                if self._files.keys() >= set(uploads.values()):
                    files = {key: self._files[upload_id] for key, upload_id in uploads.items()}
                    runner.command(CommandCall(command_id, name, arguments, files))
            case records.Input(ticket, offset, height, width, track, frame_id, arrived_s):
                pixels = self._input_memory.view(offset, height, width).copy()
                seen = runner.input(InputFrame(pixels, frame_id, arrived_s, track))
                self._outlet.send(records.InputDone(ticket, unseen=not seen))
            case records.Start(session_id, seed):
                if runner.busy:
                    self._outlet.log("the server was told that a session had ended, and it has not")
                    os._exit(_BROKEN)
                runner.start(session_id, seed=seed)
            case records.Stop():
                runner.stop()
            case records.Close():
                runner.close()


def main(argv: list[str]) -> None:
    control_fd, pulse_fd, frames_fd, input_fd, parent_pid = map(int, argv)
    for fd in (control_fd, pulse_fd, frames_fd, input_fd):
        os.set_inheritable(fd, False)
    _die_with(parent_pid)
    _prepare()
    pulse_memory = FrameMemory(pulse_fd, PULSE_MEMORY_BYTES, writable=True)
    words = words_of(pulse_memory.buffer()[:PULSE_BYTES])
    memory = FrameMemory(frames_fd, limits.RING_MAX_BYTES, writable=True)
    input_memory = FrameMemory(input_fd, INPUT_MAX_BYTES, writable=False)
    for fd in (pulse_fd, frames_fd, input_fd):
        os.close(fd)

    sock = socket.socket(fileno=control_fd)
    outlet = ServerOutlet(sock)
    os.register_at_fork(after_in_child=functools.partial(_become_a_plain_process, outlet))
    sys.breakpointhook = PassedBy(outlet.log)
    reader = ServerReader(sock, outlet, input_memory, words)
    load = reader.first()
    LogPipe(outlet.send).install(verbose=load.verbose)
    threading.Thread(target=reader.run, name="reactor-io", daemon=True).start()
    manifest_path = Path(load.manifest_path)
    if manifest_path.exists():
        # The paths that authors write ("./weights/model.pt") are seen from their project, wherever it is run from.
        manifest_path = manifest_path.resolve()
        os.chdir(manifest_path if manifest_path.is_dir() else manifest_path.parent)
    resolve.enter(resolve.Fetched({name: Path(folder) for name, folder in load.weights.items()}, reader.ask))
    try:
        model, info = load_model(manifest_path, load.overrides, outlet.log, importing_what_others_wrote)
    except ReactorError as error:
        outlet.send(records.LoadFailed(pack(error)))
        return
    runner = Runner(
        model,
        fps=info.fps if load.fps is None else load.fps,
        tracks=info.tracks,
        outlet=outlet,
        books=FrameBooks(size_bytes=limits.RING_MAX_BYTES, frames_max=limits.RING_MAX_FRAMES),
        memory=memory,
        words=words,
    )
    reader.runner = runner
    outlet.send(records.Loaded(info))
    runner.serve()


def _die_with(parent_pid: int) -> None:
    """Let the kernel kill this process when its reaper dies, also while a C call holds the GIL."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        os._exit(0)


def _become_a_plain_process(outlet: ServerOutlet) -> None:
    """In a fork that the author's code makes, as multiprocessing does: signals end it as they end any process."""
    faulthandler.unregister(signal.SIGUSR1)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    mute()
    outlet.detach()


def _prepare() -> None:
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    # Ctrl-C and SIGTERM are for the server, which drains. A handler, not SIG_IGN: that would be inherited.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: None)
    # Writing the core of a process with a network in it takes longer than the restart.
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_OOM_SCORE)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True, errors="backslashreplace")  # type: ignore[union-attr]
