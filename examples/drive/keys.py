"""The player's keys, as the network is told of them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

MouseKey = Literal["J", "K", "L", "I", "U"]
KeyboardKey = Literal["W", "A", "S", "D", "Q"]
#: Keys that may be held besides those two.
ExtraKey = Literal["W", "A", "S", "D", "I", "J", "K", "L"]

#: (6,) float32: throttle, brake, left, right, each 0 or 1; then look right, look up, each -1, 0 or 1.
Action = npt.NDArray[np.float32]
ACTION_SIZE = 6
_ENTRIES = {
    "W": (0, 1.0),
    "S": (1, 1.0),
    "A": (2, 1.0),
    "D": (3, 1.0),
    "L": (4, 1.0),
    "J": (4, -1.0),
    "I": (5, 1.0),
    "K": (5, -1.0),
}


def action(
    mouse_key: MouseKey = "U", keyboard_key: KeyboardKey = "Q", extra: Sequence[ExtraKey] = ()
) -> Action:
    """Return what these keys together ask for; opposite looks cancel out."""
    wanted = np.zeros(ACTION_SIZE, np.float32)
    for key in {mouse_key, keyboard_key, *extra} - {"U", "Q"}:
        entry, amount = _ENTRIES[key]
        wanted[entry] += amount
    return wanted


def letters(wanted: Action) -> str:
    """Return the letters of the keys behind an action, "-" for none."""
    held = "".join(key for key, (entry, amount) in _ENTRIES.items() if wanted[entry] == amount)
    return held or "-"
