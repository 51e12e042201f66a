"""The colours that a drive can have."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

Rgb = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Look:
    """Colours, 0..255, and the shape of what stands beside the road."""

    sky: Rgb
    horizon: Rgb
    sun: Rgb
    mountains: Rgb
    ground_a: Rgb
    ground_b: Rgb
    road_a: Rgb
    road_b: Rgb
    kerb_a: Rgb
    kerb_b: Rgb
    line: Rgb
    crown: Rgb
    trunk: Rgb
    #: 0: a pointed crown; 1: a round one
    roundness: float


LOOKS = {
    "meadow": Look(
        sky=(72, 140, 226), horizon=(206, 228, 240), sun=(255, 246, 190), mountains=(104, 136, 158),
        ground_a=(92, 158, 62), ground_b=(78, 140, 52), road_a=(96, 98, 104), road_b=(88, 90, 96),
        kerb_a=(206, 44, 40), kerb_b=(240, 240, 236), line=(244, 240, 220), crown=(34, 104, 48),
        trunk=(98, 66, 40), roundness=1.0,
    ),
    "desert": Look(
        sky=(236, 130, 74), horizon=(255, 214, 142), sun=(255, 240, 200), mountains=(168, 84, 66),
        ground_a=(216, 158, 92), ground_b=(200, 140, 78), road_a=(112, 86, 78), road_b=(102, 78, 72),
        kerb_a=(150, 54, 36), kerb_b=(244, 214, 160), line=(255, 226, 150), crown=(72, 104, 58),
        trunk=(86, 76, 44), roundness=0.6,
    ),
    "night": Look(
        sky=(10, 10, 38), horizon=(74, 30, 96), sun=(236, 96, 170), mountains=(30, 20, 62),
        ground_a=(24, 20, 56), ground_b=(18, 14, 44), road_a=(40, 38, 60), road_b=(34, 32, 54),
        kerb_a=(236, 40, 160), kerb_b=(40, 216, 236), line=(240, 232, 120), crown=(30, 150, 170),
        trunk=(110, 40, 150), roundness=0.0,
    ),
    "snow": Look(
        sky=(152, 180, 206), horizon=(226, 232, 238), sun=(255, 255, 246), mountains=(178, 190, 206),
        ground_a=(236, 240, 246), ground_b=(220, 228, 238), road_a=(112, 120, 132), road_b=(104, 112, 124),
        kerb_a=(56, 96, 170), kerb_b=(250, 250, 252), line=(250, 224, 120), crown=(42, 84, 82),
        trunk=(84, 66, 56), roundness=0.0,
    ),
}  # fmt: skip

COLOURS = [each.name for each in fields(Look) if each.name != "roundness"]


def colours_of(look: Look) -> npt.NDArray[np.float32]:
    """Return (13, 3) float32, 0..1, in the order of COLOURS."""
    return np.asarray(np.array([getattr(look, name) for name in COLOURS]) / 255, np.float32)


def random_look(random: np.random.Generator) -> tuple[npt.NDArray[np.float32], float]:
    """Return colours and roundness: mostly one of LOOKS, else a mixture, so that strange pictures are no surprise."""
    looks = list(LOOKS.values())
    first, second = random.choice(len(looks), 2, replace=False)
    colours, roundness = colours_of(looks[first]), looks[first].roundness
    if random.random() < 0.1:
        share = random.uniform(0, 1, (len(COLOURS), 1)).astype(np.float32)
        colours = share * colours + (1 - share) * colours_of(looks[second])
        colours = colours + random.normal(0, 0.06, colours.shape).astype(np.float32)
        roundness = float(random.uniform())
    return np.clip(colours, 0.02, 0.98).astype(np.float32), roundness
