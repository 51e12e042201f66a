"""The tests of what decides run in virtual time; those of processes and of Ray do not, and say so by their loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import pytest
from support.virtual_time import VirtualTimeLoop

#: Modules whose tests have no socket, thread or process.
VIRTUAL = ("test_cluster_placement",)


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    virtual = item.module.__name__.rpartition(".")[2] in VIRTUAL  # type: ignore[attr-defined]
    return {"virtual": VirtualTimeLoop} if virtual else {"real": asyncio.new_event_loop}
