"""Addresses of this machine at which nobody answers, given to libwebrtc beside those that a client names.

While a connection is not established, libwebrtc checks one address after the other, 21 a second in all, for
fifteen seconds: three hundred packets to wherever a stranger points, if that is one address. It offers no
setting for that. So every connection has a few addresses more, to share the checks with: sockets of our own
that nobody reads. What is sent to them never leaves this machine. A client that can reach us is not slowed
down, because its own checks are answered at once, and checked back before all others.

One per engine, which closes it. `DECOYS` follows from `limits.CANDIDATE_PORTS`: of 21 × 15 checks, two ports
among eleven addresses get 57.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Final

DECOYS: Final = 9


class Decoys:
    def __init__(self) -> None:
        self._sockets = [_silent() for _ in range(DECOYS)]

    def candidates(self, local: Sequence[str]) -> list[str]:
        """Return candidates at an address of this machine, which is taken from its own candidates."""
        own = next(
            (words[4] for words in map(str.split, local) if len(words) > 7 and words[7] == "host"), None
        )
        if own is None or (ip_address(own).version == 6 and self._sockets[0].family != socket.AF_INET6):
            return []
        ports = [each.getsockname()[1] for each in self._sockets]
        return [f"candidate:{port} 1 udp 1 {own} {port} typ host" for port in ports]

    def close(self) -> None:
        """May be called twice."""
        for each in self._sockets:
            each.close()


def _silent() -> socket.socket:
    """A socket that takes packets and never reads them; both families where the machine has both."""
    try:
        made = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        made.bind(("::", 0))
    except OSError:
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.bind(("0.0.0.0", 0))  # noqa: S104
    # The least that the kernel gives: what does not fit is dropped, which is all the same here.
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    return made
