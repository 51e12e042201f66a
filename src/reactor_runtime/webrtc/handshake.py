"""The engine's part of an answer, which runs to its end whoever stops waiting for it.

An engine that is torn down in the middle of a negotiation leaves sockets behind. So the caller of `answer`
may give up or be cancelled, and `close` may come at any time: both leave the work alone, and `close` waits
for its end before it tears down. Event loop only; one per peer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from ..errors import PeerFailed

#: A call into an engine that takes longer means that it is stuck.
ENGINE_S = 5.0


class Handshake:
    def __init__(self) -> None:
        self._work: asyncio.Task[str] | None = None

    async def run(self, work: Coroutine[Any, Any, str]) -> str:
        """Return the answer that `work` makes. Raises PeerFailed if it takes too long."""
        task = self._work = asyncio.get_running_loop().create_task(work)
        done, _ = await asyncio.wait([task], timeout=ENGINE_S)
        if not done:
            raise PeerFailed(f"the WebRTC engine did not answer within {ENGINE_S:g} s")
        return await task

    async def settle(self) -> None:
        """Wait until no work is under way, and forget it with whatever its traceback holds on to."""
        work, self._work = self._work, None
        if work is None:
            return
        done, _ = await asyncio.wait([work], timeout=ENGINE_S)
        if not done:
            work.cancel()
            await asyncio.wait([work], timeout=ENGINE_S)
        if work.done() and not work.cancelled():
            work.exception()
