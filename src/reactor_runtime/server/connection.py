"""One HTTP/1.1 connection: uvicorn's, with the bounds that uvicorn and h11 leave to others.

    bytes ──▶ Line.data_received ──▶ a slice at a time ──▶ RequestParser (h11) ──▶ uvicorn ──▶ the application
                    │ waits when its address has had its share of the event loop

A body of one-byte chunks costs two hundred times what its bytes cost, so bytes are parsed in slices, small
pieces are counted, and what they cost is shared out by address, as are the requests themselves. Who has been
answered is not listened to any more: what is left of the body is read unparsed for a moment, so that the answer
arrives, then the line is cut.

A connection whose first byte begins an ICE frame is no request: from then on `webrtc.ice_tcp` has what it says.

What is overridden of uvicorn is its protocol's callbacks and the transport it is given. pyproject.toml has the
versions that this was tested with. Event loop only.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any, cast

import h11
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from .. import limits
from ..networks import share_of
from ..webrtc.ice_tcp import IceTcp, TcpStream, Wire
from .places import Account, Place, Places, Standing
from .replies import refusal
from .request_parser import RequestParser
from .socket import Socket

#: What a reserved place may ask for.
HEALTH_PATHS = frozenset({"/health", "/health/live"})
#: How a request for one of them begins.
_PROBES = tuple(f"GET {path}".encode() for path in sorted(HEALTH_PATHS))
#: Bytes that are parsed at one time.
SLICE_BYTES = 4 * limits.KIB
#: Small pieces parsed for one connection before others have their turn of the event loop.
TURN_PIECES = 128
#: What a request may always have parsed, whatever its address owes.
FREE_PIECES = 64


class Line(H11Protocol):
    """A connection, from accept to its end."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        places: Places,
        ice: IceTcp,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.conn = self._parser = RequestParser(self._began)
        self._places = places
        self._ice = ice
        self._ice_stream: TcpStream | None = None
        self._heard = False
        self._wire: _Wire | None = None
        self._unparsed = bytearray()
        self._spent = 0
        self._turn: asyncio.Handle | None = None
        self._pays: Account | None = None
        self._limited = False
        self._header_deadline: asyncio.TimerHandle | None = None
        self.address = ""

    # Places ------------------------------------------------------------------------------------------

    @property
    def standing(self) -> Standing:
        if self._ice_stream is not None:
            return Standing.ANSWERED if self._ice_stream.admitted else Standing.NEW
        if self.conn.our_state is h11.IDLE:
            return Standing.NEW if self.cycle is None else Standing.IDLE
        answering = self.cycle is not None and self.cycle.response_started
        return Standing.ANSWERED if answering or not self._owes_body else Standing.ASKING

    def evict(self) -> None:
        self.transport.abort()

    @property
    def _owes_body(self) -> bool:
        return self.conn.their_state is h11.SEND_BODY

    @property
    def unread(self) -> bool:
        """Whether more may come of a request that nobody will read."""
        broken = self._limited or self.conn.their_state is h11.ERROR
        return broken or self._owes_body or bool(self._unparsed)

    # What the transport tells --------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        wire = self._wire = _Wire(transport, self)
        super().connection_made(cast(asyncio.Transport, wire))
        self.address = share_of(str((transport.get_extra_info("peername") or ("",))[0]))
        match self._places.enter(self):
            case Place.RESERVED:
                self.app = cast(Any, _HealthOnly(self.config.loaded_app))
                self._ice = IceTcp()  # which lets nobody in
            case Place.NONE:
                transport.write(_plain(503, "Service Unavailable", "too many open connections"))
                transport.close()
                return
        self._watch()

    def data_received(self, data: bytes) -> None:
        assert self._wire is not None  # connection_made comes first
        if self._wire.leaving:
            self._wire.ignore(len(data))
            return
        if not self._heard and self._ice.looks_like_ice(data):
            self._ice_stream = TcpStream(self._ice, cast(Wire, self._wire), self._disarm)
        self._heard = True
        if self._ice_stream is not None:
            self._ice_stream.data_received(data)
            return
        self._unparsed += data
        if self._turn is None:
            self._parse()

    def connection_lost(self, exc: Exception | None) -> None:
        self._places.leave(self)
        self._disarm()
        self._unparsed.clear()
        if self._ice_stream is not None:
            self._ice_stream.lost()
        if self._turn is not None:
            self._turn.cancel()
        if self._wire is not None:
            self._wire.lost()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """The server ends."""
        if self._wire is not None and self._wire.leaving:
            self.transport.abort()
        else:
            super().shutdown()

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._wire is not None:
            self._wire.watch_writing()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._wire is not None:
            self._wire.unwatch_writing()

    # Parsing -----------------------------------------------------------------------------------------

    def _parse(self) -> None:
        """Parse what came, as far as its turn and its address's share go; the rest waits, and so does the client."""
        assert self._wire is not None
        self._turn = None
        work = self._places.accounts(self.address, self.loop.time()).work
        pieces = 0
        while self._unparsed and not self._wire.is_closing():
            if self._limited:
                return
            # What an address owes does not hold up a small request on another of its sockets.
            if self._spent >= FREE_PIECES and (wait_s := work.wait_s(self.loop.time())) > 0:
                self._wire.hold()
                self._turn = self.loop.call_later(wait_s, self._parse)
                return
            if pieces >= TURN_PIECES:
                self._wire.hold()
                self._turn = self.loop.call_soon(self._parse)
                return
            piece = bytes(self._unparsed[:SLICE_BYTES])
            del self._unparsed[:SLICE_BYTES]
            self._parser.small_pieces = 0
            super().data_received(piece)
            # A slice that is short costs what a whole one costs.
            cost = self._parser.small_pieces + (len(piece) < SLICE_BYTES)
            work.spend(cost, self.loop.time())
            pieces += cost
            self._spent += cost
        if not self._limited:
            self._wire.release()
            self._watch()

    # The rate of requests ----------------------------------------------------------------------------

    def handle_events(self) -> None:
        """Parse on, unless what comes next is a request that its address may not make."""
        if self.conn.our_state is h11.IDLE and not self._may_ask():
            self._limit()
        elif not self._limited:
            super().handle_events()

    def _may_ask(self) -> bool:
        now_s = self.loop.time()
        accounts = self._places.accounts(self.address, now_s)
        self._pays = accounts.requests
        if not self._pays.wait_s(now_s):
            return True
        waiting, _ = self.conn.trailing_data
        if waiting.startswith(_PROBES):
            self._pays = accounts.health
            return not self._pays.wait_s(now_s)
        # Nothing, or the beginning of what may be a probe.
        return any(probe.startswith(waiting) for probe in _PROBES)

    def _began(self) -> None:
        """A request's head was parsed, or what was to be one."""
        if self._pays is not None:
            self._pays.spend(1, self.loop.time())

    def _limit(self) -> None:
        """Refuse, after a pause in which nothing is read."""
        if self._limited or self._wire is None:
            return
        self._limited = True
        self._places.limited += 1
        self._wire.hold()
        self._disarm()
        if self._turn is not None:
            self._turn.cancel()
        self._turn = self.loop.call_later(limits.HTTP_LIMITED_PAUSE_S, self._say_limited)

    def _say_limited(self) -> None:
        text = f"too many requests of one address; {limits.HTTP_REQUESTS_PER_S:.0f} a second are answered"
        self.transport.write(_plain(429, "Too Many Requests", text, "Retry-After: 1"))
        self.transport.close()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """Become a WebSocket, which keeps this place and this transport; `_Wire` goes on watching over it."""
        head = [event.method, b" ", event.target, b" HTTP/1.1\r\n"]
        for name, value in self.headers:
            head += [name, b": ", value, b"\r\n"]
        head.append(b"\r\n")
        early = self._parser.trailing_data[0] + bytes(self._unparsed)
        self._unparsed.clear()
        self._disarm()
        self.connections.discard(self)
        socket = Socket(self.config, self.server_state, self.app_state, left=self._upgraded_left)
        socket.connection_made(self.transport)
        self.transport.set_protocol(socket)
        socket.data_received(b"".join(head))
        if early:
            socket.data_received(early)

    def _upgraded_left(self) -> None:
        self._places.leave(self)
        if self._wire is not None:
            self._wire.lost()

    def on_response_complete(self) -> None:
        self._spent = 0
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:
        self._began()
        if self.cycle is None or not self.cycle.response_started or self.cycle.response_complete:
            self.transport.write(_plain(400, "Bad Request", "not a valid HTTP request"))
        self.transport.close()

    def _watch(self) -> None:
        """Give a request's head a time to end in."""
        if self.conn.their_state is not h11.IDLE:
            self._disarm()
        elif self._header_deadline is None:
            self._header_deadline = self.loop.call_later(limits.HTTP_HEADER_S, self.transport.abort)

    def _disarm(self) -> None:
        if self._header_deadline is not None:
            self._header_deadline.cancel()
            self._header_deadline = None


class _Wire:
    """The transport as uvicorn sees it: it reads no faster than we parse, and is closed so that answers arrive.

    A socket that is closed with bytes unread is reset, and a reset may overtake the answer (RFC 9112 section
    9.6). So the write side is closed first, and reading goes on for a moment.
    """

    def __init__(self, transport: asyncio.Transport, line: Line) -> None:
        self._transport = transport
        self._line = line
        self._held = False
        self._wanted = True
        self._ignored = 0
        self._linger: asyncio.TimerHandle | None = None
        self._writing: asyncio.TimerHandle | None = None
        self._unsent = 0
        self.leaving = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def pause_reading(self) -> None:
        self._wanted = False
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        self._wanted = True
        if not self._held:
            self._transport.resume_reading()

    def hold(self) -> None:
        """Read no more until `release`, whatever uvicorn wants."""
        self._held = True
        self._transport.pause_reading()

    def release(self) -> None:
        self._held = False
        if self._wanted and not self._transport.is_closing():
            self._transport.resume_reading()

    def is_closing(self) -> bool:
        return self.leaving or self._transport.is_closing()

    def close(self) -> None:
        if self.is_closing():
            return
        if self._transport.get_write_buffer_size():
            self.watch_writing()
        if not self._line.unread or not self._transport.can_write_eof():
            self._transport.close()
            return
        self.leaving = True
        try:
            self._transport.write_eof()
        except OSError:  # the client reset it while it was not read from, so there is nobody to be polite to
            self._transport.abort()
            return
        self._transport.resume_reading()
        self._linger = self._line.loop.call_later(limits.HTTP_LINGER_S, self._transport.abort)

    def ignore(self, size: int) -> None:
        """Take bytes that nobody reads, up to a bound."""
        self._ignored += size
        if self._ignored > limits.HTTP_LINGER_BYTES:
            self._transport.pause_reading()

    def watch_writing(self) -> None:
        """Cut a client that does not take what it asked for."""
        if self._writing is None:
            self._unsent = self._transport.get_write_buffer_size()
            self._writing = self._line.loop.call_later(limits.HTTP_WRITE_S, self._look)

    def _look(self) -> None:
        self._writing = None
        if self._unsent - self._transport.get_write_buffer_size() < limits.HTTP_WRITE_MIN_BYTES:
            self._transport.abort()
        else:
            self.watch_writing()

    def unwatch_writing(self) -> None:
        if self._writing is not None and not self._transport.is_closing():
            self._writing.cancel()
            self._writing = None

    def lost(self) -> None:
        for timer in (self._linger, self._writing):
            if timer is not None:
                timer.cancel()


class _HealthOnly:
    """What a reserved place may ask for, so that probes are answered when nobody else is."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] in HEALTH_PATHS:
            await self._app(scope, receive, send)
        else:
            answer = refusal(
                503, "too many open connections", headers={"Connection": "close", "Retry-After": "1"}
            )
            await answer(scope, receive, send)


def _plain(status: int, phrase: str, detail: str, *headers: str) -> bytes:
    """An answer outside HTTP parsing, where there is no request to route. Pages of any origin may read it."""
    body = json.dumps({"detail": detail})
    lines = (
        f"HTTP/1.1 {status} {phrase}",
        "Content-Type: application/json",
        "Access-Control-Allow-Origin: *",
        *headers,
        f"Content-Length: {len(body)}",
        "Connection: close",
    )
    return ("\r\n".join(lines) + f"\r\n\r\n{body}").encode()
