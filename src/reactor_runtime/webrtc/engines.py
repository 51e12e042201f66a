"""Opens an engine by its name in the settings. Nothing else asks for a name."""

from __future__ import annotations

from typing import Literal

from ..errors import PeerFailed, SettingError
from .peer import PeerEngine
from .reach import Reach


def open_engine(name: Literal["reactor", "aiortc"], reach: Reach | None = None) -> PeerEngine:
    """Open the process's engine, on the event loop. The library is imported only here.

    Raises SettingError where the engine is unknown, not installed or cannot do what `reach` wants, PeerFailed where it
    does not start.
    """
    reach = reach or Reach()
    if name == "aiortc" and reach.media_ports is not None:
        raise SettingError(
            "--media-port, REACTOR_MEDIA_PORT: the engine aiortc cannot choose its ports.\n"
            "  Fix: use --engine reactor, or leave the ports to the system."
        )
    try:
        if name == "reactor":
            from .reactor import ReactorEngine

            return ReactorEngine(reach)
        if name == "aiortc":
            from .aio import AiortcEngine

            return AiortcEngine(reach)
    except ImportError as error:
        hint = "pip install 'framehelm[aiortc]'" if name == "aiortc" else "it has wheels for glibc 2.34 on"
        raise SettingError(f"the WebRTC engine {name!r} cannot be loaded ({error}); {hint}") from error
    except RuntimeError as error:
        raise PeerFailed(f"the WebRTC engine {name!r} did not start: {error}") from error
    raise SettingError(f"there is no WebRTC engine {name!r}; choose reactor or aiortc")
