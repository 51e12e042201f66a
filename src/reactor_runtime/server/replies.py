"""How every refusal looks: JSON `{"detail": ..., "code"?: ...}`, never a trace of the inside.

`detail` is a text, or a list for a malformed body; `code` is the error's stable code where it has one. `raised` is
what the model raised in a session that is over, told to its author only.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from .. import codes
from ..errors import (
    ClipRefused,
    LimitExceeded,
    MessageRejected,
    NotGranted,
    OfferRejected,
    ReactorError,
    Refused,
    SessionRefused,
    Unauthorized,
)
from .access import GRANT

log = logging.getLogger(__name__)

_LIMIT_STATUS: Final = {"UPLOADS_PER_SESSION": 429}


#: How refusals are described in the API's document.
REFUSALS: Final[dict[int | str, dict[str, Any]]] = {
    status: {
        "description": "Refused: `detail` says why, `code` is stable",
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["detail"],
                    "properties": {
                        "detail": {
                            "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "object"}}]
                        },
                        "code": {"type": "string"},
                        "raised": {"type": "string"},
                    },
                }
            }
        },
    }
    for status in ("4XX", "5XX")
}


class Malformed(Refused):
    """A request body that does not fit its schema; `problems` say where and why."""

    code = codes.MALFORMED

    def __init__(self, problems: list[dict[str, Any]]) -> None:
        super().__init__("malformed body")
        self.problems = problems


def refusal(
    status: int,
    detail: str | list[dict[str, Any]],
    *,
    code: str = "",
    raised: str = "",
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Make the answer. ASCII JSON: a detail may quote a key of the request, and that may be any text."""
    body: dict[str, Any] = {"detail": detail}
    if code:
        body["code"] = code
    if raised:
        body["raised"] = raised
    return Response(json.dumps(body), status, headers=dict(headers or {}), media_type="application/json")


def install(app: FastAPI) -> None:
    """Turn every error that can leave a route into an answer."""
    app.add_exception_handler(ReactorError, _reactor_error)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http_exception)
    app.add_exception_handler(Exception, _unexpected)


async def _reactor_error(request: Request, error: Exception) -> Response:
    if isinstance(error, Unauthorized | NotGranted):
        request.app.state.refusals.note(error, request.scope[GRANT])
    match error:
        case SessionRefused():
            retry = {} if error.retry_after_s is None else {"Retry-After": str(error.retry_after_s)}
            raised = error.raised if error.raised and request.app.state.is_author(request) else ""
            return refusal(error.status, error.public(), code=error.code, raised=raised, headers=retry)
        case ClipRefused():
            return refusal(error.status, error.public(), code=error.code)
        case Malformed():
            return refusal(422, error.problems, code=error.code)
        case OfferRejected():
            return refusal(400, error.public(), code=error.code)
        case MessageRejected():
            return refusal(422, error.public(), code=codes.MALFORMED)
        case Unauthorized():
            return refusal(401, error.public(), code=error.code, headers={"WWW-Authenticate": "Bearer"})
        case NotGranted():
            return refusal(403, error.public(), code=error.code)
        case LimitExceeded():
            return refusal(_LIMIT_STATUS.get(error.limit, 413), error.public(), code=error.code)
        case Refused():
            return refusal(400, error.public(), code=error.code)
        case ReactorError():
            log.error("request failed: %s", error)
            return refusal(500, error.public(), code=error.code)
    raise error


async def _invalid(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # by registration
    return refusal(422, problems(error.errors()), code=codes.MALFORMED)


async def _http_exception(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # by registration
    return refusal(error.status_code, str(error.detail), headers=error.headers)


async def _unexpected(_request: Request, _error: Exception) -> Response:
    # The server logs the traceback. The header because this answer is made outside the CORS middleware.
    return refusal(
        500, "internal error", code=codes.INTERNAL_ERROR, headers={"Access-Control-Allow-Origin": "*"}
    )


def problems(errors: Any) -> list[dict[str, Any]]:
    """Keep where and why of pydantic's errors; not the input, which may be secret, huge or not JSON."""
    return [
        {"loc": [str(part)[:64] for part in error["loc"]], "msg": error["msg"][:200], "type": error["type"]}
        for error in errors[:16]
    ]
