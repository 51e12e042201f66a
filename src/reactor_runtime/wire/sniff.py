"""Which format a connection speaks: decided by its first frame on either channel, then latched by the owner.

There is no hello, and the version header of the HTTP calls does not tell: all clients send the same one.
"""

from __future__ import annotations

from typing import Protocol

from . import messages as m
from .v0 import V0
from .v1 import V1


class Wire(Protocol):
    """A wire format: both directions, pure."""

    @property
    def name(self) -> str: ...

    def decode(self, channel: m.Inlet, payload: str | bytes) -> m.ClientMessage:
        """Read one frame. Raises only MessageRejected."""

    def encode(self, message: m.ServerMessage) -> list[m.Outgoing]:
        """Write the frames that say `message`; none where the format has no words for it.

        Raises MessageRejected for a message that is not JSON or too large for clients to take.
        """


def sniff(payload: str | bytes) -> Wire:
    """Return the format of a first frame: text, or bytes that begin like JSON, is v0; anything else v1.

    A protobuf frame begins with the tag of its request id, which is a line feed, or of its kind; only an id
    of exactly 91 or 123 bytes would look like JSON, and clients count theirs: `ctrl_1`.
    """
    if isinstance(payload, str) or payload.lstrip()[:1] in (b"{", b"["):
        return V0()
    return V1()
