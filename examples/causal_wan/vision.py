"""A picture to embeddings: CLIP ViT-H/14's image tower, from transformers, with the file of the Wan 2.1 release."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import checkpoint, names
from .config import VisionConfig

#: Of CLIP's training pictures, per colour (Radford et al., 2021).
_MEAN = (0.48145466, 0.4578275, 0.40821073)
_STD = (0.26862954, 0.26130258, 0.27577711)


def make(config: VisionConfig) -> nn.Module:
    """Return the tower without weights, on the meta device."""
    from transformers import CLIPVisionConfig, CLIPVisionModel

    with torch.device("meta"):
        return CLIPVisionModel(
            CLIPVisionConfig(
                hidden_size=config.width,
                intermediate_size=config.ffn,
                num_hidden_layers=config.layers,
                num_attention_heads=config.heads,
                image_size=config.picture,
                patch_size=config.patch,
                hidden_act="gelu",
            )
        )


def load(tower: nn.Module, file: Path, *, device: torch.device, dtype: torch.dtype) -> None:
    """Fill it from models_clip_open-clip-xlm-roberta-large-vit-huge-14.pth, of which it is one part."""
    tensors = {
        key: tensor
        for key, tensor in checkpoint.read(file).items()
        if key.startswith("visual.") and not key.startswith("visual.head")
    }
    state = tower.state_dict()
    checkpoint.check({names.clip(name): shape_in_file(name, state[name]) for name in state}, tensors, file)
    renamed = {}
    for name, target in state.items():
        tensor, third = tensors[names.clip(name)], names.third_of_qkv(name)
        renamed[name] = tensor.reshape(target.shape) if third is None else tensor.chunk(3)[third]
    checkpoint.fill(tower, renamed, device=device, dtype=dtype)
    for module in tower.modules():
        # Not part of any file, so it is still on the meta device.
        if isinstance(ids := getattr(module, "position_ids", None), Tensor):
            module.position_ids = torch.arange(ids.shape[-1], device=device).unsqueeze(0)


def shape_in_file(name: str, tensor: Tensor) -> tuple[int, ...]:
    """Return the shape that the file has for this key of the tower."""
    if names.third_of_qkv(name) is not None:
        return (3 * tensor.shape[0], *tensor.shape[1:])
    if name.endswith("class_embedding"):
        return (1, 1, *tensor.shape)
    return (1, *tensor.shape) if name.endswith("position_embedding.weight") else tuple(tensor.shape)


class ImageTower:
    def __init__(self, tower: Any) -> None:
        self._tower = tower

    @torch.inference_mode()
    def tokens(self, picture: Tensor) -> Tensor:
        """Return [1, tokens, width] of a picture [3, H, W] in -1..1: the last layer but one, not normalised."""
        weight = self._tower.pre_layrnorm.weight
        side = self._tower.config.image_size
        small = F.interpolate(picture[None].float(), (side, side), mode="bicubic", align_corners=False)
        mean, std = (torch.tensor(of, device=small.device).view(1, 3, 1, 1) for of in (_MEAN, _STD))
        pixels = ((small / 2 + 0.5 - mean) / std).to(weight.device, weight.dtype)
        return self._tower(pixel_values=pixels, output_hidden_states=True).hidden_states[-2]
