"""Uploads to a session, clips of one, and its log.

An upload's URL holds a key, so that the PUT needs no token: SDKs send none with the bytes.
"""

from __future__ import annotations

import math
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import JSONResponse, Response

from .. import limits
from ..recording.playlist import INIT_NAME, playlist
from .bodies import UploadBody, documented, json_body
from .guards import own_url
from .replies import refusal
from .routes_sessions import Asked, Granted, Running

router: Final = APIRouter()


@router.post("/sessions/{session_id}/uploads", status_code=201, openapi_extra=documented(UploadBody))
async def reserve_upload(
    session_id: str,
    request: Request,
    service: Asked,
    running: Running,
    grant: Granted,
    body: Annotated[UploadBody, Depends(json_body(UploadBody))],
) -> JSONResponse:
    """Reserve a slot for a file and say where to PUT its bytes."""
    slot = await service.reserve_upload(
        running,
        name=body.name,
        size_bytes=body.size,
        mime_type=body.mime_type,
        upload_id=body.upload_id,
        grant=grant,
    )
    # Absolute, because JS 2.9.0 and Python use it verbatim; of the host that the client itself named.
    path = f"sessions/{session_id}/uploads/{slot.upload_id}/{slot.key}"
    return JSONResponse(
        {
            "presigned_id": slot.upload_id,
            "presigned_url": f"{own_url(request)}/{path}",
            "path": f"sessions/{session_id}/uploads/{slot.upload_id}/{slot.name}",
        },
        201,
    )


@router.put("/sessions/{session_id}/uploads/{upload_id}/{key}", response_class=Response)
async def receive_upload(
    upload_id: str, key: str, request: Request, service: Asked, running: Running
) -> Response:
    """Take the bytes of a reserved upload: exactly as many as were announced."""
    await service.receive_upload(running, upload_id, key, request.stream())
    return Response()


@router.get("/sessions/{session_id}/log/{key}", response_class=Response)
async def session_log(session_id: str, key: str, service: Asked) -> Response:
    """The log of the session that runs or ran last, so far. The key was told to whoever started it."""
    content = await service.session_log(session_id, key)
    headers = {"Cache-Control": "no-store", "Content-Disposition": 'attachment; filename="session.jsonl"'}
    return Response(content, media_type="application/jsonl", headers=headers)


@router.get("/clips", response_class=Response, response_model=None)
async def clips(start: float, end: float, service: Asked, session_id: str = "") -> Response:
    """The playlist of a clip: 202 until its last segment is closed, at most a segment's length from now."""
    if not (math.isfinite(start) and math.isfinite(end) and 0 <= start < end):
        return refusal(400, "bad range: 0 <= start < end, in seconds")
    segments = await service.clip(session_id, start, end)
    if segments is None:
        return Response(status_code=202, headers={"Retry-After": "2"})

    def address_of(name: str, begin: int) -> str:
        """Relative to this one, so that the path prefix of a proxy survives."""
        return f"clips/chunks/{session_id}/{name}" + (f"?begin={begin}" if begin else "")

    text = playlist(segments, address_of=address_of, chunk_s=limits.RECORDING_CHUNK_S)
    return Response(text, media_type="application/vnd.apple.mpegurl")


@router.get("/clips/chunks/{recording}/{file}", response_class=Response, response_model=None)
async def clip_chunk(
    recording: str, file: str, service: Asked, begin: Annotated[int, Query(ge=0, lt=1 << 62)] = 0
) -> Response:
    """A file of a recording. `begin` is where the clip begins that this segment is fetched for, in ticks."""
    data = await service.clip_file(recording, file, begin=begin)
    return Response(data, media_type="video/mp4" if file == INIT_NAME else "video/iso.segment")
