"""Writes the log of every session that runs on a host: a ModelHost around another one.

    session ─▶ LoggedHost ─▶ host        commands on their way in; a seed for each session
    session ◀─ _Tap       ◀─ host        outcomes with their place, frames with their digest

It belongs to the host's event loop, except for frames, which come from any thread; one lock orders the lines.
Each line is one write to the file, so that what was written survives a kill of this process. A log that
grows beyond its limit, or cannot be written, ends with a warning, and the session goes on.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import logging
import os
import random
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import cv2

from . import __version__, limits
from .config import Settings
from .digests import digest_of
from .errors import ModelFailed, ReactorError
from .host import HostCounters, HostEvents, HostState, ModelHost
from .session_log import Began, Camera, Ended, Ran, Saw, redacted
from .types import (
    CommandCall,
    CommandOutcome,
    Demand,
    EmittedFrame,
    JsonObject,
    ModelInfo,
    ModelMessage,
    Pixels,
)

log = logging.getLogger(__name__)

_PICTURE_SIDE: Final = 160
_PICTURE_QUALITY: Final = 80


@dataclass(frozen=True, slots=True)
class Described:
    """What a log says of a model beyond what its host tells. `weights` as `weights_of` returns them."""

    model_class: str
    args: JsonObject
    weights: dict[str, str]


class LoggedHost:
    """A ModelHost whose sessions are logged into `settings.log_session`."""

    def __init__(
        self,
        events: HostEvents,
        make_host: Callable[[HostEvents], ModelHost],
        settings: Settings,
        describe: Callable[[], Described],
    ) -> None:
        """`describe` is called on a thread, when the model is loaded."""
        self._events = events
        self._host = make_host(_Tap(self))
        self._settings = settings
        self._describe = describe
        self._info: ModelInfo | None = None
        self._writer: _Writer | None = None

    @property
    def state(self) -> HostState:
        return self._host.state

    @property
    def pid(self) -> int | None:
        return self._host.pid

    async def load(self) -> ModelInfo:
        self._info = await self._host.load()
        self._described = await asyncio.to_thread(self._describe)
        return self._info

    def start_session(self, session_id: str, *, seed: int | None = None) -> None:
        if seed is None:
            seed = random.SystemRandom().randrange(2**32)
        assert self._info is not None
        described = self._described
        began = Began(
            session_id=session_id,
            started=datetime.now(UTC).isoformat(timespec="seconds"),
            runtime=__version__,
            model=self._info.name,
            version=self._info.version,
            model_class=described.model_class,
            args=described.args,
            weights=described.weights,
            seed=seed,
            fps=self._info.fps,
            digest_every=self._settings.log_digest_every,
            redacted=self._settings.log_redact,
        )
        self._writer = _Writer(Path(self._settings.log_session), began, self._info)
        self._host.start_session(session_id, seed=seed)

    async def stop_session(self) -> None:
        await self._host.stop_session()

    def send_command(self, call: CommandCall) -> None:
        self._host.send_command(call)
        if self._writer is not None:
            self._writer.sent(call)

    def demand(self, demand: Demand) -> None:
        self._host.demand(demand)

    def push_input(self, track: str, pixels: Pixels) -> None:
        if self._writer is not None:
            self._writer.camera()
        self._host.push_input(track, pixels)

    def counters(self) -> HostCounters:
        return self._host.counters()

    async def close(self) -> None:
        await self._host.close()
        self._end(None)

    def _end(self, error: ModelFailed | None) -> None:
        if self._writer is not None:
            self._writer.end(error)
            self._writer = None


class _Tap:
    """HostEvents on their way out of the host."""

    def __init__(self, owner: LoggedHost) -> None:
        self._owner = owner
        self._events = owner._events

    def frame(self, frame: EmittedFrame) -> None:
        if (writer := self._owner._writer) is not None:
            writer.frame(frame)
        self._events.frame(frame)

    def outcome(self, outcome: CommandOutcome) -> None:
        if (writer := self._owner._writer) is not None:
            writer.outcome(outcome)
        self._events.outcome(outcome)

    def message(self, message: ModelMessage) -> None:
        self._events.message(message)

    def metrics(self, values: JsonObject) -> None:
        self._events.metrics(values)

    def session_ended(self, error: ModelFailed | None) -> None:
        self._owner._end(error)
        self._events.session_ended(error)

    def failed(self, error: ModelFailed) -> None:
        self._owner._end(error)
        self._events.failed(error)

    def log(self, line: str) -> None:
        self._events.log(line)


class _Writer:
    """One session's file."""

    def __init__(self, folder: Path, began: Began, info: ModelInfo) -> None:
        self._began = began
        self._schemas = {command.name: command.parameters for command in info.commands}
        self._calls: dict[int, CommandCall] = {}
        self._frames = 0
        self._digest_next = False
        self._camera = False
        self._size_bytes = 0
        self._lock = threading.Lock()
        name = f"{time.strftime('%Y%m%d-%H%M%S')}-{began.session_id[:8]}.jsonl"
        self._path = folder / name
        try:
            folder.mkdir(parents=True, exist_ok=True)
            # Prompts are private: only this user reads them. Unbuffered: each line is on its way at once.
            self._file = open(self._path, "xb", buffering=0, opener=_private)  # noqa: SIM115
        except OSError as error:
            log.warning("the session is not logged: %s: %s", self._path, error)
            self._open = False
            return
        self._open = True
        self._write(began)
        log.info("session log: %s", self._path)

    def sent(self, call: CommandCall) -> None:
        self._calls[call.command_id] = call

    def outcome(self, outcome: CommandOutcome) -> None:
        call = self._calls.pop(outcome.command_id, None)
        if call is None or not outcome.frame_id:
            return  # the session ended before it ran
        arguments = call.arguments
        if self._began.redacted:
            arguments = redacted(arguments, self._schemas.get(call.name))
        self._digest_next = True
        self._write(
            Ran(
                frame=outcome.frame_id,
                waits=outcome.waits,
                name=call.name,
                arguments=arguments,
                code=outcome.code,
                uploads=len(call.uploads),
            )
        )

    def frame(self, frame: EmittedFrame) -> None:
        self._frames = frame.frame_id
        every = self._began.digest_every
        # The first frame after a command tells at once whether that command did the same.
        if not (self._digest_next or frame.frame_id == 1 or frame.frame_id % every == 0) or not self._open:
            return
        self._digest_next = False
        self._write(
            Saw(
                frame=frame.frame_id,
                size=(frame.pixels.shape[0], frame.pixels.shape[1]),
                digest=digest_of(frame.pixels),
                picture="" if self._began.redacted else _small(frame.pixels),
            )
        )

    def camera(self) -> None:
        if not self._camera:
            self._camera = True
            self._write(Camera(frame=self._frames + 1))

    def end(self, error: ModelFailed | None) -> None:
        self._write(Ended(frames=self._frames, code="" if error is None else error.code))
        self._close()

    def _write(self, record: Began | Ran | Saw | Camera | Ended) -> None:
        with self._lock:
            if not self._open:
                return
            line = record.line().encode()
            self._size_bytes += len(line)
            try:
                if self._size_bytes > limits.SESSION_LOG_MAX_BYTES:
                    raise OSError(f"it would be larger than {limits.SESSION_LOG_MAX_BYTES} bytes")
                self._file.write(line)
            except OSError as error:
                log.warning("the log of the session ends here: %s: %s", self._path, error)
                self._open = False
                self._file.close()

    def _close(self) -> None:
        with self._lock:
            if self._open:
                self._open = False
                self._file.close()


def _small(pixels: Pixels) -> str:
    """Return a small JPEG in base64, enough to see what differs."""
    height, width = pixels.shape[:2]
    scale = min(1.0, _PICTURE_SIDE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.cvtColor(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2BGR)
    _, jpeg = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, _PICTURE_QUALITY])
    return base64.b64encode(jpeg.tobytes()).decode()


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def weights_of(listed: Iterable[str], *, beside: Path) -> dict[str, str]:
    """Return what stands for each of these weights on this machine: of a folder its index, else its listing."""
    return {name: _weights_digest(name, beside) for name in listed}


def _weights_digest(listed: str, beside: Path) -> str:
    from .weights import names, resolve

    ref = names.parse(listed)
    try:
        with contextlib.closing(resolve.registry()) as registry:
            folder = resolve.local_folder(ref.name, beside=beside) or registry.cached_folder(ref)
    except (ReactorError, OSError) as error:
        return f"unknown: {type(error).__name__}"
    if folder is None:
        return "unknown: not on this machine"
    index = folder / names.INDEX_FILE
    if index.is_file():
        return "index sha256:" + hashlib.sha256(index.read_bytes()).hexdigest()
    listing = sorted(
        (path.relative_to(folder).as_posix(), path.stat().st_size)
        for path in folder.rglob("*")
        if path.is_file()
    )
    return "listing sha256:" + hashlib.sha256(repr(listing).encode()).hexdigest()
