"""Run a logged session again, and find the first frame that is not what it was.

    log ─cues, seed─▶ render ─frame─▶ Comparison ─▶ first difference, with both pictures side by side

For a generator every command runs where it ran, so the frames are the same or the model has changed. A
blocking loop's commands ran beside it, at a moment that no frame can tell: they are run between the frame before
and the frame that saw them, and a difference may be just that.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from ..errors import LogRejected
from ..session_log.digests import digest_of
from ..session_log.lines import Saw, SessionLog, read_log
from ..types import EmittedFrame, ModelInfo, Pixels
from .render import Rendered, Take, Viewfinder, render

_NO_CAMERA = (
    "the model waits for the camera, whose pictures the log does not have.\n"
    "  Fix: replay a session that did not need it."
)
#: How much a difference is amplified in the picture of it.
_AMPLIFY = 4
_GAP = 4


@dataclass(slots=True)
class Comparison:
    """Frames of a replay against the digests of a log. `first_difference` is the frame's id, None for none."""

    expected: dict[int, Saw]
    compared: int = 0
    first_difference: int | None = None
    side_by_side: Pixels | None = None
    after: int = 0
    """The last frame before it that was compared, and equal: the difference may have begun behind it."""

    def see(self, frame: EmittedFrame) -> None:
        saw = self.expected.get(frame.frame_id)
        if saw is None or self.first_difference is not None:
            return
        self.compared += 1
        if digest_of(frame.pixels) == saw.digest:
            self.after = frame.frame_id
            return
        self.first_difference = frame.frame_id
        self.side_by_side = side_by_side(saw, frame.pixels)


@dataclass(slots=True)
class Replayed:
    """What a replay found. Equal: every digest that the log has was seen again."""

    rendered: Rendered
    comparison: Comparison
    warnings: list[str] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)
    """Commands that were answered in another way than then."""

    @property
    def missing(self) -> int:
        """Digests of frames that the replay did not come to."""
        if self.comparison.first_difference is not None:
            return 0
        return len(self.comparison.expected) - self.comparison.compared

    @property
    def equal(self) -> bool:
        found = self.comparison
        return found.first_difference is None and not self.missing and found.compared > 0 and not self.answers


def open_log(file: Path) -> SessionLog:
    """Read a log for a replay. Raises LogRejected for one that cannot be replayed."""
    try:
        with file.open(encoding="utf-8") as lines:
            log = read_log(lines, file=str(file))
    except (OSError, UnicodeDecodeError) as error:
        raise LogRejected(f"{file} cannot be read: {error}.\n  Fix: name a session log.") from None
    if log.began.redacted and log.commands:
        raise LogRejected(
            f"{file} was written with its texts redacted, so its commands cannot be given again.\n"
            "  Fix: log without --log-redact where sessions are to be replayed."
        )
    if not log.last_frame:
        raise LogRejected(f"{file}: the session ended before its first frame.\n  Fix: take another log.")
    return log


async def replay(
    log: SessionLog,
    manifest: Path,
    show: Viewfinder,
    *,
    stall_s: float = 300.0,
    tell: Callable[[str], None] = lambda line: None,
) -> Replayed:
    """Run the session of a log again, with its arguments, seed and commands, and compare."""
    comparison = Comparison({saw.frame: saw for saw in log.frames})
    warnings = [f"the log lacks {lack}; frames may differ" for lack in log.inexact()]

    def loaded(info: ModelInfo) -> None:
        for what, then, now in (
            ("model", log.began.model, info.name),
            ("version", log.began.version, info.version),
        ):
            if then != now:
                warnings.append(f"the {what} was {then} and is {now}")

    def see(frame: EmittedFrame) -> None:
        comparison.see(frame)
        show(frame)

    take = Take(
        manifest,
        log.began.args,
        frames=log.last_frame,
        seed=log.began.seed,
        cues=log.cues(),
        stall_s=stall_s,
        lacks="" if log.camera is None else _NO_CAMERA,
    )
    rendered = await render(take, see, loaded=loaded, log=tell)
    return Replayed(rendered, comparison, warnings, _answers(log, rendered))


def _answers(log: SessionLog, rendered: Rendered) -> list[str]:
    """Say which commands were accepted then and refused now, or the other way round."""
    now = {outcome.command_id: outcome.code for outcome in rendered.outcomes}
    return [
        f"{ran.name} before frame {ran.frame}: {ran.code or 'accepted'} then, {now[number] or 'accepted'} now"
        for number, ran in enumerate(log.commands, start=1)
        if number in now and now[number] != ran.code
    ]


def side_by_side(then: Saw, now: Pixels) -> Pixels:
    """Return three pictures of one height: the log's small one enlarged, the replay's, and what differs, brighter.

    Without a picture in the log, only the replay's.
    """
    if not then.picture:
        return now.copy()
    jpeg = np.frombuffer(base64.b64decode(then.picture), np.uint8)
    small = cv2.imdecode(jpeg, cv2.IMREAD_COLOR)
    if small is None:
        return now.copy()
    height, width = now.shape[:2]
    past = cv2.cvtColor(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), cv2.COLOR_BGR2RGB)
    # Both as coarse as the log's picture, or every edge would light up.
    coarse = cv2.resize(now, (small.shape[1], small.shape[0]), interpolation=cv2.INTER_AREA)
    blurred = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    differs = np.clip(cv2.absdiff(past, blurred).astype(np.uint16) * _AMPLIFY, 0, 255).astype(np.uint8)
    gap = np.full((height, _GAP, 3), 255, np.uint8)
    return np.hstack([past, gap, now, gap, differs])
