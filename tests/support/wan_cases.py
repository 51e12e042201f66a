"""Small random networks, and plain ways to say what the real code must equal. Importing this takes PyTorch."""

from __future__ import annotations

from dataclasses import replace

import torch
from causal_wan import config, tiny_weights
from causal_wan.config import StreamConfig, WanConfig
from causal_wan.transformer import CausalWan, Context
from torch import Tensor

torch.set_num_threads(1)

CPU = torch.device("cpu")
#: Height and width of the latents: 2 x 3 tokens a frame.
SIZE = (4, 6)
TOKENS = (SIZE[0] // 2) * (SIZE[1] // 2)


def seeded(*shape: int, seed: int = 0, scale: float = 1.0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * scale


def network(size: WanConfig, *, seed: int = 0) -> CausalWan:
    """A network whose every parameter is random, norms included, so that none can be left out unnoticed."""
    model = CausalWan(size)
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=random)
            if "norm" in name and name.endswith("weight"):
                parameter.copy_(1 + 0.2 * noise)
            else:
                parameter.copy_(noise * (parameter.shape[-1] ** -0.5 if parameter.ndim > 1 else 0.1))
        # Outputs stay within about 2, where the bounds of these tests are a dozen steps of float32.
        model.head.head.weight.mul_(0.4)
    return model.requires_grad_(False).eval()


def tiny_longlive(**changes: object) -> WanConfig:
    return replace(config.longlive("tiny").wan, **changes)  # type: ignore[arg-type]


def a_context(model: CausalWan, *, seed: int = 1) -> Context:
    size = model.config
    tokens = (
        seeded(1, size.text_len, size.text_dim, seed=seed)
        if size.text_dim
        else seeded(1, 5, size.image_dim, seed=seed)
    )
    return model.context(tokens)


def block_mask(frames: int, stream: StreamConfig) -> Tensor:
    """Which frame sees which, as [frames, frames] booleans: its block, the sink, and the newest of the rest."""
    mask = torch.zeros(frames, frames, dtype=torch.bool)
    for frame in range(frames):
        end = (frame // stream.block + 1) * stream.block
        mask[frame, : min(stream.sink, end)] = True
        mask[frame, max(0, end - (stream.window - stream.sink)) : end] = True
    return mask


def token_mask(frames: int, stream: StreamConfig, tokens: int = TOKENS) -> Tensor:
    return block_mask(frames, stream).repeat_interleave(tokens, 0).repeat_interleave(tokens, 1)


def largest_difference(a: Tensor, b: Tensor) -> float:
    assert a.shape == b.shape
    return float((a - b).abs().max())


__all__ = [
    "CPU",
    "SIZE",
    "TOKENS",
    "a_context",
    "block_mask",
    "config",
    "largest_difference",
    "network",
    "seeded",
    "tiny_longlive",
    "tiny_weights",
    "token_mask",
]
