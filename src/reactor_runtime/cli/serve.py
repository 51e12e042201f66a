"""The life of a server under `reactor run`: start, ready, drain, stop.

The first Ctrl-C or SIGTERM drains: no new session starts, and the running one goes on until it ends or
`drain_s` is over. The second ends it at once; a third kills this process, and the model process dies
with it.
"""

from __future__ import annotations

import asyncio
import errno
import getpass
import logging
import os
import signal
import socket
import time
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Protocol

from ..config import ListenSettings, Settings
from ..errors import ReactorError, SettingError
from ..importing import importing
from ..progress import Progress
from ..types import JsonValue
from . import arenas
from .over_ssh import recipe
from .screen import FAILURE, Screen

log = logging.getLogger(__name__)

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Server(Protocol):
    """What the command line needs of a server."""

    @property
    def url(self) -> str: ...

    @property
    def author_url(self) -> str:
        """The same with what shows that its author opens it; as `url` where there is none."""

    async def start(self) -> None:
        """Bind the port and begin to load the model. Raises OSError when the port cannot be bound."""

    async def ready(self) -> None:
        """Wait until the model is loaded. Raises ManifestError, ModelDefinitionError or ModelFailed."""

    async def told(self) -> None:
        """Wait until whoever waited for the model could ask what became of it; not at all where nobody did."""

    async def drain_asked(self) -> None:
        """Wait until an operator wants the server to stop."""

    async def drain(self) -> None:
        """Refuse new sessions and wait until the running ones ended, `drain_s` at most."""

    async def close(self) -> None: ...


def serve(
    path: Path,
    args: dict[str, JsonValue],
    settings: Settings,
    notes: Sequence[str] = (),
    *,
    opens: str = "",
) -> int:
    """Serve the model of `path` until told to stop; return the exit status.

    `notes` are said first; `opens` is the page that people are sent to, where it is not the control page.
    """
    # The server takes half a second to import: mistakes in flags are told before.
    with importing():
        from ..server.runtime import Runtime

    arenas.keep_one()
    failed = asyncio.Event()
    with Screen(verbose=settings.verbose, log_format=settings.log_format) as screen:
        for note in notes:
            log.warning("%s", note)

        def report(progress: Progress) -> None:
            if progress.step != "draining":  # we asked for it, and have said so
                screen.show(progress)
            if progress.step == "failed":
                failed.set()

        async def main() -> int:
            return await live(Runtime(path, args, settings, report), screen, settings, failed, opens=opens)

        return asyncio.run(main())


async def live(
    server: Server, screen: Screen, settings: Settings, failed: asyncio.Event, *, opens: str = ""
) -> int:
    """Run `server` until it is told to stop or has failed for good; return the exit status."""
    loop = asyncio.get_running_loop()
    stop, force = asyncio.Event(), asyncio.Event()
    received = signal.SIGINT

    def on_signal(number: signal.Signals) -> None:
        nonlocal received
        received = number
        if not stop.is_set():
            stop.set()
            return
        force.set()
        for each in _STOP_SIGNALS:
            loop.remove_signal_handler(each)
            signal.signal(each, signal.SIG_DFL)

    for each in _STOP_SIGNALS:
        loop.add_signal_handler(each, on_signal, each)
    started_s = time.monotonic()
    try:
        try:
            await server.start()
        except OSError as error:
            raise bind_refused(error, settings) from error
        url, author_url = server.url + opens, server.url + opens if opens else server.author_url
        screen.listening(url, author_url)
        try:
            await _first(server.ready(), stop.wait())
        except ReactorError:
            await _first(server.told(), stop.wait())
            raise
        if not stop.is_set():
            screen.ready(url, author_url, took_s=time.monotonic() - started_s)
            if text := recipe(os.environ, server.url, getpass.getuser()):
                screen.say(text)
            await _first(stop.wait(), failed.wait(), server.drain_asked())
        if failed.is_set() and not stop.is_set():
            await _first(server.told(), stop.wait())
            return FAILURE
        screen.say(
            f"Draining: no new sessions; running ones have {settings.drain_s:g} s. Ctrl-C again stops now."
        )
        await _first(server.drain(), force.wait())
        if force.is_set():
            screen.say("Stopping now.")
            return 128 + received
        screen.say("Stopped.")
        return 0
    finally:
        await server.close()


def bind_refused(error: OSError, settings: ListenSettings) -> Exception:
    """Say in words why the port could not be bound; errors of another kind are returned as they are."""
    where = f"{settings.host}:{settings.port}"
    if isinstance(error, socket.gaierror):
        return SettingError(
            f"cannot listen on {where}: no such host.\n  Fix: use --host 127.0.0.1 or 0.0.0.0."
        )
    fixes = {
        errno.EADDRINUSE: f"stop the program that holds it, or use another: --port {settings.port + 1}",
        errno.EACCES: "ports below 1024 need privileges; use --port 8080",
        errno.EADDRNOTAVAIL: "this machine has no such address; use --host 127.0.0.1 or --host 0.0.0.0",
    }
    if error.errno not in fixes:
        return error
    return SettingError(f"cannot listen on {where}: {error.strerror or error}.\n  Fix: {fixes[error.errno]}.")


async def _first(*waits: Coroutine[object, object, object]) -> None:
    """Wait until one of these is done, cancel the others, and raise what it raised."""
    tasks = [asyncio.create_task(wait) for wait in waits]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
