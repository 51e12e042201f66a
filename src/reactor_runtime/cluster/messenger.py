"""How Placement and doors speak to a worker's server: HTTP, with a token made for each request.

Implements `worker_seat.Starter`. Needs httpx, which the extra `cluster` brings. Belongs to one event loop.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any

import httpx

from ..errors import SessionRefused
from ..session.grants import Grant
from ..types import JsonObject
from .limits import CONNECT_S, START_S
from .roster import Report
from .vouching import CLUSTER, vouch

#: No answer of a worker is waited for longer, but for those that stream.
_ANSWER_S = START_S - 1


class Messenger:
    def __init__(self, wall: Callable[[], float] = time.time) -> None:
        self._wall = wall
        # Workers are reached at their own addresses: no proxy of the environment stands between.
        self.http = httpx.AsyncClient(
            trust_env=False,
            verify=False,  # noqa: S501  # plain HTTP within the cluster: loading authorities takes 30 ms
            timeout=httpx.Timeout(_ANSWER_S, connect=CONNECT_S),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=256),
        )

        # What a client did not say is not said for it: it might get an answer that it cannot unpack.
        for name in ("accept", "accept-encoding", "user-agent"):
            del self.http.headers[name]

    def header(self, key: str, grant: Grant, session_id: str | None) -> str:
        """Return what a request to a worker shows in `Authorization`."""
        return f"Bearer {vouch(key, grant, session_id, self._wall())}"

    async def ask(
        self,
        method: str,
        at: JsonObject,
        path: str,
        *,
        grant: Grant = CLUSTER,
        session_id: str | None = None,
        body: JsonObject | None = None,
    ) -> Any:
        """Ask a worker at {url, key}; return its JSON. Raises SessionRefused: its own, or that it does not answer."""
        headers = {"Authorization": self.header(at["key"], grant, session_id), "User-Agent": grant.agent}
        if grant.address:
            headers["X-Forwarded-For"] = grant.address
        try:
            answer = await self.http.request(method, at["url"] + path, headers=headers, json=body)
        except httpx.HTTPError:
            raise unreachable() from None
        if answer.is_success:
            return answer.json() if answer.content else None
        raise _refused(answer)

    async def start(self, worker: Report, session_id: str, grant: Grant) -> JsonObject:
        at = {"url": worker.url, "key": worker.key}
        answer: JsonObject = await self.ask(
            "POST", at, "/start_session", grant=grant, session_id=session_id, body={"session_id": session_id}
        )
        return answer

    async def stop(self, worker: Report, session_id: str, reason: str) -> None:
        body = {"session_id": session_id, "reason": reason, "moderate": True}
        with contextlib.suppress(SessionRefused):
            await self.ask("POST", {"url": worker.url, "key": worker.key}, "/stop_session", body=body)

    async def close(self) -> None:
        await self.http.aclose()


def unreachable() -> SessionRefused:
    return SessionRefused("the worker of this session does not answer", status=503, retry_after_s=1)


def _refused(answer: httpx.Response) -> SessionRefused:
    try:
        said = answer.json()
        detail, code = str(said["detail"]), said.get("code")
    except (ValueError, KeyError):
        detail, code = "the worker refused", None
    retry = answer.headers.get("retry-after", "")
    return SessionRefused(
        detail, status=answer.status_code, code=code, retry_after_s=int(retry) if retry.isdecimal() else None
    )
