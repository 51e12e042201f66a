"""The network's 26 styles. It came without names, so these say what each looks like."""

from __future__ import annotations

from typing import Literal, get_args

Style = Literal[
    "harbour",
    "poster",
    "charcoal",
    "neon",
    "carnival",
    "oil",
    "night_dots",
    "primaries",
    "pastel_ink",
    "leaves",
    "terracotta",
    "parchment",
    "impression",
    "jungle",
    "mist",
    "stained_glass",
    "twilight",
    "weave",
    "dunes",
    "starry",
    "ember",
    "cutout",
    "mosaic",
    "lantern",
    "woodcut",
    "tapestry",
]

#: In the order of the network's style weights.
STYLES: tuple[Style, ...] = get_args(Style)
