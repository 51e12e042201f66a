"""How a scene of the game is drawn: by the rules of perspective, many games at once, at any fineness.

A row of the picture shows one distance, so whatever lies on the ground is worked out per row, and its edges are
filtered by the size of a pixel on the ground: nothing flickers, which a network could not learn. All arrays have the
games as their first axis; places on the screen are in pixels of 96x64, however fine they are drawn.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt
from world import HEIGHT, WIDTH

from training.looks import COLOURS

FOCAL = 60.0
HORIZON = 25.0
_CENTRE = WIDTH / 2
#: How many pixels all around the horizon are.
PANORAMA = 5 * WIDTH
#: Distances at which the road is known; the last is how far one sees.
DISTANCES = np.geomspace(1.2, 40.0, 48).astype(np.float32)
FAR = float(DISTANCES[-1])

TOP_SPEED = 0.55
#: The plants stand as far apart as the bands are long, so that one number says where along both a car is.
BAND, DASH, KERB = 8.0, 6.0, 4.0
_PLANTS = BAND
_PLANT_X = 1.9
_STEER_VIEW = 2.0

Frames = npt.NDArray[np.float32]
Reals = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True)
class Scene:
    """What there is to be seen in one frame of every game."""

    #: (count,): along the road, the compass in radians, -1..1 of the wheel, length per frame, 1 with the brake on
    position: Reals
    heading: Reals
    steer: Reals
    speed: Reals
    braking: Reals
    #: (count, 2): to the right and up, in pixels
    look: Reals
    #: (count, 13, 3), 0..1, and (count,)
    colours: Reals
    roundness: Reals
    #: (count, 48), at DISTANCES: how far right of the car the road is, and how high
    side: Reals
    rise: Reals

    @property
    def turned(self) -> Reals:
        """(count, 1): how far everything is moved to the right."""
        return np.asarray((-self.look[:, 0] - _STEER_VIEW * self.steer)[:, None])

    @property
    def rows(self) -> Reals:
        """(count, 48): the row of the road."""
        return np.asarray((HORIZON + self.look[:, 1])[:, None] + FOCAL * (1.0 - self.rise) / DISTANCES)

    def only(self, which: npt.NDArray[np.integer[Any]]) -> Scene:
        """Return the scene of these games."""
        return Scene(**{each.name: getattr(self, each.name)[which] for each in fields(self)})

    def at(self, values: Reals, distance: Reals) -> Reals:
        """Return `values` (count, 48) at these distances (count, N)."""
        high = np.searchsorted(DISTANCES, distance).clip(1, len(DISTANCES) - 1)
        share = ((distance - DISTANCES[high - 1]) / (DISTANCES[high] - DISTANCES[high - 1])).clip(0, 1)
        games = np.arange(len(values))[:, None]
        return np.asarray((1 - share) * values[games, high - 1] + share * values[games, high], np.float32)

    def colour(self, name: str) -> Reals:
        return self.colours[:, COLOURS.index(name)][:, None, None, :]


class Canvas:
    """Draws pictures of `scale` times 96x64."""

    def __init__(self, scale: int = 1) -> None:
        self._scale = scale
        self._columns = _middles(WIDTH, scale)[None, None, :]
        self._rows = _middles(HEIGHT, scale)[None, :]
        self._cars = _car_pictures(scale)

    def draw(self, scene: Scene, before: Scene) -> tuple[Frames, Reals]:
        """Return (count, 3, height, width) RGB in 0..1, and the motion since the frame before, as `Step.motion`."""
        rows = scene.rows
        # The first distance, from near to far, that lies at or above a row of the picture is what it shows.
        skyline = np.minimum.accumulate(rows, axis=1)
        games = np.arange(len(rows))[:, None]
        above = skyline[:, None, :] <= self._rows[:, :, None]
        index = np.where(above.any(-1), above.argmax(-1), len(DISTANCES) - 1)
        nearer = np.maximum(index - 1, 0)
        gap = skyline[games, nearer] - skyline[games, index]
        share = np.clip((skyline[games, nearer] - self._rows) / np.maximum(gap, 1e-3), 0, 1)
        distance = ((1 - share) * DISTANCES[nearer] + share * DISTANCES[index]).astype(np.float32)
        ground = self._cover(self._rows - skyline[:, -1:])
        across = (self._columns - _CENTRE - scene.turned[:, :, None]) * (distance / FOCAL)[:, :, None]
        across = across - scene.at(scene.side, distance)[:, :, None]

        picture = self._sky(scene, rows[:, -1])
        picture += (self._land(scene, distance, across) - picture) * ground[:, :, None, None]
        motion = self._motion(scene, before, distance, across, ground)
        self._plants(picture, motion, scene, before, skyline)
        self._car(picture, scene)
        motion[:, 2] = (np.abs(motion[:, :2]) < 20).all(1)
        # The car and the bar have their own.
        motion[:, 2, self._span(_CAR_TOP, HEIGHT), self._span(_CAR_LEFT, _CAR_WIDTH)] = 0
        motion[:, 2, self._span(*_BAR)] = 0
        return np.ascontiguousarray(_soft(np.clip(picture, 0, 1)).transpose(0, 3, 1, 2)), motion

    def driver(self) -> Reals:
        """Return the standing car and its bar alone, (height, width, 4) RGBA in 0..1."""
        alone = np.zeros((self._rows.size, self._columns.size, 4), np.float32)
        alone[self._span(_CAR_TOP, _CAR_HEIGHT), self._span(_CAR_LEFT, _CAR_WIDTH)] = self._cars[2, 0]
        alone[self._span(*_BAR), :, :3] = 1.0
        alone[self._span(*_BAR), :, 3] = self._bar(np.zeros(1, np.float32))[0]
        return alone

    def _cover(self, depth: Reals) -> Reals:
        """Return how much of a pixel whose middle is this deep inside an edge is covered."""
        return np.asarray(np.clip(depth * self._scale + 0.5, 0, 1))

    def _span(self, first: int, count: int) -> slice:
        return slice(first * self._scale, (first + count) * self._scale)

    def _motion(self, scene: Scene, before: Scene, distance: Reals, across: Reals, ground: Reals) -> Reals:
        """Return where the land and the sky were in the frame before, relative to where they are."""
        motion = np.zeros((len(ground), 3, self._rows.size, self._columns.size), np.float32)
        was = distance + (scene.position - before.position)[:, None]
        column = across + before.at(before.side, was)[:, :, None]
        column = _CENTRE + before.turned[:, :, None] + column * (FOCAL / was)[:, :, None]
        motion[:, 0] = column - self._columns
        motion[:, 1] = (before.at(before.rows, was) - self._rows)[:, :, None]
        sky = (ground < 0.5)[:, :, None]
        heading = (scene.heading - before.heading) * PANORAMA / (2 * np.pi)
        sideways = before.turned - scene.turned + heading[:, None]
        motion[:, 0] = np.where(sky, sideways[:, :, None], motion[:, 0])
        motion[:, 1] = np.where(sky, (before.rows - scene.rows)[:, None, -1:], motion[:, 1])
        return motion

    def _sky(self, scene: Scene, base: Reals) -> Reals:
        """Return sky, sun and the mountains, whose outline goes once around; `base` (count,) is the horizon's row."""
        height = np.clip(self._rows / np.maximum(base[:, None], 4.0), 0, 1)[:, :, None, None] ** 1.5
        picture = scene.colour("sky") * (1 - height) + scene.colour("horizon") * height
        shape = (len(base), self._rows.size, self._columns.size, 3)
        picture = np.broadcast_to(picture, shape).astype(np.float32)
        angle = (
            scene.heading[:, None, None]
            + (self._columns - _CENTRE - scene.turned[:, :, None]) * 2 * np.pi / PANORAMA
        )
        across = (np.mod(angle - 0.6 + np.pi, 2 * np.pi) - np.pi) * PANORAMA / (2 * np.pi)
        up = self._rows[:, :, None] - (base[:, None, None] - 15)
        sun = self._cover(5 - np.sqrt(across * across + up * up))[..., None]
        picture += (scene.colour("sun") - picture) * sun
        ridge = 4.5 + 2.2 * np.sin(5 * angle) + 1.5 * np.sin(8 * angle + 1.0) + 0.9 * np.sin(17 * angle + 2.0)
        cover = self._cover(self._rows[:, :, None] - (base[:, None, None] - ridge))[..., None]
        picture += (scene.colour("mountains") - picture) * cover
        return picture

    def _land(self, scene: Scene, distance: Reals, across: Reals) -> Reals:
        along = scene.position[:, None] + distance
        depth = np.clip(distance * distance / FOCAL / self._scale, 0.02, 12.0)  # of one row on the ground
        pixel = (distance / FOCAL)[:, :, None]

        def stripes(period: float) -> Reals:
            return _square(along, depth, period)[:, :, None, None]

        def within(left: float, right: float) -> Reals:
            return (self._cover((right - across) / pixel) - self._cover((left - across) / pixel))[..., None]

        def mixed(first: str, second: str, period: float) -> Reals:
            return scene.colour(first) + (scene.colour(second) - scene.colour(first)) * stripes(period)

        land = np.broadcast_to(mixed("ground_a", "ground_b", BAND), (*across.shape, 3)).copy()
        road = within(-1.0, 1.0)
        land += (mixed("road_a", "road_b", BAND) - land) * road
        kerbs = within(-1.13, -1.0) + within(1.0, 1.13)
        land += (mixed("kerb_a", "kerb_b", KERB) - land) * kerbs
        lines = within(-0.9, -0.84) + within(0.84, 0.9) + within(-0.035, 0.035) * stripes(DASH)
        land += (scene.colour("line") - land) * lines
        return land + (scene.colour("horizon") - land) * _haze(distance)[:, :, None, None]

    def _plants(self, picture: Reals, motion: Reals, scene: Scene, before: Scene, skyline: Reals) -> None:
        """Draw what stands beside the road, from far to near: how much of each pixel is crown, and trunk."""
        crowns = np.zeros(picture.shape[:3], np.float32)
        trunks = np.zeros_like(crowns)
        travelled = scene.position - before.position
        for number in reversed(range(int(FAR / _PLANTS) + 1)):
            for hand, ahead in ((-1, 0.0), (1, _PLANTS / 2)):  # left and right alternate
                # The nearest of each side has number 0, which nears until it is passed.
                distance = number * _PLANTS + np.mod(ahead - scene.position, _PLANTS)
                crown, cover = self._plant(scene, distance, hand, skyline)
                crowns += (crown[:, :, None] - crowns) * cover
                trunks += (1 - crown[:, :, None] - trunks) * cover
                if number < 2:  # those further away hardly move otherwise than what is behind them
                    x, foot, size = _place(distance, hand, scene)
                    was_x, was_foot, was_size = _place(distance + travelled, hand, before)
                    nearer, shown = was_size / size, cover > 0.4
                    column = was_x[:, :, None] + (self._columns - x[:, :, None]) * nearer[:, :, None]
                    row = was_foot + (self._rows - foot) * nearer - self._rows
                    motion[:, 0] = np.where(shown, column - self._columns, motion[:, 0])
                    motion[:, 1] = np.where(shown, row[:, :, None], motion[:, 1])
        picture *= (1 - crowns - trunks)[..., None]
        picture += crowns[..., None] * scene.colour("crown")
        picture += trunks[..., None] * scene.colour("trunk")

    def _plant(self, scene: Scene, distance: Reals, hand: int, skyline: Reals) -> tuple[Reals, Reals]:
        """Return for the plants at these distances: how much of a row is crown, how much they cover of a pixel."""
        x, foot, size = _place(distance, hand, scene)
        hidden = np.clip(foot - scene.at(skyline, distance[:, None]), 0, 1)  # behind a crest
        visible = (1 - hidden) * (np.clip((distance - 1.0) / 0.4, 0, 1) * (1 - _haze(distance)))[:, None]
        up = (foot - self._rows) / size  # height above the ground, per row
        level = np.clip((up - 0.35) / 1.15, 0, 1)
        pointed, rounded = 1 - level, np.sqrt(np.maximum(0, 1 - (2 * level - 1) ** 2))
        roundness = scene.roundness[:, None]
        crown = self._cover((up - 0.35) * size)
        half = size * (crown * 0.42 * (roundness * rounded + (1 - roundness) * pointed) + (1 - crown) * 0.06)
        tall = self._cover(up * size) * self._cover((1.5 - up) * size)
        tall *= np.minimum(1, half * 2 * self._scale + 0.2) * visible
        cover = self._cover(half[:, :, None] - np.abs(self._columns - x[:, :, None])) * tall[:, :, None]
        return crown.astype(np.float32), cover.astype(np.float32)

    def _car(self, picture: Reals, scene: Scene) -> None:
        """Draw the car and, at the lower left, a bar as long as it is fast."""
        rows, columns = self._span(_CAR_TOP, _CAR_HEIGHT), self._span(_CAR_LEFT, _CAR_WIDTH)
        for game, (steer, braking) in enumerate(zip(scene.steer, scene.braking, strict=True)):
            car = self._cars[round(float(steer) * 2) + 2, int(braking > 0)]
            area = picture[game, rows, columns]
            area += (car[..., :3] - area) * car[..., 3:]
        area = picture[:, self._span(*_BAR)]
        area += (scene.colour("line") - area) * self._bar(scene.speed)[..., None]

    def _bar(self, speed: Reals) -> Reals:
        """Return how much of each pixel, (count, 1, width), is the bar that shows these speeds."""
        length = 2 + 26 * speed[:, None, None] / TOP_SPEED
        return np.asarray(0.9 * self._cover(length + 3 - self._columns) * (self._columns > 3), np.float32)


def _middles(count: int, scale: int) -> npt.NDArray[np.float32]:
    return (np.arange(count * scale, dtype=np.float32) + 0.5) / np.float32(scale)


def _place(distance: Reals, hand: int, scene: Scene) -> tuple[Reals, Reals, Reals]:
    """Return a plant's column, the row of its foot, and pixels per length there: each (count, 1)."""
    at = distance[:, None]
    size = FOCAL / np.maximum(at, 0.8)
    x = _CENTRE + scene.turned + size * (scene.at(scene.side, at) + hand * _PLANT_X)
    return x, scene.at(scene.rows, at), size


def _soft(pictures: Reals) -> Reals:
    """Soften pictures (count, height, width, 3) by a pixel: what is sharper cannot be moved by half a pixel.

    With it, moving the last picture as it should be is 1.5 dB nearer to the next one.
    """
    wide = np.pad(pictures, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    tall = (wide[:, :-2] + 2 * wide[:, 1:-1] + wide[:, 2:]) / 4
    return np.asarray((tall[:, :, :-2] + 2 * tall[:, :, 1:-1] + tall[:, :, 2:]) / 4, np.float32)


def _haze(distance: Reals) -> Reals:
    return np.asarray(1 - np.exp(-((distance / 24.0) ** 2)), np.float32)


def _square(at: Reals, width: Reals, period: float) -> Reals:
    """A square wave of this period, averaged over `width`."""

    def integral(x: Reals) -> Reals:
        whole = np.floor(x)
        return whole * 0.5 + np.minimum(x - whole, 0.5)

    low, high = (at - width / 2) / period, (at + width / 2) / period
    return np.asarray((integral(high) - integral(low)) / np.maximum(high - low, 1e-6), np.float32)


#: First row and number of rows.
_BAR = (60, 2)
_CAR_TOP, _CAR_LEFT = 46, 33
_CAR_HEIGHT, _CAR_WIDTH = 14, 30


def _car_pictures(scale: int) -> npt.NDArray[np.float32]:
    """Return (5 steers, 2 brakes, 14 * scale, 30 * scale, 4): drawn large and averaged down."""
    parts = 8 if scale == 1 else 4
    fine = parts * scale
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
                on: Reals = rgba,
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
            small = rgba.reshape(_CAR_HEIGHT * scale, parts, _CAR_WIDTH * scale, parts, 4)
            alpha = small[..., 3:].mean((1, 3))
            colour = (small[..., :3] * small[..., 3:]).mean((1, 3)) / np.maximum(alpha, 1e-6)
            pictures.append(np.concatenate([colour, alpha], -1))
    return np.stack(pictures).reshape(5, 2, _CAR_HEIGHT * scale, _CAR_WIDTH * scale, 4).astype(np.float32)
