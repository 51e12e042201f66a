"""The workers of a cluster: what each says of itself, and what is decided of it. Pure: values and a clock in.

    hear() ◀── a worker's beat
    idle ──reserve()──▶ reserved ──commit()──▶ busy ──hear(idle, and that it has had the session)──▶ idle
      ▲                    └── release(), or START_S ──────────┐
      └────────────────────────────────────────────────────────┘
    tick(): what was not heard of for LOST_S is lost, and its session with it

Workers are the truth about sessions: a roster that begins anew is filled by their beats. An epoch is one life of a
worker's server, and grows. A lease is of one session in one epoch; what comes of an older one changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from ..errors import SessionRefused
from ..session.admission import SlotView
from ..session.lifecycle import State
from ..types import JsonObject
from .limits import FORGET_S, LOST_S, SEEN_S, SHUNNED_S, START_S, WORKERS


class At(Enum):
    """Where a worker is, as Placement sees it."""

    LOADING = "loading"
    IDLE = "idle"
    RESERVED = "reserved"
    """A session is being begun there."""
    BUSY = "busy"
    CLOSING = "closing"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Report:
    """What a worker says of itself. `last` is the session that ended there last, `client` the mark of who began
    the one that runs; `key` opens its server."""

    worker: str
    epoch: int
    node: str
    url: str
    key: str = field(repr=False)
    at: At = At.LOADING
    session_id: str = ""
    last: str = ""
    client: str = ""
    viewers: int = 0

    def document(self) -> JsonObject:
        return {name: getattr(self, name) for name in self.__slots__} | {"at": self.at.value}

    @classmethod
    def read(cls, document: JsonObject) -> Report:
        return cls(**{**document, "at": At(document["at"])})


@dataclass(slots=True)
class Lease:
    """One session on one life of a worker. `key` is that of the driver's seat there, once it is begun."""

    session_id: str
    worker: str
    epoch: int
    at_s: float
    client: str = ""
    committed: bool = False
    key: str = ""


@dataclass(slots=True)
class Worker:
    place: int
    report: Report
    heard_s: float
    at: At
    since_s: float
    lease: Lease | None = None
    draining: bool = False
    """It is given nothing more."""
    shunned_until_s: float | None = None
    """A start failed there: it is given nothing until then, so that whoever is next is not let down as well."""
    failed: bool = False
    """Whoever had it last lost it by a fault on this side."""

    @property
    def name(self) -> str:
        return self.report.worker

    @property
    def free(self) -> bool:
        return self.at is At.IDLE and not self.draining and self.shunned_until_s is None


class Heard(Enum):
    KNOWN = "known"
    FENCED = "fenced"
    """A later life of this worker is known: this one ends itself."""
    FULL = "full"


#: What somebody who would like a session sees of a worker.
_STATES: Final = {
    At.LOADING: State.CREATED,
    At.IDLE: State.READY,
    At.RESERVED: State.WAITING,
    At.BUSY: State.STREAMING,
    At.CLOSING: State.CLOSING,
    At.LOST: State.CREATED,
}


class Roster:
    def __init__(self, clock: Callable[[], float], *, places: int = WORKERS) -> None:
        self._clock = clock
        self._places = places
        self._workers: dict[str, Worker] = {}
        self._by_place: dict[int, Worker] = {}
        self._sessions: dict[str, Worker] = {}
        self._nodes_drained: set[str] = set()

    def __iter__(self) -> Iterator[Worker]:
        return iter(self._workers.values())

    def named(self, name: str) -> Worker | None:
        return self._workers.get(name)

    def of_place(self, place: int) -> Worker | None:
        return self._by_place.get(place)

    def of_session(self, session_id: str) -> Worker | None:
        """Return the worker on which a session runs or is being begun."""
        return self._sessions.get(session_id)

    def view(self, worker: Worker | None) -> SlotView:
        """Return what whoever would like a session sees of a place."""
        if worker is None or (worker.at is At.IDLE and worker.shunned_until_s is not None):
            return SlotView(State.CREATED)
        return SlotView(State.WAITING if worker.at is At.IDLE and worker.draining else _STATES[worker.at])

    # What workers say ---------------------------------------------------------------------------------

    def hear(self, report: Report) -> Heard:
        """Take in a beat."""
        now_s = self._clock()
        worker = self._workers.get(report.worker)
        if worker is None:
            place = next((n for n in range(self._places) if n not in self._by_place), None)
            if place is None:
                return Heard.FULL
            worker = Worker(place, report, now_s, At.LOADING, now_s)
            worker.draining = report.node in self._nodes_drained
            self._workers[report.worker] = self._by_place[place] = worker
        if report.epoch < worker.report.epoch:
            return Heard.FENCED
        if report.epoch > worker.report.epoch:
            self._lose(worker)
        worker.report, worker.heard_s = report, now_s
        self._take_in(worker, report)
        return Heard.KNOWN

    def _take_in(self, worker: Worker, report: Report) -> None:
        lease = worker.lease
        if report.at is At.BUSY:
            if lease is None or lease.session_id != report.session_id:
                # Placement began anew, or took it for lost: the worker knows what it runs.
                self._drop_lease(worker)
                lease = Lease(report.session_id, worker.name, report.epoch, self._clock(), report.client)
                self._bind(worker, lease)
            lease.committed = True
            self._move(worker, At.BUSY)
            return
        if lease is None:
            self._move(worker, report.at)
        elif report.last == lease.session_id or (lease.committed and self._clock() >= lease.at_s + SEEN_S):
            self._drop_lease(worker)
            self._move(worker, report.at)
        # Else its word is older than the session that is being begun there.

    # What is decided ----------------------------------------------------------------------------------

    def reserve(self, worker: Worker, session_id: str, client: str = "") -> Lease:
        """Give a free worker to a session that is to begin. Raises SessionRefused where either is taken."""
        if session_id in self._sessions:
            raise SessionRefused("a session of this id runs", status=409)
        if not worker.free:
            raise SessionRefused("this worker is not free any more", status=503, retry_after_s=1)
        lease = Lease(session_id, worker.name, worker.report.epoch, self._clock(), client)
        worker.failed = False
        self._bind(worker, lease)
        self._move(worker, At.RESERVED)
        return lease

    def commit(self, lease: Lease, key: str) -> bool:
        """The session has begun; False where its worker was lost meanwhile."""
        worker = self._holder(lease)
        if worker is None:
            return False
        lease.committed, lease.key, lease.at_s = True, key, self._clock()
        self._move(worker, At.BUSY)
        return True

    def release(self, lease: Lease) -> None:
        """It has not begun. Without effect on a lease that is gone."""
        if (worker := self._holder(lease)) is not None:
            worker.failed = True
            worker.shunned_until_s = self._clock() + SHUNNED_S
            self._drop_lease(worker)
            self._move(worker, At.IDLE)

    def tick(self) -> bool:
        """Let go of what was not heard of, and of starts that took too long; whether anything moved."""
        now_s, moved = self._clock(), False
        for worker in list(self._workers.values()):
            silent_s = now_s - worker.heard_s
            if silent_s > FORGET_S:
                self.forget(worker.name)
            elif silent_s > LOST_S and worker.at is not At.LOST:
                self._lose(worker)
                self._move(worker, At.LOST)
            elif (
                worker.at is At.RESERVED and worker.lease is not None and now_s - worker.lease.at_s > START_S
            ):
                self.release(worker.lease)
            elif worker.shunned_until_s is not None and now_s >= worker.shunned_until_s:
                worker.shunned_until_s = None
            else:
                continue
            moved = True
        return moved

    def drain(self, node: str) -> int:
        """Give the workers of a node nothing more, those as well that come; return how many there are."""
        self._nodes_drained.add(node)
        found = [worker for worker in self if worker.report.node == node]
        for worker in found:
            worker.draining = True
        return len(found)

    def forget(self, name: str) -> None:
        """Free the place of a worker that will not come back."""
        if (worker := self._workers.pop(name, None)) is not None:
            self._drop_lease(worker)
            del self._by_place[worker.place]

    def _holder(self, lease: Lease) -> Worker | None:
        worker = self._workers.get(lease.worker)
        return worker if worker is not None and worker.lease is lease else None

    def _bind(self, worker: Worker, lease: Lease) -> None:
        worker.lease = lease
        self._sessions[lease.session_id] = worker

    def _drop_lease(self, worker: Worker) -> None:
        if worker.lease is not None:
            self._sessions.pop(worker.lease.session_id, None)
            worker.lease = None

    def _lose(self, worker: Worker) -> None:
        worker.failed = worker.lease is not None
        self._drop_lease(worker)

    def _move(self, worker: Worker, at: At) -> None:
        if worker.at is not at:
            worker.at, worker.since_s = at, self._clock()
