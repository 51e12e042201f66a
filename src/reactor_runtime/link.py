"""What reaches one viewer, whatever carries it: pictures out and in, messages both ways, numbers, an end.

A link is made by whoever knows how a client is reached (`webrtc.signalling` for WebRTC) and handed to a viewer,
which asks for nothing else: neither how it came about nor what it runs over. It is lost or closed once and
never comes back; a client that returns gets another one.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Final, Protocol

from .types import Codec, EncodedFrame, Pixels

#: The label of a channel for the beats of a driver who holds keys, which loses them rather than have them wait.
BEATS: Final = "beats"
#: The label of a link's only channel, which carries the messages of `data` and of `control`.
ONE_CHANNEL: Final = "one"


class LinkState(Enum):
    CONNECTING = "connecting"
    CONNECTED = "connected"
    INTERRUPTED = "interrupted"
    """Nothing arrives at the moment; CONNECTED or LOST follows."""
    LOST = "lost"


class LinkEvents(Protocol):
    """Called on the event loop that made the link, except `input_frame`. May not raise."""

    def link_state(self, state: LinkState) -> None: ...

    def channel_open(self, label: str) -> None: ...

    def channel_message(self, label: str, data: str | bytes) -> None: ...

    def messages_dropped(self, count: int) -> None:
        """So many messages came faster than they were taken, and are lost."""

    def too_slow(self) -> None:
        """Its line takes not even keyframes: the link ends when what is said now has left."""

    def keyframe_wanted(self, track: str) -> None:
        """The receiver cannot decode until it gets a keyframe."""

    def bitrate_changed(self, track: str, bits_per_s: int) -> None:
        """What congestion control now allows this link to be sent."""

    def frame_sent(self, track: str, frame_id: int, received_as: Mapping[str, int]) -> None:
        """A frame left that was sent with `report=True`.

        `received_as` is what the receiver sees of it, in this link's own terms, where it does not see the frame id.
        """

    def input_frame(self, track: str, pixels: Pixels) -> None:
        """A decoded input frame, (height, width, 3) uint8 RGB, on a thread of the link's own."""


class Link(Protocol):
    """One way to one viewer. Made on the event loop; closed exactly when `close()` returns."""

    @property
    def state(self) -> LinkState: ...

    @property
    def codecs(self) -> Mapping[str, Codec]:
        """The codec of each output track that it carries, by the track's name; settled once CONNECTED."""

    def send_frame(self, track: str, frame: EncodedFrame, *, report: bool = False) -> None:
        """Send one encoded picture. Any thread; never blocks. Dropped unless the link is CONNECTED.

        The caller skips to a keyframe after a pause; the link forwards whatever it is given.
        """

    def send(self, label: str, data: str | bytes) -> bool:
        """Send a message on a channel: str as text, bytes as they are.

        False when the channel is not open or holds more than `limits.CHANNEL_BUFFER_MAX_BYTES`.
        """

    async def stats(self) -> dict[str, float]:
        """Round-trip time, bytes and packets sent and lost, by the names of the W3C statistics.

        `framesQueued` counts frames that have not been taken for sending yet (a standing queue is latency), and
        `framesDropped` those that were dropped because there were too many.
        """

    async def close(self) -> None:
        """Close the connection and free what it holds. May be called twice; does not raise."""
