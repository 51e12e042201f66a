"""Run an author's command handlers, and say in public words what became of each.

Used by one thread at a time: the model's (between two yields) or the command thread (beside a loop).
"""

from __future__ import annotations

import asyncio
import gc
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

from .. import codes
from ..author.schema import commands_of, reply_of
from ..causes import CauseLog
from ..errors import CommandRejected, ModelFailed, ModelOutOfMemory, SessionStopped, raised_at
from ..types import CommandCall, CommandOutcome, InputFrame, ModelMessage

#: A camera whose every picture makes `on_frame` raise is told of this often.
FRAME_FAILED_S = 10.0


def is_out_of_memory(error: BaseException) -> bool:
    """Host memory, or a GPU's: torch's OutOfMemoryError is told by name, without importing torch."""
    return isinstance(error, MemoryError) or any(
        kind.__name__ == "OutOfMemoryError" for kind in type(error).__mro__
    )


def failure_of(error: BaseException, place: str) -> ModelFailed:
    """Return what the owner of the host is told; its text is for the operator."""
    kind = ModelOutOfMemory if is_out_of_memory(error) else ModelFailed
    return kind(raised_at(place, error))


class Handlers:
    """The commands of one model. `run` never raises for what an author's handler raises."""

    def __init__(
        self,
        model: Any,
        causes: CauseLog,
        tell: Callable[[ModelMessage], None],
        tell_frame_failed: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._model = model
        self._commands = commands_of(type(model))
        self._causes = causes
        self._tell = tell
        self._tell_frame_failed = tell_frame_failed
        self._clock = clock
        self._frame_told_s: float | None = None
        self._loop: asyncio.Runner | None = None
        self._out_of_memory = 0
        #: Set by the second out-of-memory of a session, which ends it.
        self.fatal: ModelFailed | None = None

    def run(self, call: CommandCall) -> CommandOutcome:
        """Check the arguments, run the handler, return its reply or its refusal."""
        try:
            definition = self._commands.get(call.name)
            if definition is None:
                raise CommandRejected("unknown command")
            returned = getattr(self._model, definition.method)(**definition.arguments(call))
            if definition.is_async:
                returned = self._await(returned)
            reply_type, reply = reply_of(returned, type=call.name)
        except CommandRejected as refused:
            return CommandOutcome(
                call.command_id,
                code=refused.code,
                message=str(refused),
                field=refused.field,
                raised=refused.raised,
            )
        except SessionStopped:
            raise
        except BaseException as error:  # also sys.exit() and a cancelled await
            return self._broken(call, error)
        return CommandOutcome(call.command_id, reply=reply, reply_type=reply_type)

    def run_on_frame(self, frame: InputFrame) -> None:
        """Pass an input frame to the model. What it raises, also sys.exit(), costs this frame only."""
        try:
            self._model.on_frame(frame)
        except SessionStopped:
            raise
        except BaseException as error:
            self._causes.exception(error, "on_frame")
            now_s = self._clock()
            if self._frame_told_s is None or now_s - self._frame_told_s >= FRAME_FAILED_S:
                self._frame_told_s = now_s
                self._tell_frame_failed(raised_at("on_frame", error))

    def close(self) -> None:
        """Close the loop of async handlers. On the thread that ran them."""
        if self._loop is not None:
            self._loop.close()
            self._loop = None

    def _await(self, awaitable: Any) -> Any:
        if self._loop is None:
            self._loop = asyncio.Runner()
        return self._loop.run(awaitable)

    def _broken(self, call: CommandCall, error: BaseException) -> CommandOutcome:
        place = f"command {call.name!r}"
        self._causes.exception(error, place)
        failure = failure_of(error, place)
        if not isinstance(failure, ModelOutOfMemory):
            return CommandOutcome(
                call.command_id,
                code=codes.INTERNAL_ERROR,
                message="the command failed; the operator's log has the details",
                raised=str(failure),
            )
        self._out_of_memory += 1
        if self._out_of_memory > 1:
            self.fatal = failure
        traceback.clear_frames(error.__traceback__)
        free_memory()
        self._tell(ModelMessage("degraded", {"code": failure.code, "message": failure.public()}))
        return CommandOutcome(
            call.command_id, code=failure.code, message=failure.public(), raised=str(failure)
        )


def free_memory() -> None:
    """Give back what a failed allocation left behind, on the host and on the GPU."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
