"""A stand-in for PyTorch: the five names that this example's verbatim text uses, over numpy.

The text says `torch.device("cuda")`, and a laptop has neither CUDA nor, usually, PyTorch. Python finds this
file first because the runtime puts a project's own folder first on the path; delete it (and `longlive/`)
to run the same text on the real libraries. `device("cuda")` is accepted and means this CPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt


class Tensor:
    """Nothing here is a PyTorch tensor; the name lets others ask `isinstance(x, torch.Tensor)`."""


@dataclass(frozen=True, slots=True)
class device:  # PyTorch's name
    type: str


class cuda:  # PyTorch's name
    """The CUDA functions the text calls; there is no CUDA memory here to free."""

    @staticmethod
    def is_available() -> bool:
        return False

    @staticmethod
    def empty_cache() -> None:
        return None


_generator = np.random.default_rng(0)


def randn(size: Sequence[int], *, device: device) -> npt.NDArray[np.float32]:
    """Return standard normal numbers of this shape."""
    return _generator.standard_normal(size, dtype=np.float32)


def load(path: str | Path) -> dict[str, npt.NDArray[np.float32]]:
    """Read the state dict that make_weights.py wrote (a zip of arrays, no pickle)."""
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}
