"""An open runtime for real-time interactive video models.

Write one class, type `reactor run`, and steer the picture in a browser:

    from reactor_runtime import VideoModel, command, get_ctx
    from pydantic import Field

    class Waves(VideoModel):
        def __init__(self, fps=30, size=(480, 640)):
            self.network = load(VideoModel.weights("Waves"))    # once, when the runtime starts

        def start_session(self):                                # once per user
            self.speed = 1.0
            while not get_ctx().should_stop():
                get_ctx().emit_frame(self.network.next(self.speed))   # (height, width, 3) uint8 RGB

        @command("set_speed", description="How fast the waves go")
        def set_speed(self, speed: float = Field(1.0, ge=0, le=10)):  # checked before it is called
            self.speed = speed

Beside it goes `manifest.json`: {"reactor-runtime": "0.1.0", "class": "waves:Waves", "model_name": "waves"}.

Names are imported on first use: this package alone loads no torch, no media library and no server.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .author.images import Image, decode_base64_image
    from .author.model import VideoModel, command
    from .author.show import Show
    from .errors import CommandError, FrameRejected, SessionStopped
    from .running.context import get_ctx
    from .types import InputFrame
    from .weights.state_dicts import load_weights

__version__ = "0.1.0"

__all__ = [
    "CommandError",
    "FrameRejected",
    "Image",
    "InputFrame",
    "SessionStopped",
    "Show",
    "VideoModel",
    "__version__",
    "command",
    "decode_base64_image",
    "get_ctx",
    "load_weights",
]

_HOME = {
    "CommandError": "errors",
    "FrameRejected": "errors",
    "Image": "author.images",
    "InputFrame": "types",
    "SessionStopped": "errors",
    "Show": "author.show",
    "VideoModel": "author.model",
    "command": "author.model",
    "decode_base64_image": "author.images",
    "get_ctx": "running.context",
    "load_weights": "weights.state_dicts",
}


def __getattr__(name: str) -> object:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f".{home}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
