"""A server in a network of its own, clients that aim it at others, and where its packets go.

`unshare --net python aiming.py ENGINE KIND...` prints how many packets left for each address and port, as JSON, of

    quiet      a peer that was offered refused addresses, mDNS names and servers of the client, for three seconds
    silent     a peer whose only candidate, on two ports, never answers, until the engine gives up
    redirect   a peer whose TURN server, named by the operator, sends it on to a refused address
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any, Literal, cast

sys.path.insert(0, str(Path(__file__).parent.parent))

import aiortc

from reactor_runtime.errors import OfferRejected
from reactor_runtime.types import Track
from reactor_runtime.webrtc.engines import open_engine
from reactor_runtime.webrtc.peer import Candidate, IceServer
from support.served import MODEL, served
from support.visitor import Visitor

OWN, GATEWAY, SILENT, TURN = "10.77.0.2", "10.77.0.1", "10.77.9.9", "10.77.0.3"
#: An address for each reason to refuse one.
REFUSED = [
    "127.0.0.1",
    "127.3.4.5",
    "169.254.169.254",
    "0.0.0.0",
    "224.0.0.251",
    "255.255.255.255",
    "100.100.100.200",
]
REFUSED += ["::1", "fe80::5", "ff02::fb", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "fd00:ec2::254"]
NETWORK = f"""
ip link set lo up
ip link add out type veth peer name in
ip addr add {OWN}/16 dev out
ip addr add {TURN}/16 dev out
ip -6 addr add fd77::2/64 dev out nodad
ip link set out up
ip link set in up
ip route add default via {GATEWAY}
ip neigh add {GATEWAY} lladdr 02:00:00:00:00:01 dev out nud permanent
ip neigh add {SILENT} lladdr 02:00:00:00:00:02 dev out nud permanent
"""


class Capture:
    """Counts packets that this network's machine sends, by where they go; not those to itself by its own address."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 24)
        self._socket.setblocking(False)

    def taken(self) -> Counter[str]:
        found: Counter[str] = Counter()
        while True:
            try:
                packet, (device, kind, direction, *_) = self._socket.recvfrom(2048)
            except BlockingIOError:
                return found
            if direction != socket.PACKET_OUTGOING or device == "in":
                continue
            if kind == 0x0800 and packet[9] in (6, 17):
                head = (packet[0] & 15) * 4
                target = socket.inet_ntop(socket.AF_INET, packet[16:20])
            elif kind == 0x86DD and packet[6] in (6, 17):
                head, target = 40, socket.inet_ntop(socket.AF_INET6, packet[24:40])
            else:
                continue
            if target not in (OWN, TURN, "fd77::2"):
                found[f"{target}:{struct.unpack('!H', packet[head + 2 : head + 4])[0]}"] += 1


def host(address: str, port: int) -> str:
    return f"candidate:1 1 udp 2113937151 {address} {port} typ host"


async def bare_offer() -> str:
    pc = aiortc.RTCPeerConnection(aiortc.RTCConfiguration(iceServers=[]))
    pc.addTransceiver("video", direction="recvonly")
    pc.createDataChannel("data")
    await pc.setLocalDescription(await pc.createOffer())
    lines = pc.localDescription.sdp.split("\r\n")
    await pc.close()
    return "\r\n".join(line for line in lines if "candidate" not in line)


def with_candidates(offer: str, candidates: list[str]) -> str:
    first, second, *rest = offer.split("\r\nm=")
    return "\r\nm=".join([first, second + "".join(f"\r\na={each}" for each in candidates), *rest])


class Deaf:
    """Takes what a link tells and does nothing."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_: None


async def quiet(engine: Literal["reactor", "aiortc"], capture: Capture) -> Counter[str]:
    """Through HTTP, as a stranger comes: in the offer, trickled, and as servers."""
    aims = [host(address, 7_000 + n) for n, address in enumerate(REFUSED)] + [host("victim.local", 9)]
    servers = [
        {
            "uris": [f"stun:{at}:{port}", f"turn:{at}:{port}?transport=tcp", f"turns:{at}:{port}"],
            "credentials": {"username": "a", "password": "b"},
        }
        for port, at in ((80, "169.254.169.254"), (22, "127.0.0.1"), (53, "victim.example"))
    ]
    servers.append({"uris": ["http://169.254.169.254/latest"]})
    with tempfile.TemporaryDirectory() as folder:
        async with served(Path(folder), MODEL, engine=engine) as runtime, Visitor(runtime.url) as visitor:
            await visitor.start()
            await visitor.register()
            capture.taken()
            body = {"sdp_offer": with_candidates(await bare_offer(), aims), "ice_servers": servers}
            path = f"{visitor.path}/connections/{visitor.connection_id}"
            (await visitor.http.post(f"{path}/sdp_params", json=body)).raise_for_status()
            answer = await visitor.http.get(f"{path}/sdp_params")
            assert answer.status_code == 200, answer.text
            trickled = [{"candidate": each, "sdp_mid": "0"} for each in aims]
            (
                await visitor.http.post(f"{path}/ice_candidates", json={"candidates": trickled})
            ).raise_for_status()
            await asyncio.sleep(3)
            sent = capture.taken()
    # The visitor's own HTTP goes over loopback, to ports that nobody was aimed at.
    aimed = {22, 53, 80, 9, *range(7_000, 7_000 + len(REFUSED))}
    return Counter(
        {
            to: count
            for to, count in sent.items()
            if not to.startswith("127.0.0.1:") or int(to.rpartition(":")[2]) in aimed
        }
    )


async def silent(name: Literal["reactor", "aiortc"], capture: Capture) -> Counter[str]:
    engine = open_engine(name)
    peer = engine.create(cast(Any, Deaf()), (Track("main_video", "video", "out"),), codecs=("vp8",))
    capture.taken()
    try:
        await peer.answer(
            with_candidates(await bare_offer(), [host(SILENT, port) for port in (7001, 7002, 7003)]), ()
        )
        for port in (7004, 7005):
            await peer.add_candidate(Candidate(host(SILENT, port), "0", 0))
        await asyncio.sleep(17)
    finally:
        await peer.close()
        await engine.close()
    return capture.taken()


async def redirect(name: Literal["reactor", "aiortc"], capture: Capture) -> Counter[str]:
    """Answer every TURN request with "try 169.254.169.254 instead" (RFC 8656 section 18.9)."""
    turn = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    turn.bind((TURN, 3478))
    turn.setblocking(False)

    async def answer() -> None:
        loop = asyncio.get_running_loop()
        while True:
            request, sender = await loop.sock_recvfrom(turn, 2048)
            kind = struct.unpack("!H", request[:2])[0] | 0x0110
            error = struct.pack("!HHHBB", 9, 4, 0, 3, 0)
            alternate = struct.pack("!HHBBH4s", 0x8023, 8, 0, 1, 80, socket.inet_aton("169.254.169.254"))
            body = error + alternate
            await loop.sock_sendto(turn, struct.pack("!HH", kind, len(body)) + request[4:20] + body, sender)

    answering = asyncio.create_task(answer())
    engine = open_engine(name)
    servers = [IceServer((f"turn:{TURN}:3478", f"stun:{TURN}:3478"), "a", "b")]
    peer = engine.create(
        cast(Any, Deaf()), (Track("main_video", "video", "out"),), codecs=("vp8",), ice_servers=servers
    )
    capture.taken()
    try:
        with contextlib.suppress(OfferRejected):
            await peer.answer(await bare_offer(), ())
        await asyncio.sleep(2)
    finally:
        await peer.close()
        await engine.close()
        answering.cancel()
    return capture.taken()


async def main(name: Literal["reactor", "aiortc"], kinds: list[str]) -> None:
    capture = Capture()
    found = {
        each.__name__: await each(name, capture)
        for each in (quiet, silent, redirect)
        if each.__name__ in kinds
    }
    print(json.dumps(found))


if __name__ == "__main__":
    for command in NETWORK.strip().splitlines():
        subprocess.run(command.split(), check=True)
    asyncio.run(main(cast(Literal["reactor", "aiortc"], sys.argv[1]), sys.argv[2:]))
