"""Requests about one session, passed on to the worker that runs it: one hop, bytes untouched.

    guards of the door ─grant─▶ Forward ─▶ whereabouts ─▶ the worker's server, with a token for this session
                                   └── about no session that runs ─▶ the door's own routes

Signalling, uploads, clips and logs by HTTP, streamed both ways; the media socket by a WebSocket. What a visitor shows
as his token stops here (`vouching.py`). Plain ASGI, innermost of a door's guards.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from typing import Any, Final, cast
from urllib.parse import parse_qsl, urlencode

import httpx
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.typing import Subprotocol

from .. import limits
from ..errors import SessionRefused
from ..server.access import GRANT
from ..server.replies import refusal
from ..server.token_guard import AGENT_MAX, TOKEN_SUBPROTOCOL
from ..session.grants import Grant
from ..types import JsonObject
from ..websocket.socket_link import PRIVATE
from .limits import CONNECT_S
from .messenger import Messenger, unreachable
from .whereabouts import Whereabouts

_SESSION: Final = re.compile(r"/(?:sessions|clips/chunks)/([^/]+)/.+")
_CLIPS: Final = "/clips"
#: Of one connection and no other (RFC 9110, 7.6.1), and what httpx sets by itself.
_HOPS: Final = frozenset(
    b"connection keep-alive proxy-authenticate proxy-authorization te trailer transfer-encoding upgrade".split()
)
#: What the door's own server says of each answer.
_OWN: Final = frozenset({b"date", b"server"})
#: What a visitor shows, and what only we say.
_OURS: Final = frozenset(b"authorization x-reactor-token x-forwarded-for cookie".split())


class Forward:
    def __init__(self, app: ASGIApp, *, messenger: Messenger, whereabouts: Whereabouts) -> None:
        self._app = app
        self._messenger = messenger
        self._where = whereabouts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        session_id = _session_of(scope)
        if session_id is None:
            await self._app(scope, receive, send)
            return
        try:
            at = await self._where.of(session_id)
        except SessionRefused as error:
            await _refuse(error, scope, receive, send)
            return
        if at is None:
            await self._app(scope, receive, send)  # which says that there is no such session
        elif scope["type"] == "websocket":
            await self._socket(WebSocket(scope, receive, send), session_id, at)
        else:
            await self._request(scope, receive, send, session_id, at)

    # HTTP ---------------------------------------------------------------------------------------------

    async def _request(
        self, scope: Scope, receive: Receive, send: Send, session_id: str, at: JsonObject
    ) -> None:
        request = Request(scope, receive)
        url = at["url"] + scope["path"] + _query(scope)
        asked = self._messenger.http.build_request(
            scope["method"],
            url,
            headers=self._headers(scope, session_id, at),
            content=_body(request) if _has_body(request.headers) else None,
        )
        try:
            answer = await self._messenger.http.send(asked, stream=True)
        except ClientDisconnect:
            return
        except httpx.HTTPError:
            self._where.doubt(session_id)
            await _refuse(unreachable(), scope, receive, send)
            return
        try:
            headers = [
                (name.lower(), value)
                for name, value in answer.headers.raw
                if name.lower() not in _HOPS | _OWN
            ]
            await send({"type": "http.response.start", "status": answer.status_code, "headers": headers})
            # Untouched: what is packed stays packed.
            async for piece in answer.aiter_raw():
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            await answer.aclose()
        if answer.status_code in (400, 401, 404):
            # It may be over there, or the worker is another than it was.
            self._where.doubt(session_id)

    def _headers(self, scope: Scope, session_id: str, at: JsonObject) -> list[tuple[bytes, bytes]]:
        grant: Grant = scope[GRANT]
        headers = [(name, value) for name, value in scope["headers"] if name.lower() not in _HOPS | _OURS]
        if grant.role is not None:
            headers.append((b"authorization", self._messenger.header(at["key"], grant, session_id).encode()))
        if grant.address:
            headers.append((b"x-forwarded-for", grant.address.encode()))
        return headers

    # The media socket ---------------------------------------------------------------------------------

    async def _socket(self, socket: WebSocket, session_id: str, at: JsonObject) -> None:
        grant: Grant = socket.scope[GRANT]
        spoken = [each for each in socket.scope["subprotocols"] if not each.startswith(TOKEN_SUBPROTOCOL)]
        headers = {"Authorization": self._messenger.header(at["key"], grant, session_id)}
        if grant.address:
            headers["X-Forwarded-For"] = grant.address
        url = at["url"].replace("http", "ws", 1) + socket.scope["path"] + _query(socket.scope)
        try:
            worker = await connect(
                url,
                additional_headers=headers,
                user_agent_header=socket.headers.get("user-agent", "")[:AGENT_MAX],
                subprotocols=cast(list[Subprotocol], spoken) or None,
                compression=None,
                proxy=None,
                max_size=None,  # a picture is as large as the worker makes it
                max_queue=4,
                ping_interval=None,  # the worker asks
                open_timeout=CONNECT_S,
                close_timeout=CONNECT_S,
            )
        except (OSError, TimeoutError, InvalidHandshake) as error:
            status = error.response.status_code if isinstance(error, InvalidStatus) else 503
            if status == 503:
                self._where.doubt(session_id)
            with contextlib.suppress(WebSocketDisconnect, RuntimeError):
                await socket.accept()
                await socket.close(PRIVATE + status, "the worker of this session does not answer")
            return
        async with worker:
            await socket.accept(worker.subprotocol)
            inward = asyncio.create_task(_inward(socket, worker))
            outward = asyncio.create_task(_outward(worker, socket))
            try:
                await asyncio.wait([inward, outward], return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (inward, outward):
                    task.cancel()
                await asyncio.gather(inward, outward, return_exceptions=True)


async def _inward(socket: WebSocket, worker: ClientConnection) -> None:
    with contextlib.suppress(ConnectionClosed):
        while (message := await socket.receive())["type"] == "websocket.receive":
            text = message.get("text")
            await worker.send(text if text is not None else message.get("bytes") or b"")


async def _outward(worker: ClientConnection, socket: WebSocket) -> None:
    """Pass on what the worker sends; its close is the door's, code and reason."""
    with contextlib.suppress(WebSocketDisconnect, RuntimeError, TimeoutError):
        try:
            while True:
                message = await worker.recv()
                async with asyncio.timeout(limits.SOCKET_WRITE_S):
                    await (
                        socket.send_text(message) if isinstance(message, str) else socket.send_bytes(message)
                    )
        except ConnectionClosed as closed:
            code = closed.rcvd.code if closed.rcvd is not None else PRIVATE + 503
            await socket.close(code, closed.rcvd.reason if closed.rcvd is not None else "the worker is gone")


# What is asked ----------------------------------------------------------------------------------------------


def _session_of(scope: Scope) -> str | None:
    if scope["type"] not in ("http", "websocket"):
        return None
    found = _SESSION.fullmatch(scope["path"])
    if found is not None:
        return found[1]
    if scope["path"] == _CLIPS:
        asked = parse_qsl(scope["query_string"].decode("latin-1"))
        return next((value for name, value in reversed(asked) if name == "session_id"), None)
    return None


def _query(scope: Scope) -> str:
    """Return the query without the visitor's token."""
    asked = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    kept = [(name, value) for name, value in asked if name != "token"]
    return f"?{urlencode(kept)}" if kept else ""


def _has_body(headers: Headers) -> bool:
    return "transfer-encoding" in headers or headers.get("content-length", "0") != "0"


async def _body(request: Request) -> AsyncIterator[bytes]:
    async for piece in request.stream():
        if piece:
            yield piece


async def _refuse(error: SessionRefused, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        socket = WebSocket(scope, receive, send)
        await socket.accept()
        await socket.close(PRIVATE + error.status, error.public()[:100])
        return
    headers: dict[str, Any] = {"Retry-After": str(error.retry_after_s)} if error.retry_after_s else {}
    await refusal(error.status, error.public(), code=error.code, headers=headers)(scope, receive, send)
