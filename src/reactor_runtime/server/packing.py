"""How a file of the page is sent: packed as small as it goes, once for each content, and kept between starts.

Brotli's last level takes a processor for a third of a second, which the first visitor of every server would wait for.
What it made is kept in this user's cache folder under the content's digest, and believed only if it unpacks to
that content. Where nothing can be kept, each server packs for itself.
"""

from __future__ import annotations

import gzip
import hashlib
import logging
import os
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

import platformdirs

from .. import limits

try:
    import brotli
except ImportError:  # an installation without its dependencies serves gzip
    brotli = None

log = logging.getLogger(__name__)

_SUFFIX: Final = ".br"


def _brotli(content: bytes) -> bytes:
    name = hashlib.sha256(content).hexdigest() + _SUFFIX
    try:
        folder = platformdirs.user_cache_path("reactor", appauthor=False).expanduser() / "page"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return _kept(content, folder / name)
    except (OSError, RuntimeError) as error:  # no home, or none that may be written
        log.debug("the packed page is not kept: %s", error)
        return _made(content)


def _made(content: bytes) -> bytes:
    return bytes(brotli.compress(content, quality=11))


def _kept(content: bytes, file: Path) -> bytes:
    try:
        found = file.read_bytes()
        if brotli.decompress(found) == content:
            return found
    except (FileNotFoundError, brotli.error):  # new, or cut off by a full disk
        pass
    made = _made(content)
    # Two servers may begin at once: each file comes into being whole.
    descriptor, begun = tempfile.mkstemp(dir=file.parent)
    try:
        with open(descriptor, "wb") as out:
            out.write(made)
        os.replace(begun, file)
    except OSError:
        os.unlink(begun)
        raise
    _forget_old(file.parent)
    return made


def _forget_old(folder: Path) -> None:
    """Keep what was made last: every release has contents of its own."""
    newest_first = sorted(folder.glob("*" + _SUFFIX), key=lambda file: file.stat().st_mtime, reverse=True)
    for file in newest_first[limits.PACKED_FILES_MAX :]:
        file.unlink(missing_ok=True)


#: How a file can be packed, the best first. Blocks.
CODINGS: Final[dict[str, Callable[[bytes], bytes]]] = {
    **({"br": _brotli} if brotli else {}),
    "gzip": lambda content: gzip.compress(content, mtime=0),
}
#: The same for what is sent once: about a millisecond.
QUICKLY: Final[dict[str, Callable[[bytes], bytes]]] = {
    **({"br": lambda content: bytes(brotli.compress(content, quality=5))} if brotli else {}),
    "gzip": lambda content: gzip.compress(content, 5, mtime=0),
}


def coding_of(accepted: str) -> str:
    """Return the best of our codings that a client takes, or nothing."""
    names = {
        part.split(";")[0].strip()
        for part in accepted.split(",")
        if not re.search(r";\s*q=0(\.0*)?\s*$", part)
    }
    return next((coding for coding in CODINGS if coding in names), "")
