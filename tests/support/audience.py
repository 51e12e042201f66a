"""One user who looks at one frame after the other, for tests of a model without a server.

    async with watching(folder) as user:
        picture = await user.look()
        await user.tell("set_text", text="hello")

The model is held two frames ahead of the user, so a command acts at a frame that is always the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from reactor_runtime.config import Settings
from reactor_runtime.errors import ModelFailed
from reactor_runtime.running.inline import InlineHost
from reactor_runtime.types import (
    CommandCall,
    CommandOutcome,
    EmittedFrame,
    JsonObject,
    LogLine,
    ModelInfo,
    ModelMessage,
    Pixels,
)
from reactor_runtime.worker.parent import ProcessHost

WITHIN_S = 30.0


class Audience:
    """Receives what a host tells, and acts as its user. Make it with `watching`."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._frames: asyncio.Queue[EmittedFrame] = asyncio.Queue()
        self._outcomes: asyncio.Queue[CommandOutcome] = asyncio.Queue()
        self.messages: list[ModelMessage] = []
        self.lines: list[str] = []
        self.records: list[LogLine] = []
        self.error: ModelFailed | None = None
        self._calls = 0
        self.host: InlineHost | ProcessHost
        self.info: ModelInfo

    # HostEvents

    def frame(self, frame: EmittedFrame) -> None:
        self._loop.call_soon_threadsafe(self._frames.put_nowait, frame)

    def frames_discarded(self) -> None:
        while not self._frames.empty():
            self._frames.get_nowait().release()

    def outcome(self, outcome: CommandOutcome) -> None:
        self._outcomes.put_nowait(outcome)

    def message(self, message: ModelMessage) -> None:
        self.messages.append(message)

    def metrics(self, values: JsonObject) -> None: ...

    def frame_failed(self, raised: str) -> None: ...

    def session_ended(self, error: ModelFailed | None) -> None:
        self.error = error

    def failed(self, error: ModelFailed) -> None:
        self.error = error

    def log(self, line: LogLine) -> None:
        self.records.append(line)
        self.lines.append(line.text)

    # What the user does

    async def look(self, count: int = 1) -> Pixels:
        """Look at this many frames and return a copy of the last."""
        assert count > 0
        for _ in range(count):
            await self._until_two_ahead()
            frame = self._frames.get_nowait()
            pixels = frame.pixels.copy()
            frame.release()
        return pixels

    async def say(self, name: str, **arguments: Any) -> CommandOutcome:
        await self._until_two_ahead()
        self._calls += 1
        self.host.send_command(CommandCall(self._calls, name, arguments))
        return await asyncio.wait_for(self._outcomes.get(), WITHIN_S)

    async def tell(self, name: str, **arguments: Any) -> JsonObject | None:
        """Send a command that must be accepted."""
        outcome = await self.say(name, **arguments)
        assert outcome.accepted, (outcome, self.lines)
        return outcome.reply

    async def leave(self) -> None:
        await self.host.stop_session()
        while not self._frames.empty():
            self._frames.get_nowait().release()
        await asyncio.sleep(0)  # frames that were on their way to the queue
        while not self._frames.empty():
            self._frames.get_nowait().release()

    async def _until_two_ahead(self) -> None:
        async with asyncio.timeout(WITHIN_S):
            while self._frames.qsize() < 2:
                assert self.error is None, (self.error, self.lines)
                await asyncio.sleep(0.001)


@asynccontextmanager
async def watching(
    project: Path, *, host: type[InlineHost | ProcessHost] = InlineHost, **args: Any
) -> AsyncIterator[Audience]:
    """Load the model of a folder or manifest, run a session, and end it without an error."""
    user = Audience()
    user.host = host(user, project, args, Settings.load({}, {}))
    try:
        user.info = await user.host.load()
        user.host.start_session("one")
        yield user
        await user.leave()
        assert user.error is None
    finally:
        await user.host.close()
