"""A moving test card with a command of every parameter kind: the page's test bed, the benchmarks' null model.

Written as a generator: commands run between two frames on this thread, so the same commands at the same
frames give the same pictures. With `stamp` each picture also says when it was emitted; see stamp.py.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import cv2
import numpy as np
import stamp as stamps
from picture import Look, Palette, Pixels, Scene, draw
from pydantic import BaseModel, Field

from reactor_runtime import CommandError, Image, Show, VideoModel, command, get_ctx

INSET = (160, 120)
NUDGES = {"W": (0, -8), "A": (-8, 0), "S": (0, 8), "D": (8, 0)}


@dataclass(frozen=True, slots=True)
class Config:
    width: int
    height: int
    pace_fps: float
    pace: Literal["sleep", "emit"]
    stamp: bool


class Status(BaseModel):
    """What `status` replies."""

    frame: int
    text: str
    palette: str
    shapes: int
    camera: bool


class TestCard(VideoModel):
    """A moving test card with a command of every kind."""

    def __init__(
        self,
        width: int = 640,
        height: int = 480,
        fps: float = 30,
        pace: Literal["sleep", "emit"] = "emit",
        stamp: bool = False,
        camera: bool = True,
    ) -> None:
        """`pace`: "sleep" keeps its own time, "emit" is paced by emit alone. `camera` shows the webcam."""
        self.fps = fps
        self._config = Config(width, height, fps, pace, stamp)
        self._camera = camera
        self.reset()
        self._draw()  # makes the first backdrop now rather than in front of the first user

    def start_session(self) -> Iterator[Pixels | None]:
        """Yield pictures until the session ends."""
        due_s = time.monotonic()
        while True:
            if self._config.pace == "sleep":
                due_s = max(due_s + 1 / self._config.pace_fps, time.monotonic())
                while (left_s := due_s - time.monotonic()) > 0:
                    if get_ctx().wait(left_s):
                        yield None  # lets the command that woke us run now
            yield self._next()

    @command("reset", description="Back to how it began")
    def reset(self) -> None:
        """Forget everything that was set. The runtime calls it between two users, too."""
        self._scene = Scene()
        self._frame = 0
        self._mark = 0
        self._picture: Pixels | None = None

    def _next(self) -> Pixels:
        self._frame += 1
        self._scene.phase += self._scene.speed
        picture = self._draw()
        self._scene.flash = max(self._scene.flash - 1, 0)
        if self._config.stamp:
            stamps.draw(picture, stamps.Stamp.at(time.time(), frame=self._frame, command=self._mark))
        return picture

    def _draw(self) -> Pixels:
        config = self._config
        scene = replace(self._scene, inset=self._inset())
        return draw(scene, self._frame, width=config.width, height=config.height, fps=config.pace_fps)

    def _inset(self) -> Pixels | None:
        """The webcam if it sends, else the picture that was set, else nothing."""
        camera = get_ctx().input_frame() if self._camera and self._frame else None
        if camera is None:
            return self._picture
        return np.asarray(cv2.resize(camera.pixels, INSET, interpolation=cv2.INTER_AREA), np.uint8)

    @command("set_text", description="Write a line of text")
    def set_text(
        self,
        text: Annotated[str, Show(placeholder="A line of text", examples=["Hello", "Good evening"])] = Field(
            ..., max_length=40, description="Latin letters"
        ),
    ) -> None:
        self._scene.text = text

    @command("set_subtitle", description="Write a second line, or remove it")
    def set_subtitle(self, text: str | None = Field(None, max_length=60)) -> None:
        self._scene.subtitle = text

    @command("set_speed", description="How fast everything moves; 0 stands still")
    def set_speed(self, speed: float = Field(1.0, ge=0, le=4)) -> None:
        self._scene.speed = speed

    @command("set_count", description="How many shapes move")
    def set_count(self, count: int = Field(1, ge=0, le=8)) -> None:
        self._scene.count = count

    @command("show_clock", description="Show or hide the clock")
    def show_clock(self, on: bool = True) -> None:
        self._scene.clock = on

    @command("set_palette", description="Colours of the backdrop")
    def set_palette(self, palette: Palette = "aurora") -> None:
        self._scene.palette = palette

    @command("set_look", description="Radius, colour and shape of what moves")
    def set_look(self, look: Look) -> None:
        self._scene.look = look

    @command("set_bars", description="Draw bars of these heights")
    def set_bars(self, levels: Annotated[list[float], Field(max_length=24)]) -> None:
        self._scene.bars = tuple(min(max(level, 0.0), 1.0) for level in levels)

    @command(
        "nudge",
        description="Push the shapes: W up, A left, S down, D right",
        hint="W A S D to push the shapes",
        primary=True,
    )
    def nudge(self, key: Literal["W", "A", "S", "D"]) -> None:
        (x, y), (dx, dy) = self._scene.offset, NUDGES[key]
        self._scene.offset = (x + dx, y + dy)

    @command("set_picture", description="Show a picture in the corner")
    def set_picture(self, picture: Image) -> None:
        self._picture = np.asarray(picture.resize(INSET), np.uint8)

    @command("flash", description="Light up the border for ten frames")
    def flash(self) -> None:
        self._scene.flash = 10

    @command("go_to", description="Jump to a later frame number")
    def go_to(self, frame: int = Field(..., ge=0, le=999_999)) -> None:
        if frame < self._frame:
            raise CommandError(
                "frame_passed", f"frame {frame} has passed; now is {self._frame}", field="frame"
            )
        self._scene.phase += self._scene.speed * (frame - self._frame)
        self._frame = frame

    @command("announce", description="Send a message to everyone who watches")
    def announce(self, text: str = Field(..., max_length=200)) -> None:
        get_ctx().send({"text": text, "frame": self._frame}, type="announcement")

    @command("status", description="Ask what is shown")
    def status(self) -> Status:
        scene = self._scene
        camera = get_ctx().input_frame() is not None
        return Status(
            frame=self._frame, text=scene.text, palette=scene.palette, shapes=scene.count, camera=camera
        )

    @command("mark", description="Put this number into the stamp of the following frames")
    def mark(self, number: int = Field(..., ge=0, le=65535)) -> dict[str, float]:
        self._mark = number
        return {"handled_at_ms": time.time() * 1000}
