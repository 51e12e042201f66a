"""Who asks, by the token that is shown: what it allows, and whether that is enough for what is asked.

    TokenInPath ──/t/TOKEN off──▶ … ──▶ TokenGuard ──▶ presented() ─▶ doors.py ─▶ Grant ─▶ access.py

Plain ASGI, beside the guards of `guards.py`. Refuses by default: a request is looked up among the rules of
`access.py` as it will be routed, and what is not there takes an operator. A token is never logged, answered or sent on.
"""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final
from urllib.parse import parse_qs

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .. import limits
from ..errors import NotGranted, Unauthorized
from ..session.grants import NOTHING, Grant
from .access import GRANT, Access
from .doors import Doors
from .guards import is_asked
from .refusals import Refusals
from .replies import refusal

#: Where it has the token of its path.
_PATH_TOKEN: Final = "reactor.path_token"  # noqa: S105
_IN_PATH: Final = re.compile(r"/t/([^/]+)(/.*)", re.DOTALL)
#: What a media socket speaks, and what a token looks like beside it.
SUBPROTOCOL: Final = "reactor.media.v1"
TOKEN_SUBPROTOCOL: Final = "reactor.token."  # noqa: S105
#: And the key of a driver's seat, as it is.
SEAT_SUBPROTOCOL: Final = "reactor.seat."
#: Characters of a User-Agent by which a client is known again.
AGENT_MAX: Final = 256
#: What published clients send where they know of no token.
_NO_TOKEN: Final = frozenset({b"", b"local"})


class TokenInPath:
    """Take `/t/TOKEN` off a path, before anything routes by it or writes it down, and send no address to others.

    Published SDKs cannot send a token to a server of one's own, but take any address: `http://host/t/TOKEN`.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not is_asked(scope):
            await self._app(scope, receive, send)
            return
        scope = {**scope, _PATH_TOKEN: None}
        if (found := _IN_PATH.fullmatch(scope["path"])) is not None:
            scope["path"] = found[2]
            scope["raw_path"] = found[2].encode("utf-8", "replace")
            scope[_PATH_TOKEN] = found[1].encode("utf-8", "replace")

        async def sent(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                headers = [
                    pair for pair in message.get("headers", ()) if pair[0].lower() != b"referrer-policy"
                ]
                message = {**message, "headers": [*headers, (b"referrer-policy", b"no-referrer")]}
            await send(message)

        await self._app(scope, receive, sent)


def presented(scope: Scope) -> Iterator[bytes]:
    """Yield what a request shows as a token, each place once.

    In `Authorization: Bearer`, in `X-Reactor-Token`, for behind a proxy that needs the first for itself, in
    `?token=`, in a subprotocol, because pages can set no header of a WebSocket, or in front of the path.
    """
    headers = Headers(scope=scope)
    scheme, _, credential = headers.get("authorization", "").partition(" ")
    # Headers are decoded as Latin-1, so this gives back the bytes as they came.
    given = [credential.strip().encode("latin-1")] if scheme.lower() == "bearer" else []
    given += [text.strip().encode("latin-1") for text in headers.getlist("x-reactor-token")[:1]]
    # A query is bounded by the header limit, and parsed leniently: a refusal must not fail.
    asked = parse_qs(scope["query_string"].decode("latin-1")).get("token", [])[:1]
    given += [text.encode("utf-8", "replace") for text in asked]
    given += [_decoded(name) for name in scope.get("subprotocols", ()) if name.startswith(TOKEN_SUBPROTOCOL)][
        :1
    ]
    given += [scope[_PATH_TOKEN]] if scope.get(_PATH_TOKEN) is not None else []
    yield from (text for text in given if text not in _NO_TOKEN)


def _decoded(subprotocol: str) -> bytes:
    """Return the token in a subprotocol, which is base64url without padding; a wrong one for what is none."""
    text = subprotocol.removeprefix(TOKEN_SUBPROTOCOL)
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)) or b"?"
    except ValueError:
        return b"?"


class TokenGuard:
    """Make the grant, and refuse what it does not allow.

    `still_counts` raises where one person's token has been used for as long as it may be, or in another session.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        doors: Doors,
        access: Access,
        refusals: Refusals,
        still_counts: Callable[[Grant, str | None], None] = lambda grant, session_id: None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._app = app
        self._still_counts = still_counts
        self._doors = doors
        self._access = access
        self._refusals = refusals
        self._wall = wall

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if is_asked(scope):
            client = scope.get("client")
            agent = Headers(scope=scope).get("user-agent", "")[:AGENT_MAX]
            address = client[0] if client else ""
            method = scope.get("method", "WEBSOCKET")
            rule, session_id = self._access.find(method, scope["path"])
            grant = NOTHING
            try:
                grant = self._doors.grant(presented(scope), self._wall())
                if rule.right is not None and rule.names == "server":
                    grant.require_everywhere(rule.right)
                elif rule.right is not None:
                    grant.require(rule.right, session_id)
                if grant.personal:
                    self._still_counts(grant, session_id)
            except (Unauthorized, NotGranted) as error:
                if rule.right is not None:
                    known = replace(grant, address=address, agent=agent)
                    await self._refuse(error, known, session_id, scope, receive, send)
                    return
            scope = {**scope, GRANT: replace(grant, address=address, agent=agent)}
        await self._app(scope, receive, send)

    async def _refuse(
        self,
        error: Unauthorized | NotGranted,
        grant: Grant,
        session_id: str | None,
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        if isinstance(error, NotGranted) and not grant.jti:
            # Nobody in particular: a token may be all that is missing.
            error = Unauthorized("missing or wrong token")
        self._refusals.note(error, grant, session_id=(session_id or "")[: limits.TOKEN_WORD_MAX])
        if isinstance(error, Unauthorized):
            headers = {"WWW-Authenticate": "Bearer"}
            answer = refusal(401, error.public(), code=error.code, headers=headers)
        else:
            answer = refusal(403, error.public(), code=error.code)
        await answer(scope, receive, send)
