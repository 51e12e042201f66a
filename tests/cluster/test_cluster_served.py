"""Real servers behind a real door, without Ray: a client that knows one server plays through it unchanged."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator

import httpx
import psutil
import pytest
from support.client_model import write_client_model
from support.socket_viewer import SocketViewer
from support.town import Town, town
from support.visitor import Visitor

from reactor_runtime.session.grants import Grant
from reactor_runtime.types import JsonObject, Role

TOKEN = "the-operator-of-the-doors"
OPERATOR = {"Authorization": f"Bearer {TOKEN}"}
#: Connections between doors and workers are kept from one test to the next.
pytestmark = [pytest.mark.slow, pytest.mark.keeps_resources]


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    model = write_client_model(tmp_path_factory.mktemp("model"))
    with town(
        model, workers=2, token=TOKEN, visitor_role="drive", allow_origins=("http://127.0.0.1",)
    ) as made:
        yield made


@pytest.fixture(autouse=True)
def all_idle(here: Town) -> Iterator[None]:
    """Each test begins with workers that are idle."""
    yield
    here.end_sessions()


def worker_of(here: Town, session_id: str) -> JsonObject:
    return next(each for each in here.state()["workers"] if each["session_id"] == session_id)


async def test_a_visitor_plays_through_the_door_over_webrtc(here: Town) -> None:
    async with Visitor(here.url) as visitor:
        await visitor.start()
        await visitor.watch()
        await visitor.ask("paint", red=200)
        overview = (await visitor.http.get("/overview")).json()
        assert [each["session_id"] for each in overview["sessions"]] == [visitor.session_id]
        assert overview["health"]["state"] == "available"
        assert overview["schema"]["paths"]
        await visitor.leave()


async def test_a_websocket_passes_through_the_door_and_its_end_as_well(here: Town) -> None:
    async with SocketViewer.joined(here.url) as viewer:
        await viewer.see(10)
        assert (await viewer.ask("paint", red=200))["accepted"]
        (session_id,) = [each["session_id"] for each in here.state()["workers"] if each["session_id"]]
        async with httpx.AsyncClient(base_url=here.url, headers=OPERATOR) as http:
            assert (await http.post("/stop_session", json={"session_id": session_id})).is_success
        await viewer.until(lambda: viewer.closed is not None)


async def test_two_play_at_once_on_two_workers_and_a_third_waits_in_the_line(here: Town) -> None:
    async with httpx.AsyncClient(base_url=here.url, timeout=20) as http:
        first, second = [(await http.post("/start_session")).json() for _ in range(2)]
        assert (
            worker_of(here, first["session_id"])["worker"] != worker_of(here, second["session_id"])["worker"]
        )
        assert (await http.post("/start_session")).status_code == 409
        ticket = (await http.post("/line")).json()
        assert (ticket["state"], ticket["place"]) == ("waiting", 1)
        async with http.stream("GET", f"/line/{ticket['ticket']}/events") as events:
            lines = events.aiter_lines()
            assert '"waiting"' in await anext(lines)
            await http.post("/stop_session", json={"session_id": first["session_id"]})
            async with asyncio.timeout(15):
                while '"claim"' not in await anext(lines):
                    pass
        given = (await http.post(f"/line/{ticket['ticket']}/claim")).json()
        assert worker_of(here, given["session_id"])["state"] == "busy"


async def test_an_upload_and_what_it_shows_pass_through_the_door(here: Town) -> None:
    async with httpx.AsyncClient(base_url=here.url, timeout=20) as http:
        session_id = (await http.post("/start_session")).json()["session_id"]
        wanted = {"name": "a.png", "size": 3, "mime_type": "image/png"}
        made = await http.post(f"/sessions/{session_id}/uploads", json=wanted)
        url = made.json()["presigned_url"]
        assert url.startswith(here.url)
        assert (await http.put(url, content=b"abc")).is_success
        assert (await http.put(url, content=b"abcd")).status_code >= 400


async def test_a_worker_answers_nobody_but_who_a_door_vouches_for(here: Town) -> None:
    async with httpx.AsyncClient(base_url=here.url, timeout=20) as http:
        started = (await http.post("/start_session")).json()
        session_id, direct = started["session_id"], started["worker"]
        async with httpx.AsyncClient(base_url=direct["url"]) as worker:
            path = f"/sessions/{session_id}/transport/webrtc/ice_servers"
            assert (await worker.get(path)).status_code == 401
            assert (await worker.get(path, headers=OPERATOR)).status_code == 401
            told = {"Authorization": f"Bearer {direct['token']}"}
            assert (await worker.get(path, headers=told)).status_code == 200
            # It is for this session, and begins no other.
            other = await worker.post("/start_session", json={"session_id": "other"}, headers=told)
            assert other.status_code == 403
        assert (await http.get("/metrics")).status_code == 401
        metrics = await http.get("/metrics", headers=OPERATOR)
        assert 'reactor_cluster_workers{state="busy"} 1.0' in metrics.text


async def test_what_is_over_is_answered_as_one_server_answers_it(here: Town) -> None:
    async with httpx.AsyncClient(base_url=here.url, timeout=20) as http:
        assert (await http.get("/sessions/never/transport/webrtc/ice_servers")).status_code == 404
        assert (
            await http.post("/connect", json={"session_id": "never", "sdp_offer": "x"})
        ).status_code == 404
        # An offer that the worker refuses leaves no session behind.
        assert (await http.post("/connect", json={"sdp_offer": "no offer"})).status_code == 400
        assert (await http.post("/connect", json={"sdp": "misspelt"})).status_code == 422


async def test_another_door_serves_what_was_begun_at_the_first(here: Town) -> None:
    second = await asyncio.to_thread(here.open_door)
    async with Visitor(here.url) as driver:
        await driver.start()
        await driver.watch()
        async with SocketViewer.joined(second, session_id=driver.session_id) as viewer:
            await viewer.see(5)
        await driver.leave()


async def test_a_worker_whose_server_is_killed_is_replaced_and_its_driver_is_the_next(here: Town) -> None:
    async with httpx.AsyncClient(base_url=here.url, timeout=20) as http:
        ticket = (await http.post("/line")).json()["ticket"]
        session_id = (await http.post(f"/line/{ticket}/claim")).json()["session_id"]
        lost = worker_of(here, session_id)["worker"]
        pid = here.keepers[lost].pid
        assert pid is not None
        model = psutil.Process(pid).children(recursive=True)
        os.kill(pid, signal.SIGKILL)
        took_s = await asyncio.to_thread(
            here.wait, lambda state: not any(each["session_id"] for each in state["workers"]), "the loss", 10
        )
        assert took_s < 4.0
        # The other worker is free, so it is offered at once.
        assert (await http.get(f"/line/{ticket}")).json()["state"] == "claim"
        again = (await http.post(f"/line/{ticket}/claim")).json()["session_id"]
        assert again != session_id
        _, alive = psutil.wait_procs(model, timeout=6)
        assert alive == []


def test_a_worker_whose_raylet_is_gone_ends_itself_and_its_model(here: Town) -> None:
    session = here.do(here.placement.start(None, Grant(Role.DRIVE, agent="raylet")))["session"]
    lost = worker_of(here, session["session_id"])["worker"]
    pid = here.keepers[lost].pid
    assert pid is not None
    processes = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    here.ends.pop(lost, None)
    here.orphaned.add(lost)
    _, alive = psutil.wait_procs(processes, timeout=10)
    assert alive == []
    here.wait(lambda _: here.ends.get(lost) == "its raylet is gone", "the keeper's end", 10)
