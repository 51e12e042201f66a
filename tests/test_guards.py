"""The guards by themselves: the grant they make, and connections of a kind that they do not know."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from reactor_runtime.origins import Origins
from reactor_runtime.server.access import GRANT, Access
from reactor_runtime.server.doors import Doors
from reactor_runtime.server.guards import BelowPrefix, BodyLimit, HostGuard, OriginGuard
from reactor_runtime.server.refusals import Refusals
from reactor_runtime.server.token_guard import TokenGuard, TokenInPath
from reactor_runtime.session.audit import Silent
from reactor_runtime.session.grants import EVERYTHING, NOTHING, Grant
from reactor_runtime.tokens import Claims, Keys
from reactor_runtime.types import Role

SECRET = "a secret"
KEYS = Keys.parse([f"k:{'s' * 32}"])
NOW_S = 1_800_000_000.0
TICKET = KEYS.sign(Claims(Role.WATCH, NOW_S + 5, "j", sub="Ann"))


def guarded(
    app: ASGIApp, *, token: str = "", visitor: Role | None = None, keys: Keys | None = None
) -> ASGIApp:
    """The token guard of a server whose page has a file at /open."""
    doors = Doors(token.encode(), keys or Keys(()), visitor)
    return TokenGuard(
        app, doors=doors, access=Access(["/open"]), refusals=Refusals(Silent()), wall=lambda: NOW_S
    )


class App:
    def __init__(self) -> None:
        self.scopes: list[Scope] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)


GUARDS: dict[str, Callable[[ASGIApp], ASGIApp]] = {
    "prefix": lambda app: BelowPrefix(app, prefix=""),
    "origin": lambda app: OriginGuard(app, origins=Origins(set())),
    "host": lambda app: HostGuard(app, names=None),
    "path": TokenInPath,
    "token": guarded,
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
    return {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": b"",
        "headers": pairs,
        "client": ("203.0.113.7", 5),
    }


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
        "token": guarded(app, token=SECRET, keys=KEYS),
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
    await through(guarded(app, token=SECRET), websocket(**presented))
    assert [scope[GRANT].role for scope in app.scopes] == [Role.OPERATE]


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
    await through(guarded(app, token=token), scope)
    (seen,) = app.scopes
    assert seen[GRANT] == replace(grant, address="203.0.113.7")


async def test_a_client_cannot_bring_its_own_grant() -> None:
    app = App()
    scope = http("/open", **{GRANT: "everything"}) | {GRANT: EVERYTHING}
    await through(guarded(app, token=SECRET), scope)
    assert app.scopes[0][GRANT].rights == frozenset()


@pytest.mark.parametrize(
    ("visitor", "headers", "answered"),
    [
        (None, {}, 401),
        (None, {"authorization": "Bearer local"}, 401),
        (Role.WATCH, {}, Grant(Role.WATCH)),
        (Role.WATCH, {"authorization": "Bearer local"}, Grant(Role.WATCH)),
        (Role.WATCH, {"authorization": "Bearer wrong"}, 401),
        (Role.WATCH, {"authorization": f"Bearer {SECRET}"}, EVERYTHING),
        (None, {"authorization": f"Bearer {TICKET}"}, Grant(Role.WATCH, sub="Ann", jti="j", ends=NOW_S + 5)),
        (None, {"authorization": "Bearer wrong", "x-reactor-token": SECRET}, EVERYTHING),
    ],
)
async def test_what_is_shown_decides_and_what_is_shown_wrong_is_not_taken_for_nothing(
    visitor: Role | None, headers: dict[str, str], answered: Any
) -> None:
    app = App()
    sent = await through(guarded(app, token=SECRET, visitor=visitor, keys=KEYS), http(**headers))
    if isinstance(answered, int):
        assert sent[0]["status"] == answered
        assert app.scopes == []
    else:
        assert app.scopes[0][GRANT] == replace(answered, address="203.0.113.7")


async def test_a_visitor_without_a_token_is_asked_for_one_where_he_may_not_and_a_known_one_is_told() -> None:
    guard = guarded(App(), visitor=Role.WATCH, keys=KEYS)
    told = [
        await through(guard, http("/start_session", "POST", **headers))
        for headers in ({}, {"authorization": f"Bearer {TICKET}"})
    ]
    assert [sent[0]["status"] for sent in told] == [401, 403]
    assert b"this takes the role drive; yours: watch" in told[1][1]["body"]


@pytest.mark.parametrize(
    ("path", "seen", "token"),
    [
        ("/t/abc/session", "/session", b"abc"),
        ("/t/abc/", "/", b"abc"),
        ("/t/a.b-c_d/sessions/s/media", "/sessions/s/media", b"a.b-c_d"),
        ("/t/abc//session", "//session", b"abc"),
        ("/t/abc/t/def/session", "/t/def/session", b"abc"),
        ("/t/abc", "/t/abc", None),
        ("/t//session", "/t//session", None),
        ("/T/abc/session", "/T/abc/session", None),
    ],
)
async def test_a_token_in_the_path_is_taken_off_before_anybody_routes_by_it(
    path: str, seen: str, token: bytes | None
) -> None:
    app = App()
    await through(TokenInPath(app), http(path) | {"raw_path": path.encode()})
    (scope,) = app.scopes
    assert (scope["path"], scope["raw_path"]) == (seen, seen.encode())
    assert [value for value in scope.values() if value == b"abc"] == ([token] if token == b"abc" else [])


@pytest.mark.parametrize(
    ("path", "query", "served"),
    [
        ("/sessions/s/transport/webrtc/ice_servers", b"", True),
        ("/sessions/t/transport/webrtc/ice_servers", b"session_id=s", False),
        # A recording's id is none of a session.
        ("/clips/chunks/20261127-a/init.mp4", b"", True),
        ("/clips", b"start=0&session_id=20261127-a", True),
        ("/session", b"session_id=t", True),
    ],
)
async def test_a_token_for_one_session_is_judged_where_a_request_names_its_own(
    path: str, query: bytes, served: bool
) -> None:
    app = App()
    text = KEYS.sign(Claims(Role.DRIVE, NOW_S + 5, "j", sid="s"))
    scope = http(path, authorization=f"Bearer {text}") | {"query_string": query}
    sent = await through(guarded(app, keys=KEYS), scope)
    assert bool(app.scopes) is served
    assert served or (sent[0]["status"], b"another session" in sent[1]["body"]) == (403, True)
