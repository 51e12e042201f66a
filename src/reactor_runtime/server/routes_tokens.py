"""Tokens for links that an operator shares from the page; `reactor token create` makes all others.

The page puts the token behind the `#` of its own address, which browsers send to nobody.
"""

from __future__ import annotations

import time
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Request
from starlette.responses import JSONResponse

from ..errors import SessionRefused
from ..session.audit import Audit
from ..session.grants import Grant, Right
from ..tokens import Claims, fresh_jti
from ..types import Role
from .bodies import TokenBody, documented, json_body
from .doors import Doors
from .routes_sessions import Granted

router: Final = APIRouter()

#: For whom links are made on the page. An operator's token is not passed on by a picture that others may see.
_SHARED: Final = (Role.WATCH, Role.VOTE, Role.DRIVE)


def shares(doors: Doors, grant: Grant) -> list[str]:
    """Return the roles that whoever asks may make links for."""
    may = bool(doors.keys) and Right.OPERATE in grant.rights and grant.sid is None
    return [role.value for role in _SHARED] if may else []


@router.post("/tokens", status_code=201, openapi_extra=documented(TokenBody))
async def make_token(
    request: Request, grant: Granted, body: Annotated[TokenBody, Depends(json_body(TokenBody))]
) -> JSONResponse:
    """Make a token for a link. 409 where the server has no key to sign with."""
    grant.require(Right.OPERATE)
    doors: Doors = request.app.state.doors
    if not doors.keys:
        text = "this server has no key to sign tokens with; start it with --token-key-file"
        raise SessionRefused(text, status=409)
    claims = Claims(
        Role(body.role), exp=int(time.time() + body.for_s) + 1, jti=fresh_jti(), sid=body.session_id
    )
    audit: Audit = request.app.state.audit
    audit.note("issue", grant, session_id=claims.sid or "", whom=claims.jti, reason=body.role)
    made = {"token": doors.keys.sign(claims), "role": body.role, "expires_s": body.for_s}
    return JSONResponse(made, 201, headers={"Cache-Control": "no-store"})
