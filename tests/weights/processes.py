"""Downloads in processes of their own, which tests kill. Started from a clean server process, so cheaply."""

from __future__ import annotations

import multiprocessing
import os
import random
from collections.abc import Mapping
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from pathlib import Path

from reactor_runtime.weights.cache import Cache
from reactor_runtime.weights.patience import Patience
from reactor_runtime.weights.pull import Registry
from reactor_runtime.weights.transfer import Transfer


def context() -> ForkServerContext:
    forkserver = multiprocessing.get_context("forkserver")
    forkserver.set_forkserver_preload([__name__])
    return forkserver


def pull_once(
    address: str, cache: Path, reference: str, environ: Mapping[str, str], talk: Connection | None
) -> None:
    """Pull; say on `talk` how far it is, and in the end what it cost."""
    random.seed(os.getpid())

    def report(progress: Transfer) -> None:
        if talk is not None:
            talk.send(("progress", progress.done_bytes))

    patience = Patience(connect_s=5, stall_s=5, give_up_s=60, backoff_first_s=0.01, backoff_max_s=0.1)
    registry = Registry(address, cache=Cache(cache), environ=environ, patience=patience)
    pulled = registry.pull(reference, report=report)
    registry.close()
    if talk is not None:
        talk.send(("done", pulled.received_bytes))
