"""JSON request bodies: read whatever their Content-Type, parsed strictly, checked by a pydantic model.

Clients differ in what they send where nothing is needed: `{}`, an empty body, no Content-Type. Unknown keys
are ignored everywhere, because newer clients add some.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Literal, TypeVar

from fastapi import Request
from pydantic import BaseModel, Field, StrictBool, ValidationError

from .. import limits
from ..session.service import Offer
from ..strict_json import parse_object
from ..webrtc.peer import Candidate, IceServer, TrackMapping
from .replies import Malformed, problems

Body = TypeVar("Body", bound=BaseModel)


class StartBody(BaseModel):
    """`extra_args` and `generation` of the SDKs are ignored: nothing here has a stepped mode."""

    session_id: str | None = Field(None, min_length=1, max_length=64, pattern=r"^[0-9A-Za-z._~-]+$")


class LineBody(BaseModel):
    """`session_id` is that of the session to drive, if several run; any other seat is offered as well."""

    session_id: str | None = Field(None, min_length=1, max_length=64)


class StopBody(BaseModel):
    """`session_id` is that of the session to end; published clients name none."""

    session_id: str | None = Field(None, min_length=1, max_length=64)
    moderate: StrictBool = False
    reason: str = Field("", max_length=64)


class KickBody(BaseModel):
    connection_id: int
    reason: str = Field("", max_length=64)


class Credentials(BaseModel):
    username: str = Field("", max_length=512)
    password: str = Field("", max_length=512)


class IceServerBody(BaseModel):
    uris: list[str] = Field(max_length=8)
    credentials: Credentials | None = None

    def value(self) -> IceServer:
        known = self.credentials or Credentials(username="", password="")
        return IceServer(tuple(self.uris), known.username, known.password)


class MappingBody(BaseModel):
    mid: str = Field(max_length=64)
    name: str = Field(max_length=128)


class OfferBody(BaseModel):
    sdp_offer: str
    client_info: dict[str, Any] | None = None
    track_mapping: list[MappingBody] = Field(default=[], max_length=limits.OFFER_MAX_SECTIONS)
    ice_servers: list[IceServerBody] | None = Field(None, max_length=8)
    seat: str | None = Field(None, max_length=64)
    watch: StrictBool = False

    def value(self, *, author: bool, active: bool = False, seat: str | None = None) -> Offer:
        info = self.client_info or {}
        servers = None if self.ice_servers is None else tuple(server.value() for server in self.ice_servers)
        return Offer(
            sdp=self.sdp_offer,
            mapping=tuple(TrackMapping(entry.mid, entry.name) for entry in self.track_mapping),
            ice_servers=servers,
            client=f"{info.get('sdk_type', '')} {info.get('sdk_version', '')}".strip()[:64],
            author=author,
            active=active,
            seat=self.seat if self.seat is not None else seat,
            watch=self.watch,
        )


class ConnectBody(OfferBody):
    """`session_id` is that of the session to join; without it one is started.

    `seat` is the key of the driver's seat, as the answer named it before; `watch`: to watch even where that is free.
    `instead_of` is a session that everybody has left: it is ended before another is started.
    """

    session_id: str | None = Field(None, min_length=1, max_length=64)
    instead_of: str | None = Field(None, min_length=1, max_length=64)


class TokenBody(BaseModel):
    """`role` and how long it counts; `session_id` is the one session that it is for."""

    role: Literal["watch", "vote", "drive"]
    for_s: float = Field(gt=0, le=limits.TOKEN_SHARED_S)
    session_id: str | None = Field(None, min_length=1, max_length=64, pattern=r"^[0-9A-Za-z._~-]+$")


class CandidateBody(BaseModel):
    candidate: str = Field(max_length=1024)
    sdp_mid: str | None = Field(None, max_length=64)
    sdp_mline_index: int | None = Field(None, ge=0, le=65535)

    def value(self) -> Candidate:
        return Candidate(self.candidate, self.sdp_mid, self.sdp_mline_index)


class CandidatesBody(BaseModel):
    candidates: list[CandidateBody] = Field(default=[], max_length=limits.OFFER_MAX_CANDIDATES)
    is_final: bool = False


class UploadBody(BaseModel):
    name: str
    size: int
    mime_type: str
    upload_id: str | None = None


def json_body(model: type[Body]) -> Callable[[Request], Awaitable[Body]]:
    """Make a FastAPI dependency that reads a body of this model; an empty body counts as `{}`."""

    async def read(request: Request) -> Body:
        # A page that goes away says so with an empty beacon and is gone: reading would find it disconnected.
        raw = await request.body() if _announces_body(request) else b""
        value = parse_object(raw, max_bytes=limits.HTTP_BODY_MAX_BYTES) if raw.strip() else {}
        try:
            return model.model_validate(value)
        except ValidationError as error:
            raise Malformed(problems(error.errors(include_url=False, include_context=False))) from None

    return read


def _announces_body(request: Request) -> bool:
    headers = request.headers
    return "transfer-encoding" in headers or headers.get("content-length", "0") != "0"


def documented(model: type[BaseModel]) -> dict[str, Any]:
    """Describe the body in the API's OpenAPI document, as FastAPI would for one that it parses itself."""
    schema = model.model_json_schema()
    definitions = schema.pop("$defs", {})
    return {"requestBody": {"content": {"application/json": {"schema": _whole(schema, definitions)}}}}


def _whole(schema: Any, definitions: dict[str, Any]) -> Any:
    """Put definitions where they are referred to: `#/$defs` of a part is nothing in the whole document."""
    if isinstance(schema, list):
        return [_whole(each, definitions) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _whole(definitions[schema["$ref"].removeprefix("#/$defs/")], definitions)
    return {key: _whole(value, definitions) for key, value in schema.items()}
