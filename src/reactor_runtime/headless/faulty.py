"""A model that misbehaves in every known way, for tests of whatever has to survive that.

`FaultyModel` streams a grey picture whose first pixel counts frames, and does what the command `fault` says:
in its loop (on the model's thread) or in the handler. Serve it like any model, with a manifest that says
`"class": "reactor_runtime.testing:FaultyModel"`, or `FaultyGenerator` for the generator way of writing one:

    {"class": "reactor_runtime.testing:FaultyModel", "model_name": "faulty", "args": {"size": [360, 640]}}

    fault(kind="segfault")                    the process dies in its loop
    fault(kind="sleep_gil", amount=20)        20 s in C, holding the GIL
    fault(kind="raise", where="handler")      the command fails, the stream goes on

Nothing here can harm more than its own process, except that `noise` fills a log and `allocate` the memory.
"""

from __future__ import annotations

import ctypes
import faulthandler
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from ..author.model import VideoModel, command
from ..errors import CommandError, FrameRejected
from ..running.context import get_ctx
from ..types import Pixels

Kind = Literal[
    "raise",
    "refuse",
    "sleep",
    "sleep_gil",
    "sleep_c",
    "spin",
    "deadlock",
    "exit",
    "system_exit",
    "segfault",
    "abort",
    "kill",
    "allocate",
    "gpu_oom",
    "wrong_shape",
    "nan_frame",
    "flood",
    "silence",
    "ignore_stop",
    "noise",
    "end",
]


class OutOfMemoryError(RuntimeError):
    """Looks like torch.OutOfMemoryError to whoever goes by the name."""


class FaultyModel(VideoModel):
    """Streams, and fails in every known way.

    size        height and width of its picture
    rate        frames per second of its own loop; 0 emits as fast as it may
    load_fault  what goes wrong while it is constructed
    reset_fault whether reset() raises
    """

    def __init__(
        self,
        size: tuple[int, int] = (360, 640),
        rate: float = 30.0,
        load_fault: Literal["", "raise", "exit", "hang", "oom"] = "",
        reset_fault: bool = False,
    ) -> None:
        self.constructed_by = threading.get_ident()
        self.frames = 0
        self.resets = 0
        self.note = ""
        self._rate = rate
        self._reset_fault = reset_fault
        self._picture = np.full((*size, 3), 128, np.uint8)
        self._pending: deque[tuple[Kind, float]] = deque()
        self._ballast: list[Any] = []
        match load_fault:
            case "raise":
                raise RuntimeError("the weights are not what they were")
            case "exit":
                os._exit(3)
            case "hang":
                time.sleep(3600)
            case "oom":
                raise OutOfMemoryError("CUDA out of memory")

    def start_session(self) -> Iterator[Any] | None:
        try:
            while not get_ctx().should_stop():
                if not self._step():
                    return None
                get_ctx().emit_frame(self._next())
        finally:
            print("session cleaned up")
        return None

    def reset(self) -> None:
        self.resets += 1
        self.frames = 0
        self.note = ""
        self._pending.clear()
        self._ballast.clear()
        if self._reset_fault:
            raise RuntimeError("reset does not work")

    # Commands ---------------------------------------------------------------------------------------

    @command("fault", description="Misbehave")
    def fault(
        self,
        kind: Annotated[Kind, Field(description="what goes wrong")],
        amount: Annotated[float, Field(ge=0, description="seconds, MiB, frames or MB/s, whichever fits")] = 1,
        where: Literal["loop", "handler"] = "loop",
    ) -> None:
        if where == "handler":
            FAULTS[kind](self, amount)
        else:
            self._pending.append((kind, amount))

    @command("set_note", description="Keep a text for this session")
    def set_note(self, note: Annotated[str, Field(max_length=200)]) -> dict[str, Any]:
        self.note = note
        return {"note": note, "frames": self.frames}

    @command("status", description="Say what this model went through")
    def status(self) -> dict[str, Any]:
        return {
            "note": self.note,
            "frames": self.frames,
            "resets": self.resets,
            "pid": os.getpid(),
            "on_model_thread": threading.get_ident() == self.constructed_by,
        }

    @command("status_async", description="The same from an async handler")
    async def status_async(self) -> dict[str, Any]:
        import asyncio

        await asyncio.sleep(0)
        return self.status()

    # The loop ---------------------------------------------------------------------------------------

    def _step(self) -> bool:
        """Do what was asked for; False ends the session."""
        while self._pending:
            kind, amount = self._pending.popleft()
            if kind == "end":
                return False
            FAULTS[kind](self, amount)
        if self._rate:
            time.sleep(1 / self._rate)
        return True

    def _next(self) -> Pixels:
        self.frames += 1
        self._picture[0, 0] = self.frames % 256
        return self._picture


class FaultyGenerator(FaultyModel):
    """The same, written as a generator."""

    def start_session(self) -> Iterator[Any]:
        try:
            while self._step():
                try:
                    yield self._next()
                except FrameRejected as error:
                    print(f"rejected: {error}")
        finally:
            print("session cleaned up")


# The faults -------------------------------------------------------------------------------------------


def _raise(model: FaultyModel, amount: float) -> None:
    raise ValueError("a secret path: /srv/models/secret.bin")


def _refuse(model: FaultyModel, amount: float) -> None:
    raise CommandError("too_dark", "there is not enough light")


def _sleep(model: FaultyModel, amount: float) -> None:
    time.sleep(amount)


def _sleep_gil(model: FaultyModel, amount: float) -> None:
    # PyDLL does not release the GIL; a sleep may be cut short by a signal, so it is repeated.
    until_s = time.monotonic() + amount
    while (left_s := until_s - time.monotonic()) > 0:
        ctypes.PyDLL(None).usleep(ctypes.c_uint(int(min(left_s, 1000) * 1e6)))


def _sleep_c(model: FaultyModel, amount: float) -> None:
    until_s = time.monotonic() + amount
    while (left_s := until_s - time.monotonic()) > 0:
        ctypes.CDLL(None).usleep(ctypes.c_uint(int(min(left_s, 1000) * 1e6)))


def _spin(model: FaultyModel, amount: float) -> None:
    until_s = time.monotonic() + amount
    while time.monotonic() < until_s:
        pass


def _deadlock(model: FaultyModel, amount: float) -> None:
    lock = threading.Lock()
    lock.acquire()
    lock.acquire(timeout=amount)


def _exit(model: FaultyModel, amount: float) -> None:
    os._exit(int(amount))


def _system_exit(model: FaultyModel, amount: float) -> None:
    sys.exit(int(amount))


def _segfault(model: FaultyModel, amount: float) -> None:
    faulthandler._sigsegv()  # type: ignore[attr-defined]  # a null read that cannot be optimised away


def _abort(model: FaultyModel, amount: float) -> None:
    os.abort()


def _kill(model: FaultyModel, amount: float) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _allocate(model: FaultyModel, amount: float) -> None:
    model._ballast.append(np.ones(int(amount * 1024 * 1024), np.uint8))


def _gpu_oom(model: FaultyModel, amount: float) -> None:
    raise OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


def _wrong_shape(model: FaultyModel, amount: float) -> None:
    _emit_wrong(np.zeros((3, 5, 7, 11, 13), np.uint8))


def _nan_frame(model: FaultyModel, amount: float) -> None:
    _emit_wrong(np.full((64, 64, 3), np.nan, np.float32))


def _emit_wrong(frame: Any) -> None:
    try:
        get_ctx().emit_frame(frame)
    except FrameRejected as error:
        get_ctx().send({"text": str(error)}, type="rejected")
    else:
        raise AssertionError("the frame was accepted")


def _flood(model: FaultyModel, amount: float) -> None:
    for _ in range(int(amount)):
        get_ctx().emit_frame(model._next())


def _silence(model: FaultyModel, amount: float) -> None:
    """Never emit, but look at the stop."""
    until_s = time.monotonic() + amount
    while not get_ctx().should_stop() and time.monotonic() < until_s:
        time.sleep(0.01)


def _ignore_stop(model: FaultyModel, amount: float) -> None:
    until_s = time.monotonic() + amount
    while time.monotonic() < until_s:
        get_ctx().should_stop()
        time.sleep(0.01)


def _noise(model: FaultyModel, amount: float) -> None:
    """Print `amount` MB/s from a thread, for as long as the process lives."""
    lines = (b"x" * 9_999 + b"\n") * 5

    def shout() -> None:
        started_s, written = time.monotonic(), 0
        while True:
            written += os.write(1, lines)
            ahead_s = written / (amount * 1e6) - (time.monotonic() - started_s)
            if ahead_s > 0:
                time.sleep(ahead_s)

    threading.Thread(target=shout, name="noise", daemon=True).start()


def _end(model: FaultyModel, amount: float) -> None:
    """Only the loop can end the session."""


FAULTS: dict[Kind, Callable[[FaultyModel, float], None]] = {
    "raise": _raise,
    "refuse": _refuse,
    "sleep": _sleep,
    "sleep_gil": _sleep_gil,
    "sleep_c": _sleep_c,
    "spin": _spin,
    "deadlock": _deadlock,
    "exit": _exit,
    "system_exit": _system_exit,
    "segfault": _segfault,
    "abort": _abort,
    "kill": _kill,
    "allocate": _allocate,
    "gpu_oom": _gpu_oom,
    "wrong_shape": _wrong_shape,
    "nan_frame": _nan_frame,
    "flood": _flood,
    "silence": _silence,
    "ignore_stop": _ignore_stop,
    "noise": _noise,
    "end": _end,
}
