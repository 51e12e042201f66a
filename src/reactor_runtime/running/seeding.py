"""What a session's seed means: where repeatable random numbers come from.

A session that has a seed begins with the generators of Python, numpy and (where it is loaded) torch, CUDA
included, seeded with it, on the model's thread. A model with a generator of its own makes it per session,
as in `numpy.random.default_rng(get_ctx().seed)`. Without a seed nothing is touched.
"""

from __future__ import annotations

import random
import sys

import numpy as np


def seed_generators(seed: int) -> None:
    """Seed the process's global generators. Imports nothing: a torch that is not loaded needs no seed."""
    random.seed(seed)
    np.random.seed(seed)
    torch = sys.modules.get("torch")
    if torch is not None and hasattr(torch, "manual_seed"):
        torch.manual_seed(seed)
