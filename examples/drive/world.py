"""The world as the network dreams it: pictures in, keys in, the next picture out. ONNX Runtime on the CPU, no torch.

The file says what it was trained with in its metadata; training/network.py says what it computes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from course import Course
from keys import ACTION_SIZE, Action

Pixels = npt.NDArray[np.uint8]

WIDTH, HEIGHT = 96, 64
#: How many times as wide and as high it is shown.
LARGER = 4
#: How many frames ago the pictures were that the network sees.
CONTEXT = (1, 2, 3, 4, 8, 16)
#: Actions of the frame to come and the three before it.
ACTIONS = 4
#: How many frames ago the numbers of the course were that the network is told.
COURSES = (0, 8, 16, 24)
#: What the network remembers besides the pictures, and brings up to date itself at each frame: plain numbers of
#: about -1 to 1, the first of which change; then circles, each the cosine and the sine of an angle. In training the
#: game says what they should be: speed, place across the road, steering, where one looks and the road ahead, then the
#: colours; how far along the stripes, dashes, kerbs one is, and the compass.
PLAIN, CHANGING, CIRCLES = 65, 25, 4
MEMORY = PLAIN + 2 * CIRCLES
#: Makes the next picture; reads what is to be remembered off the first; makes pictures larger.
GRAPHS = ("drive.onnx", "reader.onnx", "enlarger.onnx")


class World:
    """One drive at a time; `begin` starts another. Not for two threads."""

    def __init__(self, folder: Path, *, threads: int = 1) -> None:
        """Load GRAPHS from `folder`."""
        import onnxruntime  # type: ignore[import-untyped]  # it ships no types

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        # Idle threads would spin on the core that encodes the video.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")

        def loaded(name: str) -> Any:
            return onnxruntime.InferenceSession(folder / name, options, providers=["CPUExecutionProvider"])

        self._session, self._reader, self._enlarger = map(loaded, GRAPHS)
        self.begin(np.zeros((HEIGHT, WIDTH, 3), np.uint8), seed=0)

    def begin(self, picture: Pixels, seed: int) -> None:
        """Stand still in `picture`, (64, 96, 3) RGB, on the road that `seed` draws."""
        first = picture.transpose(2, 0, 1).astype(np.float32) / 255
        # Newest first.
        self._pictures = np.repeat(first[None], max(CONTEXT), axis=0)
        self._actions = np.zeros((ACTIONS, ACTION_SIZE), np.float32)
        (self._memory,) = self._reader.run(["memory"], {"picture": first[None]})
        self._course = Course(np.random.default_rng(seed))
        self._courses = np.repeat(self._course.next(), max(COURSES) + 1, axis=0)

    @property
    def latest(self) -> npt.NDArray[np.float32]:
        """The last picture as the network made it, (3, 64, 96) in 0..1."""
        return np.asarray(self._pictures[0], np.float32)

    def step(self, action: Action) -> Pixels:
        """Go on by one frame; return it, (64, 96, 3) RGB."""
        self._actions = np.concatenate([action[None], self._actions[:-1]])
        self._courses = np.concatenate([self._course.next(), self._courses[:-1]])
        condition = np.concatenate([self._actions.ravel(), self._courses[list(COURSES)].ravel()])
        context = self._pictures[np.array(CONTEXT) - 1]
        given = {"pictures": context[None], "condition": condition[None], "memory": self._memory}
        picture, self._memory = self._session.run(["picture", "remembered"], given)
        self._pictures = np.concatenate([picture, self._pictures[:-1]])
        return _pixels(picture)

    def enlarged(self) -> Pixels:
        """Return the last picture as it is shown, (256, 384, 3) RGB."""
        (larger,) = self._enlarger.run(["larger"], {"picture": self._pictures[:1]})
        return _pixels(larger)


def _pixels(picture: npt.NDArray[np.float32]) -> Pixels:
    return np.asarray((picture[0].transpose(1, 2, 0) * 255).round(), np.uint8)
