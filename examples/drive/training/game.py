"""The game that the network learns from: a road drawn by the rules of perspective, many games at once.

Never shown live. `Games.step(actions)` moves every game by one frame and draws it; all arrays have the games as
their first axis. A row of the picture shows one distance, so whatever lies on the ground is worked out per row, and
its edges are filtered by the size of a pixel on the ground: nothing flickers, which a network could not learn.

Lengths are in half road widths; the camera is one above the road. No pattern moves by more than a fifth of its
period in a frame, or its direction would be a guess.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from course import COURSE_SIZE, Course
from keys import ACTION_SIZE
from world import HEIGHT, PLAIN, WIDTH

from training.looks import COLOURS, LOOKS, colours_of, random_look

_FOCAL = 60.0
_CENTRE = WIDTH / 2
_HORIZON = 25.0
#: Distances at which the road is known; the last is how far one sees.
_DISTANCES = np.geomspace(1.2, 40.0, 48).astype(np.float32)
_FAR = float(_DISTANCES[-1])
#: The road is kept in pieces of this length, from the car to the far end and a little further.
_PIECE = 0.5
_PIECES = int(_FAR / _PIECE) + 3
#: The network remembers the road ahead as the mean course of this many stretches of so many pieces.
_STRETCHES, _PIECES_A_STRETCH = 10, 8
#: What a course of 1 is as curvature across and upwards, per unit length.
_BEND = 0.011
_RISE = 0.002

TOP_SPEED, CRUISE_SPEED = 0.55, 0.3
_SPEED_UP, _SLOW_DOWN = 0.03, 0.06
_STEER_RATE = 0.055
_STEER_VIEW = 2.0
_LOOK_X, _LOOK_X_RATE = 14.0, 2.0
_LOOK_Y, _LOOK_Y_RATE = 5.0, 1.0
_LATERAL_LIMIT = 1.4
#: How strongly a bend carries the car outwards.
_DRIFT = 2.2

#: The plants stand as far apart as the bands are long, so that one number says where along both a car is.
_DASH, _KERB, _BAND = 6.0, 4.0, 8.0
_PLANTS = _BAND
_PLANT_X = 1.9

Frames = npt.NDArray[np.float32]
_Array = npt.NDArray[np.floating[Any]]

_COLUMNS = (np.arange(WIDTH, dtype=np.float32) + 0.5)[None, None, :]
_ROWS = (np.arange(HEIGHT, dtype=np.float32) + 0.5)[None, :]


@dataclass(frozen=True, slots=True)
class Step:
    """One frame of every game."""

    #: (count, 3, 64, 96) float32 RGB, 0..1
    frames: Frames
    #: (count, 3, 64, 96) float32: how far right and how far down of it each pixel was in the frame before, and 1
    #: where that is known. Nobody sees it; it is what the network's own guess of the motion is compared with.
    motion: _Array
    #: (count, 2) float32
    course: _Array
    #: (count, 73) float32: what the network is to remember after this frame, as world.py describes it
    memory: _Array
    begun: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class _View:
    """Where things are on the screen in one frame, for every game."""

    position: _Array  # (count,)
    heading: _Array  # (count,)
    turned: _Array  # (count, 1): how far everything is moved to the right
    #: (count, 48), at _DISTANCES: how far right of the car the road is, its row, the highest row so far
    side: _Array
    rows: _Array
    skyline: _Array

    def at(self, values: _Array, distance: _Array) -> _Array:
        """Return `values` (count, 48) at these distances (count, N)."""
        high = np.searchsorted(_DISTANCES, distance).clip(1, len(_DISTANCES) - 1)
        share = ((distance - _DISTANCES[high - 1]) / (_DISTANCES[high] - _DISTANCES[high - 1])).clip(0, 1)
        games = np.arange(len(values))[:, None]
        return np.asarray((1 - share) * values[games, high - 1] + share * values[games, high], np.float32)


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
        self._view: _View | None = None
        self._restart(np.ones(count, bool))

    @property
    def speed(self) -> _Array:
        """Length per frame."""
        return self._speed

    @property
    def lateral(self) -> _Array:
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

    def step(self, actions: _Array) -> Step:
        """Move by one frame and draw it; which games began anew is in what is returned."""
        course, memory, begun = self.move(actions)
        frames, motion = self._draw()
        return Step(frames, motion, course, memory, begun)

    def move(self, actions: _Array) -> tuple[_Array, _Array, npt.NDArray[np.bool_]]:
        """`step` without drawing: the course, the memory, and which began anew."""
        course = self._course.next()
        self._left -= 1
        begun = self._left < 0
        if begun.any():
            self._restart(begun)
        self._move(actions * ~begun[:, None], course)
        return course, self._memory(), begun

    def _memory(self) -> _Array:
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
        turns = [2 * np.pi * self._position / period for period in (_BAND, _DASH, _KERB)]
        angles = np.stack([*turns, self._heading], 1)
        circles = np.stack([np.cos(angles), np.sin(angles)], 2).reshape(self._count, -1)
        memory = np.concatenate([*plain, circles], 1).astype(np.float32)
        assert sum(part.shape[1] for part in plain) == PLAIN
        return memory

    def _move(self, actions: _Array, course: _Array) -> None:
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

    def _ahead(self) -> tuple[_Array, _Array]:
        """Return how far the road lies to the right of the car, and its height, at each of _DISTANCES."""
        curvature = self._road * np.array([_BEND, _RISE], np.float32)
        slope = np.cumsum(curvature, axis=1) * _PIECE
        offset = np.cumsum(slope, axis=1) * _PIECE
        # Sub-piece motion: the profile is read from where the car stands within the first piece.
        within = (self._position % _PIECE)[:, None]
        at = (_DISTANCES[None, :] + within) / _PIECE - 1
        low = np.floor(at).astype(np.int64)
        share = (at - low)[..., None].astype(np.float32)
        games = np.arange(self._count)[:, None]
        value = (1 - share) * offset[games, low] + share * offset[games, low + 1]
        # Both are tangential to the car: what the first piece has already turned is taken out.
        origin = (1 - within / _PIECE)[..., None]
        base = offset[:, :1] - slope[:, :1] * _PIECE * origin
        value = value - base - slope[:, :1] * (_DISTANCES[None, :, None])
        return value[..., 0] - self._lateral[:, None], value[..., 1]

    # Drawing -----------------------------------------------------------------------------------------

    def _look_around(self) -> _View:
        side, rise = self._ahead()
        rows = (_HORIZON + self._look[:, 1])[:, None] + _FOCAL * (1.0 - rise) / _DISTANCES
        turned = (-self._look[:, 0] - _STEER_VIEW * self._steer)[:, None]
        skyline = np.minimum.accumulate(rows, axis=1)
        return _View(self._position.copy(), self._heading.copy(), turned, side, rows, skyline)

    def _draw(self) -> tuple[Frames, _Array]:
        view = self._look_around()
        before, self._view = self._view or view, view
        games = np.arange(self._count)[:, None]
        skyline = view.skyline
        # The first distance, from near to far, that lies at or above a row of the picture is what it shows.
        above = skyline[:, None, :] <= _ROWS[:, :, None]
        index = np.where(above.any(-1), above.argmax(-1), len(_DISTANCES) - 1)
        nearer = np.maximum(index - 1, 0)
        gap = skyline[games, nearer] - skyline[games, index]
        share = np.clip((skyline[games, nearer] - _ROWS) / np.maximum(gap, 1e-3), 0, 1)
        distance = ((1 - share) * _DISTANCES[nearer] + share * _DISTANCES[index]).astype(np.float32)
        ground = np.clip(_ROWS + 0.5 - skyline[:, -1:], 0, 1)
        across = (_COLUMNS - _CENTRE - view.turned[:, :, None]) * (distance / _FOCAL)[:, :, None]
        across = across - view.at(view.side, distance)[:, :, None]

        picture = self._sky(view)
        picture += (self._land(distance, across) - picture) * ground[:, :, None, None]
        motion = self._motion(view, before, distance, across, ground)
        self._plants(picture, motion, view, before)
        self._car(picture)
        motion[:, 2] = (np.abs(motion[:, :2]) < 20).all(1)
        motion[:, 2, _CAR_TOP:, _CAR_LEFT : _CAR_LEFT + _CAR_WIDTH] = 0  # the car has its own
        motion[:, 2, _BAR_ROWS] = 0
        return np.ascontiguousarray(_soft(np.clip(picture, 0, 1)).transpose(0, 3, 1, 2)), motion

    def _motion(self, view: _View, before: _View, distance: _Array, across: _Array, ground: _Array) -> _Array:
        """Return where the land and the sky were in the frame before, relative to where they are."""
        motion = np.zeros((self._count, 3, HEIGHT, WIDTH), np.float32)
        was = distance + (view.position - before.position)[:, None]
        column = across + before.at(before.side, was)[:, :, None]
        column = _CENTRE + before.turned[:, :, None] + column * (_FOCAL / was)[:, :, None]
        motion[:, 0] = column - _COLUMNS
        motion[:, 1] = (before.at(before.rows, was) - _ROWS)[:, :, None]
        sky = (ground < 0.5)[:, :, None]
        heading = (view.heading - before.heading) * (5 * WIDTH / (2 * np.pi))
        sideways = before.turned - view.turned + heading[:, None]
        motion[:, 0] = np.where(sky, sideways[:, :, None], motion[:, 0])
        motion[:, 1] = np.where(sky, (before.rows - view.rows)[:, None, -1:], motion[:, 1])
        return motion

    def _colour(self, name: str) -> _Array:
        return self._colours[:, COLOURS.index(name)][:, None, None, :]

    def _sky(self, view: _View) -> _Array:
        """Return sky, sun and the mountains, whose outline goes once around."""
        base, turned = view.rows[:, -1], view.turned
        height = np.clip(_ROWS / np.maximum(base[:, None], 4.0), 0, 1)[:, :, None, None] ** 1.5
        picture = self._colour("sky") * (1 - height) + self._colour("horizon") * height
        picture = np.broadcast_to(picture, (self._count, HEIGHT, WIDTH, 3)).copy()
        # 360 degrees are five pictures wide.
        angle = self._heading[:, None, None] + (_COLUMNS - _CENTRE - turned[:, :, None]) * 2 * np.pi / (
            5 * WIDTH
        )
        across = (np.mod(angle - 0.6 + np.pi, 2 * np.pi) - np.pi) * 5 * WIDTH / (2 * np.pi)
        up = _ROWS[:, :, None] - (base[:, None, None] - 15)
        sun = np.clip(5.5 - np.sqrt(across * across + up * up), 0, 1)[..., None]
        picture += (self._colour("sun") - picture) * sun
        ridge = 4.5 + 2.2 * np.sin(5 * angle) + 1.5 * np.sin(8 * angle + 1.0) + 0.9 * np.sin(17 * angle + 2.0)
        cover = np.clip(_ROWS[:, :, None] - (base[:, None, None] - ridge) + 0.5, 0, 1)[..., None]
        picture += (self._colour("mountains") - picture) * cover
        return picture

    def _land(self, distance: _Array, across: _Array) -> _Array:
        along = self._position[:, None] + distance
        depth = np.clip(distance * distance / _FOCAL, 0.02, 12.0)  # of one row on the ground
        pixel = (distance / _FOCAL)[:, :, None]

        def stripes(period: float) -> _Array:
            return _square(along, depth, period)[:, :, None, None]

        def within(left: float, right: float) -> _Array:
            upper = np.clip((right - across) / pixel + 0.5, 0, 1)
            return (upper - np.clip((left - across) / pixel + 0.5, 0, 1))[..., None]

        def mixed(first: str, second: str, period: float) -> _Array:
            return self._colour(first) + (self._colour(second) - self._colour(first)) * stripes(period)

        shape = (self._count, HEIGHT, WIDTH, 3)
        land = np.broadcast_to(mixed("ground_a", "ground_b", _BAND), shape).copy()
        road = within(-1.0, 1.0)
        land += (mixed("road_a", "road_b", _BAND) - land) * road
        kerbs = within(-1.13, -1.0) + within(1.0, 1.13)
        land += (mixed("kerb_a", "kerb_b", _KERB) - land) * kerbs
        lines = within(-0.9, -0.84) + within(0.84, 0.9) + within(-0.035, 0.035) * stripes(_DASH)
        land += (self._colour("line") - land) * lines
        return land + (self._colour("horizon") - land) * _haze(distance)[:, :, None, None]

    def _plants(self, picture: _Array, motion: _Array, view: _View, before: _View) -> None:
        """Draw what stands beside the road, from far to near: how much of each pixel is crown, and trunk."""
        crowns = np.zeros((self._count, HEIGHT, WIDTH), np.float32)
        trunks = np.zeros_like(crowns)
        travelled = view.position - before.position
        for number in reversed(range(int(_FAR / _PLANTS) + 1)):
            for hand, ahead in ((-1, 0.0), (1, _PLANTS / 2)):  # left and right alternate
                # The nearest of each side has number 0, which nears until it is passed.
                distance = number * _PLANTS + np.mod(ahead - self._position, _PLANTS)
                crown, cover = self._plant(distance, hand, view)
                crowns += (crown[:, :, None] - crowns) * cover
                trunks += (1 - crown[:, :, None] - trunks) * cover
                if number < 2:  # those further away hardly move otherwise than what is behind them
                    x, foot, scale = _place(distance, hand, view)
                    was_x, was_foot, was_scale = _place(distance + travelled, hand, before)
                    nearer, shown = was_scale / scale, cover > 0.4
                    column = was_x[:, :, None] + (_COLUMNS - x[:, :, None]) * nearer[:, :, None] - _COLUMNS
                    row = was_foot + (_ROWS - foot) * nearer - _ROWS
                    motion[:, 0] = np.where(shown, column, motion[:, 0])
                    motion[:, 1] = np.where(shown, row[:, :, None], motion[:, 1])
        picture *= (1 - crowns - trunks)[..., None]
        picture += crowns[..., None] * self._colour("crown")
        picture += trunks[..., None] * self._colour("trunk")

    def _plant(self, distance: _Array, hand: int, view: _View) -> tuple[_Array, _Array]:
        """Return for the plants at these distances: how much of a row is crown, how much they cover of a pixel."""
        x, foot, scale = _place(distance, hand, view)
        hidden = np.clip(foot - view.at(view.skyline, distance[:, None]), 0, 1)  # behind a crest
        visible = (1 - hidden) * (np.clip((distance - 1.0) / 0.4, 0, 1) * (1 - _haze(distance)))[:, None]
        up = (foot - _ROWS) / scale  # height above the ground, per row
        level = np.clip((up - 0.35) / 1.15, 0, 1)
        pointed, rounded = 1 - level, np.sqrt(np.maximum(0, 1 - (2 * level - 1) ** 2))
        roundness = self._roundness[:, None]
        crown = np.clip((up - 0.35) * scale + 0.5, 0, 1)
        half = scale * (crown * 0.42 * (roundness * rounded + (1 - roundness) * pointed) + (1 - crown) * 0.06)
        tall = np.clip(up * scale + 0.5, 0, 1) * np.clip((1.5 - up) * scale + 0.5, 0, 1)
        tall *= np.minimum(1, half * 2 + 0.2) * visible
        off = np.abs(_COLUMNS - x[:, :, None])
        cover = np.clip(half[:, :, None] + 0.5 - off, 0, 1) * tall[:, :, None]
        return crown.astype(np.float32), cover.astype(np.float32)

    def _car(self, picture: _Array) -> None:
        """Draw the car and, at the lower left, a bar as long as it is fast."""
        for game in range(self._count):
            sprite = CAR[round(float(self._steer[game]) * 2) + 2, int(self._braking[game] > 0)]
            area = picture[
                game, _CAR_TOP : _CAR_TOP + sprite.shape[0], _CAR_LEFT : _CAR_LEFT + sprite.shape[1]
            ]
            area += (sprite[..., :3] - area) * sprite[..., 3:]
        area = picture[:, _BAR_ROWS]
        area += (self._colour("line") - area) * _bar(self._speed)[..., None]


def _place(distance: _Array, hand: int, view: _View) -> tuple[_Array, _Array, _Array]:
    """Return a plant's column, the row of its foot, and pixels per length there: each (count, 1)."""
    at = distance[:, None]
    scale = _FOCAL / np.maximum(at, 0.8)
    x = _CENTRE + view.turned + scale * (view.at(view.side, at) + hand * _PLANT_X)
    return x, view.at(view.rows, at), scale


def _soft(pictures: _Array) -> _Array:
    """Soften pictures (count, 64, 96, 3) by a pixel: what is sharper than its grid cannot be moved by half a pixel.

    With it, moving the last picture as it should be is 1.5 dB nearer to the next one.
    """
    wide = np.pad(pictures, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    tall = (wide[:, :-2] + 2 * wide[:, 1:-1] + wide[:, 2:]) / 4
    return np.asarray((tall[:, :, :-2] + 2 * tall[:, :, 1:-1] + tall[:, :, 2:]) / 4, np.float32)


def _bar(speed: _Array) -> _Array:
    """Return how much of each pixel, (count, 1, 96), is the bar that shows these speeds."""
    length = 2 + 26 * speed[:, None, None] / TOP_SPEED
    return np.asarray(0.9 * np.clip(length + 3 - _COLUMNS + 0.5, 0, 1) * (_COLUMNS > 3), np.float32)


def driver() -> _Array:
    """Return the standing car and its bar alone, (64, 96, 4) RGBA in 0..1."""
    alone = np.zeros((HEIGHT, WIDTH, 4), np.float32)
    alone[_CAR_TOP : _CAR_TOP + _CAR_HEIGHT, _CAR_LEFT : _CAR_LEFT + _CAR_WIDTH] = CAR[2, 0]
    alone[_BAR_ROWS, :, :3] = 1.0
    alone[_BAR_ROWS, :, 3] = _bar(np.zeros(1, np.float32))[0]
    return alone


def _haze(distance: _Array) -> _Array:
    return np.asarray(1 - np.exp(-((distance / 24.0) ** 2)), np.float32)


def _square(at: _Array, width: _Array, period: float) -> _Array:
    """A square wave of this period, averaged over `width`."""

    def integral(x: _Array) -> _Array:
        whole = np.floor(x)
        return whole * 0.5 + np.minimum(x - whole, 0.5)

    low, high = (at - width / 2) / period, (at + width / 2) / period
    return np.asarray((integral(high) - integral(low)) / np.maximum(high - low, 1e-6), np.float32)


_BAR_ROWS = slice(60, 62)
_CAR_TOP, _CAR_LEFT = 46, 33
_CAR_HEIGHT, _CAR_WIDTH = 14, 30


def _car_pictures() -> npt.NDArray[np.float32]:
    """Return (5 steers, 2 brakes, 14, 30, 4): drawn large and averaged down."""
    fine = 8
    y, x = np.mgrid[0 : _CAR_HEIGHT * fine, 0 : _CAR_WIDTH * fine].astype(np.float32) / fine
    pictures = []
    for steer in (-1.0, -0.5, 0.0, 0.5, 1.0):
        for brake in (False, True):
            rgba = np.zeros((*x.shape, 4), np.float32)
            # Leaning into the turn: the top goes further than the wheels.
            middle = _CAR_WIDTH / 2 + steer * (1.5 + 1.5 * (1 - y / _CAR_HEIGHT))
            off = np.abs(x - middle)

            def paint(
                where: npt.NDArray[np.bool_],
                rgb: tuple[float, ...],
                alpha: float = 1.0,
                on: _Array = rgba,
            ) -> None:
                on[where] = (*rgb, alpha)

            paint((off < 12.5) & (y > 12.4) & (y < 13.8), (0.05, 0.05, 0.07), 0.5)
            paint((off > 7) & (off < 11.5) & (y > 8) & (y < 13.2), (0.07, 0.07, 0.08))
            paint((off < 7 + 0.45 * y) & (off < 11.5) & (y > 4.5) & (y < 11.5), (0.80, 0.10, 0.12))
            paint((off < 4.5 + 0.5 * y) & (y > 1) & (y < 5.5), (0.66, 0.07, 0.10))
            paint((off < 3.6 + 0.5 * y) & (y > 1.8) & (y < 4.8), (0.16, 0.20, 0.27))
            paint((off < 11) & (y > 6.2) & (y < 6.9), (0.95, 0.28, 0.26))
            paint((off < 10.5) & (y > 9.6) & (y < 11.2), (0.45, 0.05, 0.08))
            light = (1.0, 0.86, 0.30) if brake else (0.52, 0.02, 0.05)
            paint((off > 6.4) & (off < 10.4) & (y > 7.2) & (y < 9.2), light)
            small = rgba.reshape(_CAR_HEIGHT, fine, _CAR_WIDTH, fine, 4)
            alpha = small[..., 3:].mean((1, 3))
            colour = (small[..., :3] * small[..., 3:]).mean((1, 3)) / np.maximum(alpha, 1e-6)
            pictures.append(np.concatenate([colour, alpha], -1))
    return np.stack(pictures).reshape(5, 2, _CAR_HEIGHT, _CAR_WIDTH, 4).astype(np.float32)


CAR = _car_pictures()


class Players:
    """`count` players, who hold keys for a while and mostly come back to the road."""

    def __init__(self, random: np.random.Generator, count: int) -> None:
        self._random = random
        self._held = np.zeros((count, ACTION_SIZE), np.float32)
        self._left = np.zeros((count, 3), np.int64)

    def next(self, lateral: _Array) -> _Array:
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
