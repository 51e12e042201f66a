"""The line of those who wait for a turn: join it, ask how a ticket stands or listen to it, claim the seat, leave.

    POST /line ─▶ ticket ─▶ GET /line/{ticket}, or its events ─▶ POST claim ─▶ a session and the key of its seat

A ticket is a secret of whoever got it: with it, a reload has its place again.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Path
from starlette.responses import JSONResponse, Response, StreamingResponse

from ..types import JsonObject
from .bodies import LineBody, documented, json_body
from .routes_sessions import Asked, Granted

router: Final = APIRouter()

Ticket = Annotated[str, Path(max_length=64)]
_FRESH: Final = {"Cache-Control": "no-store"}


@router.post("/line", status_code=201, openapi_extra=documented(LineBody))
async def join(
    service: Asked, grant: Granted, body: Annotated[LineBody, Depends(json_body(LineBody))]
) -> JSONResponse:
    """Take the last place in the line. `state` is `claim` at once where a seat is free. 503 `line_full`."""
    return JSONResponse(await service.line.join(body.session_id, grant=grant), 201, headers=_FRESH)


@router.get("/line/{ticket}")
async def look(ticket: Ticket, service: Asked) -> JSONResponse:
    """How a ticket stands: `waiting` with its place and what is left of the wait, `claim`, `driving` or `gone`.

    Asking keeps the place. 404 for a ticket of another server, also of this one before it was started again.
    """
    return JSONResponse(await service.line.look(ticket), headers=_FRESH)


@router.get("/line/{ticket}/events", response_class=StreamingResponse)
async def events(ticket: Ticket, service: Asked) -> StreamingResponse:
    """The same as server-sent events, at each change and every few seconds, until it is gone. Keeps the place.

    503 when too many listen: ask instead.
    """
    following = service.line.follow(ticket)
    # Raised before the answer begins.
    first = await anext(following)
    return StreamingResponse(
        _lines(first, following),
        media_type="text/event-stream",
        headers={**_FRESH, "X-Accel-Buffering": "no"},
    )


async def _lines(first: JsonObject, following: AsyncGenerator[JsonObject]) -> AsyncIterator[str]:
    async with aclosing(following):
        yield f"data: {json.dumps(first)}\n\n"
        async for now in following:
            yield f"data: {json.dumps(now)}\n\n"


@router.post("/line/{ticket}/claim")
async def claim(ticket: Ticket, service: Asked, grant: Granted) -> JSONResponse:
    """Take the seat that is kept for this ticket: the session, and the key to connect with. Repeatable.

    409 before its turn and when it is gone; 503 when the model failed here, and the ticket is the next one again.
    """
    return JSONResponse(await service.line.claim(ticket, grant=grant), headers=_FRESH)


@router.delete("/line/{ticket}", status_code=204, response_class=Response)
async def leave(ticket: Ticket, service: Asked) -> Response:
    """Give the place back, and the seat of whoever drives with it."""
    await service.line.leave(ticket)
    return Response(status_code=204)
