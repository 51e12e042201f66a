"""State dicts from files, without running what the files bring.

    .safetensors            mapped into memory; cannot hold code
    *.index.json            the shards that it lists, beside it, as one
    .pt .pth .bin .ckpt     PyTorch's restricted unpickler (weights_only=True), mapped where the format allows

The restricted unpickler is a filter and not a wall: it was bypassed twice (CVE-2025-32434, CVE-2026-24747),
so versions of PyTorch before the fixes are refused. Nothing here ever falls back to full unpickling. Who
trusts a file's maker can say so for exactly that content, by its SHA-256; that is logged each time.

Call it in the model process. torch and safetensors are imported here and nowhere else in the package.
"""

from __future__ import annotations

import hashlib
import json
import logging
import pickle
import zipfile
from os import PathLike
from pathlib import Path
from typing import Any

from packaging.version import Version

from .. import limits
from ..errors import UnsafeWeights, WeightsCorrupt, WeightsMissing
from .impostors import impostor

logger = logging.getLogger(__name__)

#: The first release with both known holes of the restricted unpickler closed.
TORCH_MIN = "2.10"
_PICKLES = {".pt", ".pth", ".bin", ".ckpt"}


def load_weights(
    path: str | PathLike[str], *, device: str = "cpu", mmap: bool = True, trust_sha256: str = ""
) -> Any:
    """Return what a weights file holds, usually a dict of names to tensors.

    device        where the tensors go, as torch writes it ("cpu", "cuda", "cuda:1")
    mmap          map the file instead of reading it, so that loading costs no second copy in memory
    trust_sha256  the digest of a pickle that may run code: the consent to load exactly this content in full

    Raises WeightsMissing, WeightsCorrupt for a damaged file, UnsafeWeights for one that could run code.
    """
    file = Path(path)
    if not file.is_file():
        raise WeightsMissing(
            f"{file} is not a file.\n  Fix: look what VideoModel.weights(...) has in its folder."
        )
    if file.name.endswith(".index.json"):
        return _load_shards(file, device, mmap=mmap)
    if (problem := impostor(file)) is not None:
        raise WeightsCorrupt(problem, file=file.name)
    suffix = file.suffix.lower()
    if suffix == ".safetensors":
        return _load_safetensors(file, device)
    if suffix in _PICKLES:
        return _load_pickle(file, device, mmap=mmap, trust_sha256=trust_sha256)
    raise UnsafeWeights(
        f"{file.name}: files of this kind are not loaded here.\n"
        f"  Fix: use .safetensors, or one of {', '.join(sorted(_PICKLES))}, or the .index.json of shards of these."
    )


def _load_shards(file: Path, device: str, *, mmap: bool) -> dict[str, Any]:
    """Load what hubs split: {"weight_map": {tensor: file beside it}}. Only tensors that the map names."""
    try:
        listed = json.loads(file.read_text("utf-8"))["weight_map"]
        shards: dict[str, list[str]] = {}
        for tensor, name in listed.items():
            shards.setdefault(name, []).append(tensor)
        if any(Path(name).name != name or name.endswith(".index.json") for name in shards):
            raise ValueError
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise WeightsCorrupt(
            f'{file.name} is not an index of shards: it has no "weight_map" of tensors to files beside it.',
            file=file.name,
        ) from None
    found: dict[str, Any] = {}
    for name, tensors in shards.items():
        held = load_weights(file.parent / name, device=device, mmap=mmap)
        missing = [tensor for tensor in tensors if tensor not in held]
        if missing:
            raise WeightsCorrupt(
                f"{name} lacks {missing[0]!r}, which {file.name} says it has.\n"
                "  Fix: fetch both again: they are of different versions.",
                file=name,
            )
        found.update((tensor, held[tensor]) for tensor in tensors)
    return found


def _load_safetensors(file: Path, device: str) -> Any:
    _check_safetensors(file)
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError:
        raise WeightsMissing(
            f"{file.name} needs the safetensors package and torch.\n  Fix: pip install safetensors torch"
        ) from None
    try:
        return load_file(file, device=device)
    except SafetensorError as error:
        raise WeightsCorrupt(f"{file.name} is not a safetensors file: {error}", file=file.name) from None


def _check_safetensors(file: Path) -> None:
    """Refuse a header that is longer than the file or the format allows, before anyone allocates for it."""
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(8).ljust(8, b"\xff"), "little")
    if length > min(limits.SAFETENSORS_HEADER_MAX_BYTES, file.stat().st_size - 8):
        raise WeightsCorrupt(
            f"{file.name} is not a safetensors file: its header would have {length} bytes.", file=file.name
        )


def _load_pickle(file: Path, device: str, *, mmap: bool, trust_sha256: str) -> Any:
    try:
        import torch
    except ImportError:
        raise WeightsMissing(f"{file.name} needs PyTorch.\n  Fix: pip install torch") from None
    digest = _sha256(file) if trust_sha256 else ""
    if trust_sha256 and digest == trust_sha256.strip().lower().removeprefix("sha256:"):
        logger.warning("loading %s in full, code included, because its digest %s is trusted", file, digest)
        return torch.load(
            file, map_location=device, weights_only=False, mmap=mmap and zipfile.is_zipfile(file)
        )
    if Version(torch.__version__) < Version(TORCH_MIN):
        raise UnsafeWeights(
            f"{file.name}: PyTorch {torch.__version__} can be made to run code by a weights file.\n"
            f"  Fix: upgrade to PyTorch {TORCH_MIN} or newer, or convert the file to .safetensors."
        )
    try:
        return torch.load(
            file, map_location=device, weights_only=True, mmap=mmap and zipfile.is_zipfile(file)
        )
    except MemoryError:
        raise
    except Exception as error:
        # torch reports a pickle with code, a torn archive and plain junk in a dozen exception types.
        raise _refusal(file, error, trust_sha256) from None


def _refusal(file: Path, error: Exception, trusted: str) -> UnsafeWeights | WeightsCorrupt:
    text = str(error)
    if not isinstance(error, pickle.UnpicklingError | UserWarning) and "weights_only" not in text:
        return WeightsCorrupt(
            f"{file.name} cannot be read as PyTorch weights ({type(error).__name__}).\n"
            "  Fix: fetch it again (`reactor weights verify`), or save it again with torch.save(state_dict).",
            file=file.name,
        )
    digest = _sha256(file)
    other = f"The digest you trust is {trusted}, this file's is another.\n" if trusted else ""
    return UnsafeWeights(
        f"{file.name} holds more than tensors and could run code when it is loaded. {other}\n"
        "  Fix: convert it to .safetensors; or, if you trust whoever made it, say so for exactly this content:\n"
        f'       load_weights(path, trust_sha256="{digest}")',
        sha256=digest,
    )


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
