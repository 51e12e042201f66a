"""The golden values and the rule that makes their weights, inputs and pictures: golden/README.md says what they are.

tensors("vae", "vae/")    every parameter of a small network, under its published name
drawn(name, shape)        an input
golden("longlive")        the stored arrays; `.check(name, found)` compares one
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import numpy.typing as npt
import torch
from causal_wan.config import (
    ActionConfig,
    LongLiveConfig,
    MatrixConfig,
    Mode,
    Positions,
    StreamConfig,
    TextConfig,
    VaeConfig,
    VisionConfig,
    WanConfig,
    matrix,
)
from PIL import Image
from torch import Tensor

FOLDER = Path(__file__).parents[1] / "causal_wan" / "golden"
#: Height and width of the pictures and of their latents.
SIZE, LATENTS = (32, 48), (4, 6)

WAN = WanConfig(width=256, ffn=512, heads=2, layers=2, freq_dim=256, text_dim=32, text_len=512)
VAE = VaeConfig(base_dim=16)
TEXT = TextConfig(vocabulary=512, width=32, ffn=48, heads=2, head_dim=16, layers=2, buckets=8)
VISION = VisionConfig(width=160, ffn=320, heads=2, layers=3, picture=56, patch=14)


def longlive_config(positions: Positions) -> LongLiveConfig:
    return LongLiveConfig(WAN, StreamConfig(positions=positions), VAE, TEXT, lora_alpha=24.0)


def matrix_config(mode: Mode) -> MatrixConfig:
    """As shipped, made small: the window, the steps and the keyboard are those of the mode."""
    shipped = matrix("full", mode)
    assert shipped.wan.action is not None
    action = ActionConfig(
        layers=1,
        keyboard_dim=shipped.wan.action.keyboard_dim,
        mouse_dim=shipped.wan.action.mouse_dim,
        hidden=16,
        width=128,
        heads=2,
        frames=shipped.wan.action.frames,
    )
    wan = WanConfig(
        width=256,
        ffn=512,
        heads=2,
        layers=2,
        freq_dim=256,
        in_channels=36,
        text_dim=0,
        image_dim=VISION.width,
        action=action,
    )
    return MatrixConfig(wan, shipped.stream, VAE, VISION)


@cache
def read(name: str) -> Any:
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


def settings() -> Any:
    return read("settings")


# The rule ---------------------------------------------------------------------------------------------


def _generator(name: str) -> np.random.Generator:
    return np.random.default_rng(crc32(name.encode()) ^ settings()["seed"])


def _normal(name: str, shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
    return _generator(name).standard_normal(shape)


def drawn(name: str, *shape: int) -> Tensor:
    return torch.from_numpy(_normal(name, shape).astype(np.float32))


@cache
def parameter(component: str, name: str, shape: tuple[int, ...]) -> Tensor:
    z = _normal(f"{component}/{name}", shape)
    if name.endswith("gamma") or (name.endswith("weight") and len(shape) == 1):
        value = 1 + 0.2 * z
    elif name.endswith(("modulation", "cls_embedding", "pos_embedding")):
        value = z / math.sqrt(shape[-1])
    elif "lora_" in name:
        value = 0.05 * z
    elif name.endswith("token_embedding.weight"):
        value = z
    elif len(shape) == 1:
        value = 0.1 * z
    else:
        gains = {"head.head.weight": 0.4, "decoder.head.2.weight": 0.3}
        gain = next((gain for ending, gain in gains.items() if name.endswith(ending)), 1.0)
        value = gain * z / math.sqrt(math.prod(shape[1:]))
    return torch.from_numpy(value.astype(np.float32))


def tensors(network: str, wrapper: str = "") -> dict[str, Tensor]:
    """Make every parameter of a network of names.json, each key with `wrapper` before it."""
    component = network.partition("-")[0]
    return {
        wrapper + name: parameter(component, name, tuple(shape))
        for name, shape in read("names")[network].items()
    }


@cache
def picture(width: int, height: int) -> Image.Image:
    noise = _generator(f"picture/{width}x{height}").integers(0, 64, (height, width, 3), dtype=np.int64)
    y, x = np.mgrid[0:height, 0:width]
    ramp = np.stack(
        [
            160 * x // max(width - 1, 1),
            160 * y // max(height - 1, 1),
            40 * ((x // 16 + y // 16) % 2) + 80 * (x + y) // max(width + height - 2, 1),
        ],
        -1,
    )
    return Image.fromarray((noise + ramp).astype(np.uint8))


def text(segment: int) -> Tensor:
    embedded = drawn(f"text/{segment}", 512, 32)
    embedded[20 + 7 * segment :] = 0
    return embedded[None]


def condition(blocks: int) -> Tensor:
    made = drawn("condition/0", 20, 3 * blocks, *LATENTS)
    made[:4] = 0
    made[:4, 0] = 1
    return made[None]


class Noise:
    """Stands in for a stream's generator: the same draws that the originals were given."""

    def __init__(self, family: str, steps: int) -> None:
        self._family = family
        self._steps = steps
        self._draws = 0

    def __call__(self, shape: tuple[int, ...]) -> Tensor:
        block, draw = divmod(self._draws, self._steps)
        self._draws += 1
        return drawn(f"noise/{self._family}/{block}/{draw}", *shape[1:])[None]


# The values -------------------------------------------------------------------------------------------


class Golden:
    """One npz file."""

    def __init__(self, file: str) -> None:
        with np.load(FOLDER / f"{file}.npz") as arrays:
            self._arrays = dict(arrays)
        self._about = read("manifest")[file]

    def names(self, prefix: str) -> Iterator[str]:
        return (name for name in self._about if name.startswith(prefix))

    def check(self, name: str, found: Tensor) -> None:
        """Compare what is kept value by value, and the sums over all of it."""
        about = self._about[name]
        tolerance = about["tolerance"]
        whole = found.detach().double().numpy()
        assert list(whole.shape) == about["shape"], name
        kept = whole[_slices(about["kept"])]
        stored = self._arrays[name]
        assert kept.shape == stored.shape, name
        difference = float(np.abs(kept - stored).max())
        assert difference <= tolerance, f"{name} differs by {difference:.2g}, and {tolerance:.2g} is allowed"
        expected = self._arrays[f"{name}|stats"]
        flat = whole.ravel()
        weights = (np.arange(flat.size, dtype=np.uint64) * 2654435761 % 2**32) / 2**32 - 0.5
        sums = np.array([flat.sum(), np.abs(flat).sum(), np.abs(flat).max(), (flat * weights).sum()])
        allowed = tolerance * np.array([flat.size, flat.size, 1, flat.size])
        assert (np.abs(sums - expected) <= allowed).all(), f"{name}: {sums} and not {expected}"

    def pixels(self, name: str) -> tuple[npt.NDArray[np.uint8], tuple[slice, ...], int]:
        """Return what is kept of a picture, where that is, and the CRC-32 of all its bytes."""
        return (
            self._arrays[name],
            _slices(self._about[name]["kept"]),
            int(self._arrays[f"{name}|crc32"].item()),
        )


@cache
def golden(file: str) -> Golden:
    return Golden(file)


def _slices(kept: str) -> tuple[slice, ...]:
    if kept == "all":
        return ()
    return tuple(
        slice(*(int(bound) if bound else None for bound in part.split(":"))) for part in kept.split(", ")
    )
