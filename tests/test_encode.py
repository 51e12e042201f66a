"""The encoders: what comes out decodes, can be joined at keyframes, follows its rate, and looks right."""

from __future__ import annotations

from collections.abc import Iterator

import av
import cv2
import numpy as np
import psutil
import pytest

from reactor_runtime.encode import Encoder, halved, open_encoder, to_i420
from reactor_runtime.encode.recorded import RecordingEncoder
from reactor_runtime.errors import EncoderFailed
from reactor_runtime.types import Codec, EncodedFrame, Pixels

CODECS: tuple[Codec, ...] = ("h264", "vp8")
FPS = 30
TICKS = 1_000_000 // FPS


def scene(count: int, width: int = 640, height: int = 480) -> Iterator[Pixels]:
    """A soft noise texture that pans, under a disc that moves faster."""
    random = np.random.default_rng(1)
    base = cv2.GaussianBlur(random.integers(0, 255, (height + 40, width + 40, 3), dtype=np.uint8), (0, 0), 5)
    base = cv2.normalize(base, base, 0, 255, cv2.NORM_MINMAX)
    for index in range(count):
        x, y = int(20 + 15 * np.sin(index / 10)), int(20 + 10 * np.cos(index / 13))
        picture = np.ascontiguousarray(base[y : y + height, x : x + width]).astype(np.uint8)
        cv2.circle(
            picture, (int(width / 2 + width / 3 * np.sin(index / 9)), height // 2), 40, (250, 80, 10), -1
        )
        yield picture


def encode_all(encoder: Encoder, pictures: Iterator[Pixels], *, first: int = 0) -> list[EncodedFrame]:
    encoded = []
    for index, picture in enumerate(pictures, first):
        frame = encoder.encode(to_i420(picture), frame_id=index, pts_us=index * TICKS)
        assert frame is not None
        encoded.append(frame)
    return encoded


def decode(codec: Codec, frames: list[EncodedFrame]) -> list[Pixels]:
    decoder = av.VideoCodecContext.create(codec, "r")
    pictures = [picture for frame in frames for picture in decoder.decode(av.Packet(frame.data))]
    pictures += decoder.decode(None)
    return [cv2.cvtColor(p.to_ndarray(format="yuv420p"), cv2.COLOR_YUV2RGB_I420) for p in pictures]  # type: ignore[misc]


def kbits_per_s(frames: list[EncodedFrame]) -> float:
    return sum(len(frame.data) for frame in frames) * 8 * FPS / len(frames) / 1000


def nal_types(data: bytes) -> list[int]:
    return [part[0] & 0x1F for part in data.split(b"\0\0\1")[1:]]


@pytest.mark.parametrize("codec", CODECS)
def test_every_picture_comes_out_at_once_with_its_own_id_and_clock(codec: Codec) -> None:
    encoder = open_encoder(codec, 320, 240, fps=FPS, bits_per_s=500_000)
    frames = encode_all(encoder, scene(10, 320, 240), first=7)
    assert [frame.frame_id for frame in frames] == list(range(7, 17))
    assert [frame.pts_us for frame in frames] == [index * TICKS for index in range(7, 17)]
    assert {(frame.width, frame.height, frame.codec) for frame in frames} == {(320, 240, codec)}
    assert encoder.codec == codec
    assert len(decode(codec, frames)) == 10


@pytest.mark.slow
@pytest.mark.parametrize("codec", CODECS)
def test_the_picture_is_good_at_a_modest_rate(codec: Codec) -> None:
    encoder = open_encoder(codec, 640, 480, fps=FPS, bits_per_s=1_700_000)
    pictures = list(scene(60))
    frames = encode_all(encoder, iter(pictures))
    assert kbits_per_s(frames[15:]) < 1_700 * 1.15
    psnr = [cv2.PSNR(seen, sent) for seen, sent in zip(decode(codec, frames), pictures, strict=True)]
    assert np.mean(psnr[15:]) >= 30


@pytest.mark.parametrize("codec", CODECS)
def test_a_keyframe_comes_first_and_then_only_on_request(codec: Codec) -> None:
    encoder = open_encoder(codec, 320, 240, fps=FPS, bits_per_s=500_000)
    keys = []
    for index, picture in enumerate(scene(40, 320, 240)):
        frame = encoder.encode(to_i420(picture), frame_id=index, pts_us=index * TICKS, keyframe=index == 25)
        assert frame is not None
        if frame.keyframe:
            keys.append(index)
    assert keys == [0, 25]


@pytest.mark.parametrize("codec", CODECS)
def test_a_viewer_can_join_at_any_keyframe(codec: Codec) -> None:
    encoder = open_encoder(codec, 320, 240, fps=FPS, bits_per_s=800_000)
    pictures = list(scene(20, 320, 240))
    encode_all(encoder, iter(pictures[:10]))
    key = encoder.encode(to_i420(pictures[10]), frame_id=10, pts_us=10 * TICKS, keyframe=True)
    assert key is not None
    later = [key, *encode_all(encoder, iter(pictures[11:]), first=11)]
    seen = decode(codec, later)
    assert len(seen) == 10
    assert cv2.PSNR(seen[-1], pictures[-1]) > 25


def test_h264_keyframes_carry_their_parameters_and_the_profile_is_constrained_baseline() -> None:
    encoder = open_encoder("h264", 1920, 1080, fps=FPS, bits_per_s=4_000_000)
    first, second = encode_all(encoder, scene(2, 1920, 1080))
    assert nal_types(first.data)[:2] == [7, 8]
    assert 5 in nal_types(first.data)
    assert nal_types(second.data) == [1]
    assert first.data.startswith(b"\0\0\0\1")
    profile, constraints, level = first.data[5:8]
    assert profile == 0x42
    assert constraints & 0x40
    assert level >= 40


@pytest.mark.parametrize("codec", CODECS)
def test_a_keyframe_leaves_within_a_few_pictures_at_the_rate(codec: Codec) -> None:
    rate = 1_000_000
    encoder = open_encoder(codec, 640, 480, fps=FPS, bits_per_s=rate)
    frames = encode_all(encoder, scene(12))
    pictures = list(scene(13))
    key = encoder.encode(to_i420(pictures[12]), frame_id=12, pts_us=12 * TICKS, keyframe=True)
    assert key is not None
    assert frames[0].keyframe
    assert max(len(key.data), len(frames[0].data)) * 8 / rate <= 6 / FPS


@pytest.mark.slow
@pytest.mark.parametrize("codec", CODECS)
def test_a_much_lower_rate_is_reached_at_once_from_a_keyframe(codec: Codec) -> None:
    """What a slow line is sent too much waits in its buffer, and every later picture behind it."""
    encoder = open_encoder(codec, 640, 480, fps=FPS, bits_per_s=1_500_000)
    pictures = list(scene(90))
    before = encode_all(encoder, iter(pictures[:30]))
    encoder.set_bitrate(500_000)
    after = encode_all(encoder, iter(pictures[30:]), first=30)
    assert kbits_per_s(before[10:]) > 1_000
    assert 350 < kbits_per_s(after[15:]) < 620
    assert [frame.keyframe for frame in after[:3]] == [True, False, False]
    assert not any(frame.keyframe for frame in after[3:])
    # A keyframe may be as large as four pictures.
    assert sum(len(frame.data) for frame in after[:8]) * 8 < 500_000 * 16 / FPS


@pytest.mark.slow
@pytest.mark.parametrize("codec", CODECS)
def test_a_rate_above_the_opening_one_is_reached_too(codec: Codec) -> None:
    encoder = open_encoder(codec, 640, 480, fps=FPS, bits_per_s=500_000)
    pictures = list(scene(60))
    encode_all(encoder, iter(pictures[:15]))
    encoder.set_bitrate(2_000_000)
    assert kbits_per_s(encode_all(encoder, iter(pictures[15:]), first=15)) > 1_300


@pytest.mark.parametrize("codec", CODECS)
def test_a_small_change_of_rate_costs_no_keyframe(codec: Codec) -> None:
    encoder = open_encoder(codec, 320, 240, fps=FPS, bits_per_s=500_000)
    encode_all(encoder, scene(3, 320, 240))
    for step, rate in enumerate((450_000, 400_000, 500_000, 550_000)):
        encoder.set_bitrate(rate)
        assert not any(
            frame.keyframe for frame in encode_all(encoder, scene(5, 320, 240), first=3 + 5 * step)
        )


@pytest.mark.parametrize("codec", CODECS)
def test_a_clock_that_stands_still_or_goes_back_does_no_harm(codec: Codec) -> None:
    encoder = open_encoder(codec, 320, 240, fps=FPS, bits_per_s=500_000)
    clock = [2**40, 2**40 + 33_000, 2**40 + 66_000, 2**40 + 66_000, 1000, 2**40 + 99_000]
    frames = []
    for index, (picture, timestamp) in enumerate(zip(scene(6, 320, 240), clock, strict=True)):
        frame = encoder.encode(to_i420(picture), frame_id=index, pts_us=timestamp)
        assert frame is not None
        frames.append(frame)
    assert [frame.pts_us for frame in frames] == clock
    assert len(decode(codec, frames)) == 6


def test_a_picture_of_another_size_and_a_closed_encoder_are_refused() -> None:
    encoder = open_encoder("h264", 320, 240, fps=FPS, bits_per_s=500_000)
    with pytest.raises(EncoderFailed, match="320x240"):
        encoder.encode(np.zeros((360, 321), np.uint8), frame_id=0, pts_us=0)
    encoder.close()
    encoder.close()
    encoder.set_bitrate(1)
    with pytest.raises(EncoderFailed, match="closed"):
        encoder.encode(np.zeros((360, 320), np.uint8), frame_id=0, pts_us=0)


def test_an_impossible_size_is_an_encoder_failure() -> None:
    with pytest.raises(EncoderFailed, match="h264"):
        open_encoder("h264", 0, 0, fps=FPS, bits_per_s=500_000)


def test_odd_sides_are_padded_with_their_last_row_and_column() -> None:
    picture = next(scene(1, 321, 241))
    planes = to_i420(picture)
    assert planes.shape == (242 * 3 // 2, 322)
    back = cv2.cvtColor(planes, cv2.COLOR_YUV2RGB_I420)
    assert cv2.PSNR(np.ascontiguousarray(back[:241, :321]), picture) > 30
    encoder = open_encoder("h264", 321, 241, fps=FPS, bits_per_s=500_000)
    frame = encoder.encode(planes, frame_id=0, pts_us=0)
    assert frame is not None
    assert (frame.width, frame.height) == (322, 242)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("height", [88, 90, 270])
def test_a_picture_keeps_its_colours_to_the_last_row_whatever_its_height(codec: Codec, height: int) -> None:
    grey = np.full((height, 160, 3), 90, np.uint8)
    encoder = open_encoder(codec, 160, height, fps=FPS, bits_per_s=500_000)
    (seen,) = decode(codec, encode_all(encoder, iter([grey])))
    assert seen.shape == grey.shape
    assert np.abs(seen.astype(int) - grey).max() <= 4


def test_a_recording_keeps_its_colours_whatever_the_height() -> None:
    grey = np.full((90, 160, 3), 90, np.uint8)
    encoder = RecordingEncoder(160, 90, fps=FPS, bits_per_s=500_000)
    data, keyframe = encoder.encode(to_i420(grey), 0, keyframe=True)
    whole = EncodedFrame(encoder.parameter_sets + data, "h264", keyframe, 160, 90, frame_id=0, pts_us=0)
    (seen,) = decode("h264", [whole])
    assert np.abs(seen.astype(int) - grey).max() <= 4


@pytest.mark.parametrize(("width", "height"), [(640, 480), (322, 242), (416, 234), (6, 4)])
def test_half_of_a_picture_is_the_same_picture(width: int, height: int) -> None:
    picture = cv2.GaussianBlur(next(scene(1, 640, 480)), (0, 0), 8)
    picture = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
    half = halved(to_i420(picture.astype(np.uint8)))
    back = cv2.cvtColor(half, cv2.COLOR_YUV2RGB_I420)
    assert back.shape[0] % 2 == back.shape[1] % 2 == 0
    assert abs(back.shape[0] - height / 2) <= 2
    assert abs(back.shape[1] - width / 2) <= 2 or width == 6
    assert cv2.PSNR(cv2.resize(picture, back.shape[1::-1], interpolation=cv2.INTER_AREA), back) > 25


def test_conversion_reuses_memory_of_the_right_shape_only() -> None:
    picture = next(scene(1, 320, 240))
    planes = to_i420(picture)
    assert to_i420(picture, planes) is planes
    assert to_i420(picture, np.empty((10, 10), np.uint8)).shape == planes.shape


def test_a_read_only_picture_with_a_stride_is_converted() -> None:
    wide = next(scene(1, 400, 240))
    view = wide[:, :320]
    view.flags.writeable = False
    assert np.array_equal(to_i420(view), to_i420(np.ascontiguousarray(view)))


def test_encoders_start_no_threads() -> None:
    process = psutil.Process()
    before = process.num_threads()
    for codec in CODECS:
        encoder = open_encoder(codec, 320, 240, fps=FPS, bits_per_s=500_000)
        encode_all(encoder, scene(2, 320, 240))
        assert process.num_threads() == before
        encoder.close()
