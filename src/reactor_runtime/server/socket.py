"""One WebSocket: uvicorn's, over `websockets` without I/O, with the bounds that both leave to others.

    bytes ─▶ Socket.data_received ─▶ a slice at a time ─▶ websockets ─▶ uvicorn ─▶ the application
                  │ waits when its sender is faster than SOCKET_FRAMES_PER_S

A line (`connection.py`) that is asked to upgrade becomes one: it keeps its place and its transport. A frame of six
bytes costs as much as one of sixty thousand, so frames are counted before they are read, and who sends too many is
read more slowly. No compression: pictures cannot be made smaller, and a small message may unpack to a large one.

What is overridden of uvicorn is its protocol's callbacks. pyproject.toml has the versions that this was tested with.
Event loop only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

from uvicorn.config import Config
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState
from websockets.frames import Frame

from .. import codes, limits
from ..session.rate import TokenBucket

#: Bytes that are parsed at one time: at most 170 frames.
SLICE_BYTES = 1024
#: The same where a large frame is under way, which costs little a byte.
LARGE_SLICE_BYTES = 64 * 1024


class Socket(WebSocketsSansIOProtocol):
    """From the upgrade to the end. `left` is called once, when the connection is lost."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        *,
        left: Callable[[], None],
    ) -> None:
        super().__init__(config, server_state, app_state)
        self._left = left
        self._unparsed = bytearray()
        self._frames = TokenBucket(limits.SOCKET_FRAMES_PER_S, limits.SOCKET_FRAMES_BURST)
        self._parsed = 0
        self._turn: asyncio.Handle | None = None
        self._held = False
        self._behind_s: float | None = None

    # What the transport tells --------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        self._unparsed += data
        if self._turn is None and self._wanted:
            self._parse()
        elif len(self._unparsed) > limits.SOCKET_MESSAGE_MAX_BYTES:
            self._hold()

    def connection_lost(self, exc: Exception | None) -> None:
        self._unparsed.clear()
        if self._turn is not None:
            self._turn.cancel()
        super().connection_lost(exc)
        self._left()

    def pause_writing(self) -> None:
        super().pause_writing()
        cast(Any, self.transport).watch_writing()

    def resume_writing(self) -> None:
        super().resume_writing()
        cast(Any, self.transport).unwatch_writing()

    # Parsing -------------------------------------------------------------------------------------------

    def _parse(self) -> None:
        """Parse what came, until the application has something to take or the sender has had its share."""
        self._turn = None
        while self._unparsed and self._wanted and not self.transport.is_closing():
            size = LARGE_SLICE_BYTES if self._in_large_frame() else SLICE_BYTES
            piece = bytes(self._unparsed[:size])
            del self._unparsed[:size]
            self._parsed = 0
            super().data_received(piece)
            cost = self._parsed + len(piece) / limits.SOCKET_COST_BYTES
            if not self._frames.take(self.loop.time(), cost):
                self._fall_behind(cost)
                return
        if self._unparsed:
            self._hold()
            return
        self._behind_s = None
        if self._held:
            self._held = False
            self._resume()

    def _fall_behind(self, cost: float) -> None:
        """Wait as long as what was parsed is worth. That is for a burst; who goes on so is closed."""
        now_s = self.loop.time()
        self._behind_s = self._behind_s or now_s
        if now_s - self._behind_s > limits.SOCKET_BEHIND_S:
            self._break_off(1008, codes.RATE_LIMITED)
            return
        self._hold()
        self._turn = self.loop.call_later(cost / limits.SOCKET_FRAMES_PER_S, self._parse)

    def _break_off(self, code: int, reason: str) -> None:
        self.frames = []
        self._unparsed.clear()
        self.conn.fail(code, reason)
        self.handle_parser_exception()

    @property
    def _wanted(self) -> bool:
        """Whether the application took all there was; what comes after its close is for uvicorn alone."""
        return self.queue.empty() or self.close_sent

    def _in_large_frame(self) -> bool:
        """Whether what comes next is the rest of one frame: the parser waits for more than it was given."""
        return len(self.conn.reader.buffer) >= SLICE_BYTES

    def _hold(self) -> None:
        if not self._held:
            self._held = True
            self.transport.pause_reading()

    def _resume(self) -> None:
        if not self.read_paused and not self.transport.is_closing():
            self.transport.resume_reading()

    async def receive(self) -> Any:
        message = await super().receive()
        if self._held:
            # uvicorn has just resumed reading, because its queue is empty.
            self.transport.pause_reading()
        if self._unparsed and self._turn is None:
            self._turn = self.loop.call_soon(self._parse)
        return message

    async def send(self, message: Any) -> None:
        if self.close_sent:  # it was broken off meanwhile
            raise ClientDisconnected
        await super().send(message)
        if message["type"] == "websocket.http.response.start":
            self.handshake_complete = True  # refused; uvicorn would take it for forgotten, and log an error

    # Counting ------------------------------------------------------------------------------------------

    def handle_events(self) -> None:
        self._parsed += len(self.conn.events)
        super().handle_events()

    def handle_cont(self, event: Frame) -> None:
        if len(self.frames) >= limits.SOCKET_FRAGMENTS:
            self._break_off(1009, "too many fragments")
            return
        super().handle_cont(event)
