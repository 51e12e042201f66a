"""What crosses the pipe between the server and the model process: typed records as bytes, and back.

    u32 header length · u32 body length · header: a JSON object with "record" and the fields · body: raw bytes

Nothing is unpickled: the model process runs foreign code, so every field that comes from it is checked
against its type, and every length against its bound, before it is used. Byte fields (uploads) travel in
the body, in the order of their fields. Pixels do not travel here at all, see `ring`.

Pure: bytes in, values out. Anything wrong is a RecordError, and the end of the process that sent it.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import functools
import json
import struct
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from .. import limits
from ..running.outlet import FrameInMemory
from ..types import CommandOutcome, Demand, JsonObject, LogLine, ModelInfo, ModelMessage, UploadedFile

#: The JSON of a record: a command's arguments, a model's schema. Larger: RecordError.
HEADER_MAX_BYTES: Final = 4 * limits.MIB
#: The bytes of a record to the model: one upload. The model process sends none.
BODY_MAX_BYTES: Final = limits.UPLOAD_MAX_BYTES

_LENGTHS: Final = struct.Struct("<II")


class RecordError(Exception):
    """The other process sent something that is not a record."""


@dataclass(frozen=True, slots=True)
class Failure:
    """An error of ours by its code, with what it takes to raise it again on the other side."""

    code: str
    message: str
    file: str = ""
    key: str = ""
    fix: str = ""


# Server → model process ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Load:
    """Construct the model. `fps` is the operator's, None leaves it to the model."""

    manifest_path: str
    overrides: JsonObject
    fps: float | None
    weights: JsonObject
    """Name as the manifest writes it → folder."""
    verbose: bool = False


@dataclass(frozen=True, slots=True)
class Start:
    session_id: str
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class Stop:
    """End the session; nothing when none runs."""


@dataclass(frozen=True, slots=True)
class Close:
    """End the session and the process."""


@dataclass(frozen=True, slots=True)
class Ping:
    """Beat the io lane."""


@dataclass(frozen=True, slots=True)
class Released:
    """The server is done with a frame's memory."""

    ticket: int


@dataclass(frozen=True, slots=True)
class Input:
    """An input frame lies in the input memory, and belongs to the model process until InputDone."""

    ticket: int
    offset: int
    height: int
    width: int
    track: str
    frame_id: int
    arrived_s: float


@dataclass(frozen=True, slots=True)
class Command:
    """A `CommandCall`. `uploads` names files that crossed before it, in this session, by their upload id."""

    command_id: int
    name: str
    arguments: JsonObject
    uploads: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Weights:
    """The answer to WantWeights: a folder, or why there is none."""

    name: str
    folder: str
    failure: Failure | None


# Model process → server ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Loaded:
    info: ModelInfo


@dataclass(frozen=True, slots=True)
class WantWeights:
    """The author's code asks for weights that the manifest does not list, and waits."""

    name: str


@dataclass(frozen=True, slots=True)
class LoadFailed:
    failure: Failure


@dataclass(frozen=True, slots=True)
class FramesDiscarded:
    """The frames before this record are not to be shown any more."""


@dataclass(frozen=True, slots=True)
class InputDone:
    """An input frame was copied; `unseen`: it replaced one that the model never looked at."""

    ticket: int
    unseen: bool


@dataclass(frozen=True, slots=True)
class Metrics:
    values: JsonObject


@dataclass(frozen=True, slots=True)
class FrameFailed:
    """`on_frame` raised; the session goes on."""

    raised: str


@dataclass(frozen=True, slots=True)
class Ended:
    """start_session is over and the model is reset; `failure` is why, None for a normal end."""

    failure: Failure | None


ToModel: TypeAlias = (
    Load | Start | Stop | Close | Ping | Released | Input | Weights | UploadedFile | Command | Demand
)
ToServer: TypeAlias = (
    Loaded
    | LoadFailed
    | WantWeights
    | FrameInMemory
    | FramesDiscarded
    | InputDone
    | CommandOutcome
    | ModelMessage
    | Metrics
    | FrameFailed
    | LogLine
    | Ended
)

# Values → bytes -----------------------------------------------------------------------------------------


def encode(record: ToModel | ToServer) -> bytes:
    """Return a record as bytes. Raises RecordError when it is too large."""
    return b"".join(parts_of(record))


def parts_of(record: ToModel | ToServer) -> list[bytes]:
    """As `encode`, in pieces, of which those after the first are the record's own byte fields, uncopied."""
    body: list[bytes] = []

    def plain(value: Any) -> Any:
        if isinstance(value, bytes):
            body.append(value)
            return len(value)
        if isinstance(value, Mapping):
            return dict(value)
        return {name: getattr(value, name) for name in _names_of(value.__class__)}

    header = json.dumps({"record": type(record).__name__, **plain(record)}, default=plain).encode()
    size_bytes = sum(map(len, body))
    if len(header) > HEADER_MAX_BYTES or size_bytes > BODY_MAX_BYTES:
        raise RecordError(f"{type(record).__name__} has {len(header)} and {size_bytes} bytes")
    return [_LENGTHS.pack(len(header), size_bytes) + header, *body]


@functools.cache
def _names_of(record_class: type[Any]) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(record_class))


# Bytes → values -----------------------------------------------------------------------------------------

_Check: TypeAlias = Callable[[Any, "_BodyReader"], Any]


class _BodyReader:
    """The byte fields of one record, taken in order."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._at = 0

    def take(self, size: int) -> bytes:
        if not 0 <= size <= len(self._body) - self._at:
            raise RecordError("a byte field is longer than its record")
        self._at += size
        return self._body[self._at - size : self._at]


def _of(kind: type, *, also: type | None = None) -> _Check:
    def check(value: Any, body: _BodyReader) -> Any:
        if type(value) is kind or (also is not None and type(value) is also):
            return value
        raise RecordError(f"expected {kind.__name__}, got {type(value).__name__}")

    return check


def _check_of(annotation: Any) -> _Check:
    """Return the check of one field's type. Covers exactly the annotations that records use."""
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation is bytes:
        length = _of(int)
        return lambda value, body: body.take(length(value, body))
    if annotation is float:
        return _of(float, also=int)
    if annotation in (int, str, bool):
        return _of(annotation)
    if origin is typing.Literal:
        return _of(str)
    if dataclasses.is_dataclass(annotation):
        return _record_of(annotation)
    if origin in (types.UnionType, typing.Union):
        (inner,) = (_check_of(arg) for arg in args if arg is not type(None))
        return lambda value, body: None if value is None else inner(value, body)
    if origin is tuple:
        items, item = _of(list), _check_of(args[0])
        return lambda value, body: tuple(item(entry, body) for entry in items(value, body))
    if origin is dict:
        return _of(dict)
    if origin is collections.abc.Mapping:
        entries, entry = _of(dict), _check_of(args[1])
        return lambda value, body: {key: entry(one, body) for key, one in entries(value, body).items()}
    raise TypeError(f"records have no fields of type {annotation}")


def _record_of(record_class: Any) -> _Check:
    hints = typing.get_type_hints(record_class)
    checks = [(field.name, _check_of(hints[field.name])) for field in dataclasses.fields(record_class)]

    def build(value: Any, body: _BodyReader) -> Any:
        if type(value) is not dict:
            raise RecordError(f"{record_class.__name__} is not an object")
        try:
            return record_class(*[check(value[name], body) for name, check in checks])
        except KeyError as error:
            raise RecordError(f"{record_class.__name__} lacks {error}") from None

    return build


def _decoders(union: Any) -> dict[str, _Check]:
    return {kind.__name__: _record_of(kind) for kind in typing.get_args(union)}


TO_MODEL: Final = _decoders(ToModel)
TO_SERVER: Final = _decoders(ToServer)


class RecordReader:
    """Cuts a stream of bytes into records of one direction. Keeps at most one unfinished record."""

    def __init__(self, decoders: Mapping[str, _Check], *, body_max_bytes: int = BODY_MAX_BYTES) -> None:
        self._decoders = decoders
        self._body_max_bytes = body_max_bytes
        self._buffer = bytearray()

    @property
    def unfinished(self) -> bool:
        """A record has begun to arrive."""
        return bool(self._buffer)

    def feed(self, data: bytes) -> Iterator[Any]:
        """Yield the records that are complete now. Raises RecordError."""
        self._buffer += data
        while len(self._buffer) >= _LENGTHS.size:
            header_bytes, body_bytes = _LENGTHS.unpack_from(self._buffer)
            if header_bytes > HEADER_MAX_BYTES or body_bytes > self._body_max_bytes:
                raise RecordError(f"a record claims {header_bytes} and {body_bytes} bytes")
            split = _LENGTHS.size + header_bytes
            end = split + body_bytes
            if len(self._buffer) < end:
                return
            header, body = bytes(self._buffer[_LENGTHS.size : split]), bytes(self._buffer[split:end])
            del self._buffer[:end]
            yield self._decode(header, body)

    def _decode(self, header: bytes, body: bytes) -> Any:
        try:
            fields = json.loads(header)
            decoder = self._decoders[fields["record"]]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise RecordError(f"not a record: {type(error).__name__}") from None
        return decoder(fields, _BodyReader(body))
