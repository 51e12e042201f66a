"""A worker's place as a seat of the cluster's line: what `session/usher.py` needs of it. On Placement's event loop.

A place without a worker is a seat that nobody can have yet: one may come. Between two drivers there is no session on
a worker, so what makes a model new is the worker's own affair.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Protocol

from ..errors import SessionRefused
from ..session.grants import Grant
from ..session.seats import Given
from ..tasks import Tasks
from ..types import JsonObject
from ..wire import messages as say
from .roster import At, Lease, Report, Roster
from .vouching import LINE, mark


class Starter(Protocol):
    """How a session is begun and ended at a worker."""

    async def start(self, worker: Report, session_id: str, grant: Grant) -> JsonObject:
        """Begin a session, and return what the worker's server answers. Raises SessionRefused."""

    async def stop(self, worker: Report, session_id: str, reason: str) -> None:
        """End it, telling its viewers why. Without effect where it is over, or the worker is gone."""


class WorkerSeat:
    """Implements `seats.Seat`."""

    def __init__(
        self, place: int, roster: Roster, starter: Starter, tasks: Tasks, moved: Callable[[], None]
    ) -> None:
        self.number = place
        self._roster = roster
        self._starter = starter
        self._tasks = tasks
        self._moved = moved

    @property
    def _lease(self) -> Lease | None:
        worker = self._roster.of_place(self.number)
        return worker.lease if worker is not None else None

    @property
    def session_id(self) -> str:
        return lease.session_id if (lease := self._lease) is not None else ""

    @property
    def key(self) -> str:
        lease = self._lease
        # Before it has begun it is nobody's: who waits for it is told so by the usher itself.
        return (lease.key or lease.session_id) if lease is not None and lease.committed else ""

    @property
    def open(self) -> bool:
        worker = self._roster.of_place(self.number)
        return worker is not None and worker.free

    @property
    def closed(self) -> bool:
        # The first place stands for all that may come.
        return self.number != 0 and self._roster.of_place(self.number) is None

    @property
    def lost(self) -> bool:
        worker = self._roster.of_place(self.number)
        return worker is None or worker.at in (At.LOADING, At.LOST)

    @property
    def failed(self) -> bool:
        worker = self._roster.of_place(self.number)
        return worker is None or worker.failed

    def withhold(self, on: bool) -> None:
        """Nobody gets a worker but by Placement."""

    def vacate(self) -> None:
        worker, lease = self._roster.of_place(self.number), self._lease
        if worker is not None and lease is not None:
            self._tasks.spawn(self._starter.stop(worker.report, lease.session_id, "stopped"))

    async def renew(self) -> None:
        """A worker is new when it is free."""

    async def give(self) -> Given:
        answer = await self.begin(str(uuid.uuid4()), LINE)
        log = answer.get("session_log")
        return Given(str(answer["session_id"]), str(answer.get("seat", "")), log)

    async def empty(self) -> None:
        if not self.open:
            raise SessionRefused("the worker is not ready", status=503)

    def tell(self, turn: say.Turn) -> None:
        """Turns have no end in a cluster."""

    async def begin(self, session_id: str, grant: Grant) -> JsonObject:
        """Reserve the worker, begin a session there, and note that it has begun. Raises SessionRefused.

        The reservation is made before anything is awaited: of two who come at once one gets it.
        """
        worker = self._roster.of_place(self.number)
        if worker is None:
            raise SessionRefused("this worker is gone", status=503, retry_after_s=1)
        lease = self._roster.reserve(worker, session_id, mark(grant))
        self._moved()
        try:
            answer = await self._starter.start(worker.report, session_id, grant)
        except BaseException:
            self._roster.release(lease)
            self._moved()
            raise
        if not self._roster.commit(lease, str(answer.get("seat", ""))):
            self._tasks.spawn(self._starter.stop(worker.report, session_id, "stopped"))
            raise SessionRefused("the worker was lost while the session began", status=503, retry_after_s=1)
        self._moved()
        return answer
