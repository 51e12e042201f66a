"""What stands in a binary message: a header of 16 bytes, and for a picture its bitstream. Pure.

    byte 0      1        2        3        4 .. 7       8 .. 15
    version   kind     track    flags    frame id     capture time, microseconds

Big-endian. `track` is the place of the track in the descriptor's `capabilities.tracks`. Text messages are the
JSON wire format (`wire.v0`).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from ..errors import MessageRejected
from ..types import Codec

VERSION: Final = 1
_LAYOUT: Final = struct.Struct(">BBBBIQ")
SIZE: Final = _LAYOUT.size

_KEYFRAME: Final = 1
_VP8: Final = 2
#: The most that an ack's decode queue can say.
_QUEUE_MAX: Final = 255


class Kind(IntEnum):
    VIDEO = 1
    """A picture: H.264 as Annex B, each keyframe with its parameter sets, or VP8."""
    ACK = 2
    """A picture with this id has left the decoder, shown or not; `flags` is how many wait for it."""
    KEYFRAME = 3
    """The receiver cannot decode this track until it gets a keyframe."""


@dataclass(frozen=True, slots=True)
class Header:
    kind: Kind
    track: int
    flags: int = 0
    frame_id: int = 0
    capture_us: int = 0

    @property
    def keyframe(self) -> bool:
        return bool(self.flags & _KEYFRAME)

    @property
    def codec(self) -> Codec:
        return "vp8" if self.flags & _VP8 else "h264"

    def pack(self) -> bytes:
        return _LAYOUT.pack(VERSION, self.kind, self.track, self.flags, self.frame_id, self.capture_us)


def picture_header(track: int, *, codec: Codec, keyframe: bool, frame_id: int, capture_us: int) -> bytes:
    """Return what stands before a picture."""
    flags = (_KEYFRAME if keyframe else 0) | (_VP8 if codec == "vp8" else 0)
    return Header(Kind.VIDEO, track, flags, frame_id & 0xFFFFFFFF, capture_us).pack()


def ack(track: int, frame_id: int, *, queue: int = 0) -> bytes:
    """Return the message that a picture has left the decoder."""
    return Header(Kind.ACK, track, min(queue, _QUEUE_MAX), frame_id).pack()


def keyframe_request(track: int) -> bytes:
    return Header(Kind.KEYFRAME, track).pack()


def parse(message: bytes) -> Header:
    """Read the header of a binary message. Raises MessageRejected."""
    if len(message) < SIZE:
        raise MessageRejected(
            f"a binary message begins with {SIZE} bytes of header; this one has {len(message)}"
        )
    version, kind, track, flags, frame_id, capture_us = _LAYOUT.unpack_from(message)
    if version != VERSION:
        raise MessageRejected(f"version {version} of the header; {VERSION} is spoken here")
    if kind not in Kind.__members__.values():
        raise MessageRejected(f"a message of kind {kind}; known are 1 (picture), 2 (ack) and 3 (keyframe)")
    if kind != Kind.VIDEO and len(message) != SIZE:
        raise MessageRejected(f"{len(message) - SIZE} bytes after the header of a message that has only that")
    return Header(Kind(kind), track, flags, frame_id, capture_us)
