"""CausalWan against diffusers' Wan, against itself with a mask, and against the published names and shapes."""

from __future__ import annotations

import re
import resource
import time

import pytest
import torch
from causal_wan.config import StreamConfig
from causal_wan.rotary import rotate
from causal_wan.transformer import CausalWan, Past
from support.wan_cases import (
    CPU,
    SIZE,
    TOKENS,
    a_context,
    block_mask,
    config,
    largest_difference,
    network,
    seeded,
    tiny_longlive,
    token_mask,
)
from torch import Tensor

# Original key → diffusers' key.
_TO_DIFFUSERS = (
    (r"^time_embedding\.0", "condition_embedder.time_embedder.linear_1"),
    (r"^time_embedding\.2", "condition_embedder.time_embedder.linear_2"),
    (r"^text_embedding\.0", "condition_embedder.text_embedder.linear_1"),
    (r"^text_embedding\.2", "condition_embedder.text_embedder.linear_2"),
    (r"^time_projection\.1", "condition_embedder.time_proj"),
    (r"^head\.modulation", "scale_shift_table"),
    (r"^head\.head", "proj_out"),
    (r"\.self_attn\.", ".attn1."),
    (r"\.cross_attn\.", ".attn2."),
    (r"\.o\.", ".to_out.0."),
    (r"\.([qkv])\.", r".to_\1."),
    (r"\.ffn\.0", ".ffn.net.0.proj"),
    (r"\.ffn\.2", ".ffn.net.2"),
    (r"\.norm3\.", ".norm2."),
    (r"\.modulation$", ".scale_shift_table"),
)


def to_diffusers(key: str) -> str:
    for pattern, replacement in _TO_DIFFUSERS:
        key = re.sub(pattern, replacement, key)
    return key


class ExactSinusoid(torch.nn.Module):
    """diffusers computes these angles in float32, which at t = 1000 is off by 6e-5; the original code does not."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.speeds = 10_000.0 ** -(torch.arange(size // 2, dtype=torch.float64) / (size // 2))

    def forward(self, timesteps: Tensor) -> Tensor:
        angles = torch.outer(timesteps.double(), self.speeds)
        return torch.cat([angles.cos(), angles.sin()], 1).float()


@pytest.mark.parametrize("heads", [2, 1])
def test_the_bidirectional_network_is_diffusers_wan(heads: int) -> None:
    size = tiny_longlive(heads=heads)
    model = network(size)
    from diffusers import WanTransformer3DModel  # seconds, for every process that collects tests

    reference = WanTransformer3DModel(
        num_attention_heads=size.heads,
        attention_head_dim=size.head_dim,
        in_channels=16,
        out_channels=16,
        text_dim=size.text_dim,
        freq_dim=size.freq_dim,
        ffn_dim=size.ffn,
        num_layers=size.layers,
        rope_max_seq_len=64,
    ).eval()
    state = {to_diffusers(key): tensor for key, tensor in model.state_dict().items()}
    reference.load_state_dict(state, strict=True)
    latents, text = seeded(1, 16, 7, *SIZE), seeded(1, size.text_len, size.text_dim, seed=1)
    their_sinusoid = reference.condition_embedder.timesteps_proj
    for t in (0.0, 1.0, 20.0, 625.0, 833.3333, 1000.0):
        reference.condition_embedder.timesteps_proj = (
            their_sinusoid if t < 100 else ExactSinusoid(size.freq_dim)
        )
        with torch.inference_mode():
            theirs = reference(latents, torch.tensor([t]), text, return_dict=False)[0]
            ours = model(latents, torch.full((1, 7), t), model.context(text))
        assert largest_difference(ours, theirs) <= 2e-6


LONGLIVE = StreamConfig(positions="absolute")


@pytest.mark.parametrize(
    ("stream", "blocks"),
    [
        (StreamConfig(window=9, sink=0, positions="absolute"), 3),  # nothing is ever dropped
        (LONGLIVE, 9),
        (StreamConfig(window=9, sink=0, positions="absolute"), 8),
        (StreamConfig(window=4, sink=0, positions="absolute"), 8),
    ],
    ids=["short", "sink 3 and window 12", "window 9", "window 4"],
)
def test_streamed_blocks_are_one_masked_forward(stream: StreamConfig, blocks: int) -> None:
    """With two noisy passes before each clean one, which must leave no trace."""
    model = network(tiny_longlive())
    context = a_context(model)
    frames = stream.block * blocks
    clean, noisy = seeded(1, 16, frames, *SIZE, seed=2), seeded(1, 16, frames, *SIZE, seed=3)
    past = Past(model.config, stream, TOKENS, device=CPU, dtype=torch.float32)
    streamed = []
    for start in range(0, frames, stream.block):
        own = slice(start, start + stream.block)
        for level in (1000.0, 625.0):
            t = torch.full((1, stream.block), level)
            at_level = model(noisy[:, :, own], t, context, past=past, start=start)
        streamed.append(
            model(clean[:, :, own], torch.zeros(1, stream.block), context, past=past, start=start)
        )
    whole = model(clean, torch.zeros(1, frames), context, mask=token_mask(frames, stream))
    assert largest_difference(torch.cat(streamed, 2), whole) <= 2e-6

    # A noisy pass sees clean frames before it: the last one, as a masked forward with a time per frame.
    mixed = torch.cat([clean[:, :, : -stream.block], noisy[:, :, -stream.block :]], 2)
    times = torch.zeros(1, frames)
    times[:, -stream.block :] = 625.0
    whole = model(mixed, times, context, mask=token_mask(frames, stream))
    assert largest_difference(at_level, whole[:, :, -stream.block :]) <= 2e-6


def attend_relative(model: CausalWan, x: Tensor, stream: StreamConfig) -> Tensor:
    """All frames at once, with each block's keys and queries rotated by their places in that block's window."""
    from causal_wan import rotary
    from causal_wan.transformer import _per_frame, _sinusoid

    frames = x.shape[2]
    mask = block_mask(frames, stream)
    time_ = model.time_embedding(_sinusoid(torch.zeros(1, frames), model.config.freq_dim).float())
    modulation = model.time_projection(time_).unflatten(-1, (6, -1))
    tokens = model.patch_embedding(x).flatten(2).transpose(1, 2)
    context = a_context(model)

    def turned(positions: list[int]) -> rotary.Rotation:
        return rotary.video(positions, SIZE[0] // 2, SIZE[1] // 2, model.config.head_dim, device=CPU)

    for layer, block in enumerate(model.blocks):
        shift1, scale1, gate1, shift2, scale2, gate2 = (block.modulation + modulation).unsqueeze(3).unbind(2)
        y = _per_frame(block.norm1(tokens), scale1 + 1, shift1)  # type: ignore[operator]
        q, (k, v) = block.self_attn.queries(y), block.self_attn.keys_values(y)  # type: ignore[union-attr, operator]
        mixed = []
        for start in range(0, frames, stream.block):
            seen = mask[start].nonzero().flatten().tolist()
            own = list(range(start, start + stream.block))
            rows = torch.tensor([frame * TOKENS + token for frame in seen for token in range(TOKENS)])
            own_rows = slice(start * TOKENS, (start + stream.block) * TOKENS)
            mixed.append(
                block.self_attn.attend(  # type: ignore[union-attr, operator]
                    rotate(q[:, own_rows], turned([seen.index(frame) for frame in own])),
                    rotate(k[:, rows], turned(list(range(len(seen))))),
                    v[:, rows],
                )
            )
        tokens = tokens + _per_frame(torch.cat(mixed, 1), gate1)
        cross = block.cross_attn
        tokens = tokens + cross.attend(cross.queries(block.norm3(tokens)), *context[layer])  # type: ignore[union-attr, operator]
        tokens = tokens + _per_frame(
            block.ffn(_per_frame(block.norm2(tokens), scale2 + 1, shift2)),  # type: ignore[operator]
            gate2,
        )
    out = (
        model.head(tokens, time_).unflatten(1, (frames, SIZE[0] // 2, SIZE[1] // 2)).unflatten(-1, (2, 2, -1))
    )
    pixels: Tensor = out.permute(0, 6, 1, 2, 4, 3, 5).flatten(5, 6).flatten(3, 4)
    return pixels


def test_relative_positions_are_places_in_the_window() -> None:
    stream = StreamConfig()
    model = network(tiny_longlive())
    context = a_context(model)
    frames = 3 * 9
    clean = seeded(1, 16, frames, *SIZE, seed=2)
    past = Past(model.config, stream, TOKENS, device=CPU, dtype=torch.float32)
    streamed = [
        model(clean[:, :, at : at + 3], torch.zeros(1, 3), context, past=past, start=at)
        for at in range(0, frames, 3)
    ]
    assert largest_difference(torch.cat(streamed, 2), attend_relative(model, clean, stream)) <= 2e-6


def test_without_a_sink_relative_and_absolute_positions_are_the_same() -> None:
    model = network(tiny_longlive())
    context = a_context(model)
    outputs = []
    for positions in ("relative", "absolute"):
        stream = StreamConfig(window=6, sink=0, positions=positions)
        past = Past(model.config, stream, TOKENS, device=CPU, dtype=torch.float32)
        for start in range(0, 18, 3):
            x = seeded(1, 16, 3, *SIZE, seed=start)
            out = model(x, torch.zeros(1, 3), context, past=past, start=start)
        outputs.append(out)
    assert largest_difference(*outputs) <= 2e-6


def published(*, matrix: str = "") -> dict[str, tuple[int, ...]]:
    """Names and shapes of the published checkpoints, from their description and not from our code."""
    d, ffn = 1536, 8960
    shapes: dict[str, tuple[int, ...]] = {}

    def linear(name: str, out: int, into: int, *, bias: bool = True) -> None:
        shapes[f"{name}.weight"] = (out, into)
        if bias:
            shapes[f"{name}.bias"] = (out,)

    def norm(name: str, width: int) -> None:
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (width,), (width,)

    shapes["patch_embedding.weight"] = (d, 36 if matrix else 16, 1, 2, 2)
    shapes["patch_embedding.bias"] = (d,)
    if matrix:
        norm("img_emb.proj.0", 1280)
        linear("img_emb.proj.1", 1280, 1280)
        linear("img_emb.proj.3", d, 1280)
        norm("img_emb.proj.4", d)
    else:
        linear("text_embedding.0", d, 4096)
        linear("text_embedding.2", d, d)
    linear("time_embedding.0", d, 256)
    linear("time_embedding.2", d, d)
    linear("time_projection.1", 9216, d)
    for layer in range(30):
        block = f"blocks.{layer}"
        shapes[f"{block}.modulation"] = (1, 6, d)
        for attention in ("self_attn", "cross_attn"):
            for name in "qkvo":
                linear(f"{block}.{attention}.{name}", d, d)
            shapes[f"{block}.{attention}.norm_q.weight"] = (d,)
            shapes[f"{block}.{attention}.norm_k.weight"] = (d,)
        norm(f"{block}.norm3", d)
        linear(f"{block}.ffn.0", ffn, d)
        linear(f"{block}.ffn.2", d, ffn)
        if matrix and layer < 15:
            act = f"{block}.action_model"
            linear(f"{act}.keyboard_embed.0", 128, {"universal": 4, "gta_drive": 2, "templerun": 7}[matrix])
            linear(f"{act}.keyboard_embed.2", 128, 128)
            linear(f"{act}.mouse_attn_q", 1024, d, bias=False)
            linear(f"{act}.keyboard_attn_kv", 2048, 1536, bias=False)
            linear(f"{act}.proj_keyboard", d, 1024, bias=False)
            norms = ["key_attn_q_norm", "key_attn_k_norm"]
            if matrix != "templerun":
                linear(f"{act}.mouse_mlp.0", 1024, 1560)
                linear(f"{act}.mouse_mlp.2", 1024, 1024)
                norm(f"{act}.mouse_mlp.3", 1024)
                linear(f"{act}.t_qkv", 3072, 1024, bias=False)
                linear(f"{act}.proj_mouse", d, 1024, bias=False)
                norms += ["img_attn_q_norm", "img_attn_k_norm"]
            shapes.update({f"{act}.{name}.weight": (64,) for name in norms})
    shapes["head.modulation"] = (1, 2, d)
    linear("head.head", 64, d)
    return shapes


@pytest.mark.parametrize(
    ("matrix", "tensors", "parameters"),
    [
        ("", 825, 1_418_996_800),
        ("universal", 1_114, 1_619_242_304),
        ("gta_drive", 1_114, 1_619_242_304 - 15 * 2 * 128),
        ("templerun", 1_114 - 15 * 10, None),
    ],
    ids=["LongLive", "universal", "gta_drive", "templerun"],
)
def test_the_full_size_has_the_published_names_and_shapes(
    matrix: str, tensors: int, parameters: int | None
) -> None:
    size = config.matrix("full", matrix).wan if matrix else config.longlive("full").wan  # type: ignore[arg-type]
    with torch.device("meta"):
        model = CausalWan(size)
    state = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    assert state == published(matrix=matrix)
    assert len(state) == tensors
    if parameters is not None:
        assert sum(parameter.numel() for parameter in model.parameters()) == parameters


@pytest.mark.slow
@pytest.mark.parametrize("which", ["longlive", "matrix"])
def test_one_layer_of_full_width_runs(which: str) -> None:
    """Real widths and a full window, over few tokens; memory stays near what the numbers take."""
    from dataclasses import replace

    from causal_wan.actions import ActionRows

    whole = config.longlive("full") if which == "longlive" else config.matrix("full")
    size = replace(whole.wan, layers=1)
    if size.action is not None:
        size = replace(size, action=replace(size.action, layers=1))
    latents = (8, 12)
    tokens = latents[0] * latents[1] // 4
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with torch.device("meta"):
        model = CausalWan(size)
    model = model.to_empty(device="cpu").bfloat16().requires_grad_(False)
    for parameter in model.parameters():
        parameter.normal_(0, 0.02)
    past = Past(size, whole.stream, tokens, device=CPU, dtype=torch.bfloat16)
    seen = size.text_len if size.text_dim else 257
    context = model.context(seeded(1, seen, size.text_dim or size.image_dim).bfloat16())
    rows = ActionRows(torch.zeros(3, 12, 4).bfloat16(), torch.zeros(3, 12, 2).bfloat16())
    started_s = time.monotonic()
    for start in range(0, whole.stream.window + 3, 3):
        x = seeded(1, size.in_channels, 3, *latents, seed=start).bfloat16()
        out = model(
            x,
            torch.full((1, 3), 937.5),
            context,
            past=past,
            start=start,
            actions=rows if size.action else None,
        )
    assert out.shape == (1, 16, 3, *latents)
    assert torch.isfinite(out).all()
    assert time.monotonic() - started_s < 60
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib) * 1024
    numbers = sum(parameter.numel() for parameter in model.parameters())
    # Weights once in the type they are made in and once in bfloat16, and the activations of a pass.
    assert grown < numbers * 6 + 600e6
