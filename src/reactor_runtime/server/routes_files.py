"""Uploads to a session, and clips of one.

An upload's URL holds a key, so that the PUT needs no token: SDKs send none with the bytes.
"""

from __future__ import annotations

import math
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Request
from starlette.responses import JSONResponse, Response

from .bodies import UploadBody, documented, json_body
from .replies import refusal
from .routes_sessions import Running

router: Final = APIRouter()


@router.post("/sessions/{session_id}/uploads", status_code=201, openapi_extra=documented(UploadBody))
async def reserve_upload(
    session_id: str,
    request: Request,
    running: Running,
    body: Annotated[UploadBody, Depends(json_body(UploadBody))],
) -> JSONResponse:
    """Reserve a slot for a file and say where to PUT its bytes."""
    slot = running.uploads.reserve(
        name=body.name, size_bytes=body.size, mime_type=body.mime_type, upload_id=body.upload_id
    )
    # Absolute, because JS 2.9.0 and Python use it verbatim; of the host that the client itself named.
    path = f"sessions/{session_id}/uploads/{slot.upload_id}/{slot.key}"
    return JSONResponse(
        {
            "presigned_id": slot.upload_id,
            "presigned_url": f"{request.base_url}{path}",
            "path": f"sessions/{session_id}/uploads/{slot.upload_id}/{slot.name}",
        },
        201,
    )


@router.put("/sessions/{session_id}/uploads/{upload_id}/{key}")
async def receive_upload(upload_id: str, key: str, request: Request, running: Running) -> Response:
    """Take the bytes of a reserved upload: exactly as many as were announced."""
    await running.uploads.receive(upload_id, key, request.stream())
    return Response()


@router.get("/clips", response_model=None)
async def clips(start: float, end: float, session_id: str = "") -> Response:
    """The playlist of a clip. Nothing is recorded, so every clip is gone."""
    if not (math.isfinite(start) and math.isfinite(end) and 0 <= start < end):
        return refusal(400, "bad range: 0 <= start < end, in seconds")
    return refusal(410, "recorder disabled")


@router.get("/clips/chunks/{recording}/{file}", response_model=None)
async def clip_chunk(recording: str, file: str) -> Response:
    """A segment of a recording. Nothing is recorded, so every recording is unknown."""
    return refusal(410, "recorder disabled")
