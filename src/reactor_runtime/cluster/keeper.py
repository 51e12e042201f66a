"""Keeps one worker's server alive, tells Placement how it is, and ends it when it must not go on.

    served.py ─lines─▶ Keeper ─beat, twice a second and at each change─▶ Placement
                          └── its raylet is gone, a later life is known, the server is silent: it ends

Placement that does not answer is no reason to end: who plays plays on, and nothing new begins without it. A raylet that
is gone is one: nobody else would ever end this process. Knows nothing of Ray.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

from ..tokens import fresh_key
from ..types import JsonObject
from .limits import BEAT_S, WORKERS
from .roster import Heard
from .served import ENDED_S

log = logging.getLogger(__name__)

#: A server that says nothing for that long hangs; one that is told to end is killed after that long.
SILENT_S: Final = 10.0
_KILLED_S: Final = ENDED_S + 0.5
#: A line of the server; longer ones are none of it.
_LINE_MAX: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Spec:
    """What a worker serves. `settings` are those of `reactor run` that it is to have."""

    path: str
    args: JsonObject = field(default_factory=dict)
    settings: JsonObject = field(default_factory=dict)


class Keeper:
    """`beat` tells Placement, and raises where that does not answer; `orphaned`: whether the raylet is gone."""

    def __init__(
        self,
        name: str,
        node: str,
        host: str,
        spec: Spec,
        *,
        beat: Callable[[JsonObject], Awaitable[JsonObject]],
        orphaned: Callable[[], bool] = lambda: False,
    ) -> None:
        self._name = name
        self._node = node
        self._host = host
        self._spec = spec
        self._beat = beat
        self._orphaned = orphaned
        self._key = fresh_key()
        # Grows from life to life, also where the clock of the machine is put back a little.
        self._epoch = time.time_ns() // 1_000_000
        self._said: JsonObject = {}
        self._said_s = time.monotonic()
        self._changed = asyncio.Event()
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        """The server's process."""
        return self._process.pid if self._process is not None else None

    async def run(self) -> str:
        """Serve until something says that it must end; return what. Nothing of the server is left then."""
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "reactor_runtime.cluster.served",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=_environment(),
            limit=_LINE_MAX,
        )
        reading = asyncio.create_task(self._read(self._process))
        try:
            await self._order(self._process)
            return await self._watch(self._process)
        finally:
            await self._end(self._process)
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def _order(self, process: asyncio.subprocess.Process) -> None:
        settings = {
            **self._spec.settings,
            "host": self._host,
            "port": 0,
            # Whoever comes shows a token of a door, made with this key, or is nobody.
            "token": "",
            "token_keys": [self._key],
            "token_key_file": "",
            "visitor_role": "",
            "allow_public": False,
            "root_path": "",
            "slots": 1,
            "line": 0,
            "turn_s": 0,
        }
        order = {"path": self._spec.path, "args": self._spec.args, "settings": settings}
        assert process.stdin is not None
        process.stdin.write(json.dumps(order).encode() + b"\n")
        with contextlib.suppress(ConnectionError):  # it is told by its end
            await process.stdin.drain()

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            said = json.loads(line)
            self._said_s = time.monotonic()
            if said != self._said:
                self._said = said
                self._changed.set()

    async def _watch(self, process: asyncio.subprocess.Process) -> str:
        while True:
            if process.returncode is not None:
                return f"its server ended with status {process.returncode}"
            if self._orphaned():
                return "its raylet is gone"
            if time.monotonic() > self._said_s + SILENT_S and self._said:
                return "its server fell silent"
            if self._said:
                answer = await self._tell()
                if answer.get("heard") == Heard.FENCED.value:
                    return "a later life of this worker is known"
                if answer.get("heard") == Heard.FULL.value:
                    log.error("%s is turned away: there are %d workers", self._name, WORKERS)
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(BEAT_S):
                    await self._changed.wait()

    async def _tell(self) -> JsonObject:
        report = {"worker": self._name, "epoch": self._epoch, "node": self._node, "key": self._key}
        try:
            async with asyncio.timeout(BEAT_S * 2):
                return await self._beat({**report, **self._said})
        except Exception as error:  # whatever carries it: the next beat tells the same
            log.debug("%s: no answer of Placement: %r", self._name, error)
            return {}

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None
        process.stdin.close()
        try:
            async with asyncio.timeout(_KILLED_S):
                await process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


def _environment() -> dict[str, str]:
    """Return the server's environment: nothing of Ray, whose token opens the cluster, and nothing of the doors'."""
    kept: dict[str, Any] = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("RAY_", "REACTOR_TOKEN", "REACTOR_PORT", "REACTOR_HOST"))
    }
    # Who shows no token of a door is answered nothing, so whom a door names is whom it is.
    return {**kept, "FORWARDED_ALLOW_IPS": "*"}
