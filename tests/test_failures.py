"""What a model can do to a running server and to the people who watch it: next to nothing.

Each test makes a model misbehave under a real `reactor run` with a real client connected, while a prober asks
/health from a process of its own. Promises 10 to 19, 39 and 40, at the level of the server; what the hosts
promise by themselves is in test_faults.py. Measured figures are printed (`-s`); what is asserted is wider, and wider
still while other tests crowd the machine, but always far below how long the model blocks. Under `make nightly` none do.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import psutil
import pytest
from support.crowd import Crowd
from support.prober import Probe, probing
from support.promises import NIGHTLY, by_night, long_form
from support.server import ReactorRun, running, write_model
from support.visitor import Refused, Visitor, watching

from reactor_runtime.config import Settings
from reactor_runtime.server.runtime import Runtime

pytestmark = pytest.mark.slow

#: The server answers /health within this, whatever the model does; 100 ms is the promise on a quiet machine.
HEALTH_WORST_S = 0.6
HEALTH_MEDIAN_S = 0.05
#: From the moment a failure is noticed until the viewer has read about it, and what a shared machine adds.
TOLD_S = 0.5
NOISE_S = 0.4
#: What other tests add that run beside these.
CROWDED_S = 2.0
#: What no client may ever read: paths, code, names of memory.
INTERNALS = re.compile(r"Traceback|File \"|/tmp/|/srv/|/dev/shm|memfd|\.py\b|site-packages|psm_|secret")


def faulty(folder: Path, model: str = "FaultyModel", **args: Any) -> Path:
    """Write the manifest of the model that misbehaves on command."""
    source = f"from reactor_runtime.testing import {model} as Model\n"
    return write_model(folder, source, args={"size": [120, 160], **args})


@contextmanager
def probed(server: ReactorRun) -> Iterator[Probe]:
    crowd = Crowd()
    with probing(server.url) as probe:
        yield probe
    print(f"\n  {probe}")
    assert probe.took_s
    assert probe.median_s <= HEALTH_MEDIAN_S + crowd.adds_s(0.2)
    assert probe.worst_s <= HEALTH_WORST_S + crowd.adds_s(CROWDED_S)


@asynccontextmanager
async def visited(server: ReactorRun) -> AsyncIterator[Visitor]:
    """A viewer of a fresh session; afterwards nothing that it received may hold internals."""
    async with watching(server.url) as visitor:
        yield visitor
        assert not INTERNALS.search(str(visitor.raw))


async def told(visitor: Visitor, code: str, since_s: float, limit_s: float = 0.0) -> None:
    """Wait until the viewer was told this code and that its session ended; both within the figure."""
    crowd = Crowd()
    assert (await visitor.hear("notice"))["code"] == code
    assert await visitor.hear("sessionEnded") == {"reason": code}
    took_s = time.monotonic() - since_s
    print(f"\n  told {code} after {took_s:.3f} s (limit {limit_s:g} s + {TOLD_S:g} s)")
    assert limit_s <= took_s <= limit_s + TOLD_S + NOISE_S + crowd.adds_s(CROWDED_S)


async def next_user_is_served(server: ReactorRun, within_s: float = 20.0) -> float:
    """Start as soon as the server says that it is ready; return how long that and the first frames took."""
    began_s = time.monotonic()
    while server.health()["state"] != "available":
        assert time.monotonic() - began_s < within_s, server.text
        await asyncio.sleep(0.02)
    async with visited(server) as visitor:
        took_s = time.monotonic() - began_s
        print(f"\n  next user sees frames after {took_s:.2f} s")
        await visitor.ask("set_note", note="next")
        await visitor.leave()
    while server.session_state() != "ready":
        await asyncio.sleep(0.01)
    return took_s


def unready_after(server: ReactorRun, since_s: float) -> float:
    """Wait until /health says that nobody can be served; return how long after that moment it did."""
    server.wait_for(lambda: server.get("/health").status_code == 503, "503 of /health", 10)
    return time.monotonic() - since_s


async def fault(visitor: Visitor, kind: str, **arguments: Any) -> float:
    """Ask for a fault that may never be answered; return when."""
    asked_s = time.monotonic()
    visitor.tell("fault", kind=kind, **arguments)
    await asyncio.sleep(0)
    return asked_s


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReactorRun]:
    """One server for all faults that its model process survives."""
    with running(faulty(tmp_path_factory.mktemp("lasting"))) as run:
        yield run


# The model process survives -----------------------------------------------------------------------------


async def test_a_handler_that_raises_is_answered_and_no_frame_is_missed(lasting: ReactorRun) -> None:
    async with visited(lasting) as visitor:
        with probed(lasting):
            crowd = Crowd()
            for _ in range(3):
                asked_s = time.monotonic()
                with pytest.raises(Refused) as refused:
                    await visitor.ask("fault", kind="raise", where="handler")
                assert refused.value.code == "internal_error"
                assert time.monotonic() - asked_s <= 0.2 + NOISE_S + crowd.adds_s(CROWDED_S)
            before = visitor.frames
            await visitor.see(30)
            assert visitor.frames >= before + 30
        assert not visitor.heard("notice")
        await visitor.leave()
    lasting.wait_for_state("ready")
    assert lasting.text.count("ValueError: a secret path") == 1


@pytest.mark.parametrize("kind", ["raise", "system_exit"])
async def test_a_loop_that_raises_ends_its_session_only(lasting: ReactorRun, kind: str) -> None:
    (model,) = lasting.children()
    async with visited(lasting) as visitor:
        with probed(lasting):
            await told(visitor, "model_error", await fault(visitor, kind))
        await visitor.until(lambda: visitor.lost)
    crowd = Crowd()
    assert await next_user_is_served(lasting) < 2 + crowd.adds_s(CROWDED_S)
    assert lasting.children() == [model]


@pytest.mark.parametrize("kind", ["wrong_shape", "nan_frame"])
async def test_a_wrong_frame_is_the_authors_affair_and_the_stream_goes_on(
    lasting: ReactorRun, kind: str
) -> None:
    async with visited(lasting) as visitor:
        with probed(lasting):
            await fault(visitor, kind)
            rejected = await visitor.hear("message:rejected")
            assert "accepted" in rejected["text"] or "NaN" in rejected["text"]
            await visitor.see(15)
        assert not visitor.heard("notice")
        await visitor.leave()
    lasting.wait_for_state("ready")


async def test_ten_thousand_frames_at_once_are_held_back_and_shown_in_time(lasting: ReactorRun) -> None:
    async with visited(lasting) as visitor:
        server = psutil.Process(lasting.process.pid)
        await visitor.see(15)
        before = server.memory_info().rss
        with probed(lasting):
            await fault(visitor, "flood", amount=10_000)
            await visitor.see(60)
        grown = (server.memory_info().rss - before) / 2**20
        print(f"\n  server memory grew by {grown:.1f} MiB")
        assert grown < 16
        # It can be stopped in the middle, and is asked at its next frame.
        crowd, asked_s = Crowd(), time.monotonic()
        await visitor.leave()
        while lasting.session_state() != "ready":
            await asyncio.sleep(0.005)
        assert time.monotonic() - asked_s < 1 + crowd.adds_s(CROWDED_S)


async def test_a_model_that_pauses_without_a_frame_is_not_punished(lasting: ReactorRun) -> None:
    async with visited(lasting) as visitor:
        with probed(lasting):
            await fault(visitor, "silence", amount=1.0)
            await visitor.ask("status")
            await visitor.see(15)
        assert not visitor.heard("notice")
        await visitor.leave()
    lasting.wait_for_state("ready")


# The model process is lost ------------------------------------------------------------------------------


# Each kind is tried under the host in test_faults.py; the server adds what it does about any.
@pytest.mark.parametrize("kind", ["segfault", *by_night("exit", "abort")])
async def test_a_model_that_dies_is_told_at_once_and_replaced(
    tmp_path: Path, kind: str, record_property: Callable[[str, object], None]
) -> None:
    with running(faulty(tmp_path)) as server:
        (model,) = server.children()
        async with visited(server) as visitor:
            with probed(server) as probe:
                crowd = Crowd()
                asked_s = await fault(visitor, kind, amount=3)
                followed = asyncio.create_task(asyncio.to_thread(unready_after, server, asked_s))
                await told(visitor, "model_crashed", asked_s)
                await visitor.until(lambda: visitor.lost)
                took_s = await followed
                record_property("measured", f"{kind}: /health follows after {took_s:.2f} s")
                assert took_s <= 1 + NOISE_S + crowd.adds_s(CROWDED_S)
                early = await visitor.start()
                assert early.status_code == 503
                assert early.headers["Retry-After"] == "1"
                # A pause of one second comes before the first restart.
                assert await next_user_is_served(server) < 10
            assert not all(probe.healthy), "readiness must not hide it"
            assert probe.healthy[-1]
        assert model not in server.children()
        assert "restarting the model in 1 s" in server.text
        # The log has the stack that the client must not see.
        if kind in ("segfault", "abort"):
            assert f"in _{kind}" in server.text


@pytest.mark.parametrize("kind", ["sleep_gil", *by_night("spin", "sleep")])
async def test_a_model_that_hangs_is_noticed_at_its_limit_and_replaced(
    tmp_path: Path, kind: str, record_property: Callable[[str, object], None]
) -> None:
    with running(faulty(tmp_path), "--hang-s", "1") as server:
        async with visited(server) as visitor:
            with probed(server):
                asked_s = await fault(visitor, kind, amount=60)
                followed = asyncio.create_task(asyncio.to_thread(unready_after, server, asked_s + 1.0))
                await told(visitor, "model_hung", asked_s, limit_s=1.0)
                took_s = await followed
                record_property("measured", f"{kind}: /health follows {took_s:.2f} s after the limit")
                assert took_s <= 1 + NOISE_S
                await next_user_is_served(server)
        assert f"in _{kind}" in server.text


async def test_a_handler_that_hangs_is_noticed_as_well_and_answered(tmp_path: Path) -> None:
    with running(faulty(tmp_path), "--hang-s", "1") as server, probed(server):
        async with visited(server) as visitor:
            asked_s = time.monotonic()
            with pytest.raises(Refused) as refused:
                await visitor.ask("fault", kind="sleep_gil", amount=60, where="handler")
            assert refused.value.code == "model_hung"
            await told(visitor, "model_hung", asked_s, limit_s=1.0)
        await next_user_is_served(server)


async def test_a_model_that_never_emits_has_the_time_of_its_first_frame(tmp_path: Path) -> None:
    source = """
        import time
        from reactor_runtime.testing import FaultyModel

        class Model(FaultyModel):
            def start_session(self):
                time.sleep(60)
    """
    path = write_model(tmp_path, source)
    with running(path, "--first-frame-s", "1", "--hang-s", "0.2") as server, probed(server):
        await the_first_frame_never_comes(server)
        server.wait_for(lambda: server.health()["state"] == "available", "the restart")


async def the_first_frame_never_comes(server: ReactorRun) -> None:
    async with Visitor(server.url) as visitor:
        began_s = time.monotonic()
        await visitor.start()
        await visitor.connect()
        visitor.resume()
        await told(visitor, "model_hung", began_s, limit_s=1.0)


async def test_a_model_that_ignores_the_stop_is_killed_at_its_limit_and_the_next_user_waits_no_longer(
    tmp_path: Path,
) -> None:
    with running(faulty(tmp_path), "--stop-s", "1") as server, probed(server):
        async with visited(server) as visitor:
            await fault(visitor, "ignore_stop", amount=60)
            await asyncio.sleep(0.2)
            crowd, asked_s = Crowd(), time.monotonic()
            assert (await visitor.http.post("/stop_session")).status_code == 200
            assert await visitor.hear("sessionEnded") == {"reason": "stopped"}
            assert time.monotonic() - asked_s <= TOLD_S + NOISE_S + crowd.adds_s(CROWDED_S)
            while server.session_state() == "closing":
                await asyncio.sleep(0.005)
            assert 1.0 <= time.monotonic() - asked_s <= 2.0 + NOISE_S + crowd.adds_s(CROWDED_S)
        await next_user_is_served(server)


async def test_memory_that_runs_out_is_told_as_such(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    source = """
        import resource
        from pathlib import Path
        from reactor_runtime.testing import FaultyModel

        class Model(FaultyModel):
            def start_session(self):
                pages = int(Path("/proc/self/statm").read_text().split()[0])
                limit = pages * 4096 + 256 * 2**20
                resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
                super().start_session()

            def _step(self):
                if self.note == "grow":
                    self._ballast.append(bytearray(4 * 2**20))
                return super()._step()
    """
    with running(write_model(tmp_path, source, args={"size": [120, 160], "rate": 100})) as server:
        async with visited(server) as visitor:
            crowd = Crowd()
            with probed(server) as probe:
                await visitor.ask("set_note", note="grow")
                assert (await visitor.hear("notice"))["code"] == "out_of_memory"
                assert await visitor.hear("sessionEnded") == {"reason": "out_of_memory"}
            record_property("measured", f"/health ≤ {probe.worst_s * 1000:.0f} ms")
            assert probe.worst_s <= 0.1 + crowd.adds_s(HEALTH_WORST_S)
        await next_user_is_served(server)


@pytest.mark.skipif(not NIGHTLY, reason="by night: test_faults.py has it at every change, without a server")
@pytest.mark.alone
async def test_a_hundred_megabytes_of_prints_a_second_cost_no_frames(tmp_path: Path) -> None:
    with running(faulty(tmp_path)) as server:
        async with visited(server) as visitor:
            quiet = await rate(visitor)
            with probed(server):
                await fault(visitor, "noise", amount=100)
                await visitor.see(5)
                noisy = await rate(visitor)
            print(f"\n  {quiet:.1f} frames/s, {noisy:.1f} while the model prints 100 MB/s")
            assert noisy >= 0.8 * quiet
            asked_s = time.monotonic()
            await visitor.ask("status")
            assert time.monotonic() - asked_s < 0.2 + NOISE_S
            dropped = re.search(r"(?m)^reactor_log_lines_dropped_total\S* (\S+)", server.get("/metrics").text)
            assert dropped is not None
            assert float(dropped[1]) > 5000


async def rate(visitor: Visitor, seconds: float = 2.0) -> float:
    before, began_s = visitor.frames, time.monotonic()
    await asyncio.sleep(seconds)
    return (visitor.frames - before) / (time.monotonic() - began_s)


# Settings and the restart budget ------------------------------------------------------------------------


def test_a_model_that_takes_too_long_to_load_ends_the_start_in_words(tmp_path: Path) -> None:
    path = faulty(tmp_path, load_fault="hang")
    began_s = time.monotonic()
    with running(path, "--load-s", "1.5", ready=False) as server:
        assert server.process.wait(20) == 1
        assert time.monotonic() - began_s < 10
    assert "loading the model made no progress for 1.5 s" in server.text
    assert "Traceback" not in server.text


async def test_a_model_that_dies_too_often_is_given_up_in_words_and_the_server_still_answers(
    tmp_path: Path,
) -> None:
    runtime = Runtime(faulty(tmp_path), {}, Settings.load({"port": 0, "restarts": 1}, {}))
    await runtime.start()
    try:
        await runtime.ready()
        async with httpx.AsyncClient(base_url=runtime.url) as http:
            for _ in range(2):
                async with watching(runtime.url) as visitor:
                    await told(visitor, "model_crashed", await fault(visitor, "exit", amount=3))
                word = ""
                async with asyncio.timeout(15):
                    while word not in ("available", "terminated"):
                        await asyncio.sleep(0.02)
                        word = (await http.get("/health")).json()["state"]
            health = await http.get("/health")
            assert health.status_code == 503
            words = "the model failed too often; see the log, fix it and start the runtime again"
            said = health.json()
            assert said.pop("instance")
            assert said == {
                "status": "unhealthy",
                "state": "terminated",
                "detail": words,
                "slots": ["terminated"],
            }
            start = await http.post("/start_session")
            assert (start.status_code, start.json()["detail"]) == (503, words)
            assert (await http.get("/health/live")).status_code == 200
            assert (await http.get("/session")).json()["state"] == "terminated"
    finally:
        await runtime.close()


async def test_reactor_run_ends_with_status_one_once_the_budget_is_used_up(tmp_path: Path) -> None:
    with running(faulty(tmp_path), "--restarts", "0") as server:
        async with visited(server) as visitor:
            await told(visitor, "model_crashed", await fault(visitor, "exit", amount=3))
        assert await asyncio.to_thread(server.process.wait, 10) == 1
    assert "the model failed too often" in server.text


def test_health_follows_a_model_that_has_loaded(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    source = f"""
        import time
        from pathlib import Path
        from reactor_runtime.testing import FaultyModel

        class Model(FaultyModel):
            def __init__(self, **args):
                super().__init__(**args)
                while not Path({str(tmp_path / "go")!r}).exists():
                    time.sleep(0.005)
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = write_model(tmp_path / "model", source, args={"size": [120, 160]})
    with running(folder, "--port", str(port), ready=False) as server:
        server.url = f"http://127.0.0.1:{port}"
        server.wait_for(lambda: listens(port), "the port")
        assert (server.get("/health").status_code, server.health()["state"]) == (503, "loading")
        loaded_s = time.monotonic()
        (tmp_path / "go").touch()
        server.wait_for(lambda: server.get("/health").status_code == 200, "200 of /health", 10)
        took_s = time.monotonic() - loaded_s
        record_property("measured", f"loaded: /health follows after {took_s:.2f} s")
        assert took_s <= 1 + NOISE_S


def listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


# The end of the server ----------------------------------------------------------------------------------


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def can_bind(url: str) -> bool:
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", urlsplit(url).port or 0))
        taken.listen()
    return True


async def test_a_killed_server_takes_its_model_with_it_and_the_port_is_free(tmp_path: Path) -> None:
    with running(faulty(tmp_path)) as server:
        async with visited(server) as visitor:
            await fault(visitor, "sleep_gil", amount=60)
            await asyncio.sleep(0.1)
            (model,) = server.children()
            os.kill(server.process.pid, signal.SIGKILL)
            crowd, killed_s = Crowd(), time.monotonic()
            while not gone(model):
                assert time.monotonic() - killed_s < 2 + crowd.adds_s(CROWDED_S)
                await asyncio.sleep(0.01)
            print(f"\n  model process gone after {time.monotonic() - killed_s:.3f} s")
            assert await asyncio.to_thread(server.process.wait, 5) == -signal.SIGKILL
            assert can_bind(server.url)


async def test_a_server_that_is_told_to_stop_lets_its_session_end(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    with running(faulty(tmp_path), "--drain-s", "30") as server:
        async with visited(server) as visitor, visited_too(server) as other:
            server.process.send_signal(signal.SIGTERM)
            crowd, told_s = Crowd(), time.monotonic()
            took_s = await asyncio.to_thread(unready_after, server, told_s)
            record_property("measured", f"/health says so after {took_s * 1000:.0f} ms")
            assert took_s <= 0.1 + NOISE_S + crowd.adds_s(CROWDED_S)
            for each in (visitor, other):
                notice = await each.hear("notice")
                assert notice == {"code": "draining", "message": "the server stops in at most 30 s"}
            assert time.monotonic() - told_s < TOLD_S + NOISE_S + crowd.adds_s(CROWDED_S)
            health = server.get("/health")
            assert (health.status_code, health.json()["detail"]) == (503, "shutting down")
            refused = await visitor.http.post("/start_session")
            assert refused.status_code == 503
            assert int(refused.headers["Retry-After"]) > 0
            await visitor.see(30)
            await visitor.leave()
            assert await other.hear("sessionEnded") == {"reason": "stopped"}
            assert await asyncio.to_thread(server.process.wait, 10) == 0
            assert can_bind(server.url)
    assert "Stopped.\n" in server.text  # the engine may have a word after it


@asynccontextmanager
async def visited_too(server: ReactorRun) -> AsyncIterator[Visitor]:
    async with Visitor(server.url) as visitor:
        await visitor.adopt()
        await visitor.watch()
        yield visitor


async def test_a_drain_ends_at_its_limit(tmp_path: Path) -> None:
    with running(faulty(tmp_path), "--drain-s", "1") as server:
        async with visited(server) as visitor:
            server.process.send_signal(signal.SIGTERM)
            crowd, began_s = Crowd(), time.monotonic()
            assert await visitor.hear("sessionEnded") == {"reason": "server stopped"}
            assert 1.0 <= time.monotonic() - began_s < 2.0 + NOISE_S + crowd.adds_s(CROWDED_S)
            assert await asyncio.to_thread(server.process.wait, 10) == 0


async def test_the_second_signal_ends_the_session_at_once(tmp_path: Path) -> None:
    with running(faulty(tmp_path)) as server:
        (model,) = server.children()
        async with visited(server) as visitor:
            server.process.send_signal(signal.SIGTERM)
            await visitor.hear("notice")
            server.process.send_signal(signal.SIGTERM)
            asked_s = time.monotonic()
            assert await visitor.hear("sessionEnded") == {"reason": "server stopped"}
            assert await asyncio.to_thread(server.process.wait, 10) == 128 + signal.SIGTERM
            print(f"\n  ended {time.monotonic() - asked_s:.2f} s after the second signal")
            assert gone(model)
            assert can_bind(server.url)


def test_an_idle_server_stops_within_two_seconds(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    crowd, took_s = Crowd(), []
    path = faulty(tmp_path)
    for number in range(long_form(1, 50)):
        with running(path) as server:
            (model,) = server.children()
            asked_s = time.monotonic()
            server.process.send_signal((signal.SIGINT, signal.SIGTERM)[number % 2])
            assert server.process.wait(10) == 0
            took_s.append(time.monotonic() - asked_s)
            assert gone(model)
            assert can_bind(server.url)
    record_property("measured", f"{len(took_s)} idle stops, the longest {max(took_s):.2f} s")
    assert max(took_s) < 2.0 + NOISE_S + crowd.adds_s(CROWDED_S)


def test_a_server_that_is_told_to_stop_while_it_loads_stops_as_well(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    source = """
        import time
        from reactor_runtime.testing import FaultyModel

        class Model(FaultyModel):
            def __init__(self, **args):
                print("loading", flush=True)
                time.sleep(60)
    """
    path = write_model(tmp_path, source)
    crowd, took_s = Crowd(), []
    for number in range(long_form(1, 50)):
        with running(path, ready=False) as server:
            server.wait_for(lambda: "loading" in server.text, "the constructor")
            models = server.children()
            time.sleep(number % 10 * 0.02)
            asked_s = time.monotonic()
            server.process.send_signal(signal.SIGTERM)
            server.process.wait(15)
            took_s.append(time.monotonic() - asked_s)
            assert all(map(gone, models))
    record_property("measured", f"{len(took_s)} stops while loading, the longest {max(took_s):.2f} s")
    assert max(took_s) < 2.0 + NOISE_S + crowd.adds_s(CROWDED_S)
