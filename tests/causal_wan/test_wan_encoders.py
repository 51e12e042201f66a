"""Prompts and pictures to embeddings, from files with the original names, against transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from causal_wan import names, start_image, text, vision
from causal_wan.config import TextConfig, VisionConfig
from PIL import Image
from support.wan_cases import CPU, config, largest_difference, seeded, tiny_weights
from torch import Tensor

TEXT = config.longlive("tiny").text
VISION = config.matrix("tiny").vision


def test_umt5_from_its_original_file_is_transformers(tmp_path: Path) -> None:
    """The file's names are looked up here one by one, so that the map of the code is not checked by itself."""
    original = tiny_weights.text_encoder(TEXT, seed=4)
    torch.save(original, tmp_path / "umt5.pth")
    ours = text.make(TEXT)
    text.load(ours, tmp_path / "umt5.pth", device=CPU, dtype=torch.float32)

    from transformers import UMT5Config, UMT5EncoderModel  # seconds, for every process that collects tests

    reference = UMT5EncoderModel(
        UMT5Config(
            vocab_size=TEXT.vocabulary,
            d_model=TEXT.width,
            d_kv=TEXT.head_dim,
            d_ff=TEXT.ffn,
            num_layers=TEXT.layers,
            num_heads=TEXT.heads,
            relative_attention_num_buckets=TEXT.buckets,
            feed_forward_proj="gated-gelu",
        )
    ).eval()
    state: dict[str, Tensor] = {
        "shared.weight": original["token_embedding.weight"],
        "encoder.embed_tokens.weight": original["token_embedding.weight"],
        "encoder.final_layer_norm.weight": original["norm.weight"],
    }
    for layer in range(TEXT.layers):
        old, new = f"blocks.{layer}", f"encoder.block.{layer}.layer"
        state[f"{new}.0.layer_norm.weight"] = original[f"{old}.norm1.weight"]
        for letter in "qkvo":
            state[f"{new}.0.SelfAttention.{letter}.weight"] = original[f"{old}.attn.{letter}.weight"]
        bias = original[f"{old}.pos_embedding.embedding.weight"]
        state[f"{new}.0.SelfAttention.relative_attention_bias.weight"] = bias
        state[f"{new}.1.layer_norm.weight"] = original[f"{old}.norm2.weight"]
        state[f"{new}.1.DenseReluDense.wi_0.weight"] = original[f"{old}.ffn.gate.0.weight"]
        state[f"{new}.1.DenseReluDense.wi_1.weight"] = original[f"{old}.ffn.fc1.weight"]
        state[f"{new}.1.DenseReluDense.wo.weight"] = original[f"{old}.ffn.fc2.weight"]
    reference.load_state_dict(state, strict=True)

    tiny_weights.byte_tokenizer().save(str(tmp_path / "tokenizer.json"))
    encoder = text.TextEncoder(ours, tmp_path / "tokenizer.json", length=40)
    prompt = "a fox  in the &amp;amp; snow\n"
    ids = [*tiny_weights.byte_tokenizer().encode("a fox in the & snow").ids]
    padded = torch.tensor([ids + [0] * (40 - len(ids))])
    with torch.inference_mode():
        theirs = reference(padded, attention_mask=(padded != 0).long()).last_hidden_state
    embedded = encoder.encode(prompt)
    assert embedded.shape == (1, 40, TEXT.width)
    assert largest_difference(embedded[:, : len(ids)], theirs[:, : len(ids)]) <= 2e-6
    assert embedded[:, len(ids) :].eq(0).all()


def test_a_long_prompt_is_cut_and_keeps_its_end_token(tmp_path: Path) -> None:
    torch.save(tiny_weights.text_encoder(TEXT, seed=4), tmp_path / "umt5.pth")
    made = text.make(TEXT)
    text.load(made, tmp_path / "umt5.pth", device=CPU, dtype=torch.float32)
    tiny_weights.byte_tokenizer().save(str(tmp_path / "tokenizer.json"))
    encoder = text.TextEncoder(made, tmp_path / "tokenizer.json", length=16)
    assert torch.equal(encoder.encode("x" * 15), encoder.encode("x" * 900))
    assert not torch.equal(encoder.encode("x" * 15), encoder.encode("x" * 14))


@pytest.mark.parametrize(
    ("prompt", "cleaned"),
    [("  a\n\t b ", "a b"), ("Tom &amp;amp; Jerry", "Tom & Jerry"), ("schÃ¶n", "schön"), ("", "")],
)
def test_prompts_are_cleaned(prompt: str, cleaned: str) -> None:
    assert text.clean(prompt) == cleaned


def test_the_full_size_encoders_have_the_published_sizes() -> None:
    umt5 = text.make(TextConfig())
    assert sum(parameter.numel() for parameter in umt5.parameters()) == 5_680_910_336
    assert len({names.umt5(name) for name in umt5.state_dict()}) == 242
    tower = vision.make(VisionConfig())
    assert sum(parameter.numel() for parameter in tower.parameters()) == pytest.approx(630.8e6, rel=1e-3)
    assert VisionConfig().tokens == 257


def test_umt5_keeps_its_shared_embedding_once() -> None:
    made = text.make(TEXT)
    tensors = tiny_weights.text_encoder(TEXT, seed=4)
    from causal_wan import checkpoint

    renamed = {name: tensors[names.umt5(name)] for name in made.state_dict()}
    checkpoint.fill(made, renamed, device=CPU, dtype=torch.bfloat16)
    state = made.state_dict()
    assert state["shared.weight"].data_ptr() == state["encoder.embed_tokens.weight"].data_ptr()


def test_the_image_tower_from_its_original_file_is_transformers(tmp_path: Path) -> None:
    original = tiny_weights.clip(VISION, seed=7)
    torch.save(original, tmp_path / "clip.pth")
    ours: Any = vision.make(VISION)
    vision.load(ours, tmp_path / "clip.pth", device=CPU, dtype=torch.float32)

    from transformers import CLIPVisionConfig, CLIPVisionModel

    reference: Any = CLIPVisionModel(
        CLIPVisionConfig(
            hidden_size=VISION.width,
            intermediate_size=VISION.ffn,
            num_hidden_layers=VISION.layers,
            num_attention_heads=VISION.heads,
            image_size=VISION.picture,
            patch_size=VISION.patch,
            hidden_act="gelu",
        )
    ).eval()
    state = {
        "embeddings.class_embedding": original["visual.cls_embedding"][0, 0],
        "embeddings.position_embedding.weight": original["visual.pos_embedding"][0],
        "embeddings.patch_embedding.weight": original["visual.patch_embedding.weight"],
    }
    for kind in ("weight", "bias"):
        state[f"pre_layrnorm.{kind}"] = original[f"visual.pre_norm.{kind}"]
        state[f"post_layernorm.{kind}"] = original[f"visual.post_norm.{kind}"]
        for layer in range(VISION.layers):
            old, new = f"visual.transformer.{layer}", f"encoder.layers.{layer}"
            state[f"{new}.layer_norm1.{kind}"] = original[f"{old}.norm1.{kind}"]
            state[f"{new}.layer_norm2.{kind}"] = original[f"{old}.norm2.{kind}"]
            for third, letter in enumerate("qkv"):
                rows = original[f"{old}.attn.to_qkv.{kind}"]
                own = slice(third * VISION.width, (third + 1) * VISION.width)
                state[f"{new}.self_attn.{letter}_proj.{kind}"] = rows[own]
            state[f"{new}.self_attn.out_proj.{kind}"] = original[f"{old}.attn.proj.{kind}"]
            state[f"{new}.mlp.fc1.{kind}"] = original[f"{old}.mlp.0.{kind}"]
            state[f"{new}.mlp.fc2.{kind}"] = original[f"{old}.mlp.2.{kind}"]
    reference.load_state_dict(state, strict=True)

    picture = seeded(3, 48, 80).clamp(-1, 1)
    small = F.interpolate(picture[None], (28, 28), mode="bicubic", align_corners=False) / 2 + 0.5
    mean = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(1, 3, 1, 1)
    std = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(1, 3, 1, 1)
    with torch.inference_mode():
        layers = reference((small - mean) / std, output_hidden_states=True).hidden_states
    tokens = vision.ImageTower(ours).tokens(picture)
    assert tokens.shape == (1, VISION.tokens, VISION.width)
    assert largest_difference(tokens, layers[-2]) <= 2e-6
    # The layers written out once more: all of them but the last, and no norm after them.
    x = reference.pre_layrnorm(reference.embeddings((small - mean) / std))
    for layer_ in reference.encoder.layers[:-1]:
        x = layer_(x, attention_mask=None)
        x = x[0] if isinstance(x, tuple) else x
    assert largest_difference(tokens, x.detach()) <= 2e-6


def test_a_picture_is_cut_in_its_middle_and_scaled() -> None:
    picture = Image.new("RGB", (300, 100), (0, 0, 255))
    picture.paste((255, 0, 0), (100, 0, 200, 100))
    fitted = start_image.fit(picture, (32, 32), CPU)
    assert fitted.shape == (3, 32, 32)
    assert fitted[:, 16, 16].tolist() == [1.0, -1.0, -1.0]
    assert fitted[0].min() > 0.5  # the blue sides are cut off
