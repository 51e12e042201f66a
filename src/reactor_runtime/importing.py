"""Imports at the start of a process, without looking for garbage among what stays.

A server's imports make some 300,000 objects, of which none is garbage. The collector looks through all of them again
and again while they grow, at each full collection afterwards, which stops a frame for as long, and at the very end.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def importing() -> Iterator[None]:
    """Collect nothing inside the block, and keep what exists at its end out of every later collection."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


@contextmanager
def importing_what_others_wrote() -> Iterator[None]:
    """As `importing`, but what is garbage at its end goes: a module may do anything when it is imported."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.collect()
        gc.freeze()
