"""How crowded this machine is while a figure is measured: times are asserted as promised where it is quiet.

crowd = Crowd()
...
assert took_s <= 0.1 + crowd.adds_s(NOISE_S)
"""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

from .promises import NIGHTLY

PRESSURE = Path("/proc/pressure/cpu")
#: Something waited for a core this much of the time: the machine is busy with more than the test.
CROWDED_SHARE = 0.1
#: Other tests run beside this one, and any of them may take the cores at the moment that counts.
BESIDE_OTHERS = "PYTEST_XDIST_WORKER" in os.environ


class Crowd:
    """Since it was made. Where the system does not count, a machine is taken for crowded."""

    def __init__(self, pressure: Path = PRESSURE) -> None:
        self._pressure = pressure
        self._began_s, self._before_s = time.monotonic(), self._waited_s()

    @property
    def share(self) -> float:
        """The share of the time in which anything on this machine could have run and had no core."""
        now_s, after_s = time.monotonic(), self._waited_s()
        if self._before_s is None or after_s is None:
            return 1.0
        return (after_s - self._before_s) / max(1e-3, now_s - self._began_s)

    @property
    def crowded(self) -> bool:
        """Whether a figure is to be asserted with room; never under `make nightly`."""
        return not NIGHTLY and (BESIDE_OTHERS or self.share >= CROWDED_SHARE)

    def adds_s(self, noise_s: float) -> float:
        """Return what is added to a figure: nothing where it is not crowded."""
        return noise_s if self.crowded else 0.0

    def _waited_s(self) -> float | None:
        try:
            found = re.search(r"some .*total=(\d+)", self._pressure.read_text())
        except OSError:
            return None
        return int(found[1]) / 1e6 if found else None
