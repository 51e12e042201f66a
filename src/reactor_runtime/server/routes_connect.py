"""The short way in, for clients on long lines: two requests from nothing to a picture.

    GET  /overview   health, session, schema and ICE servers: all that a client needs to make an offer
    POST /connect    start a session or join one, register, offer; the answer comes with it

Each is made of what the routes of `routes_sessions` do one by one, which published clients go on using.
"""

from __future__ import annotations

import json
import logging
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Request
from starlette.responses import JSONResponse, Response

from .. import limits
from ..errors import OfferRejected, ReactorError, SessionRefused
from ..session.grants import Grant
from ..session.lifecycle import State
from ..session.service import Service
from ..types import JsonObject
from .bodies import ConnectBody, documented, json_body
from .packing import QUICKLY, coding_of
from .routes_operator import health_of
from .routes_sessions import Asked, Author, Granted, MayName, MayOffer, ice_server
from .routes_tokens import shares

log = logging.getLogger(__name__)
router: Final = APIRouter()


@router.get("/overview")
async def overview(
    request: Request, service: Asked, grant: Granted, session_id: MayName = None
) -> JSONResponse:
    """Health, session, schema and ICE servers, as their own routes tell them; 200 whatever the health is.

    `session` is the one that is named, or that a token is for, while it runs; else a slot that is free, or what runs
    where none is. `sessions` are all that run, `line` says how many wait for a turn. `role` is that of whoever asks,
    `shares` those that he may make links for.
    """
    body = await overview_of(request, service, grant, session_id)
    return JSONResponse(body, headers={"Cache-Control": "no-store"})


async def overview_of(
    request: Request, service: Service, grant: Grant, session_id: str | None = None
) -> JsonObject:
    """Return what `GET /overview` answers; the page has it in itself."""
    return {
        "health": await health_of(request, service),
        "session": await service.descriptor(session_id or grant.sid),
        "sessions": await service.running_sessions(),
        "line": await service.line.length(),
        "schema": await service.openapi(),
        "ice_servers": [ice_server(server) for server in await service.ice_servers(None)],
        "role": grant.role.value if grant.role is not None else "",
        "shares": shares(request.app.state.doors, grant),
    }


@router.post("/connect", openapi_extra=documented(ConnectBody), dependencies=[MayOffer])
async def connect(
    service: Asked,
    grant: Granted,
    body: Annotated[ConnectBody, Depends(json_body(ConnectBody))],
    author: Author,
    request: Request,
) -> Response:
    """Join the session that is named, or start one, and answer an offer. Output tracks are sent at once.

    The answer has the key of the driver's seat where the connection drives. 400 or 404 when the named session is over,
    409 while another runs or where it takes no visitors, 503 when there is no room. A session that was
    started for an offer that could not be answered is ended again.
    """
    if len(body.sdp_offer.encode()) > limits.OFFER_MAX_BYTES:
        raise OfferRejected(f"an offer may have {limits.OFFER_MAX_BYTES} bytes")
    if body.session_id is not None:
        await service.check(body.session_id)
        session = await service.descriptor(body.session_id)
    else:
        if body.instead_of is not None:
            await _end_left(service, body.instead_of, grant)
        session = await service.start(None, grant=grant)
    session_id, seat = str(session["session_id"]), session.pop("seat", "")
    try:
        connection_id = (await service.register(session_id)).connection_id
        offer = body.value(author=author, active=True, seat=seat)
        seat = await service.offer(session_id, connection_id, offer, replace=False, legacy=False, grant=grant)
        answer = await service.answer(session_id, connection_id, hold_s=limits.ANSWER_HOLD_S)
        if answer is None:
            raise SessionRefused("the offer was not answered in time", status=503, retry_after_s=1)
    except ReactorError:
        # A model that raises at once ends its session in the middle of this: that is what is told, and what it raised.
        await service.check(session_id)
        if body.session_id is None:
            await _give_up(service, session_id, grant)
        raise
    made = {"session": session, "connection_id": connection_id, "sdp_answer": answer}
    return _packed(request, {**made, **({"seat": seat} if seat else {})})


def _packed(request: Request, body: JsonObject) -> Response:
    """On a long line each packet of an answer comes later than the one before, and the picture waits for the last."""
    content, headers = json.dumps(body).encode(), {"Vary": "Accept-Encoding"}
    if coding := coding_of(request.headers.get("accept-encoding", "")):
        content, headers["Content-Encoding"] = QUICKLY[coding](content), coding
    return Response(content, media_type="application/json", headers=headers)


async def _end_left(service: Service, session_id: str, grant: Grant) -> None:
    """End a session, unless somebody has come back to it."""
    found = await service.descriptor(session_id)
    if (found["session_id"], found["state"]) != (session_id, State.ORPHANED.value):
        return
    try:
        await service.stop(session_id, moderate=False, reason="", grant=grant)
    except SessionRefused as refused:
        log.debug("a session that was left is not ended: %s", refused)


async def _give_up(service: Service, session_id: str, grant: Grant) -> None:
    try:
        await service.stop(session_id, moderate=False, reason="the offer was refused", grant=grant)
    except SessionRefused:
        return  # it ended by itself
