"""Endless play: what the training eats. Every stream is determined by its seed.

With workers the games are drawn in processes of their own, for a GPU that would wait for them; the frames are the same
for the same seed and number of workers.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.queues import Queue

import numpy as np
import numpy.typing as npt

from training.game import Games, Players


@dataclass(frozen=True, slots=True)
class Moment:
    """One frame of `count` games."""

    #: (count, 3, 64, 96) uint8: the picture that came of the action
    frames: npt.NDArray[np.uint8]
    #: (count, 3, 64, 96) float16, as `Step.motion`
    motion: npt.NDArray[np.float16]
    #: (count, 6) float32
    actions: npt.NDArray[np.float32]
    #: (count, 2) float32
    course: npt.NDArray[np.float32]
    #: (count, 73) float32, as `Step.memory`
    memory: npt.NDArray[np.float32]
    #: (count,): this is the first picture of another game
    begun: npt.NDArray[np.bool_]


def play(seed: int, count: int, *, looks: list[str] | None = None, every: int = 1) -> Iterator[Moment]:
    """Yield each frame, or only one of `every` so many: the others are not drawn."""
    random = np.random.default_rng(seed)
    games, players = Games(random, count, looks=looks), Players(random, count)
    while True:
        for _ in range(every - 1):
            games.move(players.next(games.lateral))
        actions = players.next(games.lateral)
        step = games.step(actions)
        frames = (step.frames * 255).round().astype(np.uint8)
        memory = step.memory.astype(np.float32)
        motion = step.motion.clip(-1000, 1000).astype(np.float16)
        yield Moment(frames, motion, actions, step.course, memory, step.begun)


@contextmanager
def playing(seed: int, count: int, workers: int, *, every: int = 1) -> Iterator[Iterator[Moment]]:
    """`play`, by this many processes; 0 plays here."""
    if workers == 0:
        yield play(seed, count, every=every)
        return
    spawn = multiprocessing.get_context("spawn")
    queues: list[Queue[Moment]] = [spawn.Queue(8) for _ in range(workers)]
    shares = [count // workers + (number < count % workers) for number in range(workers)]
    processes = [
        spawn.Process(target=_feed, args=(seed + 7919 * number, share, every, queue), daemon=True)
        for number, (share, queue) in enumerate(zip(shares, queues, strict=True))
    ]
    for process in processes:
        process.start()
    try:
        yield _merged(queues)
    finally:
        for process in processes:
            process.terminate()
            process.join()
        for queue in queues:
            queue.close()


def _feed(seed: int, count: int, every: int, queue: Queue[Moment]) -> None:
    for moment in play(seed, count, every=every):
        queue.put(moment)


def _merged(queues: list[Queue[Moment]]) -> Iterator[Moment]:
    while True:
        parts = [queue.get(timeout=120) for queue in queues]
        yield Moment(
            np.concatenate([part.frames for part in parts]),
            np.concatenate([part.motion for part in parts]),
            np.concatenate([part.actions for part in parts]),
            np.concatenate([part.course for part in parts]),
            np.concatenate([part.memory for part in parts]),
            np.concatenate([part.begun for part in parts]),
        )
