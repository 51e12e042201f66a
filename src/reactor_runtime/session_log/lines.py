"""What happened in one session, exactly enough to repeat it: records ⇄ JSON lines. Pure.

    {"record": "session", "format": 1, "model": ..., "args": ..., "weights": ..., "seed": 7, ...}     first
    {"record": "command", "frame": 12, "waits": 0, "name": "set_prompt", "arguments": {...}, "code": ""}
    {"record": "frame", "frame": 10, "size": [480, 640], "digest": "9f…", "picture": "<a small JPEG>"}
    {"record": "camera", "frame": 31}              once: what the camera showed is not in here
    {"record": "end", "frames": 900, "code": ""}   last, unless the server was killed

A command stands where it ran: before frame `frame`, after `waits` None yielded since the frame before. Lines are
written one by one, so that a log without its end, or cut in its last line, is a log of all that came before.
Redacted, texts that are not one of a command's named choices give way to their length, and there are no pictures.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from ..errors import LogRejected
from ..types import Cue, JsonObject
from .script import cues_of

FORMAT: Final = 1


class _Record(BaseModel):
    # Newer versions may add keys; what is understood here must be as it says.
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    def line(self) -> str:
        return json.dumps(self.model_dump(), ensure_ascii=True, allow_nan=False) + "\n"


class Began(_Record):
    """The first line: what ran. `weights` maps each name to what its index says, see `weights_of`."""

    record: Literal["session"] = "session"
    format: int = FORMAT
    session_id: str
    started: str
    runtime: str
    model: str
    version: str
    model_class: str
    args: JsonObject
    weights: dict[str, str]
    seed: int
    fps: float | None
    digest_every: int
    redacted: bool


class Ran(_Record):
    """A command whose handler ran, or that was refused at this place."""

    record: Literal["command"] = "command"
    frame: int = Field(ge=1)
    waits: int = Field(ge=0)
    name: str
    arguments: JsonObject
    code: str = ""
    uploads: int = 0
    """How many uploads it named, whose bytes are not in the log."""


class Saw(_Record):
    """A frame's digest, as `render.digest_of`; `picture` is a small JPEG in base64, or ""."""

    record: Literal["frame"] = "frame"
    frame: int = Field(ge=1)
    size: tuple[int, int] = Field(strict=False)
    digest: str
    picture: str = ""


class Camera(_Record):
    """From about this frame on the model had a camera."""

    record: Literal["camera"] = "camera"
    frame: int


class Ended(_Record):
    """The last line. `code` is that of the error, "" for an ordinary end."""

    record: Literal["end"] = "end"
    frames: int
    code: str = ""


Line = Annotated[Began | Ran | Saw | Camera | Ended, Field(discriminator="record")]
_LINE: Final[TypeAdapter[Began | Ran | Saw | Camera | Ended]] = TypeAdapter(Line)


class SessionLog(BaseModel):
    """A log that was read."""

    began: Began
    commands: list[Ran] = Field(default_factory=list)
    frames: list[Saw] = Field(default_factory=list)
    camera: Camera | None = None
    ended: Ended | None = None

    @property
    def last_frame(self) -> int:
        """The last frame that a replay has to make, to see all that the log knows."""
        if self.ended is not None:
            return self.ended.frames
        return max(
            [*(frame.frame for frame in self.frames), *(ran.frame - 1 for ran in self.commands)], default=0
        )

    def cues(self) -> list[Cue]:
        """Return the commands as a replay runs them; those that were refused are refused again."""
        return cues_of((ran.frame, ran.waits, ran.name, ran.arguments) for ran in self.commands)

    def inexact(self) -> list[str]:
        """Say what the log lacks for a replay of the same frames."""
        lacks = []
        if self.camera is not None:
            lacks.append(f"the camera's pictures, from frame {self.camera.frame} on")
        if uploads := sum(ran.uploads for ran in self.commands):
            lacks.append(f"{uploads} uploaded file{'s' if uploads > 1 else ''}")
        return lacks


def read_log(lines: Iterable[str], *, file: str) -> SessionLog:
    """Return what a log says; a last line that was cut is left out. Raises LogRejected."""
    log: SessionLog | None = None
    broken = ""
    for number, text in enumerate(lines, start=1):
        if broken:
            raise LogRejected(broken)
        where = f"{file}, line {number}"
        try:
            record = _LINE.validate_json(text)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            broken = f"{where}: {first['msg']}.\n  Fix: take a log that `reactor run --log-session` wrote."
            continue
        if isinstance(record, Began) and log is None:
            if record.format != FORMAT:
                raise LogRejected(
                    f"{where}: the log has format {record.format}, and this version reads {FORMAT}.\n"
                    f"  Fix: replay it with framehelm {record.runtime}."
                )
            log = SessionLog(began=record)
            continue
        if log is None or isinstance(record, Began):
            raise LogRejected(f"{where}: a log begins with its session, once.\n  Fix: take a whole log.")
        match record:
            case Ran():
                log.commands.append(record)
            case Saw():
                log.frames.append(record)
            case Camera():
                log.camera = record
            case Ended():
                log.ended = record
    if log is None:
        raise LogRejected(broken or f"{file} is empty.\n  Fix: take a log of a session that began.")
    return log


def redacted(value: Any, schema: Any) -> Any:
    """Return arguments without their texts, but for the choices that the command's schema names."""
    if isinstance(value, str):
        return value if value in _choices(schema) else f"<{len(value)} characters>"
    if isinstance(value, list):
        return [redacted(item, schema) for item in value]
    if isinstance(value, dict):
        return {key: redacted(item, schema) for key, item in value.items()}
    return value


def _choices(schema: Any) -> set[str]:
    """Every text that a schema lists as a choice, at any depth."""
    if isinstance(schema, list):
        return set().union(*map(_choices, schema))
    if not isinstance(schema, dict):
        return set()
    named = {each for each in schema.get("enum", ()) if isinstance(each, str)}
    return named.union(*(_choices(each) for each in schema.values()))
