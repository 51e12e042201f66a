"""Every test here runs in virtual time, and leaves no task behind."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from support.house import House
from support.virtual_time import VirtualTimeLoop


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"virtual": VirtualTimeLoop}


@pytest.fixture(autouse=True)
def leaves_nothing_behind() -> None:
    """In place of the one for threads, sockets and processes, which no test here can start."""


@pytest.fixture
async def house() -> Any:
    """A server with everything but a network, a model and an encoder, its model loaded."""
    async with House.opened() as house:
        yield house


@pytest.fixture
async def shared() -> Any:
    """The same, and everybody drives."""
    async with House.opened(join="drive") as house:
        yield house
