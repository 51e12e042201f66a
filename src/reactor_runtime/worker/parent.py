"""The server's side of the model process: a ModelHost whose model may crash, hang or run out of memory.

    ProcessHost ── Channel ═════ records ═════▶ child          commands, demands, releases
         │      ◀═════ records ══════════════                  frames, outcomes, messages
         ├── FrameMemory  (mapped by both)                     pixels, both ways
         ├── Watchdog     (reads the pulse, in memory mapped by both)
         └── ModelProcess (start, output, exit, kill)

Everything happens on the host's event loop, except `push_input` and a frame's `release`, which may be
called from any thread. Whatever the child does, this ends in one of two ways: it goes on, or the process
is gone, everything that belonged to it is released, and `failed` was told why.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, assert_never

from .. import codes, limits
from ..config import HostSettings
from ..errors import CommandRejected, ModelCrashed, ModelFailed, ModelHung, ReactorError
from ..host import HostCounters, HostEvents, HostState
from ..running.frame_memory import (
    INPUT_MAX_BYTES,
    PULSE_MEMORY_BYTES,
    FrameMemory,
    create_memory,
)
from ..running.outlet import FrameInMemory
from ..running.pulse import MODEL_LANE, PULSE_BYTES, Pulse, PulseLimits, PulseState, words_of
from ..types import (
    CommandCall,
    CommandOutcome,
    Demand,
    LogLine,
    ModelInfo,
    ModelMessage,
    Pixels,
    track_names,
)
from . import records
from .channel import Channel
from .command_sender import CommandSender
from .core_wait import CoreWait, run_queues
from .failures import of_exit, out_of_memory_kills, pack, unpack, unpack_failed
from .frame_receiver import FrameReceiver
from .input_sender import InputSender
from .process import ModelProcess
from .supply import Supply
from .threads import usable_cores
from .watchdog import PINGS, Watchdog

#: How long an idle model process may take to end by itself, with whatever its libraries do at exit.
EXIT_S: Final = 1.0


class ProcessHost:
    """A ModelHost with a process of its own."""

    def __init__(
        self,
        events: HostEvents,
        manifest_path: Path,
        args_overrides: Mapping[str, Any],
        settings: HostSettings,
        supply: Supply | None = None,
        *,
        gpu: str = "",
    ) -> None:
        """`supply` has fetched what the manifest lists; None: a registry is opened when the model asks.

        `gpu` is the one that the process sees, as CUDA names it; "": all.
        """
        self._gpu = gpu
        self._events = events
        self._supply = supply or Supply(manifest_path, args_overrides, settings)
        self._own_supply = supply is None
        self._asked: set[asyncio.Task[None]] = set()
        weights = {name: str(folder) for name, folder in self._supply.folders.items()}
        self._load = records.Load(
            str(manifest_path), dict(args_overrides), settings.fps, weights, settings.verbose
        )
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        self._state = HostState.CREATED
        self._arrived = self._unfinished_pings = 0
        self._loaded: asyncio.Future[ModelInfo] = self._loop.create_future()
        self._process: ModelProcess | None = None
        self._channel: Channel | None = None
        self._watchdog: Watchdog | None = None
        self._input = InputSender()
        self._commands = CommandSender(events.outcome)
        self._frames = FrameReceiver(events.frame)
        self._core_wait = CoreWait(lambda: run_queues(self.pid), usable_cores())
        self._oom_kills = 0
        #: Why this side killed the process; None while it has not.
        self._verdict: ReactorError | None = None
        self._settled = asyncio.Event()
        self._gone = asyncio.Event()

    @property
    def state(self) -> HostState:
        return self._state

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    async def load(self) -> ModelInfo:
        assert self._state is HostState.CREATED
        self._state = HostState.LOADING
        self._oom_kills = out_of_memory_kills()
        self._spawn()
        assert self._channel is not None
        self._channel.send(self._load)
        try:
            return await self._loaded
        except BaseException:
            # Also when this task is cancelled: nobody would get a model that was loaded then.
            await self._end_process(0.0)
            self._release_all()
            raise

    def start_session(self, session_id: str, *, seed: int | None = None) -> None:
        assert self._state is HostState.IDLE
        self._state = HostState.RUNNING
        self._settled.clear()
        self._commands.begin()
        self._frames.begin()
        self._core_wait.begin()
        self._send(records.Start(session_id, seed))

    async def stop_session(self) -> None:
        if self._state is not HostState.RUNNING:
            return
        self._send(records.Stop())
        try:
            await asyncio.wait_for(self._settled.wait(), self._settings.stop_s)
        except TimeoutError:
            self._kill(ModelHung(f"start_session did not end within {self._settings.stop_s:g} s of its stop"))
            await self._settled.wait()

    def send_command(self, call: CommandCall) -> None:
        if self._state is not HostState.RUNNING:
            raise CommandRejected("no session runs", code=codes.SESSION_ENDED)
        self._commands.send(call)

    def demand(self, demand: Demand) -> None:
        if self._state is HostState.RUNNING:
            assert self._channel is not None
            self._frames.demanded(demand)
            self._channel.send_latest(demand.track, demand)

    def push_input(self, track: str, pixels: Pixels) -> None:
        self._input.push(track, pixels)

    def counters(self) -> HostCounters:
        process = self._process
        cpu_s, rss_bytes = process.usage() if process is not None else (0.0, 0)
        return HostCounters(
            frames=self._frames.frames,
            emit_s=self._frames.emit_s,
            log_lines_dropped=process.lines_dropped if process is not None else 0,
            input_frames_dropped=self._input.dropped,
            model_cpu_s=cpu_s,
            model_core_wait_s=self._core_wait.waited_s,
            model_rss_bytes=rss_bytes,
        )

    async def close(self) -> None:
        if self._state is HostState.CLOSED:
            await self._gone_if_started()
            return
        # While the author's constructor runs there is nobody in the process to ask.
        patience_s = {HostState.IDLE: EXIT_S, HostState.RUNNING: self._settings.stop_s}.get(self._state, 0.0)
        self._state = HostState.CLOSED
        self._commands.settle(codes.SESSION_ENDED, "the runtime is stopping")
        self._settled.set()
        await self._end_process(patience_s)
        self._release_all()

    # The process ------------------------------------------------------------------------------------

    def _spawn(self) -> None:
        ours, theirs = socket.socketpair()
        sizes = (PULSE_MEMORY_BYTES, limits.RING_MAX_BYTES, INPUT_MAX_BYTES)
        fds: list[int] = []
        try:
            for size_bytes in sizes:
                fds.append(create_memory(size_bytes))
            pulse_memory = FrameMemory(fds[0], sizes[0], writable=True)
            memory = FrameMemory(fds[1], sizes[1], writable=False)
            words = words_of(pulse_memory.buffer()[:PULSE_BYTES])
            # Counted from here, so that an interpreter that never starts is noticed as well.
            Pulse(words, MODEL_LANE).enter(PulseState.LOADING)
            inherited = (theirs.fileno(), *fds)
            self._process = ModelProcess(
                inherited,
                threads=self._settings.model_threads,
                slots=self._settings.slot_count,
                gpu=self._gpu,
                on_exit=self._on_exit,
                on_line=self._events.log,
            )
            self._channel = Channel(ours, on_record=self._on_record, on_garbage=self._on_garbage)
            self._frames.open(memory, self._channel)
            self._commands.open(self._channel)
            self._input.open(FrameMemory(fds[2], sizes[2], writable=True), self._channel)
            settings = self._settings
            self._watchdog = Watchdog(
                words,
                PulseLimits(settings.load_s, settings.first_frame_s, settings.hang_s),
                self._on_hang,
                ping=self._ping,
                overdue_since=self._overdue_since,
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
            for fd in fds:
                os.close(fd)

    def _send(self, record: records.ToModel) -> None:
        if self._channel is not None:
            self._channel.send(record)

    def _kill(self, verdict: ReactorError) -> None:
        if self._process is not None and self._verdict is None:
            self._verdict = verdict
            self._process.kill(dump=True)

    async def _end_process(self, patience_s: float) -> None:
        """Ask the process to end, kill it after a while, and wait until it is gone."""
        process = self._process
        if process is None:
            return
        if self._verdict is None and patience_s > 0:
            self._send(records.Close())
            try:
                await asyncio.wait_for(self._gone.wait(), patience_s)
            except TimeoutError:
                process.kill(dump=False)
        else:
            process.kill(dump=False)
        await self._gone.wait()

    async def _gone_if_started(self) -> None:
        if self._process is not None:
            await self._gone.wait()

    def _release_all(self) -> None:
        """Let go of everything that belonged to the process, which is gone."""
        if self._watchdog is not None:
            self._watchdog.close()
            self._watchdog = None
        self._input.close()
        if self._channel is not None:
            self._channel.close()
        if self._process is not None:
            self._process.close()
        for task in self._asked:
            task.cancel()
        if self._own_supply:
            self._supply.close()
        self._frames.close()

    def _on_exit(self, exit_code: int) -> None:
        if self._channel is not None:
            self._channel.drain()
        self._gone.set()
        error = self._verdict
        if error is None:
            oom = out_of_memory_kills() > self._oom_kills
            error = of_exit(exit_code, out_of_memory=oom)
        self._fail(error)

    def _on_hang(self, state: PulseState, silent_s: float) -> None:
        match state:
            case PulseState.LOADING:
                what = "loading the model made no progress"
            case PulseState.WARMING | PulseState.BUSY:
                what = "the model made no progress"
            case _:
                what = "the model process waited and gave no sign of life or no frame"
        self._kill(ModelHung(f"{what} for {silent_s:.1f} s, its limit; it was killed"))

    def _ping(self) -> None:
        """Ask for a sign of life. A record that many pings see unfinished claimed more than it holds."""
        channel = self._channel
        if channel is None:
            return
        channel.send_latest("ping", records.Ping())
        if not channel.unfinished or channel.records != self._arrived:
            self._arrived, self._unfinished_pings = channel.records, 0
        else:
            self._unfinished_pings += 1
            if self._unfinished_pings >= PINGS:
                self._on_garbage(records.RecordError("a record was begun and not finished"))

    def _overdue_since(self) -> float | None:
        return self._frames.overdue_since if self._state is HostState.RUNNING else None

    def _on_garbage(self, error: records.RecordError) -> None:
        self._kill(ModelCrashed(f"the model process broke the protocol: {error}"))

    def _fail(self, error: ReactorError) -> None:
        """The process is gone, or the model could not be loaded."""
        if self._state in (HostState.CLOSED, HostState.FAILED):
            if not self._loaded.done():
                self._loaded.set_exception(ModelFailed("the host was closed while the model was loading"))
                self._loaded.exception()
            return
        was_loading = self._state is HostState.LOADING
        self._state = HostState.FAILED
        if was_loading:
            if not self._loaded.done():
                self._loaded.set_exception(error)
            return
        assert isinstance(error, ModelFailed)
        self._commands.settle(error.code, error.public())
        self._release_all()
        self._settled.set()
        self._events.failed(error)

    # What the model process tells ---------------------------------------------------------------------

    def _on_record(self, record: records.ToServer) -> None:
        match record:
            case FrameInMemory():
                if self._state is not HostState.CLOSED:
                    self._frames.take(record, running=self._state is HostState.RUNNING)
                    slow = self._core_wait.frame(record.busy_s + record.emit_s, record.emitted_s)
                    if slow is not None:
                        self._events.log(LogLine(slow, logging.WARNING))
            case records.FramesDiscarded():
                if self._state is HostState.RUNNING:
                    self._events.frames_discarded()
            case CommandOutcome():
                self._commands.answered(record)
            case ModelMessage():
                self._events.message(record)
            case LogLine():
                self._events.log(record.cut())
            case records.Metrics(values):
                self._events.metrics(values)
            case records.FrameFailed(raised):
                self._events.frame_failed(raised[: limits.LOG_LINE_MAX])
            case records.InputDone(ticket, unseen):
                self._input.done(ticket, unseen=unseen)
            case records.Ended(failure):
                self._on_ended(failure)
            case records.Loaded(info):
                if self._state is HostState.LOADING and not self._loaded.done():
                    self._state = HostState.IDLE
                    self._frames.declare(track_names(info.tracks, "out"))
                    self._loaded.set_result(info)
            case records.WantWeights(name):
                task = self._loop.create_task(self._give_weights(name))
                self._asked.add(task)
                task.add_done_callback(self._asked.discard)
            case records.LoadFailed(failure):
                if self._state is HostState.LOADING:
                    self._fail(unpack(failure))
            case _:
                assert_never(record)

    async def _give_weights(self, name: str) -> None:
        try:
            answer = records.Weights(name, str(await self._supply.pull(name)), None)
        except ReactorError as error:
            answer = records.Weights(name, "", pack(error))
        self._send(answer)

    def _on_ended(self, failure: records.Failure | None) -> None:
        if self._state is not HostState.RUNNING:
            return
        self._commands.settle(codes.SESSION_ENDED, "the session has ended")
        self._state = HostState.IDLE
        self._settled.set()
        self._events.session_ended(None if failure is None else unpack_failed(failure))
