"""Logs every session that runs on a host: a ModelHost around another one.

    session ─▶ LoggedHost ─▶ host        commands on their way in; a seed for each session
    session ◀─ _Tap       ◀─ host        outcomes with their place, frames on their way out
                 │
                 └─▶ digest thread ─▶ logbook.OpenLog

It belongs to the host's event loop, except for frames, which come from any thread. A frame goes on to the session at
once; its digest is made on a thread of this host meanwhile, and its memory is given back when both are done.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import random
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import cv2

from .. import __version__, limits
from ..config import SessionLogSettings
from ..errors import ModelFailed, ReactorError
from ..host import HostCounters, HostEvents, HostState, ModelHost
from ..types import (
    CommandCall,
    CommandOutcome,
    Demand,
    EmittedFrame,
    JsonObject,
    LogLine,
    ModelInfo,
    ModelMessage,
    Pixels,
    track_names,
)
from .digests import digest_of
from .lines import Began, Camera, Ended, Ran, Saw, redacted
from .logbook import Logbook, OpenLog

_PICTURE_SIDE: Final = 160
_PICTURE_QUALITY: Final = 80


@dataclass(frozen=True, slots=True)
class Described:
    """What a log says of a model beyond what its host tells. `weights` as `weights_of` returns them."""

    model_class: str
    args: JsonObject
    weights: dict[str, str]


class LoggedHost:
    """A ModelHost whose sessions are logged into a logbook."""

    def __init__(
        self,
        events: HostEvents,
        make_host: Callable[[HostEvents], ModelHost],
        settings: SessionLogSettings,
        logbook: Logbook,
        describe: Callable[[], Described],
        *,
        slot: int = 0,
    ) -> None:
        """`describe` is called on a thread, when the model is loaded."""
        self._slot = slot
        self._events = events
        self._host = make_host(_Tap(self))
        self._settings = settings
        self._logbook = logbook
        self._describe = describe
        self._info: ModelInfo | None = None
        self._writer: _Writer | None = None
        self._digests = ThreadPoolExecutor(1, "reactor-session-log")

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
            seed = random.SystemRandom().randrange(limits.SEED_MAX + 1)
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
        self._writer = _Writer(self._logbook.begin(began, slot=self._slot), self._info, self._digests)
        self._host.start_session(session_id, seed=seed)

    async def stop_session(self) -> None:
        await self._host.stop_session()
        await self._written()

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
        await asyncio.to_thread(self._digests.shutdown)

    async def _written(self) -> None:
        """Wait until the digests of all frames so far are in the log."""
        with contextlib.suppress(RuntimeError):  # closed meanwhile
            await asyncio.wrap_future(self._digests.submit(lambda: None))

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
        writer = self._owner._writer
        self._events.frame(frame if writer is None else writer.frame(frame))

    def frames_discarded(self) -> None:
        # Nothing for the log: it tells what was made, which a replay makes again, shown or not.
        self._events.frames_discarded()

    def outcome(self, outcome: CommandOutcome) -> None:
        if (writer := self._owner._writer) is not None:
            writer.outcome(outcome)
        self._events.outcome(outcome)

    def message(self, message: ModelMessage) -> None:
        self._events.message(message)

    def metrics(self, values: JsonObject) -> None:
        self._events.metrics(values)

    def frame_failed(self, raised: str) -> None:
        self._events.frame_failed(raised)

    def session_ended(self, error: ModelFailed | None) -> None:
        self._owner._end(error)
        self._events.session_ended(error)

    def failed(self, error: ModelFailed) -> None:
        self._owner._end(error)
        self._events.failed(error)

    def log(self, line: LogLine) -> None:
        self._events.log(line)


class _Writer:
    """What one session's log says."""

    def __init__(self, lines: OpenLog, info: ModelInfo, digests: ThreadPoolExecutor) -> None:
        self._lines = lines
        self._began = lines.began
        self._digests = digests
        self._main_track = track_names(info.tracks, "out")[0]
        self._schemas = {command.name: command.parameters for command in info.commands}
        self._calls: dict[int, CommandCall] = {}
        self._frames = 0
        self._digest_next = False
        self._camera = False

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
        self._lines.write(
            Ran(
                frame=outcome.frame_id,
                waits=outcome.waits,
                name=call.name,
                arguments=arguments,
                code=outcome.code,
                uploads=len(call.uploads),
            )
        )

    def frame(self, frame: EmittedFrame) -> EmittedFrame:
        """Return the frame as it goes on. What a log counts and compares are those of the main track."""
        if frame.track != self._main_track:
            return frame
        self._frames = frame.frame_id
        every = self._began.digest_every
        # The first frame after a command tells at once whether that command did the same.
        wanted = self._digest_next or frame.frame_id == 1 or frame.frame_id % every == 0
        if not wanted or not self._lines.is_open:
            return frame
        self._digest_next = False
        # What waits for its digest holds frame memory, whose bound makes emit wait; so nothing piles up here.
        shared = replace(frame, release=_both(frame.release))
        try:
            self._digests.submit(self._saw, shared)
        except RuntimeError:  # the host was closed
            return frame
        return shared

    def _saw(self, frame: EmittedFrame) -> None:
        try:
            self._lines.write(
                Saw(
                    frame=frame.frame_id,
                    size=(frame.pixels.shape[0], frame.pixels.shape[1]),
                    digest=digest_of(frame.pixels),
                    picture=_small(frame.pixels) if self._lines.has_pictures else "",
                )
            )
        finally:
            frame.release()

    def camera(self) -> None:
        if not self._camera:
            self._camera = True
            self._lines.write(Camera(frame=self._frames + 1))

    def end(self, error: ModelFailed | None) -> None:
        ended = Ended(frames=self._frames, code="" if error is None else error.code)

        def write() -> None:
            self._lines.write(ended)
            self._lines.close()

        # Behind the digests that are still being made.
        self._digests.submit(write)


def _both(release: Callable[[], None]) -> Callable[[], None]:
    """Return what two users call once each; the second call gives the memory back."""
    lock = threading.Lock()
    left = 2

    def released() -> None:
        nonlocal left
        with lock:
            left -= 1
            last = left == 0
        if last:
            release()

    return released


def _small(pixels: Pixels) -> str:
    """Return a small JPEG in base64, enough to see what differs."""
    height, width = pixels.shape[:2]
    scale = min(1.0, _PICTURE_SIDE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.cvtColor(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2BGR)
    _, jpeg = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, _PICTURE_QUALITY])
    return base64.b64encode(jpeg.tobytes()).decode()


def weights_of(listed: Iterable[str], *, beside: Path) -> dict[str, str]:
    """Return what stands for each of these weights on this machine: of a folder its index, else its listing."""
    found = {}
    for name in listed:
        try:
            found[name] = _weights_digest(name, beside)
        except (ReactorError, OSError) as error:
            found[name] = f"unknown: {type(error).__name__}"
    return found


def _weights_digest(listed: str, beside: Path) -> str:
    from ..weights import names, resolve

    ref = names.parse(listed)
    with contextlib.closing(resolve.registry()) as registry:
        folder = resolve.local_folder(ref.name, beside=beside) or registry.cached_folder(ref)
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
