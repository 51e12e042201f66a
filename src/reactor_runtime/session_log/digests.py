"""What stands for a picture when two sessions are compared. Pure."""

from __future__ import annotations

import hashlib

import numpy as np

from ..types import Pixels


def digest_of(pixels: Pixels) -> str:
    """Return what stands for a picture: BLAKE2b, 16 bytes, of its height, width and RGB bytes."""
    digest = hashlib.blake2b(f"{pixels.shape[0]}x{pixels.shape[1]} ".encode(), digest_size=16)
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()
