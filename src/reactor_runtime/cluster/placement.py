"""Who gets which worker: one for the cluster, of plain values, so that Ray is only one way to reach it.

    doors ─start, line, find─▶ ┐                   ┌─▶ roster.py: workers, leases, epochs
    workers ─beat────────────▶ ├─▶ Placement ──────┼─▶ admission.py, line.py, usher.py: the same as of one server
    a moment came ───────────▶ ┘                   └─▶ Starter: the session is begun at the worker, then it counts

On one event loop. Nothing is kept on disk: begun anew, it hears from its workers what they run, and its line is empty.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
import uuid
from collections.abc import Callable
from typing import Any

from .. import limits
from ..errors import ReactorError, SessionRefused
from ..session.admission import KEPT, Admission, Admitted, Place, SlotView
from ..session.grants import Grant
from ..session.lifecycle import State
from ..session.prospects import news
from ..session.usher import Usher
from ..tasks import Tasks
from ..types import JsonObject
from .limits import BEAT_S, GATHER_S, WORKERS
from .roster import At, Report, Roster, Worker
from .worker_seat import Starter, WorkerSeat

#: A start that failed at one worker is tried at others, so often in all.
_TRIES = 3


class Placement:
    """`cap` may wait in the line; a start without a ticket waits `patience_s` for a session that closes."""

    def __init__(
        self,
        starter: Starter,
        *,
        cap: int = limits.LINE,
        patience_s: float = 6.0,
        places: int = WORKERS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._roster = Roster(clock, places=places)
        self._tasks = Tasks("placement")
        self._starter = starter
        self._seats = [
            WorkerSeat(place, self._roster, starter, self._tasks, self._step) for place in range(places)
        ]
        self._usher = Usher(self._seats, cap=cap, turn_s=None, key=secrets.token_bytes(32), clock=clock)
        self._admission = Admission(patience_s=patience_s, clock=clock)
        self._moved = asyncio.Event()
        self._gathered_s = clock() + GATHER_S
        self._draining = False
        self._ticking: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Begin to notice what is not heard of. On the event loop; may be called again."""
        if self._ticking is None:
            self._ticking = self._tasks.spawn(self._tick())

    # Workers ------------------------------------------------------------------------------------------

    async def beat(self, document: JsonObject) -> JsonObject:
        """Take in what a worker says of itself; answer what it is to do: go on, drain or end itself."""
        self.open()
        report = Report.read(document)
        before = self._seen(report.worker)
        heard = self._roster.hear(report)
        if self._seen(report.worker) != before:
            self._step()
        worker = self._roster.named(report.worker)
        return {"heard": heard.value, "draining": worker is not None and worker.draining}

    def _seen(self, name: str) -> object:
        worker = self._roster.named(name)
        return worker and (worker.at, worker.report.epoch, worker.lease)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(BEAT_S / 2)
            if self._roster.tick():
                self._step()

    def _step(self) -> None:
        self._moved.set()
        self._moved = asyncio.Event()
        if self._clock() >= self._gathered_s:
            self._usher.step()

    async def _gather(self) -> None:
        """Wait until those who are there have been heard, for who has begun anew knows of no session that runs."""
        self.open()
        left_s = self._gathered_s - self._clock()
        if left_s > 0:
            await asyncio.sleep(left_s)
            self._step()

    # Sessions -----------------------------------------------------------------------------------------

    async def start(self, session_id: str | None, grant: Grant, wait_s: float = 0.0) -> JsonObject:
        """Begin a session on a free worker: what that answers, and `at`, where it is. Raises SessionRefused."""
        await self._gather()
        session_id = session_id or str(uuid.uuid4())
        if wait_s > 0:
            async with self._usher.admitted(wait_s, grant.person) as place:
                if place is not None:
                    return await self._begin(self._seats[place], session_id, grant)
        failure: SessionRefused | None = None
        for _ in range(_TRIES):
            try:
                place = await self._admitted()
            except SessionRefused as refused:
                # That no other is free is not why it failed.
                raise failure or refused from None
            try:
                return await self._begin(self._seats[place], session_id, grant)
            except SessionRefused as refused:
                if refused.status != 503:
                    raise
                failure = refused
        assert failure is not None
        raise failure

    async def _begin(self, seat: WorkerSeat, session_id: str, grant: Grant) -> JsonObject:
        answer = await seat.begin(session_id, grant)
        return {"session": answer, "at": await self.find(session_id)}

    async def _admitted(self) -> int:
        """Return the place of a worker that is free until the next await. Raises SessionRefused."""
        request = self._admission.ask()
        try:
            while True:
                workers = sorted(self._roster, key=lambda worker: worker.place)
                views = [self._view(worker) for worker in workers] or [SlotView(State.CREATED)]
                decision = self._admission.decide(request, views, draining=self._draining)
                if isinstance(decision, Admitted):
                    return workers[decision.index].place
                if not isinstance(decision, Place):
                    raise decision.error
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(max(0.0, request.until_s - self._clock())):
                        await self._moved.wait()
        finally:
            self._admission.leave(request)

    def _view(self, worker: Worker) -> SlotView:
        return KEPT if self._usher.keeps(worker.place) else self._roster.view(worker)

    async def find(self, session_id: str) -> JsonObject | None:
        """Return {url, key} of the worker on which a session runs, or ran last: that has its clips. Else None."""
        worker = self._roster.of_session(session_id)
        if worker is None:
            ended = (each for each in self._roster if session_id and each.report.last == session_id)
            worker = next((each for each in ended if each.at is not At.LOST), None)
        return None if worker is None else _address(worker)

    async def own(self, client: str) -> list[str]:
        """Return the sessions that a client of this mark began, the newest last."""
        leases = [worker.lease for worker in self._roster if worker.lease is not None]
        own = [lease for lease in leases if lease.client == client]
        return [lease.session_id for lease in sorted(own, key=lambda lease: lease.at_s)]

    async def state(self) -> JsonObject:
        """Return how the cluster is, for doors and for `reactor cluster status`."""
        now_s = self._clock()
        workers = [_shown(worker, now_s) for worker in sorted(self._roster, key=lambda each: each.place)]
        best = min(
            (worker for worker in self._roster if worker.at not in (At.LOADING, At.LOST)),
            key=lambda worker: not worker.free,
            default=None,
        )
        return {
            "workers": workers,
            "waiting": self._usher.waiting,
            "draining": self._draining,
            "best": None if best is None else _address(best),
        }

    # The line -----------------------------------------------------------------------------------------

    async def join(self, wish: str, person: str) -> JsonObject:
        """Take the last place of the line; `person`: of whom (`Grant.person`). Raises SessionRefused."""
        await self._gather()
        return self._usher.join(wish, person)

    async def look(self, ticket: str) -> JsonObject:
        return self._usher.look(ticket)

    async def changed(self, ticket: str, seen: JsonObject, within_s: float) -> JsonObject:
        """Return how a ticket stands as soon as that is worth telling, or after `within_s`; it is heard meanwhile."""
        following = self._usher.follow(ticket)
        now: JsonObject = {}
        try:
            async with contextlib.aclosing(following), asyncio.timeout(within_s):
                async for now in following:
                    if news(now) != seen:
                        return now
        except TimeoutError:
            pass
        return self._usher.look(ticket)

    async def claim(self, ticket: str, client: str) -> JsonObject:
        given = await self._usher.claim(ticket)
        worker = self._roster.of_session(given.session_id)
        if worker is not None and worker.lease is not None:
            worker.lease.client = client
        return given.document()

    async def leave(self, ticket: str) -> None:
        self._usher.leave(ticket)

    # Operators ----------------------------------------------------------------------------------------

    async def drain_node(self, node: str) -> int:
        """Give nothing more to the workers of a node; return how many there are."""
        found = self._roster.drain(node)
        self._step()
        return found

    async def retire(self, name: str) -> bool:
        """Give nothing more to one worker; False where it is not idle, and then nothing is changed."""
        worker = self._roster.named(name)
        if worker is None or worker.at is not At.IDLE or self._usher.keeps(worker.place):
            return False
        worker.draining = True
        self._step()
        return True

    async def forget(self, name: str) -> None:
        """A worker was ended, and does not come back."""
        self._roster.forget(name)
        self._step()

    def workers(self) -> list[Worker]:
        return list(self._roster)

    @property
    def waiting(self) -> int:
        return self._usher.waiting

    async def drain(self) -> None:
        """Nothing more is begun anywhere, and nobody waits."""
        self._draining = True
        self._usher.drain()
        self._step()

    async def close(self) -> None:
        """End everything of its own; what runs goes on. May be called twice."""
        await self._usher.close()
        await self._tasks.cancel()


def _address(worker: Worker) -> JsonObject:
    return {"url": worker.report.url, "key": worker.report.key}


def _shown(worker: Worker, now_s: float) -> JsonObject:
    lease = worker.lease
    return {
        "worker": worker.name,
        "node": worker.report.node,
        "place": worker.place,
        "state": worker.at.value,
        "draining": worker.draining,
        "epoch": worker.report.epoch,
        "session_id": lease.session_id if lease is not None else "",
        "viewers": worker.report.viewers,
        "for_s": round(now_s - worker.since_s, 1),
        "heard_s": round(now_s - worker.heard_s, 1),
    }


async def refused_or(work: Any) -> JsonObject:
    """Return what a call of Placement brings, or what it raises, as a value: errors do not cross processes whole."""
    try:
        return {"value": await work}
    except SessionRefused as error:
        known = {"status": error.status, "code": error.code, "retry_after_s": error.retry_after_s}
        return {"refused": {"message": error.public(), **known}}
    except ReactorError as error:
        return {"refused": {"message": error.public(), "status": 503, "code": None, "retry_after_s": 1}}


def value_of(crossed: JsonObject) -> Any:
    """Return what crossed. Raises SessionRefused."""
    if (refused := crossed.get("refused")) is not None:
        known = dict(refused)
        raise SessionRefused(known.pop("message"), **known)
    return crossed["value"]
