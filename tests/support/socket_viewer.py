"""A viewer over the WebSocket: it decodes, acks and asks, or does any of that badly.

async with SocketViewer.joined(server.url) as viewer:
    await viewer.see(30)
    reply = await viewer.ask("paint", red=200)
"""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx
import numpy as np
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from reactor_runtime.encode.decode import Decoder
from reactor_runtime.types import Pixels
from reactor_runtime.websocket.header import SIZE, Header, Kind, ack, parse

WITHIN_S = 20.0


class SocketViewer:
    """`decodes` and `acks` may be put to False, before or while it runs."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.decodes = self.acks = True
        self.headers: list[Header] = []
        self.arrived_s: list[float] = []
        self.last: Pixels = np.zeros((0, 0, 3), np.uint8)
        self.said: list[tuple[str, dict[str, Any]]] = []
        self.asked_keyframes = 0
        self.closed: tuple[int, str] | None = None
        self._decoders: dict[int, Decoder] = {}
        self._replies: dict[str, asyncio.Future[Any]] = {}
        self._ids = itertools.count(1)
        self._reading = asyncio.create_task(self._read())

    @classmethod
    @asynccontextmanager
    async def joined(
        cls, url: str, *, session_id: str = "", resume: bool = True, **options: Any
    ) -> AsyncIterator[SocketViewer]:
        """Join the running session, or start one."""
        session_id = session_id or await session_of(url)
        async with opened(url, session_id, **options) as socket:
            viewer = cls(socket)
            try:
                if resume:
                    await viewer.notify("resume_track", "main_video")
                yield viewer
            finally:
                await viewer.leave()

    async def leave(self) -> None:
        await self.socket.close()
        await self._reading

    # What comes ---------------------------------------------------------------------------------------

    async def _read(self) -> None:
        try:
            async for message in self.socket:
                if isinstance(message, bytes):
                    await self._binary(message)
                else:
                    self._text(json.loads(message))
        except ConnectionClosed:
            pass
        self.closed = self.socket.close_code or 0, self.socket.close_reason or ""
        for reply in self._replies.values():
            if not reply.done():
                reply.set_exception(ConnectionError(str(self.closed)))

    async def _binary(self, message: bytes) -> None:
        header = parse(message)
        if header.kind is Kind.KEYFRAME:
            self.asked_keyframes += 1
            return
        if self.decodes:
            decoder = self._decoders.setdefault(header.track, Decoder(header.codec))
            for picture in decoder.decode(message[SIZE:]):
                self.last = picture
        self.headers.append(header)
        self.arrived_s.append(time.monotonic())
        if self.acks:
            with suppress(ConnectionClosed):
                await self.socket.send(ack(header.track, header.frame_id))

    def _text(self, envelope: dict[str, Any]) -> None:
        inner = envelope["data"] if "scope" in envelope else envelope
        kind = inner["type"] if "scope" in envelope else f"{envelope['method']}:{envelope['type']}"
        data = inner.get("data", inner.get("error", {}))
        self.said.append((kind if envelope.get("scope") != "application" else f"message:{kind}", data))
        reply = self._replies.get(data.get("request_id") or envelope.get("request_id", ""))
        if reply is not None and not reply.done():
            reply.set_result(data)

    # What it says -------------------------------------------------------------------------------------

    async def say(self, message: Mapping[str, Any]) -> None:
        await self.socket.send(json.dumps(message))

    async def notify(self, event: str, name: str) -> None:
        await self.say({"type": "notification", "event": event, "data": {"name": name}})

    async def ping(self) -> None:
        await self.say({"scope": "runtime", "data": {"type": "ping", "data": {}}})

    async def ask(self, command: str, **arguments: Any) -> Any:
        """Send a command and return its receipt."""
        request_id = f"data_{next(self._ids)}"
        self._replies[request_id] = asyncio.get_running_loop().create_future()
        data = {"type": command, "data": arguments, "request_id": request_id}
        await self.say({"scope": "application", "data": data})
        return await asyncio.wait_for(self._replies[request_id], WITHIN_S)

    async def request(self, method: str, **data: Any) -> Any:
        request_id = f"ctrl_{next(self._ids)}"
        self._replies[request_id] = asyncio.get_running_loop().create_future()
        await self.say({"type": "request", "method": method, "request_id": request_id, "data": data})
        return await asyncio.wait_for(self._replies[request_id], WITHIN_S)

    # Waiting ------------------------------------------------------------------------------------------

    @property
    def frames(self) -> int:
        return len(self.headers)

    async def see(self, frames: int) -> None:
        seen = self.frames
        await self.until(lambda: self.frames >= seen + frames)

    def told(self, kind: str) -> list[dict[str, Any]]:
        return [data for said, data in self.said if said == kind]

    async def until(self, condition: Callable[[], object], *, within_s: float = WITHIN_S) -> None:
        async with asyncio.timeout(within_s):
            while not condition():
                assert self.closed is None or condition(), f"closed: {self.closed}"
                await asyncio.sleep(0.005)

    async def until_closed(self, *, within_s: float = WITHIN_S) -> tuple[int, str]:
        async with asyncio.timeout(within_s):
            await asyncio.shield(self._reading)
        assert self.closed is not None
        return self.closed


async def session_of(url: str) -> str:
    """Return the running session's id; one is started if there is none."""
    async with httpx.AsyncClient(base_url=url, timeout=WITHIN_S) as http:
        answer = await http.post("/start_session", json={})
        if answer.status_code != 200:
            answer = await http.get("/session")
        return str(answer.json()["session_id"])


@asynccontextmanager
async def opened(
    url: str, session_id: str, *, codecs: str = "", **options: Any
) -> AsyncIterator[ClientConnection]:
    """Open the bare socket."""
    address = (
        url.replace("http", "ws", 1)
        + f"/sessions/{session_id}/media"
        + (f"?codecs={codecs}" if codecs else "")
    )
    options = {"compression": None, "max_size": 8 * 1024 * 1024, "proxy": None, **options}
    async with connect(address, **options) as socket:
        yield socket
