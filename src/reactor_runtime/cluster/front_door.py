"""A front door: the page, the line and the API of a server, with a cluster behind it.

    guards.py, token_guard.py ─▶ connect.py, forward.py ─▶ the routes of a single server over service.py

It keeps nothing that another door does not find out as well, so there may be several, and any may go.
"""

from __future__ import annotations

import time
from typing import Final

from starlette.middleware import Middleware

from ..config import Settings
from ..server.app import create_app
from ..server.http_server import HttpServer
from .connect import Connect
from .desk import Desk
from .forward import Forward
from .messenger import Messenger
from .service import ClusterService
from .whereabouts import Whereabouts

#: Ports that are tried after the one that is asked for, where a door stands there already.
_PORTS: Final = 16


class FrontDoor:
    """On one event loop."""

    def __init__(self, desk: Desk, settings: Settings) -> None:
        self._desk = desk
        self._settings = settings
        self._messenger = Messenger()
        self._server: HttpServer | None = None

    @property
    def url(self) -> str:
        assert self._server is not None
        return self._server.url

    async def start(self) -> None:
        """Take the port, or the next one that is free, and serve. Raises OSError."""
        where = Whereabouts(self._desk.find, time.monotonic)
        service = ClusterService(self._desk, self._messenger, where)
        app = create_app(service, self._settings, audit=None)
        # The last is the innermost.
        app.user_middleware += [
            Middleware(Connect, desk=self._desk, messenger=self._messenger, whereabouts=where),
            Middleware(Forward, messenger=self._messenger, whereabouts=where),
        ]
        port = self._settings.port
        for number in range(port, port + _PORTS if port else port + 1):
            server = HttpServer(app, self._settings.model_copy(update={"port": number}))
            try:
                await server.start()
            except OSError:
                if number == port + _PORTS - 1 or not port:
                    raise
                continue
            self._server = server
            return

    async def close(self) -> None:
        """Take no more requests, let those under way end. May be called twice."""
        if self._server is not None:
            await self._server.close()
        await self._messenger.close()
