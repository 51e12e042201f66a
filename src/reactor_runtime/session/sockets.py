"""How a viewer comes about over a WebSocket: no offer and no answer, its link is there at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..errors import SessionRefused
from ..types import Codec, Track
from ..websocket.socket_link import SocketLink
from .connections import Connections
from .grants import Grant
from .service import SocketOffer


def join(
    connections: Connections,
    offer: SocketOffer,
    tracks: Sequence[Track],
    codecs: Sequence[Codec],
    *,
    grant: Grant,
    enter: Callable[[int], str],
    clock: Callable[[], float],
) -> SocketLink:
    """Connect a viewer and return its link. Raises SessionRefused, also from `enter`."""
    common = [codec for codec in codecs if codec in offer.codecs]
    if not common:
        text = f"this server sends {' or '.join(codecs)}; the client decodes {','.join(offer.codecs):.80}"
        raise SessionRefused(text, status=400)
    viewer = connections.attach(grant=grant, enter=enter)
    link = SocketLink(viewer, tracks, common[0], connections.crossing, clock)
    viewer.hold(link)
    link.open()
    return link
