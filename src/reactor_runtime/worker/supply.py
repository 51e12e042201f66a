"""The weights of one runtime: fetched by the server before its model loads, handed over as folders.

The model process has no credentials and no network of its own to a store: it learns the folders when it is
told to load, and asks for any name that the manifest does not list. Belongs to the server's event loop; the
downloads run on worker threads and end with `close()`.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ..author.manifest import Manifest
from ..config import WeightSettings
from ..progress import Progress
from ..weights import resolve

if TYPE_CHECKING:
    from ..weights.pull import Registry
    from ..weights.transfer import Transfer

_T = TypeVar("_T")


class Supply:
    """Where a runtime's models get their weights. Opened at the first name that is not local."""

    def __init__(self, manifest_path: Path, args: Mapping[str, Any], settings: WeightSettings) -> None:
        self._manifest_path = manifest_path
        self._args = dict(args)
        self._settings = settings
        self._stop = threading.Event()
        self._registry: Registry | None = None
        self.folders: dict[str, Path] = {}

    async def fetch(self, report: Callable[[Progress], None]) -> None:
        """Fetch what the manifest lists for these args. Raises ManifestError and what the registry raises."""
        manifest = Manifest.read(self._manifest_path)
        report(Progress("loading", "loading the model", fields={"model": manifest.name}))
        listed = manifest.weights_for(self._args)
        if not listed:
            return
        loop = asyncio.get_running_loop()
        parts = {text.partition("@")[0]: part for part, text in enumerate(listed, 1)}

        def tell(transfer: Transfer) -> None:
            fields = {"part": parts.get(transfer.ref, 0), "parts": len(parts)}
            progress = Progress("weights", transfer.line(), transfer.fraction, fields)
            loop.call_soon_threadsafe(report, progress)

        self.folders = await self._on_thread(
            lambda: resolve.fetch_listed(
                listed, source=self._open(), beside=manifest.folder, report=tell, stop=self._stop
            )
        )

    async def pull(self, text: str) -> Path:
        """Fetch "name" or "name@version" for a model that asks. Raises what the registry raises."""
        return await self._on_thread(lambda: self.pull_blocking(text))

    def pull_blocking(self, text: str) -> Path:
        """As `pull`, on the calling thread; for a model in this process."""
        return self._open().pull(text, stop=self._stop).path

    def close(self) -> None:
        """Stop downloads and let others collect what was used. May be called twice."""
        self._stop.set()
        if self._registry is not None:
            self._registry.close()
            self._registry = None

    def _open(self) -> Registry:
        if self._registry is None:
            settings = self._settings
            self._registry = resolve.registry(address=settings.registry, cache=settings.cache)
        return self._registry

    async def _on_thread(self, work: Callable[[], _T]) -> _T:
        """Run a download; when its caller is cancelled it is stopped, and waited for."""
        task = asyncio.create_task(asyncio.to_thread(work))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            self._stop.set()
            await asyncio.gather(task, return_exceptions=True)
            raise
