"""Real reverse proxies with the configuration that `deploy/` ships, on free ports and a certificate of the test's.

with nginx(folder, blue=server.url, green=other.url, token="…") as proxy:
    httpx.get(proxy.url + "/blue/health", verify=proxy.authority)
    proxy.live("green")
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import trustme

DEPLOY = Path(__file__).parents[2] / "deploy"
PUBLIC_NAME = "model.example.org"
UP_WITHIN_S = 15.0


@dataclass(frozen=True)
class Proxy:
    url: str
    authority: str
    """File with the certificate that signed the proxy's."""
    live: Callable[[str], None]
    """Say which of `blue` and `green` takes new visitors, as an operator does."""


@contextmanager
def nginx(folder: Path, *, blue: str, green: str, token: str) -> Iterator[Proxy]:
    """Run nginx with deploy/nginx until the block ends."""
    port, authority = free_port(), certificate(folder)
    for file in (DEPLOY / "nginx").iterdir():
        text = file.read_text().replace("/etc/nginx", str(folder)).replace("/var/log/nginx", str(folder))
        text = _replaced(text, file, port=port, blue=blue, green=green)
        text = text.replace("/etc/ssl/certs/model.pem", f"{folder}/model.pem")
        text = text.replace("/etc/ssl/private/model.key", f"{folder}/model.key").replace("change-me", token)
        (folder / file.name).write_text(text)
    temporary = "".join(
        f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    main = folder / "nginx.conf"
    main.write_text(
        f"daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log;"
        f"events {{}} http {{ access_log {folder}/access.log; {temporary} include {folder}/reactor.conf; }}"
    )
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin:/sbin") or "nginx"
    command = [program, "-p", str(folder), "-c", str(main), "-e", str(folder / "error.log")]
    subprocess.run([*command, "-t"], check=True, capture_output=True, timeout=30)

    def live(name: str) -> None:
        (folder / "reactor-live.conf").write_text(f"return 302 /{name}/;\n")
        subprocess.run([*command, "-s", "reload"], check=True, capture_output=True, timeout=30)
        time.sleep(0.3)

    with _running(command, port, os.environ.copy(), folder):
        yield Proxy(f"https://localhost:{port}", authority, live)


@contextmanager
def caddy(folder: Path, *, blue: str, green: str, token: str) -> Iterator[Proxy]:
    """Run Caddy with deploy/Caddyfile until the block ends."""
    port, authority = free_port(), certificate(folder)
    file = folder / "Caddyfile"
    text = _replaced((DEPLOY / "Caddyfile").read_text(), file, port=port, blue=blue, green=green)
    at = f"localhost:{port} {{"
    certified = text.replace(at, f"https://{at}\n\ttls {folder}/model.pem {folder}/model.key")
    file.write_text(without_own_certificates(certified))
    env = {**os.environ, "REACTOR_TOKEN": token, "HOME": str(folder), "XDG_DATA_HOME": str(folder)}
    env["XDG_CONFIG_HOME"] = str(folder)

    def live(name: str) -> None:
        raise NotImplementedError("the test switches nginx only")

    with _running(["caddy", "run", "--config", str(file), "--adapter", "caddyfile"], port, env, folder):
        yield Proxy(f"https://localhost:{port}", authority, live)


def without_own_certificates(caddyfile: str) -> str:
    """Let Caddy ask nobody for certificates, and listen to no administrator; its other options stay."""
    assert caddyfile.startswith("{\n")
    return "{\n\tadmin off\n\tauto_https off\n" + caddyfile.removeprefix("{\n")


def _replaced(text: str, file: Path, *, port: int, blue: str, green: str) -> str:
    """Put this test's names and ports in place of the shipped ones; everything else stays as shipped."""
    text = re.sub(r"\b8080\b", str(urlsplit(blue).port), re.sub(r"\b8081\b", str(urlsplit(green).port), text))
    if file.name == "Caddyfile":
        return text.replace(f"{PUBLIC_NAME} {{", f"localhost:{port} {{")
    return text.replace("listen 443", f"listen 127.0.0.1:{port}").replace(PUBLIC_NAME, "localhost")


def certificate(folder: Path) -> str:
    """Make model.pem and model.key in a folder; return the file of whoever signed them."""
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost", "127.0.0.1")
    for chain in certificate.cert_chain_pems:
        chain.write_to_path(folder / "model.pem", append=True)
    certificate.private_key_pem.write_to_path(folder / "model.key")
    authority.cert_pem.write_to_path(folder / "authority.pem")
    return str(folder / "authority.pem")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@contextmanager
def _running(command: list[str], port: int, env: dict[str, str], folder: Path) -> Iterator[None]:
    with (folder / "output.log").open("ab") as output:
        process = subprocess.Popen(command, env=env, stdout=output, stderr=output)
    try:
        deadline_s = time.monotonic() + UP_WITHIN_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                assert process.poll() is None, f"{command[0]} ended with status {process.returncode}"
                assert time.monotonic() < deadline_s, f"{command[0]} did not listen"
                time.sleep(0.05)
        yield
    finally:
        process.terminate()
        try:
            process.wait(2)
        except subprocess.TimeoutExpired:  # Caddy waits for connections that are kept open
            process.kill()
            process.wait(10)
