"""The per-frame trailer of clients that negotiate `a=x-reactor-frame-metadata:1`. Pure.

It goes behind the encoded picture, before packetisation, and the receiver cuts it off before it decodes:

    picture | protobuf | uint32 little-endian length of the protobuf | "RXMT"

with the fields 1 `frame_id` and 2 `capture_time_us`, both uint64.
"""

from __future__ import annotations

ATTRIBUTE = "a=x-reactor-frame-metadata:1"
_MAGIC = b"RXMT"


def frame_trailer(frame_id: int, capture_time_us: int) -> bytes:
    message = b"\x08" + _varint(frame_id) + b"\x10" + _varint(capture_time_us)
    return message + len(message).to_bytes(4, "little") + _MAGIC


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
