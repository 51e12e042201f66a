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


#: Of this machine, and of networks that the internet does not reach: RFC 1918, 6598 and 4193, and local links. Behind
#: such an address may be a proxy, the gateway of containers or a balancer, and with it everybody.
_INNER: Final = tuple(
    ipaddress.ip_network(text)
    for text in (
        *("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16"),
        *("::/64", "fc00::/7", "fe80::/10"),
    )
)


def tells_apart(host: str) -> bool:
    """Whether this address, or what `share_of` says of one, is one customer's, whose deeds may be counted as one's."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0].partition("/")[0])
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return not any(address in network for network in _INNER)
