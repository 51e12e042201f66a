"""STUN and TURN servers as an operator writes them: `stun:host:port`, `turn:user:password@host:port`.

RFC 7064 and 7065 give these URLs no place for credentials; we take them before an `@`, percent-encoded
where they hold `:`, `@` or `%`, because one text per server is what flags and variables can carry.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from urllib.parse import unquote

from ..errors import SettingError
from .peer import IceServer

_URL = re.compile(
    r"(?P<scheme>stun|stuns|turn|turns):"
    r"(?:(?P<username>[^:@\s]+):(?P<password>[^:@\s]+)@)?"
    r"(?P<host>[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])"
    r"(?P<rest>(?::\d{1,5})?(?:\?transport=(?:udp|tcp))?)"
)


def parse_ice_server(text: str) -> IceServer:
    """Parse one server. Raises SettingError, which does not repeat a text that may hold a password."""
    match = _URL.fullmatch(text)
    if match is None:
        raise SettingError(
            "--ice-server, REACTOR_ICE_SERVERS: not a STUN or TURN server.\n"
            "  Fix: write stun:stun.example.org:3478, or turn:user:password@turn.example.org:3478 "
            "with : @ % in user and password percent-encoded."
        )
    if match["scheme"].startswith("turn") and not match["username"]:
        raise SettingError(
            f"--ice-server, REACTOR_ICE_SERVERS: {text} has no credentials, and a TURN server needs them.\n"
            f"  Fix: write {match['scheme']}:user:password@{match['host']}{match['rest']}."
        )
    return IceServer(
        urls=(f"{match['scheme']}:{match['host']}{match['rest']}",),
        username=unquote(match["username"] or ""),
        password=unquote(match["password"] or ""),
    )


def allowed_servers(named: Sequence[IceServer], hosts: Collection[str]) -> tuple[IceServer, ...]:
    """Return those of a client's servers that the operator lets it name.

    A server that a client names is an address that we send to, and it may send us on to others. So it is the
    host that has to be trusted, by its name as the operator wrote it.
    """
    known = {host.lower() for host in hosts}
    kept = []
    for server in named:
        matches = [_URL.fullmatch(url) for url in server.urls]
        if matches and all(
            m is not None and not m["username"] and m["host"].lower() in known for m in matches
        ):
            kept.append(server)
    return tuple(kept)
