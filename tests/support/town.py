"""A cluster in this process, without Ray: Placement, keepers with real servers, and doors, on a loop of its own.

with town(folder, workers=2) as here:
    httpx.get(here.url + "/health")
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from reactor_runtime.cluster.front_door import FrontDoor
from reactor_runtime.cluster.keeper import Keeper, Spec
from reactor_runtime.cluster.messenger import Messenger
from reactor_runtime.cluster.placement import Placement
from reactor_runtime.config import Settings
from reactor_runtime.types import JsonObject


class Town:
    def __init__(self, folder: Path, *, workers: int, settings: JsonObject) -> None:
        self._folder = folder
        self._count = workers
        self._settings = Settings.load({"port": 0, **settings}, environ={})
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="town", daemon=True)
        self.placement: Placement
        self.keepers: dict[str, Keeper] = {}
        self.ends: dict[str, str] = {}
        """Why a keeper ended."""
        self.orphaned: set[str] = set()
        """Whose raylet is gone."""
        self.url = ""
        self._tasks: list[asyncio.Task[None]] = []
        self._doors: list[FrontDoor] = []

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Do something on the cluster's loop, and wait for it."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    def start(self) -> None:
        self._thread.start()
        self.do(self._start())

    async def _start(self) -> None:
        self._messenger = Messenger()
        self.placement = Placement(self._messenger, places=8)
        for number in range(self._count):
            self._tasks.append(asyncio.create_task(self._keep(f"worker-{number}")))
        self.url = await self._open_door()

    async def _open_door(self) -> str:
        door = FrontDoor(self.placement, self._settings)
        await door.start()
        self._doors.append(door)
        return door.url

    def open_door(self) -> str:
        """Open another one; return where."""
        url: str = self.do(self._open_door())
        return url

    async def _keep(self, name: str) -> None:
        """Keep a worker for as long as the cluster is up, as Ray does: one that ended is made anew."""
        while name not in self.orphaned:
            settings = {"orphan_s": 2.0, "viewers": 8}
            spec = Spec(str(self._folder), {}, settings)
            keeper = self.keepers[name] = Keeper(
                name,
                "node-a",
                "127.0.0.1",
                spec,
                beat=self.placement.beat,
                orphaned=lambda: name in self.orphaned,
            )
            self.ends[name] = await keeper.run()

    def state(self) -> JsonObject:
        state: JsonObject = self.do(self.placement.state())
        return state

    def wait(self, condition: Callable[[JsonObject], bool], what: str, within_s: float = 60.0) -> float:
        """Wait until the cluster is so; return how long it took."""
        began_s = time.monotonic()
        while not condition(state := self.state()):
            assert time.monotonic() < began_s + within_s, f"{what} did not happen: {state}"
            time.sleep(0.05)
        return time.monotonic() - began_s

    def wait_idle(self, count: int, within_s: float = 90.0) -> None:
        self.wait(
            lambda state: [each["state"] for each in state["workers"]].count("idle") >= count,
            f"{count} idle workers",
            within_s,
        )

    def end_sessions(self) -> None:
        """End what runs, and wait until every worker is idle that can be."""
        self.do(self._end_sessions())
        self.wait_idle(len(self.keepers) - len(self.orphaned))

    async def _end_sessions(self) -> None:
        for worker in self.placement.workers():
            if worker.lease is not None:
                await self._messenger.stop(worker.report, worker.lease.session_id, "stopped")

    def close(self) -> None:
        self.do(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for door in self._doors:
            await door.close()
        await self.placement.close()
        await self._messenger.close()


@contextmanager
def town(folder: Path, *, workers: int = 2, **settings: Any) -> Iterator[Town]:
    """Yield a cluster whose workers are all idle."""
    made = Town(folder, workers=workers, settings=settings)
    made.start()
    try:
        made.wait_idle(workers)
        yield made
    finally:
        made.close()
