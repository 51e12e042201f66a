"""`reactor token`: make keys, make tokens with them, and read what a token says.

The token goes to stdout, what people read of it and the links that carry it to stderr. A secret is taken from the
environment or a file, because other users of a machine see a program's arguments.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

from .screen import mistakes

if TYPE_CHECKING:
    from ..tokens import Claims, Keys

app = typer.Typer(help="Make and read tokens that say what their bearer may do.", no_args_is_help=True)

_SECONDS: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}
_IN_LINK: Final = re.compile(r"(?:[#&?]token=|/t/)([^/&#\s]+)")

_Key = Annotated[
    list[str] | None,
    typer.Option(
        "--token-key",
        metavar="ID:SECRET",
        help="Key; others see it in the list of processes. [REACTOR_TOKEN_KEYS]",
        show_default=False,
    ),
]
_File = Annotated[
    str,
    typer.Option(
        "--token-key-file", metavar="FILE", help="File of keys. [REACTOR_TOKEN_KEY_FILE]", show_default=False
    ),
]
_Json = Annotated[bool, typer.Option("--json", help="Print one JSON value on stdout.")]


@app.command()
def create(
    role: Annotated[
        Literal["watch", "vote", "drive", "operate"],
        typer.Option("--role", help="What its bearer may do; each may do what those before it may."),
    ],
    lasts: Annotated[
        str, typer.Option("--for", metavar="TIME", help="How long it counts: 90s, 30m, 1h, 7d.")
    ] = "1h",
    sub: Annotated[
        str, typer.Option("--name", metavar="NAME", help="Whom it is for; only operators read it.")
    ] = "",
    session: Annotated[str, typer.Option("--session", metavar="ID", help="The one session it is for.")] = "",
    once: Annotated[
        bool, typer.Option("--once", help="For one person and the first session that it joins.")
    ] = False,
    most: Annotated[
        str,
        typer.Option("--max", metavar="TIME", help="For one person, this long from the first connection on."),
    ] = "",
    url: Annotated[
        str, typer.Option("--url", metavar="URL", help="Where the server is, for the links.")
    ] = "http://127.0.0.1:8080",
    as_json: _Json = False,
    token_key: _Key = None,
    token_key_file: _File = "",
) -> None:
    """Make a token, and the links that carry it."""
    from ..tokens import Claims, claims_of, fresh_jti
    from ..types import Role

    with mistakes():
        keys = _keys(token_key, token_key_file)
        now_s = int(time.time())
        claims = Claims(
            Role(role),
            exp=now_s + _seconds("--for", lasts),
            jti=fresh_jti(),
            sub=sub,
            sid=session or None,
            max_s=_seconds("--max", most) if most else None,
            once=once,
        )
        _check_words(claims)
        text = keys.sign(claims)
        # What a server would not take is told here.
        claims_of(json.dumps(claims.payload()).encode())
    base = url.rstrip("/")
    page, api_url = f"{base}/#token={text}", f"{base}/t/{text}"
    if as_json:
        print(json.dumps({"token": text, "page": page, "api_url": api_url, "claims": claims.payload()}))
        return
    _tell(claims, now_s)
    _line("page", page)
    _line("SDKs", f"{api_url}  (as their api_url)")
    print(text)


@app.command()
def inspect(
    token: Annotated[str, typer.Argument(help="A token, or a link with one; - reads it from stdin.")],
    as_json: _Json = False,
    token_key: _Key = None,
    token_key_file: _File = "",
) -> None:
    """Say what a token allows, and whether it counts now. Exit status 1: it does not, or is none of these keys."""
    from ..errors import MessageRejected, SettingError, Unauthorized
    from ..tokens import claims_of, header_of, unchecked_payload

    with mistakes():
        given = (sys.stdin.read() if token == "-" else token).strip()  # noqa: S105
        found = _IN_LINK.search(given)
        text = (found[1] if found else given).encode()
        keys = _keys(token_key, token_key_file, needed=False)
        try:
            payload = unchecked_payload(text)
            claims, key_id = claims_of(payload), str(header_of(text).get("kid", ""))
        except (ValueError, MessageRejected, Unauthorized):
            raise SettingError("this is no token that reactor token create makes.") from None
    verdict, counts = f"not checked: the secret of key {key_id!r} is not known here", True
    if keys:
        verdict, counts = "it counts", True
        try:
            keys.read(text, time.time())
        except Unauthorized as error:
            wrong = "signed with none of these keys, or changed since"
            verdict, counts = wrong if type(error) is Unauthorized else error.public(), False
    if as_json:
        print(json.dumps({"claims": claims.payload(), "key": key_id, "verdict": verdict, "counts": counts}))
    else:
        _tell(claims, int(time.time()), out=True)
        _line("key", key_id, out=True)
        _line("verdict", verdict, out=True)
    raise typer.Exit(0 if counts else 1)


@app.command()
def key(
    file: Annotated[
        str,
        typer.Option(
            "--file",
            metavar="FILE",
            help="Put it first into this file, which only you can read; the key before it counts on.",
        ),
    ] = "",
) -> None:
    """Make a key. Twice, some time apart, is a rotation: the new key signs, the last one still counts."""
    from ..errors import SettingError
    from ..tokens import Key, fresh_key

    made = fresh_key()
    if not file:
        print(made)
        return
    with mistakes():
        path = Path(file)
        try:
            before = [line for line in _lines(path) if line.strip() and not line.startswith("#")][:1]
            _replace(path, "\n".join([made, *before]) + "\n")
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is no text"
            raise SettingError(f"{path} cannot be written: {why}.") from None
    older = f"; {Key.parse(before[0]).id} counts until the next one is made" if before else ""
    typer.echo(
        f"{Key.parse(made).id} signs now{older}. Restart the server: --token-key-file {path}", err=True
    )


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []


def _replace(path: Path, text: str) -> None:
    """Write a file that only this user reads, whole or not at all."""
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as made:
        made.write(text)
    os.replace(fresh, path)


def _keys(texts: list[str] | None, file: str, *, needed: bool = True) -> Keys:
    from ..config import Settings
    from ..errors import SettingError
    from ..server.doors import keys_of

    settings = Settings.load({"token_keys": tuple(texts) if texts else None, "token_key_file": file or None})
    keys = keys_of(settings)
    if needed and not keys:
        raise SettingError(
            "no key to sign with.\n  Fix: reactor token key --file keys, then --token-key-file keys here and for "
            "reactor run."
        )
    return keys


def _seconds(flag: str, text: str) -> int:
    from ..errors import SettingError

    found = re.fullmatch(r"([1-9][0-9]{0,8})([smhd]?)", text.strip())
    if found is None:
        raise SettingError(f"{flag} {text}: not a time.\n  Fix: write 90s, 30m, 1h or 7d.")
    return int(found[1]) * _SECONDS[found[2]]


def _check_words(claims: Claims) -> None:
    from .. import limits
    from ..errors import SettingError

    if len(claims.sub) > limits.TOKEN_WORD_MAX:
        raise SettingError(f"--name: {len(claims.sub)} characters; {limits.TOKEN_WORD_MAX} fit into a token.")
    if claims.sid is not None and not re.fullmatch(r"[A-Za-z0-9._~-]{1,64}", claims.sid):
        raise SettingError("--session: not the id of a session: letters, digits, dots, dashes, 64 at most.")


def _tell(claims: Claims, now_s: int, out: bool = False) -> None:
    until = datetime.fromtimestamp(claims.exp, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    left_s = claims.exp - now_s
    when = f"in {_span(left_s)}" if left_s > 0 else f"{_span(-left_s)} ago"
    use = [f"{_span(claims.max_s)} from the first connection on"] if claims.max_s is not None else []
    use += ["one session, the first it joins"] if claims.once else []
    if use:
        use.append("one connection at a time")
    for name, value in (
        ("role", claims.role.value),
        ("for", claims.sub),
        ("session", claims.sid or "any"),
        ("until", f"{until}, {when}"),
        ("use", ", ".join(use) or "by many, as often as they like"),
        ("id", claims.jti),
    ):
        if value:
            _line(name, value, out=out)


def _line(name: str, value: str, out: bool = False) -> None:
    # A name may hold anything, also what steers a terminal.
    shown = "".join(each if each.isprintable() else "?" for each in value)
    typer.echo(f"{name:<8} {shown}", err=not out)


def _span(seconds: float) -> str:
    for letter, size in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds >= size and seconds % size == 0:
            return f"{seconds // size:.0f} {letter}".replace(" m", " min")
    whole = int(seconds)
    parts = [(whole // 86_400, "d"), (whole // 3600 % 24, "h"), (whole // 60 % 60, "min"), (whole % 60, "s")]
    shown = [f"{count} {unit}" for count, unit in parts if count][:2]
    return " ".join(shown) or "0 s"
