"""The course of the road: what nature decides, as two slow random numbers per frame.

While the car moves, new road comes up at the horizon. How it bends and how it rises there is `Course.next()`:
a smoothed random walk that is pulled back to zero. In training the game builds its road from these numbers and the
network is told them; at play they come from the seed, so a seed is a road.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

#: bend, rise; each roughly standard normal
COURSE_SIZE = 2
#: Frames after which a bend has mostly become another one.
_MEMORY_FRAMES = (45.0, 35.0)
#: The innovations pass two first-order low passes of this length, so that no bend begins with a jerk.
_SMOOTH_FRAMES = 8.0


class Course:
    """`count` independent courses; `next()` returns (count, 2) float32."""

    def __init__(self, random: np.random.Generator, count: int = 1) -> None:
        self._random = random
        self._walk = random.standard_normal((count, COURSE_SIZE))
        self._smooth = self._walk.copy()
        self._keep = np.exp(-1.0 / np.asarray(_MEMORY_FRAMES))

    def next(self) -> npt.NDArray[np.float32]:
        shock = self._random.standard_normal(self._walk.shape)
        self._walk = self._keep * self._walk + np.sqrt(1 - self._keep**2) * shock
        self._smooth += (self._walk - self._smooth) / _SMOOTH_FRAMES
        return self._smooth.astype(np.float32)
