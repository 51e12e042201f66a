"""Matrix-Game's actions: which rows a frame looks at, which frames an action changes, and the module's arithmetic."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from causal_wan.action_ring import ActionRing
from causal_wan.actions import ActionModule, ActionPast, ActionRows, time_rotation
from causal_wan.config import ActionConfig, Mode
from causal_wan.keys import Action, action, idle
from causal_wan.stream import BlockStream
from causal_wan.window import FrameWindow, Here
from support.wan_cases import CPU, SIZE, a_context, block_mask, config, largest_difference, network, seeded
from torch import Tensor

from reactor_runtime.errors import CommandError


@pytest.mark.parametrize(
    ("mode", "keys", "row", "turn"),
    [
        ("universal", "UQ", (0, 0, 0, 0), (0, 0)),
        ("universal", "IW", (1, 0, 0, 0), (0.1, 0)),
        ("universal", "KS", (0, 1, 0, 0), (-0.1, 0)),
        ("universal", "JA", (0, 0, 1, 0), (0, -0.1)),
        ("universal", "LD", (0, 0, 0, 1), (0, 0.1)),
        ("universal", "IWAL", (1, 0, 1, 0), (0.1, 0.1)),
        ("universal", "UWD", (1, 0, 0, 1), (0, 0)),
        ("universal", "KQJ", (0, 0, 0, 0), (-0.1, -0.1)),
        ("gta_drive", "UW", (1, 0), (0, 0)),
        ("gta_drive", "UWA", (1, 0), (0, -0.1)),
        ("gta_drive", "UD", (0, 0), (0, 0.1)),
        ("templerun", "UQ", (1, 0, 0, 0, 0, 0, 0), (0, 0)),
        ("templerun", "UW", (0, 1, 0, 0, 0, 0, 0), (0, 0)),
        ("templerun", "US", (0, 0, 1, 0, 0, 0, 0), (0, 0)),
        ("templerun", "JW", (0, 0, 0, 1, 0, 0, 0), (0, 0)),
        ("templerun", "LQ", (0, 0, 0, 0, 1, 0, 0), (0, 0)),
        ("templerun", "UD", (0, 0, 0, 0, 0, 0, 1), (0, 0)),
    ],
)
def test_keys_become_the_published_rows(
    mode: Mode, keys: Any, row: tuple[float, ...], turn: tuple[float, float]
) -> None:
    assert action(mode, keys[0], keys[1], keys[2:]) == Action(row, turn)


@pytest.mark.parametrize(
    ("mode", "keys", "code"), [("gta_drive", "JW", "no_mouse"), ("templerun", "IW", "no_such_key")]
)
def test_keys_that_a_mode_does_not_have_are_refused(mode: Mode, keys: Any, code: str) -> None:
    with pytest.raises(CommandError) as caught:
        action(mode, keys[0], keys[1])
    assert caught.value.code == code


def test_each_latent_frame_looks_at_the_twelve_rows_before_its_last_picture() -> None:
    """Against the rule itself: rows 4L-12 ... 4L-1, and row 0 where there are none."""
    ring = ActionRing(ActionConfig(keyboard_dim=1), block=3)
    for _ in range(2):  # and the same once more after `begin`
        ring.begin()
        per_frame: list[float] = []
        for block in range(8):
            held = Action((float(block),), (0.0, block / 10))
            per_frame += [float(block)] * (9 if block == 0 else 12)
            rows = ring.next_block(held, device=CPU, dtype=torch.float64)
            for index, latent in enumerate(range(3 * block, 3 * block + 3)):
                expected = [per_frame[max(0, frame)] for frame in range(4 * latent - 12, 4 * latent)]
                assert rows.keyboard[index, :, 0].tolist() == expected
                assert rows.mouse is not None
                assert rows.mouse[index, :, 1].tolist() == [value / 10 for value in expected]


@pytest.mark.parametrize("changed", [0, 1, 3])
@pytest.mark.parametrize("mode", ["universal", "gta_drive", "templerun"])
def test_an_action_changes_its_own_block_and_what_follows_and_nothing_before(
    mode: Mode, changed: int
) -> None:
    settings = config.matrix("tiny", mode)
    model = network(settings.wan)
    context = a_context(model)
    assert settings.wan.action is not None
    ring = ActionRing(settings.wan.action, 3)
    stream = BlockStream(model, settings.stream, SIZE)
    other = action(mode, "U", "W")

    def film(held: list[Action]) -> Tensor:
        stream.begin(0)
        ring.begin()
        condition = seeded(1, 20, 3, *SIZE)
        blocks = [
            stream.next_block(
                context,
                condition=condition,
                actions=ring.next_block(now, device=CPU, dtype=torch.float32),
            )
            for now in held
        ]
        return torch.cat(blocks, 2)

    plain = film([idle(mode)] * 6)
    acted = film([other if block == changed else idle(mode) for block in range(6)])
    differs = [not torch.equal(plain[:, :, frame], acted[:, :, frame]) for frame in range(18)]
    # The action's rows begin at pixel frame 12 * block - 3, which latent 3 * block looks at first.
    assert differs == [frame >= 3 * changed for frame in range(18)]


def plain_actions(
    module: ActionModule, x: Tensor, keyboard: Tensor, mouse: Tensor | None, mask: Tensor
) -> Tensor:
    """The module written out for all frames at once, one place at a time: x [F, S, D] → the same."""
    settings = module.config
    heads, head_dim = settings.heads, settings.width // settings.heads
    frames, places, _ = x.shape
    angles = torch.outer(
        torch.arange(frames, dtype=torch.float64),
        settings.theta ** -(torch.arange(4, dtype=torch.float64) / 4),
    )

    def turned(y: Tensor) -> Tensor:  # [F, H, C]: the first eight channels, pair by pair
        out = y.clone()
        for pair in range(4):
            cos, sin = (f(angles[:, pair]).float()[:, None] for f in (torch.cos, torch.sin))
            a, b = y[..., 2 * pair], y[..., 2 * pair + 1]
            out[..., 2 * pair], out[..., 2 * pair + 1] = a * cos - b * sin, a * sin + b * cos
        return out

    def unit(y: Tensor) -> Tensor:
        return y * torch.rsqrt((y * y).mean(-1, keepdim=True) + 1e-6)

    def attended(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        scores = torch.einsum("fhc,ghc->hfg", turned(unit(q)), turned(unit(k))) * head_dim**-0.5
        weights = scores.masked_fill(~mask, float("-inf")).softmax(-1)
        return torch.einsum("hfg,ghc->fhc", weights, v).flatten(1)

    def rows_of(y: Tensor, parts: int) -> list[Tensor]:
        return [part.reshape(frames, heads, head_dim) for part in y.chunk(parts, -1)]

    out = x.clone()
    if mouse is not None:
        for place in range(places):
            joined = torch.cat([x[:, place], mouse.reshape(frames, -1)], -1)
            q, k, v = rows_of(F.linear(module.mouse_mlp(joined), module.t_qkv.weight), 3)
            out[:, place] += F.linear(attended(q, k, v), module.proj_mouse.weight)
    embedded = torch.stack([module.keyboard_embed(rows).reshape(-1) for rows in keyboard])
    k, v = rows_of(F.linear(embedded, module.keyboard_attn_kv.weight), 2)
    result = out.clone()
    for place in range(places):
        [q] = rows_of(F.linear(out[:, place], module.mouse_attn_q.weight), 1)
        result[:, place] += F.linear(attended(q, k, v), module.proj_keyboard.weight)
    return result


@pytest.mark.parametrize("mode", ["universal", "gta_drive", "templerun"])
@pytest.mark.parametrize("positions", ["relative", "absolute"])
def test_the_streamed_action_module_is_its_arithmetic_with_a_mask(mode: Mode, positions: str) -> None:
    from dataclasses import replace

    whole = config.matrix("tiny", mode)
    assert whole.wan.action is not None
    # Heads as wide as the published ones, of which the first eight channels rotate.
    settings = replace(whole.wan.action, width=128, heads=2)
    stream = replace(whole.stream, positions=positions)  # type: ignore[arg-type]
    torch.manual_seed(0)
    module = ActionModule(settings, 24).requires_grad_(False)
    for parameter in module.parameters():
        parameter.normal_(0, 0.7 * parameter.shape[-1] ** -0.5)
    frames, places = 15, 4
    x = seeded(frames, places, 24)
    keyboard = seeded(frames, 12, settings.keyboard_dim, seed=1)
    mouse = seeded(frames, 12, 2, seed=2) if settings.mouse_dim else None
    expected = plain_actions(module, x, keyboard, mouse, block_mask(frames, stream))

    past = ActionPast(settings, places, device=CPU, dtype=torch.float32)
    window = FrameWindow(settings.frames, 0, stream.positions)
    made = []
    for start in range(0, frames, 3):
        own = slice(start, start + 3)
        for noise in (1.0, 0.0):  # a noisy pass first, which must leave no trace
            place = window.place(start, 3)
            here = Here(
                time_rotation(settings, place.queries, CPU),
                None if place.keys is None else time_rotation(settings, place.keys, CPU),
                place,
            )
            rows = ActionRows(keyboard[own] + noise, None if mouse is None else mouse[own] + noise)
            tokens = (x[own] + noise * seeded(3, places, 24, seed=3)).flatten(0, 1).unsqueeze(0)
            streamed = module(tokens, rows, here, past)
        made.append(streamed[0].unflatten(0, (3, places)))
    assert largest_difference(torch.cat(made), expected) <= 2e-6


def test_a_model_of_actions_is_not_run_without_any() -> None:
    model = network(config.matrix("tiny").wan)
    with pytest.raises(AssertionError, match="needs actions"):
        model(seeded(1, 36, 3, *SIZE), torch.zeros(1, 3), a_context(model))
