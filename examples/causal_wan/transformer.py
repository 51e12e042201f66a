"""CausalWan: Wan 2.1's transformer, run over a few latent frames at a time against the keys of the past.

    noisy latents, their timesteps, a context ─▶ velocity (noise - clean), of the same shape

Without a `Past` it is the plain bidirectional network, or with `mask` the block-causal one it was trained as.
With a `Past` the frames of the pass see each other and everything the window holds. Parameters carry the
names of the published checkpoints (original Wan 2.1 code), so nothing is renamed at loading.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import rotary
from .actions import ActionModule, ActionPast, ActionRows, time_rotation
from .config import PATCH, StreamConfig, WanConfig
from .rotary import Rotation, rotate
from .window import FrameWindow, Here, KeyValues, see

#: Keys and values of the text or picture tokens, per layer: [B, T, H, C] each. Made once per prompt.
Context = list[tuple[Tensor, Tensor]]


class Past:
    """What the network remembers of a stream: one window, and its tensors for every layer."""

    def __init__(
        self,
        config: WanConfig,
        stream: StreamConfig,
        frame_tokens: int,
        *,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self.window = FrameWindow(stream.window, stream.sink, stream.positions)
        shape = (1, stream.window, frame_tokens, config.heads, config.head_dim)
        self.layers = [KeyValues(shape, device=device, dtype=dtype) for _ in range(config.layers)]
        self.actions: list[ActionPast] = []
        if (action := config.action) is not None:
            self.action_window = FrameWindow(action.frames, 0, stream.positions)
            self.actions = [
                ActionPast(action, frame_tokens, device=device, dtype=dtype) for _ in range(action.layers)
            ]

    def forget(self) -> None:
        """Start anew. What lies in the tensors is never read before it is written again."""
        self.window.end = 0
        if self.actions:
            self.action_window.end = 0


class Attention(nn.Module):
    """The projections that self- and cross-attention have in common."""

    def __init__(self, config: WanConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.q = nn.Linear(config.width, config.width)
        self.k = nn.Linear(config.width, config.width)
        self.v = nn.Linear(config.width, config.width)
        self.o = nn.Linear(config.width, config.width)
        self.norm_q = nn.RMSNorm(config.width, eps=config.eps)
        self.norm_k = nn.RMSNorm(config.width, eps=config.eps)

    def queries(self, x: Tensor) -> Tensor:
        return self.norm_q(self.q(x)).unflatten(-1, (self.heads, -1))

    def keys_values(self, x: Tensor) -> tuple[Tensor, Tensor]:
        shape = (self.heads, -1)
        return self.norm_k(self.k(x)).unflatten(-1, shape), self.v(x).unflatten(-1, shape)

    def attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
        """Mix v [B, L', H, C] for the queries [B, L, H, C] and project: [B, L, D]."""
        mixed = F.scaled_dot_product_attention(
            q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), attn_mask=mask
        )
        return self.o(mixed.transpose(1, 2).flatten(2))


class Block(nn.Module):
    def __init__(self, config: WanConfig, *, acts: bool) -> None:
        super().__init__()
        width = config.width
        self.norm1 = nn.LayerNorm(width, config.eps, elementwise_affine=False)
        self.self_attn = Attention(config)
        self.norm3 = nn.LayerNorm(width, config.eps)
        self.cross_attn = Attention(config)
        if acts and config.action is not None:
            self.action_model = ActionModule(config.action, width)
        self.norm2 = nn.LayerNorm(width, config.eps, elementwise_affine=False)
        self.ffn = nn.Sequential(
            nn.Linear(width, config.ffn), nn.GELU(approximate="tanh"), nn.Linear(config.ffn, width)
        )
        self.modulation = nn.Parameter(torch.empty(1, 6, width))
        self.acts = acts

    def forward(
        self,
        x: Tensor,  # [B, L, D]
        time: Tensor,  # [B, F, 6, D]
        context: tuple[Tensor, Tensor],
        here: Here,
        past: KeyValues | None,
        acting: tuple[ActionRows, Here] | None,
        action_past: ActionPast | None,
    ) -> Tensor:
        shift1, scale1, gate1, shift2, scale2, gate2 = (self.modulation + time).unsqueeze(3).unbind(2)
        y = _per_frame(self.norm1(x), scale1 + 1, shift1)
        q = rotate(self.self_attn.queries(y), here.queries)
        k, v = see(*self.self_attn.keys_values(y), here, past)
        x = x + _per_frame(self.self_attn.attend(q, k, v, here.mask), gate1)
        x = x + self.cross_attn.attend(self.cross_attn.queries(self.norm3(x)), *context)
        if self.acts:
            assert acting is not None, "this model needs actions"
            x = self.action_model(x, *acting, action_past)
        y = _per_frame(self.norm2(x), scale2 + 1, shift2)
        return x + _per_frame(self.ffn(y), gate2)


class Head(nn.Module):
    def __init__(self, config: WanConfig) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(config.width, config.eps, elementwise_affine=False)
        self.head = nn.Linear(config.width, config.out_channels * PATCH * PATCH)
        self.modulation = nn.Parameter(torch.empty(1, 2, config.width))

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """x [B, L, D], time [B, F, D] → [B, L, 4 * channels]."""
        shift, scale = (self.modulation + time.unsqueeze(2)).unsqueeze(3).unbind(2)
        return self.head(_per_frame(self.norm(x), scale + 1, shift))


class ImageEmbedding(nn.Module):
    """Tokens of CLIP's image tower → context tokens."""

    def __init__(self, config: WanConfig) -> None:
        super().__init__()
        inside = config.image_dim
        self.proj = nn.Sequential(
            nn.LayerNorm(inside),
            nn.Linear(inside, inside),
            nn.GELU(),
            nn.Linear(inside, config.width),
            nn.LayerNorm(config.width),
        )

    def forward(self, tokens: Tensor) -> Tensor:
        return self.proj(tokens)


class CausalWan(nn.Module):
    def __init__(self, config: WanConfig) -> None:
        super().__init__()
        self.config = config
        width, patch = config.width, (1, PATCH, PATCH)
        self.patch_embedding = nn.Conv3d(config.in_channels, width, patch, patch)
        if config.text_dim:
            self.text_embedding = nn.Sequential(
                nn.Linear(config.text_dim, width), nn.GELU(approximate="tanh"), nn.Linear(width, width)
            )
        if config.image_dim:
            self.img_emb = ImageEmbedding(config)
        self.time_embedding = nn.Sequential(
            nn.Linear(config.freq_dim, width), nn.SiLU(), nn.Linear(width, width)
        )
        self.time_projection = nn.Sequential(nn.SiLU(), nn.Linear(width, 6 * width))
        acting = 0 if config.action is None else config.action.layers
        self.blocks = nn.ModuleList(Block(config, acts=layer < acting) for layer in range(config.layers))
        self.head = Head(config)

    def context(self, tokens: Tensor) -> Context:
        """Return every layer's keys and values of text [B, T, text_dim] or picture [B, T, image_dim] tokens.

        Text is attended to over its full length: what follows the prompt's end is zero *before* the
        embedding, and no mask is used.
        """
        embedded = self.text_embedding(tokens) if self.config.text_dim else self.img_emb(tokens)
        return [block.cross_attn.keys_values(embedded) for block in self.blocks]  # type: ignore[operator, union-attr]

    def forward(
        self,
        x: Tensor,  # [B, C, F, h, w]
        timesteps: Tensor,  # [B, F], 0..1000
        context: Context,
        *,
        past: Past | None = None,
        start: int = 0,
        actions: ActionRows | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """Return the velocity of these frames, [B, 16, F, h, w]. `start` is the stream's index of the first.

        past   what is seen besides, and where these frames are written
        mask   [L, L], true where a token (row) may look; only without a past
        """
        frames, height, width = x.shape[2], x.shape[3] // PATCH, x.shape[4] // PATCH
        here = self._here(range(start, start + frames), height, width, x.device, past, mask)
        acting = None if actions is None else (actions, self._acting(start, frames, x.device, past))
        time = self.time_embedding(_sinusoid(timesteps, self.config.freq_dim).to(x.dtype))  # [B, F, D]
        modulation = self.time_projection(time).unflatten(-1, (6, -1))
        tokens = self.patch_embedding(x).flatten(2).transpose(1, 2)  # [B, L, D]
        for layer, block in enumerate(self.blocks):
            tokens = block(
                tokens,
                modulation,
                context[layer],
                here,
                None if past is None else past.layers[layer],
                acting,
                past.actions[layer] if past is not None and layer < len(past.actions) else None,
            )
        patches = self.head(tokens, time).unflatten(1, (frames, height, width))
        patches = patches.unflatten(-1, (PATCH, PATCH, -1))  # [B, F, h', w', 2, 2, 16]
        return patches.permute(0, 6, 1, 2, 4, 3, 5).flatten(5, 6).flatten(3, 4)

    def _here(
        self,
        frames: Sequence[int],
        height: int,
        width: int,
        device: torch.device,
        past: Past | None,
        mask: Tensor | None,
    ) -> Here:
        def turned(positions: Sequence[int]) -> Rotation:
            return rotary.video(positions, height, width, self.config.head_dim, device=device)

        if past is None:
            return Here(turned(frames), mask=mask)
        assert mask is None, "a pass with a past sees everything the window holds"
        place = past.window.place(frames[0], len(frames))
        return Here(turned(place.queries), None if place.keys is None else turned(place.keys), place)

    def _acting(self, start: int, frames: int, device: torch.device, past: Past | None) -> Here:
        assert self.config.action is not None
        if past is None:
            return Here(time_rotation(self.config.action, range(start, start + frames), device))
        place = past.action_window.place(start, frames)
        keys = None if place.keys is None else time_rotation(self.config.action, place.keys, device)
        return Here(time_rotation(self.config.action, place.queries, device), keys, place)


def _per_frame(x: Tensor, scale: Tensor, shift: Tensor | None = None) -> Tensor:
    """Scale and shift x [B, L, D] with one [B, F, 1, D] per frame."""
    frames = x.unflatten(1, (scale.shape[1], -1)) * scale
    return (frames if shift is None else frames + shift).flatten(1, 2)


def _sinusoid(timesteps: Tensor, size: int) -> Tensor:
    """[B, F] → [B, F, size], cosines first; in float64, since timesteps are up to 1000."""
    half = size // 2
    speeds = torch.exp(
        -math.log(10_000) * torch.arange(half, dtype=torch.float64, device=timesteps.device) / half
    )
    angles = timesteps.double().unsqueeze(-1) * speeds
    return torch.cat([angles.cos(), angles.sin()], -1)
