"""Published clients on two slots: each gets one until all are taken, and whoever leaves ends his own session."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from reactor_sdk import ReactorError
from support.chromium import chromium
from support.client_model import LEFT, write_client_model
from support.js_sdk import command, connect, sdk_page, shown, until_colour
from support.sdk import connected, warm_up
from support.server import ReactorRun, running

pytestmark = [pytest.mark.slow]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReactorRun]:
    warm_up()
    # Whatever nobody watches ends only after this test: what ends before was told to.
    with running(
        write_client_model(tmp_path_factory.mktemp("model")), "--slots", "2", "--orphan-s", "60"
    ) as run:
        run.wait_for(lambda: run.health()["slots"] == ["ready", "ready"], "the second slot")
        yield run


async def until_slots(server: ReactorRun, *states: str) -> None:
    await asyncio.to_thread(
        server.wait_for, lambda: server.health()["slots"] == list(states), f"{states}", 15
    )


async def test_two_python_clients_that_look_alike_each_end_their_own_session(server: ReactorRun) -> None:
    async with connected(server) as stays:
        async with connected(server) as goes:
            assert stays.session_id != goes.session_id
            await stays.send_command("paint", {"red": 220})
            await stays.red(190, 255)
            await goes.red(0, 60)
            with pytest.raises(ReactorError):
                async with connected(server):
                    pass
            # What a refused client does at its end costs nobody a session.
            await asyncio.gather(stays.frames(5), goes.frames(5))
        await until_slots(server, "streaming", "ready")
        await stays.frames(5)
        async with connected(server, session_id=stays.session_id) as adopts:
            # It started none, and finds the only one that runs.
            await adopts.red(190, 255)
        await stays.frames(5)
    await until_slots(server, "ready", "ready")


@pytest.mark.browser
async def test_a_javascript_and_a_python_client_have_a_slot_each(server: ReactorRun) -> None:
    async with chromium() as browser, sdk_page(browser) as page:
        await connect(page, server.url)
        async with connected(server) as python:
            await command(page, "paint", red=220)
            await until_colour(page, LEFT, "r > 190")
            await python.red(0, 60)
            await page.evaluate("client.disconnect()")
            await until_slots(server, "ready", "streaming")
            await connect(page, server.url)
            await python.frames(5)
        await until_slots(server, "streaming", "ready")
        await shown(page, 5)
        await page.evaluate("client.disconnect()")
        await until_slots(server, "ready", "ready")
