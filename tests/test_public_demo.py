"""docs/public-demo.md, block by block as it is printed: a server, Caddy with TLS, links; then people come."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.proxies import certificate, free_port, without_own_certificates
from support.server import ReactorRun
from support.visitor import Refused, Visitor

DEMO = Path(__file__).parents[1] / "docs" / "public-demo.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
#: These run until they are stopped, in a terminal of their own.
SERVERS = ("reactor run", "caddy run")


class Demo:
    """Somebody who follows the document, with other names and ports."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port, self.public_port = free_port(), free_port()
        self.url = f"https://localhost:{self.public_port}"
        self.printed: list[str] = []
        self.servers: list[ReactorRun] = []
        self.env = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "CURL_CA_BUNDLE": certificate(folder),
            "HOME": str(folder),
            "PYTHONUNBUFFERED": "1",
            "COLUMNS": "400",
            "NO_COLOR": "1",
        }

    def own(self, text: str) -> str:
        """Put this test's names and ports in place of the document's."""
        text = text.replace(
            "--public-address demo.example.org:8080", f"--public-address 127.0.0.1:{self.port}"
        )
        text = text.replace("https://demo.example.org", self.url).replace("8080", str(self.port))
        at = f"https://localhost:{self.public_port} {{\n\ttls {self.folder}/model.pem {self.folder}/model.key"
        return text.replace("demo.example.org {", at)

    def do(self, language: str, text: str) -> None:
        text = self.own(text)
        if language == "Caddyfile":
            (self.folder / "Caddyfile").write_text(without_own_certificates(text))
        elif any(server in text for server in SERVERS):
            self._serve(text)
        else:
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", text],
                cwd=self.folder, env=self.env, capture_output=True, text=True, timeout=60,
            )  # fmt: skip
            assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
            self.printed.append(done.stdout + done.stderr)

    def _serve(self, text: str) -> None:
        # `exec`, so that the process is the server and no shell before it.
        text = re.sub(r"(reactor|caddy) run", r"exec \1 run", text)
        process = subprocess.Popen(
            ["bash", "-c", text],
            cwd=self.folder, env=self.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        run = ReactorRun(process)
        self.servers.append(run)
        ready = "Ready: " if "reactor run" in text else "serving initial configuration"
        run.wait_for(lambda: ready in run.text or process.poll() is not None, "the start", 60)
        assert process.poll() is None, run.text

    def close(self) -> None:
        for run in reversed(self.servers):
            run.stop()


@contextmanager
def followed(folder: Path) -> Iterator[Demo]:
    """Follow the document up to the drain, which ends everything."""
    demo = Demo(folder)
    try:
        yield demo
    finally:
        demo.close()


@pytest.mark.slow
async def test_the_demo_works_as_it_is_printed(tmp_path: Path) -> None:
    *blocks, drain = BLOCK.findall(DEMO.read_text())
    assert "/drain" in drain[1]
    with followed(tmp_path) as demo:
        for language, text in blocks:
            demo.do(language, text)
        async with Visitor(demo.url) as first, Visitor(demo.url) as second:
            page = await first.http.get("/")
            assert (page.status_code, "<html" in page.text.lower()) == (200, True)
            assert (await first.start()).status_code == 200
            await first.watch(3)
            assert (await second.start()).status_code == 409
            # The second one waits, is told when the first one has left, and drives.
            ticket = (await second.http.post("/line", json={})).json()
            assert (ticket["state"], ticket["place"]) == ("waiting", 1)
            # Whoever has a link for watchers watches, and no more.
            token = re.search(r"/#token=(\S+)", demo.printed[1])
            assert token is not None
            async with Visitor(f"{demo.url}/t/{token[1]}") as watcher:
                await watcher.adopt()
                assert watcher.session_id == first.session_id
                await watcher.watch(3)
                with pytest.raises(Refused, match="watch"):
                    await watcher.ask("set_speed", speed=1.0)
                assert (await watcher.http.get("/metrics")).status_code == 403
            await first.leave()
            path = f"/line/{ticket['ticket']}"
            async with asyncio.timeout(20):
                while (await second.http.get(path)).json()["state"] != "claim":
                    await asyncio.sleep(0.1)
            claimed = await second.http.post(f"{path}/claim")
            assert claimed.status_code == 200, claimed.text
            demo.do(*drain)
            server = demo.servers[0]
            server.wait_for(lambda: server.process.poll() is not None, "the end of the server", 30)
            assert server.process.returncode == 0
            # What fails now is written down, and the token is not.
            gone = await second.http.get(f"{demo.url}/t/{token[1]}/session")
            assert gone.status_code == 502
        caddy = demo.servers[1]
        caddy.wait_for(lambda: "/t/-/session" in caddy.text, "what Caddy writes of the failure", 10)
        assert token[1] not in "".join(run.text for run in demo.servers)
        assert '"healthy"' in demo.printed[-2]
        assert "reactor_sessions_total" in demo.printed[-2]
