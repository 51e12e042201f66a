"""One session without a user: a script in, frames out, as fast as the model goes.

    script ─cues─▶ runner ─▶ model ─frame─▶ queue ─▶ digest ─▶ sink
    clip ──feed──▶            ▲                        │
                              └── released ────────────┘

The model runs on the in-process host, so the class is the one that `reactor run` serves. Nothing waits for
a clock: a demand for the last frame opens the gate for all of them, and the model is at most a few frames
ahead of the sink. With `realtime` the session's own pacer decides, as it does for a viewer.
"""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from ..config import Settings
from ..errors import ModelFailed, ModelHung
from ..pacing import Pacer
from ..running.inbox import Feed
from ..running.inline import InlineHost
from ..session_log.digests import digest_of
from ..types import (
    CommandOutcome,
    Cue,
    Demand,
    EmittedFrame,
    JsonObject,
    LogLine,
    ModelInfo,
    ModelMessage,
    track_names,
)

#: A generator that polled this often, with no command to come before its next frame, waits for one that never will.
POLLS_MAX: Final = 200
#: A time so far off that nothing comes due: the gate stays closed behind the last frame.
_NEVER_S: Final = 1e6
_LOOK_S: Final = 0.2


@dataclass(frozen=True, slots=True)
class Take:
    """What is rendered. `frames` None: until the model ends by itself."""

    manifest: Path
    args: Mapping[str, Any] = field(default_factory=dict)
    frames: int | None = None
    seed: int | None = None
    cues: Sequence[Cue] = ()
    feed: Feed | None = None
    realtime: bool = False
    fps: float | None = None
    """The playout rate of a real-time render; None: the model's cadence."""
    stall_s: float = 300.0
    """How long one frame may take."""
    lacks: str = ""
    """What a model waits for that yields None and never shows a frame, in words; "": a command of the script."""


@dataclass(slots=True)
class Rendered:
    """What came of it. `digest` is that of all frames, in order; equal digests are equal films."""

    frames: int = 0
    size: tuple[int, int] = (0, 0)
    first_frame_s: float = 0.0
    seconds: float = 0.0
    digest: str = ""
    ended: bool = False
    """The model ended the session before `frames` were made."""
    outcomes: list[CommandOutcome] = field(default_factory=list)

    @property
    def refused(self) -> list[CommandOutcome]:
        return [outcome for outcome in self.outcomes if not outcome.accepted]


#: Who is shown each frame of a render, on the event loop; true: that was the last one that is wanted. The
#: pixels are valid during the call.
Viewfinder = Callable[[EmittedFrame], bool | None]


async def render(
    take: Take,
    show: Viewfinder,
    *,
    loaded: Callable[[ModelInfo], Take | None] = lambda info: None,
    log: Callable[[str], None] = lambda line: None,
) -> Rendered:
    """Run one session and show its frames, at most `take.frames`.

    `loaded` is told of the model before the session begins, and may return what to render in place of `take`:
    only now the rate is known that a constructor sets. Raises what the author can fix, and ModelFailed
    when the session fails or stands still.
    """
    catcher = Catcher(log)
    host = InlineHost(catcher, take.manifest, take.args, Settings.load({}, {}))
    try:
        info = await host.load()
        take = loaded(info) or take
        if take.feed is None and track_names(info.tracks, "in") and not take.lacks:
            take = dataclasses.replace(take, lacks=_NO_CAMERA)
        rendered = await perform(host, catcher, take, show)
        if catcher.error is not None:
            raise catcher.error
        return rendered
    finally:
        await host.close()
        catcher.drop_frames()


async def perform(host: InlineHost, catcher: Catcher, take: Take, show: Viewfinder) -> Rendered:
    """Run one session on a loaded host whose events go to `catcher`, and end it.

    Raises ModelHung when it stands still; what else became of it is in `catcher.error`.
    """
    catcher.begin()
    rendered = Rendered(outcomes=catcher.outcomes)
    digest = hashlib.blake2b(digest_size=16)
    started_s = time.monotonic()
    host.start_session("headless", seed=take.seed, cues=take.cues, feed=take.feed, held=True)
    frames = _paced(catcher, host, take) if take.realtime else _unpaced(catcher, host, take)
    try:
        async for frame in frames:
            try:
                if not rendered.frames:
                    rendered.first_frame_s = time.monotonic() - started_s
                rendered.frames += 1
                rendered.size = (frame.pixels.shape[0], frame.pixels.shape[1])
                digest.update(digest_of(frame.pixels).encode())
                enough = show(frame)
            finally:
                frame.release()
            if enough or rendered.frames == take.frames:
                break
        else:
            rendered.ended = True
    finally:
        await frames.aclose()
        rendered.seconds = time.monotonic() - started_s
        await host.stop_session()
        await catcher.until_ended()
    rendered.digest = digest.hexdigest()
    return rendered


async def _unpaced(catcher: Catcher, host: InlineHost, take: Take) -> Any:
    last = take.frames or 2**62
    host.demand(Demand(last, due_s=0.0, interval_s=_NEVER_S, watched=True))
    while (frame := await catcher.next(host, take)) is not None:
        yield frame


async def _paced(catcher: Catcher, host: InlineHost, take: Take) -> Any:
    """As a viewer would see them, but those that a viewer would miss are shown as well."""
    pacer: Pacer[EmittedFrame] = Pacer(fps=take.fps)
    ended = False
    try:
        host.demand(pacer.demand(watched=True))
        while not ended or len(pacer):
            due_s = pacer.due_s()
            wait_s = None if due_s is None else max(0.0, due_s - time.monotonic())
            if not ended and wait_s != 0:
                try:
                    async with asyncio.timeout(wait_s):
                        frame = await catcher.next(host, take)
                except TimeoutError:
                    continue
                if frame is None:
                    ended = True
                else:
                    now_s = time.monotonic()
                    pacer.push(frame, frame_id=frame.frame_id, busy_s=frame.busy_s, now_s=now_s)
                continue
            await asyncio.sleep(wait_s or 0)
            popped = pacer.pop(time.monotonic())
            host.demand(pacer.demand(watched=True))
            if popped is not None:
                for each in (*popped[1], popped[0]):
                    yield each
    finally:
        for frame in pacer.clear():
            frame.release()


class Catcher:
    """HostEvents of a host that nobody watches: frames and the end in order, and what became of the commands."""

    def __init__(self, log: Callable[[str], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[EmittedFrame | None] = asyncio.Queue()
        self._log = log
        self.outcomes: list[CommandOutcome] = []
        self.error: ModelFailed | None = None
        self._ended = asyncio.Event()

    def begin(self) -> None:
        """A session is about to start: forget the one before."""
        self.drop_frames()
        self.outcomes, self.error = [], None
        self._ended.clear()

    async def until_ended(self) -> None:
        """Wait until the end of the session was told, which follows the end of `stop_session` at once."""
        await self._ended.wait()
        self.drop_frames()

    async def next(self, host: InlineHost, take: Take) -> EmittedFrame | None:
        """Return the next frame, or None at the end. Raises ModelHung when none comes."""
        deadline_s = time.monotonic() + take.stall_s
        while True:
            try:
                async with asyncio.timeout(_LOOK_S):
                    return await self._queue.get()
            except TimeoutError:
                if host.polls > POLLS_MAX:
                    raise ModelHung(take.lacks or _WAITS) from None
                if time.monotonic() > deadline_s:
                    raise ModelHung(take.lacks if take.lacks == _NO_CAMERA else _stalled(take)) from None

    def drop_frames(self) -> int:
        """Release what waits, and return the id of the last one, 0 without any."""
        last = 0
        while not self._queue.empty():
            if (frame := self._queue.get_nowait()) is not None:
                last = frame.frame_id
                frame.release()
        return last

    def frame(self, frame: EmittedFrame) -> None:
        self._loop.call_soon_threadsafe(self._queue.put_nowait, frame)

    def frames_discarded(self) -> None:
        """Every frame that was made is shown here, so that a film does not depend on who was how fast."""

    def outcome(self, outcome: CommandOutcome) -> None:
        self.outcomes.append(outcome)

    def message(self, message: ModelMessage) -> None: ...

    def metrics(self, values: JsonObject) -> None: ...

    def frame_failed(self, raised: str) -> None: ...  # the log has it

    def session_ended(self, error: ModelFailed | None) -> None:
        self.error = self.error or error
        self._queue.put_nowait(None)
        self._ended.set()

    def failed(self, error: ModelFailed) -> None:
        self.session_ended(error)

    def log(self, line: LogLine) -> None:
        self._log(line.text)


def _stalled(take: Take) -> str:
    return (
        f"no frame within {take.stall_s:g} s.\n  Fix: look where it waits, or allow it more time (stall_s)."
    )


_NO_CAMERA = (
    "the model waits for the camera, and there is none.\n"
    "  Fix: give it a film in place of the camera, with --input CLIP."
)
_WAITS = (
    "the model yields None and waits for a command, and the script has none for this frame.\n"
    '  Fix: let the script send it. If start_session() begins with forgetting it, add "waits": 1 to that line.'
)
