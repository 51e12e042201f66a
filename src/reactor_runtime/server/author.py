"""Who is the model's author: the one who opened the address that `reactor run` printed.

It ends with a key, in the part of an address that browsers send to nobody. The page keeps it for its tab, takes it
out of the address bar, and shows it with each request. A tunnel on this machine can look like a browser in every
other respect, but whoever comes through it has not read the terminal.

The key is this user's, kept in a file, so that a page which outlives a restart is still its author's. Nothing
depends on it but who reads what the model raised; it opens nothing.
"""

from __future__ import annotations

import hmac
import logging
import os
import re
import secrets
from pathlib import Path
from typing import Final

import platformdirs
from starlette.requests import Request

from ..config import ListenSettings
from ..origins import host_of, names_this_machine, parse_origin
from .guards import HOST, is_loopback

log = logging.getLogger(__name__)

#: The request header that the page shows it in.
HEADER: Final = "x-reactor-author"
_KEY: Final = re.compile(r"[0-9a-f]{32}")
#: What proxies and tunnels add to a request that they pass on, besides X-Forwarded-*.
_PROXIED: Final = frozenset({"forwarded", "via", "x-real-ip", "cf-connecting-ip", "true-client-ip"})


def is_private(settings: ListenSettings) -> bool:
    """Whether a server is for its own machine: a token, a prefix or a foreign origin tell that others come to it."""
    others = settings.tokens_count or settings.root_path or not is_loopback(settings.host)
    return not others and all(is_loopback(host_of(origin.lower())) for origin in settings.allow_origins)


def own_key() -> str:
    """Return this user's key; one for this start alone where none can be kept."""
    fresh = secrets.token_hex(16)
    try:
        file = platformdirs.user_state_path("reactor", appauthor=False).expanduser() / "author-key"
        return _kept(file, fresh)
    except (OSError, RuntimeError) as error:  # no home, or none that may be written
        log.debug("the author's key is not kept: %s", error)
        return fresh


def _kept(file: Path, fresh: str) -> str:
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as made:
            made.write(fresh)
    except FileExistsError:
        known = file.read_text(errors="replace").strip()
        # Another start may be writing it just now; and what others could read is no secret.
        readable = file.stat().st_mode & 0o077
        return known if _KEY.fullmatch(known) and not readable else fresh
    return fresh


def is_author(request: Request) -> bool:
    """Whether the model's author asks: with the key, in a browser, on this machine, with no proxy between.

    A wrong yes would show a stranger what the model raised, so everything must speak for it: the key, how the server
    was started, the connection, the host that was asked for, the page's origin, and that nothing tells of a proxy,
    through which a copied address may have come. One that says nothing of itself often speaks HTTP/1.0, which no
    browser does.
    """
    headers, key = request.headers, request.app.state.author_key
    if not key or not hmac.compare_digest(headers.get(HEADER, "").encode(), key.encode()):
        return False
    if request.client is None or request.scope["http_version"] == "1.0":
        return False
    if any(name.startswith("x-forwarded-") or name in _PROXIED for name in headers):
        return False
    host = HOST.fullmatch(headers.get("host", ""))
    origin = parse_origin(headers.get("origin", ""))
    if host is None or origin is None:
        return False
    return all(map(names_this_machine, (request.client.host, host["name"].lower(), host_of(origin))))
