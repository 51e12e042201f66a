"""uvicorn on a socket of ours: started and stopped by its owner, who alone has the signals.

The socket is bound before anything else, so that port 0 and "address in use" give a clear answer at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import Iterator
from typing import Final

import h11
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from .. import limits
from ..config import ListenSettings

#: Answers under way may end within this time once the server stops.
_GRACE_S: Final = 2


class HttpServer:
    """Serves one application. Belongs to one event loop."""

    def __init__(self, app: FastAPI, settings: ListenSettings) -> None:
        self._app = app
        self._host = settings.host
        self._port = settings.port
        self._socket: socket.socket | None = None
        self._server: _Server | None = None
        self._task: asyncio.Task[None] | None = None

    def bind(self) -> None:
        """Take the port, once. Raises OSError: in use, forbidden, or a host that is not this machine."""
        if self._socket is not None:
            return
        family, kind, protocol, _, address = socket.getaddrinfo(
            self._host, self._port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, kind, protocol)
        try:
            # A restart may have the port at once, with old connections still in TIME_WAIT.
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            bound.bind(address)
            # Listening here and not in uvicorn: with SO_REUSEADDR two may bind, only one may listen.
            bound.listen(limits.HTTP_SOCKETS)
        except OSError:
            bound.close()
            raise
        self._socket = bound
        self._port = bound.getsockname()[1]

    @property
    def port(self) -> int:
        """The port, the real one after `bind()`."""
        return self._port

    @property
    def url(self) -> str:
        """The address to open in a browser on this machine."""
        name = {"0.0.0.0": "127.0.0.1", "::": "localhost"}.get(self._host, self._host)  # noqa: S104
        return f"http://{f'[{name}]' if ':' in name else name}:{self._port}"

    async def start(self) -> None:
        """Take the port and serve; returns when requests are taken. Raises what `bind` raises."""
        self.bind()
        assert self._socket is not None  # bind() sets it or raises
        config = uvicorn.Config(
            self._app,
            http=_GuardedProtocol,
            ws="none",
            lifespan="off",
            access_log=False,
            log_config=None,
            # Its warnings are about what clients did, one line each: a flood of those would be a log storm.
            log_level="error",
            server_header=False,
            h11_max_incomplete_event_size=limits.HTTP_HEADER_MAX_BYTES,
            timeout_graceful_shutdown=_GRACE_S,
        )
        self._server = _Server(config)
        self._task = asyncio.create_task(self._server.serve(sockets=[self._socket]), name="http")
        listening = asyncio.create_task(self._server.listening.wait())
        await asyncio.wait({self._task, listening}, return_when=asyncio.FIRST_COMPLETED)
        if not listening.done():
            listening.cancel()
            await self._task

    async def close(self) -> None:
        """Take no more requests, let those under way end, then close. May be called twice.

        Streams of /events end when the service closes its journal, so close that first.
        """
        if self._server is not None:
            self._server.leave()
        if self._task is not None:
            await self._task
            self._task = None
        if self._socket is not None:
            self._socket.close()
            self._socket = None


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()
        self._leaving = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to whoever runs this process."""
        yield

    def leave(self) -> None:
        self.should_exit = True
        self._leaving.set()

    async def main_loop(self) -> None:
        """Keep the Date header fresh until told to leave, with one wake-up a second instead of ten."""
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await self._leaving.wait()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()


class _GuardedProtocol(H11Protocol):
    """uvicorn's HTTP/1.1 with what it lacks: a deadline for headers, a bound of sockets, errors as JSON."""

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > limits.HTTP_SOCKETS:
            transport.write(_plain(503, "Service Unavailable", "too many open connections"))
            transport.close()
            return
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        self.transport.write(_plain(400, "Bad Request", "not a valid HTTP request"))
        self.transport.close()

    def _watch(self) -> None:
        """Give headers, and a body that nobody reads any more, a time to end in."""
        owes_headers = self.conn.their_state is h11.IDLE
        owes_body = self.conn.their_state is h11.SEND_BODY and self.conn.our_state is h11.DONE
        if not (owes_headers or owes_body):
            self._disarm()
        elif self._deadline is None:
            self._deadline = self.loop.call_later(limits.HTTP_HEADER_S, self.transport.abort)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def _plain(status: int, phrase: str, detail: str) -> bytes:
    """An answer outside HTTP parsing, where there is no request to route."""
    body = json.dumps({"detail": detail})
    return (
        f"HTTP/1.1 {status} {phrase}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}"
    ).encode()
