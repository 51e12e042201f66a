"""Which remote addresses this server may send packets to because somebody else named them. Pure.

One rule for whoever names one. Refused are those that reach this machine itself, everybody on its network, or
a cloud's metadata service, which trusts whoever can send to it. Private ranges are accepted: this runs on a
laptop, in a lab or behind a VPN, where every viewer has such an address.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final, TypeAlias

from ..errors import OfferRejected

Address: TypeAlias = IPv4Address | IPv6Address

_THIS_NETWORK: Final = IPv4Network("0.0.0.0/8")
_NAT64: Final = (IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48"))
_COMPATIBLE: Final = IPv6Network("::/96")
#: Metadata services outside the link-local ranges: of Alibaba, Oracle and Azure; of AWS and Google over IPv6.
_METADATA: Final = frozenset(
    map(
        ip_address,
        ("100.100.100.200", "192.0.0.192", "168.63.129.16", "fd00:ec2::254", "fd20:ce::254"),
    )
)


def dialable(text: str) -> Address:
    """Return the address to send to. Raises OfferRejected for what is none, or is refused."""
    try:
        address = ip_address(text)
    except ValueError:
        raise OfferRejected("an ICE candidate must name an IP address or an mDNS name") from None
    for each in (address, *_embedded(address)):
        if _refused(each):
            raise OfferRejected(f"ICE candidates may not point to {each}")
    return address


def _refused(address: Address) -> bool:
    return (
        address.is_loopback
        or address.is_link_local
        or address.is_multicast
        or address.is_unspecified
        or address in _METADATA
        or (isinstance(address, IPv6Address) and address.is_site_local)
        # The rest of class E is reserved as well; its last address is the broadcast.
        or (isinstance(address, IPv4Address) and (address.is_reserved or address in _THIS_NETWORK))
    )


def _embedded(address: Address) -> list[IPv4Address]:
    """Return the IPv4 addresses that a translator or a tunnel would send to instead."""
    if isinstance(address, IPv4Address):
        return []
    found = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if any(address in network for network in (*_NAT64, _COMPATIBLE)) and int(address) > 1:
        found.append(IPv4Address(int(address) & 0xFFFF_FFFF))
    return [each for each in found if each is not None]
