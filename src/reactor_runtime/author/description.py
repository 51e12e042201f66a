"""From a model's class to what clients can know of it: `ModelInfo`, plain values which cross to the server."""

from __future__ import annotations

from ..types import MAIN_VIDEO, WEBCAM, ModelInfo, Track
from .model import VideoModel
from .schema import commands_of, first_line


def describe(
    model_class: type, *, name: str, version: str, fps: float | None = None, video_input: bool = False
) -> ModelInfo:
    """Say what clients can know of a model without constructing it."""
    return ModelInfo(
        name=name,
        version=version,
        description=first_line(model_class),
        tracks=tracks_of(model_class, video_input=video_input),
        commands=tuple(definition.spec for definition in commands_of(model_class).values()),
        fps=fps if fps is not None else getattr(model_class, "fps", None),
        first_frame=getattr(model_class, "first_frame", ""),
    )


def tracks_of(model_class: type, *, video_input: bool) -> tuple[Track, ...]:
    """Return the tracks that a class declares, the main one first."""
    tracks = [Track(MAIN_VIDEO, "video", "out")]
    if video_input or getattr(model_class, "on_frame", None) is not VideoModel.on_frame:
        tracks.append(Track(getattr(model_class, "input_track", WEBCAM), "video", "in"))
    return tuple(tracks)
