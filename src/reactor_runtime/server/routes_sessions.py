"""Sessions and signalling: start, stop, adopt, offer, answer, candidates.

Status codes are part of the contract: the JavaScript client takes exactly 201 from `connections` and exactly
202 from offers and candidates. The guards of a running session come before the body is looked at.
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Header, Query, Request
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse, Response

from .. import limits
from ..errors import OfferRejected, SessionRefused
from ..networks import share_of
from ..session.grants import Grant
from ..session.service import LEGACY_CONNECTION_ID, Service
from ..webrtc.peer import IceServer
from .access import GRANT
from .author import is_author
from .bodies import CandidatesBody, OfferBody, StartBody, StopBody, documented, json_body
from .places import Account, Accounts, Places
from .preferences import unless_left, waits

router: Final = APIRouter()

_P: Final = "/sessions/{session_id}/transport/webrtc"


# All of these are coroutines: what is not, FastAPI calls on a thread, which is slow to come back where threads encode.


async def service_of(request: Request) -> Service:
    """The service behind this application."""
    service: Service = request.app.state.service
    return service


async def running_session(session_id: str, service: Annotated[Service, Depends(service_of)]) -> str:
    """The session of the path, by its id. 400 when none runs, 404 when it is another."""
    await service.check(session_id)
    return session_id


async def granted(request: Request) -> Grant:
    """What the guard lets this request do, and who asks."""
    grant: Grant = request.scope[GRANT]
    return grant


async def may_offer(request: Request) -> None:
    """Count an offer of this address, before its body is read: a taken one costs a peer."""
    _spend(_accounts(request).offers, "offers")


async def may_register(asks: HTTPConnection) -> None:
    """Count a connection of this address: for those that never offer, the ones of others are forgotten as well."""
    _spend(_accounts(asks).registers, "connections")


def _accounts(asks: HTTPConnection) -> Accounts:
    places: Places = asks.app.state.places
    address = share_of(asks.client.host if asks.client else "")
    return places.accounts(address, asyncio.get_running_loop().time())


def _spend(account: Account, what: str) -> None:
    now_s = asyncio.get_running_loop().time()
    if account.wait_s(now_s):
        raise SessionRefused(f"too many {what} of one address", status=503, retry_after_s=1)
    account.spend(1, now_s)


async def asked_by_author(request: Request) -> bool:
    """Whether the model's author asks."""
    return is_author(request)


Asked = Annotated[Service, Depends(service_of)]
Running = Annotated[str, Depends(running_session)]
Granted = Annotated[Grant, Depends(granted)]
OfferIn = Annotated[OfferBody, Depends(json_body(OfferBody))]
MayOffer = Depends(may_offer)
MayName = Annotated[str | None, Query(max_length=64)]
Author = Annotated[bool, Depends(asked_by_author)]
CandidatesIn = Annotated[CandidatesBody, Depends(json_body(CandidatesBody))]


@router.post("/start_session", openapi_extra=documented(StartBody))
async def start_session(
    request: Request,
    service: Asked,
    grant: Granted,
    body: Annotated[StartBody, Depends(json_body(StartBody))],
    prefer: Annotated[list[str] | None, Header()] = None,
) -> JSONResponse:
    """Start a session and describe it. 409 while one runs, 503 while the model loads.

    With `Prefer: wait=SECONDS` it waits in the line of those who want a turn, and is refused only after that.
    """
    wait_s = waits(prefer or [])
    if not wait_s:
        return JSONResponse(await service.start(body.session_id, grant=grant))
    started = await unless_left(request, service.start(body.session_id, grant=grant, wait_s=wait_s))
    return JSONResponse(started, headers={"Preference-Applied": "wait"})


@router.get("/session")
async def session(service: Asked, grant: Granted, session_id: MayName = None) -> JSONResponse:
    """Describe the session that is named, 404 when it is over; without a name, that which this client started."""
    if session_id is None:
        return JSONResponse(await service.adopted(grant=grant))
    await service.check(session_id)
    return JSONResponse(await service.descriptor(session_id))


@router.post("/stop_session", response_class=Response, openapi_extra=documented(StopBody))
async def stop_session(
    service: Asked, grant: Granted, body: Annotated[StopBody, Depends(json_body(StopBody))]
) -> Response:
    """End the session that is named, else that which this client started. 409 when none runs."""
    await service.stop(body.session_id, moderate=body.moderate, reason=body.reason, grant=grant)
    return Response()


@router.get(_P + "/ice_servers")
async def ice_servers(service: Asked, running: Running) -> JSONResponse:
    """The STUN and TURN servers to gather candidates with."""
    return JSONResponse(
        {"ice_servers": [ice_server(server) for server in await service.ice_servers(running)]}
    )


@router.post(_P + "/connections", status_code=201, dependencies=[Depends(may_register)])
async def register(service: Asked, running: Running) -> JSONResponse:
    """Reserve a connection. 503 when the session has no room for another viewer."""
    made = await service.register(running)
    return JSONResponse({"connection_id": made.connection_id, "track_map": made.track_map}, 201)


@router.post(
    _P + "/connections/{connection_id}/sdp_params",
    status_code=202,
    openapi_extra=documented(OfferBody),
    dependencies=[MayOffer],
)
async def offer(
    connection_id: int, service: Asked, running: Running, grant: Granted, body: OfferIn, author: Author
) -> JSONResponse:
    """Hand over an offer; fetch its answer with GET."""
    return await _offer(service, running, connection_id, body, grant, author=author, replace=False)


@router.put(
    _P + "/connections/{connection_id}/sdp_params",
    status_code=202,
    openapi_extra=documented(OfferBody),
    dependencies=[MayOffer],
)
async def replace_offer(
    connection_id: int, service: Asked, running: Running, grant: Granted, body: OfferIn, author: Author
) -> JSONResponse:
    """Hand over the offer of a reconnect, or of a connection that never offered."""
    return await _offer(service, running, connection_id, body, grant, author=author, replace=True)


@router.get(_P + "/connections/{connection_id}/sdp_params")
async def answer(connection_id: int, service: Asked, running: Running) -> Response:
    """The answer, as soon as it exists; 202 if it takes longer than five seconds."""
    return await _answer(service, running, connection_id)


@router.post(
    _P + "/connections/{connection_id}/ice_candidates",
    status_code=202,
    response_class=Response,
    openapi_extra=documented(CandidatesBody),
)
async def candidates(connection_id: int, service: Asked, running: Running, body: CandidatesIn) -> Response:
    """Hand over ICE candidates, also before the offer."""
    return await _candidates(service, running, connection_id, body)


# JS 2.9.0 knows one connection per session and these routes only.


@router.post(
    _P + "/sdp_params", status_code=202, openapi_extra=documented(OfferBody), dependencies=[MayOffer]
)
async def legacy_offer(
    service: Asked, running: Running, grant: Granted, body: OfferIn, author: Author
) -> JSONResponse:
    """As `connections/1001/sdp_params`, with tracks that start active."""
    return await _offer(service, running, LEGACY_CONNECTION_ID, body, grant, author=author, replace=False)


@router.put(_P + "/sdp_params", status_code=202, openapi_extra=documented(OfferBody), dependencies=[MayOffer])
async def legacy_replace_offer(
    service: Asked, running: Running, grant: Granted, body: OfferIn, author: Author
) -> JSONResponse:
    """As `connections/1001/sdp_params`, with tracks that start active."""
    return await _offer(service, running, LEGACY_CONNECTION_ID, body, grant, author=author, replace=True)


@router.get(_P + "/sdp_params")
async def legacy_answer(service: Asked, running: Running) -> Response:
    """As `connections/1001/sdp_params`."""
    return await _answer(service, running, LEGACY_CONNECTION_ID)


@router.post(
    _P + "/ice_candidates", status_code=202, response_class=Response, openapi_extra=documented(CandidatesBody)
)
async def legacy_candidates(service: Asked, running: Running, body: CandidatesIn) -> Response:
    """As `connections/1001/ice_candidates`."""
    return await _candidates(service, running, LEGACY_CONNECTION_ID, body)


async def _offer(
    service: Service,
    session_id: str,
    connection_id: int,
    body: OfferBody,
    grant: Grant,
    *,
    author: bool,
    replace: bool,
) -> JSONResponse:
    # The cheap bound, before anything parses SDP; the engine's side counts candidates and sections.
    if len(body.sdp_offer.encode()) > limits.OFFER_MAX_BYTES:
        raise OfferRejected(f"an offer may have {limits.OFFER_MAX_BYTES} bytes")
    legacy = connection_id == LEGACY_CONNECTION_ID
    seat = await service.offer(
        session_id, connection_id, body.value(author=author), replace=replace, legacy=legacy, grant=grant
    )
    return JSONResponse({"connection_id": connection_id, **({"seat": seat} if seat else {})}, 202)


async def _answer(service: Service, session_id: str, connection_id: int) -> Response:
    sdp = await service.answer(session_id, connection_id, hold_s=limits.ANSWER_HOLD_S)
    if sdp is None:
        return Response(status_code=202)
    return JSONResponse({"sdp_answer": sdp, "connection_id": connection_id})


async def _candidates(
    service: Service, session_id: str, connection_id: int, body: CandidatesBody
) -> Response:
    await service.add_candidates(
        session_id, connection_id, [candidate.value() for candidate in body.candidates]
    )
    return Response(status_code=202)


def ice_server(server: IceServer) -> dict[str, Any]:
    """How a STUN or TURN server is told to clients."""
    shape: dict[str, Any] = {"uris": list(server.urls)}
    if server.username or server.password:
        shape["credentials"] = {"username": server.username, "password": server.password}
    return shape
