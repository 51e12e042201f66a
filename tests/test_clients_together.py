"""Clients of different wires in one session at once, and all of them idle for longer than any watchdog."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Literal

import httpx
import pytest
from playwright.async_api import Page
from support.chromium import chromium
from support.client_model import LEFT, write_client_model
from support.js_sdk import command, connect, sdk_page, shown, until_colour
from support.promises import NIGHTLY, long_form
from support.sdk import Client, connected, warm_up
from support.server import ReactorRun, running
from support.visitor import Visitor
from test_client_js_wire import Client as WireClient
from test_wire_fuzz import mutated_bytes, mutated_json, mutated_text, v1_seeds

from reactor_runtime import limits

pytestmark = [pytest.mark.slow]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReactorRun]:
    warm_up()
    with running(
        write_client_model(tmp_path_factory.mktemp("model")),
        # Three decode here what the server shows, and two of them in the process of the test.
        *("--orphan-s", "5", "--join", "drive", "--fps", "15"),
    ) as run:
        yield run


@asynccontextmanager
async def three(server: ReactorRun) -> AsyncIterator[tuple[Page, Client, WireClient]]:
    """One session: JS 2.9.0 in Chromium made it, Python 1.13.0 and the 2.12 wire joined it."""
    await asyncio.to_thread(server.wait_for_state, "ready")
    async with chromium() as browser, sdk_page(browser) as page, httpx.AsyncClient() as http:
        await connect(page, server.url)
        session_id: str = await page.evaluate("client.getSessionId()")
        async with connected(server, session_id=session_id) as python:
            wire = await WireClient.adopt(server, http)
            try:
                yield page, python, wire
            finally:
                await wire.viewer.close()
        await page.evaluate("client.disconnect()")


@pytest.mark.browser
async def test_a_broadcast_reaches_every_client_in_its_own_format(server: ReactorRun) -> None:
    async with three(server) as (page, python, wire):
        expected = {"type": "announcement", "data": {"text": "sun"}}
        await python.send_command("announce", {"text": "sun"})
        await page.wait_for_function("record.messages.length === 1")
        assert await page.evaluate("record.messages") == [expected]
        await python.until(lambda: python.messages)
        assert python.messages == [expected]
        await wire.viewer.wait(lambda: wire.said("announcement"))
        assert wire.said("announcement") == [{"scope": "application", **expected}]
        # Text for the JSON wire, bytes for protobuf; the SDK would drop what it cannot decode.
        assert all(isinstance(data, str) for _, data in wire.viewer.messages)


@pytest.mark.browser
async def test_a_command_of_any_client_is_seen_by_all_and_answered_to_its_sender(server: ReactorRun) -> None:
    async with three(server) as (page, python, wire):
        await command(page, "paint", red=220)
        await python.red(190, 255)
        await python.send_command("paint", {"red": 0})
        await until_colour(page, LEFT, "r < 40")
        wire.command("paint", red=220)
        await until_colour(page, LEFT, "r > 190")
        await python.red(190, 255)

        reply = await python.send_command("ask")
        assert reply is not None
        assert reply["data"]["red"] == 220
        await wire.frames(5)
        assert await page.evaluate("record.messages") == []
        assert wire.said("state") == []


@pytest.mark.skipif(not NIGHTLY, reason="by night: how often a published release pings does not change")
@pytest.mark.browser
async def test_idling_for_longer_than_the_watchdog_waits_leaves_every_client_connected(
    server: ReactorRun,
) -> None:
    async with three(server) as (page, python, wire):

        async def ping() -> None:
            while True:
                wire.say("runtime", "ping", {})
                await asyncio.sleep(5)

        pinging = asyncio.create_task(ping())
        await asyncio.sleep(limits.PING_TIMEOUT_S + 3)
        pinging.cancel()
        assert await page.evaluate("record.statuses") == ["connecting", "waiting", "ready"]
        assert python.status == "ready"
        assert python.states.count("disconnected") == 0
        assert wire.viewer.state == "connected"
        await asyncio.gather(shown(page, 10), python.frames(10), wire.frames(10))


@pytest.mark.parametrize("wire", ["v0", "v1"])
async def test_garbage_on_both_channels_closes_no_connection(
    server: ReactorRun, wire: Literal["v0", "v1"]
) -> None:
    rng = random.Random(20)
    seeds = v1_seeds()
    await asyncio.to_thread(server.wait_for_state, "ready")
    async with Visitor(server.url, wire=wire) as client:
        await client.start()
        await client.watch(3)  # latches the format
        for _ in range(long_form(200, 800)):
            client.send(rng.choice(("control", "data")), garbage(rng, wire, seeds))
            await asyncio.sleep(0.005)  # below the rate that is answered with silence
        client.resume()  # a mutant may have paused it
        assert (await client.ask("ask"))["red"] == 0
        await client.see(10)
        assert client.states == ["connecting", "connected"]
        await client.leave()
    assert "Traceback" not in server.text


def garbage(rng: random.Random, wire: str, seeds: list[bytes]) -> str | bytes:
    """Make a frame that is nothing, or almost something, mostly of one format."""
    match rng.randrange(5):
        case 0:
            return rng.randbytes(1 + rng.randrange(64))
        case 1:
            return sendable(mutated_text(rng))
        case _:
            return sendable(mutated_json(rng)) if wire == "v0" else mutated_bytes(rng, seeds)


def sendable(text: str) -> str:
    """Replace halves of surrogate pairs, which no text frame can carry."""
    return text.encode("utf-8", "replace").decode()
