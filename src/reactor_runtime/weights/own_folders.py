"""Where this user's registry and downloads lie, unless a setting says otherwise.

A container often runs as a number that has no name and no home; what to set is said then.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import platformdirs

from ..errors import StoreRefused


def data_folder() -> Path:
    """Return this user's folder for what is kept. Raises StoreRefused when there is no home."""
    return _found(platformdirs.user_data_path, "REACTOR_REGISTRY")


def cache_folder() -> Path:
    """Return this user's folder for downloads. Raises StoreRefused when there is no home."""
    return _found(platformdirs.user_cache_path, "REACTOR_CACHE")


def _found(ask: Callable[..., Path], setting: str) -> Path:
    try:
        # Older releases of the library return a path that still begins with the tilde.
        return ask("reactor", appauthor=False).expanduser()
    except RuntimeError:
        raise StoreRefused(
            f"there is no home folder to keep weights in: HOME is not set, and user {os.getuid()} has none.\n"
            f"  Fix: set {setting}, or HOME, to a folder that this user may write.",
            setting=setting,
        ) from None
