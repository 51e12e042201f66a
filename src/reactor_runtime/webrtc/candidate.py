"""Which remote ICE candidates this server may send checks to. Pure: text in, a verdict out.

A candidate makes us send packets to an address that a stranger names, so it is judged before an engine
sees it:

    refused   loopback, link-local (cloud metadata services live there), multicast, broadcast, unspecified,
              port 0, host names other than mDNS, and whatever does not parse
    ignored   TCP, which we neither listen on nor dial, and `.local` names: browsers hide their addresses
              behind them, we cannot look them up, and need not, since the browser's own checks to our
              candidates tell us where it is
    accepted  the rest, private ranges included: this runs on a laptop, in a lab or behind a VPN, where
              every viewer has such an address

Embedded candidates of the first two kinds are left out of the offer; trickled refused ones are an error.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from ..errors import OfferRejected

#: Longest candidate text; real ones have about 120 characters.
CANDIDATE_MAX_CHARS = 512

# RFC 8839 section 5.1: foundation, component, transport, priority, address, port, "typ" type, extensions.
_CANDIDATE = re.compile(
    r"candidate:[!-~]{1,32} [0-9]{1,5} (?P<transport>[A-Za-z-]{1,16}) [0-9]{1,10} "
    r"(?P<address>[!-~]{1,255}) (?P<port>[0-9]{1,5}) typ (?:host|srflx|prflx|relay)(?: [ -~]*)?"
)
_MDNS = re.compile(r"[0-9A-Za-z-]{1,63}\.local", re.ASCII)
_THIS_NETWORK = IPv4Network("0.0.0.0/8")
_BROADCAST = IPv4Address("255.255.255.255")
_NAT64 = IPv6Network("64:ff9b::/96")


def usable(candidate: str) -> bool:
    """Tell whether to hand this candidate to an engine; false for one that is fine but of no use.

    Takes the text with or without "a=" in front. Raises OfferRejected for one that is refused.
    """
    text = candidate.removeprefix("a=")
    if not text:
        return False  # end of candidates
    if len(text) > CANDIDATE_MAX_CHARS:
        raise OfferRejected(f"an ICE candidate may have {CANDIDATE_MAX_CHARS} characters, got {len(text)}")
    match = _CANDIDATE.fullmatch(text)
    if match is None:
        raise OfferRejected("not an ICE candidate (RFC 8839): expected 'candidate:... typ ...'")
    if match["transport"].lower() != "udp":
        return False
    if not 1 <= int(match["port"]) <= 65535:
        raise OfferRejected(f"ICE candidate port {match['port']} is outside 1 to 65535")
    if _MDNS.fullmatch(match["address"]):
        return False
    _check_address(match["address"])
    return True


def _check_address(text: str) -> None:
    try:
        address = _embedded(ip_address(text))
    except ValueError:
        raise OfferRejected("an ICE candidate must name an IP address or an mDNS name") from None
    if (
        address.is_loopback
        or address.is_link_local
        or address.is_multicast
        or address.is_unspecified
        or address == _BROADCAST
        or (isinstance(address, IPv4Address) and address in _THIS_NETWORK)
    ):
        raise OfferRejected(f"ICE candidates may not point to {address}")


def _embedded(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """Return the IPv4 address that an IPv6 one stands for, if it does."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour or address
