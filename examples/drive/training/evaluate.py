"""Measure what is shipped on games that it was not trained on, and draw the picture sheet.

    cd examples/drive
    python -m training.evaluate --weights weights/drive

Writes metrics.json and drive.png beside the weights and the table into the README, prints it, and exits with 1 where
a target is missed.
Every picture is of held-out seeds; PSNR is over all pixels of all pictures together, which is lower than the mean of
each picture's.
"""

from __future__ import annotations

import argparse
import sys
from copy import deepcopy
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from keys import ACTION_SIZE, ExtraKey, action, letters
from PIL import Image, ImageDraw
from rich.console import Console
from rich.progress import track
from start import LOOKS, look
from torch import Tensor
from torch.nn import functional
from world import CIRCLES, LARGER, PLAIN, World

from training.drawing import Canvas
from training.export import WEIGHTS
from training.game import Games, Players
from training.history import Pictures, Told
from training.network import ACTION_ENTRIES, Drive, load
from training.plays import Moment, play
from training.report import Line, write
from training.sheet import HELD_OUT

EPISODES = 64
#: Real frames before anything is measured: the longest context and the cars' start.
_BEFORE = 40
_ROLLOUT = 64
_HORIZONS = (4, 8, 16, 32)
_STEER_FRAMES = 6
#: How far what is remembered is moved towards what is read off each real picture.
_CORRECTION = 0.4
_LONG = 2000

_Array = npt.NDArray[np.float32]


class Watcher:
    """Games of a held-out seed, and what the network would be given at each of their frames."""

    def __init__(self, network: Drive, seed: int, count: int) -> None:
        self._moments = play(seed, count)
        first = next(self._moments)
        self.pictures = Pictures(_pictures(first))
        self.told = Told(count, torch.device("cpu"))
        self._reader = network.reader
        self.memory = network.reader(_pictures(first))

    def next(self) -> Moment:
        """Play on by one frame, which is told but not yet shown to the network."""
        moment = next(self._moments)
        self.told.add(_tensor(moment.actions), _tensor(moment.course), _tensor(moment.begun))
        return moment

    def show(self, moment: Moment, memory: Tensor) -> None:
        """The real picture, and what the network remembered itself, which is corrected by the picture."""
        pictures, begun = _pictures(moment), _tensor(moment.begun)
        self.pictures.add(pictures)
        self.pictures.begin(begun, pictures)
        self.memory = corrected(memory, self._reader(pictures), begun)


def corrected(memory: Tensor, read: Tensor, begun: Tensor) -> Tensor:
    """Return what was remembered moved towards what the last real picture says: all state is from real pictures.

    In play the first picture is the only real one, and there is nothing to correct.
    """
    share = torch.where(begun, 1.0, _CORRECTION)[:, None]
    blend = torch.lerp(memory, read, share)
    circles = blend[:, PLAIN:].unflatten(1, (CIRCLES, 2))
    circles = circles * torch.rsqrt(circles.square().sum(2, keepdim=True) + 1e-4)
    return torch.cat([blend[:, :PLAIN], circles.flatten(1)], 1)


def _tensor(values: npt.NDArray[np.generic]) -> Tensor:
    return torch.from_numpy(values)


def _pictures(moment: Moment) -> Tensor:
    return _tensor(moment.frames).float() / 255


def _decibels(squared: list[float]) -> float:
    return float(-10 * np.log10(np.mean(squared)))


def next_frame(network: Drive) -> list[Line]:
    """One step ahead from real pictures and what was remembered; and with somebody else's actions or course."""
    watcher = Watcher(network, HELD_OUT + 1, EPISODES)
    squared: dict[str, list[float]] = {"own": [], "actions": [], "course": [], "forgot": [], "copy": []}
    each: list[float] = []
    another = torch.arange(EPISODES).roll(EPISODES // 2)
    for number in track(range(_BEFORE + 24), "next frame", console=_CONSOLE):
        moment = watcher.next()
        context, told, memory = watcher.pictures.context(), watcher.told.condition(), watcher.memory
        next_one = network(context, told, memory)
        if number >= _BEFORE:
            real, keep = _pictures(moment), ~_tensor(moment.begun)
            shuffled, elsewhere = told.clone(), told.clone()
            shuffled[:, :ACTION_ENTRIES] = told[another, :ACTION_ENTRIES]
            elsewhere[:, ACTION_ENTRIES:] = told[another, ACTION_ENTRIES:]
            made = {
                "own": next_one.picture,
                "actions": network(context, shuffled, memory).picture,
                "course": network(context, elsewhere, memory).picture,
                "forgot": network(context, told, network.reader(context[:, 0])).picture,
                "copy": context[:, 0],
            }
            for name, picture in made.items():
                off = (picture.clamp(0, 1) - real).square().mean((1, 2, 3))[keep]
                squared[name] += off.tolist()
            each += (-10 * (made["own"].clamp(0, 1) - real).square().mean((1, 2, 3))[keep].log10()).tolist()
        watcher.show(moment, next_one.memory)
    own = _decibels(squared["own"])
    return [
        Line("next frame", own, "dB", least=27),
        Line("next frame, mean over pictures", float(np.mean(each)), "dB"),
        Line("next frame, over the last one copied", own - _decibels(squared["copy"]), "dB"),
        Line(
            "next frame, over the same with shuffled actions",
            own - _decibels(squared["actions"]),
            "dB",
            least=3,
        ),
        Line(
            "next frame, with all that is remembered read off the last one",
            _decibels(squared["forgot"]),
            "dB",
        ),
        Line("next frame, over the same with another course", own - _decibels(squared["course"]), "dB"),
    ]


def rollout(network: Drive) -> list[Line]:
    """Free drives from real pictures with the real keys, against the game and against a frozen picture."""
    watcher = Watcher(network, HELD_OUT + 2, EPISODES)
    for _ in range(_BEFORE):
        moment = watcher.next()
        watcher.show(
            moment, network(watcher.pictures.context(), watcher.told.condition(), watcher.memory).memory
        )
    frozen = watcher.pictures.context()[:, 0]
    alive = torch.ones(EPISODES, dtype=torch.bool)
    lines: list[Line] = []
    sharp: dict[str, list[float]] = {"own": [], "real": []}
    for number in track(range(1, _ROLLOUT + 1), "free drives", console=_CONSOLE):
        moment = watcher.next()
        alive &= ~_tensor(moment.begun)
        real = _pictures(moment)
        made = network(watcher.pictures.context(), watcher.told.condition(), watcher.memory)
        own, watcher.memory = made.picture.clamp(0, 1), made.memory
        watcher.pictures.add(own)
        if number in _HORIZONS:
            driven, still = ((each - real).square().mean((1, 2, 3))[alive].tolist() for each in (own, frozen))
            name = f"free drive, {number} frames"
            lines.append(Line(name, _decibels(driven), "dB"))
            lines.append(
                Line(f"{name}, over the frozen picture", _decibels(driven) - _decibels(still), "dB", least=0)
            )
        if number >= _ROLLOUT // 2:
            sharp["own"] += _sharpness(own[alive]).tolist()
            sharp["real"] += _sharpness(real[alive]).tolist()
    ratio = float(np.mean(sharp["own"]) / np.mean(sharp["real"]))
    lines.append(Line("sharpness of frames 32 to 64, of the real", ratio, "", least=0.6))
    return lines


def _sharpness(pictures: Tensor) -> Tensor:
    """Variance of the Laplacian of the grey picture."""
    grey = pictures.mean(1)
    middle = grey[:, 1:-1, 1:-1]
    laplacian = grey[:, :-2, 1:-1] + grey[:, 2:, 1:-1] + grey[:, 1:-1, :-2] + grey[:, 1:-1, 2:] - 4 * middle
    return laplacian.var((1, 2))


def enlarging(network: Drive) -> list[Line]:
    """What is shown of the next frame, against the game drawn as fine; and the same by a plain enlargement."""
    random = np.random.default_rng(HELD_OUT + 5)
    games, players, fine = (
        Games(random, len(LOOKS), looks=list(LOOKS)),
        Players(random, len(LOOKS)),
        Canvas(LARGER),
    )
    pictures, told = Pictures(torch.from_numpy(games.begin())), Told(len(LOOKS), torch.device("cpu"))
    memory = torch.from_numpy(games.memory())
    squared: dict[str, list[float]] = {"enlarger": [], "plain": []}
    sharp: dict[str, list[float]] = {"enlarger": [], "plain": [], "game": []}
    for number in track(range(_BEFORE + 96), "enlarging", console=_CONSOLE):
        actions = players.next(games.lateral)
        step = games.step(actions)
        told.add(_tensor(actions), _tensor(step.course), _tensor(step.begun))
        made = network(pictures.context(), told.condition(), memory).picture.clamp(0, 1)
        memory = _tensor(step.memory)
        pictures.add(torch.from_numpy(step.frames))
        if number >= _BEFORE and number % 4 == 0:
            true = torch.from_numpy(fine.draw(games.scene, games.scene)[0])
            plain = functional.interpolate(made, scale_factor=float(LARGER), mode="bicubic").clamp(0, 1)
            for name, larger in (("enlarger", network.enlarger(made).clamp(0, 1)), ("plain", plain)):
                squared[name] += (larger - true).square().mean((1, 2, 3)).tolist()
                sharp[name] += _sharpness(larger).tolist()
            sharp["game"] += _sharpness(true).tolist()
    better = _decibels(squared["enlarger"]) - _decibels(squared["plain"])
    own, other = (float(np.mean(sharp[name]) / np.mean(sharp["game"])) for name in ("enlarger", "plain"))
    return [
        Line("next frame enlarged, over a plain enlargement", better, "dB"),
        Line("its sharpness, of the game drawn as fine", own, ""),
        Line("the same of the plain one", other, ""),
    ]


def steering(network: Drive) -> list[Line]:
    """From the same pictures once left, once right: which way does the road go? And in the game itself?"""
    random = np.random.default_rng(HELD_OUT + 3)
    games, players = Games(random, EPISODES), Players(random, EPISODES)
    pictures, told = Pictures(torch.from_numpy(games.begin())), Told(EPISODES, torch.device("cpu"))
    memory = network.reader(torch.from_numpy(games.begin()))
    for _ in range(_BEFORE):
        actions = players.next(games.lateral)
        step = games.step(actions)
        begun = _tensor(step.begun)
        told.add(_tensor(actions), _tensor(step.course), begun)
        frames = torch.from_numpy(step.frames)
        made = network(pictures.context(), told.condition(), memory)
        memory = corrected(made.memory, network.reader(frames), begun)
        pictures.add(frames)
        pictures.begin(begun, frames)
    able = np.flatnonzero((games.speed > 0.2) & (np.abs(games.lateral) < 1.0))
    ends: dict[int, tuple[_Array, _Array]] = {}
    for side in (2, 3):
        real, own, heard, remembered = deepcopy(games), deepcopy(pictures), deepcopy(told), memory
        actions = np.zeros((EPISODES, ACTION_SIZE), np.float32)
        actions[:, [0, side]] = 1
        for _ in range(_STEER_FRAMES):
            step = real.step(actions)
            heard.add(_tensor(actions), _tensor(step.course), _tensor(step.begun))
            made = network(own.context(), heard.condition(), remembered)
            picture, remembered = made.picture.clamp(0, 1), made.memory
            own.add(picture)
        ends[side] = (picture.numpy(), step.frames)
    shifts = {
        name: np.array([_shift(ends[2][which][game], ends[3][which][game]) for game in able])
        for which, name in ((0, "network"), (1, "game"))
    }
    return [
        Line(
            "steering moves the picture the right way",
            100 * float((shifts["network"] > 0).mean()),
            "%",
            least=95,
        ),
        Line("the same in the game", 100 * float((shifts["game"] > 0).mean()), "%"),
        Line("how far, network", float(shifts["network"].mean()), "px"),
        Line("how far, game", float(shifts["game"].mean()), "px"),
    ]


def _shift(left: _Array, right: _Array) -> int:
    """Return how many pixels further right the road is after steering left than after steering right."""
    rows = slice(28, 46)  # below the horizon, above the car
    width, reach = left.shape[-1], 30
    best, least = 0, float("inf")
    for shift in range(-reach, reach + 1):
        a = left[:, rows, max(shift, 0) : width + min(shift, 0)]
        b = right[:, rows, max(-shift, 0) : width + min(-shift, 0)]
        off = float(np.square(a - b).mean())
        if off < least:
            best, least = shift, off
    return best


def endless(weights: Path) -> list[Line]:
    """2,000 free frames of each look with random keys, by what is shipped: does it stay what it was?"""
    starts = {name: _histogram(look(name)) for name in LOOKS}
    between = min(float(np.abs(starts[a] - starts[b]).sum()) for a in LOOKS for b in LOOKS if a < b)
    world = World(weights)
    away, motion, finite = [], [], True
    for seed, name in enumerate(LOOKS):
        players = Players(np.random.default_rng(HELD_OUT + 10 + seed), 1)
        world.begin(look(name), seed)
        last = look(name)
        colours, moved = [], []
        for number in track(range(_LONG), f"{_LONG} frames, {name}", console=_CONSOLE):
            picture = world.step(players.next(np.zeros(1, np.float32))[0])
            finite = finite and bool(np.isfinite(world.latest).all())
            if number >= _LONG - 400:
                colours.append(_histogram(picture))
                moved.append(np.abs(picture.astype(np.float32) - last).mean())
            last = picture
        away.append(float(np.abs(np.mean(colours, axis=0) - starts[name]).sum()))
        motion.append(float(np.mean(moved)) / _real_motion(name))
    return [
        Line("after 2,000 frames, furthest from its look", max(away), "", most=between),
        Line("the nearest two looks are apart", between, ""),
        Line("after 2,000 frames, least motion, of the real", min(motion), "", least=0.5),
        Line("after 2,000 frames, most motion, of the real", max(motion), "", most=2),
        Line("pictures with a number that is not finite", float(not finite), "", most=0),
    ]


def _histogram(picture: npt.NDArray[np.uint8]) -> _Array:
    """Return the shares of 64 colours."""
    cells = (picture >> 6).reshape(-1, 3).astype(np.int64) @ np.array([16, 4, 1])
    return (np.bincount(cells, minlength=64) / len(cells)).astype(np.float32)


def _real_motion(name: str) -> float:
    """Return the mean difference of two frames of the game of this look, 0..255, with the same kind of keys."""
    moments = play(HELD_OUT + 4, 4, looks=[name] * 4)
    last, moved = next(moments).frames, []
    for _ in range(400):
        frames = next(moments).frames
        moved.append(np.abs(frames.astype(np.float32) - last).mean())
        last = frames
    return float(np.mean(moved))


def draw(weights: Path, path: Path, *, frames: int = 64, columns: int = 8) -> None:
    """Draw a free drive of 64 frames as they are shown, at half the size, with the keys that were held on each."""
    plan: list[tuple[list[ExtraKey], int]] = [
        (["W"], 14), (["W", "A"], 6), (["W"], 6), (["W", "D"], 8), (["L"], 5), (["W"], 5), (["W", "J"], 5),
        (["W", "D"], 4), (["S"], 11),
    ]  # fmt: skip
    held = [keys for keys, count in plan for _ in range(count)]
    world = World(weights)
    world.begin(look("meadow"), seed=3)
    for _ in range(30):
        world.step(action(keyboard_key="W"))
    tiles = []
    for keys in held[:frames]:
        wanted = action(extra=keys)
        world.step(wanted)
        tile = Image.fromarray(world.enlarged()).reduce(2)
        ImageDraw.Draw(tile).text((4, 2), letters(wanted), fill="white", stroke_fill="black", stroke_width=1)
        tiles.append(np.asarray(tile))
    rows = [np.concatenate(tiles[i : i + columns], axis=1) for i in range(0, len(tiles), columns)]
    Image.fromarray(np.concatenate(rows)).save(path)


_CONSOLE = Console(stderr=True)


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--weights", type=Path, default=Path("weights/drive"))
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    network = load(options.weights / WEIGHTS)
    lines = [*next_frame(network), *rollout(network), *enlarging(network)]
    lines += [*steering(network), *endless(options.weights)]
    draw(options.weights, options.weights / "drive.png")
    write(lines, options.weights)
    sys.exit(not all(line.reached for line in lines))


if __name__ == "__main__":
    main()
