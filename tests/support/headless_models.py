"""Small models for the tests of rendering, replaying and checking: what a session did can be read off a pixel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .host_events import write_model

PIXELS = """
import random
import numpy as np
from pydantic import Field
from reactor_runtime import CommandError, VideoModel, command, get_ctx


def picture(*levels):
    frame = np.zeros((32, 48, 3), np.uint8)
    for place, level in enumerate(levels):
        frame[:, place] = int(level) % 256
    return frame
"""

#: A generator: column 0 is the frame's number, 1 the level, 2 how often a command was tried.
STEPS = (
    PIXELS
    + """
class Model(VideoModel):
    fps = 30

    def __init__(self, block=1, bug_from=0):
        self.block, self.bug_from = block, bug_from
        self.reset()

    def reset(self):
        self.level, self.tries, self.text = 0, 0, ""

    def start_session(self):
        noise = np.random.default_rng(get_ctx().seed)
        number = 0
        while True:
            frames = []
            for _ in range(self.block):
                number += 1
                wrong = 1 if self.bug_from and number >= self.bug_from else 0
                frames.append(picture(number, self.level + wrong, self.tries, len(self.text),
                                      noise.integers(256), random.randrange(256), np.random.randint(256)))
            yield np.stack(frames)

    @command
    def set_level(self, level: int = Field(..., ge=0, le=255)):
        self.level = level

    @command
    def set_text(self, text: str):
        self.text = text

    @command
    def refuse(self):
        self.tries += 1
        raise CommandError("no", "never")
"""
)

#: The same as a blocking loop.
LOOP = (
    PIXELS
    + """
class Model(VideoModel):
    fps = 30

    def __init__(self):
        self.reset()

    def reset(self):
        self.level = 0

    def start_session(self):
        number = 0
        while not get_ctx().should_stop():
            number += 1
            get_ctx().emit_frame(picture(number, self.level))

    @command
    def set_level(self, level: int = Field(..., ge=0, le=255)):
        self.level = level
"""
)

#: Forgets at its beginning, waits for a command, and works in several steps per frame.
WAITER = (
    PIXELS
    + """
class Model(VideoModel):
    fps = 30

    def start_session(self):
        self.level, number, steps = None, 0, 0
        while self.level is None:
            yield None
        while True:
            total = 0
            for step in range(4):
                total += self.level
                yield None
            number += 1
            yield picture(number, total)

    @command
    def set_level(self, level: int = Field(..., ge=0, le=255)):
        self.level = level
"""
)

#: Shows its camera.
MIRROR = (
    PIXELS
    + """
class Model(VideoModel):
    fps = 10

    def start_session(self):
        while True:
            seen = get_ctx().input_frame()
            yield picture(0) if seen is None else np.ascontiguousarray(seen.pixels)
"""
)

#: Shows nothing before its camera does.
CAMERA_WAITER = (
    PIXELS
    + """
class Model(VideoModel):
    fps = 10

    def start_session(self):
        while get_ctx().input_frame() is None:
            yield None
        while True:
            yield np.ascontiguousarray(get_ctx().input_frame().pixels[:64, :64])

    def on_frame(self, frame):
        pass
"""
)


def steps(folder: Path, **args: Any) -> Path:
    return write_model(folder, STEPS, **args)
