"""Sessions and signalling: start, stop, adopt, offer, answer, candidates.

Status codes are part of the contract: the JavaScript client takes exactly 201 from `connections` and exactly
202 from offers and candidates. The guards of a running session come before the body is looked at.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Request
from starlette.responses import JSONResponse, Response

from .. import limits
from ..errors import OfferRejected
from ..session.service import LEGACY_CONNECTION_ID, Service, SessionAccess
from ..webrtc.peer import IceServer
from .bodies import CandidatesBody, OfferBody, StartBody, StopBody, documented, json_body
from .guards import is_author

router: Final = APIRouter()

_P: Final = "/sessions/{session_id}/transport/webrtc"


def runtime(request: Request) -> Service:
    """The runtime behind this application."""
    service: Service = request.app.state.service
    return service


def running_session(session_id: str, service: Annotated[Service, Depends(runtime)]) -> SessionAccess:
    """The session of the path. 400 when none runs, 404 when it is another."""
    return service.session(session_id)


Runtime = Annotated[Service, Depends(runtime)]
Running = Annotated[SessionAccess, Depends(running_session)]
OfferIn = Annotated[OfferBody, Depends(json_body(OfferBody))]
Author = Annotated[bool, Depends(is_author)]
CandidatesIn = Annotated[CandidatesBody, Depends(json_body(CandidatesBody))]


@router.post("/start_session", openapi_extra=documented(StartBody))
async def start_session(
    service: Runtime, body: Annotated[StartBody, Depends(json_body(StartBody))]
) -> JSONResponse:
    """Start a session and describe it. 409 while one runs, 503 while the model loads."""
    return JSONResponse(await service.start(body.session_id))


@router.get("/session")
async def session(service: Runtime) -> JSONResponse:
    """Describe the session, in any state."""
    return JSONResponse(service.descriptor())


@router.post("/stop_session", openapi_extra=documented(StopBody))
async def stop_session(service: Runtime, body: Annotated[StopBody, Depends(json_body(StopBody))]) -> Response:
    """End the session. 409 when none runs."""
    await service.stop(moderate=body.moderate, reason=body.reason)
    return Response()


@router.get(_P + "/ice_servers")
async def ice_servers(running: Running) -> JSONResponse:
    """The STUN and TURN servers to gather candidates with."""
    return JSONResponse({"ice_servers": [_ice_server(server) for server in running.ice_servers()]})


@router.post(_P + "/connections", status_code=201)
async def register(running: Running) -> JSONResponse:
    """Reserve a connection. 503 when the session has no room for another viewer."""
    connection_id = running.register()
    return JSONResponse({"connection_id": connection_id, "track_map": running.track_map()}, 201)


@router.post(
    _P + "/connections/{connection_id}/sdp_params", status_code=202, openapi_extra=documented(OfferBody)
)
async def offer(connection_id: int, running: Running, body: OfferIn, author: Author) -> JSONResponse:
    """Hand over an offer; fetch its answer with GET."""
    return _offer(running, connection_id, body, author=author, replace=False)


@router.put(
    _P + "/connections/{connection_id}/sdp_params", status_code=202, openapi_extra=documented(OfferBody)
)
async def replace_offer(connection_id: int, running: Running, body: OfferIn, author: Author) -> JSONResponse:
    """Hand over the offer of a reconnect, or of a connection that never offered."""
    return _offer(running, connection_id, body, author=author, replace=True)


@router.get(_P + "/connections/{connection_id}/sdp_params")
async def answer(connection_id: int, running: Running) -> Response:
    """The answer, as soon as it exists; 202 if it takes longer than five seconds."""
    return await _answer(running, connection_id)


@router.post(
    _P + "/connections/{connection_id}/ice_candidates",
    status_code=202,
    openapi_extra=documented(CandidatesBody),
)
async def candidates(connection_id: int, running: Running, body: CandidatesIn) -> Response:
    """Hand over ICE candidates, also before the offer."""
    return _candidates(running, connection_id, body)


# JS 2.9.0 knows one connection per session and these routes only.


@router.post(_P + "/sdp_params", status_code=202, openapi_extra=documented(OfferBody))
async def legacy_offer(running: Running, body: OfferIn, author: Author) -> JSONResponse:
    """As `connections/1001/sdp_params`, with tracks that start active."""
    return _offer(running, LEGACY_CONNECTION_ID, body, author=author, replace=False)


@router.put(_P + "/sdp_params", status_code=202, openapi_extra=documented(OfferBody))
async def legacy_replace_offer(running: Running, body: OfferIn, author: Author) -> JSONResponse:
    """As `connections/1001/sdp_params`, with tracks that start active."""
    return _offer(running, LEGACY_CONNECTION_ID, body, author=author, replace=True)


@router.get(_P + "/sdp_params")
async def legacy_answer(running: Running) -> Response:
    """As `connections/1001/sdp_params`."""
    return await _answer(running, LEGACY_CONNECTION_ID)


@router.post(_P + "/ice_candidates", status_code=202, openapi_extra=documented(CandidatesBody))
async def legacy_candidates(running: Running, body: CandidatesIn) -> Response:
    """As `connections/1001/ice_candidates`."""
    return _candidates(running, LEGACY_CONNECTION_ID, body)


def _offer(
    running: SessionAccess, connection_id: int, body: OfferBody, *, author: bool, replace: bool
) -> JSONResponse:
    # The cheap bound, before anything parses SDP; the engine's side counts candidates and sections.
    if len(body.sdp_offer.encode()) > limits.OFFER_MAX_BYTES:
        raise OfferRejected(f"an offer may have {limits.OFFER_MAX_BYTES} bytes")
    legacy = connection_id == LEGACY_CONNECTION_ID
    running.offer(connection_id, body.value(author=author), replace=replace, legacy=legacy)
    return JSONResponse({"connection_id": connection_id}, 202)


async def _answer(running: SessionAccess, connection_id: int) -> Response:
    sdp = await running.answer(connection_id, hold_s=limits.ANSWER_HOLD_S)
    if sdp is None:
        return Response(status_code=202)
    return JSONResponse({"sdp_answer": sdp, "connection_id": connection_id})


def _candidates(running: SessionAccess, connection_id: int, body: CandidatesBody) -> Response:
    running.add_candidates(connection_id, [candidate.value() for candidate in body.candidates])
    return Response(status_code=202)


def _ice_server(server: IceServer) -> dict[str, Any]:
    shape: dict[str, Any] = {"uris": list(server.urls)}
    if server.username or server.password:
        shape["credentials"] = {"username": server.username, "password": server.password}
    return shape
