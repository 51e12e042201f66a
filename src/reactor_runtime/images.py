"""The picture types of authors' commands, where authors import them: see `author/images.py`."""

from __future__ import annotations

from .author.images import Image, decode_base64_image

__all__ = ["Image", "decode_base64_image"]
