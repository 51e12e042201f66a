"""What operators and tools ask: health, metrics, events, the model's schema."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Annotated, Final

from fastapi import APIRouter, Header, Query, Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from .. import limits
from ..errors import LimitExceeded
from ..session.journal import Entry, Journal
from .routes_sessions import Runtime

router: Final = APIRouter()


@router.get("/schema")
async def schema(service: Runtime) -> JSONResponse:
    """The model's commands and messages as an OpenAPI document; {} before the model is known."""
    return JSONResponse(service.openapi())


@router.get("/health")
async def health(service: Runtime) -> JSONResponse:
    """Whether sessions can be served: 200, or 503 while the model loads and after it is gone for good."""
    now = service.health()
    body = {"status": "healthy" if now.healthy else "unhealthy", "state": now.state, "detail": now.detail}
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
    streams: set[object] = request.app.state.event_streams
    if len(streams) >= limits.EVENT_STREAMS:
        raise LimitExceeded(f"{limits.EVENT_STREAMS} readers of the events already", limit="EVENT_STREAMS")
    if last_event_id is not None and last_event_id.isascii() and last_event_id.isdecimal():
        since = int(last_event_id[:18])
    return StreamingResponse(
        _lines(service.journal, since, streams),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


async def _lines(journal: Journal, since: int, streams: set[object]) -> AsyncIterator[str]:
    stream = object()
    streams.add(stream)
    try:
        # A first byte at once: EventSource and proxies then know that the line stands.
        yield ": open\n\n"
        async for entry in journal.follow(since, idle_s=limits.EVENT_IDLE_S):
            yield ": still here\n\n" if entry is None else _line(entry)
    finally:
        streams.discard(stream)


def _line(entry: Entry) -> str:
    return f"id: {entry.seq}\ndata: {json.dumps(entry.public())}\n\n"
