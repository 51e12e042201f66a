"""Which segments a clip is made of, and the playlist that says so. Pure.

A recording's time begins with its first picture. Segments follow each other without a gap, each begins with a
keyframe, and a clip has every segment that it touches, whole.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from .fmp4 import TIMESCALE

INIT_NAME = "init.mp4"
_SEGMENT_NAME = re.compile(r"chunk_([0-9]{5,9})\.m4s")


@dataclass(frozen=True, slots=True)
class Segment:
    """A closed file of a recording. `start` and `end` are ticks of TIMESCALE."""

    index: int
    start: int
    end: int
    size_bytes: int

    @property
    def name(self) -> str:
        return segment_name(self.index)


def segment_name(index: int) -> str:
    return f"chunk_{index:05d}.m4s"


def segment_index(name: str) -> int | None:
    """Return which segment a file name means, None if it means none."""
    match = _SEGMENT_NAME.fullmatch(name)
    return int(match[1]) if match else None


def covering(segments: Sequence[Segment], start_s: float, end_s: float) -> list[Segment]:
    """Return the segments that touch [start_s, end_s)."""
    start, end = start_s * TIMESCALE, end_s * TIMESCALE
    return [segment for segment in segments if segment.start < end and segment.end > start]


class AddressOf(Protocol):
    def __call__(self, name: str, begin: int) -> str:
        """Return where a file of the recording is served, its time counted from `begin` (in ticks)."""


def playlist(segments: Sequence[Segment], *, address_of: AddressOf, chunk_s: float) -> str:
    """Return the HLS playlist (RFC 8216) of a clip.

    A clip that does not begin at zero says so in its segments' addresses: they are served as if it did.
    """
    longest_s = max((segment.end - segment.start) / TIMESCALE for segment in segments)
    lines = [
        "#EXTM3U",
        "#EXT-X-VERSION:7",
        f"#EXT-X-TARGETDURATION:{max(math.ceil(chunk_s), math.floor(longest_s + 0.5))}",
        "#EXT-X-PLAYLIST-TYPE:VOD",
        "#EXT-X-INDEPENDENT-SEGMENTS",
        f"#EXT-X-MEDIA-SEQUENCE:{segments[0].index}",
        f'#EXT-X-MAP:URI="{address_of(INIT_NAME, 0)}"',
    ]
    for segment in segments:
        lines.append(f"#EXTINF:{(segment.end - segment.start) / TIMESCALE:.5f},")
        lines.append(address_of(segment.name, segments[0].start))
    return "\n".join([*lines, "#EXT-X-ENDLIST", ""])
