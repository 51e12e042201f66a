"""What the session needs of one viewer's WebRTC connection.

The client offers, we answer, once: there is no renegotiation in a connection's life. The engine is
chosen by name in the settings and never asked for again: paths are chosen from `PeerCaps`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from ..types import Codec, EncodedFrame, Pixels, Track


class PeerState(Enum):
    NEW = "new"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    DISCONNECTED = "disconnected"
    FAILED = "failed"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class PeerCaps:
    """What an engine can do, so that a path is chosen from it and not from its name."""

    encoded_codecs: tuple[Codec, ...]
    """Codecs it sends from our encoder, in order of preference."""
    playout_delay: bool
    """Sends the playout-delay RTP extension, so that browsers show a frame at once."""
    rate_feedback: bool
    frame_metadata: bool
    """Appends the per-frame trailer for clients that negotiate `x-reactor-frame-metadata`."""


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


class PeerEvents(Protocol):
    """Called on the event loop that made the peer, except `input_frame`. May not raise."""

    def peer_state(self, state: PeerState) -> None: ...

    def channel_open(self, label: str) -> None: ...

    def channel_message(self, label: str, data: str | bytes) -> None: ...

    def keyframe_wanted(self, track: str) -> None:
        """The receiver cannot decode until it gets a keyframe."""

    def bitrate_changed(self, track: str, bits_per_s: int) -> None:
        """What congestion control now allows this peer to be sent."""

    def frame_sent(self, track: str, frame_id: int, rtp_timestamp: int) -> None:
        """A frame left with this RTP timestamp, as the receiver sees it.

        Only for frames that were sent with `report=True`.
        """

    def input_frame(self, track: str, pixels: Pixels) -> None:
        """A decoded inbound frame, (height, width, 3) uint8 RGB, on the engine's own thread."""


class Peer(Protocol):
    """One viewer's connection. Made on the event loop; closed exactly when `close()` returns."""

    @property
    def caps(self) -> PeerCaps: ...

    @property
    def codec(self) -> Codec | None:
        """The outbound video codec that was negotiated; None before `answer` or without video."""

    async def answer(self, offer_sdp: str, mapping: Sequence[TrackMapping]) -> str:
        """Apply the offer and return the answer with all our candidates in it.

        Takes at most `limits.GATHER_S` longer than the engine needs, reachable STUN server or not.
        Raises OfferRejected for an offer that cannot be used, PeerFailed when the engine broke.
        """

    async def add_candidate(self, candidate: Candidate) -> None:
        """Add a trickled candidate. Raises OfferRejected for one that cannot be parsed or is refused."""

    def send_frame(self, track: str, frame: EncodedFrame, *, report: bool = False) -> None:
        """Send one encoded picture. Any thread; never blocks. Dropped unless the peer is CONNECTED.

        The caller skips to a keyframe after a pause; the peer forwards whatever it is given.
        """

    def send(self, label: str, data: str | bytes) -> bool:
        """Send on a data channel: str as a text frame, bytes as a binary one.

        False when the channel is not open or holds more than `limits.CHANNEL_BUFFER_MAX_BYTES`.
        """

    async def stats(self) -> dict[str, float]:
        """Round-trip time, bytes and packets sent and lost, by the names of the W3C statistics.

        `framesQueued` counts frames that the engine has not taken yet (a standing queue is latency), and
        `framesDropped` those that were dropped because there were too many.
        """

    async def close(self) -> None:
        """Close the connection and free the engine's objects. May be called twice; does not raise."""


class PeerEngine(Protocol):
    """Makes peers. One per server: it owns the engine's threads."""

    @property
    def caps(self) -> PeerCaps: ...

    async def probe(self, ice_servers: Sequence[IceServer]) -> None:
        """Learn ahead of the first viewer whether these servers answer. Takes seconds when they do not."""

    def create(
        self,
        events: PeerEvents,
        tracks: Sequence[Track],
        *,
        codecs: Sequence[Codec],
        ice_servers: Sequence[IceServer] = (),
    ) -> Peer:
        """Make a peer that will offer these of the model's tracks, with `codecs` most preferred first."""

    async def close(self) -> None: ...
