"""The model that the published clients are tested with, and how to read its picture.

The left half of the picture is the colour that `paint` set; the right half shows the webcam, else the picture
that was uploaded, else blue. Both are plain enough to be read off one pixel after any codec.
"""

from __future__ import annotations

from pathlib import Path

from .server import write_model

WIDTH, HEIGHT = 320, 240
#: Where a colour of the picture is read: (x, y) in the middle of each half.
LEFT, RIGHT = (80, 120), (240, 120)

MODEL = """
    import os
    import cv2
    import numpy as np
    from pydantic import BaseModel, Field
    from reactor_runtime import CommandError, Image, VideoModel, command, get_ctx

    class State(BaseModel):
        red: int
        camera: bool

    class Model(VideoModel):
        fps = 30

        def __init__(self):
            self.reset()

        def reset(self):
            self.red = 0
            self.half = np.full((240, 160, 3), (20, 20, 200), np.uint8)
            self.failing = self.small = False

        def start_session(self):
            while True:
                if self.failing:
                    raise RuntimeError("secret of the model")
                picture = np.zeros((240, 320, 3), np.uint8)
                picture[:, :160, 0] = self.red
                camera = get_ctx().input_frame()
                picture[:, 160:] = self.half if camera is None else cv2.resize(camera.pixels, (160, 240))
                yield np.ascontiguousarray(picture[::2, ::2]) if self.small else picture

        @command("paint", description="How red the left half is")
        def paint(self, red: int = Field(..., ge=0, le=255)):
            self.red = red

        @command("show", description="Show a picture in the right half")
        def show(self, picture: Image):
            self.half = np.asarray(picture.resize((160, 240)), np.uint8)

        @command("halve", description="Half of each side from now on, or the whole again")
        def halve(self, small: bool):
            self.small = small

        @command("ask", description="Ask what is shown")
        def ask(self) -> State:
            return State(red=self.red, camera=get_ctx().input_frame() is not None)

        @command("announce", description="Tell everyone")
        def announce(self, text: str = Field("hello", max_length=40)):
            get_ctx().send({"text": text}, type="announcement")

        @command("refuse", description="Is always refused")
        def refuse(self, why: str = ""):
            raise CommandError("not_now", f"come back later{why}", field="why")

        @command("fail", description="Raise in the loop")
        def fail(self):
            self.failing = True

        @command("crash", description="End the process")
        def crash(self):
            os._exit(3)
"""


def write_client_model(folder: Path) -> Path:
    """Write the model into a folder; return what `reactor run` takes."""
    return write_model(folder, MODEL, video_input=True)
