"""The WebSocket of a viewer: `sessions/{id}/media`, where WebRTC does not get through.

A refusal is told by a close code, because pages cannot see the status of a handshake: 4000 and the status.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

from fastapi import APIRouter
from starlette.websockets import WebSocket, WebSocketDisconnect

from .. import limits
from ..errors import NotGranted, Refused, SessionRefused, Unauthorized
from ..session.service import Service, SocketOffer
from ..websocket.socket_link import PRIVATE, Closing
from .access import GRANT
from .routes_sessions import may_register
from .token_guard import SEAT_SUBPROTOCOL, SUBPROTOCOL

router: Final = APIRouter()

#: A close frame's reason: RFC 6455 section 5.5 leaves 125 bytes to a control frame, two of them for the code.
_REASON_BYTES: Final = 123


@router.websocket("/sessions/{session_id}/media")
async def media(websocket: WebSocket, session_id: str, codecs: str = "h264,vp8", watch: bool = False) -> None:
    """Be a viewer's link until either side closes it."""
    service: Service = websocket.app.state.service
    offered = SUBPROTOCOL in websocket.scope["subprotocols"]
    await websocket.accept(SUBPROTOCOL if offered else None)
    offer = SocketOffer(tuple(codecs.split(",")[:8]), seat=_seat(websocket), watch=watch)
    try:
        await may_register(websocket)
        outbound = service.media(session_id, _inbound(websocket), offer, grant=websocket.scope[GRANT])
        async with aclosing(outbound):
            async for message in outbound:
                async with asyncio.timeout(limits.SOCKET_WRITE_S):
                    await _send(websocket, message)
    except SessionRefused as error:
        await _close(websocket, error.status, error)
    except (NotGranted, Unauthorized) as error:
        websocket.app.state.refusals.note(error, websocket.scope[GRANT], session_id=session_id)
        await _close(websocket, 403 if isinstance(error, NotGranted) else 401, error)
    except Refused as error:
        await _close(websocket, 400, error)
    except (WebSocketDisconnect, TimeoutError):
        return  # it is gone, or takes nothing, not even a word why


def _seat(websocket: WebSocket) -> str | None:
    """The key of the driver's seat: beside the token, because an address is written down on its way."""
    spoken = (name for name in websocket.scope["subprotocols"] if name.startswith(SEAT_SUBPROTOCOL))
    found = next(spoken, None)
    return None if found is None else found.removeprefix(SEAT_SUBPROTOCOL)[:64]


async def _inbound(websocket: WebSocket) -> AsyncGenerator[str | bytes, None]:
    while (message := await websocket.receive())["type"] == "websocket.receive":
        text, data = message.get("text"), message.get("bytes")
        yield text if text is not None else data or b""


async def _send(websocket: WebSocket, message: str | bytes | Closing) -> None:
    if isinstance(message, Closing):
        await websocket.close(message.code, _reason(message.reason))
    elif isinstance(message, str):
        await websocket.send_text(message)
    else:
        await websocket.send_bytes(message)


async def _close(websocket: WebSocket, status: int, error: Refused) -> None:
    await websocket.close(PRIVATE + status, _reason(error.public()))


def _reason(text: str) -> str:
    return text.encode()[:_REASON_BYTES].decode(errors="ignore")
