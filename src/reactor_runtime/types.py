"""Values that cross a seam: between processes, between the session and a peer, onto the wire.

All are frozen; all clocks are `time.monotonic()` seconds, which Linux and macOS share between
processes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from . import limits

JsonValue: TypeAlias = "bool | int | float | str | list[Any] | dict[str, Any] | None"
JsonObject: TypeAlias = dict[str, Any]
Pixels: TypeAlias = npt.NDArray[np.uint8]

#: The output track of every model, and the input track of a model that gives it no other name.
MAIN_VIDEO = "main_video"
WEBCAM = "webcam"


class Role(Enum):
    """What a visitor is to the server, the least first; each may do what those before it may."""

    WATCH = "watch"
    VOTE = "vote"
    DRIVE = "drive"
    OPERATE = "operate"


@dataclass(frozen=True, slots=True)
class Track:
    """A named media slot, seen from the model: `out` is what it emits, `in` is what it receives."""

    name: str
    kind: Literal["video", "audio"]
    direction: Literal["in", "out"]


def track_names(tracks: Sequence[Track], direction: Literal["in", "out"]) -> tuple[str, ...]:
    """Return the names of the video tracks of one direction, the main one first."""
    return tuple(track.name for track in tracks if track.kind == "video" and track.direction == direction)


@dataclass(frozen=True, slots=True)
class CommandSpec:
    """One command as clients see it. `parameters` is a JSON Schema object (draft 2020-12).

    `reply` is the JSON Schema of the message it answers with, its `title` the message's type name. `shown` has the
    `x-` keys of its operation: words for a page.
    """

    name: str
    description: str
    parameters: JsonObject
    reply: JsonObject | None = None
    shown: JsonObject = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What is known of a model without constructing it (plus `fps`, which the constructor may set)."""

    name: str
    version: str
    description: str
    tracks: tuple[Track, ...]
    commands: tuple[CommandSpec, ...]
    fps: float | None = None
    #: What to expect until the first frame, in the author's words.
    first_frame: str = ""


@dataclass(frozen=True, slots=True)
class UploadedFile:
    """An upload that a command refers to. `name` is the client's text and never a path."""

    upload_id: str
    name: str
    mime_type: str
    data: bytes


@dataclass(frozen=True, slots=True)
class CommandCall:
    """A command on its way to the model. `command_id` counts up from 1 within a session.

    `uploads` has the files that it names by parameter, and by upload id those that `arguments` refer to with
    an object of the four keys upload_id, name, mime_type and size.
    """

    command_id: int
    name: str
    arguments: JsonObject
    uploads: Mapping[str, UploadedFile] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Cue:
    """A command and its place in a session that was written down before; see `CommandOutcome` for the place."""

    frame_id: int
    call: CommandCall
    waits: int = 0


@dataclass(frozen=True, slots=True)
class CommandOutcome:
    """What became of a command: a reply (None = plain acknowledgement), or `code` and why.

    `raised` is what its handler raised, where `message` only says that it did: for the model's author alone.

    It ran before frame `frame_id`, after the model had yielded None `waits` times since the frame before
    that: where a replay has to run it again. For a blocking loop: what was next when its handler ended.
    """

    command_id: int
    reply: JsonObject | None = None
    reply_type: str = ""
    code: str = ""
    message: str = ""
    field: str = ""
    raised: str = ""
    frame_id: int = 0
    waits: int = 0

    @property
    def accepted(self) -> bool:
        return not self.code


@dataclass(frozen=True, slots=True)
class ModelMessage:
    """A message of the model to every viewer (`get_ctx().send`)."""

    type: str
    data: JsonObject


@dataclass(frozen=True, slots=True)
class LogLine:
    """One record of the model's log, or one line that it printed. `level` is one of `logging`'s.

    `logger` is the name that the author's code logged under, "" for what was printed and for this package's
    words on the author's code. Only tracebacks and messages with line ends have several lines.
    """

    text: str
    level: int = logging.INFO
    logger: str = ""

    def cut(self) -> LogLine:
        """Return it within the bounds of a record."""
        return LogLine(self.text[: limits.LOG_RECORD_MAX], self.level, self.logger[:200])


@dataclass(frozen=True, slots=True)
class EmittedFrame:
    """One frame of the model.

    pixels        (height, width, 3) uint8 RGB, read-only; valid until `release()` is called
    emitted_s     when the author's code called emit
    busy_s        how long the model's own code ran before it, since its last emit returned
    command_id    the last command whose handler had finished, 0 for none
    release       give the memory back; call it exactly once, from any thread
    track         the output track that it belongs to; ids count up by one within a track
    """

    frame_id: int
    pixels: Pixels
    emitted_s: float
    busy_s: float
    command_id: int
    release: Callable[[], None]
    track: str = MAIN_VIDEO


@dataclass(frozen=True, slots=True)
class Demand:
    """What a track's playout wants of the model: frame `frame_id` at `due_s`, each later one `interval_s` on.

    While `watched` is false on every track, nobody sees the frames and the model is held after a few.
    """

    frame_id: int
    due_s: float
    interval_s: float
    watched: bool
    track: str = MAIN_VIDEO


@dataclass(frozen=True, slots=True)
class InputFrame:
    """The newest frame of an input track: (height, width, 3) uint8 RGB, and when it arrived.

    `np.asarray(frame)` is its pixels, `PIL.Image.fromarray(frame)` a picture of them, and it can be emitted.
    """

    pixels: Pixels
    """(height, width, 3) uint8 RGB."""
    frame_id: int
    """Counts up from 1 within a session; frames that the model was too slow for are left out."""
    arrived_s: float
    """When it arrived, in seconds of this machine's `time.monotonic()`."""
    track: str = WEBCAM
    """Which input track it came on."""

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[Any]:
        if copy is None:  # numpy 1 does not know a copy that is made only where it must be
            return np.asarray(self.pixels, dtype=dtype)
        return np.array(self.pixels, dtype=dtype, copy=copy)

    @property
    def __array_interface__(self) -> dict[str, Any]:
        # Told strides, Pillow asks for `tobytes` and not for a buffer, which Python 3.11 cannot offer.
        return {**self.pixels.__array_interface__, "strides": self.pixels.strides}

    def tobytes(self) -> bytes:
        """Return the pixels row by row."""
        return self.pixels.tobytes()


Codec: TypeAlias = Literal["h264", "vp8"]


@dataclass(frozen=True, slots=True)
class EncodedFrame:
    """One encoded picture, ready for any number of viewers. H.264 is Annex B with in-band SPS/PPS."""

    data: bytes
    codec: Codec
    keyframe: bool
    width: int
    height: int
    frame_id: int
    pts_us: int
    """When it was encoded, in microseconds of the monotonic clock."""
