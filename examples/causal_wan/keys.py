"""The keys of Matrix-Game's players, as the network is told of them. Pure; imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from reactor_runtime.errors import CommandError

from .config import Mode

MouseKey = Literal["J", "K", "L", "I", "U"]
KeyboardKey = Literal["W", "A", "S", "D", "Q"]
#: Keys that may be held besides those two, for diagonals.
ExtraKey = Literal["W", "A", "S", "D", "I", "J", "K", "L"]

#: How far the mouse moves: pitch, yaw.
_TURN = 0.1
_MOUSE = {"I": (_TURN, 0.0), "K": (-_TURN, 0.0), "J": (0.0, -_TURN), "L": (0.0, _TURN)}
#: Which entry of the keyboard row a letter sets. universal: forward, back, left, right. gta_drive: throttle,
#: brake; A and D are the wheel, which is the mouse's yaw. templerun: run, jump, slide, turn left, turn right,
#: left, right: exactly one. Its players turn with Z and C, for which J and L stand here.
_KEYBOARD: dict[Mode, dict[str, int]] = {
    "universal": {"W": 0, "S": 1, "A": 2, "D": 3},
    "gta_drive": {"W": 0, "S": 1},
    "templerun": {"Q": 0, "W": 1, "S": 2, "J": 3, "L": 4, "A": 5, "D": 6},
}


@dataclass(frozen=True, slots=True)
class Action:
    """What is held down, as the network is told."""

    keyboard: tuple[float, ...]
    mouse: tuple[float, float] = (0.0, 0.0)


def action(
    mode: Mode, mouse_key: MouseKey, keyboard_key: KeyboardKey, extra: Sequence[ExtraKey] = ()
) -> Action:
    """Return the action of these keys. Raises CommandError for keys that the mode does not have."""
    held = set[str]([mouse_key, keyboard_key, *extra]) - {"U", "Q"}
    if mode == "templerun":
        return _one_of_seven(held)
    if mode == "gta_drive" and held & _MOUSE.keys():
        raise CommandError("no_mouse", "gta_drive steers with A and D: send U", field="mouse_key")
    keys = _KEYBOARD[mode]
    row = [0.0] * len(keys)
    for letter in held & keys.keys():
        row[keys[letter]] = 1.0
    pitch, yaw = (sum(_MOUSE[letter][axis] for letter in held & _MOUSE.keys()) for axis in (0, 1))
    if mode == "gta_drive":
        yaw = _TURN * (("D" in held) - ("A" in held))
    return Action(tuple(row), (pitch, yaw))


def idle(mode: Mode) -> Action:
    """Return the action of someone who holds nothing."""
    return action(mode, "U", "Q")


def _one_of_seven(held: set[str]) -> Action:
    if unknown := held - _KEYBOARD["templerun"].keys():
        raise CommandError(
            "no_such_key", f"{'/'.join(sorted(unknown))} does nothing in templerun", field="mouse_key"
        )
    # A turn outranks a step, since only one of them can be told.
    chosen = next((letter for letter in "JLADWS" if letter in held), "Q")
    return Action(tuple(float(place == _KEYBOARD["templerun"][chosen]) for place in range(7)))
