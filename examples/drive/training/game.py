"""The game that the network learns from: a car on a road, many games at once.

Never shown live. `Games.step(actions)` moves every game by one frame and draws it (drawing.py); all arrays have the
games as their first axis. Lengths are in half road widths; the camera is one above the road. No pattern moves by more
than a fifth of its period in a frame, or its direction would be a guess.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from course import COURSE_SIZE, Course
from keys import ACTION_SIZE
from world import PLAIN

from training.drawing import BAND, DASH, DISTANCES, FAR, KERB, TOP_SPEED, Canvas, Frames, Reals, Scene
from training.looks import COLOURS, LOOKS, colours_of, random_look

#: The road is kept in pieces of this length, from the car to the far end and a little further.
_PIECE = 0.5
_PIECES = int(FAR / _PIECE) + 3
#: The network remembers the road ahead as the mean course of this many stretches of so many pieces.
_STRETCHES, _PIECES_A_STRETCH = 10, 8
#: What a course of 1 is as curvature across and upwards, per unit length.
_BEND = 0.011
_RISE = 0.002

CRUISE_SPEED = 0.3
_SPEED_UP, _SLOW_DOWN = 0.03, 0.06
_STEER_RATE = 0.055
_LOOK_X, _LOOK_X_RATE = 14.0, 2.0
_LOOK_Y, _LOOK_Y_RATE = 5.0, 1.0
_LATERAL_LIMIT = 1.4
#: How strongly a bend carries the car outwards.
_DRIFT = 2.2


@dataclass(frozen=True, slots=True)
class Step:
    """One frame of every game."""

    #: (count, 3, 64, 96) float32 RGB, 0..1
    frames: Frames
    #: (count, 3, 64, 96) float32: how far right and how far down of it each pixel was in the frame before, and 1
    #: where that is known. Nobody sees it; it is what the network's own guess of the motion is compared with.
    motion: Reals
    #: (count, 2) float32
    course: Reals
    #: (count, 73) float32: what the network is to remember after this frame, as world.py describes it
    memory: Reals
    begun: npt.NDArray[np.bool_]


class Games:
    """`count` games, each restarted with another look after some hundreds of frames."""

    def __init__(self, random: np.random.Generator, count: int, *, looks: list[str] | None = None) -> None:
        """`looks` fixes each game's look by name and lets no game end."""
        self._random = random
        self._count = count
        self._course = Course(random, count)
        self._looks = looks
        self._colours = np.zeros((count, len(COLOURS), 3), np.float32)
        self._roundness = np.zeros(count, np.float32)
        self._left = np.zeros(count, np.int64)
        self._position = np.zeros(count, np.float32)
        self._speed = np.zeros(count, np.float32)
        self._lateral = np.zeros(count, np.float32)
        self._heading = np.zeros(count, np.float32)
        self._steer = np.zeros(count, np.float32)
        self._look = np.zeros((count, 2), np.float32)
        self._braking = np.zeros(count, np.float32)
        self._road = np.zeros((count, _PIECES, COURSE_SIZE), np.float32)
        self._canvas = Canvas()
        self._restart(np.ones(count, bool))
        #: What was drawn last.
        self.scene = self._scene()

    @property
    def speed(self) -> Reals:
        """Length per frame."""
        return self._speed

    @property
    def lateral(self) -> Reals:
        """Where each car is across the road: -1 the left edge, 1 the right."""
        return self._lateral

    def _restart(self, which: npt.NDArray[np.bool_]) -> None:
        """Start these games: standing somewhere on another road."""
        for i in np.flatnonzero(which):
            if self._looks is None:
                self._colours[i], self._roundness[i] = random_look(self._random)
            else:
                look = LOOKS[self._looks[i]]
                self._colours[i], self._roundness[i] = colours_of(look), look.roundness
            self._left[i] = self._random.integers(150, 450) if self._looks is None else 2**40
            self._position[i] = self._random.uniform(0, 48)
            self._lateral[i] = self._random.uniform(-0.7, 0.7)
            self._heading[i] = self._random.uniform(0, 2 * np.pi)
            self._speed[i] = 0.0
            self._steer[i] = self._braking[i] = 0.0
            self._look[i] = 0.0
            # Roads that have been under way for a while, without waiting for it.
            ahead = Course(self._random)
            self._road[i] = [ahead.next()[0] for _ in range(_PIECES)]

    def begin(self) -> Frames:
        """Return what is seen before anything moves: (count, 3, 64, 96) in 0..1."""
        return self._draw()[0]

    def step(self, actions: Reals) -> Step:
        """Move by one frame and draw it; which games began anew is in what is returned."""
        course, memory, begun = self.move(actions)
        frames, motion = self._draw()
        return Step(frames, motion, course, memory, begun)

    def move(self, actions: Reals) -> tuple[Reals, Reals, npt.NDArray[np.bool_]]:
        """`step` without drawing: the course, the memory, and which began anew."""
        course = self._course.next()
        self._left -= 1
        begun = self._left < 0
        if begun.any():
            self._restart(begun)
        self._move(actions * ~begun[:, None], course)
        return course, self.memory(), begun

    def memory(self) -> Reals:
        """Return the state of the games by the numbers that the network remembers."""
        road = self._road[:, : _STRETCHES * _PIECES_A_STRETCH]
        road = road.reshape(self._count, _STRETCHES, _PIECES_A_STRETCH, COURSE_SIZE).mean(2)
        plain = [
            self._speed[:, None] / TOP_SPEED,
            self._lateral[:, None],
            self._steer[:, None],
            self._look / [_LOOK_X, _LOOK_Y],
            road.reshape(self._count, -1),
            self._colours.reshape(self._count, -1) * 2 - 1,
            self._roundness[:, None] * 2 - 1,
        ]
        turns = [2 * np.pi * self._position / period for period in (BAND, DASH, KERB)]
        angles = np.stack([*turns, self._heading], 1)
        circles = np.stack([np.cos(angles), np.sin(angles)], 2).reshape(self._count, -1)
        memory = np.concatenate([*plain, circles], 1).astype(np.float32)
        assert sum(part.shape[1] for part in plain) == PLAIN
        return memory

    def _move(self, actions: Reals, course: Reals) -> None:
        throttle, brake, left, right, look_x, look_y = actions.T
        target = np.where(brake > 0, 0.0, np.where(throttle > 0, TOP_SPEED, CRUISE_SPEED))
        self._speed += np.clip(target - self._speed, -_SLOW_DOWN, _SPEED_UP).astype(np.float32)
        self._braking = brake.copy()
        steer = right - left
        self._steer += np.clip(steer - self._steer, -0.5, 0.5)
        bend = self._road[:, 0, 0] * _BEND
        # Standing wheels do not move a car sideways.
        grip = np.minimum(1.0, self._speed / 0.2)
        self._lateral += _STEER_RATE * grip * (0.35 * self._steer + 0.65 * steer)
        self._lateral -= _DRIFT * bend * self._speed**2
        self._lateral = np.clip(self._lateral, -_LATERAL_LIMIT, _LATERAL_LIMIT).astype(np.float32)
        self._heading += bend * self._speed
        for axis, (reach, rate) in enumerate(((_LOOK_X, _LOOK_X_RATE), (_LOOK_Y, _LOOK_Y_RATE))):
            wanted = (look_x, look_y)[axis] * reach
            self._look[:, axis] += np.clip(wanted - self._look[:, axis], -rate, rate)
        before = self._position
        self._position = before + self._speed
        for piece in range(2):  # top speed passes at most two pieces
            passed = np.floor(self._position / _PIECE) - np.floor(before / _PIECE) > piece
            self._road[passed] = np.roll(self._road[passed], -1, axis=1)
            self._road[passed, -1] = course[passed]

    def _ahead(self) -> tuple[Reals, Reals]:
        """Return how far the road lies to the right of the car, and its height, at each of DISTANCES."""
        curvature = self._road * np.array([_BEND, _RISE], np.float32)
        slope = np.cumsum(curvature, axis=1) * _PIECE
        offset = np.cumsum(slope, axis=1) * _PIECE
        # Sub-piece motion: the profile is read from where the car stands within the first piece.
        within = (self._position % _PIECE)[:, None]
        at = (DISTANCES[None, :] + within) / _PIECE - 1
        low = np.floor(at).astype(np.int64)
        share = (at - low)[..., None].astype(np.float32)
        games = np.arange(self._count)[:, None]
        value = (1 - share) * offset[games, low] + share * offset[games, low + 1]
        # Both are tangential to the car: what the first piece has already turned is taken out.
        origin = (1 - within / _PIECE)[..., None]
        base = offset[:, :1] - slope[:, :1] * _PIECE * origin
        value = value - base - slope[:, :1] * (DISTANCES[None, :, None])
        return value[..., 0] - self._lateral[:, None], value[..., 1]

    def _scene(self) -> Scene:
        side, rise = self._ahead()
        return Scene(
            position=self._position.copy(), heading=self._heading.copy(), steer=self._steer.copy(),
            speed=self._speed.copy(), braking=self._braking.copy(), look=self._look.copy(),
            colours=self._colours.copy(), roundness=self._roundness.copy(), side=side, rise=rise,
        )  # fmt: skip

    def _draw(self) -> tuple[Frames, Reals]:
        before, self.scene = self.scene, self._scene()
        return self._canvas.draw(self.scene, before)


class Players:
    """`count` players, who hold keys for a while and mostly come back to the road."""

    def __init__(self, random: np.random.Generator, count: int) -> None:
        self._random = random
        self._held = np.zeros((count, ACTION_SIZE), np.float32)
        self._left = np.zeros((count, 3), np.int64)

    def next(self, lateral: Reals) -> Reals:
        """Return actions (count, 6) for cars at these places across the road."""
        random, count = self._random, len(self._held)
        self._left -= 1
        pedals, wheel, eyes = (self._left < 0).T
        choice = random.random(count)
        self._held[pedals, 0] = (choice < 0.5)[pedals]
        self._held[pedals, 1] = (choice > 0.85)[pedals]
        # Whoever is off the middle steers back more often than not.
        pull = np.where(np.abs(lateral) > 0.4, -0.3 * np.sign(lateral), 0.0)
        choice = random.random(count) + pull
        self._held[wheel, 2] = (choice < 0.33)[wheel]
        self._held[wheel, 3] = (choice > 0.67)[wheel]
        choice = random.random((2, count))
        self._held[eyes, 4] = ((choice[0] > 0.8).astype(np.float32) - (choice[0] < 0.2))[eyes]
        self._held[eyes, 5] = ((choice[1] > 0.85).astype(np.float32) - (choice[1] < 0.15))[eyes]
        for column, (low, high) in enumerate(((8, 45), (2, 16), (3, 18))):
            due = self._left[:, column] < 0
            self._left[due, column] = random.integers(low, high, int(due.sum()))
        return self._held.copy()
