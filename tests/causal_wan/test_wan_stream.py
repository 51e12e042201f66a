"""Blocks made from noise, and what a prompt switch, a seed and a new stream do to them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from causal_wan.config import StreamConfig
from causal_wan.stream import BlockStream, sigma
from causal_wan.transformer import CausalWan, Context, Past
from support.wan_cases import (
    CPU,
    SIZE,
    TOKENS,
    a_context,
    config,
    largest_difference,
    network,
    tiny_longlive,
)
from torch import Tensor


@pytest.mark.parametrize(
    ("step", "level"),
    [(1000, 1.0), (750, 0.9375), (500, 0.83333), (250, 0.625), (666, 0.90884), (333, 0.71398)],
)
def test_the_schedule_is_the_published_one(step: int, level: float) -> None:
    assert sigma(step, 5.0) == pytest.approx(level, abs=1e-5)


@pytest.fixture(scope="module")
def model() -> CausalWan:
    return network(tiny_longlive())


def run(
    stream: BlockStream,
    contexts: list[Context],
    *,
    recache: bool = True,
    then: Callable[[int], None] = lambda block: None,
) -> list[Tensor]:
    """Make one block per context; a context that changes is a prompt switch."""
    made: list[Tensor] = []
    for block, context in enumerate(contexts):
        if recache and block and context is not contexts[block - 1]:
            stream.recache(context)
        then(block)
        made.append(stream.next_block(context))
    return made


def test_a_block_is_the_published_steps(model: CausalWan) -> None:
    """The passes of the first block written out, on a past of their own."""
    config_ = StreamConfig()
    stream = BlockStream(model, config_, SIZE)
    stream.begin(seed=5)
    context = a_context(model)
    made = stream.next_block(context)

    random = torch.Generator().manual_seed(5)
    past = Past(model.config, config_, TOKENS, device=CPU, dtype=torch.float32)
    x = torch.randn(1, 16, 3, *SIZE, generator=random)
    levels = [1.0, 0.9375, 5 / 6, 0.625]
    for level, following in zip(levels, [*levels[1:], None], strict=True):
        with torch.inference_mode():
            velocity = model(x, torch.full((1, 3), 1000 * level), context, past=past, start=0)
        clean = (x.double() - level * velocity.double()).float()
        if following is not None:
            x = (1 - following) * clean + following * torch.randn(1, 16, 3, *SIZE, generator=random)
    assert largest_difference(made, clean) <= 2e-6


@pytest.mark.parametrize("switch", [2, 6], ids=["short history", "full window"])
def test_a_prompt_switch_changes_what_comes_and_nothing_before(model: CausalWan, switch: int) -> None:
    one, other = a_context(model, seed=1), a_context(model, seed=2)
    stream = BlockStream(model, StreamConfig(), SIZE)
    stream.begin(seed=0)
    plain = run(stream, [one] * 9)
    stream.begin(seed=0)
    switched = run(stream, [one] * switch + [other] * (9 - switch))
    stream.begin(seed=0)
    without_recache = run(stream, [one] * switch + [other] * (9 - switch), recache=False)
    for block in range(switch):
        assert torch.equal(plain[block], switched[block])
    for block in range(switch, 9):
        assert not torch.equal(plain[block], switched[block])
        assert not torch.equal(without_recache[block], switched[block])


@pytest.mark.parametrize("switch", [2, 4, 6], ids=["short history", "just full", "full window"])
@pytest.mark.parametrize("positions", ["absolute", "relative"])
def test_the_recache_is_one_pass_over_the_whole_window(model: CausalWan, switch: int, positions: str) -> None:
    """Against a plain account of the published rules, which re-encodes all 12 frames and drops what is protected.

    The keys that a pass leaves depend on what its frames saw: the sink as it was, and each other. So the
    reference runs the network on all frames with a sink of old keys in front, layer by layer.
    """
    settings = StreamConfig(positions=positions)  # type: ignore[arg-type]
    one, other = a_context(model, seed=1), a_context(model, seed=2)
    stream = BlockStream(model, settings, SIZE)
    stream.begin(seed=0)
    clean = torch.cat(run(stream, [one] * switch), 2)
    frames = clean.shape[2]
    old = [(layer.keys.clone(), layer.values.clone()) for layer in stream.past.layers]
    stream.recache(other)

    reference = recached(model, settings, clean, other, old)
    held = min(frames, settings.window)
    for layer, (keys, values) in zip(stream.past.layers, reference, strict=True):
        order = _slots_by_frame(frames, settings)
        assert largest_difference(layer.keys[:, order], keys[:, :held]) <= 2e-6
        assert largest_difference(layer.values[:, order], values[:, :held]) <= 2e-6


def _slots_by_frame(frames: int, settings: StreamConfig) -> list[int]:
    """The slot of each held frame, oldest first."""
    sink, ring = settings.sink, settings.window - settings.sink
    held = range(frames) if frames <= settings.window else [*range(sink), *range(frames - ring, frames)]
    return [frame if frame < sink else sink + (frame - sink) % ring for frame in held]


def recached(
    model: CausalWan,
    settings: StreamConfig,
    clean: Tensor,
    context: Context,
    old: list[tuple[Tensor, Tensor]],
) -> list[tuple[Tensor, Tensor]]:
    """Each layer's keys and values after the re-cache, oldest frame first, [1, frames, S, H, C]."""
    from causal_wan import rotary
    from causal_wan.rotary import rotate
    from causal_wan.transformer import _per_frame, _sinusoid

    relative = settings.positions == "relative"
    total = clean.shape[2]
    start = max(0, total - settings.window)
    moved = start > 0
    latents = clean[:, :, start:]
    count = latents.shape[2]
    time = model.time_embedding(_sinusoid(torch.zeros(1, count), model.config.freq_dim).float())
    modulation = model.time_projection(time).unflatten(-1, (6, -1))
    x = model.patch_embedding(latents).flatten(2).transpose(1, 2)

    def turned(positions: list[int]) -> rotary.Rotation:
        return rotary.video(positions, SIZE[0] // 2, SIZE[1] // 2, model.config.head_dim, device=CPU)

    sink = settings.sink if moved else 0
    # The first frames of the pass are where the sink's are in the window, but their keys are not kept; what
    # they see cannot matter to the others.
    places = list(range(count)) if relative else list(range(start, total))
    found = []
    for layer, block in enumerate(model.blocks):
        shift1, scale1, gate1, shift2, scale2, gate2 = (block.modulation + modulation).unsqueeze(3).unbind(2)
        y = _per_frame(block.norm1(x), scale1 + 1, shift1)  # type: ignore[operator]
        k, v = block.self_attn.keys_values(y)  # type: ignore[union-attr, operator]
        q = rotate(block.self_attn.queries(y), turned(places))  # type: ignore[union-attr, operator]
        stored = k if relative else rotate(k, turned(places))
        first = sink * TOKENS
        old_k, old_v = (tensor[:, :sink].flatten(1, 2) for tensor in old[layer])
        kept_k = torch.cat([old_k, stored[:, first:]], 1)
        kept_v = torch.cat([old_v, v[:, first:]], 1)
        seen = rotate(kept_k, turned(list(range(count)))) if relative else kept_k
        found.append((kept_k.unflatten(1, (-1, TOKENS)), kept_v.unflatten(1, (-1, TOKENS))))
        x = x + _per_frame(block.self_attn.attend(q, seen, kept_v), gate1)  # type: ignore[union-attr, operator]
        cross = block.cross_attn
        x = x + cross.attend(cross.queries(block.norm3(x)), *context[layer])  # type: ignore[union-attr, operator]
        x = x + _per_frame(block.ffn(_per_frame(block.norm2(x), scale2 + 1, shift2)), gate2)  # type: ignore[operator]
    return found


def test_a_stream_is_the_same_again_after_another_one(model: CausalWan) -> None:
    one, other = a_context(model, seed=1), a_context(model, seed=2)
    fresh = BlockStream(model, StreamConfig(), SIZE)
    fresh.begin(seed=3)
    expected = run(fresh, [one] * 3)

    used = BlockStream(model, StreamConfig(), SIZE)
    used.begin(seed=8)
    run(used, [other] * 6 + [one])
    used.begin(seed=3)
    for made, wanted in zip(run(used, [one] * 3), expected, strict=True):
        assert torch.equal(made, wanted)


def test_what_was_left_of_another_stream_is_never_read(model: CausalWan) -> None:
    context = a_context(model)
    stream = BlockStream(model, StreamConfig(), SIZE)
    stream.begin(seed=3)
    expected = run(stream, [context] * 6)
    for layer in stream.past.layers:
        layer.keys.fill_(float("nan"))
        layer.values.fill_(float("nan"))
    stream.begin(seed=3)
    for made, wanted in zip(run(stream, [context] * 6), expected, strict=True):
        assert torch.equal(made, wanted)


def test_a_seed_decides_the_noise_from_where_it_is_set(model: CausalWan) -> None:
    context = a_context(model)
    stream = BlockStream(model, StreamConfig(), SIZE)

    def film(first: int, second: int) -> list[Tensor]:
        stream.begin(first)
        return run(stream, [context] * 4, then=lambda block: stream.reseed(second) if block == 2 else None)

    a, b = film(1, 2), film(1, 3)
    assert all(torch.equal(x, y) for x, y in zip(a[:2], b[:2], strict=True))
    assert not torch.equal(a[2], b[2])
    assert all(torch.equal(x, y) for x, y in zip(a, film(1, 2), strict=True))


def test_an_endless_stream_stays_in_its_window() -> None:
    """Three hundred blocks: positions never leave the window, and the numbers stay what they were."""
    model = network(tiny_longlive(layers=1))
    stream = BlockStream(model, replace(config.longlive("tiny").stream, steps=(1000,)), (2, 2))
    stream.begin(0)
    context = a_context(model)
    sizes = [float(block.std()) for block in run(stream, [context] * 300)]
    assert stream.frames == 900
    assert max(sizes[100:]) < 2 * max(sizes[:50])
    assert stream.past.window.place(897, 3).queries == (9, 10, 11)
