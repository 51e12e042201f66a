"""Matrix-Game's addition to a block: what mouse and keyboard did turns into a change of the tokens.

    mouse      each place of the picture looks along time at itself, joined with the mouse of that time
    keyboard   each place looks along time at what the keys were

Both look at the last frames of a window of their own, whose keys and values are kept like those of the block's
self-attention, only per place (mouse) or once for all places (keyboard). Places need no position: only the
first channels of each head rotate, with time. Batch is 1 throughout.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import rotary
from .config import ACTION_ROWS, ActionConfig
from .rotary import Rotation, rotate
from .window import Here, KeyValues, see


@dataclass(frozen=True, slots=True)
class ActionRows:
    """The actions that each latent frame of a pass looks at, newest last."""

    keyboard: Tensor  # [F, 12, keys]
    mouse: Tensor | None  # [F, 12, 2]


class ActionPast:
    """What one action module remembers."""

    def __init__(
        self, config: ActionConfig, places: int, *, device: torch.device, dtype: torch.dtype
    ) -> None:
        shape = (config.frames, 1, config.heads, config.width // config.heads)
        self.keyboard = KeyValues((1, *shape), device=device, dtype=dtype)
        self.mouse = KeyValues((places, *shape), device=device, dtype=dtype) if config.mouse_dim else None


class ActionModule(nn.Module):
    def __init__(self, config: ActionConfig, tokens_width: int) -> None:
        super().__init__()
        self.config = config
        hidden, width, head_dim = config.hidden, config.width, config.width // config.heads
        self.keyboard_embed = nn.Sequential(
            nn.Linear(config.keyboard_dim, hidden), nn.SiLU(), nn.Linear(hidden, hidden)
        )
        if config.mouse_dim:
            self.mouse_mlp = nn.Sequential(
                nn.Linear(tokens_width + ACTION_ROWS * config.mouse_dim, width),
                nn.GELU(approximate="tanh"),
                nn.Linear(width, width),
                nn.LayerNorm(width),
            )
            self.t_qkv = nn.Linear(width, 3 * width, bias=False)
            self.img_attn_q_norm = nn.RMSNorm(head_dim)
            self.img_attn_k_norm = nn.RMSNorm(head_dim)
            self.proj_mouse = nn.Linear(width, tokens_width, bias=False)
        # The checkpoint's name for the query of the keyboard.
        self.mouse_attn_q = nn.Linear(tokens_width, width, bias=False)
        self.keyboard_attn_kv = nn.Linear(ACTION_ROWS * hidden, 2 * width, bias=False)
        # The checkpoint has weights for these four norms, and the published code never applies them.
        self.key_attn_q_norm = nn.RMSNorm(head_dim)
        self.key_attn_k_norm = nn.RMSNorm(head_dim)
        self.proj_keyboard = nn.Linear(width, tokens_width, bias=False)

    def forward(self, x: Tensor, rows: ActionRows, here: Here, past: ActionPast | None) -> Tensor:
        """x [1, L, D] → the same. Without a past the frames see each other only."""
        places = x[0].unflatten(0, (rows.keyboard.shape[0], -1)).transpose(0, 1)  # [S, F, D]
        if self.config.mouse_dim:
            assert rows.mouse is not None
            places = places + self._mouse(places, rows.mouse, here, None if past is None else past.mouse)
        places = places + self._keyboard(places, rows.keyboard, here, None if past is None else past.keyboard)
        return places.transpose(0, 1).flatten(0, 1).unsqueeze(0)

    def _mouse(self, x: Tensor, mouse: Tensor, here: Here, past: KeyValues | None) -> Tensor:
        moved = mouse.flatten(1).expand(x.shape[0], -1, -1)  # [S, F, 12 * 2]
        mixed = self.t_qkv(self.mouse_mlp(torch.cat([x, moved], -1)))
        q, k, v = mixed.unflatten(-1, (3, self.config.heads, -1)).unbind(2)  # [S, F, H, C]
        k, v = see(_unit(k), v, here, past)
        return self.proj_mouse(_attend(rotate(_unit(q), here.queries), k, v))

    def _keyboard(self, x: Tensor, keyboard: Tensor, here: Here, past: KeyValues | None) -> Tensor:
        rows = self.keyboard_embed(keyboard).flatten(1).unsqueeze(0)  # [1, F, 12 * hidden]
        k, v = self.keyboard_attn_kv(rows).unflatten(-1, (2, self.config.heads, -1)).unbind(2)
        k, v = see(_unit(k), v, here, past)  # [1, F', H, C]
        q = self.mouse_attn_q(x).unflatten(-1, (self.config.heads, -1))  # [S, F, H, C]
        everywhere = (x.shape[0], -1, -1, -1)
        mixed = _attend(rotate(_unit(q), here.queries), k.expand(everywhere), v.expand(everywhere))
        return self.proj_keyboard(mixed)


def time_rotation(config: ActionConfig, frames: Sequence[int], device: torch.device) -> Rotation:
    head_dim = config.width // config.heads
    return rotary.time_only(frames, head_dim, config.rotated, config.theta, device=device)


def _unit(x: Tensor) -> Tensor:
    return F.rms_norm(x, x.shape[-1:], eps=1e-6)


def _attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """[S, F, H, C] over [S, F', H, C] → [S, F, H * C]."""
    mixed = F.scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2))
    return mixed.transpose(1, 2).flatten(2)
