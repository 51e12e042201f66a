"""What is done to a model in a session without a user: commands.jsonl ⇄ cues. Pure.

One JSON object a line, blank lines and lines that begin with # left out:

    {"frame": 1, "command": "set_prompt", "arguments": {"prompt": "a lighthouse"}}
    {"at_s": 2.5, "command": "nudge", "arguments": {"key": "W"}}

`frame` counts from 1: the command runs before that frame is made, or before the next block of frames if
that frame is the second of a block or a later one. `at_s` is a time of the film, so at 30 frames a second 2.5 is
frame 76. `waits` is for a generator that yields None until it is told something: how many None it has
yielded since the frame before. Without it the command runs before `start_session()` begins its work.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ..errors import MessageRejected, ScriptRejected
from ..strict_json import parse_object
from ..types import CommandCall, Cue, JsonObject


class Line(BaseModel):
    """One line of a script."""

    model_config = ConfigDict(extra="forbid", strict=True)

    command: str = Field(min_length=1)
    arguments: JsonObject = Field(default_factory=dict)
    frame: Annotated[int, Field(ge=1)] | None = None
    at_s: Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)] | None = None
    waits: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _has_one_place(self) -> Line:
        if (self.frame is None) == (self.at_s is None):
            raise ValueError('give either "frame" or "at_s"')
        return self

    def frame_at(self, fps: float) -> int:
        """Return the frame before which this runs, in a film of so many frames a second."""
        if self.frame is not None:
            return self.frame
        assert self.at_s is not None
        # A thousandth of a frame forgives 0.1 s at 30 frames a second for being 3.0000000000000004 frames.
        return math.floor(self.at_s * fps + 0.001) + 1


def read_script(lines: Iterable[str], *, fps: float, file: str = "script") -> list[Cue]:
    """Return the cues of a script in the order they run; those of one place keep the order of their lines.

    Raises ScriptRejected with the line that is wrong.
    """
    found: list[tuple[int, int, Line]] = []
    for number, text in enumerate(lines, start=1):
        if not text.strip() or text.lstrip().startswith("#"):
            continue
        line = _read_line(text, f"{file}, line {number}")
        found.append((line.frame_at(fps), line.waits, line))
    found.sort(key=lambda entry: entry[:2])
    return cues_of((frame, waits, line.command, line.arguments) for frame, waits, line in found)


def cues_of(commands: Iterable[tuple[int, int, str, JsonObject]]) -> list[Cue]:
    """Return cues for (frame, waits, name, arguments) in order; command ids count up from 1."""
    return [
        Cue(frame, CommandCall(number, name, arguments), waits)
        for number, (frame, waits, name, arguments) in enumerate(commands, start=1)
    ]


def unreached(cues: Sequence[Cue], *, frames: int) -> list[Cue]:
    """Return the cues that come after the last of so many frames."""
    return [cue for cue in cues if cue.frame_id > frames]


def _read_line(text: str, where: str) -> Line:
    example = '{"frame": 1, "command": "set_prompt", "arguments": {"prompt": "a lighthouse"}}'
    try:
        return Line.model_validate(parse_object(text))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(map(str, first["loc"]))
        problem = f'"{key}": {first["msg"]}' if key else first["msg"]
    except MessageRejected as error:
        problem = str(error)
    raise ScriptRejected(f"{where}: {problem}.\n  Fix: write a line like {example}")
