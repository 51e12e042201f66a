"""InferencePipeline: an endless film of latents that follows the prompt while it runs.

It has the shape that the guide's step 3 ends with: the prompt is looked up before every latent and encoded
again only when it changed. One thread generates; any thread may set `_current_prompt`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import count

import numpy as np
import numpy.typing as npt
import torch

from longlive.config import Config
from longlive.pipeline.networks import Denoiser, SceneDecoder, TextEncoder

Array = npt.NDArray[np.float32]


class Scheduler:
    """Flow matching: a sample is (1 - sigma) clean + sigma noise, and the network predicts noise - clean."""

    def step(self, noise_pred: Array, sigma: float, next_sigma: float, sample: Array) -> Array:
        return sample - (sigma - next_sigma) * noise_pred


class InferencePipeline:
    def __init__(self, config: Config, device: torch.device) -> None:
        self.config = config
        self.device = device
        self.text_encoder = TextEncoder()
        self.model = Denoiser()
        self.vae = SceneDecoder()
        self.scheduler = Scheduler()
        self._current_prompt: str | None = None
        self._last_encoded_prompt: str | None = None
        self._cached_conditioning: Array | None = None

    def load_state_dict(self, state_dict: Mapping[str, Array]) -> None:
        """Take the weights; raises KeyError naming the first one that is missing."""
        self.text_encoder.load(state_dict)
        self.model.load(state_dict)

    def to(self, device: torch.device) -> InferencePipeline:
        self.device = device
        return self

    def reset(self) -> None:
        """Forget the last user: prompt, conditioning and history."""
        self._current_prompt = None
        self._last_encoded_prompt = None
        self._cached_conditioning = None

    def get_current_conditioning(self) -> Array:
        """Return the encoded prompt (SCENE,), encoding it only if it changed since the last call."""
        prompt = self._current_prompt or self.config.prompt
        if self._cached_conditioning is None or prompt != self._last_encoded_prompt:
            self._cached_conditioning = self.text_encoder.encode(prompt)
            self._last_encoded_prompt = prompt
        return self._cached_conditioning

    def generate(self, prompt: str | None, noise: Array) -> Iterator[Array]:
        """Yield latents (16, h, w) for ever, seeded by noise (1, frames, 16, h, w).

        `prompt` is what is shown until a command sets another.
        """
        if self._current_prompt is None:
            self._current_prompt = prompt
        scene = self.get_current_conditioning()
        for index in count():
            # A cut between two prompts would look like a fault, so the scene travels to the new one.
            scene = scene + self.config.morph * (self.get_current_conditioning() - scene)
            sigma = 1.0
            latent = noise[0, index % noise.shape[1]]
            for next_sigma in (*self.config.denoising_steps, 0.0):
                noise_pred = self.model(latent, sigma, scene, index, noise[0, 0])
                latent = self.scheduler.step(noise_pred, sigma, next_sigma, latent)
                sigma = next_sigma
            yield latent
