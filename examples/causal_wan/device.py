"""Where the model runs, in which type, and whether it fits: asked before anything is loaded."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from reactor_runtime.errors import ManifestError

GIB = 1024**3
#: Activations, the allocator's slack and the libraries' own memory: an estimate, see docs/real-models.md.
WORKING_BYTES = 3 * GIB

_DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}


def choose(device: str, dtype: str) -> tuple[torch.device, torch.dtype]:
    """Return the device and type of the arguments; "" is bfloat16 on a GPU and float32 on a CPU."""
    if device.startswith("cuda") and not torch.cuda.is_available():
        built = (
            "this PyTorch is a CPU build" if torch.version.cuda is None else "no usable NVIDIA GPU is visible"
        )
        raise ManifestError(
            f"it is {device!r}, and {built}",
            key="args.device",
            fix="run it where nvidia-smi shows a GPU, with a CUDA build of PyTorch; "
            "or try the code on this CPU with --arg profile=tiny",
        )
    try:
        chosen = torch.device(device)
    except RuntimeError:
        raise ManifestError(
            f"it is {device!r}", key="args.device", fix='write "cuda", "cuda:1" or "cpu"'
        ) from None
    name = dtype or ("float32" if chosen.type == "cpu" else "bfloat16")
    if name not in _DTYPES:
        raise ManifestError(f"it is {name!r}", key="args.dtype", fix=f"write one of {', '.join(_DTYPES)}")
    return chosen, _DTYPES[name]


def bytes_of(module: nn.Module, dtype: torch.dtype) -> int:
    """Return what a module's parameters take; it may be on the meta device."""
    return sum(tensor.numel() for tensor in module.parameters()) * dtype.itemsize


def check_memory(device: torch.device, needed: Mapping[str, int]) -> None:
    """Raise ManifestError if a GPU has less free memory than all this and WORKING_BYTES."""
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        refuse_if_short({**needed, "working memory": WORKING_BYTES}, free=free, total=total)


def refuse_if_short(needed: Mapping[str, int], *, free: int, total: int) -> None:
    """Raise ManifestError with the whole sum if it is more than what is free."""
    if (wanted := sum(needed.values())) > free:
        parts = ", ".join(f"{name} {size / GIB:.1f}" for name, size in needed.items())
        raise ManifestError(
            f"{wanted / GIB:.1f} GiB of GPU memory are needed ({parts}), and {free / GIB:.1f} of "
            f"{total / GIB:.1f} GiB are free",
            key="args.size",
            fix="end what else uses the GPU (nvidia-smi lists it), take a larger GPU, or a smaller size",
        )


def check_size(size: tuple[int, int]) -> tuple[int, int]:
    """Return the latent height and width of a picture size."""
    if len(size) != 2 or any(not isinstance(side, int) or side < 32 or side % 16 for side in size):
        raise ManifestError(
            f"it is {list(size)}",
            key="args.size",
            fix="write height and width as multiples of 16, for example [480, 832]",
        )
    return size[0] // 8, size[1] // 8
