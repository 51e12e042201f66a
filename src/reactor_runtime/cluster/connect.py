"""`POST /connect` at a door: a worker where none is named, then the same request there.

Beside `forward.py`, because the session that it is about stands in its body, or is only made.
"""

from __future__ import annotations

import contextlib
from typing import Final

import httpx
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from .. import limits
from ..errors import MessageRejected, NotGranted, SessionRefused
from ..server.bodies import ConnectBody
from ..server.replies import refusal
from ..server.routes_sessions import granted
from ..session.grants import Grant, Right
from ..strict_json import dump, parse_object
from ..types import JsonObject
from .desk import Desk
from .messenger import Messenger, unreachable
from .whereabouts import Whereabouts

_PASSED: Final = ("content-type", "retry-after", "cache-control")
_SESSION: Final = "session_id"


class Connect:
    def __init__(self, app: ASGIApp, *, desk: Desk, messenger: Messenger, whereabouts: Whereabouts) -> None:
        self._app = app
        self._desk = desk
        self._messenger = messenger
        self._where = whereabouts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or (scope["method"], scope["path"]) != ("POST", "/connect"):
            await self._app(scope, receive, send)
            return
        try:
            answer = await self._answer(Request(scope, receive))
        except ClientDisconnect:
            return
        except SessionRefused as error:
            retry = {"Retry-After": str(error.retry_after_s)} if error.retry_after_s is not None else {}
            answer = refusal(error.status, error.public(), code=error.code, headers=retry)
        except NotGranted as error:
            answer = refusal(403, error.public(), code=error.code)
        except MessageRejected as error:
            answer = refusal(422, error.public(), code=error.code)
        await answer(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        grant = await granted(request)
        body = parse_object(await request.body(), max_bytes=limits.HTTP_BODY_MAX_BYTES)
        named = body.get(_SESSION)
        if named is not None and not isinstance(named, str):
            return refusal(422, "session_id is no text")
        started: JsonObject | None = None
        if named is None:
            grant.require(Right.DRIVE)
            # What the worker would refuse unread should cost no session.
            if (
                not isinstance(body.get("sdp_offer"), str)
                or not body.keys() <= ConnectBody.model_fields.keys()
            ):
                return refusal(422, "an offer is missing, or something is said that is not known")
            made = await self._desk.start(grant.sid, grant)
            started, at = made["session"], made["at"]
            session_id = str(started[_SESSION])
            self._where.learn(session_id, at)
            body = {**body, _SESSION: session_id, "seat": started.get("seat") or body.get("seat")}
        else:
            grant.require(Right.WATCH, named)
            session_id, found = named, await self._where.of(named)
            if found is None:
                raise SessionRefused("Unknown session", status=404)
            at = found
        answer = await self._ask(request, session_id, at, body, grant)
        if answer.status_code >= 400 and started is not None:
            await self._give_up(session_id, at)
        return answer

    async def _ask(
        self, request: Request, session_id: str, at: JsonObject, body: JsonObject, grant: Grant
    ) -> Response:
        headers = {
            "Authorization": self._messenger.header(at["key"], grant, session_id),
            "X-Forwarded-For": grant.address,
            "User-Agent": grant.agent,
            "Content-Type": "application/json",
            "Host": request.headers.get("host", ""),
        }
        try:
            answer = await self._messenger.http.post(
                at["url"] + "/connect", content=dump(body), headers=headers
            )
        except httpx.HTTPError:
            self._where.doubt(session_id)
            raise unreachable() from None
        if answer.status_code in (400, 401, 404):
            self._where.doubt(session_id)
        return Response(answer.content, answer.status_code, _passed(answer.headers))

    async def _give_up(self, session_id: str, at: JsonObject) -> None:
        with contextlib.suppress(SessionRefused):
            await self._messenger.ask(
                "POST", at, "/stop_session", body={_SESSION: session_id, "moderate": True}
            )


def _passed(headers: httpx.Headers) -> dict[str, str]:
    known = Headers(raw=[(name.lower(), value) for name, value in headers.raw])
    return {name: known[name] for name in _PASSED if name in known}
