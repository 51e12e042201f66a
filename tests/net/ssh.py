"""A real `ssh -L` from the client of a bad network to a real sshd at the server, with keys made for it."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from shutil import which

from .relay import ADDRESSES, Network

#: The host is a stranger each time, and nothing of this machine's user is asked for or changed.
OPTIONS = (
    "StrictHostKeyChecking=no",
    "UserKnownHostsFile=/dev/null",
    "LogLevel=ERROR",
    "ExitOnForwardFailure=yes",
    "BatchMode=yes",
)
FORWARDED_S = 10.0
PORT = 2222


def missing() -> str:
    """Return in words what is not here; "" if all is."""
    for command, package in (
        ("sshd", "openssh-server"),
        ("ssh", "openssh-client"),
        ("ssh-keygen", "openssh-client"),
    ):
        if not _path(command):
            return f"needs {command}: apt-get install {package}"
    return ""


def _path(command: str) -> str:
    return which(command) or which(command, path="/usr/sbin") or ""


@contextmanager
def forwarded(net: Network, folder: Path, port: int) -> Iterator[str]:
    """Yield the address at which the client has this port of the server's loopback."""
    for name in ("host", "user"):
        subprocess.run(
            [_path("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", folder / name],
            check=True,
            timeout=30,
        )
    (folder / "sshd_config").write_text(
        f"HostKey {folder}/host\nAuthorizedKeysFile {folder}/user.pub\nPidFile none\nStrictModes no\n"
        f"PasswordAuthentication no\nListenAddress {ADDRESSES['server']}:{PORT}\n"
    )
    Path("/run/sshd").mkdir(exist_ok=True)  # sshd wants it, and the package makes it at boot only
    local = _free_port()
    options = [word for option in OPTIONS for word in ("-o", option)]
    where = ["-i", str(folder / "user"), "-p", str(PORT), "-L", f"{local}:127.0.0.1:{port}"]
    with ExitStack() as stack:
        stack.enter_context(
            _running(net.command("server", _path("sshd"), "-D", "-e", "-f", f"{folder}/sshd_config"))
        )
        _until(net, ADDRESSES["server"], PORT)
        stack.enter_context(
            _running(
                net.command("client", _path("ssh"), "-N", *options, *where, f"root@{ADDRESSES['server']}")
            )
        )
        _until(net, "127.0.0.1", local)
        yield f"http://localhost:{local}"


@contextmanager
def _running(command: list[str]) -> Iterator[None]:
    process = subprocess.Popen(command)
    try:
        yield
    finally:
        process.terminate()
        process.wait(10)


def _until(net: Network, host: str, port: int) -> None:
    code = f"import socket; socket.create_connection(({host!r}, {port}), 1)"
    deadline_s = time.monotonic() + FORWARDED_S
    while subprocess.run(net.command("client", sys.executable, "-c", code), capture_output=True).returncode:
        assert time.monotonic() < deadline_s, f"nobody listens at {host}:{port}"
        time.sleep(0.1)


def _free_port() -> int:
    with socket.socket() as tried:
        tried.bind(("127.0.0.1", 0))
        port: int = tried.getsockname()[1]
        return port
