"""Which segments a clip is made of, how its playlist reads, and the boxes of its files."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reactor_runtime.recording.fmp4 import (
    TIMESCALE,
    Sample,
    earlier,
    fragment,
    init_segment,
    length_prefixed,
    nal_units,
)
from reactor_runtime.recording.playlist import Segment, covering, playlist, segment_index, segment_name

#: What x264 says for 640x480 Main.
PARAMETER_SETS = bytes.fromhex("00000001674d401eda0280f69a81010320000003002000000791e2c5d40000000168ef0fc8")


def segments(*ends_s: float, first: int = 0) -> list[Segment]:
    """Return segments that follow each other and end at these times."""
    starts = [0.0, *ends_s]
    return [
        Segment(first + number, round(start * TIMESCALE), round(end * TIMESCALE), 1000)
        for number, (start, end) in enumerate(zip(starts, ends_s, strict=False))
    ]


def boxes(data: bytes) -> Iterator[tuple[str, bytes]]:
    at = 0
    while at < len(data):
        size, name = struct.unpack_from(">I4s", data, at)
        assert size >= 8
        yield name.decode(), data[at + 8 : at + size]
        at += size
    assert at == len(data)


# Playlists --------------------------------------------------------------------------------------------

COVERINGS = [
    ("inside one", 4.5, 7.0, [1]),
    ("across a boundary", 3.9, 4.1, [0, 1]),
    ("exactly one", 4.0, 8.0, [1]),
    ("up to a boundary and no further", 0.0, 4.0, [0]),
    ("everything", 0.0, 99.0, [0, 1, 2]),
    ("beyond the end", 10.0, 11.0, []),
]


@pytest.mark.parametrize(
    ("start_s", "end_s", "wanted"), [row[1:] for row in COVERINGS], ids=[row[0] for row in COVERINGS]
)
def test_a_clip_has_every_segment_that_it_touches(start_s: float, end_s: float, wanted: list[int]) -> None:
    assert [segment.index for segment in covering(segments(4, 8, 9.5), start_s, end_s)] == wanted


@given(
    lengths=st.lists(st.floats(0.1, 9), min_size=1, max_size=20),
    start=st.floats(0, 1, exclude_max=True),
    end=st.floats(0, 1),
)
def test_a_clip_is_whole_and_has_no_segment_too_many(lengths: list[float], start: float, end: float) -> None:
    ends = [sum(lengths[: n + 1]) for n in range(len(lengths))]
    all_segments = segments(*ends)
    start_s, end_s = sorted((start * ends[-1], end * ends[-1]))
    if end_s <= start_s:
        return
    found = covering(all_segments, start_s, end_s)
    indices = [segment.index for segment in found]
    assert indices == list(range(indices[0], indices[-1] + 1))
    assert found[0].start <= start_s * TIMESCALE < found[0].end
    assert found[-1].start < end_s * TIMESCALE
    assert found[-1].end >= end_s * TIMESCALE - 1  # segments() rounds to ticks


def address_of(name: str, begin: int) -> str:
    return f"clips/chunks/abc/{name}" + (f"?begin={begin}" if begin else "")


def test_a_playlist_reads_as_hls_asks_for() -> None:
    text = playlist(segments(4, 8.03, 9.5), address_of=address_of, chunk_s=4)
    assert text == (
        "#EXTM3U\n"
        "#EXT-X-VERSION:7\n"
        "#EXT-X-TARGETDURATION:4\n"
        "#EXT-X-PLAYLIST-TYPE:VOD\n"
        "#EXT-X-INDEPENDENT-SEGMENTS\n"
        "#EXT-X-MEDIA-SEQUENCE:0\n"
        '#EXT-X-MAP:URI="clips/chunks/abc/init.mp4"\n'
        "#EXTINF:4.00000,\nclips/chunks/abc/chunk_00000.m4s\n"
        "#EXTINF:4.03000,\nclips/chunks/abc/chunk_00001.m4s\n"
        "#EXTINF:1.47000,\nclips/chunks/abc/chunk_00002.m4s\n"
        "#EXT-X-ENDLIST\n"
    )


def test_segments_of_a_later_clip_are_asked_for_as_if_it_began_at_zero() -> None:
    text = playlist(segments(4, 8, 12)[1:], address_of=address_of, chunk_s=4)
    assert "#EXT-X-MEDIA-SEQUENCE:1\n" in text
    assert re.findall("chunk_.*", text) == ["chunk_00001.m4s?begin=360000", "chunk_00002.m4s?begin=360000"]


@given(lengths=st.lists(st.floats(0.1, 30), min_size=1, max_size=5))
def test_no_segment_is_longer_than_the_target_duration_says(lengths: list[float]) -> None:
    text = playlist(
        segments(*[sum(lengths[: n + 1]) for n in range(len(lengths))]), address_of=address_of, chunk_s=4
    )
    target = int(re.findall("TARGETDURATION:([0-9]+)", text)[0])
    assert target >= 4
    assert all(round(float(length)) <= target for length in re.findall("EXTINF:([0-9.]+)", text))


@given(st.integers(0, 10**8))
def test_a_segment_is_found_again_by_its_name(index: int) -> None:
    assert segment_index(segment_name(index)) == index


@pytest.mark.parametrize(
    "name", ["init.mp4", "chunk_1.m4s", "chunk_00001.m4s.part", "../chunk_00001.m4s", "chunk_00001.mp4", ""]
)
def test_other_names_mean_no_segment(name: str) -> None:
    assert segment_index(name) is None


# Boxes ------------------------------------------------------------------------------------------------


def test_nal_units_are_split_at_start_codes_of_either_length() -> None:
    stream = b"\x00\x00\x00\x01\x67ab" + b"\x00\x00\x01\x68c" + b"\x00\x00\x00\x01\x65picture"
    assert nal_units(stream) == [b"\x67ab", b"\x68c", b"\x65picture"]
    assert length_prefixed(stream) == struct.pack(">I", 8) + b"\x65picture"


def test_the_init_segment_holds_size_and_parameter_sets() -> None:
    data = init_segment(width=640, height=480, parameter_sets=PARAMETER_SETS)
    assert [name for name, _ in boxes(data)] == ["ftyp", "moov"]
    sps, pps = nal_units(PARAMETER_SETS)
    assert b"avcC\x01\x4d\x40\x1e\xff\xe1" + struct.pack(">H", len(sps)) + sps in data
    assert pps in data
    assert struct.pack(">HH", 640, 480) in data


SAMPLES = st.lists(
    st.builds(
        Sample,
        data=st.binary(min_size=1, max_size=50),
        duration=st.integers(1, 10**6),
        keyframe=st.booleans(),
    ),
    min_size=1,
    max_size=8,
)


@given(samples=SAMPLES, start=st.integers(0, 1 << 40), sequence=st.integers(1, 1 << 31))
def test_a_fragment_points_at_its_own_pictures(samples: list[Sample], start: int, sequence: int) -> None:
    data = fragment(samples, sequence=sequence, start=start)
    (moof_name, moof), (mdat_name, mdat) = boxes(data)
    assert (moof_name, mdat_name) == ("moof", "mdat")
    assert mdat == b"".join(sample.data for sample in samples)
    (_, mfhd), (_, traf) = boxes(moof)
    assert struct.unpack(">II", mfhd) == (0, sequence)
    (_, _tfhd), (_, tfdt), (_, trun) = boxes(traf)
    assert struct.unpack(">IQ", tfdt) == (1 << 24, start)
    count, offset = struct.unpack_from(">Ii", trun, 4)
    assert count == len(samples)
    assert data[offset:] == mdat
    rows = list(struct.iter_unpack(">III", trun[12:]))
    assert [(duration, size) for duration, size, _ in rows] == [(s.duration, len(s.data)) for s in samples]


@given(first=SAMPLES, second=SAMPLES, start=st.integers(0, 1 << 40), ticks=st.integers(0, 1 << 40))
def test_a_segment_can_be_moved_to_an_earlier_time(
    first: list[Sample], second: list[Sample], start: int, ticks: int
) -> None:
    def both(start: int, then: int) -> bytes:
        return fragment(first, sequence=1, start=start) + fragment(second, sequence=2, start=then)

    length = sum(sample.duration for sample in first)
    assert earlier(both(start, start + length), ticks) == both(
        max(0, start - ticks), max(0, start + length - ticks)
    )
