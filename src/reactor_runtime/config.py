"""Settings of one server: read once, from flags and environment, checked, then frozen.

`Settings.load()` is the only reader. A flag wins over its environment variable `REACTOR_<NAME>`, which
wins over the default; a wrong value raises SettingError with the setting's name and accepted range.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from . import limits
from .errors import SettingError


class Settings(BaseModel):
    """What an operator may change. Times in seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8080, ge=0, le=65535, description="TCP port; 0 picks a free one")
    allow_public: bool = Field(False, description="listen beyond loopback without a token")
    token: str = Field(
        "", max_length=512, repr=False, description="bearer token that every request must carry"
    )
    fps: float | None = Field(None, gt=0, le=240, description="playout rate; overrides the model's own")
    codec: Literal["auto", "h264", "vp8"] = Field("auto", description="video codec")
    engine: Literal["reactor", "aiortc"] = Field("reactor", description="WebRTC engine")
    bitrate_kbps: int | None = Field(None, ge=50, le=100_000, description="video bitrate ceiling")
    ice_servers: tuple[str, ...] = Field((), description="STUN or TURN URLs; none are needed on one network")
    registry: str = Field(
        "", description="where weights come from: a folder or s3://bucket/prefix; empty: this user's"
    )
    cache: str = Field("", description="folder for downloaded weights; empty: the platform's cache folder")
    record: bool = Field(False, description="record every session, for clips and downloads")
    record_dir: str = Field(
        "", description='folder of recordings; "": a temporary one, removed when the server stops'
    )
    record_keep_s: float = Field(
        limits.RECORDING_KEEP_S, gt=0, description="how long what was recorded is kept"
    )
    record_max_mb: int = Field(
        limits.RECORDING_MAX_MB, ge=16, description="MiB that recordings may take; the oldest go first"
    )
    log_session: str = Field(
        "", description="folder for a log of every session, to be replayed; empty: memory"
    )
    log_digest_every: int = Field(
        10, ge=1, le=10_000, description="frames between two digests in a session log"
    )
    log_redact: bool = Field(False, description="keep texts and pictures out of session logs")
    inline: bool = Field(False, description="run the model in the server's process, for debuggers")
    verbose: bool = Field(False, description="debug logging, and tracebacks for mistakes")
    load_s: float = Field(limits.LOAD_S, gt=0, description="how long the model may take to load")
    hang_s: float = Field(
        limits.HANG_S, gt=0, description="how long a model may go without a frame or a wait"
    )
    first_frame_s: float = Field(
        limits.FIRST_FRAME_S, gt=0, description="the same before a session's first frame"
    )
    stop_s: float = Field(limits.STOP_S, gt=0, description="how long a session may take to stop")
    orphan_s: float = Field(limits.ORPHAN_S, gt=0, description="how long a session lives without a viewer")
    ping_timeout_s: float = Field(
        limits.PING_TIMEOUT_S, description="silence after which a viewer is gone; 0: never"
    )
    restarts: int = Field(
        limits.RESTARTS, ge=0, description="restarts of the model process within ten minutes"
    )
    drain_s: float = Field(
        limits.DRAIN_S, ge=0, description="how long sessions may go on after the first Ctrl-C"
    )

    @classmethod
    def load(cls, flags: Mapping[str, Any], environ: Mapping[str, str] | None = None) -> Settings:
        """Merge flags (None = not given) over REACTOR_* variables over the defaults."""
        environ = os.environ if environ is None else environ
        values: dict[str, Any] = {}
        for name in cls.model_fields:
            variable = f"REACTOR_{name.upper()}"
            if variable in environ:
                text = environ[variable]
                values[name] = tuple(text.split(",")) if name == "ice_servers" else text
        values.update({name: value for name, value in flags.items() if value is not None})
        try:
            return cls(**values)
        except ValidationError as error:
            first = error.errors()[0]
            name = str(first["loc"][0]) if first["loc"] else "setting"
            raise SettingError(
                f"{name} (--{name.replace('_', '-')}, REACTOR_{name.upper()}): {first['msg']}; got {first['input']!r}"
                if name != "token"
                else f"token (REACTOR_TOKEN): {first['msg']}"
            ) from None
