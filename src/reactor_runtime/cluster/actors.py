"""Ray's side of placement.py, keeper.py and front_door.py: three actors, which reach each other by name.

    doors ─RayDesk─▶ PlacementActor ◀─beat─ WorkerActor ─▶ served.py, a process

All are detached and named within one namespace. A worker and a door run on a thread of their own, so that a restarted
actor goes on by itself; Placement is an async actor. Arguments and answers are plain values.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any, Final

import ray
from ray.exceptions import RayError

from ..config import Settings
from ..errors import SessionRefused
from ..session.grants import Grant
from ..types import JsonObject
from .front_door import FrontDoor
from .keeper import Keeper, Spec
from .limits import START_S
from .messenger import Messenger
from .placement import Placement, refused_or, value_of
from .roster import At
from .scaling import Bounds, to_retire

log = logging.getLogger(__name__)

NAMESPACE: Final = "reactor"
PLACEMENT: Final = "placement"
WORKER: Final = "worker-"
DOOR: Final = "door-"
#: Restarts of a worker that Ray makes by itself; after that it is made anew.
WORKER_RESTARTS: Final = 3
#: Answers of Placement that are waited for at one time, most of them of those who follow a ticket.
_CONCURRENCY: Final = 2000
#: How long Placement may take, beside what is waited for on purpose.
_ANSWER_S: Final = START_S + 2
_SCALE_S: Final = 1.0
#: What doors and operators may ask of Placement.
_ASKED: Final = (
    *("start", "find", "own", "state", "join", "look", "changed", "claim", "leave"),
    *("beat", "drain", "drain_node"),
)


def _log() -> None:
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s", level=logging.INFO)
    # A line for each request that is passed on.
    logging.getLogger("httpx").setLevel(logging.WARNING)


class PlacementActor:
    """Placement, and the number of workers: it makes them and ends them."""

    def __init__(self, spec: Spec, cap: int, bounds: Bounds, idle_s: float, gpus: float) -> None:
        _log()
        self._spec = spec
        self._cap = cap
        self._bounds = bounds
        self._idle_s = idle_s
        self._gpus = gpus
        self._placement: Placement | None = None
        self._scaling: asyncio.Task[None] | None = None

    def _open(self) -> Placement:
        if self._placement is None:
            self._placement = Placement(Messenger(), cap=self._cap)
            self._placement.open()
            self._scaling = asyncio.create_task(self._scale())
        return self._placement

    async def ask(self, method: str, *arguments: Any) -> JsonObject:
        """Call Placement; what it raises comes back as a value."""
        placement = self._open()
        assert method in _ASKED, method
        return await refused_or(getattr(placement, method)(*arguments))

    async def scale(self, bounds: Bounds, idle_s: float) -> None:
        self._open()
        self._bounds, self._idle_s = bounds, idle_s

    async def bounds(self) -> tuple[Bounds, float]:
        return self._bounds, self._idle_s

    async def asks_for_token(self) -> bool:
        """Whether the Ray that runs this was begun with a token: its processes have the raylet's environment."""
        return os.environ.get("RAY_AUTH_MODE", "").lower() == "token"

    async def _scale(self) -> None:
        while True:
            try:
                await self._scale_once()
            except RayError as error:
                log.warning("the number of workers stays as it is for now: %s", error)
            await asyncio.sleep(_SCALE_S)

    async def _scale_once(self) -> None:
        placement = self._open()
        # Workers of a drained node stay, and so keep others from being placed there; they only do not count.
        drained = {each.name for each in placement.workers() if each.draining}
        names = {name for name in ray.util.list_named_actors() if name.startswith(WORKER)} - drained
        workers = [each for each in placement.workers() if each.name in names]
        used = [each for each in workers if each.at in (At.BUSY, At.RESERVED, At.CLOSING)]
        wanted = self._bounds.wanted(busy=len(used), waiting=placement.waiting)
        for _ in range(wanted - len(names)):
            begin_worker(f"{WORKER}{uuid.uuid4().hex[:8]}", self._spec, self._gpus)
        before_s = time.monotonic() - self._idle_s
        for worker in to_retire(workers, len(names) - wanted, idle_before_s=before_s):
            if await placement.retire(worker.name):
                with contextlib.suppress(ValueError):  # it is gone already
                    ray.kill(ray.get_actor(worker.name), no_restart=True)
                await placement.forget(worker.name)


class WorkerActor:
    """Keeps the server of one GPU."""

    def __init__(self, name: str, spec: Spec) -> None:
        _log()
        context = ray.get_runtime_context()
        raylet = os.getppid()
        beat = Beat()

        async def keep() -> str:
            keeper = Keeper(
                name,
                context.get_node_id()[:12],
                ray.util.get_node_ip_address(),
                spec,
                beat=beat,
                orphaned=lambda: os.getppid() != raylet,
            )
            return await keeper.run()

        def run() -> None:
            try:
                log.error("%s ends: %s", name, asyncio.run(keep()))
            finally:
                os._exit(1)  # Ray makes it anew

        threading.Thread(target=run, name="keeper", daemon=True).start()


class DoorActor:
    """A front door on this node."""

    def __init__(self, settings: JsonObject) -> None:
        _log()
        self._listening = threading.Event()
        self._url = ""
        self._failed: BaseException | None = None

        async def serve() -> None:
            door = FrontDoor(RayDesk(), Settings(**settings))
            await door.start()
            everywhere = settings["host"] in ("0.0.0.0", "::")  # noqa: S104
            self._url = door.url
            if everywhere:
                port = self._url.rpartition(":")[2]
                self._url = f"http://{ray.util.get_node_ip_address()}:{port}"
            self._listening.set()
            await asyncio.Event().wait()

        def run() -> None:
            try:
                asyncio.run(serve())
            except BaseException as error:
                self._failed = error
                self._listening.set()
                raise

        threading.Thread(target=run, name="door", daemon=True).start()

    def url(self) -> str:
        """Wait until it listens. Raises what kept it from it."""
        self._listening.wait(30)
        if self._failed is not None:
            raise self._failed
        return self._url


class _Reached:
    """The handle of Placement, found again when it did not answer: it may have been made anew."""

    def __init__(self) -> None:
        self._handle: Any = None

    async def ask(self, method: str, *arguments: Any, within_s: float) -> JsonObject:
        if self._handle is None:
            self._handle = await asyncio.to_thread(ray.get_actor, PLACEMENT, NAMESPACE)
        try:
            reference = self._handle.ask.remote(method, *arguments)
            async with asyncio.timeout(within_s):
                crossed: JsonObject = await asyncio.wrap_future(reference.future())
            return crossed
        except (RayError, TimeoutError):
            self._handle = None
            raise


class Beat:
    def __init__(self) -> None:
        self._placement = _Reached()

    async def __call__(self, report: JsonObject) -> JsonObject:
        answer: JsonObject = value_of(await self._placement.ask("beat", report, within_s=1.0))
        return answer


class RayDesk:
    """Implements `desk.Desk`."""

    def __init__(self) -> None:
        self._placement = _Reached()

    async def _ask(self, method: str, *arguments: Any, within_s: float = _ANSWER_S) -> Any:
        try:
            crossed = await self._placement.ask(method, *arguments, within_s=within_s)
        except (RayError, TimeoutError, ValueError):  # the last: no actor of this name
            text = "the cluster is being set right; try again"
            raise SessionRefused(text, status=503, retry_after_s=2) from None
        return value_of(crossed)

    async def start(self, session_id: str | None, grant: Grant, wait_s: float = 0.0) -> JsonObject:
        made: JsonObject = await self._ask(
            "start", session_id, grant, wait_s, within_s=_ANSWER_S * 3 + wait_s
        )
        return made

    async def find(self, session_id: str) -> JsonObject | None:
        at: JsonObject | None = await self._ask("find", session_id)
        return at

    async def own(self, client: str) -> list[str]:
        own: list[str] = await self._ask("own", client)
        return own

    async def state(self) -> JsonObject:
        state: JsonObject = await self._ask("state", within_s=2.0)
        return state

    async def join(self, wish: str, person: str) -> JsonObject:
        joined: JsonObject = await self._ask("join", wish, person)
        return joined

    async def look(self, ticket: str) -> JsonObject:
        seen: JsonObject = await self._ask("look", ticket)
        return seen

    async def changed(self, ticket: str, seen: JsonObject, within_s: float) -> JsonObject:
        now: JsonObject = await self._ask("changed", ticket, seen, within_s, within_s=_ANSWER_S + within_s)
        return now

    async def claim(self, ticket: str, client: str) -> JsonObject:
        given: JsonObject = await self._ask("claim", ticket, client)
        return given

    async def leave(self, ticket: str) -> None:
        await self._ask("leave", ticket)

    async def drain(self) -> None:
        await self._ask("drain")


# Making them ------------------------------------------------------------------------------------------------


def _detached(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "namespace": NAMESPACE, "lifetime": "detached", "max_task_retries": 0, **more}


def begin_placement(spec: Spec, *, cap: int, bounds: Bounds, idle_s: float, gpus: float) -> Any:
    # On the head, which nobody can do without in any case: no other node takes it along when it is lost.
    head = {"node:__internal_head__": 0.001}
    known = _detached(PLACEMENT, num_cpus=0, resources=head, max_restarts=-1, max_concurrency=_CONCURRENCY)
    return ray.remote(PlacementActor).options(**known).remote(spec, cap, bounds, idle_s, gpus)


def begin_worker(name: str, spec: Spec, gpus: float) -> Any:
    known = _detached(name, num_cpus=0 if gpus else 1, num_gpus=gpus, max_restarts=WORKER_RESTARTS)
    return ray.remote(WorkerActor).options(**known).remote(name, spec)


def begin_door(number: int, settings: JsonObject, strategy: Callable[[int], Any]) -> Any:
    known = _detached(
        f"{DOOR}{number}",
        num_cpus=0,
        max_restarts=-1,
        scheduling_strategy=strategy(number),
        max_concurrency=4,
    )
    return ray.remote(DoorActor).options(**known).remote(settings)
