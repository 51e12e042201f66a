"""Who may ask, and how much: plain ASGI middleware that runs before any route.

    BelowPrefix ──▶ TokenInPath ──▶ OriginGuard ──▶ CORS ──▶ HostGuard ──▶ TokenGuard ──▶ BodyLimit ──▶ routes

The two that know tokens are in `token_guard.py`. No kind of connection passes that a guard does not know. The handshake
of a WebSocket is judged as a request. Nothing here reads a body.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from ipaddress import ip_address
from typing import Final

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .. import limits
from ..errors import LimitExceeded
from ..origins import Origins, is_local_name, names_this_machine, parse_origin
from .replies import refusal

log = logging.getLogger(__name__)

#: RFC 3986 host and port, as far as this server needs them.
HOST: Final = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]{2,45}\]|[0-9A-Za-z._-]{1,253})(?::[0-9]{0,5})?")
#: An upload's own URL carries its permission; the route compares the key. SDKs send no token with the bytes.
_UPLOAD_PATH: Final = re.compile(r"/sessions/[^/]+/uploads/[^/]+/[^/]+")


#: What a proxy may put in front of our paths.
_PREFIX: Final = re.compile(r"(?:/[A-Za-z0-9._~-]{1,64}){1,8}")
#: Origins that are named in the log when they are refused. More are only refused.
_ORIGINS_TOLD: Final = 16


def is_loopback(host: str) -> bool:
    """Whether an address to listen on is reachable from this machine only."""
    return names_this_machine(host)


def is_address(host: str) -> bool:
    """Whether a host name is an address, which needs no looking up."""
    try:
        return bool(ip_address(host.strip("[]")))
    except ValueError:
        return False


def is_asked(scope: Scope) -> bool:
    """Whether a client asks something, by HTTP or with the handshake of a WebSocket; `lifespan` is the server's own."""
    if scope["type"] not in ("http", "websocket", "lifespan"):
        raise RuntimeError(f"no guard knows connections of type {scope['type']!r}")
    return bool(scope["type"] != "lifespan")


class BelowPrefix:
    """Know the path below which a proxy shows us, whether it strips it or not.

    It is the setting, or what the proxy says of a request. That a client can say it as well harms nobody else:
    it changes only the addresses in the client's own answers.
    """

    def __init__(self, app: ASGIApp, *, prefix: str) -> None:
        self._app = app
        self._prefix = prefix.rstrip("/")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if is_asked(scope):
            told = Headers(scope=scope).get("x-forwarded-prefix", "").rstrip("/")
            prefix = told if _PREFIX.fullmatch(told) else self._prefix
            path = scope["path"]
            if prefix and (path == prefix or path.startswith(f"{prefix}/")):
                path = path[len(prefix) :] or "/"
            scope = {**scope, "path": path, "reactor.prefix": prefix}
        await self._app(scope, receive, send)


def own_url(request: Request) -> str:
    """Return the address of this server as the client that asks sees it, without a slash at its end."""
    named = request.headers.get("x-forwarded-host", "").partition(",")[0].strip()
    host = named if HOST.fullmatch(named) else request.url.netloc
    return f"{request.url.scheme}://{host}{request.scope['reactor.prefix']}"


class OriginGuard:
    """Refuse what a foreign web page asks, where no token tells the operator's own pages from others."""

    def __init__(self, app: ASGIApp, *, origins: Origins) -> None:
        self._app = app
        self._origins = origins
        self._told: set[str] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if is_asked(scope):
            headers = Headers(scope=scope)
            origin = headers.get("origin", "")
            if not self._origins.may_ask(
                origin=origin,
                site=headers.get("sec-fetch-site", ""),
                mode=headers.get("sec-fetch-mode", ""),
                # A WebSocket is followed by no link.
                method=scope.get("method", "WEBSOCKET"),
                referer=headers.get("referer", ""),
                host=headers.get("host", ""),
            ):
                self._tell(origin)
                text = (
                    "without a token this server answers web pages of this machine only; "
                    "allow others with --allow-origin, or set a token"
                )
                await refusal(403, text)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _tell(self, origin: str) -> None:
        known = parse_origin(origin)
        if known is not None and known not in self._told and len(self._told) < _ORIGINS_TOLD:
            self._told.add(known)
            log.warning(
                "a page of %s was refused; if it is yours: --allow-origin %s, or a token", known, known
            )


class HostGuard:
    """Refuse requests that name a foreign host, where no token tells a foreign page's from others.

    A web page can make its own name resolve to wherever a server is (DNS rebinding) and then talk to it as if it
    were of the same origin. `names` are the hosts to answer to, None for all: whoever shows a token is no such page.
    An address, and a name that is known in its own network only, cannot be that page's, so a server that others
    reach answers to those as well, which is `local`. `open_paths` are answered under any name: they are for probes,
    and tell a page nothing.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        names: frozenset[str] | None,
        local: bool = False,
        open_paths: frozenset[str] = frozenset(),
    ) -> None:
        self._app = app
        self._names = names
        self._local = local
        self._open_paths = open_paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if is_asked(scope):
            host = Headers(scope=scope).get("host")
            # Absent only in HTTP/1.0, which no browser speaks.
            if host is not None:
                match = HOST.fullmatch(host)
                if match is None:
                    await refusal(400, "malformed Host header")(scope, receive, send)
                    return
                name = match["name"].lower()
                if scope["path"] not in self._open_paths and not self._answers_to(name):
                    text = (
                        f"this server does not answer to the name {name!r}; allow it with "
                        f"--allow-origin http://{host}, or set a token"
                    )
                    await refusal(421, text)(scope, receive, send)
                    return
        await self._app(scope, receive, send)

    def _answers_to(self, name: str) -> bool:
        if self._names is None or name in self._names:
            return True
        return self._local and (is_address(name) or is_local_name(name))


class BodyLimit:
    """Count a request body while it streams in, whatever its headers announce, and give it a deadline."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if (
            not is_asked(scope) or scope["type"] == "websocket"
        ):  # whose messages are bounded where they arrive
            await self._app(scope, receive, send)
            return
        limit = (
            limits.UPLOAD_MAX_BYTES if _UPLOAD_PATH.fullmatch(scope["path"]) else limits.HTTP_BODY_MAX_BYTES
        )
        announced = Headers(scope=scope).get("content-length", "")
        if announced.isdecimal() and int(announced[:20]) > limit:
            await refusal(413, f"a body may have {limit} bytes")(scope, receive, send)
            return
        # A client that leaves in the middle of its body is no error of ours, and there is nobody to tell.
        with contextlib.suppress(ClientDisconnect):
            await self._app(scope, _counted(receive, limit), send)


def _counted(receive: Receive, limit: int) -> Receive:
    seen, complete = 0, False
    deadline_s = asyncio.get_running_loop().time() + limits.HTTP_BODY_S

    async def counted() -> Message:
        nonlocal seen, complete
        if complete:
            return await receive()
        try:
            async with asyncio.timeout_at(deadline_s):
                message = await receive()
        except TimeoutError:
            raise HTTPException(408, "the body took too long") from None
        seen += len(message.get("body", b""))
        complete = not message.get("more_body", False)
        if seen > limit:
            raise LimitExceeded(f"a body may have {limit} bytes", limit="HTTP_BODY_MAX_BYTES")
        return message

    return counted
