"""Stdout for results alone, whatever else a process prints."""

from __future__ import annotations

import os
import sys
from typing import TextIO


def claim_stdout() -> TextIO:
    """Keep stdout for the caller and send everybody else's output to stderr, for the rest of the process.

    On the descriptor, not on `sys.stdout`, because native libraries and child processes print as well.
    """
    sys.stdout.flush()
    results = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return results
