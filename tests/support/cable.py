"""A network between a browser and a server that can be pulled out: a namespace, and a cable of two virtual ends.

    with cable() as line:
        chromium = playwright.chromium.launch(executable_path=line.inside(CHROMIUM, folder), …)
        …                                     # the server is at line.server_address
        line.pull(); line.plug()

Needs root and `ip`, and skips the test where it has neither.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Cable:
    """`server_address` is this side's end."""

    name: str
    near: str
    server_address: str
    client_address: str

    def inside(self, program: str, folder: Path) -> str:
        """Write a program into `folder` that runs `program` on the other side; return its path."""
        script = folder / "inside"
        script.write_text(f'#!/bin/sh\nexec ip netns exec {self.name} {program} "$@"\n')
        script.chmod(0o755)
        return str(script)

    def pull(self) -> None:
        _ip("link", "set", self.near, "down")

    def plug(self) -> None:
        _ip("link", "set", self.near, "up")


@contextmanager
def cable() -> Iterator[Cable]:
    if shutil.which("ip") is None or os.geteuid() != 0:
        pytest.skip("needs root and ip")
    # Its own network for each process that tests: of 256 with two addresses, by the process's number.
    number = os.getpid() % 64 * 4
    line = Cable(
        f"reactor-{os.getpid()}",
        f"near{os.getpid() % 10**8}",
        f"10.213.7.{number + 1}",
        f"10.213.7.{number + 2}",
    )
    if subprocess.run(["ip", "netns", "add", line.name], capture_output=True).returncode:
        pytest.skip("no network namespace can be made here")
    try:
        _ip("link", "add", line.near, "type", "veth", "peer", "name", "far", "netns", line.name)
        _ip("addr", "add", f"{line.server_address}/30", "dev", line.near)
        _ip("-n", line.name, "addr", "add", f"{line.client_address}/30", "dev", "far")
        _ip("-n", line.name, "link", "set", "far", "up")
        line.plug()
        yield line
    finally:
        _ip("netns", "del", line.name)  # and both ends with it


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)
