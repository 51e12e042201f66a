"""The keys of Matrix-Game's players, as the network is told of them. Pure; imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from reactor_runtime.errors import CommandError

from .config import Mode

MouseKey = Literal["J", "K", "L", "I", "U", "IJ", "IL", "KJ", "KL"]
KeyboardKey = Literal["W", "A", "S", "D", "Q", "WA", "WD", "SA", "SD", "Z", "C"]

#: How far the mouse moves: pitch, yaw.
_TURN = 0.1
_MOUSE = {"I": (_TURN, 0.0), "K": (-_TURN, 0.0), "J": (0.0, -_TURN), "L": (0.0, _TURN), "U": (0.0, 0.0)}
#: Which entry of the keyboard row a letter sets. universal: forward, back, left, right. gta_drive: throttle,
#: brake; A and D turn the wheel, which is the mouse's yaw. templerun: run, jump, slide, turn left, turn right,
#: left, right; exactly one.
_KEYBOARD: dict[Mode, dict[str, int]] = {
    "universal": {"W": 0, "S": 1, "A": 2, "D": 3},
    "gta_drive": {"W": 0, "S": 1},
    "templerun": {"Q": 0, "W": 1, "S": 2, "Z": 3, "C": 4, "A": 5, "D": 6},
}
_KNOWN: dict[Mode, str] = {"universal": "WASDQ", "gta_drive": "WASDQ", "templerun": "QWSZCAD"}


@dataclass(frozen=True, slots=True)
class Action:
    """What is held down, as the network is told."""

    keyboard: tuple[float, ...]
    mouse: tuple[float, float]


def action(mode: Mode, mouse_key: MouseKey, keyboard_key: KeyboardKey) -> Action:
    """Return the action of these keys. Raises CommandError for keys that the mode does not have."""
    if unknown := set(keyboard_key) - set(_KNOWN[mode]):
        raise CommandError(
            "no_such_key", f"{'/'.join(sorted(unknown))} does nothing in {mode}", field="keyboard_key"
        )
    if mode == "templerun" and len(keyboard_key) > 1:
        raise CommandError("one_key_only", "templerun takes one key at a time", field="keyboard_key")
    if mode != "universal" and mouse_key != "U":
        raise CommandError("no_mouse", f"{mode} has no mouse: send U", field="mouse_key")
    keys = _KEYBOARD[mode]
    row = [0.0] * len(keys)
    for letter in keyboard_key:
        if letter in keys:
            row[keys[letter]] = 1.0
    pitch, yaw = (sum(_MOUSE[letter][axis] for letter in mouse_key) for axis in (0, 1))
    if mode == "gta_drive":
        yaw = _TURN * (("D" in keyboard_key) - ("A" in keyboard_key))
    return Action(tuple(row), (pitch, yaw))


def idle(mode: Mode) -> Action:
    return action(mode, "U", "Q")

assert set("".join(get_args(MouseKey))) == set(_MOUSE)
