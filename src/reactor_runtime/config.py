"""Settings of one server: read once, from flags and environment, checked, then frozen.

`Settings.load()` is the only reader. A flag wins over its environment variable `REACTOR_<NAME>`, which
wins over the default; a wrong value raises SettingError with the setting's name and accepted range. What a
field says here, once, is also the flag's help (`cli/setting_flags.py`) and the operator's table of settings.

`Settings` is made of parts: a module asks in its signature for the part that it reads, and is handed all.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator
from pydantic.fields import FieldInfo

from . import limits
from .errors import SettingError
from .origins import parse_origin

log = logging.getLogger(__name__)

#: What an orchestrator injects for a service called "reactor" is named as our settings are: REACTOR_PORT.
_INJECTED: Final = re.compile(r"(?:tcp|udp|sctp)://\S+:\d+")


#: What is wrong with one of these is told without it.
_SECRET: Final = frozenset({"token", "token_keys"})


@dataclass(frozen=True, slots=True)
class Flag:
    """How a setting looks on the command line, where its name and type do not say it."""

    name: str = ""
    short: str = ""
    metavar: str = ""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ListenSettings(_Part):
    """Where the server listens, and who may come in."""

    host: str = Field("127.0.0.1", description="address to listen on")
    port: Annotated[int, Flag(short="-p")] = Field(
        8080, ge=0, le=65535, description="TCP port; 0 picks a free one"
    )
    allow_public: bool = Field(False, description="listen beyond loopback without a token")
    token: str = Field(
        "", max_length=512, repr=False, description="bearer token of the operator, who may do everything"
    )
    token_keys: Annotated[tuple[str, ...], Flag(name="--token-key", metavar="ID:SECRET")] = Field(
        (),
        max_length=limits.TOKEN_KEYS,
        repr=False,
        description="key that signs tokens with a role, see tokens.md; the first signs, both are accepted",
    )
    token_key_file: Annotated[str, Flag(metavar="FILE")] = Field(
        "", description="file with such keys, one a line"
    )
    visitor_role: Literal["", "watch", "vote", "drive"] = Field(
        "", description="what whoever shows no token may do, where there is a token or a key; empty: nothing"
    )
    audit_log: Annotated[str, Flag(metavar="FILE")] = Field(
        "",
        description="file for who started, joined, drove and stopped sessions or was refused, in JSON lines",
    )

    allow_origins: Annotated[tuple[str, ...], Flag(name="--allow-origin", metavar="URL")] = Field(
        (), description="web pages of this origin may ask without a token, besides those of this machine"
    )
    frame_ancestors: Annotated[tuple[str, ...], Flag(name="--frame-ancestor", metavar="URL")] = Field(
        (), description="pages of this origin may show the control page in a frame; `*`: any"
    )
    root_path: Annotated[str, Flag(metavar="PATH")] = Field(
        "",
        pattern=r"^(/[A-Za-z0-9._~-]+)*/?$",
        description="path below which a proxy shows this server; X-Forwarded-Prefix of a request wins",
    )

    @field_validator("allow_origins")
    @classmethod
    def _origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for text in origins:
            if parse_origin(text.rstrip("/")) is None:
                raise ValueError(
                    f"{text!r} is no origin: write https://app.example.org, with a port if it has one"
                )
        return tuple(text.rstrip("/") for text in origins)

    @field_validator("frame_ancestors")
    @classmethod
    def _ancestors(cls, sources: tuple[str, ...]) -> tuple[str, ...]:
        for text in sources:
            if text != "*" and parse_origin(text.replace("://*.", "://", 1)) in (None, "null"):
                raise ValueError(
                    f"{text!r} is neither * nor like https://editor.example.org or https://*.example.org"
                )
        return sources

    @property
    def locked(self) -> bool:
        """Whether nothing is answered to whoever shows no token."""
        return self.tokens_count and not self.visitor_role

    @property
    def tokens_count(self) -> bool:
        """Whether a token tells one visitor from another."""
        return bool(self.token or self.token_keys or self.token_key_file)

    @field_validator("token")
    @classmethod
    def _without_blanks_around(cls, token: str) -> str:
        # A secret from a file ends with a line end, which no header can carry.
        return token.strip()


class PictureSettings(_Part):
    """How the picture is made and sent."""

    fps: float | None = Field(None, gt=0, le=240, description="playout rate; overrides the model's own")
    codec: Literal["auto", "h264", "vp8"] = Field("auto", description="video codec")
    engine: Literal["reactor", "aiortc"] = Field("reactor", description="WebRTC engine")
    bitrate_kbps: int | None = Field(None, ge=50, le=100_000, description="video bitrate ceiling")
    ice_servers: Annotated[tuple[str, ...], Flag(name="--ice-server", metavar="URL")] = Field(
        (), description="STUN or TURN URLs; none are needed on one network"
    )
    client_ice_hosts: Annotated[tuple[str, ...], Flag(name="--client-ice-host", metavar="HOST")] = Field(
        (),
        description="hosts of STUN or TURN servers that clients may name for us to use; none are used else",
    )


class ReachSettings(_Part):
    """Where clients reach the video of this server."""

    media_port: Annotated[str, Flag(metavar="FROM-TO")] = Field(
        "", description="UDP ports for video, one for each viewer; empty: any"
    )
    public_address: Annotated[str, Flag(metavar="HOST[:PORT]")] = Field(
        "",
        description="address at which clients see this machine, and the TCP port that leads to this server's",
    )


class WeightSettings(_Part):
    """Where weights come from and where they are kept."""

    registry: Annotated[str, Flag(metavar="URL")] = Field(
        "", description="where weights come from: a folder or s3://bucket/prefix; empty: this user's"
    )
    cache: Annotated[str, Flag(metavar="FOLDER")] = Field(
        "", description="folder for downloaded weights; empty: the platform's cache folder"
    )


class RecordSettings(_Part):
    """What is recorded, and for how long it stays."""

    record: bool = Field(False, description="record every session, for clips and downloads")
    record_dir: Annotated[str, Flag(metavar="FOLDER")] = Field(
        "", description='folder of recordings; "": a temporary one, removed when the server stops'
    )
    record_keep_s: float = Field(
        limits.RECORDING_KEEP_S, gt=0, description="how long what was recorded is kept"
    )
    record_max_mb: int = Field(
        limits.RECORDING_MAX_MB, ge=16, description="MiB that recordings may take; the oldest go first"
    )


class SessionLogSettings(_Part):
    """What is written down of a session, so that it can be replayed."""

    log_session: Annotated[str, Flag(metavar="FOLDER")] = Field(
        "", description="folder for a log of every session, to be replayed; empty: memory"
    )
    log_digest_every: int = Field(
        10, ge=1, le=10_000, description="frames between two digests in a session log"
    )
    log_redact: bool = Field(False, description="keep texts and pictures out of session logs")


class ModelSettings(_Part):
    """How the model is run, and how patient its server is."""

    inline: bool = Field(False, description="run the model in the server's process, for debuggers")
    slots: int | None = Field(
        None,
        ge=1,
        le=limits.SLOTS_MAX,
        description="models that are loaded, each for a session of its own; default: one, or one for each of the GPUs",
    )
    gpus: Annotated[str, Flag(metavar="0,1")] = Field(
        "",
        pattern=r"^[0-9A-Za-z/-]+(,[0-9A-Za-z/-]+)*$|^$",
        description="GPUs by number or UUID, one for each slot in turn; empty: each slot sees all",
    )
    model_threads: int = Field(
        0,
        ge=0,
        description="threads that the model's libraries compute with; 0: one core less than there are",
    )
    load_s: float = Field(limits.LOAD_S, gt=0, description="how long the model may take to load")
    hang_s: float = Field(
        limits.HANG_S, gt=0, description="how long a model may go without a frame or a wait"
    )
    first_frame_s: float = Field(
        limits.FIRST_FRAME_S, gt=0, description="the same before a session's first frame"
    )
    stop_s: float = Field(limits.STOP_S, gt=0, description="how long a session may take to stop")

    @property
    def slot_count(self) -> int:
        return self.slots or len(self.gpus.split(","))

    def gpu_of(self, slot: int) -> str:
        """Return the GPU that a slot is given, "" where it sees all."""
        gpus = self.gpus.split(",")
        return gpus[slot % len(gpus)]

    @field_validator("slots", "gpus")
    @classmethod
    def _not_inline(cls, value: int | str | None, info: ValidationInfo) -> int | str | None:
        if info.data.get("inline") and value not in (None, 1, ""):
            raise ValueError("with --inline there is one model, in the server's process")
        return value


class LogSettings(_Part):
    """What is told to whom."""

    verbose: Annotated[bool, Flag(short="-v")] = Field(
        False, description="debug logging, the model's included, and tracebacks for mistakes"
    )
    log_format: Literal["text", "json"] = Field(
        "text", description="how the log is written: for people, or one JSON object a line"
    )


class SessionSettings(_Part):
    """How long sessions live without anybody, and how they end."""

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


class AudienceSettings(_Part):
    """How many see a session together, and what those may who came later."""

    join: Literal["off", "watch", "drive"] = Field(
        "watch", description="what a later visitor of a running session may: nothing, watch, drive as well"
    )
    viewers: int = Field(
        limits.VIEWERS_MAX, ge=1, le=1000, description="how many may watch one session, its driver included"
    )
    line: int = Field(limits.LINE, ge=0, le=1000, description="how many may wait in the line for a turn")
    turn_s: float = Field(
        0.0,
        ge=0,
        le=86_400,
        description="how long one may drive while others wait in the line; 0: until the driver leaves",
    )


class VoteSettings(_Part):
    """What is decided by many."""

    vote: Annotated[str, Flag(metavar="COMMAND")] = Field(
        "",
        max_length=limits.MESSAGE_ID_MAX,
        description="command that people vote on, with COMMAND.PARAMETER where several have choices; empty: none",
    )
    vote_s: float = Field(
        limits.VOTE_S,
        ge=1,
        le=3600,
        description="how long a round of the vote takes, from its first ballot on",
    )


class SessionsSettings(
    VoteSettings,
    AudienceSettings,
    SessionSettings,
    SessionLogSettings,
    RecordSettings,
    ModelSettings,
    PictureSettings,
):
    """What the sessions of a server read, in their parts."""


class HostSettings(LogSettings, ModelSettings, WeightSettings, PictureSettings):
    """What a host of the model reads."""


class Settings(SessionsSettings, ReachSettings, HostSettings, ListenSettings):
    """What an operator may change. Times in seconds."""

    @classmethod
    def load(
        cls,
        flags: Mapping[str, Any],
        environ: Mapping[str, str] | None = None,
        *,
        note: Callable[[str], None] = log.warning,
    ) -> Settings:
        """Merge flags (None = not given) over REACTOR_* variables over the defaults.

        `note` is told of a variable that somebody else must have set, and that is not used.
        """
        values = _from_environment(os.environ if environ is None else environ, note)
        values.update({name: value for name, value in flags.items() if value is not None})
        try:
            return cls(**values)
        except ValidationError as error:
            first = error.errors()[0]
            name = str(first["loc"][0]) if first["loc"] else "setting"
            raise SettingError(
                f"{name} ({flag_of(name).name}, {variable_of(name)}): {first['msg']}; got {first['input']!r}"
                if name not in _SECRET
                else f"{name} ({variable_of(name)}): {first['msg']}"
            ) from None


def variable_of(name: str) -> str:
    """Return the environment variable of a setting."""
    return f"REACTOR_{name.upper()}"


def flag_of(name: str) -> Flag:
    """Return how a setting looks on the command line."""
    field = Settings.model_fields.get(name, FieldInfo())
    said = next((each for each in field.metadata if isinstance(each, Flag)), Flag())
    return Flag(said.name or f"--{name.replace('_', '-')}", said.short, said.metavar)


def _from_environment(environ: Mapping[str, str], note: Callable[[str], None]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name in Settings.model_fields:
        # An empty variable is how compose files, unit files and charts say "not set".
        text = environ.get(variable_of(name), "").strip()
        if _INJECTED.fullmatch(text):
            note(
                f"{variable_of(name)}={text} is ignored: it is an address that an orchestrator injects for a "
                "service called reactor. Set enableServiceLinks: false to be rid of it, and the setting by its flag."
            )
        elif text:
            several = isinstance(Settings.model_fields[name].default, tuple)
            values[name] = tuple(filter(None, map(str.strip, text.split(",")))) if several else text
    return values
