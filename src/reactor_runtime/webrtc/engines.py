"""Opens an engine by its name in the settings. Nothing else asks for a name."""

from __future__ import annotations

from typing import Literal

from ..errors import PeerFailed, SettingError
from .peer import PeerEngine


def open_engine(name: Literal["reactor", "aiortc"]) -> PeerEngine:
    """Open the process's engine, on the event loop. The library is imported only here.

    Raises SettingError where the engine is unknown or not installed, PeerFailed where it does not start.
    """
    try:
        if name == "reactor":
            from .reactor import ReactorEngine

            return ReactorEngine()
        if name == "aiortc":
            from .aio import AiortcEngine

            return AiortcEngine()
    except ImportError as error:
        hint = "pip install 'framehelm[aiortc]'" if name == "aiortc" else "it has wheels for glibc 2.34 on"
        raise SettingError(f"the WebRTC engine {name!r} cannot be loaded ({error}); {hint}") from error
    except RuntimeError as error:
        raise PeerFailed(f"the WebRTC engine {name!r} did not start: {error}") from error
    raise SettingError(f"there is no WebRTC engine {name!r}; choose reactor or aiortc")
