"""The guards by themselves: the grant they make, and connections of a kind that they do not know."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Callable
from typing import Any

import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from reactor_runtime.origins import Origins
from reactor_runtime.server.guards import GRANT, BelowPrefix, BodyLimit, HostGuard, OriginGuard, TokenGuard
from reactor_runtime.session.grants import EVERYTHING, NOTHING

SECRET = "a secret"


class App:
    def __init__(self) -> None:
        self.scopes: list[Scope] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)


GUARDS: dict[str, Callable[[ASGIApp], ASGIApp]] = {
    "prefix": lambda app: BelowPrefix(app, prefix=""),
    "origin": lambda app: OriginGuard(app, origins=Origins(set())),
    "host": lambda app: HostGuard(app, names=None),
    "token": lambda app: TokenGuard(app, token="", open_paths=frozenset()),
    "body": BodyLimit,
}


async def nothing() -> Message:
    raise AssertionError("nobody reads here")


async def through(guard: ASGIApp, scope: Scope) -> list[Message]:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    await guard(scope, nothing, send)
    return sent


def http(path: str = "/session", method: str = "GET", **headers: str) -> dict[str, Any]:
    pairs = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    return {"type": "http", "method": method, "path": path, "query_string": b"", "headers": pairs}


def websocket(*, subprotocols: list[str] | None = None, **headers: str) -> dict[str, Any]:
    scope = http(**{name.replace("_", "-"): value for name, value in headers.items()})
    del scope["method"]
    return {**scope, "type": "websocket", "subprotocols": subprotocols or []}


@pytest.mark.parametrize("name", GUARDS)
async def test_a_websocket_whom_nothing_speaks_against_passes_each_guard(name: str) -> None:
    app = App()
    assert await through(GUARDS[name](app), websocket()) == []
    assert [scope["type"] for scope in app.scopes] == ["websocket"]


@pytest.mark.parametrize(
    ("guard", "scope", "status"),
    [
        ("origin", websocket(origin="https://evil.example", host="127.0.0.1:8080"), 403),
        ("origin", websocket(sec_fetch_site="cross-site", sec_fetch_mode="navigate"), 403),
        ("host", websocket(host="evil.example"), 421),
        ("host", websocket(host="a b"), 400),
        ("token", websocket(), 401),
        ("token", websocket(authorization="Bearer wrong"), 401),
        ("token", websocket(subprotocols=["reactor.token.d3Jvbmc"]), 401),
        ("token", websocket(subprotocols=["reactor.token.***", "reactor.token.é"]), 401),
    ],
)
async def test_a_websocket_is_judged_by_its_handshake_as_a_request_is(
    guard: str, scope: dict[str, Any], status: int
) -> None:
    app = App()
    guards: dict[str, ASGIApp] = {
        "origin": OriginGuard(app, origins=Origins(set())),
        "host": HostGuard(app, names=frozenset({"localhost"})),
        "token": TokenGuard(app, token=SECRET, open_paths=frozenset({"/session"})),
    }
    sent = await through(guards[guard], scope)
    assert sent[0]["type"] == "websocket.http.response.start"
    assert sent[0]["status"] == status
    assert app.scopes == []


@pytest.mark.parametrize(
    "presented",
    [
        {"authorization": f"Bearer {SECRET}"},
        {"x-reactor-token": SECRET},
        {
            "subprotocols": [
                "reactor.media.v1",
                "reactor.token." + urlsafe_b64encode(SECRET.encode()).decode(),
            ]
        },
        {"subprotocols": ["reactor.token." + urlsafe_b64encode(SECRET.encode()).decode().rstrip("=")]},
    ],
)
async def test_a_page_may_present_the_token_of_a_websocket_in_a_subprotocol(
    presented: dict[str, Any],
) -> None:
    app = App()
    await through(TokenGuard(app, token=SECRET, open_paths=frozenset()), websocket(**presented))
    assert [scope[GRANT] for scope in app.scopes] == [EVERYTHING]


@pytest.mark.parametrize("name", GUARDS)
async def test_no_guard_lets_through_what_it_does_not_know(name: str) -> None:
    app = App()
    with pytest.raises(RuntimeError, match="'webtransport'"):
        await through(GUARDS[name](app), {"type": "webtransport", "path": "/session", "headers": []})
    assert app.scopes == []


@pytest.mark.parametrize("name", GUARDS)
async def test_the_servers_own_start_and_stop_pass(name: str) -> None:
    app = App()
    await through(GUARDS[name](app), {"type": "lifespan"})
    assert [scope["type"] for scope in app.scopes] == ["lifespan"]


@pytest.mark.parametrize(
    ("token", "scope", "grant"),
    [
        ("", http(), EVERYTHING),
        ("secret", http(authorization="Bearer secret"), EVERYTHING),
        ("secret", http("/open"), NOTHING),
        ("secret", http("/open", authorization="Bearer secret"), EVERYTHING),
        ("secret", http("/sessions/s/uploads/u/k", "PUT"), NOTHING),
    ],
)
async def test_whoever_presents_the_token_is_granted_everything_and_an_open_path_nothing(
    token: str, scope: dict[str, Any], grant: Any
) -> None:
    app = App()
    await through(TokenGuard(app, token=token, open_paths=frozenset({"/open"})), scope)
    (seen,) = app.scopes
    assert seen[GRANT] == grant


async def test_a_client_cannot_bring_its_own_grant() -> None:
    app = App()
    scope = http("/open", **{GRANT: "everything"}) | {GRANT: EVERYTHING}
    await through(TokenGuard(app, token=SECRET, open_paths=frozenset({"/open"})), scope)
    assert app.scopes[0][GRANT] == NOTHING
