"""`reactor run`: read flags, check them, serve one model until Ctrl-C.

The flags are those of `config.Settings`, which checks their values; a test keeps the two in step.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from ..config import Settings
    from ..types import JsonValue


def run(
    path: Annotated[Path, typer.Argument(help="Folder with a manifest.json, or the manifest.")] = Path("."),
    *,
    host: Annotated[str | None, typer.Option(help="Address to listen on. [default: 127.0.0.1]")] = None,
    port: Annotated[
        int | None, typer.Option("--port", "-p", help="TCP port; 0 picks a free one. [default: 8080]")
    ] = None,
    arg: Annotated[
        list[str] | None,
        typer.Option(
            "--arg", "-a", metavar="KEY=VALUE", help="Constructor argument; JSON, else text. Repeat."
        ),
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(help="Token that clients must send. Other users see flags: prefer REACTOR_TOKEN."),
    ] = None,
    allow_public: Annotated[
        bool | None, typer.Option("--allow-public", help="Listen beyond this machine without a token.")
    ] = None,
    fps: Annotated[float | None, typer.Option(help="Playout rate; overrides the model's own.")] = None,
    codec: Annotated[Literal["auto", "h264", "vp8"] | None, typer.Option(help="Video codec.")] = None,
    bitrate_kbps: Annotated[int | None, typer.Option(help="Video bitrate ceiling.")] = None,
    engine: Annotated[Literal["reactor", "aiortc"] | None, typer.Option(help="WebRTC engine.")] = None,
    ice_server: Annotated[
        list[str] | None, typer.Option(metavar="URL", help="STUN or TURN server. Repeat for more.")
    ] = None,
    record: Annotated[
        bool | None, typer.Option("--record", help="Record every session, for clips and downloads.")
    ] = None,
    record_dir: Annotated[
        str | None, typer.Option(metavar="FOLDER", help="Where recordings go. [default: a temporary folder]")
    ] = None,
    record_keep_s: Annotated[
        float | None, typer.Option(help="How long what was recorded is kept. [default: 3600]")
    ] = None,
    record_max_mb: Annotated[
        int | None, typer.Option(help="MiB that recordings may take; the oldest go first. [default: 2048]")
    ] = None,
    log_session: Annotated[
        str | None, typer.Option(metavar="DIR", help="Write a log of every session, for reactor replay.")
    ] = None,
    log_digest_every: Annotated[
        int | None, typer.Option(help="Frames between two digests in a session log. [default: 10]")
    ] = None,
    log_redact: Annotated[
        bool | None, typer.Option("--log-redact", help="Keep texts and pictures out of session logs.")
    ] = None,
    registry: Annotated[
        str | None, typer.Option(metavar="URL", help="Where weights come from: a folder, s3://bucket/prefix.")
    ] = None,
    cache: Annotated[
        str | None, typer.Option(metavar="FOLDER", help="Where downloaded weights are kept.")
    ] = None,
    inline: Annotated[
        bool | None, typer.Option("--inline", help="Run the model in this process, for debuggers.")
    ] = None,
    load_s: Annotated[float | None, typer.Option(help="How long the model may take to load.")] = None,
    first_frame_s: Annotated[
        float | None, typer.Option(help="How long a session's first frame may take.")
    ] = None,
    hang_s: Annotated[float | None, typer.Option(help="Silence after which a model counts as hung.")] = None,
    stop_s: Annotated[float | None, typer.Option(help="How long a session may take to stop.")] = None,
    orphan_s: Annotated[float | None, typer.Option(help="How long a session lives without a viewer.")] = None,
    ping_timeout_s: Annotated[
        float | None, typer.Option(help="Silence after which a viewer is gone; 0: never.")
    ] = None,
    restarts: Annotated[
        int | None, typer.Option(help="Restarts of the model process within ten minutes.")
    ] = None,
    drain_s: Annotated[
        float | None, typer.Option(help="How long sessions may go on after the first Ctrl-C.")
    ] = None,
    verbose: Annotated[
        bool | None, typer.Option("--verbose", "-v", help="Debug logging, and tracebacks for mistakes.")
    ] = None,
) -> None:
    """Serve a model: loads it once, prints the address, runs until Ctrl-C.

    Every setting is also an environment variable, REACTOR_<NAME>; a flag wins.
    """
    flags: dict[str, Any] = dict(locals())
    del flags["path"], flags["arg"], flags["ice_server"]
    flags["ice_servers"] = tuple(ice_server) if ice_server else None

    from ..config import Settings
    from ..webrtc.ice import parse_ice_server
    from .screen import mistakes

    with mistakes(verbose=bool(verbose)):
        settings = Settings.load(flags)
        require_token(settings)
        for server in settings.ice_servers:
            parse_ice_server(server)
        args = parse_args(arg or ())
    with mistakes(verbose=settings.verbose):
        from .serve import serve

        status = serve(path, args, settings)
    raise typer.Exit(status)


def parse_args(texts: Sequence[str]) -> dict[str, JsonValue]:
    """Parse `key=value` pairs; a value that is not JSON is taken as text."""
    from ..errors import SettingError

    args: dict[str, JsonValue] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key.isidentifier():
            raise SettingError(
                f"--arg {text}: not key=value with a parameter's name as key.\n"
                "  Fix: write --arg fps=24, or --arg size=[480,640] for a list."
            )
        try:
            args[key] = json.loads(value)
        except ValueError:
            args[key] = value
    return args


def require_token(settings: Settings) -> None:
    """Refuse to listen beyond this machine without a token, unless told to."""
    from ..errors import SettingError
    from ..server.guards import is_loopback

    if settings.token or settings.allow_public or is_loopback(settings.host):
        return
    raise SettingError(
        f"--host {settings.host} lets everyone who reaches this machine drive the model.\n"
        "  Fix: set a token, as in REACTOR_TOKEN=$(openssl rand -hex 16) reactor run …, "
        "or accept it with --allow-public."
    )
