"""A small video generator: patterns that grow like coral, described by a prompt.

The "network" is the reaction-diffusion system of Gray and Scott: two substances U and V on a grid; a prompt
chooses how fast U is fed and V removed, and with that whether spots, mazes or worms grow. It has the parts
of any video model: weights, a text encoder, a generation loop over latents, a decoder to pixels.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]
Frame = npt.NDArray[np.uint8]  # (height, width, 3), RGB

SCALE = 4  # a latent is this much smaller than its frame
STEPS = 14  # of chemistry per frame
LAPLACE = np.array([[0.05, 0.2, 0.05], [0.2, -1.0, 0.2], [0.05, 0.2, 0.05]], np.float32)


@dataclass(frozen=True)
class Conditioning:
    """What a prompt means: chemistry and colours."""

    feed: float
    kill: float
    colours: Array  # (3, 3): water, growth, tips; RGB 0..255


class TextEncoder:
    """The mean of the known words; what nobody taught it stays at the default."""

    def __init__(self, words: dict[str, dict[str, list[float]]]) -> None:
        self.words = words

    def encode(self, prompt: str) -> Conditioning:
        found = [word.strip(".,!?") for word in prompt.lower().split()]
        known = [self.words[word] for word in found if word in self.words] or [self.words["coral"]]
        # A word describes the chemistry, the colours or both.
        chemistry = [word["chemistry"] for word in known if "chemistry" in word]
        colours = [word["colours"] for word in known if "colours" in word]
        feed, kill = np.mean(chemistry or [self.words["coral"]["chemistry"]], axis=0)
        mixed = np.mean(colours or [self.words["coral"]["colours"]], axis=0)
        return Conditioning(float(feed), float(kill), mixed.reshape(3, 3).astype(np.float32))


class Decoder:
    """Latents to pixels: enlarge, and light the slopes."""

    def decode(self, latent: Array) -> Frame:
        """latent (4, h, w) → frame (4 h, 4 w, 3) uint8."""
        height, width = latent.shape[1] * SCALE, latent.shape[2] * SCALE
        height_map = latent[0]
        slope = cv2.Sobel(height_map, cv2.CV_32F, 1, 0) + cv2.Sobel(height_map, cv2.CV_32F, 0, 1)
        lit = latent[1:] * (1 + slope)
        enlarged = cv2.resize(lit.transpose(1, 2, 0), (width, height), interpolation=cv2.INTER_CUBIC)
        return np.asarray(np.clip(enlarged, 0, 255), np.uint8)


class CoralPipeline:
    def __init__(self, size: tuple[int, int] = (480, 640)) -> None:
        self.height, self.width = size[0] // SCALE, size[1] // SCALE
        self.vae = Decoder()
        self.text_encoder = TextEncoder({})
        self.reset()

    def load_weights(self, path: str | Path) -> None:
        self.text_encoder = TextEncoder(json.loads(Path(path).read_text()))

    def reset(self) -> None:
        """Clear the water."""
        self.substances = np.zeros((2, self.height, self.width), np.float32)  # U, V
        self.substances[0] = 1

    def noise(self, frames: int, seed: int = 0) -> Array:
        """Where new growth may begin, (frames, h, w)."""
        return np.random.default_rng(seed).standard_normal((frames, self.height, self.width), np.float32)

    def generate(self, prompt: str, noise: Array) -> Iterator[Array]:
        """Yield one latent (4, h, w) for each frame of the noise: how much grew, and its colour."""
        conditioning = self.text_encoder.encode(prompt)
        for spores in noise:
            yield self.step(spores, conditioning)

    def step(self, spores: Array, conditioning: Conditioning) -> Array:
        """Grow for the time of one frame and return the latent."""
        feed, kill = conditioning.feed, conditioning.kill
        u, v = self.substances
        settled = cv2.GaussianBlur((spores > 3.7).astype(np.float32), (0, 0), 1.6) * 12
        v = np.maximum(v, np.minimum(settled, 0.5))
        for _ in range(STEPS):
            reaction = u * v * v
            u = u + 0.84 * cv2.filter2D(u, -1, LAPLACE) - reaction + feed * (1 - u)
            v = v + 0.42 * cv2.filter2D(v, -1, LAPLACE) + reaction - (feed + kill) * v
        self.substances = np.stack([u, v]).astype(np.float32)
        amount = np.clip(v * 3.2, 0, 1)
        colour = [np.interp(amount, [0, 0.55, 1], conditioning.colours[:, rgb]) for rgb in range(3)]
        return np.stack([v, *colour]).astype(np.float32)
