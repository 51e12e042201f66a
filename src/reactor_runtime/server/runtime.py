"""One runtime: its model slots behind an HTTP server. What `reactor run` starts and stops.

Everything is made here and handed down, so that this is the only place that knows all the parts.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ..author.manifest import Manifest, file_of
from ..config import Settings
from ..host import HostEvents, ModelHost
from ..progress import Progress
from ..session.audit import AuditLog, Silent
from ..session.sessions import Sessions
from ..session_log.logged_host import Described, LoggedHost, weights_of
from ..types import JsonValue
from ..webrtc.engines import open_engine
from ..webrtc.ice import parse_ice_server
from ..webrtc.reach import Reach, free_media_ports, parse_media_ports, parse_public_address
from ..weights import resolve
from ..worker import footprint
from ..worker.supply import Supply
from .app import create_app
from .author import is_private, own_key
from .http_server import HttpServer

log = logging.getLogger(__name__)

#: How often the memory of a model that loads is looked at.
MEASURE_S = 0.25


class Runtime:
    """Binds the port at once, loads the model beside it, serves until closed. Used on one event loop."""

    def __init__(
        self,
        manifest_path: Path,
        args: Mapping[str, JsonValue],
        settings: Settings,
        report: Callable[[Progress], None] = lambda progress: None,
    ) -> None:
        self._manifest_path = manifest_path
        self._args = dict(args)
        self._settings = settings
        self._reach = Reach(
            media_ports=parse_media_ports(settings.media_port),
            public=parse_public_address(settings.public_address),
        )
        self._audit = AuditLog(Path(settings.audit_log)) if settings.audit_log else Silent()
        self._engine = open_engine(settings.engine, self._reach)
        self._supply = Supply(manifest_path, self._args, settings)
        self.sessions = Sessions(self._make_host, self._engine, settings, report, audit=self._audit)
        self._author_key = own_key() if is_private(settings) else ""
        self._server: HttpServer | None = None
        self._loading: asyncio.Task[None] | None = None
        self._measuring: asyncio.Task[None] | None = None
        self._takes: footprint.Footprint | None = None
        self._probing: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """Where people open the page."""
        assert self._server is not None
        return self._server.url

    @property
    def author_url(self) -> str:
        """Where the model's author opens it; as `url` where strangers come as well."""
        return f"{self.url}/#author={self._author_key}" if self._author_key else self.url

    async def start(self) -> None:
        """Bind the port and begin to load the model. Raises OSError when the port cannot be bound."""
        if self._reach.media_ports is not None:
            free = free_media_ports(self._reach.media_ports)
            wanted = self._settings.viewers * self._settings.slot_count
            if free < wanted:
                log.warning(
                    "%d media ports are free, and each viewer takes one; %d viewers are admitted",
                    free,
                    wanted,
                )
        app = create_app(self.sessions, self._settings, audit=self._audit, author_key=self._author_key)
        server = HttpServer(app, self._settings, self._reach.tcp)
        await server.start()
        self._reach.listening(self._settings.host, server.port)
        self._server = server
        self._loading = asyncio.create_task(self.sessions.load(self._supply.fetch))
        self._measuring = asyncio.create_task(self._measure())
        servers = tuple(parse_ice_server(url) for url in self._settings.ice_servers)
        self._probing = asyncio.create_task(self._engine.probe(servers))

    async def ready(self) -> None:
        """Wait until the model is loaded. Raises ManifestError, ModelDefinitionError or ModelFailed."""
        assert self._loading is not None
        await asyncio.shield(self._loading)

    async def told(self) -> None:
        """Wait until whoever waited for the model could ask what became of it; not at all where nobody did."""
        await self.sessions.told()

    async def drain_asked(self) -> None:
        """Wait until an operator wants the server to stop."""
        await self.sessions.until_drain_asked()

    async def drain(self) -> None:
        """Refuse new sessions and wait until the running one ended, `drain_s` at most."""
        await self.sessions.drain()

    async def close(self) -> None:
        """End everything, the model process included. May be called twice."""
        loaded = self._measuring is not None and self._measuring.done()
        for task in (self._loading, self._measuring, self._probing):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        if loaded:
            await self._remember()
        await self.sessions.close()
        self._supply.close()
        if self._server is not None:
            await self._server.close()
        await self._engine.close()
        self._audit.close()

    async def _measure(self) -> None:
        """Remember what the first slot's model takes when it is loaded, for the doctor."""
        assert self._loading is not None
        before, peak_bytes = await asyncio.to_thread(footprint.gpus), 0
        while not self._loading.done():
            pid = self.sessions.slots[0].pid
            peak_bytes = max(peak_bytes, (footprint.held_bytes(pid) if pid is not None else None) or 0)
            await asyncio.wait([self._loading], timeout=MEASURE_S)
        await self._remember(peak_bytes=peak_bytes, before=before)

    async def _remember(self, *, peak_bytes: int = 0, before: Sequence[footprint.Gpu] = ()) -> None:
        pid, gpu = self.sessions.slots[0].pid, self._settings.gpu_of(0)
        if pid is None:
            return
        found = await asyncio.to_thread(footprint.measure, pid, peak_bytes=peak_bytes, before=before, gpu=gpu)
        if found is not None:
            self._takes = found if self._takes is None else self._takes.with_more(found)
            await asyncio.to_thread(footprint.remember, file_of(self._manifest_path), self._takes)

    def _make_host(self, events: HostEvents, slot: int) -> ModelHost:
        def make_bare(logged: HostEvents) -> ModelHost:
            return self._make_bare_host(logged, slot)

        return LoggedHost(events, make_bare, self._settings, self.sessions.logbook, self._describe, slot=slot)

    def _describe(self) -> Described:
        """Say what a session log has to know beyond what the model tells."""
        manifest = Manifest.read(self._manifest_path)
        weights = weights_of(manifest.weights_for(self._args), beside=manifest.folder)
        return Described(manifest.class_path, {**manifest.args, **self._args}, weights)

    def _make_bare_host(self, events: HostEvents, slot: int) -> ModelHost:
        # Both hosts are imported late: each brings what the other does not need.
        if self._settings.inline:
            from ..running.inline import InlineHost

            weights = resolve.Fetched(self._supply.folders, self._supply.pull_blocking)
            return InlineHost(events, self._manifest_path, self._args, self._settings, weights)
        from ..worker.parent import ProcessHost

        return ProcessHost(
            events,
            self._manifest_path,
            self._args,
            self._settings,
            self._supply,
            gpu=self._settings.gpu_of(slot),
        )
