"""How many threads the libraries of a model compute with: one core stays for the server that encodes and sends.

OpenMP, MKL and OpenBLAS take every core unless told otherwise, and then a step waits for the thread whose core is
encoding: on two cores a small network is several times slower live than alone. They read their environment when
they are loaded, so it is set before the model process starts. What an author sets in code comes later, and wins.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

#: What the libraries read. torch takes OpenMP's; numexpr refuses to start with more than its own maximum.
VARIABLES: Final = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_MAX_THREADS")


def environment(
    inherited: Mapping[str, str], asked: int, cores: int, *, slots: int = 1, gpu: str = ""
) -> dict[str, str]:
    """Return the model process's environment. `asked`: the operator's number, 0 for what is left of the cores.

    Without an operator's number, whatever the environment says already stays, and `slots` model processes share what
    is left. `gpu`: the only one that it sees.
    """
    found = dict(inherited)
    if gpu:
        # In the order of nvidia-smi, by which people count them; CUDA's own is the fastest first.
        found |= {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": gpu}
    if asked:
        return found | dict.fromkeys(VARIABLES, str(asked))
    if not any(found.get(name) for name in VARIABLES):
        found |= dict.fromkeys(VARIABLES, str(max(1, (cores - 1) // slots)))
    return found


def settle(asked: int) -> None:
    """Do in this process as is done for a model process, before it imports what computes.

    What runs a session again has to add up in the same order as the live one: with other threads sums round otherwise.
    """
    os.environ.update(environment(os.environ, asked, usable_cores()))


def usable_cores(group: Path = Path("/sys/fs/cgroup")) -> int:
    """Return the cores that this process may use: a container is often given fewer than the machine has."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = (group / "cpu.max").read_text("ascii").split()
        return max(1, min(cores, math.ceil(int(quota) / int(period))))
    except (OSError, ValueError):  # no such group, or "max"
        return cores
