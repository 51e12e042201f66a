"""Pictures in commands: what is taken, what is refused, and that nothing large is decoded to find out."""

from __future__ import annotations

import base64
import gzip
import io
import re
import struct
import time
import tracemalloc
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import numpy as np
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reactor_runtime import Image, VideoModel, command, decode_base64_image, limits
from reactor_runtime.author.images import decode
from reactor_runtime.author.schema import commands_of
from reactor_runtime.errors import CommandRejected
from reactor_runtime.types import CommandCall, JsonObject, UploadedFile

SIZE = (40, 30)


class Painter(VideoModel):
    @command("show")
    def show(self, photo: Image, more: list[Image] | None = None) -> None: ...


SHOW = commands_of(Painter)["show"]


def file_of(kind: str, picture: PIL.Image.Image | None = None, **options: object) -> bytes:
    buffer = io.BytesIO()
    (picture or PIL.Image.linear_gradient("L").resize(SIZE).convert("RGB")).save(buffer, kind, **options)
    return buffer.getvalue()


def text_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def refusal(arguments: JsonObject, **uploads: UploadedFile) -> CommandRejected:
    with pytest.raises(CommandRejected) as caught:
        SHOW.arguments(CommandCall(1, "show", arguments, uploads))
    return caught.value


KINDS = {
    "png": lambda: file_of("PNG"),
    "jpeg": lambda: file_of("JPEG"),
    "progressive jpeg": lambda: file_of("JPEG", progressive=True),
    "lossy webp": lambda: file_of("WEBP"),
    "lossless webp": lambda: file_of("WEBP", lossless=True),
    "webp with alpha": lambda: file_of("WEBP", PIL.Image.new("RGBA", SIZE, (1, 2, 3, 4)), exif=b"Exif\0\0"),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("prefix", ["", "data:image/png;base64,", "data:;base64,"])
def test_base64_text_becomes_an_rgb_picture(kind: str, prefix: str) -> None:
    picture = decode_base64_image(prefix + text_of(KINDS[kind]()))
    assert (picture.mode, picture.size, picture.info) == ("RGB", SIZE, {})


def test_base64_may_be_broken_into_lines() -> None:
    text = base64.encodebytes(KINDS["png"]()).decode()
    assert decode_base64_image(text).size == SIZE


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_every_mode_becomes_rgb(mode: str) -> None:
    source = PIL.Image.new("L", SIZE, 200)
    if mode == "I;16":
        source = PIL.Image.fromarray(np.full((SIZE[1], SIZE[0]), 200 * 257, np.uint16))
    elif mode == "1":
        source = PIL.Image.new("1", SIZE, 1)
    else:
        source = source.convert(mode)
    picture = decode(file_of("PNG", source))
    expected = 255 if mode == "1" else 200
    assert picture.getpixel((3, 3)) == (expected,) * 3


def test_cmyk_becomes_rgb() -> None:
    assert decode(file_of("JPEG", PIL.Image.new("CMYK", SIZE))).getpixel((0, 0)) == (255, 255, 255)


def test_what_is_transparent_shows_white() -> None:
    assert decode(file_of("PNG", PIL.Image.new("RGBA", SIZE, (255, 0, 0, 0)))).getpixel((0, 0)) == (
        255,
        255,
        255,
    )


def test_orientation_is_applied_and_metadata_dropped() -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "where I live"
    picture = decode(file_of("JPEG", exif=exif, comment=b"secret"))
    assert picture.size == SIZE[::-1]
    assert not picture.info
    assert not dict(picture.getexif())


def test_broken_exif_is_ignored() -> None:
    assert decode(file_of("JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")).size == SIZE


def test_the_second_picture_that_phones_append_is_cut_off() -> None:
    assert decode(file_of("JPEG") + file_of("JPEG") + b"motion").size == SIZE


#: What phones, editors and tools write behind a picture, and browsers and Pillow read past.
TRAILERS = {
    "line end": b"\r\n",
    "padding": b"\0" * 5000,
    "blanks": b"  \n",
    "samsung": b"\0\0\1\x0aUtcData1700000000SEFHk\0\0\0\1\0\0\0SEFT",
    "motion photo": b"\0\0\0\x18ftypmp42\0\0\0\0isommp42" + bytes(range(256)) * 40,
    "archive": b"PK\3\4...",
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("trailer", TRAILERS)
def test_what_follows_a_picture_is_cut_off(kind: str, trailer: str) -> None:
    plain = KINDS[kind]()
    assert decode(plain + TRAILERS[trailer]).tobytes() == decode(plain).tobytes()


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_of_an_animation_the_first_picture_is_taken(kind: str) -> None:
    red, green, blue = np.asarray(decode(animation(kind)))[3, 3].tolist()
    assert red > 240
    assert max(green, blue) < 10


def test_an_upload_is_the_argument_of_its_name() -> None:
    file = UploadedFile("id-1", "../../x.png", "image/png", file_of("PNG"))
    arguments = SHOW.arguments(CommandCall(1, "show", {}, {"photo": file}))
    assert arguments["photo"].size == SIZE
    assert arguments["more"] is None


@pytest.mark.parametrize(
    "spelled", ["0a1b2c3d-0000-4000-8000-00000000ffff", "0A1B2C3D00004000800000000000FFFF"]
)
def test_a_reference_inside_the_arguments_finds_its_upload(spelled: str) -> None:
    file = UploadedFile("0a1b2c3d00004000800000000000ffff", "x.png", "image/png", file_of("PNG"))
    reference = {"upload_id": spelled, "name": "x.png", "mime_type": "image/png", "size": 9}
    call = CommandCall(1, "show", {"photo": reference, "more": [reference]}, {spelled: file})
    assert [picture.size for picture in SHOW.arguments(call)["more"]] == [SIZE]


def test_an_upload_that_no_parameter_takes_is_refused() -> None:
    file = UploadedFile("id-1", "x.png", "image/png", file_of("PNG"))
    error = refusal({"photo": text_of(file_of("PNG"))}, other=file)
    assert (error.field, str(error)) == ("other", "other: unexpected argument")


def test_an_unknown_upload_is_refused() -> None:
    reference = {"upload_id": "nope", "name": "x", "mime_type": "image/png", "size": 1}
    assert refusal({"photo": reference}).field == "photo"


def bomb(side: int) -> bytes:
    """A small PNG that claims to be huge, as an 81 KB base64 text can."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n"
        + header
        + png_chunk(b"IDAT", zlib.compress(b"\0" * 1000))
        + png_chunk(b"IEND", b"")
    )


def icc_bomb() -> bytes:
    profile = png_chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(8 << 20)))
    png = file_of("PNG")
    return png[:33] + profile + png[33:]


def png_with_text(kind: bytes, head: bytes) -> bytes:
    """A PNG with a compressed text that unpacks to 16 MiB."""
    png = file_of("PNG")
    return png[:33] + png_chunk(kind, head + zlib.compress(bytes(16 << 20))) + png[33:]


def icc_jpeg() -> bytes:
    """A JPEG with 6 MB of profile and no end, as an upload may bring it."""
    body = b"ICC_PROFILE\0\1\1" + bytes(60_000)
    segment = b"\xff\xe2" + struct.pack(">H", len(body) + 2) + body
    jpeg = file_of("JPEG")
    return jpeg[:2] + segment * 100 + jpeg[2:-20]


def many_frames() -> bytes:
    """An animated PNG of which the first picture is cut off and a thousand further frames are not."""
    png = file_of("PNG")
    frame = png_chunk(b"fcTL", bytes(26)) + png_chunk(b"fdAT", bytes(100))
    return png[:33] + png_chunk(b"acTL", struct.pack(">II", 1000, 0)) + frame * 1000 + png_chunk(b"IEND", b"")


def huge_jpeg() -> bytes:
    data = bytearray(file_of("JPEG"))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", 60000, 60000)
    return bytes(data)


def huge_webp(animated: bool = False) -> bytes:
    still = file_of("WEBP", PIL.Image.new("RGBA", SIZE, (1, 2, 3, 4)), exif=b"Exif\0\0")
    data = bytearray(animation("WEBP") if animated else still)
    assert data[12:16] == b"VP8X"
    data[24:30] = (16382).to_bytes(3, "little") * 2
    return bytes(data)


def animation(kind: str) -> bytes:
    frames = [PIL.Image.new("RGB", SIZE, colour) for colour in ("red", "blue")]
    return file_of(kind, frames[0], save_all=True, append_images=frames[1:], duration=50)


EVIL: dict[str, tuple[Callable[[], bytes], str]] = {
    "8000 pixels": (lambda: bomb(8000), "8000x8000"),
    "16000 pixels": (lambda: bomb(16_000), "16000x16000"),
    "huge animated webp": (lambda: huge_webp(animated=True), "16383x16383"),
    "no pixels": (lambda: bomb(0), "0x0"),
    "huge jpeg": (huge_jpeg, "60000x60000"),
    "huge webp": (huge_webp, "16383x16383"),
    "a header that lies": (lambda: bomb(4000), "truncated"),
    "compressed profile": (icc_bomb, "cannot be decoded"),
    "compressed text": (lambda: png_with_text(b"zTXt", b"x\0\0"), "cannot be decoded"),
    "compressed international text": (lambda: png_with_text(b"iTXt", b"x\0\1\0\0\0"), "cannot be decoded"),
    "profile without end": (icc_jpeg, "truncated"),
    "animation without its first picture": (many_frames, "truncated"),
    "gif that is a script too": (lambda: b"GIF89a/*" + bytes(20) + b"*/=1;alert(1)", "looks like GIF"),
    "document around a picture": (lambda: b"%PDF-1.7\n" + file_of("JPEG"), "not a PNG"),
    "archive before a picture": (lambda: b"PK\3\4" + file_of("PNG"), "not a PNG"),
    "compressed svg": (lambda: gzip.compress(b"<svg xmlns='http://www.w3.org/2000/svg'/>"), "not a PNG"),
    "svg that names a file": (
        lambda: (
            b'<!DOCTYPE svg [<!ENTITY x SYSTEM "file:///etc/passwd">]>'
            b"<svg xmlns='http://www.w3.org/2000/svg'>&x;</svg>"
        ),
        "looks like SVG",
    ),
    "gif": (lambda: file_of("GIF"), "not a PNG, JPEG or WEBP"),
    "avif": (lambda: file_of("AVIF"), "not a PNG, JPEG or WEBP picture; it looks like AVIF"),
    "svg": (lambda: b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a PNG"),
    "tiff": (lambda: file_of("TIFF"), "not a PNG"),
    "postscript": (lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n", "not a PNG"),
    "empty": (lambda: b"", "not a PNG"),
    "truncated png": (lambda: file_of("PNG")[:-20], "truncated"),
    "truncated jpeg": (lambda: file_of("JPEG")[:-20], "truncated"),
    "truncated webp": (lambda: file_of("WEBP")[:-20], "truncated"),
    "png of nothing but chunks": (
        lambda: file_of("PNG")[:33] + png_chunk(b"tEXt", b"") * 30_000,
        "truncated",
    ),
}


@pytest.mark.parametrize("what", EVIL)
def test_an_evil_picture_is_refused_with_the_field_and_the_reason(what: str) -> None:
    make, reason = EVIL[what]
    text = text_of(make())
    tracemalloc.start()
    try:
        error = refusal({"photo": text})
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert error.field == "photo"
    assert error.code == "invalid_command"
    assert reason in str(error)
    assert peak < 8 * len(text) + 5_000_000
    file = UploadedFile("id", "x", "image/png", make())
    assert refusal({}, photo=file).field == "photo"


def resident_kb(which: str) -> int:
    """Read this process's memory: VmRSS now, VmHWM at its highest since `forget_the_highest`."""
    found = re.search(rf"{which}:\s+(\d+)", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1])


def forget_the_highest() -> None:
    Path("/proc/self/clear_refs").write_text("5")  # proc_pid_clear_refs(5)


@pytest.mark.slow
@pytest.mark.alone
def test_an_evil_picture_is_refused_within_20_ms_and_5_mb(
    record_property: Callable[[str, object], None],
) -> None:
    for kind in KINDS:
        decode(KINDS[kind]())  # the decoders' own first needs
    slowest_s, most_kb = 0.0, 0
    for what, (make, _) in EVIL.items():
        # As a command's text where it would fit into a message, else as an upload.
        data = make()
        fits = len(data) * 4 // 3 < limits.MESSAGE_MAX_BYTES
        text, file = text_of(data), UploadedFile("id", "x", "image/png", data)
        took_s = []
        for _ in range(5):
            forget_the_highest()
            before_kb, began_s = resident_kb("VmRSS"), time.perf_counter()
            error = refusal({"photo": text}) if fits else refusal({}, photo=file)
            took_s.append(time.perf_counter() - began_s)
            grown_kb = resident_kb("VmHWM") - before_kb
            most_kb = max(most_kb, grown_kb)
            assert error.field == "photo"
            assert grown_kb <= 5_000, what
        slowest_s = max(slowest_s, min(took_s))
        # 20 ms on a quiet machine.
        assert min(took_s) <= 0.06, what
    record_property(
        "measured",
        f"{len(EVIL)} pictures, the slowest in {slowest_s * 1000:.1f} ms, +{most_kb / 1000:.1f} MB",
    )


@pytest.mark.parametrize("side", [1, 7, 300, 2000])
@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_a_picture_of_one_colour_packs_well_and_is_no_lie(mode: str, side: int) -> None:
    if mode == "I;16":
        plain = PIL.Image.fromarray(np.zeros((side, side), np.uint16))
    else:
        plain = PIL.Image.new(mode, (side, side))
    assert decode(file_of("PNG", plain, compress_level=9)).size == (side, side)


@pytest.mark.parametrize(
    "spell",
    [
        lambda text: text.replace("+", "-").replace("/", "_"),
        lambda text: text.rstrip("="),
        lambda text: "data:image/png;base64," + text.rstrip("="),
        lambda text: "DATA:image/PNG;BASE64," + text,
        lambda text: "data:image/png;charset=utf-8; base64 ," + text,
        lambda text: " \n data:;base64, " + text + "\n",
        lambda text: "data:image/png;base64," + quote(text, safe=""),
        lambda text: "data:image/png;base64," + text.replace("A", "%41\r\n"),
    ],
)
def test_base64_is_read_however_it_is_spelled(spell: Callable[[str], str]) -> None:
    data = file_of("PNG") + b"\xfb\xff\xfe"  # has both signs in which the alphabets differ, and padding
    text = text_of(data)
    assert {"+", "/", "="} <= set(text)
    assert decode_base64_image(spell(text)).size == SIZE


@pytest.mark.parametrize("text", ["not base64!", "data:image/png,abc", "AAAAA", "A===A", "%41%41", "\0", "ä"])
def test_text_that_is_not_base64_is_refused(text: str) -> None:
    with pytest.raises(CommandRejected, match="not base64"):
        decode_base64_image(text)


@pytest.mark.slow
@settings(deadline=None, max_examples=300)
@given(st.sampled_from(sorted(KINDS)), st.data())
def test_mutated_pictures_are_decoded_or_refused_and_nothing_else(kind: str, data: st.DataObject) -> None:
    original = bytearray(KINDS[kind]())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(original) - 1))
        original[at : at + data.draw(st.integers(1, 4))] = data.draw(st.binary(max_size=4))
    with suppress(ValueError):
        assert decode(bytes(original)).mode == "RGB"
