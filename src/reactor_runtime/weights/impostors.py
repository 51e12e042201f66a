"""What lies where weights should be: a pointer that git left behind, a web page that a download saved.

Both have the right name, and a loader's own words on them ("invalid header", "magic number") help nobody.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

HEAD_BYTES: Final = 512
#: Files that hold weights; a page of documentation among them is nobody's mistake.
SUFFIXES: Final = frozenset(
    {
        ".safetensors",
        ".pt",
        ".pth",
        ".bin",
        ".ckpt",
        ".onnx",
        ".gguf",
        ".npz",
        ".npy",
        ".pkl",
        ".h5",
        ".msgpack",
    }
)


def impostor(file: Path) -> str | None:
    """Say what a file named as weights really is, and the fix; None for one that may be what it says."""
    if file.suffix.lower() not in SUFFIXES:
        return None
    with file.open("rb") as opened:
        head = opened.read(HEAD_BYTES).removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if head.startswith(b"version https://git-lfs.github.com/spec/"):
        return (
            f"{file.name} is a Git LFS pointer and not the file itself.\n"
            "  Fix: `git lfs install`, then `git lfs pull` in the folder where it was cloned."
        )
    if head.startswith((b"/annex/objects/", b"../.git/annex/objects/", b".git/annex/objects/")):
        return (
            f"{file.name} is a git-annex pointer and not the file itself.\n"
            "  Fix: `git annex get` in the folder where it was cloned."
        )
    if head.startswith((b"<!doctype html", b"<html")):
        return (
            f"{file.name} is a web page and not weights: a download saved what a browser shows.\n"
            "  Fix: download the file itself (on hubs the link with /resolve/ and not /blob/; gated ones need a token)."
        )
    if head.startswith(b"<?xml") and b"<error>" in head:
        return (
            f"{file.name} is the error message of a store and not weights.\n"
            "  Fix: download it again, with access."
        )
    return None
