"""`Prefer: wait=SECONDS` of a request (RFC 7240, 4.3): how long it would wait, and no longer than its client does."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Coroutine, Sequence
from typing import Any, Final, TypeVar

from starlette.requests import ClientDisconnect, Request

from .. import limits

T = TypeVar("T")

_WAIT: Final = re.compile(r"\s*wait\s*=\s*\"?([0-9]{1,9})\"?\s*(?:;.*)?", re.I)


def waits(prefer: Sequence[str]) -> float:
    """Return how long these headers prefer to wait; 0 where they say nothing of it. The first counts."""
    for preference in ",".join(prefer).split(","):
        if (found := _WAIT.fullmatch(preference)) is not None:
            return min(float(found[1]), limits.START_WAITS_S)
    return 0.0


async def unless_left(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Return what `work` does; it is cancelled when the client leaves. The request's body has been read."""
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_left(request))
    try:
        await asyncio.wait([working, leaving], return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise ClientDisconnect
    finally:
        for task in (working, leaving):
            task.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
