"""Whatever a model emits becomes (H, W, 3) uint8 RGB, or is refused with words that help."""

from __future__ import annotations

import io
import logging
from typing import Any

import numpy as np
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reactor_runtime import limits
from reactor_runtime.errors import FrameRejected
from reactor_runtime.running.frames import FrameNormalizer
from reactor_runtime.types import InputFrame, Pixels

HEIGHT, WIDTH = 24, 32


def colours(count: int = 1) -> Pixels:
    """(count, HEIGHT, WIDTH, 3): every pixel of every frame differs."""
    return np.random.default_rng(7).integers(0, 256, (count, HEIGHT, WIDTH, 3), np.uint8)


def normalize(frame: object, value_range: tuple[float, float] | None = None) -> list[Pixels]:
    pictures = FrameNormalizer(value_range).normalize(frame)
    for picture in pictures:
        assert picture.dtype == np.uint8
        assert picture.flags.c_contiguous
        assert picture.ndim == 3
        assert picture.shape[2] == 3
    return pictures


def with_alpha(block: Pixels) -> Pixels:
    return np.concatenate([block, np.full((*block.shape[:-1], 1), 9, np.uint8)], axis=-1)


LAYOUTS: dict[str, tuple[int, Any]] = {
    "HWC": (1, lambda b: b[0]),
    "HWC with alpha": (1, lambda b: with_alpha(b)[0]),
    "CHW": (1, lambda b: b[0].transpose(2, 0, 1)),
    "CHW with alpha": (1, lambda b: with_alpha(b)[0].transpose(2, 0, 1)),
    "NHWC": (5, lambda b: b),
    "NHWC of three": (3, lambda b: b),
    "NHWC of three with alpha": (3, with_alpha),
    "NCHW": (5, lambda b: b.transpose(0, 3, 1, 2)),
    "NCHW of one": (1, lambda b: b.transpose(0, 3, 1, 2)),
    "NCHW of three": (3, lambda b: b.transpose(0, 3, 1, 2)),
    "NCHW of four": (4, lambda b: b.transpose(0, 3, 1, 2)),
    "CTHW": (5, lambda b: b.transpose(3, 0, 1, 2)),
    "CTHW of one": (1, lambda b: b.transpose(3, 0, 1, 2)),
    "BTHWC": (5, lambda b: b[None]),
    "BTCHW": (5, lambda b: b.transpose(0, 3, 1, 2)[None]),
    "BCTHW": (5, lambda b: b.transpose(3, 0, 1, 2)[None]),
    "BCTHW of four": (4, lambda b: b.transpose(3, 0, 1, 2)[None]),
    "negative strides": (1, lambda b: b[:, ::-1, ::-1][:, ::-1, ::-1][0]),
    "every other column": (1, lambda b: b.repeat(2, axis=2)[0, :, ::2]),
    "Fortran order": (1, lambda b: np.asfortranarray(b[0])),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_uint8_array_of_any_layout_keeps_its_pixels(layout: str) -> None:
    count, arrange = LAYOUTS[layout]
    block = colours(count)
    pictures = normalize(arrange(block))
    np.testing.assert_array_equal(np.stack(pictures), block)


@pytest.mark.parametrize(
    "arrange",
    [
        lambda g: g,
        lambda g: g[..., None],
        lambda g: g[None],
        lambda g: g[None, None],
        lambda g: g[None, :, :, None],
    ],
    ids=["HW", "HW1", "1HW", "11HW", "1HW1"],
)
def test_grey_becomes_three_equal_channels(arrange: Any) -> None:
    grey = colours()[0, ..., 0]
    (picture,) = normalize(arrange(grey))
    np.testing.assert_array_equal(picture, np.repeat(grey[..., None], 3, axis=2))


def test_a_list_is_a_block_of_frames() -> None:
    block = colours(3)
    np.testing.assert_array_equal(np.stack(normalize(list(block))), block)


def test_a_720p_frame_passes_through_without_a_copy() -> None:
    frame = np.zeros((720, 1280, 3), np.uint8)
    frame.flags.writeable = False
    assert FrameNormalizer().normalize(frame)[0] is frame


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ">f4", np.longdouble])
@pytest.mark.parametrize("layout", ["HWC", "CHW", "NCHW", "BCTHW"])
def test_floats_from_0_to_1_are_rounded_to_the_nearest_value(dtype: Any, layout: str) -> None:
    count, arrange = LAYOUTS[layout]
    block = colours(count)
    pictures = normalize(arrange(block).astype(dtype) / np.asarray(255, dtype))
    np.testing.assert_array_equal(np.stack(pictures), block)


def test_floats_below_zero_are_taken_as_minus_1_to_1(caplog: pytest.LogCaptureFixture) -> None:
    block = colours(2)
    normalizer = FrameNormalizer()
    with caplog.at_level(logging.INFO):
        for frame in block:
            (picture,) = normalizer.normalize(frame.astype(np.float32) / 127.5 - 1)
            np.testing.assert_array_equal(picture, frame)
    assert [record.getMessage().count("[-1, 1]") for record in caplog.records] == [1]


def test_a_session_keeps_the_range_that_its_first_frame_decided() -> None:
    normalizer = FrameNormalizer()
    normalizer.normalize(np.full((HEIGHT, WIDTH, 3), -1.0))
    (picture,) = normalizer.normalize(np.full((HEIGHT, WIDTH, 3), 0.0))
    assert set(picture.ravel()) <= {127, 128}


BLACK = np.zeros((HEIGHT, WIDTH, 3), np.float32)
#: Contrast that fits [0, 1] and no other range.
PLAIN = np.linspace(0, 1, HEIGHT * WIDTH * 3, dtype=np.float32).reshape(HEIGHT, WIDTH, 3)


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


@pytest.mark.parametrize("before", [BLACK, BLACK + 0.01, BLACK + 0.5])
@pytest.mark.parametrize(
    ("spread", "shift", "told"),
    [(255.0, 0.0, "value_range = (0, 255)"), (2.0, -1.0, "value_range = (-1, 1)")],
)
def test_a_range_guessed_from_a_frame_of_one_colour_is_corrected_by_a_clear_one(
    before: Any, spread: float, shift: float, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    normalizer = FrameNormalizer()
    normalizer.normalize(before)
    for frame in colours(3):
        (picture,) = normalizer.normalize(frame.astype(np.float64) / 255 * spread + shift)
        np.testing.assert_array_equal(picture, frame)
    (warning,) = warnings_of(caplog)
    assert told in warning


@pytest.mark.parametrize("outlier", [-0.9, 30.0, 200.0])
def test_an_outlier_does_not_change_a_range_that_pictures_have_fitted_and_is_told_once(
    outlier: float, caplog: pytest.LogCaptureFixture
) -> None:
    normalizer = FrameNormalizer()
    before = normalizer.normalize(PLAIN)[0]
    wild = PLAIN.copy()
    wild[0, 0] = outlier
    for _ in range(3):
        (picture,) = normalizer.normalize(wild)
        assert set(picture[0, 0].tolist()) == {0 if outlier < 0 else 255}
        np.testing.assert_array_equal(picture[1:], before[1:])
    (warning,) = warnings_of(caplog)
    assert "[0, 1]" in warning
    assert "cut off" in warning


def test_what_a_decoder_overshoots_is_no_contradiction(caplog: pytest.LogCaptureFixture) -> None:
    for first, low, high in ((PLAIN, -0.08, 1.6), (PLAIN * 2 - 1, -1.7, 1.7)):
        normalizer = FrameNormalizer()
        normalizer.normalize(first)
        normalizer.normalize(np.clip(first * 3, low, high))
    assert warnings_of(caplog) == []


def test_frames_far_beyond_a_declared_range_are_told_once(caplog: pytest.LogCaptureFixture) -> None:
    normalizer = FrameNormalizer((0.0, 1.0))
    for _ in range(3):
        assert normalizer.normalize(PLAIN * 255)[0].max() == 255
    (warning,) = warnings_of(caplog)
    assert "value_range says" in warning


def test_a_declared_range_is_used_and_what_lies_beyond_saturates() -> None:
    frame = np.zeros((HEIGHT, WIDTH, 3), np.float32)
    frame[0, 0] = (-7.0, 300.0, 64.0)
    (picture,) = normalize(frame, (0.0, 255.0))
    assert picture[0, 0].tolist() == [0, 255, 64]


def test_a_value_range_that_is_none_is_refused() -> None:
    with pytest.raises(FrameRejected, match="black < white"):
        FrameNormalizer((1.0, 0.0))


def test_none_is_black_and_has_the_size_of_the_frame_before() -> None:
    normalizer = FrameNormalizer()
    assert normalizer.normalize(None)[0].shape == (480, 640, 3)
    normalizer.normalize(colours()[0])
    (black,) = normalizer.normalize(None)
    assert black.shape == (HEIGHT, WIDTH, 3)
    assert not black.any()


def test_pil_pictures_of_every_mode_are_taken() -> None:
    frame = colours()[0]
    picture = PIL.Image.fromarray(frame)
    np.testing.assert_array_equal(normalize(picture)[0], frame)
    for mode in ("RGBA", "RGBX", "RGBa", "L", "P", "CMYK", "YCbCr", "HSV", "1"):
        assert normalize(picture.convert(mode))[0].shape == frame.shape


def grey(mode: str) -> PIL.Image.Image:
    """A picture of grey 200 in a mode that Pillow would clip, warn about or refuse."""
    plain = PIL.Image.new("L", (WIDTH, HEIGHT), 200)
    if mode.startswith("I;16"):
        values = np.full((HEIGHT, WIDTH), 200 * 257, ">u2" if mode.endswith("B") else "<u2")
        return PIL.Image.frombytes(mode, (WIDTH, HEIGHT), values.tobytes())
    if mode == "F":
        return PIL.Image.fromarray(np.full((HEIGHT, WIDTH), 200 / 255, np.float32))
    if mode in ("La", "RGBa"):
        return plain.convert("LA" if mode == "La" else "RGBA").convert(mode)
    if mode == "P":
        indexed = plain.convert("P")
        indexed.info["transparency"] = bytes(range(256))
        return indexed
    return plain.convert("RGB").convert(mode) if mode == "CMYK" else plain.convert(mode)


@pytest.mark.parametrize("mode", ["I;16", "I;16B", "F", "LA", "La", "PA", "RGBa", "P", "CMYK"])
def test_pil_pictures_of_odd_modes_are_shown_right(mode: str) -> None:
    (picture,) = normalize(grey(mode))
    assert picture.shape == (HEIGHT, WIDTH, 3)
    assert set(picture.ravel().tolist()) == {200}


def test_a_pil_picture_whose_white_is_not_known_is_refused_by_its_mode() -> None:
    with pytest.raises(FrameRejected, match="a PIL image of mode I and size"):
        normalize(PIL.Image.new("I", (WIDTH, HEIGHT)))


def test_a_pil_picture_whose_file_is_cut_is_refused() -> None:
    file = io.BytesIO()
    PIL.Image.effect_noise((WIDTH * 4, HEIGHT * 4), 90).save(file, "PNG")
    with pytest.raises(FrameRejected, match="which Pillow cannot convert"):
        normalize(PIL.Image.open(io.BytesIO(file.getvalue()[:400])))


def test_the_users_camera_frame_is_an_array_and_can_be_emitted() -> None:
    pixels: Pixels = colours()[0]
    pixels.flags.writeable = False
    frame = InputFrame(pixels, 7, 1.5)
    seen = np.asarray(frame)
    assert np.shares_memory(seen, pixels)
    assert not seen.flags.writeable
    assert np.array(frame).flags.writeable
    assert np.asarray(frame, np.float32).dtype == np.float32
    assert np.stack([frame, frame]).shape == (2, HEIGHT, WIDTH, 3)
    picture = PIL.Image.fromarray(frame)
    assert (picture.mode, picture.size) == ("RGB", (WIDTH, HEIGHT))
    np.testing.assert_array_equal(np.asarray(picture), pixels)
    np.testing.assert_array_equal(normalize(frame)[0], pixels)


def test_what_turns_itself_into_an_array_is_taken() -> None:
    class Tensorlike:
        def __array__(self, dtype: object = None, copy: object = None) -> Pixels:
            return frame

    frame: Pixels = colours()[0]
    np.testing.assert_array_equal(normalize(Tensorlike())[0], frame)


REFUSED: dict[str, Any] = {
    "a latent": np.zeros((16, 60, 80), np.float32),
    "two channels": np.zeros((HEIGHT, WIDTH, 2), np.uint8),
    "one axis": np.zeros(64, np.uint8),
    "no axis": np.float32(0.5),
    "a latent with a batch axis": np.zeros((1, 16, 60, 80), np.float32),
    "six axes": np.zeros((1, 1, 1, HEIGHT, WIDTH, 3), np.uint8),
    "integers": np.zeros((HEIGHT, WIDTH, 3), np.int64),
    "booleans": np.zeros((HEIGHT, WIDTH, 3), np.bool_),
    "complex": np.zeros((HEIGHT, WIDTH, 3), np.complex64),
    "objects": np.full((HEIGHT, WIDTH, 3), None, object),
    "NaN": np.full((HEIGHT, WIDTH, 3), np.nan, np.float32),
    "infinity": np.full((HEIGHT, WIDTH, 3), -np.inf, np.float32),
    "floats up to 255": np.full((HEIGHT, WIDTH, 3), 200.0, np.float32),
    "too low": np.zeros((3, WIDTH, 3), np.uint8),
    "too narrow in floats": np.zeros((HEIGHT, 2), np.float32),
    "no height": np.zeros((0, WIDTH, 3), np.uint8),
    "no width in floats": np.zeros((HEIGHT, 0, 3), np.float32),
    "no frames": np.zeros((0, HEIGHT, WIDTH, 3), np.uint8),
    "too wide": np.lib.stride_tricks.as_strided(np.zeros(3, np.uint8), (16000, 16000, 3), (0, 0, 1)),
    "text": "frame",
    "a number": 3,
    "a dict": {},
    "a broken frame in a list": [colours()[0], "x"],
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_not_a_frame_is_refused_with_what_was_got_and_what_is_accepted(what: str) -> None:
    with pytest.raises(FrameRejected, match=r"got .*(accepted|a side has)"):
        FrameNormalizer().normalize(REFUSED[what])


def test_a_pil_picture_that_is_too_large_is_refused_before_it_is_decoded() -> None:
    file = io.BytesIO()
    PIL.Image.new("1", (limits.FRAME_MAX_SIDE + 1, 16)).save(file, "PNG")
    with pytest.raises(FrameRejected, match="4097x16"):
        FrameNormalizer().normalize(PIL.Image.open(file))


def test_a_refused_frame_does_not_decide_the_range() -> None:
    normalizer = FrameNormalizer()
    with pytest.raises(FrameRejected):
        normalizer.normalize(np.full((HEIGHT, WIDTH, 3), 99.0))
    assert normalizer.normalize(np.full((HEIGHT, WIDTH, 3), 1.0))[0].max() == 255


@pytest.mark.slow
@settings(deadline=None)
@given(
    st.lists(st.integers(0, 17), max_size=5),
    st.sampled_from(["u1", "i4", "f2", "f4", "f8", "?", "c8"]),
    st.sampled_from([0.0, 0.5, -0.5, 300.0, np.nan, np.inf]),
)
def test_any_array_is_a_frame_or_is_refused(shape: list[int], dtype: str, value: float) -> None:
    array = np.zeros(shape, dtype)
    if array.dtype.kind == "f":
        array[...] = value
    try:
        pictures = normalize(array)
    except FrameRejected:
        return
    assert sum(picture.size for picture in pictures) > 0


# torch --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def torch() -> Any:
    return pytest.importorskip("torch")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_tensor_of_any_layout_keeps_its_pixels(torch: Any, layout: str) -> None:
    count, arrange = LAYOUTS[layout]
    block = colours(count)
    tensor = torch.from_numpy(np.ascontiguousarray(arrange(block)))
    np.testing.assert_array_equal(np.stack(normalize(tensor)), block)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64", "float8_e4m3fn"])
def test_a_tensor_of_floats_is_converted_within_its_own_precision(torch: Any, dtype: str) -> None:
    block = colours(2)
    tensor = (torch.from_numpy(block) / 127.5 - 1).permute(0, 3, 1, 2).to(getattr(torch, dtype))
    tolerance = {"bfloat16": 1, "float8_e4m3fn": 9}.get(dtype, 0)
    difference = np.stack(normalize(tensor)).astype(int) - block
    assert np.abs(difference).max() <= tolerance


def test_a_negated_or_conjugated_view_is_shown_right(torch: Any) -> None:
    block = colours()[0]
    values = torch.from_numpy(block.astype(np.float32) / 127.5 - 1)
    negated = torch.complex(torch.zeros_like(values), -values).conj().imag
    assert negated.is_neg()
    np.testing.assert_array_equal(normalize(negated)[0], block)
    with pytest.raises(FrameRejected, match="complex64"):
        normalize(torch.complex(values, values).conj())


def test_a_nested_tensor_is_refused(torch: Any) -> None:
    with pytest.raises(FrameRejected, match="nested"):
        normalize(
            torch.nested.nested_tensor([torch.zeros(3, 16, 16), torch.zeros(3, 16, 20)], layout=torch.jagged)
        )


def test_a_tensor_is_not_changed_and_may_want_gradients(torch: Any) -> None:
    tensor = torch.rand(3, HEIGHT, WIDTH, requires_grad=True)
    before = tensor.detach().clone()
    normalize(tensor)
    assert torch.equal(tensor, before)
    with torch.inference_mode():
        inferred = torch.rand(3, HEIGHT, WIDTH)
    assert len(normalize(inferred)) == 1


def test_an_ambiguous_tensor_has_channels_first_and_an_ambiguous_array_channels_last(torch: Any) -> None:
    values = np.arange(4 * 20 * 4, dtype=np.uint32).astype(np.uint8).reshape(4, 20, 4)
    np.testing.assert_array_equal(normalize(values)[0], values[..., :3])
    np.testing.assert_array_equal(normalize(torch.from_numpy(values))[0], values[:3].transpose(1, 2, 0))


@pytest.mark.parametrize("what", ["NaN", "infinity", "integers", "latent", "empty", "sparse", "meta", "huge"])
def test_a_tensor_that_is_not_a_frame_is_refused(torch: Any, what: str) -> None:
    tensor = {
        "NaN": lambda: torch.full((3, HEIGHT, WIDTH), float("nan"), dtype=torch.bfloat16),
        "infinity": lambda: torch.full((3, HEIGHT, WIDTH), float("inf")),
        "integers": lambda: torch.zeros((3, HEIGHT, WIDTH), dtype=torch.int32),
        "latent": lambda: torch.zeros((1, 16, 60, 80)),
        "empty": lambda: torch.zeros((3, 0, WIDTH)),
        "sparse": lambda: torch.zeros((HEIGHT, WIDTH)).to_sparse(),
        "meta": lambda: torch.zeros((3, HEIGHT, WIDTH), device="meta"),
        "huge": lambda: torch.zeros(1, dtype=torch.uint8).expand(3, 16000, 16000),
    }[what]()
    with pytest.raises(FrameRejected, match="torch tensor of shape"):
        FrameNormalizer().normalize(tensor)
