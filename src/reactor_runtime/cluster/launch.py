"""A cluster on a Ray that runs, or on one of this machine alone: begun, asked, changed and ended.

Blocking, for the command line. What is asked of Ray first is whether it asks for a token: without one, whoever reaches
its ports runs what he likes on every machine.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from ..errors import SettingError
from ..types import JsonObject
from .keeper import Spec
from .scaling import Bounds

#: Health checks of a Ray of our own: a frozen node is noticed after 6 s, and not after a minute.
HEALTH: Final = {
    "health_check_initial_delay_ms": 1000,
    "health_check_period_ms": 1000,
    "health_check_timeout_ms": 1000,
    "health_check_failure_threshold": 3,
}


def require_ray() -> None:
    """Raise SettingError where Ray is not installed."""
    # It is not imported yet: when it is, it reads from the environment whether to ask for a token.
    if any(find_spec(name) is None for name in ("ray", "httpx")):
        raise SettingError(
            "a cluster needs Ray, which is not installed here.\n  Fix: pip install 'framehelm[cluster]'"
        )


def attach(address: str, *, gpus: int | None = None) -> None:
    """Connect to the Ray at `address`; "" begins one on this machine. Raises SettingError."""
    require_auth(local=not address)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    from .actors import NAMESPACE

    quiet: dict[str, Any] = {"logging_level": "ERROR", "log_to_driver": True, "namespace": NAMESPACE}
    if address:
        try:
            ray.init(address=address, **quiet)
        except ConnectionError as error:
            raise SettingError(f"no Ray answers at {address}: {str(error).splitlines()[0]}") from None
        return
    ray.init(
        include_dashboard=False, num_gpus=gpus, _node_ip_address="127.0.0.1", _system_config=HEALTH, **quiet
    )


def require_auth(*, local: bool) -> None:
    """See to it that Ray asks for a token, and that there is one; for a Ray of our own make it. Raises SettingError."""
    if os.environ.setdefault("RAY_AUTH_MODE", "token").lower() != "token":
        raise SettingError(
            f"RAY_AUTH_MODE={os.environ['RAY_AUTH_MODE']}: without a token whoever reaches Ray's ports runs what he "
            "likes on every machine.\n  Fix: unset it here, and start each node with RAY_AUTH_MODE=token."
        )
    named = os.environ.get("RAY_AUTH_TOKEN_PATH")
    file = Path(named) if named else Path.home() / ".ray" / "auth_token"
    if os.environ.get("RAY_AUTH_TOKEN") or file.is_file():
        return
    if not local:
        raise SettingError(
            f"Ray's token is not here: {file} is missing.\n"
            "  Fix: copy it from the head of the cluster, or name it with RAY_AUTH_TOKEN_PATH."
        )
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as made:
        made.write(secrets.token_hex(32))


def begin(
    spec: Spec,
    front: JsonObject,
    *,
    cap: int,
    bounds: Bounds,
    idle_s: float,
    doors: int,
    gpus_per_worker: float | None,
) -> list[str]:
    """Begin Placement, its workers and the doors; return where these are. Raises SettingError."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    from . import actors

    if actors.PLACEMENT in ray.util.list_named_actors():
        raise SettingError(
            "a cluster is up on this Ray already.\n"
            "  Fix: reactor cluster status shows it; Ctrl-C where it was begun ends it."
        )
    if gpus_per_worker is None:
        gpus_per_worker = 1.0 if ray.cluster_resources().get("GPU") else 0.0
    here = ray.get_runtime_context().get_node_id()

    def strategy(number: int) -> Any:
        # The first door is where people were told that it is.
        return NodeAffinitySchedulingStrategy(here, soft=False) if number == 0 else "SPREAD"

    placement = actors.begin_placement(spec, cap=cap, bounds=bounds, idle_s=idle_s, gpus=gpus_per_worker)
    if not ray.get(placement.asks_for_token.remote(), timeout=60):
        ray.kill(placement, no_restart=True)
        raise SettingError(
            "this Ray asks for no token: whoever reaches its ports runs what he likes on every machine.\n"
            "  Fix: ray stop, then start each node with RAY_AUTH_MODE=token."
        )
    ray.get(placement.ask.remote("state"), timeout=60)
    made = [actors.begin_door(number, front, strategy) for number in range(doors)]
    urls: list[str] = ray.get([door.url.remote() for door in made], timeout=60)
    return urls


def state() -> JsonObject:
    """Return how the cluster is. Raises SettingError where none is up."""
    import ray

    placement = _placement()
    from .actors import DOOR
    from .placement import value_of

    crossed, (bounds, idle_s) = ray.get(
        [placement.ask.remote("state"), placement.bounds.remote()], timeout=10
    )
    known: JsonObject = value_of(crossed)
    known.pop("best")  # it has a key
    nodes = [
        {
            "node": node["NodeID"][:12],
            "address": node["NodeManagerAddress"],
            "alive": node["Alive"],
            "gpus": node["Resources"].get("GPU", 0),
        }
        for node in ray.nodes()
    ]
    names = [name for name in ray.util.list_named_actors() if name.startswith(DOOR)]
    handles = [ray.get_actor(name) for name in names]
    asked = [handle.url.remote() for handle in handles]
    done, _ = ray.wait(asked, num_returns=len(asked), timeout=3) if asked else ([], [])
    urls = sorted(filter(None, map(_answer, done)))
    scale = {"min": bounds.least, "max": bounds.most, "idle": bounds.idle, "idle_s": idle_s}
    return {**known, "nodes": nodes, "doors": urls, "scale": scale}


def _answer(reference: Any) -> str:
    """Return where a door is; "" for one that is being begun anew."""
    import ray

    try:
        return str(ray.get(reference))
    except ray.exceptions.RayError:
        return ""


def drain(node: str) -> int:
    """Give the workers of a node nothing more; return how many there are. Raises SettingError."""
    import ray

    from .placement import value_of

    found = [each["node"] for each in state()["nodes"] if each["node"].startswith(node)]
    if len(found) != 1:
        raise SettingError(
            f"{len(found)} nodes are called {node}.\n  Fix: reactor cluster status lists them; a beginning will do."
        )
    count: int = value_of(ray.get(_placement().ask.remote("drain_node", found[0]), timeout=10))
    return count


def scale(bounds: Bounds, idle_s: float) -> None:
    """Change how many workers there are. Raises SettingError."""
    import ray

    ray.get(_placement().scale.remote(bounds, idle_s), timeout=10)


def bounds_now() -> tuple[Bounds, float]:
    import ray

    known: tuple[Bounds, float] = ray.get(_placement().bounds.remote(), timeout=10)
    return known


def end(*, drain_s: float, say: Callable[[str], None]) -> None:
    """Begin nothing more, wait until nobody plays, `drain_s` at most, and end all that is ours."""
    import ray

    from . import actors

    try:
        ray.get(_placement().ask.remote("drain"), timeout=5)
        until_s = time.monotonic() + drain_s
        while (busy := _busy()) and time.monotonic() < until_s:
            say(f"{busy} play; {until_s - time.monotonic():.0f} s are left. Ctrl-C again stops now.")
            time.sleep(min(5.0, drain_s))
    except (ray.exceptions.RayError, SettingError):
        say("Placement does not answer; what is left is ended.")
    finally:
        for name in ray.util.list_named_actors():
            if name == actors.PLACEMENT or name.startswith((actors.WORKER, actors.DOOR)):
                ray.kill(ray.get_actor(name), no_restart=True)


def _busy() -> int:
    return sum(worker["state"] in ("busy", "reserved") for worker in state()["workers"])


def _placement() -> Any:
    import ray

    from .actors import NAMESPACE, PLACEMENT

    try:
        return ray.get_actor(PLACEMENT, NAMESPACE)
    except ValueError:
        raise SettingError("no cluster is up on this Ray.\n  Fix: reactor cluster up PATH") from None
