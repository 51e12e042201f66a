"""A session of a model that a test drives by hand: one frame after the other, commands in between.

    test thread ── frame(), send() ──▶ loop thread ── demand, command ──▶ model thread
                ◀─ pixels, replies ──             ◀── frames, outcomes ──

The model makes no frame before it is asked for one, so what is sent now runs before the next frame, each
time. For tests: everything blocks, and nothing waits for longer than its limit. `testing` offers it to authors.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from ..config import Settings
from ..errors import CommandError, ModelFailed
from ..running.inline import InlineHost
from ..types import (
    WEBCAM,
    CommandCall,
    CommandOutcome,
    Demand,
    JsonObject,
    ModelInfo,
    ModelMessage,
    Pixels,
    track_names,
)
from .render import Catcher, Take
from .synthetic_camera import SyntheticCamera

_NOTHING_SENT = (
    "the model yields None and waits for a command.\n"
    "  Fix: session.send(...) what it waits for before asking for a frame."
)
#: Runs a coroutine on the loop's thread and returns what it returns.
Run: TypeAlias = Callable[[Coroutine[Any, Any, Any]], Any]


class LiveCatcher(Catcher):
    """What a test is told besides frames."""

    def __init__(self, log: Callable[[str], None]) -> None:
        super().__init__(log)
        self.messages: list[ModelMessage] = []
        self.reports: JsonObject = {}
        self.discarded = 0
        """The id of the last frame that the model took back."""

    def begin(self) -> None:
        super().begin()
        self.discarded = 0

    def frames_discarded(self) -> None:
        self.discarded = self.drop_frames() or self.discarded

    def message(self, message: ModelMessage) -> None:
        self.messages.append(message)

    def metrics(self, values: JsonObject) -> None:
        self.reports.update(values)


class _Camera:
    """The synthetic camera, until a test shows the model something of its own."""

    def __init__(self) -> None:
        self._synthetic = SyntheticCamera()
        self.replaced = False

    def __call__(self, frame_id: int) -> Pixels | None:
        return None if self.replaced else self._synthetic(frame_id)


class LiveSession:
    """One session that runs until its block ends. Made by `LoadedModel.session`; one thread uses it."""

    def __init__(
        self, run: Run, host: InlineHost, catcher: LiveCatcher, inputs: Sequence[str], camera: _Camera
    ) -> None:
        self._run = run
        self._camera = camera
        self._host = host
        self._catcher = catcher
        self._inputs = inputs
        self._last = 0
        self._calls = 0

    @property
    def messages(self) -> list[ModelMessage]:
        """What the model has sent to its viewers so far."""
        return list(self._catcher.messages)

    @property
    def reports(self) -> JsonObject:
        """The numbers that the model has reported, the last of each name."""
        return dict(self._catcher.reports)

    def frame(self, within_s: float = 30.0) -> Pixels:
        """Let the model make its next frame and return it: (height, width, 3) uint8 RGB, yours to keep.

        Raises EOFError when the model has ended the session, ModelFailed when it raised or made none in time.
        """
        found: Pixels | None = self._run(self._next(within_s))
        if found is None:
            raise self._catcher.error or EOFError("the model has ended the session")
        return found

    def frames(self, count: int, within_s: float = 30.0) -> Iterator[Pixels]:
        """Yield the next `count` frames; each is made when it is asked for."""
        for _ in range(count):
            yield self.frame(within_s)

    def send(self, name: str, within_s: float = 30.0, **arguments: Any) -> JsonObject | None:
        """Send a command, wait until its handler is done, and return the reply.

        It runs before the next frame. Raises CommandError with the code, message and field of a refusal; what a
        handler raised is the message.
        """
        outcome: CommandOutcome = self._run(self._send(name, arguments, within_s))
        if outcome.accepted:
            return outcome.reply
        raise CommandError(outcome.code, outcome.raised or outcome.message, field=outcome.field)

    def show_camera(self, pixels: Pixels) -> None:
        """Give the model a camera picture, (height, width, 3) uint8 RGB; it is there before the next frame.

        Until the first one, a model that takes video sees a synthetic camera.
        """
        self._camera.replaced = True
        for track in self._inputs:
            self._host.push_input(track, pixels)

    async def _next(self, within_s: float) -> Pixels | None:
        # A block brings several frames at once; asking for one that is there already asks for nothing.
        self._last = max(self._last, self._catcher.discarded)
        self._host.demand(Demand(self._last + 1, due_s=0.0, interval_s=1e6, watched=True))
        frame = await self._catcher.next(self._host, Take(Path(), stall_s=within_s, lacks=_NOTHING_SENT))
        if frame is None:
            return None
        self._last = frame.frame_id
        pixels = frame.pixels.copy()
        frame.release()
        return pixels

    async def _send(self, name: str, arguments: JsonObject, within_s: float) -> CommandOutcome:
        self._calls += 1
        self._host.send_command(CommandCall(self._calls, name, arguments))
        try:
            async with asyncio.timeout(within_s):
                while True:
                    for outcome in self._catcher.outcomes:
                        if outcome.command_id == self._calls:
                            return outcome
                    await asyncio.sleep(0.001)
        except TimeoutError:
            raise ModelFailed(f"{name} was not handled within {within_s:g} s") from None


class LoadedModel:
    """A constructed model and its sessions, one after the other, as users have them."""

    def __init__(self, run: Run, host: InlineHost, catcher: LiveCatcher) -> None:
        self._run = run
        self._host = host
        self._catcher = catcher
        self.info: ModelInfo = run(host.load())

    @property
    def model(self) -> Any:
        """The author's object. Look at it between two sessions."""
        return self._host.model

    @contextlib.contextmanager
    def session(self, *, seed: int | None = 0) -> Iterator[LiveSession]:
        """Run a session until the block ends; its random numbers repeat, unless `seed` is None.

        Raises ModelFailed at the end if the session failed, or did not stop in time.
        """
        self._catcher.messages.clear()
        inputs, camera = track_names(self.info.tracks, "in"), _Camera()
        self._run(self._begin(seed, camera if inputs else None))
        try:
            yield LiveSession(self._run, self._host, self._catcher, inputs or (WEBCAM,), camera)
        finally:
            self._run(self._end())
        if self._catcher.error is not None:
            raise self._catcher.error

    async def _begin(self, seed: int | None, camera: _Camera | None) -> None:
        self._catcher.begin()
        self._host.start_session("test", seed=seed, held=True, feed=camera)

    async def _end(self) -> None:
        await self._host.stop_session()
        await self._catcher.until_ended()


@contextlib.contextmanager
def loaded(project: str | Path, *, stop_s: float = 5.0, **args: Any) -> Iterator[LoadedModel]:
    """Load the model of a folder or manifest, and see its paths from there; `args` go to the constructor."""
    path = Path(project).resolve()
    folder = path if path.is_dir() else path.parent
    with _loop_thread() as run, contextlib.chdir(folder):

        async def make() -> tuple[InlineHost, LiveCatcher]:
            catcher = LiveCatcher(lambda line: print(line, file=sys.stderr))
            return InlineHost(catcher, path, args, Settings.load({"stop_s": stop_s}, {})), catcher

        host, catcher = run(make())
        try:
            yield LoadedModel(run, host, catcher)
        finally:
            run(host.close())


@contextlib.contextmanager
def _loop_thread() -> Iterator[Run]:
    """An event loop on a thread of its own, so that a test need not be asynchronous."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="reactor-test-loop", daemon=True)
    thread.start()
    try:
        yield lambda work: asyncio.run_coroutine_threadsafe(work, loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
