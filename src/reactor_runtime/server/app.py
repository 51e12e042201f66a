"""The HTTP application: routes over a `Service`, every error an answer, the guards around it.

It keeps nothing of its own but the readers of the events and its name; made once per server, on its event loop.
"""

from __future__ import annotations

import secrets
import socket

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from .. import __version__
from ..config import ListenSettings
from ..origins import Origins, host_of
from ..session.audit import Audit, Silent
from ..session.service import Service
from . import (
    replies,
    routes_connect,
    routes_files,
    routes_line,
    routes_media,
    routes_operator,
    routes_page,
    routes_sessions,
    routes_tokens,
)
from .access import Access
from .author import is_author
from .connection import HEALTH_PATHS
from .doors import Doors
from .guards import (
    BelowPrefix,
    BodyLimit,
    HostGuard,
    OriginGuard,
    is_loopback,
)
from .places import Places
from .readers import Readers
from .refusals import Refusals
from .token_guard import TokenGuard, TokenInPath


def create_app(
    service: Service,
    settings: ListenSettings,
    *,
    audit: Audit | None = None,
    author_key: str = "",
) -> FastAPI:
    """Make the application for a server that listens on `settings.host`. Without an author's key it has no author."""
    app = FastAPI(
        title="Framehelm", version=__version__, docs_url=None, redoc_url=None, redirect_slashes=False
    )
    app.state.service = service
    app.state.event_readers = Readers()
    app.state.places = Places()
    app.state.audit = audit or Silent()
    refusals = app.state.refusals = Refusals(app.state.audit)
    app.state.instance = secrets.token_hex(8)
    app.state.author_key = author_key
    app.state.doors = Doors.of(settings)
    app.state.is_author = is_author
    files = routes_page.own_files()
    app.include_router(routes_sessions.router, responses=replies.REFUSALS)
    app.include_router(routes_connect.router, responses=replies.REFUSALS)
    app.include_router(routes_line.router, responses=replies.REFUSALS)
    app.include_router(routes_files.router, responses=replies.REFUSALS)
    app.include_router(routes_media.router)
    app.include_router(routes_tokens.router, responses=replies.REFUSALS)
    app.include_router(routes_operator.router, responses=replies.REFUSALS)
    routes_page.install(app, files, frame_ancestors=settings.frame_ancestors)
    replies.install(app)
    # The last added is the outermost.
    app.add_middleware(BodyLimit)
    # The page must load to ask for a token, and probes have none.
    app.add_middleware(
        TokenGuard,
        doors=app.state.doors,
        access=Access(files.keys()),
        refusals=refusals,
        still_counts=service.still_counts,
    )
    local = not is_loopback(settings.host)
    app.add_middleware(HostGuard, names=_names(settings), local=local, open_paths=HEALTH_PATHS)
    # Whoever comes as far as this may read the answer. With a token that is any origin: there are no cookies, so
    # an origin gains nothing by being trusted.
    app.add_middleware(
        CORSMiddleware,
        allow_origins=["*"],
        allow_methods=["*"],
        allow_headers=["*"],
        expose_headers=["Retry-After"],
    )
    if not settings.locked:
        app.add_middleware(OriginGuard, origins=Origins(settings.allow_origins))
    app.add_middleware(TokenInPath)
    app.add_middleware(BelowPrefix, prefix=settings.root_path)
    return app


def _names(settings: ListenSettings) -> frozenset[str] | None:
    """Return the host names to answer to; None for all."""
    if settings.locked:
        return None
    host = settings.host.lower()
    bound = f"[{host}]" if ":" in host and not host.startswith("[") else host
    allowed = {host_of(origin.lower()) for origin in settings.allow_origins}
    return frozenset({"localhost", "127.0.0.1", "[::1]", bound, socket.gethostname().lower()} | allowed)
