"""ICE over TCP on the HTTP port: whose streams are let in, what passes, and that nothing else does."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
import time
from collections.abc import AsyncIterator
from ipaddress import ip_address
from typing import cast

import httpx
import pytest
from fastapi import FastAPI

from reactor_runtime import limits
from reactor_runtime.config import Settings
from reactor_runtime.server.http_server import HttpServer
from reactor_runtime.server.places import Places
from reactor_runtime.webrtc.ice_tcp import IceTcp, user_of

WITHIN_S = 5


def request(user: str) -> bytes:
    """A Binding request as a client sends it first."""
    name = user.encode()
    attributes = struct.pack("!HHI", 0x0024, 4, 7)
    attributes += struct.pack("!HH", 0x0006, len(name)) + name + bytes(-len(name) % 4)
    return struct.pack("!HHI", 1, len(attributes), 0x2112_A442) + bytes(12) + attributes


def framed(packet: bytes) -> bytes:
    return struct.pack("!H", len(packet)) + packet


def test_a_binding_request_names_its_user() -> None:
    assert user_of(request("abcd:efgh")) == "abcd:efgh"
    assert user_of(request("abc:x")) == "abc:x"


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        bytes(20),
        request("abcd:efgh")[:-1],
        b"\x01\x01" + request("abcd:efgh")[2:],
        struct.pack("!HHI", 1, 8, 0x2112_A442) + bytes(12) + struct.pack("!HHI", 6, 60_000, 0),
        b"GET / HTTP/1.1\r\n\r\n",
    ],
)
def test_what_is_no_binding_request_names_nobody(packet: bytes) -> None:
    assert user_of(packet) == ""


def test_random_bytes_name_nobody_and_raise_nothing() -> None:
    rng = random.Random(1)
    for _ in range(2_000):
        packet = bytearray(request("abcd:efgh"))
        for _ in range(rng.randint(1, 6)):
            packet[rng.randrange(len(packet))] = rng.randrange(256)
        user_of(bytes(packet[: rng.randint(0, len(packet))]))


class Peer(asyncio.DatagramProtocol):
    """Stands in for an engine's socket: keeps what comes, and can answer."""

    def __init__(self) -> None:
        self.got: list[bytes] = []
        self.came = asyncio.Event()
        self.sender: tuple[str, int] = ("", 0)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, sender: tuple[str, int]) -> None:
        self.got.append(data)
        self.sender = sender
        self.came.set()

    async def until(self, count: int) -> list[bytes]:
        async with asyncio.timeout(WITHIN_S):
            while len(self.got) < count:
                self.came.clear()
                await self.came.wait()
        return self.got


class Served:
    """An HTTP server whose ICE leads to `peer` for the user "abcd"."""

    def __init__(self, ice: IceTcp, peer: Peer, http: HttpServer) -> None:
        self.ice, self.peer, self.http = ice, peer, http

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.http.port)


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    app = FastAPI()
    app.get("/hello")(lambda: "hello")
    app.state.places = Places()
    loop = asyncio.get_running_loop()
    transport, peer = await loop.create_datagram_endpoint(Peer, local_addr=("127.0.0.1", 0))
    ice = IceTcp()
    ice.admit("abcd", (ip_address("127.0.0.1"), transport.get_extra_info("sockname")[1]))
    http = HttpServer(app, Settings.load({"port": 0}, {}), ice)
    await http.start()
    yield Served(ice, peer, http)
    await http.close()
    transport.close()
    await asyncio.sleep(0.01)


async def ended(reader: asyncio.StreamReader) -> bool:
    """Whether the server closes without a word."""
    async with asyncio.timeout(WITHIN_S):
        try:
            return await reader.read() == b""
        except ConnectionResetError:
            return True


async def test_packets_pass_both_ways_and_http_goes_on_beside_them(served: Served) -> None:
    reader, writer = await served.connect()
    packets = [request("abcd:efgh"), b"\x16dtls", b"\x80" + bytes(1199)]
    for byte in b"".join(map(framed, packets)):  # the network may cut anywhere
        writer.write(bytes([byte]))
    assert await served.peer.until(3) == packets
    served.peer.transport.sendto(b"answer", served.peer.sender)
    served.peer.transport.sendto(b"x" * 1200, served.peer.sender)
    async with asyncio.timeout(WITHIN_S):
        assert await reader.readexactly(8) == framed(b"answer")
        assert await reader.readexactly(1202) == framed(b"x" * 1200)
    async with httpx.AsyncClient() as client:
        assert (await client.get(served.http.url + "/hello")).json() == "hello"
    writer.close()


@pytest.mark.parametrize(
    "said",
    [
        framed(request("else:efgh")),
        framed(request("")),
        framed(b"\x16" + bytes(99)),
        framed(bytes(19)),
        struct.pack("!H", limits.ICE_FIRST_FRAME_MAX_BYTES - 1) + b"a" * 2000,
        b"\x00\x01\x00",
    ],
)
async def test_a_stream_that_leads_nowhere_is_closed_and_the_peer_hears_nothing(
    served: Served, said: bytes
) -> None:
    reader, writer = await served.connect()
    writer.write(said)
    assert await ended(reader)
    assert served.peer.got == []
    writer.close()


@pytest.mark.slow
async def test_half_a_first_packet_is_cut_as_half_a_request_is(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "HTTP_HEADER_S", 0.3)
    reader, writer = await served.connect()
    writer.write(framed(request("abcd:efgh"))[:10])
    began_s = time.monotonic()
    assert await ended(reader)
    assert 0.2 < time.monotonic() - began_s < 2
    writer.close()


async def test_a_peer_that_is_gone_takes_its_streams_along(served: Served) -> None:
    reader, writer = await served.connect()
    writer.write(framed(request("abcd:efgh")))
    await served.peer.until(1)
    served.ice.forget("abcd")
    assert await ended(reader)
    writer.close()
    again, writer = await served.connect()
    writer.write(framed(request("abcd:efgh")))
    assert await ended(again)
    writer.close()


async def test_one_peer_has_few_streams_and_a_place_is_free_again_when_one_ends(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "ICE_STREAMS_PER_PEER", 2)
    kept = [await served.connect() for _ in range(2)]
    for n, (_, writer) in enumerate(kept):
        writer.write(framed(request("abcd:efgh")))
        await served.peer.until(n + 1)
    third, writer = await served.connect()
    writer.write(framed(request("abcd:efgh")))
    assert await ended(third)
    writer.close()
    kept[0][1].close()
    await asyncio.sleep(0.05)
    _, writer = await served.connect()
    writer.write(framed(request("abcd:efgh")))
    await served.peer.until(3)
    for each in (writer, kept[1][1]):
        each.close()


@pytest.mark.slow
async def test_a_stream_that_is_not_read_loses_packets_and_holds_little(served: Served) -> None:
    """What it may hold: the kernel's buffers of both ends, and 16 KiB of ours."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    made.setblocking(False)
    await asyncio.get_running_loop().sock_connect(made, ("127.0.0.1", served.http.port))
    await asyncio.get_running_loop().sock_sendall(made, framed(request("abcd:efgh")))
    await served.peer.until(1)
    for n in range(2_000):
        served.peer.transport.sendto(bytes(1000), served.peer.sender)
        if n % 20 == 0:
            await asyncio.sleep(0.001)
    await asyncio.sleep(0.1)
    passed = 2_000 - served.ice.dropped
    assert 0 < passed * 1000 < 512 * 1024
    made.close()


def test_the_first_byte_tells_a_frame_from_a_request() -> None:
    ice = IceTcp()
    assert ice.looks_like_ice(framed(request("abcd:efgh")))
    for text in ("GET / HTTP/1.1", "POST /x", "\r\nGET /", "\x16\x03\x01"):
        assert not ice.looks_like_ice(text.encode())


def test_the_recipe_for_ssh_is_said_in_ssh_sessions_only() -> None:
    from reactor_runtime.cli.over_ssh import recipe

    home = {"SSH_CONNECTION": "198.51.100.7 51000 10.0.0.5 22"}
    assert recipe({}, "http://127.0.0.1:8080", "ada") == ""
    assert "ssh -N -L 8080:127.0.0.1:8080 ada@10.0.0.5\n" in recipe(home, "http://127.0.0.1:8080", "ada")
    other = {"SSH_CONNECTION": "198.51.100.7 51000 fd00::5 2222"}
    assert "-L 80:[::1]:80 -p 2222 ada@fd00::5\n" in recipe(other, "http://[::1]:80", "ada")
