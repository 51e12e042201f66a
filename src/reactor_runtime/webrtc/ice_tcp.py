"""ICE over TCP (RFC 6544) on the HTTP port: the rung for networks that pass no UDP, with every engine.

    browser ══ TCP ══▶ HTTP port ── a frame, not a request ──▶ TcpStream ── UDP, this machine only ──▶ a peer's socket
               RFC 4571: length, packet                        by the ICE user name of the first packet

Whatever forwards the page (`ssh -L`, `docker -p`, `kubectl port-forward`) so forwards the picture too. The engine
sees one more address that its client sends from, and does all of ICE and DTLS itself: a stream without its secrets
gets no further than a UDP packet would. libwebrtc's own passive TCP takes a port for each viewer and is gathered a
tenth of a second after the rest; aiortc has none.

Event loop only. An `IceTcp` belongs to a server, a stream to one accepted socket.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address
from typing import Any, Final, Protocol, TypeAlias

from .. import limits

Address: TypeAlias = "tuple[IPv4Address | IPv6Address, int]"

#: RFC 5389 section 6: what begins a Binding request, and the attribute that names the user.
_BINDING_REQUEST: Final = 0x0001
_MAGIC: Final = 0x2112_A442
_USERNAME: Final = 0x0006
#: Largest packet that a length of two bytes can name; and those of one stream before others have their turn.
_PACKET_MAX_BYTES: Final = 65_535
_PACKETS_AT_ONCE: Final = 64


class Wire(Protocol):
    """What a stream needs of the accepted socket's transport."""

    def write(self, data: bytes) -> None: ...

    def abort(self) -> None: ...

    def get_write_buffer_size(self) -> int: ...

    def get_extra_info(self, name: str) -> Any: ...


class IceTcp:
    """Which user names are let in, and the streams of each."""

    def __init__(self) -> None:
        self._peers: dict[str, Address] = {}
        self._streams: dict[str, set[TcpStream]] = {}
        self.dropped = 0
        """Packets that a slow stream had no room for: as a full line, it lost them."""

    def admit(self, ufrag: str, address: Address) -> None:
        """Let clients of this user name in, to the peer's socket at this address of our own."""
        self._peers[ufrag] = address

    def forget(self, ufrag: str) -> None:
        """The peer is gone: close its streams. May be called for a name that was never admitted."""
        self._peers.pop(ufrag, None)
        for stream in list(self._streams.get(ufrag, ())):
            stream.abort()

    def looks_like_ice(self, data: bytes) -> bool:
        """Whether a connection's first byte begins a frame: every request of HTTP begins with a letter."""
        return bool(data) and data[0] < limits.ICE_FIRST_FRAME_MAX_BYTES >> 8

    def enter(self, stream: TcpStream, first: bytes) -> Address | None:
        """Return where a stream leads by its first packet; None if nowhere, or if there are too many of it."""
        ufrag = user_of(first).partition(":")[0]
        address = self._peers.get(ufrag)
        streams = self._streams.setdefault(ufrag, set()) if address else set()
        if address is None or len(streams) >= limits.ICE_STREAMS_PER_PEER:
            return None
        streams.add(stream)
        stream.ufrag = ufrag
        return address

    def leave(self, stream: TcpStream) -> None:
        streams = self._streams.get(stream.ufrag, set())
        streams.discard(stream)
        if not streams:
            self._streams.pop(stream.ufrag, None)


class TcpStream:
    """One accepted socket that speaks ICE: frames one way, packets the other. `on_admitted` is told once."""

    def __init__(self, ice: IceTcp, wire: Wire, on_admitted: Callable[[], None]) -> None:
        self._ice = ice
        self._wire = wire
        self._on_admitted = on_admitted
        self._loop = asyncio.get_running_loop()
        self._unread = bytearray()
        self._socket: socket.socket | None = None
        self._closed = False
        self.ufrag = ""

    @property
    def admitted(self) -> bool:
        return bool(self.ufrag)

    def data_received(self, data: bytes) -> None:
        if self._closed:
            return
        self._unread += data
        if self._socket is None:
            self._begin()
        if self._socket is not None:
            self._forward(self._socket)
        if len(self._unread) > limits.ICE_UNREAD_MAX_BYTES:
            self.abort()

    def _begin(self) -> None:
        """Wait for the first packet whole, and see whose it is."""
        size = int.from_bytes(self._unread[:2])
        if len(self._unread) >= 2 and not 20 <= size <= limits.ICE_FIRST_FRAME_MAX_BYTES:
            self.abort()
        if len(self._unread) < 2 + max(20, size) or self._closed:
            return
        address = self._ice.enter(self, bytes(self._unread[2 : 2 + size]))
        if address is None:
            self.abort()
            return
        self._wire.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_SNDBUF, limits.ICE_SEND_BUFFER_BYTES
        )
        try:
            self._socket = _towards(address)
        except OSError:
            self.abort()
            return
        self._loop.add_reader(self._socket, self._read, self._socket)
        self._on_admitted()

    def _forward(self, to: socket.socket) -> None:
        """Send every whole frame on; what has begun waits for its end."""
        unread, at = self._unread, 0
        while len(unread) - at >= 2 and len(unread) - at >= 2 + (size := unread[at] << 8 | unread[at + 1]):
            if size:
                # Full, or nobody is behind that port any more: then reading says so.
                with contextlib.suppress(OSError):
                    to.send(bytes(unread[at + 2 : at + 2 + size]))
            at += 2 + size
        del unread[:at]

    def _read(self, source: socket.socket) -> None:
        for _ in range(_PACKETS_AT_ONCE):
            try:
                self.packet(source.recv(_PACKET_MAX_BYTES))
            except BlockingIOError:
                return
            except OSError:  # nobody is behind that port any more
                self.abort()
                return

    def packet(self, data: bytes) -> None:
        """The peer sent a packet: frame it, or lose it as a full line would."""
        if self._closed:
            return
        if self._wire.get_write_buffer_size() > limits.ICE_UNSENT_MAX_BYTES:
            self._ice.dropped += 1
            return
        self._wire.write(struct.pack("!H", len(data)) + data)

    def abort(self) -> None:
        """Close both ends. May be called twice."""
        if not self._closed:
            self._wire.abort()
            self.lost()

    def lost(self) -> None:
        """The accepted socket is gone. May be called twice."""
        self._closed = True
        self._ice.leave(self)
        if self._socket is not None:
            self._loop.remove_reader(self._socket)
            self._socket.close()
            self._socket = None


def _towards(address: Address) -> socket.socket:
    made = socket.socket(socket.AF_INET if address[0].version == 4 else socket.AF_INET6, socket.SOCK_DGRAM)
    try:
        made.setblocking(False)
        made.connect((str(address[0]), address[1]))
    except OSError:
        made.close()
        raise
    return made


def user_of(packet: bytes) -> str:
    """Return the user name of a Binding request, "" for anything else."""
    if len(packet) < 20:
        return ""
    kind, size, magic = struct.unpack_from("!HHI", packet)
    if kind != _BINDING_REQUEST or magic != _MAGIC or size != len(packet) - 20:
        return ""
    at = 20
    while at + 4 <= len(packet):
        name, length = struct.unpack_from("!HH", packet, at)
        value = packet[at + 4 : at + 4 + length]
        if name == _USERNAME and len(value) == length:
            return value.decode("ascii", errors="replace")
        at += 4 + (length + 3) // 4 * 4
    return ""
