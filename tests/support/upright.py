"""What is seen of a camera or film that says which way is up: a model that shows it, and how it should look.

expect_upright(lambda: page.evaluate(f"() => {{ {SEEN} }}"), as_shown(film, degrees))
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from reactor_runtime.types import Pixels

from .films import corners

#: Shows the model's view of its camera.
MODEL = """
    import numpy as np
    from reactor_runtime import VideoModel, get_ctx

    class Model(VideoModel):
        fps = 30

        def start_session(self):
            while True:
                camera = get_ctx().input_frame()
                yield np.full((120, 120, 3), 128, np.uint8) if camera is None else camera.pixels
"""
#: [width, height, then the colour of each corner] of the displayed picture.
SEEN = """
    const video = document.querySelector('#video');
    const canvas = document.createElement('canvas');
    canvas.width = video.videoWidth; canvas.height = video.videoHeight;
    const context = canvas.getContext('2d', {willReadFrequently: true});
    context.drawImage(video, 0, 0);
    return [canvas.width, canvas.height, ...[[1, 1], [3, 1], [1, 3], [3, 3]].map(([x, y]) =>
      Array.from(context.getImageData(x * canvas.width / 4, y * canvas.height / 4, 1, 1).data.slice(0, 3)))];
"""


def as_shown(film: Path, degrees: int) -> Pixels:
    """Return the first picture as ffmpeg shows it."""
    raw = ("-frames:v", "1", "-f", "rawvideo", "-pix_fmt", "rgb24", "-")
    shown = subprocess.run(["ffmpeg", "-v", "error", "-i", film, *raw], capture_output=True, check=True)
    width, height = (120, 160) if degrees % 180 else (160, 120)
    return np.frombuffer(shown.stdout, np.uint8).reshape(height, width, 3)


def expect_upright(look: Callable[[], Any], wanted: Pixels, *, within_s: float = 20) -> None:
    """Wait until the displayed picture lies and looks as it should."""
    give_up_s = time.monotonic() + within_s
    upright, seen = (wanted.shape[0] > wanted.shape[1], corners(wanted)), None
    while seen != upright:
        assert time.monotonic() < give_up_s, f"{seen} is shown and not {upright}"
        time.sleep(0.05)
        width, height, *colours = look()
        seen = height > width, corners(np.array(colours, np.uint8).reshape(2, 2, 3).repeat(4, 0).repeat(4, 1))
