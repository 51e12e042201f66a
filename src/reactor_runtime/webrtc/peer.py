"""What signalling needs of a WebRTC engine: peers, which are links that come about by an offer and an answer.

The client offers, we answer, once: there is no renegotiation in a connection's life. The engine is
chosen by name in the settings and never asked for again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from ..link import Link, LinkEvents
from ..types import Codec, Track

#: The RTP clock of every video codec, and the name under which a receiver's timestamp is reported.
RTP_CLOCK_HZ: Final = 90_000
RTP_TIMESTAMP: Final = "rtp_timestamp"


@dataclass(frozen=True, slots=True)
class IceServer:
    urls: tuple[str, ...]
    username: str = ""
    password: str = ""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A remote ICE candidate; `candidate` starts with "candidate:" and may be "" for end-of-candidates."""

    candidate: str
    sdp_mid: str | None = None
    sdp_mline_index: int | None = None


@dataclass(frozen=True, slots=True)
class TrackMapping:
    """Which m-section carries which named track. Direction is the client's own."""

    mid: str
    name: str


class Peer(Link, Protocol):
    """A link that comes about by an offer and its answer."""

    async def answer(self, offer_sdp: str, mapping: Sequence[TrackMapping]) -> str:
        """Apply the offer and return the answer with all our candidates in it.

        Takes at most `limits.GATHER_S` longer than the engine needs, reachable STUN server or not.
        Raises OfferRejected for an offer that cannot be used, PeerFailed when the engine broke.
        """

    async def add_candidate(self, candidate: Candidate) -> None:
        """Add a trickled candidate. Raises OfferRejected for one that cannot be parsed or is refused."""


class PeerEngine(Protocol):
    """Makes peers. One per server: it owns the engine's threads."""

    async def probe(self, ice_servers: Sequence[IceServer]) -> None:
        """Learn ahead of the first viewer whether these servers answer. Takes seconds when they do not."""

    def create(
        self,
        events: LinkEvents,
        tracks: Sequence[Track],
        *,
        codecs: Sequence[Codec],
        ice_servers: Sequence[IceServer] = (),
    ) -> Peer:
        """Make a peer that will offer these of the model's tracks, with `codecs` most preferred first."""

    async def close(self) -> None: ...
