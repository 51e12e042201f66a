"""How clients reach the peers of this server, beyond the addresses that an engine finds by itself.

    --media-port FROM-TO              the UDP ports that an engine may use, one for each viewer
    --public-address HOST[:PORT]      the address at which a NAT, a cloud or a forward shows this machine
    the HTTP port                     carries ICE over TCP as well: see `ice_tcp.py`

An answer of an engine is completed with the candidates that follow from these, and its user name is let in over
TCP while its peer lives. One per server, on its event loop.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from ..errors import SettingError
from . import sdp
from .ice_tcp import IceTcp

#: The rung that a candidate is on, best first: RFC 8445 section 5.1.2.1 with the type preferences of libwebrtc,
#: which likes UDP best, and with public addresses behind those that need no NAT.
_PREFERENCES: Final = {"udp": 110, "tcp": 90}
_PORT: Final = re.compile(r"(?P<host>[^\[\]:]+|\[[0-9A-Fa-f:.]+\])(?::(?P<port>[0-9]{1,5}))?")
_HOST: Final = re.compile(
    r"candidate:\S+ 1 udp \d+ (?P<address>\S+) (?P<port>\d+) typ host(?: .*)?", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class PublicAddress:
    """Where this machine is seen. `tcp_port` is what leads to the HTTP port, None for the same one."""

    address: IPv4Address | IPv6Address
    tcp_port: int | None = None


class Reach:
    """Knows the addresses. `listening` is told once where HTTP listens; before that there is no way in over TCP."""

    def __init__(self, *, media_ports: range | None = None, public: PublicAddress | None = None) -> None:
        self.media_ports = media_ports
        self._public = public
        self._host = ""
        self._port = 0
        self.tcp = IceTcp()

    def listening(self, host: str, port: int) -> None:
        self._host, self._port = host, port

    def complete(self, answer: str) -> str:
        """Add the candidates that follow from an answer's own, and let its client in over TCP."""
        description = sdp.parse(answer)
        found = list(host_candidates(description))
        if not found or not self._port:
            return answer
        if ufrag := ufrag_of(description):
            self.tcp.admit(ufrag, min(found, key=lambda each: each[0].version))
        more = self._candidates(found)
        without_end = sdp.without_lines(description, {"a=end-of-candidates"})
        return sdp.with_candidates(without_end, more).text() if more else answer

    def forget(self, answer: str) -> None:
        """The peer of this answer is gone, as it was before or after `complete`."""
        if ufrag := ufrag_of(sdp.parse(answer)):
            self.tcp.forget(ufrag)

    def _candidates(self, found: list[tuple[IPv4Address | IPv6Address, int]]) -> list[str]:
        public, lines = self._public, dict[str, None]()
        for rank, (address, port) in enumerate(found):
            if _listens_at(self._host, address):
                lines[_line("tcp", address, self._port, rank)] = None
            if public is not None and public.address.version == address.version:
                lines[_line("udp", public.address, port, 100 + rank)] = None
        if public is not None:
            lines[_line("tcp", public.address, public.tcp_port or self._port, 200)] = None
        return list(lines)


def host_candidates(description: sdp.Description) -> Iterable[tuple[IPv4Address | IPv6Address, int]]:
    """Yield the addresses of UDP host candidates, as the engine listed them."""
    for section in description.sections:
        for value in section.attributes("candidate"):
            match = _HOST.fullmatch(f"candidate:{value}")
            if match is None:
                continue
            try:
                yield ip_address(match["address"]), int(match["port"])
            except ValueError:
                continue  # an mDNS name


def ufrag_of(description: sdp.Description) -> str:
    """Return the ICE user name of a bundled answer, "" if it has none."""
    lines = [*description.session, *(line for section in description.sections for line in section.lines)]
    return next((line[12:] for line in lines if line.startswith("a=ice-ufrag:")), "")


def _listens_at(host: str, address: IPv4Address | IPv6Address) -> bool:
    """Whether a socket that is bound to this host takes connections to this address."""
    if host in ("0.0.0.0", "::"):  # noqa: S104
        return host == "::" or address.version == 4
    return host.strip("[]") == str(address)


def _line(transport: str, address: IPv4Address | IPv6Address, port: int, rank: int) -> str:
    priority = _PREFERENCES[transport] << 24 | max(0, 8191 - rank) << 8 | 255
    tail = " tcptype passive" if transport == "tcp" else ""
    return f"candidate:{transport}{rank} 1 {transport} {priority} {address} {port} typ host{tail}"


# Settings -------------------------------------------------------------------------------------------------


def parse_media_ports(text: str) -> range | None:
    """Parse "50000-50007" or one port. Raises SettingError."""
    if not text:
        return None
    match = re.fullmatch(r"(\d{1,5})(?:-(\d{1,5}))?", text)
    ports = range(int(match[1]), int(match[2] or match[1]) + 1) if match else range(0)
    if not ports or ports.start < 1 or ports.stop > 65_536:
        raise SettingError(
            f"--media-port, REACTOR_MEDIA_PORT: {text!r} is no range of ports.\n"
            "  Fix: write FROM-TO, such as 50000-50007; each viewer takes one."
        )
    return ports


def free_media_ports(ports: range) -> int:
    """Return how many of these ports could be had now. Raises SettingError when it is none."""
    free = sum(map(_is_free, ports))
    if not free:
        raise SettingError(
            f"--media-port, REACTOR_MEDIA_PORT: none of the UDP ports {name_of(ports)} is free.\n"
            f"  Fix: stop the program that holds them (ss -ulpn), or name others."
        )
    return free


def name_of(ports: range) -> str:
    return f"{ports.start}-{ports.stop - 1}" if len(ports) > 1 else str(ports.start)


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as tried:
        try:
            tried.bind(("0.0.0.0", port))  # noqa: S104
        except OSError:
            return False
    return True


def parse_public_address(text: str) -> PublicAddress | None:
    """Parse "203.0.113.5", "name.example:9000" or "[2001:db8::1]"; names are looked up. Raises SettingError."""
    if not text:
        return None
    match = _PORT.fullmatch(text)
    port = int(match["port"]) if match and match["port"] else None
    if match is None or (port is not None and not 1 <= port <= 65_535):
        raise SettingError(
            f"--public-address, REACTOR_PUBLIC_ADDRESS: {text!r} is no address.\n"
            "  Fix: write 203.0.113.5, with :9000 behind it if another TCP port leads to this server's; "
            "an IPv6 address in brackets."
        )
    host = match["host"].strip("[]")
    try:
        address = ip_address(socket.getaddrinfo(host, None, type=socket.SOCK_DGRAM)[0][4][0])
    except (OSError, ValueError) as error:
        raise SettingError(
            f"--public-address, REACTOR_PUBLIC_ADDRESS: {host} has no address: {error}.\n"
            "  Fix: write the address itself."
        ) from None
    if address.is_unspecified or address.is_multicast:
        raise SettingError(
            f"--public-address, REACTOR_PUBLIC_ADDRESS: nobody can be reached at {address}.\n"
            "  Fix: write the address that clients see."
        )
    return PublicAddress(address, port)
