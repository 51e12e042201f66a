"""Fragmented MP4 with one H.264 track: an init segment, then fragments that follow it in any number.

    init.mp4 = ftyp moov              what the decoder needs, no pictures
    fragment = moof mdat              some pictures; a segment of a playlist is one or more fragments

Pure: packets in, boxes out. Box layouts are those of ISO/IEC 14496-12 and -15; HLS takes them as they are
(RFC 8216, section 3.3). Written here and not by libavformat, because a fragment must be closed at a chosen time,
with the last picture held exactly until then, and be on the disk before the next begins.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

TIMESCALE = 90_000
TRACK_ID = 1

_START_CODE = re.compile(rb"\x00\x00\x00?\x01")
_SPS, _PPS, _SEI, _DELIMITER = 7, 8, 6, 9
#: The 3x3 transformation that changes nothing, in the 16.16 and 2.30 fixed point of tkhd and mvhd.
_IDENTITY = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
#: trun and tfhd sample flags: an IDR picture depends on nothing; any other one is no sync sample.
_SYNC, _NON_SYNC = 0x02000000, 0x01010000


@dataclass(frozen=True, slots=True)
class Sample:
    """One picture: length-prefixed NAL units, shown for `duration` ticks of TIMESCALE."""

    data: bytes
    duration: int
    keyframe: bool


def nal_units(annex_b: bytes) -> list[bytes]:
    """Split an Annex B byte stream. Emulation prevention keeps start codes out of the units."""
    return [unit.rstrip(b"\x00") for unit in _START_CODE.split(annex_b) if unit]


def length_prefixed(annex_b: bytes) -> bytes:
    """Return a picture's NAL units as MP4 holds them; parameter sets are in the init segment instead."""
    units = (unit for unit in nal_units(annex_b) if unit[0] & 31 not in (_SPS, _PPS, _SEI, _DELIMITER))
    return b"".join(struct.pack(">I", len(unit)) + unit for unit in units)


def init_segment(*, width: int, height: int, parameter_sets: bytes) -> bytes:
    """Make init.mp4. `parameter_sets` is the encoder's extradata, SPS and PPS in Annex B."""
    units = nal_units(parameter_sets)
    sps = next(unit for unit in units if unit[0] & 31 == _SPS)
    pps = next(unit for unit in units if unit[0] & 31 == _PPS)
    configuration = (
        bytes((1, sps[1], sps[2], sps[3], 0xFF, 0xE1))
        + struct.pack(">H", len(sps))
        + sps
        + b"\x01"
        + struct.pack(">H", len(pps))
        + pps
    )
    avc1 = _box(
        b"avc1",
        struct.pack(">6xH16xHHII4xH", 1, width, height, 0x480000, 0x480000, 1),
        struct.pack(">32xHh", 24, -1),
        _box(b"avcC", configuration),
    )
    empty = [_full(name, struct.pack(">I", 0)) for name in (b"stts", b"stsc", b"stco")]
    stbl = _box(
        b"stbl",
        _full(b"stsd", struct.pack(">I", 1), avc1),
        *empty,
        _full(b"stsz", struct.pack(">II", 0, 0)),
    )
    dinf = _box(b"dinf", _full(b"dref", struct.pack(">I", 1), _full(b"url ", flags=1)))
    minf = _box(b"minf", _full(b"vmhd", bytes(8), flags=1), dinf, stbl)
    mdia = _box(
        b"mdia",
        _full(b"mdhd", struct.pack(">IIIIHH", 0, 0, TIMESCALE, 0, 0x55C4, 0)),  # language: undetermined
        _full(b"hdlr", struct.pack(">I4s12x", 0, b"vide"), b"main_video\x00"),
        minf,
    )
    # Flags 3: the track is enabled and part of the presentation.
    tkhd = _full(
        b"tkhd",
        struct.pack(">IIIII8xHHHH", 0, 0, TRACK_ID, 0, 0, 0, 0, 0, 0),
        _IDENTITY,
        struct.pack(">II", width << 16, height << 16),
        flags=3,
    )
    mvhd = _full(
        b"mvhd",
        struct.pack(">IIIIIH10x", 0, 0, TIMESCALE, 0, 0x10000, 0x100),
        _IDENTITY,
        bytes(24),
        struct.pack(">I", TRACK_ID + 1),
    )
    trex = _full(b"trex", struct.pack(">IIIII", TRACK_ID, 1, 0, 0, _NON_SYNC))
    ftyp = _box(b"ftyp", b"iso6", struct.pack(">I", 0), b"iso6mp41avc1")
    return ftyp + _box(b"moov", mvhd, _box(b"trak", tkhd, mdia), _box(b"mvex", trex))


def fragment(samples: Sequence[Sample], *, sequence: int, start: int) -> bytes:
    """Make one fragment; `start` is its first picture's time in ticks, `sequence` counts up from 1."""
    table = b"".join(
        struct.pack(">III", sample.duration, len(sample.data), _SYNC if sample.keyframe else _NON_SYNC)
        for sample in samples
    )

    def moof(data_offset: int) -> bytes:
        # 0x701: data offset; duration, size and flags of every sample.
        trun = _full(b"trun", struct.pack(">Ii", len(samples), data_offset), table, flags=0x701)
        # 0x20000: offsets count from this moof, so that segments can be joined in any selection.
        tfhd = _full(b"tfhd", struct.pack(">I", TRACK_ID), flags=0x20000)
        tfdt = _full(b"tfdt", struct.pack(">Q", start), version=1)
        return _box(b"moof", _full(b"mfhd", struct.pack(">I", sequence)), _box(b"traf", tfhd, tfdt, trun))

    mdat_header_bytes = 8
    head = moof(len(moof(0)) + mdat_header_bytes)
    return head + _box(b"mdat", *(sample.data for sample in samples))


def earlier(segment: bytes, ticks: int) -> bytes:
    """Return a segment with every fragment this much earlier, never before zero.

    A clip from the middle of a recording then begins at zero. Left where it was, players show nothing until
    then and count that into its length, whether or not an edit list says otherwise.
    """
    shifted = bytearray(segment)
    for offset in _times(segment):
        (start,) = struct.unpack_from(">Q", segment, offset)
        struct.pack_into(">Q", shifted, offset, max(0, start - ticks))
    return bytes(shifted)


def _times(segment: bytes) -> Iterator[int]:
    """Yield where the start of each fragment is written."""
    at = 0
    while at + 8 <= len(segment):
        size, name = struct.unpack_from(">I4s", segment, at)
        if name == b"moof":
            found = segment.index(b"tfdt", at, at + size)
            yield found + 8
        at += max(8, size)


def _box(name: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">I4s", 8 + len(body), name) + body


def _full(name: bytes, *parts: bytes, version: int = 0, flags: int = 0) -> bytes:
    return _box(name, struct.pack(">I", version << 24 | flags), *parts)
