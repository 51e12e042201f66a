"""Train the network on endless play.

    cd examples/drive
    python -m training.train --out runs/drive                       # two CPU cores, under 90 minutes
    python -m training.train --out runs/drive --device cuda --games 256 --workers 12

First three parts learn alone: the reckoner, from games that are not drawn, the reader and the painter, from single
frames. Then the games run on while the network learns. At first it predicts each next frame from the real ones, then
from its own earlier predictions, which are replaced by the real ones after a random number of frames: so it learns to
go on from pictures that are its own, at the price of one step per frame. Last the enlarger learns from what it makes.

Interrupted, the same command goes on from the last checkpoint (with fresh games).
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from torch import Tensor, nn

from training.enlarging import enlarged
from training.history import Pictures, Told
from training.network import Drive, Made
from training.parts import Lesson, painted, read, unlike
from training.plays import Moment, playing
from training.reckoning import reckoned
from training.sheet import write_sheet

#: Of the network, which are learned by themselves.
PARTS = ("reckoner", "reader", "painter", "enlarger")


@dataclass(frozen=True, slots=True)
class Recipe:
    """What the result depends on."""

    #: First what the keys make of the state of the games is learned, then what it looks like, then to mix that with
    #: the last picture, last to enlarge it.
    reckonings: int = 5000
    readings: int = 9000
    paintings: int = 9000
    iterations: int = 2000
    enlargings: int = 1500
    games: int = 32
    seed: int = 1
    learning_rate: float = 1e-3
    warm_up: int = 200
    #: Until the first of these shares of the training the network only sees real pictures; then runs of its own
    #: predictions get longer, to reach their longest, in frames, at the second.
    sheltered: float = 0.2
    grown: float = 0.5
    longest_run: int = 32
    #: The chance that what is remembered is what the reader makes of the picture, and not exact.
    misread: float = 0.5
    #: per pixel of error in the flow
    flow: float = 0.01
    fresh: float = 0.3
    average: float = 0.999


@dataclass(frozen=True, slots=True)
class Truth:
    """What should have been made of one frame, on the device."""

    picture: Tensor
    motion: Tensor
    #: (B,): 1, or 0 where there is nothing to learn
    counts: Tensor


def loss_of(made: Made, truth: Truth, recipe: Recipe) -> tuple[Tensor, Tensor]:
    """Return what is minimised, and the plain squared error."""
    squared, loss = unlike(made.picture, truth.picture, truth.counts)
    weights = truth.counts / truth.counts.sum().clamp(min=1)
    # Where things move is known here, and an image's gradient alone does not lead there from afar.
    known = truth.motion[:, 2:] * weights[:, None, None, None]
    astray = ((made.flow - truth.motion[:, :2]).abs() * known).sum() / made.flow[0].numel()
    loss = loss + recipe.fresh * unlike(made.fresh, truth.picture, truth.counts)[1] + recipe.flow * astray
    return loss, squared.detach()


class Training:
    def __init__(self, recipe: Recipe, out: Path, device: torch.device, *, compiled: bool) -> None:
        torch.manual_seed(recipe.seed)
        self._recipe, self._out, self._device = recipe, out, device
        self._random = np.random.default_rng(recipe.seed)
        self.network = Drive().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = Drive().to(device)
        self.average.load_state_dict(self.network.state_dict())
        self.average.requires_grad_(False)
        self._predict = torch.compile(self.network) if compiled else self.network
        for name in PARTS:
            self.network.get_submodule(name).requires_grad_(False)
        learning = [each for each in self.network.parameters() if each.requires_grad]
        self._optimizer = torch.optim.AdamW(learning, recipe.learning_rate, weight_decay=0.01)
        self.iteration = 0
        self.seconds = 0.0
        self._taken: list[str] = []
        self._checkpoint = out / "checkpoint.pt"
        if self._checkpoint.exists():
            self._load()

    def take(self, name: str, learned: Callable[[], nn.Module]) -> None:
        """Once: take over this part from its file, or else learn it and write the file."""
        if name in self._taken:
            return
        path = self._out / f"{name}.pt"
        if not path.exists():
            started = time.monotonic()
            state = learned().state_dict()
            torch.save({"state": state, "seconds": time.monotonic() - started}, path)
        part = torch.load(path, map_location=self._device, weights_only=True)
        for network in (self.network, self.average):
            network.get_submodule(name).load_state_dict(part["state"])
        self.seconds += part["seconds"]
        self._taken.append(name)

    def begin(self, moment: Moment) -> None:
        """Fill the histories from the first frame of the games."""
        frames = self._pictures(moment)
        self._real, self._own = Pictures(frames), Pictures(frames)
        self._told = Told(len(frames), self._device)
        self._memory = self.network.reader(frames)
        self._left = torch.zeros(len(frames), dtype=torch.long)

    def step(self, moment: Moment) -> float:
        """Learn from one frame of every game; return the mean squared error."""
        frames, begun = self._pictures(moment), self._tensor(moment.begun)
        self._told.add(self._tensor(moment.actions), self._tensor(moment.course), begun)
        for group in self._optimizer.param_groups:
            group["lr"] = self._rate()
        with torch.autocast(self._device.type, torch.bfloat16):
            made = self._predict(self._own.context(), self._told.condition(), self._memory)
        truth = Truth(frames, self._tensor(moment.motion).float(), (~begun).float())
        loss, squared = loss_of(made, truth, self._recipe)
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self._optimizer.step()
        self._follow()

        self._real.add(frames)
        self._own.add(made.picture.detach().clamp(0, 1))
        self._real.begin(begun, frames)
        self._own.begin(begun, frames)
        self._left -= 1
        due = self._left < 0
        self._left[due] = self._runs(int(due.sum()))
        due = due.to(self._device)
        self._own.put(due, self._real)
        begins = begun | due
        self._memory = torch.where(begins[:, None], self._tensor(moment.memory), made.memory.detach())
        misread = torch.from_numpy(self._random.random(len(frames)) < self._recipe.misread)
        misread = misread.to(self._device) & begins
        if misread.any():
            self._memory[misread] = self.network.reader(frames[misread])
        self.iteration += 1
        return float(squared)

    def _runs(self, count: int) -> Tensor:
        """How many frames to go on from own predictions: often few, sometimes many, and more as it gets better."""
        recipe = self._recipe
        grown = (self._progress() - recipe.sheltered) / (recipe.grown - recipe.sheltered)
        if grown < 0:
            return torch.zeros(count, dtype=torch.long)
        longest = 2 * (recipe.longest_run / 2) ** min(1.0, grown)
        runs = np.floor(longest ** self._random.random(count)).astype(np.int64)
        return torch.from_numpy(np.where(self._random.random(count) < 0.25, 0, runs))

    def _progress(self) -> float:
        return min(1.0, self.iteration / self._recipe.iterations)

    def _rate(self) -> float:
        warm = min(1.0, (self.iteration + 1) / self._recipe.warm_up)
        return (
            self._recipe.learning_rate
            * warm
            * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * self._progress())))
        )

    def _follow(self) -> None:
        keep = min(self._recipe.average, (1 + self.iteration) / (10 + self.iteration))
        torch._foreach_lerp_(
            list(self.average.parameters()), [p.detach() for p in self.network.parameters()], 1 - keep
        )

    def _pictures(self, moment: Moment) -> Tensor:
        return self._tensor(moment.frames).float() / 255

    def _tensor(self, values: npt.NDArray[Any]) -> Tensor:
        return torch.from_numpy(values).to(self._device)

    # Files -------------------------------------------------------------------------------------------

    def save(self) -> None:
        state = {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "iteration": self.iteration,
            "seconds": self.seconds,
            "taken": self._taken,
            "recipe": asdict(self._recipe),
        }
        half_written = self._checkpoint.with_suffix(".new")
        torch.save(state, half_written)
        half_written.replace(self._checkpoint)

    def _load(self) -> None:
        state = torch.load(self._checkpoint, map_location=self._device, weights_only=True)
        if state["recipe"] != asdict(self._recipe):
            raise SystemExit(
                f"{self._checkpoint} was trained as {state['recipe']}, not as {asdict(self._recipe)}: "
                "give the same options, or another --out"
            )
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self._optimizer.load_state_dict(state["optimizer"])
        self.iteration, self.seconds, self._taken = state["iteration"], state["seconds"], state["taken"]


def train(recipe: Recipe, out: Path, device: torch.device, *, workers: int, compiled: bool) -> None:
    out.mkdir(parents=True, exist_ok=True)
    training = Training(recipe, out, device, compiled=compiled)
    # After an interruption other games are played, not the first ones again.
    seed = recipe.seed * 1_000_003 + training.iteration
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        TimeRemainingColumn(),
    )  # fmt: skip
    with playing(seed, recipe.games, workers) as moments, Progress(*columns) as progress:
        lesson = Lesson(recipe.games, recipe.seed, device, workers, compiled, progress)
        training.take("reckoner", lambda: reckoned(recipe.reckonings, recipe.seed, progress))
        training.take("reader", lambda: read(recipe.readings, lesson))
        training.take("painter", lambda: painted(recipe.paintings, lesson))
        task = progress.add_task("training", total=recipe.iterations, completed=training.iteration)
        training.begin(next(moments))
        errors: list[float] = []
        started = time.monotonic() - training.seconds
        while training.iteration < recipe.iterations:
            errors.append(training.step(next(moments)))
            training.seconds = time.monotonic() - started
            if training.iteration % 100 == 0:
                decibels = -10 * math.log10(float(np.mean(errors)))
                errors.clear()
                progress.update(task, completed=training.iteration, description=f"{decibels:.2f} dB")
                line = {"iteration": training.iteration, "seconds": training.seconds, "psnr_db": decibels}
                with (out / "log.jsonl").open("a") as log:
                    log.write(json.dumps(line) + "\n")
            if training.iteration % 500 == 0 or training.iteration == recipe.iterations:
                training.save()
            if training.iteration % 1000 == 0:
                write_sheet(training.average, out / f"samples-{training.iteration:06}.png")
        training.take("enlarger", lambda: enlarged(recipe.enlargings, training.average, lesson))
        training.save()
        write_sheet(training.average, out / f"samples-{training.iteration:06}.png")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    default = Recipe()
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoints, the log and samples")
    parser.add_argument("--iterations", type=int, default=default.iterations)
    parser.add_argument(
        "--games", type=int, default=default.games, help="how many are played at once: the batch"
    )
    parser.add_argument("--seed", type=int, default=default.seed)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--workers", type=int, default=0, help="processes that draw games; 0: this one does")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--compile", action="store_true", help="with torch.compile: faster by a third, needs g++"
    )
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    recipe = Recipe(iterations=options.iterations, games=options.games, seed=options.seed)
    train(
        recipe, options.out, torch.device(options.device), workers=options.workers, compiled=options.compile
    )


if __name__ == "__main__":
    main()
