"""The published Python client, `reactor-sdk` as released, with what it received kept for tests.

async with connected(server) as client:
    await client.frames(30)
    await client.send_command("paint", {"red": 200})
"""

from __future__ import annotations

import asyncio
import contextlib
import io
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import reactor_sdk
from PIL import Image
from reactor_sdk import Reactor, ReactorError

from reactor_runtime.types import Pixels

from .client_model import LEFT
from .server import ReactorRun


@dataclass(frozen=True, slots=True)
class Received:
    """One decoded picture and what its trailer said."""

    rgb: Pixels
    frame_id: int
    timestamp_us: int

    def colour(self, at: tuple[int, int]) -> tuple[int, int, int]:
        x, y = at
        red, green, blue = (int(level) for level in self.rgb[y, x])
        return red, green, blue


class Client:
    """A `Reactor` of the SDK and its record: pictures (the last 300), messages, errors, states."""

    def __init__(self, server: ReactorRun, **options: Any) -> None:
        self.sdk = Reactor("probe", api_url=server.url, local=True, **options)
        self.received: list[Received] = []
        self.messages: list[dict[str, Any]] = []
        self.notices: list[dict[str, Any]] = []
        self.errors: list[ReactorError] = []
        self.states: list[str] = []
        self.sdk.track("main_video").on_raw_frame(self._frame)
        self.sdk.on_message(self.messages.append)
        self.sdk.on("runtime_message", self.notices.append)
        self.sdk.on_error(self.errors.append)
        self.sdk.on_status(lambda status: self.states.append(status.value))

    @property
    def session_id(self) -> str:
        session_id = self.sdk.session_id
        assert session_id is not None
        return str(session_id)

    @property
    def status(self) -> str:
        return str(self.sdk.status.value)

    async def send_command(self, name: str, data: dict[str, Any] | None = None) -> dict[str, Any] | None:
        return await self.sdk.send_command(name, data or {})

    async def refused(self, name: str, data: dict[str, Any] | None = None) -> ReactorError:
        """Send a command that must fail; return what the SDK raises."""
        try:
            reply = await self.sdk.send_command(name, data or {})
        except ReactorError as error:
            return error
        raise AssertionError(f"{name} was answered with {reply}")

    async def until(self, condition: Callable[[], object], within_s: float = 10) -> None:
        async with asyncio.timeout(within_s):
            while not condition():  # any condition, not only one that sets an event
                await asyncio.sleep(0.01)

    async def frames(self, count: int, within_s: float = 15) -> list[Received]:
        """Wait for so many more pictures."""
        self.received.clear()
        await self.until(lambda: len(self.received) >= count, within_s)
        return list(self.received)

    async def red(self, low: int, high: int, at: tuple[int, int] = LEFT) -> None:
        """Wait until the picture's red at a point lies in a range."""
        await self.colour(lambda red, green, blue: low <= red <= high, at)

    async def colour(self, wanted: Callable[[int, int, int], bool], at: tuple[int, int]) -> None:
        """Wait until the picture's colour at a point is wanted."""
        await self.until(lambda: self.received and wanted(*self.received[-1].colour(at)))

    def _frame(self, bgra: bytes, width: int, height: int, frame_id: int, at_us: int, user: bytes) -> None:
        """The SDK's delivery thread."""
        pixels = np.frombuffer(bgra, np.uint8).reshape(height, width, 4)
        self.received.append(Received(pixels[..., 2::-1].copy(), frame_id, at_us))
        del self.received[:-300]


@asynccontextmanager
async def connected(
    server: ReactorRun, *, session_id: str | None = None, **options: Any
) -> AsyncIterator[Client]:
    """Connect as the creator of a session, or adopt a running one; disconnect and close at the end."""
    client = Client(server, **options)
    try:
        await client.sdk.connect(session_id=session_id)
        yield client
    finally:
        await client.sdk.disconnect()
        client.sdk.close()


def warm_up() -> None:
    """Start what the SDK keeps as long as the process: its threads and their sockets."""

    async def fail_to_connect() -> None:
        client = Reactor("probe", api_url="http://127.0.0.1:9", local=True)
        with contextlib.suppress(ReactorError):
            await client.connect()
        client.close()

    asyncio.run(fail_to_connect())


def png(colour: tuple[int, int, int]) -> bytes:
    """Encode a small picture of one colour."""
    file = io.BytesIO()
    Image.new("RGB", (64, 64), colour).save(file, "PNG")
    return file.getvalue()


VERSION = reactor_sdk.__version__
