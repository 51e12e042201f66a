"""Which remote ICE candidates this server may send checks to. Pure: text in, a verdict out.

A candidate makes us send packets to an address that a stranger names, so it is judged before an engine
sees it:

    refused   addresses that `addresses.py` refuses, port 0, host names other than mDNS, whatever does not parse
    ignored   TCP, which we neither listen on nor dial, and `.local` names: browsers hide their addresses
              behind them, we cannot look them up, and need not, since the browser's own checks to our
              candidates tell us where it is
    accepted  the rest, few ports of each address

Embedded candidates of the first two kinds are left out of the offer; trickled refused ones are an error.
"""

from __future__ import annotations

import re

from .. import limits
from ..errors import OfferRejected
from .addresses import Address, dialable

#: Longest candidate text; real ones have about 120 characters.
CANDIDATE_MAX_CHARS = 512

# RFC 8839 section 5.1: foundation, component, transport, priority, address, port, "typ" type, extensions.
_CANDIDATE = re.compile(
    r"candidate:[!-~]{1,32} [0-9]{1,5} (?P<transport>[A-Za-z-]{1,16}) [0-9]{1,10} "
    r"(?P<address>[!-~]{1,255}) (?P<port>[0-9]{1,5}) typ (?:host|srflx|prflx|relay)(?: [ -~]*)?"
)
_MDNS = re.compile(r"[0-9A-Za-z-]{1,63}\.local", re.ASCII)


class RemoteCandidates:
    """Those of one connection that an engine was given."""

    def __init__(self) -> None:
        self._ports: dict[Address, set[int]] = {}
        self._count = 0

    def admit(self, candidate: str) -> bool:
        """Tell whether to hand this candidate to an engine; false for one that is fine but of no use.

        Takes the text with or without "a=" in front. Raises OfferRejected for one that is refused.
        """
        target = _target(candidate.removeprefix("a="))
        if target is None:
            return False
        address, port = target
        self._count += 1
        if self._count > limits.OFFER_MAX_CANDIDATES:
            raise OfferRejected(f"more than {limits.OFFER_MAX_CANDIDATES} candidates on one connection")
        ports = self._ports.setdefault(address, set())
        if port not in ports and len(ports) >= limits.CANDIDATE_PORTS:
            return False
        ports.add(port)
        return True


def _target(text: str) -> tuple[Address, int] | None:
    """Return where a candidate points to, None if to nothing that is of use. Raises OfferRejected."""
    if not text:
        return None  # end of candidates
    if len(text) > CANDIDATE_MAX_CHARS:
        raise OfferRejected(f"an ICE candidate may have {CANDIDATE_MAX_CHARS} characters, got {len(text)}")
    match = _CANDIDATE.fullmatch(text)
    if match is None:
        raise OfferRejected("not an ICE candidate (RFC 8839): expected 'candidate:... typ ...'")
    if match["transport"].lower() != "udp":
        return None
    port = int(match["port"])
    if not 1 <= port <= 65535:
        raise OfferRejected(f"ICE candidate port {port} is outside 1 to 65535")
    if _MDNS.fullmatch(match["address"]):
        return None
    return dialable(match["address"]), port
