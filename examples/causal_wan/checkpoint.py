"""The published files, taken strictly: exactly the keys and shapes that the network has, or an error that says which.

A module is made on the meta device, so nothing is allocated or initialised twice; then each tensor goes from the
memory-mapped file to its device and type, one after the other. Files are read without running what they bring.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from reactor_runtime.errors import WeightsMissing
from reactor_runtime.weights.state_dicts import load_weights

Tensors = Mapping[str, Tensor]
Shapes = Mapping[str, tuple[int, ...]]

_FSDP = "_fsdp_wrapped_module."
_LORA = "base_model.model."
_SHOWN = 4


class WrongCheckpoint(WeightsMissing):
    """The file is not the checkpoint that this model needs. Names keys and shapes, and the fix."""


def find(folder: Path, *patterns: str) -> Path:
    """Return the first file that a pattern matches, tried in order. Raises WeightsMissing."""
    for pattern in patterns:
        if found := sorted(folder.glob(pattern)):
            return found[0]
    there = ", ".join(sorted(path.name for path in folder.iterdir())[:8])
    raise WeightsMissing(
        f"{folder} has no {patterns[0]}; it has {there}.\n"
        f"  Fix: put the published file there under that name{_or(patterns)}, and push it again."
    )


def read(file: Path) -> dict[str, Any]:
    """Return what a .pt, .pth or .safetensors file holds. Raises what load_weights raises, or WrongCheckpoint."""
    held = load_weights(file)
    if not isinstance(held, dict):
        raise WrongCheckpoint(f"{file.name} holds a {type(held).__name__}, and a dict of tensors is needed.")
    return held


def generator(file: Path) -> dict[str, Tensor]:
    """Return LongLive's network from its container: {"generator": {"model.<key>": tensor}}.

    "generator_ema" and "model" are read in place of "generator", as the published code does.
    """
    held = read(file)
    inside = next((held[key] for key in ("generator", "generator_ema", "model") if key in held), None)
    if not isinstance(inside, dict):
        raise WrongCheckpoint(
            f'{file.name} has no "generator" or "model"; it has {_few(list(held))}.\n'
            "  Fix: use longlive_base.pt of LongLive 1.3B (version 1), not of version 2."
        )
    return under_model({key.replace(_FSDP, ""): tensor for key, tensor in inside.items()}, file)


def under_model(tensors: Tensors, file: Path) -> dict[str, Tensor]:
    """Strip the wrapper's "model." from every key."""
    bare = [key for key in tensors if not key.startswith("model.")]
    if bare:
        raise WrongCheckpoint(
            f'{file.name}: every key of the published file starts with "model.", and {_few(bare)} do not.'
        )
    return {key.removeprefix("model."): tensor for key, tensor in tensors.items()}


def merge_lora(tensors: dict[str, Tensor], file: Path, *, alpha: float) -> None:
    """Add a low-rank update to every linear layer of the blocks: W += alpha / rank * B @ A (Hu et al., 2021).

    Computed in float32 and rounded once. The update must cover exactly the layers that there are.
    """
    held = read(file)
    pairs = {key.removeprefix(_LORA): tensor for key, tensor in held.get("generator_lora", held).items()}
    layers = [
        key.removesuffix(".weight")
        for key, tensor in tensors.items()
        if key.startswith("blocks.") and key.endswith(".weight") and tensor.ndim == 2
    ]
    # The rank is the file's own; every pair must have the same.
    rank = next((len(tensor) for key, tensor in pairs.items() if key.endswith("lora_A.weight")), 0)
    shapes = {f"{layer}.lora_A.weight": (rank, tensors[f"{layer}.weight"].shape[1]) for layer in layers}
    shapes |= {f"{layer}.lora_B.weight": (tensors[f"{layer}.weight"].shape[0], rank) for layer in layers}
    check(shapes, pairs, file)
    for layer in layers:
        a, b = pairs[f"{layer}.lora_A.weight"].float(), pairs[f"{layer}.lora_B.weight"].float()
        whole = tensors[f"{layer}.weight"]
        tensors[f"{layer}.weight"] = (whole.float() + alpha / rank * (b @ a)).to(whole.dtype)


def shapes_of(module: nn.Module, original: Callable[[str], str] = str) -> dict[str, tuple[int, ...]]:
    """Return the keys and shapes that a file for this module must have."""
    return {original(name): tuple(tensor.shape) for name, tensor in module.state_dict().items()}


def check(shapes: Shapes, tensors: Tensors, file: Path) -> None:
    """Raise WrongCheckpoint unless `tensors` has exactly these keys and shapes."""
    missing = [key for key in shapes if key not in tensors]
    extra = [key for key in tensors if key not in shapes]
    other = [
        f"{key} is {tuple(tensors[key].shape)} and should be {shape}"
        for key, shape in shapes.items()
        if key in tensors and tuple(tensors[key].shape) != shape
    ]
    if not (missing or extra or other):
        return
    said = [f"{file.name} is not the checkpoint that this model needs ({len(shapes)} tensors):"]
    for what, keys in (("missing", missing), ("unknown", extra), ("of another shape", other)):
        if keys:
            said.append(f"  {len(keys)} {what}: {_few(keys)}")
    fix = (
        "another model, size or mode"
        if len(missing) + len(extra) + len(other) > _SHOWN
        else "an altered file"
    )
    said.append(
        f"  Fix: this looks like {fix}; compare `profile` and `mode`, or fetch the published file again."
    )
    raise WrongCheckpoint("\n".join(said))


def fill(module: nn.Module, tensors: Tensors, *, device: torch.device, dtype: torch.dtype) -> None:
    """Give a meta-device module these tensors, named as its own, and make it ready for inference."""
    moved: dict[int, Tensor] = {}  # umt5 has its embedding under two names, and needs it once
    placed = {}
    for name in module.state_dict():
        tensor = tensors[name]
        if id(tensor) not in moved:
            moved[id(tensor)] = tensor.to(device, dtype)
        placed[name] = moved[id(tensor)]
    module.load_state_dict(placed, strict=True, assign=True)
    module.requires_grad_(False).eval()


def _few(keys: list[str]) -> str:
    more = f" and {len(keys) - _SHOWN} more" if len(keys) > _SHOWN else ""
    return ", ".join(keys[:_SHOWN]) + more


def _or(patterns: tuple[str, ...]) -> str:
    return f" (or {', '.join(patterns[1:])})" if len(patterns) > 1 else ""
