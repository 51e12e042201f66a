"""Pictures inside commands: base64 text or an upload → a PIL picture, with limits before decoding.

`Image` is a parameter type: the handler gets an RGB `PIL.Image.Image`. Size, format and the end of the picture
are read from the bytes here, before Pillow sees them; what phones and editors write behind that end is cut
off. Then Pillow decodes the first frame with the one plugin of that format. EXIF orientation is applied and all
metadata dropped. Runs in the model process, on the thread of the handler.
"""

from __future__ import annotations

import base64
import binascii
import io
import re
import struct
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Annotated, Any, TypeAlias
from urllib.parse import unquote

import PIL.Image
from PIL import ImageOps, JpegImagePlugin, PngImagePlugin, WebPImagePlugin
from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from .. import limits
from ..errors import CommandRejected
from ..types import UploadedFile
from .arguments import UPLOADS
from .documents import UPLOAD_REFERENCE

_PLUGINS: dict[str, Callable[[io.BytesIO], PIL.Image.Image]] = {
    "PNG": PngImagePlugin.PngImageFile,
    "JPEG": JpegImagePlugin.JpegImageFile,
    "WEBP": WebPImagePlugin.WebPImageFile,
}
_BASE64_MAX = limits.UPLOAD_MAX_BYTES * 4 // 3 + 4
_NOT_AN_IMAGE = f"not a {', '.join(limits.IMAGE_FORMATS[:-1])} or {limits.IMAGE_FORMATS[-1]} picture"
_DATA_URL = re.compile(r"\A\s*data:[^,]{0,128};\s*base64\s*,", re.IGNORECASE)
#: RFC 4648 section 5; also without its padding, as `toString("base64url")` and JWT libraries write it.
_URL_SAFE = str.maketrans("-_", "+/")
_TRUNCATED = "the picture is truncated"
#: Chunks or segments that are walked to find the end; honest files have a few thousand at most.
_PARTS_MAX = 20_000
#: What deflate makes of one byte at most (zlib, "Technical Details"), and a PNG pixel's samples by its colour type.
_DEFLATE_MAX = 1032
_PNG_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}


def decode_base64_image(text: str) -> PIL.Image.Image:
    """Decode base64 text, with or without a `data:` prefix, into an RGB picture.

    For `str` arguments; a parameter of type `Image` has been through the same. Raises CommandRejected,
    which as it leaves a handler refuses the command.
    """
    try:
        return decode(_from_base64(text))
    except ValueError as error:
        raise CommandRejected(f"not a usable picture: {error}") from None


def decode(data: bytes) -> PIL.Image.Image:
    """Decode one PNG, JPEG or WebP file into RGB. Raises ValueError with the reason."""
    kind, width, height, end = _measure(data)
    _check_size(width, height)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a client's odd file is no news for the operator
            picture = _PLUGINS[kind](io.BytesIO(data[:end]))
            if picture.size != (width, height):
                raise ValueError("the file contradicts its own header")
            picture.load()
            return _plain_rgb(picture)
    except Exception as error:  # a decoder of untrusted bytes raises what it likes
        if "truncated" in str(error):
            raise ValueError(_TRUNCATED) from None
        raise ValueError(f"the {kind} data cannot be decoded ({type(error).__name__})") from None


def _check_size(width: int, height: int) -> None:
    if not (0 < width <= limits.IMAGE_MAX_SIDE and 0 < height <= limits.IMAGE_MAX_SIDE):
        side = limits.IMAGE_MAX_SIDE
        raise ValueError(f"{width}x{height} pixels; the limit is {side}x{side}")


def _plain_rgb(picture: PIL.Image.Image) -> PIL.Image.Image:
    upright = picture
    with suppress(Exception):  # unreadable EXIF says nothing
        upright = ImageOps.exif_transpose(picture)
    if upright.mode.startswith("I"):  # 16 bit grey, which Pillow would clip instead of scale
        upright = upright.convert("I").point(lambda value: value / 256).convert("L")
    if upright.has_transparency_data:
        upright = upright.convert("RGBA")
        white = PIL.Image.new("RGBA", upright.size, "white")
        upright = PIL.Image.alpha_composite(white, upright)
    rgb = upright.convert("RGB")
    return PIL.Image.frombytes("RGB", rgb.size, rgb.tobytes())


def _from_base64(text: str) -> bytes:
    if len(text) > _BASE64_MAX + 200:
        raise ValueError(f"more than {limits.UPLOAD_MAX_BYTES} bytes")
    body = _DATA_URL.sub("", text)
    if len(body) < len(text) and "%" in body:
        body = unquote(body)
    body = re.sub(r"\s+", "", body).translate(_URL_SAFE).rstrip("=")
    try:
        return base64.b64decode(body + "=" * (-len(body) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("not base64 text") from None


# What the bytes say before anything decodes them -----------------------------------------------------


def _measure(data: bytes) -> tuple[str, int, int, int]:
    """Return (format, width, height, length of the file proper)."""
    try:
        if data.startswith(b"\x89PNG\r\n\x1a\n"):
            return "PNG", *_measure_png(data)
        if data.startswith(b"\xff\xd8\xff"):
            return "JPEG", *_measure_jpeg(data)
        if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            return "WEBP", *_measure_webp(data)
    except (struct.error, IndexError):
        raise ValueError(_TRUNCATED) from None
    raise ValueError(_NOT_AN_IMAGE + _looks_like(data))


def _looks_like(data: bytes) -> str:
    """Name what people often take for one of ours; a name that ends in .jpg says little."""
    if data[4:8] == b"ftyp":
        return f"; it looks like {'AVIF' if data[8:11] == b'avi' else 'HEIC or a film'}"
    for start, name in (
        (b"GIF8", "GIF"),
        (b"BM", "BMP"),
        (b"II*\0", "TIFF"),
        (b"MM\0*", "TIFF"),
        (b"<", "SVG or HTML"),
    ):
        if data.startswith(start):
            return f"; it looks like {name}"
    return ""


def _measure_png(data: bytes) -> tuple[int, int, int]:
    if data[12:16] != b"IHDR":
        raise ValueError(_NOT_AN_IMAGE)
    width, height, bits, colour = struct.unpack_from(">IIBB", data, 16)
    _check_size(width, height)
    at, packed = 8, 0
    for _ in range(_PARTS_MAX):
        if at >= len(data):
            break
        (length,) = struct.unpack_from(">I", data, at)
        kind = data[at + 4 : at + 8]
        at += 12 + length
        if kind == b"IDAT":
            packed += length
        if kind == b"IEND" and at <= len(data):
            # Pillow would make room for all rows before it missed them.
            if packed * _DEFLATE_MAX < width * height * bits * _PNG_SAMPLES.get(colour, 0) // 8:
                break
            return width, height, at
    raise ValueError(_TRUNCATED)


_JPEG_MARKER = re.compile(rb"\xff+[^\x00\xff\xd0-\xd7]")
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def _measure_jpeg(data: bytes) -> tuple[int, int, int]:
    """Walk the segments (ITU-T T.81 annex B): the frame header has the size, EOI is the end.

    What follows EOI is a gain map, a thumbnail, a film, a phone's own trailer.
    """
    at = 2
    size: tuple[int, int] | None = None
    for _ in range(_PARTS_MAX):
        found = _JPEG_MARKER.search(data, at)
        if found is None:
            break
        marker, at = data[found.end() - 1], found.end()
        if marker == 0xD9:
            if size is None:
                raise ValueError(_NOT_AN_IMAGE)
            return *size, at
        if marker in _JPEG_FRAMES:
            height, width = struct.unpack_from(">HH", data, at + 3)
            if size not in (None, (width, height)):
                raise ValueError("the file contradicts its own header")
            size = (width, height)
        if marker != 0x01:
            at += struct.unpack_from(">H", data, at)[0]
    raise ValueError(_TRUNCATED)


def _measure_webp(data: bytes) -> tuple[int, int, int]:
    """Read the first chunk (RFC 9649): Pillow allocates two canvases as soon as it opens the file."""
    end = 8 + struct.unpack_from("<I", data, 4)[0]
    if end > len(data):
        raise ValueError(_TRUNCATED)
    kind = data[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little"), end
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF), end
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF, end
    raise ValueError(_NOT_AN_IMAGE)


# The parameter type ----------------------------------------------------------------------------------


class ReactorUploadReference(BaseModel):
    """How a command names a file that was uploaded before."""

    model_config = ConfigDict(extra="forbid", json_schema_extra=lambda schema: _as_published(schema))

    upload_id: str = Field(max_length=64)
    name: str
    mime_type: str
    size: int


def _as_published(schema: dict[str, Any]) -> None:
    schema.clear()
    schema.update(UPLOAD_REFERENCE)


class _PictureArgument:
    """Tells pydantic how text or a reference becomes a picture."""

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        given = core_schema.union_schema(
            [
                handler.generate_schema(ReactorUploadReference),
                core_schema.str_schema(
                    max_length=_BASE64_MAX + 200,
                    metadata={
                        "pydantic_js_updates": {"contentEncoding": "base64", "contentMediaType": "image/*"}
                    },
                ),
            ],
            custom_error_type="image_type",
            custom_error_message="should be a picture: base64 text, or the reference of an upload",
        )
        return core_schema.with_info_after_validator_function(_picture, given)


def _picture(given: str | ReactorUploadReference, info: core_schema.ValidationInfo) -> PIL.Image.Image:
    if isinstance(given, str):
        return decode(_from_base64(given))
    uploads: Mapping[str, UploadedFile] = (info.context or {}).get(UPLOADS, {})
    upload = uploads.get(given.upload_id)
    if upload is None:
        raise ValueError("the upload is not known")
    return decode(upload.data)


Image: TypeAlias = Annotated[PIL.Image.Image, _PictureArgument()]
"""A picture argument: clients send base64 text or an upload, the handler gets an RGB `PIL.Image.Image`."""
