"""What operators and tools ask: health, metrics, events, the model's schema."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from typing import Annotated, Final

from fastapi import APIRouter, Header, Query, Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from .. import limits
from ..session.journal import Entry, Journal
from .places import share_of
from .readers import Readers
from .routes_sessions import Runtime

router: Final = APIRouter()


@router.get("/schema")
async def schema(service: Runtime) -> JSONResponse:
    """The model's commands and messages as an OpenAPI document; {} before the model is known."""
    return JSONResponse(service.openapi())


@router.get("/health")
async def health(request: Request, service: Runtime) -> JSONResponse:
    """Whether sessions can be served: 200, or 503 while the model loads and after it is gone for good.

    `instance` is another word after each start, by which a page knows a server that was started again from
    a network that was away.
    """
    now = service.health()
    body = {
        "status": "healthy" if now.healthy else "unhealthy",
        "state": now.state,
        "detail": now.detail,
        "instance": request.app.state.instance,
    }
    return JSONResponse(body, 200 if now.healthy else 503, headers={"Cache-Control": "no-store"})


@router.get("/health/live")
async def live() -> JSONResponse:
    """Whether the server itself answers, whatever its model does: for whoever would restart it."""
    return JSONResponse({"status": "healthy"}, headers={"Cache-Control": "no-store"})


@router.get("/metrics")
async def metrics(service: Runtime) -> Response:
    """Metrics in the Prometheus text format."""
    return Response(service.metrics_text(), media_type="text/plain; version=0.0.4; charset=utf-8")


@router.get("/events")
async def events(
    request: Request,
    service: Runtime,
    since: Annotated[int, Query(ge=0, description="the last event already seen")] = 0,
    last_event_id: Annotated[str | None, Header()] = None,
) -> StreamingResponse:
    """What happened to the sessions, as server-sent events, from `since` or where a reader left off."""
    readers: Readers = request.app.state.event_readers
    if last_event_id is not None and last_event_id.isascii() and last_event_id.isdecimal():
        since = int(last_event_id[:18])
    return StreamingResponse(
        _lines(service.journal, since, readers, share_of(request.client.host if request.client else "")),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


async def _lines(journal: Journal, since: int, readers: Readers, address: str) -> AsyncIterator[str]:
    reader = readers.enter(address, time.monotonic())
    journal.nudge()  # one that had to make room ends now
    try:
        # A first byte at once: EventSource and proxies then know that the line stands.
        yield ": open\n\n"
        follow = journal.follow(
            since, idle_s=limits.EVENT_IDLE_S, wanted=lambda: reader.may_go_on(time.monotonic())
        )
        async for entry in follow:
            yield ": still here\n\n" if entry is None else _line(entry)
    finally:
        readers.leave(reader)


def _line(entry: Entry) -> str:
    return f"id: {entry.seq}\ndata: {json.dumps(entry.public())}\n\n"
