"""Clients that mean harm, beside a viewer and an honest client: what those two notice of it.

The bounds leave room for a noisy machine; what was measured on a quiet one stands beside them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator

import httpx
import pytest
from support.crowd import Crowd
from support.http_attacks import attacking
from support.memory_runtime import TOKEN
from support.promises import by_night, long_form
from support.server import ReactorRun, running, write_model
from support.visitor import Visitor

MODEL = """
    import numpy as np
    from reactor_runtime import VideoModel, get_ctx

    class Model(VideoModel):
        fps = 30

        def start_session(self):
            picture = np.full((120, 160, 3), 90, np.uint8)
            for n in range(10_000_000):
                picture[:, n % 160] = n % 256
                get_ctx().emit_frame(picture)
"""
#: Beside the good client's 127.0.0.1, another address of loopback.
ELSEWHERE = "127.0.0.2"


# Who has no token reaches less of the server.
@pytest.fixture(scope="module", params=["", *by_night(TOKEN)], ids=lambda token: "token" if token else "open")
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReactorRun]:
    folder = write_model(tmp_path_factory.mktemp("model"), MODEL)
    env = {"REACTOR_TOKEN": request.param} if request.param else {}
    with running(folder, env=env) as run:
        run.wait_for(lambda: run.get("/health").status_code == 200, "the model", 60)
        yield run


def token_of(server: ReactorRun) -> dict[str, str]:
    asks = server.get("/session").status_code == 401
    return {"Authorization": f"Bearer {TOKEN}"} if asks else {}


async def ask_often(server: ReactorRun, for_s: float, path: str = "/health") -> list[float]:
    """Ask on a fresh connection each time; return how long each answer took, sorted."""
    took_s, until_s = [], time.monotonic() + for_s
    while time.monotonic() < until_s:
        began_s = time.monotonic()
        async with (
            httpx.AsyncClient(
                base_url=server.url,
                timeout=10,
                trust_env=False,
                verify=False,
                headers=token_of(server) if path != "/health" else {},
            ) as http,
            http.stream("GET", path) as answer,
        ):
            assert answer.status_code == 200
            await anext(answer.aiter_bytes())
        took_s.append(time.monotonic() - began_s)
        await asyncio.sleep(0.02)
    return sorted(took_s)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["chunks", "pipeline"])
async def test_neither_tiny_chunks_nor_requests_by_the_hundred_stop_the_picture_or_health(
    server: ReactorRun, kind: str, record_property: Callable[[str, object], None]
) -> None:
    """Before requests and pieces were bounded: 0.7 fps and 5 s for chunks, 100 ms for requests."""
    async with Visitor(server.url) as visitor:
        visitor.http.headers.update(token_of(server))
        await visitor.start()
        await visitor.watch()

        async def measure(for_s: float) -> tuple[float, float, float]:
            before, began_s = visitor.frames, time.monotonic()
            took_s = await ask_often(server, for_s)
            fps = (visitor.frames - before) / (time.monotonic() - began_s)
            return fps, took_s[len(took_s) // 2], took_s[int(len(took_s) * 0.99)]

        crowd = Crowd()
        alone_fps, alone_s, alone_p99_s = await measure(long_form(1, 5))
        with attacking(kind, server.url):
            fps, health_s, p99_s = await measure(long_form(2, 10))
        await visitor.leave()
    record_property(
        "measured",
        f"{kind}: {fps:.1f} fps (alone {alone_fps:.1f}), /health {health_s * 1000:.0f} ms, "
        f"p99 {p99_s * 1000:.0f} (alone {alone_s * 1000:.0f}, p99 {alone_p99_s * 1000:.0f})",
    )
    # Before: 0.7 fps and 5 s. Beside other tests the share that is left of the cores decides.
    share, enough_s = (0.5, 0.25) if crowd.crowded else (28 / 30, 0.05)
    assert fps >= alone_fps * share - 2, (fps, alone_fps)
    assert health_s <= max(enough_s, 4 * alone_s), (health_s, alone_s)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["renew", "events", "half"])
async def test_one_address_that_takes_every_socket_delays_a_good_client_two_seconds_at_most(
    server: ReactorRun, kind: str
) -> None:
    """Measured: 0.46 s, 0.05 s and 0.05 s at the longest; it was for ever, for ever and 10.7 s."""
    path = "/events" if kind == "events" else "/health"
    if kind == "events" and token_of(server):
        pytest.skip("without the token nobody reads the events")
    with attacking(kind, server.url, source=ELSEWHERE):
        took_s = await ask_often(server, long_form(2, 5), path)
    assert took_s[-1] <= 2
