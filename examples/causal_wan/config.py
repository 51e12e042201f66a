"""Every size of the two models, published and tiny. Pure: importing this loads no torch."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

Profile = Literal["full", "tiny"]
Positions = Literal["relative", "absolute"]

#: The VAE makes one latent of 8x8 pixels, and of one frame for the first, four for every later latent.
SPATIAL, TEMPORAL = 8, 4
#: Two latents a side become one token.
PATCH = 2
#: Rows of pixel-frame actions that one latent frame looks at: three latents' worth.
ACTION_ROWS = 3 * TEMPORAL


@dataclass(frozen=True, slots=True)
class ActionConfig:
    """Matrix-Game's addition to the first blocks of the network."""

    layers: int = 15
    keyboard_dim: int = 4
    mouse_dim: int = 2
    """0: the model has no mouse."""
    hidden: int = 128
    width: int = 1024
    heads: int = 16
    rotated: int = 8
    """Channels of each head that rotate with time."""
    theta: float = 256.0
    frames: int = 6
    """How many latent frames the attention over time sees."""


@dataclass(frozen=True, slots=True)
class WanConfig:
    """The transformer. The defaults are Wan 2.1 T2V 1.3B, which is LongLive's."""

    width: int = 1536
    ffn: int = 8960
    heads: int = 12
    layers: int = 30
    freq_dim: int = 256
    in_channels: int = 16
    out_channels: int = 16
    text_dim: int = 4096
    """0: no text; the context comes from a picture."""
    text_len: int = 512
    image_dim: int = 0
    eps: float = 1e-6
    action: ActionConfig | None = None

    @property
    def head_dim(self) -> int:
        return self.width // self.heads


@dataclass(frozen=True, slots=True)
class StreamConfig:
    """How a video is made block by block."""

    steps: tuple[int, ...] = (1000, 750, 500, 250)
    shift: float = 5.0
    block: int = 3
    """Latent frames that are made together and see each other."""
    window: int = 12
    """Latent frames that a block sees, itself and the sink included."""
    sink: int = 3
    """The first frames of the stream, which are never forgotten."""
    positions: Positions = "relative"
    """relative: a frame's place in the window, so a stream may run for ever. absolute: since the start, as
    published; trained up to frame 1023."""


@dataclass(frozen=True, slots=True)
class VaeConfig:
    base_dim: int = 96
    channels: int = 16


@dataclass(frozen=True, slots=True)
class TextConfig:
    """umt5-xxl's encoder."""

    vocabulary: int = 256_384
    width: int = 4096
    ffn: int = 10_240
    heads: int = 64
    head_dim: int = 64
    layers: int = 24
    buckets: int = 32


@dataclass(frozen=True, slots=True)
class VisionConfig:
    """The image tower of CLIP ViT-H/14."""

    width: int = 1280
    ffn: int = 5120
    heads: int = 16
    layers: int = 32
    picture: int = 224
    patch: int = 14

    @property
    def tokens(self) -> int:
        return 1 + (self.picture // self.patch) ** 2


@dataclass(frozen=True, slots=True)
class LongLiveConfig:
    wan: WanConfig = field(default_factory=WanConfig)
    stream: StreamConfig = field(default_factory=StreamConfig)
    vae: VaeConfig = field(default_factory=VaeConfig)
    text: TextConfig = field(default_factory=TextConfig)
    lora_alpha: float = 256.0


@dataclass(frozen=True, slots=True)
class MatrixConfig:
    wan: WanConfig
    stream: StreamConfig
    vae: VaeConfig = field(default_factory=VaeConfig)
    vision: VisionConfig = field(default_factory=VisionConfig)


Mode = Literal["universal", "gta_drive", "templerun"]

#: Keyboard and mouse dimensions, denoising steps and window of Matrix-Game 2.0's three checkpoints.
_MODES: dict[Mode, tuple[int, int, tuple[int, ...], int]] = {
    "universal": (4, 2, (1000, 666, 333), 6),
    "gta_drive": (2, 2, (1000, 666, 333), 4),
    "templerun": (7, 0, (1000, 750, 500, 250), 6),
}

_TINY_WAN = WanConfig(width=64, ffn=128, heads=2, layers=2, freq_dim=16, text_dim=32, text_len=64)
_TINY_VAE = VaeConfig(base_dim=4)
_TINY_TEXT = TextConfig(vocabulary=512, width=32, ffn=48, heads=2, head_dim=16, layers=2, buckets=8)
_TINY_VISION = VisionConfig(width=40, ffn=64, heads=2, layers=3, picture=28)


def longlive(profile: Profile, *, positions: Positions = "relative") -> LongLiveConfig:
    stream = StreamConfig(positions=positions)
    if profile == "full":
        return LongLiveConfig(stream=stream)
    return LongLiveConfig(_TINY_WAN, stream, _TINY_VAE, _TINY_TEXT, lora_alpha=4.0)


def matrix(profile: Profile, mode: Mode = "universal") -> MatrixConfig:
    keyboard, mouse, steps, window = _MODES[mode]
    # Without a sink only differences of positions count, so relative ones give what the published absolute ones do.
    stream = StreamConfig(steps=steps, window=window, sink=0)
    action = ActionConfig(keyboard_dim=keyboard, mouse_dim=mouse, frames=window)
    wan = WanConfig(in_channels=36, text_dim=0, image_dim=1280, action=action)
    if profile == "full":
        return MatrixConfig(wan, stream)
    action = replace(action, layers=1, hidden=8, width=32, heads=2)
    wan = replace(_TINY_WAN, in_channels=36, text_dim=0, image_dim=_TINY_VISION.width, action=action)
    return MatrixConfig(wan, stream, _TINY_VAE, _TINY_VISION)
