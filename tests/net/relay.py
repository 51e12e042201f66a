"""Two networks of their own with a bad line between them, for real programs.

with bad_network(Conditions(delay_ms=50, loss=0.03)) as net:
    server = net.wrapper("server", REACTOR)      # a program of that name that runs over there
    browser = net.wrapper("client", CHROMIUM)
    net.become(Conditions(blackouts=[(0, 5)]))   # both directions; or net.become(there, back)

     namespace "server"                       this file as a program                   namespace "client"
     10.77.1.1, fd77:1::1  ──▶ TUN eth0 ──▶ Line("back", seed) ──▶ TUN eth0 ──▶  10.77.2.1, fd77:2::1
                           ◀──────────── Line("there", seed) ◀────────────

"there" is from the client to the server. The program owns both namespaces and ends with its standard input, so
nothing is left of them when the block ends, however it ends. Needs root, `ip`, `nsenter` and /dev/net/tun:
`missing()` says in words what is not here.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import heapq
import json
import os
import select
import shlex
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from net.line import Conditions, Line

Side = Literal["server", "client"]
ADDRESSES: dict[Side, str] = {"server": "10.77.1.1", "client": "10.77.2.1"}
ADDRESSES_6: dict[Side, str] = {"server": "fd77:1::1", "client": "fd77:2::1"}
PACKET_MAX = 1500
READY_S = 10.0
_NEW_NETWORK = 0x4000_0000  # CLONE_NEWNET
_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x4004_54CA, 0x0001, 0x1000
_UDP = 17


@cache
def missing() -> str:
    """Return in words why there can be no bad network here; "" if there can."""
    for command in ("ip", "nsenter"):
        if shutil.which(command) is None:
            return f"needs the command {command}"
    if not Path("/dev/net/tun").exists():
        return "needs /dev/net/tun, which this machine does not have"
    try:
        with bad_network():
            return ""
    except OSError as error:
        return f"a network of one's own is not permitted here: {error}"


@dataclass
class Network:
    """A running relay, from the side of whoever started it."""

    process: subprocess.Popen[str]
    folder: Path
    namespaces: dict[str, str] = field(default_factory=dict)

    def command(self, side: Side, *command: str) -> list[str]:
        """Return the command line that runs a command over there."""
        return ["nsenter", f"--net={self.namespaces[side]}", *command]

    def wrapper(self, side: Side, program: Path | str) -> Path:
        """Return an executable that runs a program over there, for whoever takes a path only."""
        path = self.folder / f"{side}-{Path(program).name}"
        path.write_text(f'#!/bin/sh\nexec {shlex.join(self.command(side, str(program)))} "$@"\n')
        path.chmod(0o700)
        return path

    def become(self, there: Conditions, back: Conditions | None = None) -> None:
        """Change the line, in both directions alike unless told otherwise."""
        self._ask({"there": there.as_json(), "back": (back or there).as_json()})

    def counts(self) -> dict[str, dict[str, int]]:
        """What became of the packets so far, for "there" and "back"."""
        counts: dict[str, dict[str, int]] = self._ask({})
        return counts

    def _ask(self, request: dict[str, Any]) -> Any:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return self.answer()

    def answer(self) -> Any:
        """Read the relay's next line. Raises OSError with its own words when it ended or says nothing."""
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        if not select.select([self.process.stdout], [], [], READY_S)[0]:
            raise OSError(f"the relay did not answer within {READY_S:g} s")
        if line := self.process.stdout.readline():
            return json.loads(line)
        raise OSError(self.process.stderr.read().strip().rpartition("\n")[2] or "the relay ended")


@contextlib.contextmanager
def bad_network(
    there: Conditions | None = None, back: Conditions | None = None, *, seed: int = 1
) -> Iterator[Network]:
    """Two namespaces with such a line between them, until the block ends. Raises OSError where not permitted."""
    process = subprocess.Popen(
        [sys.executable, __file__, str(seed)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        with tempfile.TemporaryDirectory(prefix="bad-network-") as folder:
            network = Network(process, Path(folder))
            network.namespaces = network.answer()
            network.become(there or Conditions(), back)
            yield network
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            assert pipe is not None
            with contextlib.suppress(OSError):
                pipe.close()


# The program --------------------------------------------------------------------------------------------------


def _new_network(side: Side) -> tuple[int, int]:
    """Enter a new network with one interface; return the interface's descriptor and the namespace's."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_NEW_NETWORK) != 0:
        raise OSError(ctypes.get_errno(), f"unshare: {os.strerror(ctypes.get_errno())}")
    tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    # Named as a wired one is: libwebrtc takes "tun" for a VPN, which it thinks worse of.
    fcntl.ioctl(tun, _TUNSETIFF, struct.pack("16sH22x", b"eth0", _IFF_TUN | _IFF_NO_PI))
    for command in (
        "ip link set lo up",
        f"ip addr add {ADDRESSES[side]}/24 dev eth0",
        f"ip -6 addr add {ADDRESSES_6[side]}/64 dev eth0 nodad",
        "ip link set eth0 up txqueuelen 5000",
        "ip route add default dev eth0",
        "ip -6 route add default dev eth0",
    ):
        subprocess.run(command.split(), check=True)
    return tun, os.open("/proc/self/ns/net", os.O_RDONLY)


def _is_udp(packet: bytes) -> bool:
    return packet[6 if packet[0] >> 4 == 6 else 9] == _UDP


def _relay(seed: int) -> None:
    with contextlib.suppress(OSError, AttributeError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(10))  # a line does not wait for a core
    tuns: dict[str, int] = {}
    namespaces: dict[str, int] = {}
    for side in ADDRESSES:
        tuns[side], namespaces[side] = _new_network(side)
    print(json.dumps({side: f"/proc/{os.getpid()}/fd/{fd}" for side, fd in namespaces.items()}), flush=True)

    now_s = time.monotonic()
    lines = {
        "there": Line(Conditions(), seed=seed, now_s=now_s),
        "back": Line(Conditions(), seed=seed + 1, now_s=now_s),
    }
    ways = {tuns["client"]: (lines["there"], tuns["server"]), tuns["server"]: (lines["back"], tuns["client"])}
    under_way: list[tuple[float, int, int, bytes]] = []
    count = 0
    while True:
        wait_s = max(0.0, under_way[0][0] - time.monotonic()) if under_way else None
        readable, _, _ = select.select([*ways, sys.stdin.fileno()], [], [], wait_s)
        for source in readable:
            if source not in ways:
                request = os.read(source, 1 << 16)  # one line: whoever asks waits for the answer
                if not request:
                    return
                for name, conditions in json.loads(request).items():
                    lines[name].become(Conditions(**conditions), time.monotonic())
                print(json.dumps({name: line.counts for name, line in lines.items()}), flush=True)
                continue
            line, target = ways[source]
            with contextlib.suppress(BlockingIOError):
                while True:
                    packet = os.read(source, PACKET_MAX)
                    arrival_s = line.arrival(len(packet), time.monotonic(), is_udp=_is_udp(packet))
                    if arrival_s is not None:
                        count += 1
                        heapq.heappush(under_way, (arrival_s, count, target, packet))
        now_s = time.monotonic()
        while under_way and under_way[0][0] <= now_s:
            _, _, target, packet = heapq.heappop(under_way)
            with contextlib.suppress(OSError):  # its queue is full, or the interface is not up yet
                os.write(target, packet)


if __name__ == "__main__":
    try:
        _relay(int(sys.argv[1]))
    except (OSError, subprocess.CalledProcessError) as error:
        sys.exit(str(error))
