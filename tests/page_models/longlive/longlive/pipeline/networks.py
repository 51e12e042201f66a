"""The small networks of the stand-in, and what their numbers mean.

A scene is SCENE numbers in 0..1: three RGB colours (sky above, sky at the horizon, ground) and the sun's
height, the sun's size, cloud, waves and grain. The text encoder maps words to scenes with a table of
weights, the denoiser turns a scene and a moment into a latent, the decoder paints a latent:

    latent channel   0-2 colour    3 light    4-15 unused (zero)       (16, h, w), h and w are pixels / 8
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping

import cv2
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]

SCENE = 14
LATENT_CHANNELS = 16
UPSCALE = 8


class TextEncoder:
    """Words to a scene: the mean of the known words' rows; an unknown word tints the colours."""

    def load(self, state_dict: Mapping[str, Array]) -> None:
        table = state_dict["text_encoder.table"]
        self._rows = dict(zip(state_dict["text_encoder.words"].tolist(), table, strict=True))
        self._default = state_dict["text_encoder.default"]

    def encode(self, prompt: str) -> Array:
        """Return the scene (SCENE,) of a prompt of any length."""
        words = [word.strip(".,;:!?\"'()") for word in prompt.lower().split()]
        known = [self._rows[word] for word in words if word in self._rows]
        scene = np.mean(known, axis=0) if known else self._default
        if unknown := [word for word in words if word not in self._rows and len(word) > 3]:
            seed = zlib.crc32(" ".join(unknown).encode())
            tint = np.random.default_rng(seed).uniform(-0.18, 0.18, 9)
            scene = scene + np.pad(tint, (0, SCENE - 9))
        return np.clip(scene, 0, 1).astype(np.float32)


class Denoiser:
    """Predicts the velocity noise - clean of a sample, where clean is the scene at this moment."""

    def load(self, state_dict: Mapping[str, Array]) -> None:
        self._waves = state_dict["model.waves"]  # (waves, 4): frequency x, frequency y, speed, phase

    def __call__(self, sample: Array, sigma: float, scene: Array, index: int, texture: Array) -> Array:
        """`texture` is the film's first noise latent (16, h, w): its clouds and its water."""
        clean = self._clean(sample.shape[1], sample.shape[2], scene, index, texture)
        # Only the clean picture is known, so the noise in the sample follows from the mixing rule.
        return (sample - clean) / max(sigma, 1e-6)

    def _clean(self, height: int, width: int, scene: Array, index: int, texture: Array) -> Array:
        sky, glow, ground = scene[0:3], scene[3:6], scene[6:9]
        sun, size, cloud, wave, grain = scene[9:14]
        y = np.linspace(0, 1, height, dtype=np.float32)[:, None]
        x = np.linspace(0, 1, width, dtype=np.float32)[None, :]
        horizon = 0.62 + 0.01 * np.sin(index / 40)

        # Blurred twice as wide as it is, so that the drifting clouds have no seam.
        clouds = cv2.GaussianBlur(np.tile(texture[4], 2), (0, 0), 5)[:, width // 2 : width // 2 + width]
        drift = np.roll(clouds, index // 3, axis=1)
        veil = np.clip(0.5 + 2.2 * drift / (np.abs(drift).max() + 1e-6), 0, 1) * cloud
        up = np.clip(y / horizon, 0, 1)[..., None]
        above = sky * (1 - up**1.6) + glow * up**1.6
        above = above * (1 - 0.7 * veil[..., None]) + (0.35 + 0.6 * glow) * 0.7 * veil[..., None]

        swell = np.zeros((height, width), np.float32)
        depth = np.clip((y - horizon) / (1 - horizon), 0.02, 1)
        for fx, fy, speed, phase in self._waves:
            swell += np.sin(fx * (x - 0.5) / depth + fy / depth + speed * index + phase)
        swell = swell / len(self._waves) * wave
        below = ground * (1 - 0.35 * (1 - depth[..., None])) + glow * 0.3 * np.clip(swell, -1, 1)[..., None]

        below_horizon = (y > horizon)[..., None]
        colour = np.where(below_horizon, below, above)
        sun_x, sun_y = 0.5 + 0.22 * np.sin(index / 150), horizon * (1.02 - sun)
        distance = np.sqrt(((x - sun_x) * width / height) ** 2 + (y - sun_y) ** 2)
        radius = 0.02 + 0.1 * size
        disc = np.clip((radius - distance) / 0.02 + 0.5, 0, 1) * (y < horizon) * (1 - 0.7 * veil)
        halo = 0.5 * np.exp(-distance / (radius * 2.5)) * (1 - 0.5 * veil)
        path = np.exp(-(((x - sun_x) / (0.03 + 0.1 * depth)) ** 2)) * np.clip(0.4 + swell, 0, 1)
        light = disc + halo * (y < horizon) + 0.8 * path * (y >= horizon) * (0.3 + size)

        latent = np.zeros((LATENT_CHANNELS, height, width), np.float32)
        latent[:3] = colour.transpose(2, 0, 1)
        latent[3] = light
        latent[:3] += 0.025 * grain * np.roll(texture[5:8], index, axis=2)
        return latent


class SceneDecoder:
    """Latents to pixels, 8 times larger, like a VAE's decoder."""

    def decode(self, latent: Array) -> npt.NDArray[np.uint8]:
        """Return (8 h, 8 w, 3) uint8 RGB for a latent (16, h, w)."""
        lit = latent[:3] + latent[3] * np.array([1.0, 0.86, 0.6], np.float32)[:, None, None]
        small = np.ascontiguousarray(np.clip(lit, 0, 1).transpose(1, 2, 0) * 255).astype(np.uint8)
        height, width = small.shape[0] * UPSCALE, small.shape[1] * UPSCALE
        return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)
