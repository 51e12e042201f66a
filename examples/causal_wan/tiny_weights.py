"""Random weights in the published containers, small enough to run the whole code on any CPU.

    python -m causal_wan.tiny_weights FOLDER      from examples/; or let a model with profile=tiny call `write`

Seeded, so everyone gets the same files. The pictures they make mean nothing; what is real is everything else.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from math import prod
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import Tensor, nn

from . import config, names, text, vae, vision
from .config import PATCH, Mode, TextConfig, VaeConfig, VisionConfig, WanConfig
from .transformer import CausalWan

LORA_RANK = 4
#: Layers with more or less say than the others, so that commands can be seen and pictures are not all noise.
_GAINS = {
    "time_embedding.2.weight": 0.1,
    "time_embedding.2.bias": 0.0,
    "self_attn.o.weight": 0.1,
    "ffn.2.weight": 0.2,
    "cross_attn.o.weight": 4.0,
    "proj_keyboard.weight": 4.0,
    "proj_mouse.weight": 4.0,
    "decoder.conv_out.weight": 0.4,
}


def write(folder: Path, contents: Callable[[Path], None]) -> None:
    """Let `contents` fill this folder unless it is there. Another process may do the same at the same time."""
    if folder.is_dir():
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=".tiny-", dir=folder.parent))
    contents(unfinished)
    unfinished.chmod(0o755)
    try:
        os.rename(unfinished, folder)
    except OSError:
        # Another process was faster; its files are the same.
        shutil.rmtree(unfinished)
        if not folder.is_dir():
            raise


def write_longlive(folder: Path) -> None:
    wan = config.longlive("tiny").wan
    tensors = transformer(wan, seed=1)
    (folder / "models").mkdir()
    torch.save(
        {"generator": {f"model.{key}": tensor for key, tensor in tensors.items()}},
        folder / "models" / "longlive_base.pt",
    )
    torch.save({"generator_lora": lora(tensors, seed=2)}, folder / "models" / "lora.pt")


def write_vae(folder: Path) -> None:
    torch.save(autoencoder(config.longlive("tiny").vae, seed=3), folder / "Wan2.1_VAE.pth")


def write_umt5(folder: Path) -> None:
    torch.save(text_encoder(config.longlive("tiny").text, seed=4), folder / "models_t5_umt5-xxl-enc-bf16.pth")
    (folder / "google" / "umt5-xxl").mkdir(parents=True)
    byte_tokenizer().save(str(folder / "google" / "umt5-xxl" / "tokenizer.json"))


def write_matrix(folder: Path) -> None:
    from safetensors.torch import save_file

    files: dict[Mode, str] = {
        "universal": "base_distilled_model/base_distill.safetensors",
        "gta_drive": "gta_distilled_model/gta_tiny.safetensors",
        "templerun": "templerun_distilled_model/templerun_7dim_onlykey.safetensors",
    }
    for mode, file in files.items():
        tensors = transformer(config.matrix("tiny", mode).wan, seed=5)
        (folder / file).parent.mkdir()
        save_file({f"model.{key}": tensor for key, tensor in tensors.items()}, folder / file)
    torch.save(autoencoder(config.matrix("tiny").vae, seed=6), folder / "Wan2.1_VAE.pth")
    torch.save(
        clip(config.matrix("tiny").vision, seed=7),
        folder / "models_clip_open-clip-xlm-roberta-large-vit-huge-14.pth",
    )


def transformer(size: WanConfig, *, seed: int) -> dict[str, Tensor]:
    """Return the tensors of CausalWan under its own, published keys, without "model.".

    Random but for one thing: what the first layer takes in, the last gives out again. So the velocity is
    about the noise, which then cancels as in a network that has learnt, and what is left follows the context.
    """
    with torch.device("meta"):
        wan = CausalWan(size)
    tensors = _random(wan, str, seed)
    inside = size.out_channels * PATCH * PATCH
    through = torch.linalg.qr(torch.randn(size.width, inside, generator=torch.Generator().manual_seed(seed)))[
        0
    ]
    # In: channel, row, column. Out: row, column, channel.
    into = through.unflatten(1, (size.out_channels, 1, PATCH, PATCH))
    tensors["patch_embedding.weight"] *= 0.1
    tensors["patch_embedding.weight"][:, : size.out_channels] = into
    tensors["head.head.weight"] = into[:, :, 0].permute(2, 3, 1, 0).flatten(0, 2).contiguous()
    return tensors


def lora(base: dict[str, Tensor], *, seed: int) -> dict[str, Tensor]:
    """Return a low-rank update of every linear layer of the blocks, as PEFT names it."""
    random = torch.Generator().manual_seed(seed)
    pairs = {}
    for key, weight in base.items():
        if key.startswith("blocks.") and key.endswith(".weight") and weight.ndim == 2:
            layer = "base_model.model." + key.removesuffix(".weight")
            wide, narrow = (LORA_RANK, weight.shape[1]), (weight.shape[0], LORA_RANK)
            pairs[f"{layer}.lora_A.weight"] = torch.randn(wide, generator=random) * 0.05
            pairs[f"{layer}.lora_B.weight"] = torch.randn(narrow, generator=random) * 0.05
    return pairs


def autoencoder(size: VaeConfig, *, seed: int) -> dict[str, Tensor]:
    return _random(vae.make(size), names.vae, seed)


def text_encoder(size: TextConfig, *, seed: int) -> dict[str, Tensor]:
    return _random(text.make(size), names.umt5, seed)


def clip(size: VisionConfig, *, seed: int) -> dict[str, Tensor]:
    """Return the image tower as the CLIP file has it, with what else is in that file and not used."""
    tower = vision.make(size)
    found = _random(tower, str, seed)
    tensors: dict[str, Tensor] = {}
    for name in found:
        key = names.clip(name)
        if names.third_of_qkv(name) is not None:
            kind = name.rpartition(".")[2]
            layer = name.rpartition(".self_attn.")[0]
            tensors[key] = torch.cat([found[f"{layer}.self_attn.{which}_proj.{kind}"] for which in "qkv"])
        else:
            tensors[key] = found[name].reshape(vision.shape_in_file(name, found[name]))
    tensors["visual.head"] = torch.zeros(size.width, 8)
    tensors["textual.token_embedding.weight"] = torch.zeros(8, 8)
    tensors["log_scale"] = torch.zeros(())
    return tensors


def byte_tokenizer() -> Tokenizer:
    """Return a tokenizer that makes one token of every byte, with umt5's special tokens."""
    special = ["<pad>", "</s>", "<unk>"]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate([*special, *letters])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token="<unk>"))  # noqa: S106
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", vocabulary["</s>"])]
    )
    return tokenizer


def _random(module: nn.Module, original: Callable[[str], str], seed: int) -> dict[str, Tensor]:
    """Draw each parameter so that what goes in keeps about its size on the way through."""
    random = torch.Generator().manual_seed(seed)
    tensors: dict[str, Tensor] = {}
    for name, target in sorted(module.state_dict().items()):
        if original(name) in tensors:
            continue
        noise = torch.randn(target.shape, generator=random)
        if "norm" in name.lower() or name.endswith("gamma") or "mouse_mlp.3" in name or "proj.4" in name:
            tensor = noise * 0.02 if name.endswith("bias") else torch.ones(target.shape)
        elif name.endswith("modulation"):
            tensor = noise * target.shape[-1] ** -0.5
        elif target.ndim < 2:
            tensor = noise * 0.02
        elif "embedding" in name or "embed_tokens" in name or name.startswith("shared"):
            tensor = noise
            if "patch_embedding" in name or "time_embedding" in name or "text_embedding" in name:
                tensor = noise * prod(target.shape[1:]) ** -0.5
        else:
            tensor = noise * prod(target.shape[1:]) ** -0.5
        if target.ndim > 3 and target.shape[-1] == 3 and name.startswith("decoder"):
            # Neighbours alike, so that pictures are soft and survive a video codec.
            tensor = tensor.mean((-2, -1), keepdim=True).expand(target.shape) * 3
        gain = next((gain for ending, gain in _GAINS.items() if name.endswith(ending)), 1.0)
        tensors[original(name)] = (tensor * gain).contiguous()
    return tensors


LONGLIVE = {"LongLive-tiny": write_longlive, "Wan2_1_VAE-tiny": write_vae, "umt5-xxl-tiny": write_umt5}
MATRIX = {"Matrix-Game-2_0-base-tiny": write_matrix}


if __name__ == "__main__":
    for name, contents in (LONGLIVE | MATRIX).items():
        write(Path(sys.argv[1]) / name, contents)
