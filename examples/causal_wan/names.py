"""Keys of the published files, from the keys of the libraries' modules. Pure.

Each function is one-to-one, so a file is right if its keys are exactly what the module's keys become. Errors
then speak of the file's own keys.
"""

from __future__ import annotations

import re

_VAE = (
    (r"^quant_conv", "conv1"),
    (r"^post_quant_conv", "conv2"),
    (r"\.conv_in\.", ".conv1."),
    (r"\.conv_out\.", ".head.2."),
    (r"\.norm_out\.", ".head.0."),
    (r"\.mid_block\.resnets\.0\.", ".middle.0.@"),
    (r"\.mid_block\.attentions\.0\.", ".middle.1."),
    (r"\.mid_block\.resnets\.1\.", ".middle.2.@"),
    (r"\.down_blocks\.(\d+)\.", r".downsamples.\1.@"),
    (r"@norm1\.", "residual.0."),
    (r"@conv1\.", "residual.2."),
    (r"@norm2\.", "residual.3."),
    (r"@conv2\.", "residual.6."),
    (r"@conv_shortcut\.", "shortcut."),
    (r"@", ""),
)
_UMT5 = (
    (r"^shared\.|^encoder\.embed_tokens\.", "token_embedding."),
    (r"^encoder\.final_layer_norm\.", "norm."),
    (r"^encoder\.block\.", "blocks."),
    (r"\.layer\.0\.layer_norm\.", ".norm1."),
    (r"\.layer\.0\.SelfAttention\.relative_attention_bias\.", ".pos_embedding.embedding."),
    (r"\.layer\.0\.SelfAttention\.", ".attn."),
    (r"\.layer\.1\.layer_norm\.", ".norm2."),
    (r"\.layer\.1\.DenseReluDense\.wi_0\.", ".ffn.gate.0."),
    (r"\.layer\.1\.DenseReluDense\.wi_1\.", ".ffn.fc1."),
    (r"\.layer\.1\.DenseReluDense\.wo\.", ".ffn.fc2."),
)
_CLIP = (
    (r"^embeddings\.class_embedding$", "cls_embedding"),
    (r"^embeddings\.position_embedding\.weight$", "pos_embedding"),
    (r"^embeddings\.patch_embedding\.", "patch_embedding."),
    (r"^pre_layrnorm\.", "pre_norm."),
    (r"^post_layernorm\.", "post_norm."),
    (r"^encoder\.layers\.", "transformer."),
    (r"\.layer_norm([12])\.", r".norm\1."),
    (r"\.self_attn\.[qkv]_proj\.", ".attn.to_qkv."),
    (r"\.self_attn\.out_proj\.", ".attn.proj."),
    (r"\.mlp\.fc1\.", ".mlp.0."),
    (r"\.mlp\.fc2\.", ".mlp.2."),
    (r"^", "visual."),
)


def vae(name: str) -> str:
    """AutoencoderKLWan's key → Wan2.1_VAE.pth's."""
    found = re.match(r"decoder\.up_blocks\.(\d)\.(resnets|upsamplers)\.(\d)\.", name)
    if found:
        # Four modules a level in one list: three residual blocks, then the upsampler.
        index = 4 * int(found[1]) + (int(found[3]) if found[2] == "resnets" else 3)
        name = f"decoder.upsamples.{index}.@{name[found.end() :]}"
    return _renamed(name, _VAE)


def umt5(name: str) -> str:
    """UMT5EncoderModel's key → models_t5_umt5-xxl-enc-bf16.pth's."""
    return _renamed(name, _UMT5)


def clip(name: str) -> str:
    """CLIPVisionModel's key → the CLIP checkpoint's. Queries, keys and values share one, in thirds."""
    return _renamed(name, _CLIP)


def third_of_qkv(name: str) -> int | None:
    """Which third of the shared rows this key of CLIPVisionModel is, or None if it has a tensor of its own."""
    found = re.search(r"\.self_attn\.([qkv])_proj\.", name)
    return None if found is None else "qkv".index(found[1])


def _renamed(name: str, rules: tuple[tuple[str, str], ...]) -> str:
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name, count=1)
    return name
