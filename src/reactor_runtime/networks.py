"""Whom an address stands for: what is shared out by address is shared out among these. Pure."""

from __future__ import annotations

import ipaddress
from typing import Final

#: The part of an IPv6 address that one customer is given (RFC 6177 names /64 as the least).
_IPV6_SHARE: Final = 64


def share_of(host: str) -> str:
    """Return what stands for everybody who could send from this address: itself, or its IPv6 /64 network."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, _IPV6_SHARE), strict=False))
