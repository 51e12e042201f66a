"""For tests of an author's model and front end: sessions by hand, leak checks, a model that misbehaves, a clock.

    from reactor_runtime.testing import assert_users_kept_apart, loaded

    def test_the_prompt_changes_the_picture():
        with loaded("path/to/project", fps=30) as model:         # its folder; constructor arguments
            with model.session(seed=1) as session:
                before = session.frame()                          # (height, width, 3) uint8 RGB
                session.send("set_prompt", prompt="a lighthouse") # runs before the next frame
                assert (session.frame() != before).any()

    def test_no_user_sees_another_s_prompt():
        with loaded("path/to/project") as model:
            assert_users_kept_apart(model, lambda session: session.send("set_prompt", prompt="a lighthouse"))

`FaultyModel` and `FaultyGenerator` misbehave on command, see `headless/faulty.py`. Serve one with a manifest that says
`"class": "reactor_runtime.testing:FaultyModel"`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .headless.by_hand import LiveSession, LoadedModel, loaded
from .headless.check import LEAK_BYTES, LEAST_SESSIONS, growth_per_session
from .headless.faulty import FAULTS, FaultyGenerator, FaultyModel
from .headless.fingerprint import changed, fingerprints
from .headless.memory import allocated_bytes, gpu_bytes, resident_bytes
from .limits import MIB
from .types import Pixels

__all__ = [
    "FAULTS",
    "FaultyGenerator",
    "FaultyModel",
    "LiveSession",
    "LoadedModel",
    "ManualClock",
    "assert_memory_is_flat",
    "assert_users_kept_apart",
    "loaded",
]


class ManualClock:
    """A clock that stands still until it is told to go on. Pass it wherever a clock is taken."""

    def __init__(self, now_s: float = 0.0) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s

    def advance(self, seconds: float) -> None:
        self.now_s += seconds


def assert_users_kept_apart(
    model: LoadedModel, act: Callable[[LiveSession], object], *, frames: int = 8, seed: int = 0
) -> None:
    """Assert that a user who comes after another sees what they would have seen without them.

    `act` is what the first user does. A model's first session ever is not compared: it may warm up.
    Raises AssertionError with the frame that differs and what the first user left in the model.
    """

    def watch() -> list[Pixels]:
        with model.session(seed=seed) as session:
            return list(session.frames(frames))

    alone = watch()
    before = fingerprints(model.model)
    with model.session(seed=seed) as session:
        act(session)
        session.frame()
    left = changed(before, fingerprints(model.model))
    for number, (expected, seen) in enumerate(zip(alone, watch(), strict=True), start=1):
        if not np.array_equal(expected, seen):
            raise AssertionError(f"frame {number} shows what another user left; changed: {', '.join(left)}")


def assert_memory_is_flat(
    model: LoadedModel, act: Callable[[LiveSession], object], *, sessions: int = 10, frames: int = 4
) -> None:
    """Assert that sessions do not grow the process, nor the GPU's memory: less than 1 MiB for each.

    Raises ValueError for fewer than 6 sessions, which cannot tell growth from what is made once.
    """
    if sessions < LEAST_SESSIONS:
        raise ValueError(f"sessions: {LEAST_SESSIONS} or more, got {sessions}")
    resident: list[int] = []
    allocated: list[int] = []
    on_gpu: list[int] = []
    for _ in range(sessions):
        with model.session() as session:
            act(session)
            list(session.frames(frames))
        resident.append(resident_bytes())
        allocated.append(allocated_bytes() or 0)
        on_gpu.append(gpu_bytes() or 0)
    for what, counts in (("the process", (resident, allocated)), ("GPU memory", (on_gpu,))):
        growth = growth_per_session(*counts)
        assert growth < LEAK_BYTES, f"{what} grows by {growth / MIB:.1f} MiB per session"
