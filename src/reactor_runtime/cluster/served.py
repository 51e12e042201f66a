"""The server of one worker, a process of its own: `python -m reactor_runtime.cluster.served`.

    stdin   one line of JSON, what to serve; when stdin ends, so does this process, within ENDED_S
    stdout  a line of JSON whenever something changed, and twice a second: how it is (`roster.Report`, in part)

The same server as of `reactor run`, with one slot, its token keys those of this life. Before it says that it is idle it
has shown a first frame to itself: a model that loads and cannot render would take session after session.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from ..config import Settings
from ..server.runtime import Runtime
from ..session.grants import EVERYTHING
from ..session.lifecycle import RUNNING, State
from ..session.slot import ModelSlot
from ..types import JsonObject
from .limits import BEAT_S, WARM_S
from .roster import At

log = logging.getLogger(__name__)

#: How often it is looked how far a load or an end is, and how long the end of this process may take.
_LOOK_S = 0.1
ENDED_S = 4.0
#: The session that nobody asked for.
WARM_ID = "warm-up"


class Served:
    def __init__(self, runtime: Runtime, out: TextIO) -> None:
        self._runtime = runtime
        self._out = out
        self._warm = False
        self._session_id = ""
        self._last = ""

    @property
    def _slot(self) -> ModelSlot:
        return self._runtime.sessions.slots[0]

    def report(self) -> JsonObject:
        """Say how it is now."""
        slot, session = self._slot, self._slot.running
        session_id = session.session_id if session is not None and self._warm else ""
        if session_id != self._session_id:
            self._last = self._session_id or self._last
            self._session_id = session_id
        return {
            "url": self._runtime.url,
            "at": self._at(slot).value,
            "session_id": session_id,
            "last": self._last,
            "client": self._runtime.sessions.starter(session_id),
            "viewers": session.viewers if session is not None else 0,
        }

    def _at(self, slot: ModelSlot) -> At:
        if not self._warm or slot.state in (State.CREATED, State.TERMINATED):
            return At.LOADING
        if slot.state in RUNNING:
            return At.BUSY
        return At.CLOSING if slot.state is State.CLOSING else At.IDLE

    async def tell(self) -> None:
        """Say how it is, for as long as this process lives."""
        told, told_s = None, 0.0
        # Told of each step, so that a session of a moment is not missed either.
        async for _ in self._runtime.sessions.journal.follow(0, idle_s=BEAT_S):
            now, now_s = self.report(), time.monotonic()
            if now != told or now_s >= told_s + BEAT_S:
                self._out.write(json.dumps(now) + "\n")
                self._out.flush()
                told, told_s = now, now_s

    async def warm(self) -> None:
        """Load the model and let it make a first frame. Raises what a load raises, TimeoutError."""
        await self._runtime.ready()
        info = self._slot.info
        if info is not None and any(track.direction == "in" for track in info.tracks):
            self._warm = True  # it may wait for a camera, and nobody is here who has one
            return
        sessions = self._runtime.sessions
        async with asyncio.timeout(WARM_S):
            await sessions.start(WARM_ID, grant=EVERYTHING)
            await _until(lambda: self._slot.snapshot().totals.stream.received > 0)
            await sessions.stop(WARM_ID, moderate=True, reason="warm", grant=EVERYTHING)
            await _until(lambda: self._slot.state is State.READY)
        self._warm = True

    async def lost(self) -> None:
        """Wait until the model is gone for good."""
        await _until(lambda: self._slot.state is State.TERMINATED)


async def _until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110  # a slot tells its own server only
        await asyncio.sleep(_LOOK_S)


async def serve(order: JsonObject, out: TextIO) -> int:
    """Serve until stdin ends or the model is gone for good; return the exit status."""
    settings = Settings(**order["settings"])
    runtime = Runtime(Path(order["path"]), order["args"], settings)
    served = Served(runtime, out)
    await runtime.start()
    ended = asyncio.ensure_future(_stdin_ended())
    telling = asyncio.create_task(served.tell())
    warming = asyncio.create_task(served.warm())
    losing = asyncio.create_task(served.lost())
    try:
        await asyncio.wait([ended, warming], return_when=asyncio.FIRST_COMPLETED)
        if warming.done() and (error := warming.exception()) is not None:
            log.error("the model made no first frame: %s", error or type(error).__name__)
            return 1
        await asyncio.wait([ended, losing, telling], return_when=asyncio.FIRST_COMPLETED)
        return 0 if ended.done() else 1
    finally:
        for task in (telling, warming, losing, ended):
            task.cancel()
        await asyncio.gather(telling, warming, losing, ended, return_exceptions=True)
        _end_anyway()
        await runtime.close()


async def _stdin_ended() -> None:
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while await reader.read(1024):
        pass


def _end_anyway() -> None:
    """End this process if closing takes longer than it may; the model's process ends with it."""
    timer = threading.Timer(ENDED_S, lambda: os._exit(1))
    timer.daemon = True
    timer.start()


def main() -> int:
    # What anybody prints goes to the log: the real stdout is the keeper's.
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    logging.basicConfig(stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s", level=logging.INFO)
    # Unbuffered, so that nothing but this line is taken before the loop watches what comes after.
    line = b""
    while not line.endswith(b"\n"):
        piece = os.read(0, 1)
        if not piece:
            return 0
        line += piece
    return asyncio.run(serve(json.loads(line), out))


if __name__ == "__main__":
    sys.exit(main())
