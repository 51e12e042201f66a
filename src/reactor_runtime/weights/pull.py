"""Bring one version from the registry into the cache: what `reactor weights pull` and every start do.

    pinned and cached      no request at all
    cached, not pinned     one short question for a newer version; without an answer the cached one is used
    damaged                the good files are kept, the damaged ones fetched again
    not there              locked, downloaded, verified, published

A Registry belongs to the process that serves or to the command line, never to the model process: it has
the credentials. Its methods block; threads may share it.
"""

from __future__ import annotations

import errno
import logging
import os
import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from .. import limits
from ..errors import ReactorError, StoreRefused, StoreUnreachable, WeightsCorrupt
from . import index, names
from .cache import Cache, Found
from .catalog import Chosen, choose
from .fetch import Order, Status, Stopped, fetch
from .locks import locked
from .names import Ref
from .partial import Partial, orphans, remove_orphan
from .patience import Patience
from .store import Store, default_address, open_store
from .store_errors import Unavailable
from .transfer import Phase, Rate, Transfer, TransferSink, ignore

logger = logging.getLogger(__name__)
_T = TypeVar("_T")
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@dataclass(frozen=True, slots=True)
class Pulled:
    """A complete local folder. `verified` false: the registry has no index that vouches for it.

    `received_bytes` came over the network; 0 when it was cached. `note` says what deserves attention, or "".
    """

    ref: Ref
    path: Path
    total_bytes: int
    received_bytes: int
    verified: bool
    note: str = ""


class Registry:
    """A registry's address and this machine's cache. Opens the store when it is first needed."""

    def __init__(
        self,
        address: str = "",
        *,
        cache: Cache | None = None,
        patience: Patience | None = None,
        environ: Mapping[str, str] | None = None,
        connections: int = limits.WEIGHTS_CONNECTIONS,
    ) -> None:
        self.address = address or default_address()
        self.cache = cache or Cache.default()
        self._patience = patience or Patience()
        self._environ = os.environ if environ is None else environ
        self._connections = connections
        self._opened: Store | None = None
        self._silent = ""
        self._held: dict[Path, int] = {}

    def close(self) -> None:
        """Let others collect the versions that this process used. May be called twice."""
        while self._held:
            os.close(self._held.popitem()[1])

    def pull(
        self, reference: str, *, report: TransferSink = ignore, stop: threading.Event | None = None
    ) -> Pulled:
        """Return the complete folder of "name" or "name@version", downloading what is missing.

        Raises WeightsMissing, WeightsCorrupt, StoreRefused, StoreUnreachable, DiskFull; Stopped when `stop` is set.
        """
        ref = names.parse(reference)
        stop = stop or threading.Event()
        cached = self._cached(ref)
        if cached is not None and ref.version is not None:
            return self._hit(cached, note="")
        try:
            chosen = self._choose(ref, hurry=cached is not None, stop=stop)
        except ReactorError as error:
            if cached is None or isinstance(error, WeightsCorrupt):
                raise
            note = (
                f"using {cached.receipt.name}@{cached.receipt.version} from the cache: {_first_line(error)}"
            )
            logger.warning("%s", note)
            return self._hit(cached, note=note)
        return self._ensure(ref, chosen, report, stop)

    def cached_folder(self, ref: Ref) -> Path | None:
        """Return the complete folder that the cache has for a reference, without asking the store."""
        found = self._cached(ref)
        return found.path if found else None

    def _cached(self, ref: Ref) -> Found | None:
        """Return a complete, undamaged version that the reference may stand for without asking the store."""
        version = ref.version or self.cache.recall(ref.name)
        found = self.cache.find(ref.name, version) if version else None
        return None if found is None or found.damaged else found

    def _hit(self, found: Found, *, note: str, received_bytes: int = 0) -> Pulled:
        receipt = found.receipt
        if found.path not in self._held:
            descriptor = self.cache.hold(receipt.name, receipt.version)
            if descriptor is not None:
                self._held[found.path] = descriptor
        if not receipt.verified and not note:
            note = f"{receipt.name} has no index in {receipt.registry}: only sizes and ETags were checked"
        ref = Ref(receipt.name, receipt.version)
        return Pulled(ref, found.path, receipt.total_bytes, received_bytes, receipt.verified, note)

    # What a reference stands for ------------------------------------------------------------------

    def _choose(self, ref: Ref, *, hurry: bool, stop: threading.Event) -> Chosen:
        if hurry:
            if self._silent:
                raise StoreUnreachable(self._silent)
            try:
                return _within(limits.WEIGHTS_NEWER_S, lambda: choose(self.store(), ref))
            except (Unavailable, StoreRefused) as error:
                # One question per start is enough to know.
                self._silent = (
                    _first_line(error) if isinstance(error, StoreRefused) else f"{self.address}: {error}"
                )
                raise StoreUnreachable(self._silent) from None
        return self.patiently(lambda: choose(self.store(), ref), stop)

    def patiently(self, request: Callable[[], _T], stop: threading.Event | None = None) -> _T:
        """Ask the store something small, again and again while it does not answer. Raises StoreUnreachable."""
        stop = stop or threading.Event()
        began_s, failures = time.monotonic(), 0
        while True:
            try:
                return request()
            except Unavailable as error:
                failures += 1
                waited_s = time.monotonic() - began_s
                if waited_s >= self._patience.give_up_s:
                    raise StoreUnreachable(
                        f"{self.address}: {error}, for {waited_s:.0f} s.\n"
                        "  Fix: look at REACTOR_REGISTRY and the network, and try again."
                    ) from None
                if stop.wait(self._patience.pause_s(failures, random.random)):
                    raise Stopped from None

    def store(self) -> Store:
        """Open the store once. Raises StoreRefused."""
        if self._opened is None:
            self._opened = open_store(self.address, patience=self._patience, environ=self._environ)
        return self._opened

    # Downloading -------------------------------------------------------------------------------------

    def _ensure(self, ref: Ref, chosen: Chosen, report: TransferSink, stop: threading.Event) -> Pulled:
        """Return the chosen version from the cache, or download it while others wait."""
        named = Ref(ref.name, chosen.version)

        def waiting() -> None:
            if stop.is_set():
                raise Stopped
            report(Transfer(ref.name, "waiting", 0, 0))

        found = self.cache.find(ref.name, chosen.version)
        received = 0
        if found is None or found.damaged:
            self.cache.require_writable()
            lock = self.cache.paths.lock(ref.name, chosen.version)
            with locked(lock, wait_s=limits.WEIGHTS_LOCK_S, waiting=waiting):
                found = self.cache.find(ref.name, chosen.version)
                if found is None or found.damaged:
                    found, received = self._download(named, chosen, found, report, stop)
        if ref.version is None:
            self.cache.remember(ref.name, found.receipt.version)
        return self._hit(found, note="", received_bytes=received)

    def _download(
        self, ref: Ref, chosen: Chosen, damaged: Found | None, report: TransferSink, stop: threading.Event
    ) -> tuple[Found, int]:
        cache, files = self.cache, chosen.files
        partial = Partial.create(cache.paths, ref.name, chosen.version)
        meter = _Meter(ref, sum(file.size for file in files), report)
        needed = 0

        def key_of(path: str) -> str:
            return names.file_key(ref.name, chosen.version, path)

        try:
            if damaged is None:
                partial.begin(files)
            else:
                cache.reopen(damaged, partial, files)
            needed = partial.missing_bytes(
                [file for file in files if not self._shared(key_of(file.path), partial)]
            )
            cache.require_space(needed)
            results = fetch(
                Order(
                    store=self.store(),
                    files=files,
                    partial=partial,
                    key_of=key_of,
                    report=meter,
                    damaged=lambda path: cache.quarantine(ref.name, chosen.version, partial.files, path),
                    stop=stop,
                    patience=self._patience,
                    connections=self._connections,
                )
            )
            # A plain folder may have changed meanwhile; then it is another version that arrived.
            version = index.plain_version(results) if names.is_plain(chosen.version) else chosen.version
            cache.publish(partial, ref.name, version, results, registry=self.address)
            partial.discard()
        except OSError as error:
            if error.errno not in _NO_SPACE:
                raise
            # What is there helps nobody on a full disk: give the space back.
            partial.discard()
            raise cache.disk_full(needed, cache.free_bytes()) from None
        finally:
            partial.close()
        self._tidy(ref)
        meter.done()
        found = cache.find(ref.name, version)
        if found is None:
            raise WeightsCorrupt(
                f"{ref} vanished from {cache.paths.root} while it was published.\n  Fix: try again."
            )
        return found, meter.received_bytes

    def _shared(self, key: str, partial: Partial) -> bool:
        """Tell whether a file will be linked, which takes no space."""
        source = self.store().read_only_file(key)
        return source is not None and source.stat().st_dev == partial.path.stat().st_dev

    def _tidy(self, ref: Ref) -> None:
        """Remove what earlier tries left of this version, and old rubbish."""
        for orphan in orphans(self.cache.paths):
            if names.partial_of(orphan.name) == (ref.name, ref.version):
                remove_orphan(orphan)
        self.cache.clear_rubbish()


class _Meter:
    """Turns a download's status into progress for people."""

    def __init__(self, ref: Ref, total_bytes: int, report: TransferSink) -> None:
        self._ref = ref
        self._total = total_bytes
        self._report = report
        self._rate = Rate()
        self.received_bytes = 0

    def __call__(self, status: Status) -> None:
        self.received_bytes = status.received_bytes
        rate = self._rate.mark(time.monotonic(), status.received_bytes)
        left_s = (self._total - status.done_bytes) / rate if rate else None
        arrived = status.done_bytes >= self._total
        phase: Phase = "retrying" if status.trouble else "verifying" if arrived else "downloading"
        self._report(
            Transfer(self._ref.name, phase, status.done_bytes, self._total, rate, left_s, status.trouble)
        )

    def done(self) -> None:
        self._report(Transfer(self._ref.name, "done", self._total, self._total))


def _within(limit_s: float, question: Callable[[], _T]) -> _T:
    """Run a question on a thread and wait no longer than this for its answer."""
    answers: list[_T] = []
    errors: list[BaseException] = []

    def ask() -> None:
        try:
            answers.append(question())
        except BaseException as error:  # raised again on the caller's thread
            errors.append(error)

    thread = threading.Thread(target=ask, name="weights-newer", daemon=True)
    thread.start()
    thread.join(limit_s)
    if errors:
        raise errors[0]
    if not answers:
        raise Unavailable(f"no answer within {limit_s:g} s")
    return answers[0]


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0]
