"""`reactor run`: read flags, check them, serve one model until Ctrl-C.

The flags are made from `config.Settings` (`setting_flags.py`), which checks their values.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..importing import importing

if TYPE_CHECKING:
    from ..config import ListenSettings
    from ..types import JsonValue


def run(
    ctx: typer.Context,
    path: Annotated[Path, typer.Argument(help="Folder with a manifest.json, or the manifest.")] = Path("."),
    *,
    arg: Annotated[
        list[str] | None,
        typer.Option(
            "--arg", "-a", metavar="KEY=VALUE", help="Constructor argument; JSON, else text. Repeat."
        ),
    ] = None,
) -> None:
    """Serve a model: loads it once, prints the address, runs until Ctrl-C.

    Every setting is also an environment variable, REACTOR_<NAME>; a flag wins.
    """
    with importing():
        from ..config import Settings
        from ..webrtc.ice import parse_ice_server
        from .screen import mistakes

    notes: list[str] = []
    with mistakes(verbose=bool(ctx.obj["verbose"])):
        settings = Settings.load(ctx.obj, note=notes.append)
        require_token(settings)
        if ctx.obj["token_keys"]:
            notes.append(
                "other users of this machine can read --token-key in the list of processes; "
                "prefer --token-key-file, or REACTOR_TOKEN_KEYS"
            )
        for server in settings.ice_servers:
            parse_ice_server(server)
        args = parse_args(arg or ())
    with mistakes(verbose=settings.verbose):
        from .serve import serve

        status = serve(path, args, settings, notes)
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


def require_token(settings: ListenSettings) -> None:
    """Refuse to listen beyond this machine without a token, unless told to."""
    from ..errors import SettingError
    from ..server.guards import is_loopback

    if settings.tokens_count or settings.allow_public or is_loopback(settings.host):
        return
    raise SettingError(
        f"--host {settings.host} lets everyone who reaches this machine drive the model.\n"
        "  Fix: set a token, as in REACTOR_TOKEN=$(openssl rand -hex 16) reactor run …, "
        "or accept it with --allow-public."
    )
