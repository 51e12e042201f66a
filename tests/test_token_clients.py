"""The published clients, as released, reach a server that asks for tokens: theirs stands in the address."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from reactor_sdk import ReactorError
from support.chromium import chromium
from support.client_model import LEFT, write_client_model
from support.js_sdk import command, connect, sdk_page, until_colour
from support.sdk import Client, connected, warm_up
from support.server import ReactorRun, running

from reactor_runtime.tokens import Claims, Keys, fresh_jti, fresh_key
from reactor_runtime.types import Role

pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.keeps_resources]

KEY = fresh_key()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReactorRun]:
    folder = tmp_path_factory.mktemp("model")
    (folder / "keys").touch(0o600)
    (folder / "keys").write_text(KEY)
    warm_up()
    with running(
        write_client_model(folder), "--token-key-file", str(folder / "keys"), "--orphan-s", "2"
    ) as run:
        yield run


class Address:
    """A server as a client is given it."""

    def __init__(self, server: ReactorRun, role: Role) -> None:
        token = Keys.parse([KEY]).sign(Claims(role, time.time() + 60, fresh_jti()))
        self.url = f"{server.url}/t/{token}"


async def test_the_python_client_drives_with_a_token_in_its_api_url(server: ReactorRun) -> None:
    async with connected(Address(server, Role.DRIVE)) as client:  # type: ignore[arg-type]  # all it asks is `url`
        await client.frames(3)
        await client.sdk.send_command("paint", {"red": 220})
        await client.red(190, 255)
    watcher = Client(Address(server, Role.WATCH))  # type: ignore[arg-type]
    with pytest.raises(ReactorError, match=r"takes the role drive|403"):
        await watcher.sdk.connect()
    watcher.sdk.close()


async def test_the_javascript_client_drives_with_a_token_in_its_api_url(server: ReactorRun) -> None:
    async with chromium() as browser, sdk_page(browser) as page:
        await connect(page, Address(server, Role.DRIVE).url)
        await until_colour(page, LEFT, "r < 40")
        await command(page, "paint", red=220)
        await until_colour(page, LEFT, "r > 190")
        await page.evaluate("client.disconnect()")
