"""`breakpoint()` in the model process, which has no terminal: passed by, and said once for each place.

Without this pdb would meet the end of its input and raise BdbQuit into the author's loop. PYTHONBREAKPOINT is
followed as ever, so that a debugger which listens on a port can be named there.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any


class PassedBy:
    """A breakpoint hook that tells where it was met. Any thread."""

    def __init__(self, log: Callable[[str], None]) -> None:
        self._log = log
        self._told: set[tuple[str, int]] = set()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if os.environ.get("PYTHONBREAKPOINT"):
            return sys.__breakpointhook__(*args, **kwargs)
        caller = sys._getframe(1)
        place = caller.f_code.co_filename, caller.f_lineno
        if place not in self._told:
            self._told.add(place)
            self._log(
                f"{place[0]}:{place[1]}: breakpoint() was passed by, because the model process has no terminal.\n"
                "  Fix: run it with --inline, or with reactor render, which stop there; "
                "or set PYTHONBREAKPOINT to a debugger that listens on a port."
            )
        return None
