"""Who may ask the HTTP surface, from where: origins, tokens, hosts, and the page's own policy."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from support.memory_runtime import SESSION, TOKEN, Live, P, all_routes, serving

from reactor_runtime.config import Settings
from reactor_runtime.server.app import create_app


@pytest.fixture
async def live() -> AsyncIterator[Live]:
    async with serving() as it:
        yield it


@pytest.fixture
async def started(live: Live) -> Live:
    assert (await live.call("POST", "/start_session", json={})).status_code == 200
    return live


# Browsers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/start_session", P + "/connections", "/session", "/anything"])
async def test_a_preflight_of_any_origin_is_200_and_allows_what_it_asks(path: str) -> None:
    wanted = (
        "authorization, content-type, reactor-api-version, reactor-api-accept-version, reactor-webrtc-version"
    )
    async with serving(token=TOKEN) as live:
        response = await live.call(
            "OPTIONS",
            path,
            headers={
                "Origin": "https://app.example",
                "Access-Control-Request-Method": "PUT",
                "Access-Control-Request-Headers": wanted,
            },
        )
    assert response.status_code == 200
    assert response.headers["access-control-allow-origin"] == "*"
    assert response.headers["access-control-allow-headers"] == wanted
    for method in ("GET", "POST", "PUT"):
        assert method in response.headers["access-control-allow-methods"]


async def test_refusals_and_failures_can_be_read_across_origins(live: Live) -> None:
    origin = {"Origin": "https://app.example"}
    refused = await live.call("GET", P + "/ice_servers", headers=origin)
    assert refused.headers["access-control-allow-origin"] == "*"
    live.service.failure = RuntimeError("/home/someone/secret.py, token abc")
    failed = await live.call("GET", "/session", headers=origin)
    assert (failed.status_code, failed.json()) == (
        500,
        {"detail": "internal error", "code": "internal_error"},
    )
    assert failed.headers["access-control-allow-origin"] == "*"


async def test_the_page_and_its_files_are_served_with_types_and_a_strict_policy(live: Live) -> None:
    page = await live.call("GET", "/")
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert page.headers["cache-control"] == "no-cache"
    script = await live.call("GET", "/server.js")
    assert script.headers["content-type"] == "text/javascript; charset=utf-8"
    fresh = await live.call("GET", "/server.js", headers={"If-None-Match": script.headers["etag"]})
    assert (fresh.status_code, fresh.content) == (304, b"")


@pytest.mark.parametrize(
    "path",
    [
        "/../app.py",
        "/%2e%2e/app.py",
        "/..%2fapp.py",
        "//index.html",
        "/page/index.html",
        "/index.html/",
        "/.git",
    ],
)
async def test_no_path_leads_out_of_the_page(live: Live, path: str) -> None:
    answer = await live.raw(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 404 ")


async def test_the_http_api_describes_itself(live: Live) -> None:
    document = (await live.call("GET", "/openapi.json")).json()
    path = "/sessions/{session_id}/transport/webrtc/connections/{connection_id}/sdp_params"
    schema = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert "sdp_offer" in schema["properties"]
    assert "/" not in document["paths"]


# Access --------------------------------------------------------------------------------------------

OPEN = "needs no token"
SECRET = "needs the token"
KEYED = "needs the key in its own path"

#: Every route. A new one has to be entered here, with what it demands.
ACCESS = {
    "POST /start_session": SECRET,
    "GET /session": SECRET,
    "POST /stop_session": SECRET,
    "GET /sessions/{session_id}/transport/webrtc/ice_servers": SECRET,
    "POST /sessions/{session_id}/transport/webrtc/connections": SECRET,
    "POST /sessions/{session_id}/transport/webrtc/connections/{connection_id}/sdp_params": SECRET,
    "PUT /sessions/{session_id}/transport/webrtc/connections/{connection_id}/sdp_params": SECRET,
    "GET /sessions/{session_id}/transport/webrtc/connections/{connection_id}/sdp_params": SECRET,
    "POST /sessions/{session_id}/transport/webrtc/connections/{connection_id}/ice_candidates": SECRET,
    "POST /sessions/{session_id}/transport/webrtc/sdp_params": SECRET,
    "PUT /sessions/{session_id}/transport/webrtc/sdp_params": SECRET,
    "GET /sessions/{session_id}/transport/webrtc/sdp_params": SECRET,
    "POST /sessions/{session_id}/transport/webrtc/ice_candidates": SECRET,
    "POST /sessions/{session_id}/uploads": SECRET,
    "PUT /sessions/{session_id}/uploads/{upload_id}/{key}": KEYED,
    "GET /sessions/{session_id}/log/{key}": SECRET,
    "GET /clips": SECRET,
    "GET /clips/chunks/{recording}/{file}": SECRET,
    "GET /schema": SECRET,
    "GET /health": OPEN,
    "GET /health/live": OPEN,
    "GET /metrics": SECRET,
    "GET /events": SECRET,
    "GET /openapi.json": SECRET,
    "HEAD /openapi.json": SECRET,
}


async def test_every_route_has_a_rule_and_keeps_it() -> None:
    async with serving(token=TOKEN) as live:
        app = create_app(live.service, Settings.load({"token": TOKEN}, {}))
        seen = set()
        for route in all_routes(app.routes):
            for method in route.methods or ():
                rule = f"{method} {route.path}"
                page = route.path == "/" or route.path.rsplit(".", 1)[-1] in (
                    "html",
                    "js",
                    "css",
                    "svg",
                    "png",
                )
                access = OPEN if page and method in ("GET", "HEAD") else ACCESS[rule]
                seen.add(rule)
                path = route.path.format(
                    session_id=SESSION, connection_id=1002, recording="r", file="f", upload_id="u", key="k"
                )
                response = await live.call(method, path)
                if access is SECRET:
                    assert response.status_code == 401, rule
                    assert response.headers["www-authenticate"] == "Bearer"
                else:
                    assert response.status_code != 401, rule
                if access is KEYED:
                    assert response.status_code in (400, 404), rule
        assert seen >= ACCESS.keys(), "a route in the table is gone"


CREDENTIALS: list[tuple[dict[str, str], str, int]] = [
    ({}, "", 401),
    ({"Authorization": f"Bearer {TOKEN}"}, "", 200),
    ({"Authorization": f"bearer {TOKEN}"}, "", 200),
    ({"Authorization": TOKEN}, "", 401),
    ({"Authorization": f"Basic {TOKEN}"}, "", 401),
    ({"Authorization": "Bearer local"}, "", 401),
    ({"Authorization": "Bearer"}, "", 401),
    ({"Authorization": f"Bearer {TOKEN}x"}, "", 401),
    ({"Authorization": f"Bearer {TOKEN[:-1]}"}, "", 401),
    ({}, f"?token={TOKEN.replace(' ', '%20')}", 200),
    ({}, f"?token={TOKEN.replace(' ', '+')}", 200),
    ({"Authorization": "Bearer local"}, f"?token={TOKEN.replace(' ', '+')}", 200),
    ({}, "?token=", 401),
    ({}, "?token=wrong", 401),
    ({}, f"?token=wrong&token={TOKEN.replace(' ', '+')}", 401),
    ({}, f"?Token={TOKEN.replace(' ', '+')}", 401),
    ({}, "?token=%ff%fe&" + "&".join("abcdef"), 401),
]


async def test_the_token_is_taken_from_the_header_or_the_query() -> None:
    async with serving(token=TOKEN) as live:
        for headers, query, status in CREDENTIALS:
            response = await live.client.get(f"{live.server.url}/session{query}", headers=headers)
            assert response.status_code == status, (headers, query)


SPELLINGS = [
    "//session",
    "/session/",
    "/./session",
    "/%73ession",
    "/SESSION",
    "/session.",
    "/health/../session",
    "/health%2f..%2fsession",
    "/health;/session",
    "/%2fsession",
    "/sessions/a/uploads/b%2f..%2f../session",
]


async def test_no_spelling_of_a_path_gets_around_the_token() -> None:
    async with serving(token=TOKEN) as live:
        for path in SPELLINGS:
            for method in ("GET", "PUT", "POST", "HEAD", "TRACE"):
                request = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
                answer = await live.raw(request.encode())
                assert answer.startswith(b"HTTP/1.1 401 "), (method, path, answer)


async def test_the_word_local_that_clients_send_means_nothing_without_a_token(live: Live) -> None:
    response = await live.call("GET", "/session", headers={"Authorization": "Bearer local"})
    assert response.status_code == 200


async def test_version_headers_of_the_clients_are_tolerated(live: Live) -> None:
    headers = {
        "Reactor-API-Version": "9",
        "Reactor-API-Accept-Version": "1",
        "Reactor-WebRTC-Version": "1.0",
    }
    assert (await live.call("GET", "/session", headers=headers)).status_code == 200


HOSTS = [
    ("localhost", 200),
    ("localhost:5173", 200),
    ("LOCALHOST", 200),
    ("127.0.0.1:8080", 200),
    ("[::1]:8080", 200),
    ("attacker.example", 421),
    ("attacker.example:8080", 421),
    ("localhost.attacker.example", 421),
    ("127.0.0.1.attacker.example", 421),
    ("192.168.1.5", 421),
    ("localhost@attacker.example", 400),
    ("a b", 400),
    ("[::1", 400),
    ("", 400),
]


async def test_a_loopback_server_answers_to_local_names_only(live: Live) -> None:
    for host, status in HOSTS:
        answer = await live.raw(
            f"GET /session HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()
        )
        assert answer.startswith(f"HTTP/1.1 {status} ".encode()), host
        assert (b"session_id" in answer) == (status == 200), host


async def test_with_a_token_any_host_name_is_answered() -> None:
    async with serving(token=TOKEN) as live:
        headers = {"Host": "gpu.example", "Authorization": f"Bearer {TOKEN}"}
        assert (await live.call("GET", "/session", headers=headers)).status_code == 200
