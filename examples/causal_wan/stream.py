"""Noise to clean latents, three frames at a time, without end.

    block k:   noise ─ step 1 ─ step 2 ─ … ─▶ clean ─ one more pass at time 0 ─▶ its keys join the window

Each step predicts the clean latents and adds fresh noise of the next, lower level (a distilled model needs no
solver and no guidance; Yin et al., Self-Forcing and CausVid, 2025). The last pass replaces the keys that noisy
latents left behind.

After a prompt switch the keys in the window still tell of the old prompt: `recache` recomputes them from the
clean latents under the new one (Yang et al., LongLive, 2025).
"""

from __future__ import annotations

from collections import deque

import torch
from torch import Tensor

from .actions import ActionRows
from .config import PATCH, StreamConfig
from .transformer import CausalWan, Context, Past


def sigma(step: float, shift: float) -> float:
    """Noise level of a training step 0..1000, warped towards noise: 750 becomes 0.9375 at shift 5."""
    s = step / 1000
    return shift * s / (1 + (shift - 1) * s)


class BlockStream:
    """One stream at a time; `begin` starts the next. Owned by one thread."""

    def __init__(self, model: CausalWan, config: StreamConfig, latent_size: tuple[int, int]) -> None:
        weight = model.head.head.weight
        self.model = model
        self.config = config
        self.latent_size = latent_size
        self.device, self.dtype = weight.device, weight.dtype
        frame_tokens = (latent_size[0] // PATCH) * (latent_size[1] // PATCH)
        self.past = Past(model.config, config, frame_tokens, device=self.device, dtype=self.dtype)
        self._sigmas = [sigma(step, config.shift) for step in config.steps]
        self._noise = torch.Generator(self.device)
        self._clean: deque[Tensor] = deque()  # one [1, 16, 1, h, w] for each frame that a re-cache may need

    @property
    def frames(self) -> int:
        """Latent frames made so far."""
        return self.past.window.end

    def begin(self, seed: int) -> None:
        """Forget the last stream. The seed decides all noise of the next."""
        self.past.forget()
        self._clean.clear()
        self.reseed(seed)

    def reseed(self, seed: int) -> None:
        """Let the noise from here on be what this seed makes."""
        self._noise.manual_seed(seed)

    @torch.inference_mode()
    def next_block(
        self, context: Context, *, condition: Tensor | None = None, actions: ActionRows | None = None
    ) -> Tensor:
        """Return the next clean latents [1, 16, block, h, w].

        condition   channels that join the noisy latents: [1, C, block, h, w]
        """
        start = self.frames
        shape = (1, self.model.config.out_channels, self.config.block, *self.latent_size)

        def velocity(x: Tensor, level: float) -> Tensor:
            timesteps = torch.full(shape[:1] + shape[2:3], 1000 * level, device=self.device)
            seen = x if condition is None else torch.cat([x, condition], 1)
            return self.model(seen, timesteps, context, past=self.past, start=start, actions=actions)

        x = self._draw(shape).to(self.dtype)
        for level, following in zip(self._sigmas, [*self._sigmas[1:], 0.0], strict=True):
            clean = (x.double() - level * velocity(x, level).double()).to(self.dtype)
            if following:
                x = ((1 - following) * clean.float() + following * self._draw(shape)).to(self.dtype)
        velocity(clean, 0.0)
        self._clean.extend(clean.split(1, 2))
        while len(self._clean) > self.config.window:
            self._clean.popleft()
        return clean

    @torch.inference_mode()
    def recache(self, context: Context) -> None:
        """Recompute the window under another context, in one pass. The sink stays once it is all that is left
        of its time: it then keeps the first prompt (`global_sink` of the published configuration)."""
        frames = self.past.window.rewritable()
        if not frames:
            return
        latents = torch.cat(list(self._clean)[-len(frames) :], 2)
        timesteps = torch.zeros(1, len(frames), device=self.device)
        self.model(latents, timesteps, context, past=self.past, start=frames[0])

    def _draw(self, shape: tuple[int, ...]) -> Tensor:
        return torch.randn(shape, generator=self._noise, device=self.device)
