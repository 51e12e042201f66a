"""What operators and tools ask: health, metrics, events, the model's schema."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator
from enum import Enum
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Header, Query, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse

from ..networks import share_of
from ..session.journal import Entry
from ..session.metrics import text_of_counters
from ..session.service import Service
from ..types import JsonObject
from .bodies import KickBody, documented, json_body
from .places import Places
from .readers import Readers
from .routes_sessions import Asked, Granted

router: Final = APIRouter()


class _End(Enum):
    END = "end"


_END: Final = _End.END


@router.get("/schema")
async def schema(service: Asked) -> JSONResponse:
    """The model's commands and messages as an OpenAPI document; {} before the model is known."""
    return JSONResponse(await service.openapi())


@router.get("/health")
async def health(request: Request, service: Asked) -> JSONResponse:
    """Whether sessions can be served: 200, or 503 while the model loads and after it is gone for good.

    `instance` is another word after each start, by which a page knows a server that was started again from
    a network that was away.
    """
    body = await health_of(request, service)
    status = 200 if body["status"] == "healthy" else 503
    return JSONResponse(body, status, headers={"Cache-Control": "no-store"})


async def health_of(request: Request, service: Service) -> JsonObject:
    now = await service.health()
    return {
        "status": "healthy" if now.healthy else "unhealthy",
        "state": now.state,
        "detail": now.detail,
        "slots": list(now.slots),
        "instance": request.app.state.instance,
        **({"loading": now.loading} if now.loading else {}),
    }


@router.get("/health/live")
async def live() -> JSONResponse:
    """Whether the server itself answers, whatever its model does: for whoever would restart it."""
    return JSONResponse({"status": "healthy"}, headers={"Cache-Control": "no-store"})


@router.get("/metrics", response_class=PlainTextResponse)
async def metrics(request: Request, service: Asked) -> Response:
    """Metrics in the Prometheus text format."""
    state = request.app.state
    text = await service.metrics_text() + metrics_of_places(state.places) + state.refusals.metrics_text()
    return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")


def metrics_of_places(places: Places) -> str:
    """Return what the server itself counts."""
    return text_of_counters(
        (
            ("reactor_http_requests_limited", places.limited, "Requests over the rate of their address"),
            ("reactor_http_sockets_evicted", places.evicted, "Sockets closed to make room for others"),
            ("reactor_http_sockets_refused", places.refused, "Sockets for which there was no room"),
        )
    )


@router.post("/sessions/{session_id}/kick", response_class=Response, openapi_extra=documented(KickBody))
async def kick(
    session_id: str,
    service: Asked,
    grant: Granted,
    body: Annotated[KickBody, Depends(json_body(KickBody))],
) -> Response:
    """Send a viewer away; `reason` is told to it. 404 for a connection that is not there."""
    await service.kick(session_id, body.connection_id, reason=body.reason, grant=grant)
    return Response()


@router.post("/drain", status_code=202, response_class=Response)
async def drain(service: Asked, grant: Granted) -> Response:
    """Stop the server as the first Ctrl-C does: no new session starts, the running ones may go on for a while."""
    await service.ask_drain(grant=grant)
    return Response(status_code=202)


@router.get("/events", response_class=StreamingResponse)
async def events(
    request: Request,
    service: Asked,
    since: Annotated[int, Query(ge=0, description="the last event already seen")] = 0,
    last_event_id: Annotated[str | None, Header()] = None,
) -> StreamingResponse:
    """What happened to the sessions, as server-sent events, from `since` or where a reader left off."""
    readers: Readers = request.app.state.event_readers
    if last_event_id is not None and last_event_id.isascii() and last_event_id.isdecimal():
        since = int(last_event_id[:18])
    return StreamingResponse(
        _lines(service, since, readers, share_of(request.client.host if request.client else "")),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


async def _lines(service: Service, since: int, readers: Readers, address: str) -> AsyncIterator[str]:
    ended = asyncio.Event()
    reader = readers.enter(address, time.monotonic(), ended.set)
    events = service.events(since)
    try:
        # A first byte at once: EventSource and proxies then know that the line stands.
        yield ": open\n\n"
        while reader.may_go_on(time.monotonic()):
            entry = await _next(events, ended)
            if entry is _END:
                return
            yield ": still here\n\n" if entry is None else _line(entry)
    finally:
        readers.leave(reader)
        await events.aclose()


async def _next(events: AsyncGenerator[Entry | None, None], ended: asyncio.Event) -> Entry | _End | None:
    """Return the next event, or _END when there is none or the reader has to make room."""
    coming = asyncio.ensure_future(anext(events, _END))
    ending = asyncio.ensure_future(ended.wait())
    try:
        await asyncio.wait([coming, ending], return_when=asyncio.FIRST_COMPLETED)
        return coming.result() if coming.done() else _END
    finally:
        for waiting in (coming, ending):
            waiting.cancel()
        await asyncio.gather(coming, ending, return_exceptions=True)


def _line(entry: Entry) -> str:
    return f"id: {entry.seq}\ndata: {json.dumps(entry.public())}\n\n"
