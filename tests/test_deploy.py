"""What `deploy/` ships works as it is shipped: real nginx, real Caddy, TLS, a prefix and a token in front."""

from __future__ import annotations

import asyncio
import re
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from ssl import create_default_context

import httpx
import pytest
import yaml
from support.chromium import HOOKS, chromium
from support.client_model import write_client_model
from support.promises import by_night
from support.proxies import DEPLOY, Proxy, caddy, free_port, nginx
from support.server import ReactorRun, running
from support.socket_viewer import SocketViewer
from support.using import use
from support.visitor import Visitor

from reactor_runtime import limits
from reactor_runtime.config import Settings
from reactor_runtime.host import HostCounters
from reactor_runtime.session.metrics import Snapshot, Totals, text_of

TOKEN = "a-token-that-no-client-has"


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[ReactorRun]]:
    model = write_client_model(tmp_path_factory.mktemp("model"))
    with ExitStack() as stack:
        yield [stack.enter_context(running(model, "--token", TOKEN, "--orphan-s", "5")) for _ in range(2)]


# Caddy is followed as docs/public-demo.md has it at every change, in test_public_demo.py.
@pytest.fixture(params=[nginx, *by_night(caddy)], ids=lambda proxy: proxy.__name__)
def proxy(
    request: pytest.FixtureRequest,
    servers: list[ReactorRun],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Proxy]:
    start: Callable[..., AbstractContextManager[Proxy]] = request.param
    with start(tmp_path, blue=servers[0].url, green=servers[1].url, token=TOKEN) as proxy:
        monkeypatch.setenv("SSL_CERT_FILE", proxy.authority)
        yield proxy


@pytest.mark.slow
async def test_a_client_without_the_token_plays_through_the_proxy(proxy: Proxy) -> None:
    async with Visitor(f"{proxy.url}/blue") as visitor:
        door = await visitor.http.get(f"{proxy.url}/")
        assert (door.status_code, door.headers["location"]) in [(302, "/blue/"), (302, f"{proxy.url}/blue/")]
        await visitor.start()
        await visitor.watch()
        async with visitor.http.stream("GET", "/events") as events:
            assert events.status_code == 200
            lines = events.aiter_lines()
            await visitor.ask("paint", red=200)
            async with asyncio.timeout(5):
                while "command" not in await anext(lines):
                    pass
        url = await upload(visitor, bytes(range(256)) * (limits.UPLOAD_MAX_BYTES // 256))
        assert url.startswith(f"{proxy.url}/blue/")
        await visitor.leave()


@pytest.mark.slow
async def test_a_websocket_passes_through_the_proxy(proxy: Proxy) -> None:
    async with SocketViewer.joined(f"{proxy.url}/blue") as viewer:
        await viewer.see(10)
        assert (await viewer.ask("paint", red=200))["accepted"]
        await viewer.until(lambda: viewer.told("commandShown"))
    async with SocketViewer.joined(f"{proxy.url}/blue") as again:
        await again.see(3)
    async with httpx.AsyncClient(base_url=f"{proxy.url}/blue") as http:
        await http.post("/stop_session", json={})


@pytest.mark.slow
async def test_a_server_is_replaced_while_its_session_goes_on(
    servers: list[ReactorRun], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, folder = write_client_model(tmp_path / "model"), tmp_path / "nginx"
    folder.mkdir()
    green = servers[1].url
    with (
        running(model, "--token", TOKEN) as old,
        nginx(folder, blue=old.url, green=green, token=TOKEN) as proxy,
    ):
        monkeypatch.setenv("SSL_CERT_FILE", proxy.authority)
        async with Visitor(f"{proxy.url}/blue") as early, Visitor(f"{proxy.url}/green") as late:
            await early.start()
            await early.watch()
            proxy.live("green")
            assert (await late.http.get(f"{proxy.url}/")).headers["location"].endswith("/green/")
            old.process.send_signal(signal.SIGTERM)
            await late.start()
            await late.watch()
            await early.see(30)
            await early.ask("paint", red=200)
            await upload(early, b"still taken")
            await late.leave()
            await early.leave()
        status = await asyncio.to_thread(old.process.wait, 20)
    assert status == 0


@pytest.mark.slow
async def test_one_visitor_who_floods_nginx_is_told_so_and_the_server_hears_little_of_it(
    servers: list[ReactorRun], tmp_path: Path
) -> None:
    with nginx(tmp_path, blue=servers[0].url, green=servers[1].url, token=TOKEN) as proxy:
        trusted = create_default_context(cafile=proxy.authority)
        one_at_a_time = httpx.Limits(max_connections=8)
        began_s = time.monotonic()
        async with httpx.AsyncClient(
            base_url=proxy.url, verify=trusted, timeout=60, limits=one_at_a_time
        ) as http:
            asked = [http.get("/blue/health/live") for _ in range(600)]
            codes = [answer.status_code for answer in await asyncio.gather(*asked)]
        took_s = time.monotonic() - began_s
    assert set(codes) <= {200, 429}
    # Three hundred at once, and fifty a second.
    assert 300 <= codes.count(200) <= 302 + 50 * took_s


@pytest.mark.slow
@pytest.mark.parametrize("start", [nginx, caddy])
async def test_no_log_of_the_proxy_has_the_token_of_a_link(
    tmp_path: Path, start: Callable[..., AbstractContextManager[Proxy]]
) -> None:
    """Where the server is away, which is what proxies write most about."""
    folder = tmp_path / "proxy"
    folder.mkdir()
    away = f"http://127.0.0.1:{free_port()}"
    with start(folder, blue=away, green=away, token=TOKEN) as proxy:
        async with httpx.AsyncClient(
            base_url=proxy.url, verify=create_default_context(cafile=proxy.authority)
        ) as http:
            for path in ("/blue/t/SECRET/session", "/green/t/SECRET/", "/blue/session?a=b&token=SECRET&c=d"):
                shown = {"X-Reactor-Token": "SECRET", "Referer": f"{proxy.url}/blue/t/SECRET/"}
                assert (await http.get(path, headers=shown)).status_code == 502
    written = {file.name: file.read_text(errors="replace") for file in folder.iterdir() if file.is_file()}
    assert any("/blue/t/-/session" in text for text in written.values())
    assert [name for name, text in written.items() if "SECRET" in text] == []


async def upload(visitor: Visitor, data: bytes) -> str:
    """Reserve and send an upload; return the address that it went to."""
    body = {"name": "film.bin", "mime_type": "application/octet-stream", "size": len(data)}
    slot = await visitor.http.post(f"/sessions/{visitor.session_id}/uploads", json=body)
    assert slot.status_code == 201, slot.text
    url: str = slot.json()["presigned_url"]
    async with httpx.AsyncClient(timeout=30) as bare:
        sent = await bare.put(url, content=data)
    assert sent.is_success, sent.text
    return url


@pytest.mark.slow
@pytest.mark.browser
async def test_the_page_is_used_through_the_proxy_by_webrtc_and_over_http_alone(proxy: Proxy) -> None:
    async with chromium() as browser:
        page = await browser.new_page(ignore_https_errors=True)
        await page.add_init_script(path=HOOKS)
        await page.goto(f"{proxy.url}/")
        async with asyncio.timeout(20):
            while await page.evaluate("document.querySelector('video').currentTime") < 0.5:
                await asyncio.sleep(0.1)
        assert page.url.startswith(f"{proxy.url}/blue/")
        await page.goto(f"{proxy.url}/blue/?link=websocket")
        await use(page, ("paint", {"red": 200}), "show")
        await page.wait_for_function("() => reactorPage.stats.rung === 'websocket'")
        assert await page.evaluate("document.querySelector('video').videoWidth") == 320


def test_every_metric_that_an_alert_names_exists() -> None:
    groups = yaml.safe_load((DEPLOY / "alerts.yml").read_text())["groups"]
    named = {name for rule in groups[0]["rules"] for name in re.findall(r"reactor_\w+", rule["expr"])}
    text = text_of([Snapshot(0, "ready", 0, 0, HostCounters(), Totals(), {})])
    assert named <= set(re.findall(r"^(reactor_\w+)", text, re.MULTILINE))
    assert len(named) >= 5


def test_every_flag_of_the_unit_is_a_flag_of_run() -> None:
    unit = (DEPLOY / "reactor@.service").read_text()
    flags = re.findall(r"--[a-z-]+", unit)
    known = {f"--{name.replace('_', '-')}" for name in Settings.model_fields}
    assert "--port" in flags
    assert set(flags) <= known | {"--drain-s"}
