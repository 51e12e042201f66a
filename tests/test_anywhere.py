"""The page in real Chromium on networks that pass little: TCP only, one forwarded port, IPv6 only."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from net import ssh
from net.line import Conditions
from net.live import over_there, page, rung
from net.relay import ADDRESSES, ADDRESSES_6, Network, bad_network, missing
from playwright.async_api import Browser, Page
from support.chromium import CHROMIUM, chromium
from support.promises import by_night
from support.served import MODEL
from support.server import REACTOR, ReactorRun, running, write_model
from support.using import use

pytestmark = [pytest.mark.slow, pytest.mark.browser]


@pytest.fixture
def net() -> Iterator[Network]:
    if why := missing():
        pytest.skip(why)
    with bad_network(Conditions(delay_ms=2)) as made:
        yield made


@pytest.fixture
async def browser(net: Network) -> AsyncIterator[Browser]:
    async with chromium(executable=net.wrapper("client", CHROMIUM)) as made:
        yield made


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "model", MODEL)


async def use_it(watcher: Page) -> None:
    receipt = await use(watcher, ("note", {"number": 7}), "use")
    assert receipt["reply"]["data"]["size"] == [33, 22]


@pytest.mark.parametrize("engine", ["reactor", *by_night("aiortc")])
async def test_where_only_tcp_passes_the_picture_comes_by_tcp(
    net: Network, browser: Browser, model: Path, engine: str, record_property: Callable[[str, object], None]
) -> None:
    net.become(Conditions(udp=False))
    async with over_there(net, model, "--engine", engine) as run:
        began_s = time.monotonic()
        async with page(browser, run.url) as watcher:
            record_property("measured", f"{engine}: {time.monotonic() - began_s:.1f} s to live")
            assert await rung(watcher) == "tcp"
            await use_it(watcher)
            assert await rung(watcher) == "tcp"


async def test_where_udp_passes_tcp_is_left_alone_and_media_ports_are_kept_to(
    net: Network, browser: Browser, model: Path
) -> None:
    async with over_there(net, model, "--media-port", "50000-50001") as run:
        async with page(browser, run.url) as watcher:
            assert await rung(watcher) == "udp"
            assert await remote_port(watcher) in (50_000, 50_001)
            async with page(browser, run.url), page(browser, run.url, until="full") as third:
                assert "very media port is taken" in await third.inner_text("body")
        assert "2 media ports are free" in run.text
        assert "every media port of 50000-50001 is taken" in run.text


async def test_over_ipv6_alone(net: Network, browser: Browser, model: Path) -> None:
    async with (
        over_there(net, model, host="::") as run,
        page(browser, f"http://[{ADDRESSES_6['server']}]:{port_of(run.url)}") as watcher,
    ):
        assert await rung(watcher) == "udp"


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2])


async def remote_port(watcher: Page) -> Any:
    return await watcher.evaluate(
        """async () => {
          const all = await reactorPage.peer.getStats();
          const transport = [...all.values()].find(each => each.type === "transport");
          return all.get(all.get(transport.selectedCandidatePairId).remoteCandidateId).port;
        }"""
    )


async def test_one_port_forwarded_by_ssh_carries_everything(
    net: Network,
    browser: Browser,
    model: Path,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    """The server listens on its loopback only, as by default: nothing but the forward leads there."""
    if why := ssh.missing():
        pytest.skip(why)
    async with over_there(net, model, host="127.0.0.1") as run:
        with ssh.forwarded(net, tmp_path, port_of(run.url)) as url:
            net.become(Conditions(udp=False, delay_ms=10))
            began_s = time.monotonic()
            async with page(browser, url) as watcher:
                record_property("measured", f"{time.monotonic() - began_s:.1f} s to live")
                assert await rung(watcher) == "tcp"
                await use_it(watcher)


async def test_the_doctor_says_which_rungs_a_browser_reaches_and_why_not_the_others(
    net: Network, browser: Browser
) -> None:
    command = net.command(
        "server", str(REACTOR), "doctor", "--from-browser", "--host", "0.0.0.0", "--port", "0"
    )
    environ = {**os.environ, "REACTOR_ALLOW_PUBLIC": "1", "NO_COLOR": "1"}
    process = subprocess.Popen(command, stdout=-1, stderr=subprocess.STDOUT, text=True, env=environ)  # noqa: ASYNC220
    run = ReactorRun(process)
    try:
        await asyncio.to_thread(run.wait_for, lambda: "/doctor.html" in run.text, "the address")
        found = re.search(r"http://127.0.0.1:(\d+)/doctor.html", run.text)
        assert found is not None
        opened = await browser.new_page()
        for udp, reached in ((True, "udp tcp"), (False, "tcp")):
            net.become(Conditions(udp=udp))
            await opened.goto(f"http://{ADDRESSES['server']}:{found[1]}/doctor.html")
            async with asyncio.timeout(40):
                while not (done := await opened.evaluate("document.body.dataset.done")):
                    await asyncio.sleep(0.1)
            assert done == reached, await opened.inner_text("body")
        text = await opened.inner_text("body")
        assert "No UDP packet came through" in text
        assert "The video comes by tcp." in text
    finally:
        await asyncio.to_thread(run.stop)


def test_an_ssh_session_is_told_what_to_type_at_home(model: Path) -> None:
    with running(model, env={"SSH_CONNECTION": "198.51.100.7 51000 10.0.0.5 22"}) as run:
        port = port_of(run.url)
        run.wait_for(lambda: "ssh -N -L" in run.text, "the recipe")
        assert re.search(rf"ssh -N -L {port}:127.0.0.1:{port} \w+@10.0.0.5", run.text)
