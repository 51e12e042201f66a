"""The benchmark's stamp: written in Python, read in Python and in a browser, through a real encoder."""

from __future__ import annotations

import base64
import io
import sys
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from support.chromium import ARGUMENTS, CHROMIUM

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "examples" / "testcard"))

import stamp as codec  # noqa: E402
from stamp import Stamp  # noqa: E402

Picture = npt.NDArray[np.uint8]

stamps = st.builds(
    Stamp,
    time_eighths=st.integers(0, 2**32 - 1),
    frame=st.integers(0, 2**16 - 1),
    command=st.integers(0, 2**16 - 1),
)


def scene(width: int = 640, height: int = 480, *, shift: int = 0) -> Picture:
    """A picture with gradients and grain, panned by `shift`."""
    y, x = np.mgrid[:height, :width]
    grain = np.random.default_rng(1).integers(0, 12, (height, width + 256))[:, shift : shift + width]
    planes = (x + shift) % 200 + grain, y * 200 // height + grain, (x + y + shift) % 180 + grain
    return np.stack(planes, axis=-1).astype(np.uint8)


@given(stamps)
def test_what_is_drawn_is_read_back(stamp: Stamp) -> None:
    picture = np.zeros((96, 512, 3), np.uint8)
    codec.draw(picture, stamp)
    assert codec.read(picture) == stamp


def test_an_rgba_picture_is_read_like_an_rgb_one() -> None:
    picture, stamp = scene(), Stamp.at(1.7e9, frame=77, command=3)
    codec.draw(picture, stamp)
    assert codec.read(np.dstack([picture, np.full(picture.shape[:2], 255, np.uint8)])) == stamp


@pytest.mark.parametrize("value", [0, 255, 128])
def test_a_plain_picture_holds_no_stamp(value: int) -> None:
    assert codec.read(np.full((480, 640, 3), value, np.uint8)) is None


def test_a_picture_too_small_for_a_stamp_holds_none_and_takes_none() -> None:
    small = np.zeros((90, 640, 3), np.uint8)
    assert codec.read(small) is None
    with pytest.raises(ValueError, match="needs 496x76 px"):
        codec.draw(np.zeros((70, 640, 3), np.uint8), Stamp(1, 2, 3))


@given(stamps, st.integers(0, codec.ROWS * codec.COLUMNS - 1))
def test_one_wrong_cell_is_noticed(stamp: Stamp, cell: int) -> None:
    picture = np.zeros((96, 512, 3), np.uint8)
    codec.draw(picture, stamp)
    top = codec.TOP + cell // codec.COLUMNS * codec.CELL
    left = codec.LEFT + cell % codec.COLUMNS * codec.CELL
    area = picture[top : top + codec.CELL, left : left + codec.CELL]
    area[:] = 255 - area
    assert codec.read(picture) is None


@given(st.floats(0, 4e9), st.floats(-80_000, 80_000))
def test_age_is_right_across_the_wrap_of_the_clock(wall_s: float, later_s: float) -> None:
    age = Stamp.at(wall_s, frame=0, command=0).age_ms(wall_s + later_s)
    assert age == pytest.approx(later_s * 1000, abs=0.3)


def as_rgb(frame: av.VideoFrame) -> Picture:
    return np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)


def through_x264(pictures: Iterator[Picture], *, bits_per_s: int) -> Iterator[Picture]:
    """Encode as a live stream is encoded (no delay, fast preset) and decode again."""
    encoder = av.CodecContext.create("libx264", "w")
    decoder = av.CodecContext.create("h264", "r")
    assert isinstance(encoder, av.VideoCodecContext)
    assert isinstance(decoder, av.VideoCodecContext)
    encoder.pix_fmt, encoder.bit_rate = "yuv420p", bits_per_s
    encoder.time_base, encoder.framerate = Fraction(1, 30), Fraction(30)
    encoder.options = {
        "preset": "ultrafast",
        "tune": "zerolatency",
        "x264-params": f"vbv-maxrate={bits_per_s // 1000}:vbv-bufsize={bits_per_s // 4000}",
    }
    for index, picture in enumerate(pictures):
        if not encoder.is_open:
            encoder.height, encoder.width = picture.shape[:2]
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p")
        frame.pts = index
        for packet in encoder.encode(frame):
            yield from map(as_rgb, decoder.decode(packet))
    yield from map(as_rgb, decoder.decode(None))


@pytest.mark.slow
@pytest.mark.parametrize(("width", "height", "kbps"), [(640, 480, 1700), (640, 480, 600), (1280, 720, 2500)])
def test_x264_keeps_every_stamp_readable(width: int, height: int, kbps: int) -> None:
    expected = [Stamp(int(1e9) + 267 * n, n, n // 10) for n in range(60)]

    def pictures() -> Iterator[Picture]:
        for n, stamp in enumerate(expected):
            picture = scene(width, height, shift=3 * n % 256)
            codec.draw(picture, stamp)
            yield picture

    assert [codec.read(p) for p in through_x264(pictures(), bits_per_s=kbps * 1000)] == expected


READ_IN_PAGE = """async (png) => {
  const image = new Image();
  image.src = "data:image/png;base64," + png;
  await image.decode();
  const canvas = new OffscreenCanvas(image.width, image.height);
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  const area = codec.STAMP_AREA;
  return [
    codec.readStamp(context.getImageData(0, 0, image.width, image.height)),
    codec.readStampArea(context.getImageData(area.x, area.y, area.width, area.height)),
  ];
}"""


def as_png(picture: Picture) -> str:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


@pytest.mark.browser
@pytest.mark.slow
def test_the_browser_reads_what_python_drew() -> None:
    from playwright.sync_api import sync_playwright

    source = (ROOT / "benchmarks" / "stamp.js").read_text()
    expected = [
        Stamp(0, 0, 0),
        Stamp(2**32 - 1, 2**16 - 1, 2**16 - 1),
        Stamp.at(time.time(), frame=12345, command=678),
    ]
    pictures = [scene(shift=n) for n in range(len(expected))]
    for picture, stamp in zip(pictures, expected, strict=True):
        codec.draw(picture, stamp)
    coded = list(through_x264(iter(pictures), bits_per_s=1_700_000))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        try:
            page = browser.new_page()
            url = "data:text/javascript;base64," + base64.b64encode(source.encode()).decode()
            page.evaluate("async (url) => { window.codec = await import(url); }", url)
            for picture, stamp in zip(pictures + coded, expected * 2, strict=True):
                fields = {"timeEighths": stamp.time_eighths, "frame": stamp.frame, "command": stamp.command}
                assert page.evaluate(READ_IN_PAGE, as_png(picture)) == [fields, fields]
            assert page.evaluate(READ_IN_PAGE, as_png(scene())) == [None, None]
            assert page.evaluate(READ_IN_PAGE, as_png(np.zeros((90, 480, 3), np.uint8))) == [None, None]
            for wall_s in (1.0, time.time(), 2**32 / 8000 + 0.010):
                ours = expected[2].age_ms(wall_s)
                theirs = page.evaluate(
                    "([eighths, wallMs]) => codec.stampAgeMs({timeEighths: eighths}, wallMs)",
                    [expected[2].time_eighths, wall_s * 1000],
                )
                assert theirs == pytest.approx(ours, abs=0.13)
        finally:
            browser.close()
