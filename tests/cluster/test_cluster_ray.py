"""A cluster on a real Ray of this machine: a head, three nodes with pretend GPUs, and what happens when parts die.

By night, and only where Ray is installed: `pip install '.[cluster]'`.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import httpx
import psutil
import pytest
from support.client_model import write_client_model
from support.promises import NIGHTLY
from support.server import REACTOR, running
from support.visitor import Visitor

from reactor_runtime.types import JsonObject

pytestmark = [
    pytest.mark.slow,
    pytest.mark.alone,
    # Ray keeps what it opened, and warns of what it uses.
    pytest.mark.keeps_resources,
    pytest.mark.filterwarnings("default"),
    pytest.mark.skipif(not NIGHTLY, reason="takes minutes: by night"),
    pytest.mark.skipif(
        importlib.util.find_spec("ray") is None, reason="Ray is not installed: pip install '.[cluster]'"
    ),
]


@dataclass
class OnRay:
    url: str
    raylets: dict[str, psutil.Process]
    """By the beginning of the node's id, as workers tell it."""

    def get(self, path: str) -> Any:
        return httpx.get(self.url + path, timeout=10).json()

    def wait(self, condition: Callable[[], bool], what: str, within_s: float) -> float:
        began_s = time.monotonic()
        while True:
            try:
                if condition():
                    return time.monotonic() - began_s
            except (httpx.HTTPError, KeyError, ValueError):
                pass
            assert time.monotonic() < began_s + within_s, f"{what} did not happen within {within_s} s"
            time.sleep(0.1)

    def workers(self) -> list[JsonObject]:
        asked = [str(REACTOR), "cluster", "status", "--json"]
        told = subprocess.run(asked, capture_output=True, text=True, timeout=60)
        assert told.returncode == 0, told.stderr[-2000:]
        workers: list[JsonObject] = json.loads(told.stdout)["workers"]
        return workers


@pytest.fixture(scope="module")
def on_ray(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OnRay]:
    token = tmp_path_factory.mktemp("ray") / "token"
    token.write_text("t" * 64)
    model = write_client_model(tmp_path_factory.mktemp("model"))
    with pytest.MonkeyPatch.context() as patch:
        # Before Ray is imported: it reads them then.
        patch.setenv("RAY_AUTH_MODE", "token")
        patch.setenv("RAY_AUTH_TOKEN_PATH", str(token))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        from ray.cluster_utils import Cluster

        from reactor_runtime.cluster.launch import HEALTH

        small = {"include_dashboard": False, "object_store_memory": 100 * 2**20}
        head = {"num_cpus": 2, "num_gpus": 0, "_system_config": HEALTH, **small}
        cluster = Cluster(True, head_node_args=head)
        try:
            small.pop("include_dashboard")
            nodes = [cluster.add_node(num_cpus=1, num_gpus=1, **small) for _ in range(3)]
            patch.setenv("RAY_ADDRESS", cluster.address)
            yield from _up(model, cluster.address, nodes)
        finally:
            cluster.shutdown()


def _up(model: Path, address: str, nodes: list[Any]) -> Iterator[OnRay]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    flags = ("--address", address, "--min", "3", "--port", str(port), "--orphan-s", "5", "--drain-s", "3")
    up = subprocess.Popen([REACTOR, "cluster", "up", model, *flags])
    raylets = {
        node.node_id[:12]: psutil.Process(node.all_processes["raylet"][0].process.pid) for node in nodes
    }
    made = OnRay(f"http://127.0.0.1:{port}", raylets)
    try:
        made.wait(lambda: made.get("/health")["slots"].count("idle") == 3, "three workers", 120)
        yield made
    finally:
        up.send_signal(signal.SIGINT)
        up.wait(60)


async def test_a_visitor_plays_and_the_status_shows_it(on_ray: OnRay) -> None:
    async with Visitor(on_ray.url) as visitor:
        await visitor.start()
        await visitor.watch()
        await visitor.ask("paint", red=200)
        workers = await asyncio.to_thread(on_ray.workers)
        assert [each["session_id"] for each in workers].count(visitor.session_id) == 1
        await visitor.leave()


def test_a_start_through_the_door_takes_little_longer_than_at_one_server(
    on_ray: OnRay, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    with running(write_client_model(tmp_path)) as single:
        alone_s = [_start_s(single.url) for _ in range(20)]
    through_s = [_start_s(on_ray.url) for _ in range(20)]
    extra_ms = (median(through_s) - median(alone_s)) * 1000
    p95_ms = quantiles(through_s, n=20)[-1] * 1000
    record_property("measured", f"{extra_ms:.0f} ms more at the median; p95 {p95_ms:.0f} ms")
    assert extra_ms < 100


def _start_s(url: str) -> float:
    """Start a session, end it, and wait until another could be started; return what the start took."""
    with httpx.Client(base_url=url, timeout=20) as http:
        http.get("/health")
        began_s = time.monotonic()
        session_id = http.post("/start_session").json()["session_id"]
        took_s = time.monotonic() - began_s
        http.post("/stop_session", json={"session_id": session_id})
        while http.get("/health").json()["state"] != "available":
            time.sleep(0.05)
        return took_s


async def test_placement_that_is_killed_costs_no_picture_and_is_back(on_ray: OnRay) -> None:
    async with Visitor(on_ray.url) as visitor:
        await visitor.start()
        await visitor.watch()
        pid = await asyncio.to_thread(_pid_of, "PlacementActor")
        os.kill(pid, signal.SIGKILL)
        before = visitor.frames
        took_s = await asyncio.to_thread(
            on_ray.wait, lambda: on_ray.get("/health")["slots"].count("idle") == 2, "Placement's return", 15
        )
        assert took_s < 10
        assert visitor.frames - before > 15 * took_s
        started = (await visitor.http.post("/start_session")).json()
        assert started["session_id"] != visitor.session_id
        await visitor.http.post("/stop_session", json={"session_id": started["session_id"]})
        await visitor.leave()


async def test_a_door_that_is_killed_is_back_and_pictures_go_on_meanwhile(on_ray: OnRay) -> None:
    async with Visitor(on_ray.url) as visitor:
        await visitor.start()
        await visitor.watch()
        before = visitor.frames
        os.kill(await asyncio.to_thread(_pid_of, "DoorActor"), signal.SIGKILL)
        took_s = await asyncio.to_thread(
            on_ray.wait, lambda: on_ray.get("/health")["status"] == "healthy", "the door's return", 15
        )
        assert took_s < 10
        assert visitor.frames - before > 15 * took_s
        await visitor.leave()


def test_a_killed_raylet_leaves_nothing_of_its_worker(
    on_ray: OnRay, record_property: Callable[[str, object], None]
) -> None:
    session_id = httpx.post(on_ray.url + "/start_session", timeout=20).json()["session_id"]
    node = next(each["node"] for each in on_ray.workers() if each["session_id"] == session_id)
    raylet = on_ray.raylets[node]
    served = [
        each for each in raylet.children(recursive=True) if "cluster.served" in " ".join(each.cmdline())
    ]
    processes = [*served, *(child for each in served for child in each.children(recursive=True))]
    assert served
    before = psutil.Process(_pid_of("PlacementActor")).create_time()
    raylet.kill()
    began_s = time.monotonic()
    # Its viewers are told by this: their connections end.
    _, alive = psutil.wait_procs(processes, timeout=6)
    ended_s = time.monotonic() - began_s
    assert alive == []
    on_ray.wait(
        lambda: session_id not in [each["session_id"] for each in on_ray.get("/overview")["sessions"]],
        "the loss",
        10,
    )
    lost_s = time.monotonic() - began_s
    record_property("measured", f"ended after {ended_s:.1f} s, known as lost after {lost_s:.1f} s")
    assert ended_s < 3
    assert lost_s < 4
    assert psutil.Process(_pid_of("PlacementActor")).create_time() == before


def _pid_of(actor: str) -> int:
    running = psutil.process_iter(["pid", "cmdline"])
    # Of a process that is just ending there is none.
    found = [each.pid for each in running if f"ray::{actor}" in " ".join(each.info["cmdline"] or [])]
    assert len(found) == 1, found
    return found[0]
