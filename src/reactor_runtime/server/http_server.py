"""uvicorn on a socket of ours: started and stopped by its owner, who alone has the signals.

The socket is bound before anything else, so that port 0 and "address in use" give a clear answer at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
from collections.abc import Iterator
from typing import Any, Final, cast

import uvicorn
from fastapi import FastAPI

from .. import limits
from ..config import ListenSettings
from ..webrtc.ice_tcp import IceTcp
from .connection import Line
from .places import Places
from .socket import Socket

#: Answers under way may end within this time once the server stops.
_GRACE_S: Final = 2
#: Connections accepted before others have their turn of the event loop, and those that may wait for it.
_ACCEPTS: Final = 32
_BACKLOG: Final = 1024


class HttpServer:
    """Serves one application, and hands whoever speaks ICE to `ice`. Belongs to one event loop."""

    def __init__(self, app: FastAPI, settings: ListenSettings, ice: IceTcp | None = None) -> None:
        self._app = app
        self._ice = ice or IceTcp()
        self._host = settings.host
        self._port = settings.port
        self.places: Places = app.state.places
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
            bound.listen(_BACKLOG)
            _notice_dead_peers(bound)
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
            http=cast(Any, functools.partial(Line, places=self.places, ice=self._ice)),
            ws=Socket,
            ws_max_size=limits.SOCKET_MESSAGE_MAX_BYTES,
            ws_ping_interval=limits.SOCKET_PING_S,
            ws_ping_timeout=limits.SOCKET_PING_S,
            ws_per_message_deflate=False,
            lifespan="off",
            access_log=False,
            log_config=None,
            # Its warnings are about what clients did, one line each: a flood of those would be a log storm.
            log_level="error",
            server_header=False,
            # asyncio accepts that many in one go, and listens with it too, which is put right below.
            backlog=_ACCEPTS,
            timeout_graceful_shutdown=_GRACE_S,
        )
        self._server = _Server(config)
        self._task = asyncio.create_task(self._server.serve(sockets=[self._socket]), name="http")
        listening = asyncio.create_task(self._server.listening.wait())
        await asyncio.wait({self._task, listening}, return_when=asyncio.FIRST_COMPLETED)
        if not listening.done():
            listening.cancel()
            await self._task
            return
        self._socket.listen(_BACKLOG)

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


def _notice_dead_peers(listening: socket.socket) -> None:
    """Let the kernel end connections whose other side is gone without a word. Accepted sockets inherit it."""
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, name):  # each is missing on some system
            listening.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, limits.HTTP_UNACKED_S * 1000)
