"""Who may ask the HTTP surface, from where: origins, tokens, hosts, and the page's own policy."""

from __future__ import annotations

import gzip
import importlib
import json
import re
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from fastapi import FastAPI, Request
from support.memory_runtime import SESSION, TOKEN, WEBSOCKETS, Live, P, all_routes, serving

from reactor_runtime.config import Settings
from reactor_runtime.errors import SessionRefused, SettingError
from reactor_runtime.server import routes_page
from reactor_runtime.server.access import RULES
from reactor_runtime.server.app import create_app
from reactor_runtime.server.author import is_author, is_private, own_key


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
    origin = {"Origin": "http://localhost:5173"}
    refused = await live.call("GET", P + "/ice_servers", headers=origin)
    assert refused.headers["access-control-allow-origin"] == "*"
    live.service.failure = RuntimeError("/home/someone/secret.py, token abc")
    failed = await live.call("GET", "/session", headers=origin)
    assert (failed.status_code, failed.json()) == (
        500,
        {"detail": "internal error", "code": "internal_error"},
    )
    assert failed.headers["access-control-allow-origin"] == "*"


PAGES = [
    ("http://localhost:5173", True),
    ("http://localhost", True),
    ("https://127.0.0.1:8443", True),
    ("http://127.8.9.10:1", True),
    ("http://[::1]:3000", True),
    ("https://app.example", False),
    ("http://localhost.app.example", False),
    ("http://127.0.0.1.app.example", False),
    ("http://localhost@app.example", False),
    ("http://192.168.1.5", False),
    ("http://[::ffff:7f00:1]x", False),
    ("null", False),
    ("chrome-extension://abcdef", False),
    ("file://", False),
    ("garbage", False),
    ("http://localhost http://app.example", False),
]
ASKED = [
    ("GET", "/"),
    ("GET", "/session"),
    ("GET", "/health"),
    ("GET", "/events"),
    ("GET", "/clips?start=0&end=1"),
    ("GET", f"/sessions/{SESSION}/log/key"),
    ("POST", "/start_session"),
    ("PUT", f"/sessions/{SESSION}/uploads/a/b"),
    ("POST", P + "/connections"),
    ("OPTIONS", "/start_session"),
]


@pytest.mark.parametrize(("origin", "may"), PAGES)
async def test_without_a_token_only_pages_of_this_machine_are_answered(
    live: Live, origin: str, *, may: bool
) -> None:
    for method, path in ASKED:
        headers = {"Origin": origin}
        if method == "OPTIONS":
            headers |= {
                "Access-Control-Request-Method": "POST",
                "Access-Control-Request-Headers": "content-type",
            }
        async with live.client.stream(method, path, headers=headers) as answer:
            assert (answer.status_code != 403) is may, (method, path)
            assert (answer.headers.get("access-control-allow-origin") == "*") is may, (method, path)
    assert live.service.lifecycle.running is may


QUIET = [
    # Sec-Fetch-Site, Sec-Fetch-Mode, Referer: a browser that sends no Origin.
    ("same-origin", "cors", "", True),
    ("none", "navigate", "", True),
    ("cross-site", "navigate", "https://mail.example/", True),
    ("cross-site", "no-cors", "https://app.example/page", False),
    ("cross-site", "no-cors", "", False),
    ("same-site", "no-cors", "", False),
    ("same-site", "no-cors", "http://localhost:3000/watch?x=1", True),
    ("cross-site", "no-cors", "http://localhost:3000@app.example/", False),
    ("cross-site", "no-cors", "https://app.example/http://localhost/", False),
]


@pytest.mark.parametrize(("site", "mode", "referer", "may"), QUIET)
async def test_a_page_that_embeds_without_an_origin_is_told_by_what_its_browser_says(
    live: Live, site: str, mode: str, referer: str, *, may: bool
) -> None:
    headers = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": mode, "Referer": referer}
    assert ((await live.call("GET", "/session", headers=headers)).status_code != 403) is may


async def test_an_allowed_origin_may_ask_and_its_host_name_is_answered(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def told() -> list[str]:
        """What the server said; the client of this test may log its requests too."""
        return [record.getMessage() for record in caplog.records if record.name != "httpx"]

    async with serving(allow_origins=("https://App.example:443/", "null")) as live:
        for origin in ("https://app.example", "null"):
            assert (await live.call("POST", "/anything", headers={"Origin": origin})).status_code == 404
        assert (await live.call("GET", "/session", headers={"Host": "app.example"})).status_code == 200
        assert told() == []
        for _ in range(3):
            refused = await live.call("GET", "/session", headers={"Origin": "https://other.example"})
            assert "--allow-origin" in refused.json()["detail"]
    assert [line.count("https://other.example") for line in told()] == [2]


async def test_a_public_server_without_a_token_answers_its_own_page() -> None:
    async with serving(allow_public=True, host="0.0.0.0") as live:
        for host, origin, status in (
            ("gpu.lan:8080", "http://gpu.lan:8080", 200),
            ("gpu.lan", "https://gpu.lan", 200),
            ("gpu.lan:8080", "http://gpu.lan:8081", 403),
            ("gpu.lan", "https://app.example", 403),
        ):
            headers = {"Host": host, "Origin": origin}
            assert (await live.call("GET", "/session", headers=headers)).status_code == status, (host, origin)


@pytest.mark.parametrize("token", ["", TOKEN])
async def test_private_network_access_is_never_granted(token: str) -> None:
    async with serving(token=token) as live:
        headers = {
            "Origin": "http://localhost:3000",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Private-Network": "true",
        }
        answer = await live.call("OPTIONS", "/start_session", headers=headers)
        assert "access-control-allow-private-network" not in answer.headers


# Behind a proxy ------------------------------------------------------------------------------------

UPLOAD = {"name": "a.png", "size": 3, "mime_type": "image/png"}


@pytest.mark.parametrize(
    ("setting", "headers", "url"),
    [
        ("", {"Host": "gpu.example"}, "http://gpu.example"),
        ("", {"Host": "gpu.example", "X-Forwarded-Prefix": "/a/model/"}, "http://gpu.example/a/model"),
        ("/model", {"Host": "gpu.example"}, "http://gpu.example/model"),
        ("/model", {"Host": "gpu.example", "X-Forwarded-Prefix": "/other"}, "http://gpu.example/other"),
        (
            "",
            {
                "X-Forwarded-Host": "gpu.example, inner",
                "X-Forwarded-Proto": "https",
                "X-Forwarded-Prefix": "/m",
            },
            "https://gpu.example/m",
        ),
        ("", {"Host": "gpu.example", "X-Forwarded-Prefix": "//evil.example"}, "http://gpu.example"),
        ("", {"Host": "gpu.example", "X-Forwarded-Prefix": "/a/../b c"}, "http://gpu.example"),
        ("", {"Host": "gpu.example", "X-Forwarded-Host": "a b"}, "http://gpu.example"),
    ],
)
async def test_an_upload_is_addressed_as_its_client_sees_the_server(
    setting: str, headers: dict[str, str], url: str
) -> None:
    async with serving(token=TOKEN, root_path=setting) as live:
        live.client.headers["X-Reactor-Token"] = TOKEN
        await live.call("POST", "/start_session", json={})
        answer = await live.call("POST", f"/sessions/{SESSION}/uploads", json=UPLOAD, headers=headers)
        address = answer.json()["presigned_url"]
        assert address.startswith(f"{url}/sessions/{SESSION}/uploads/")
        # And there it can be put, whether the proxy strips the prefix or not.
        path = address.removeprefix(url)
        prefix = "/" + url.split("/", 3)[3] if url.count("/") > 2 else ""
        del live.client.headers["X-Reactor-Token"]
        for seen in {path, prefix + path}:
            put = await live.call("PUT", seen, content=b"abc", headers=headers)
            assert put.status_code != 401
            assert "upload" in put.text or put.status_code == 200, put.text


async def test_a_prefix_opens_no_door() -> None:
    async with serving(token=TOKEN, root_path="/model") as live:
        for path, status in (
            ("/model/session", 401),
            ("/model/health", 200),
            ("/model", 200),
            ("/modelsession", 401),
            ("/model//session", 401),
            ("/model/model/health", 401),
        ):
            assert (await live.call("GET", path)).status_code == status, path
        told = {"X-Forwarded-Prefix": "/session"}
        assert (await live.call("GET", "/session/session", headers=told)).status_code == 401


async def test_the_token_may_stand_beside_the_password_of_a_proxy() -> None:
    async with serving(token=TOKEN) as live:
        for given, status in ((TOKEN, 200), (TOKEN + "x", 401), ("", 401)):
            headers = {"Authorization": "Basic YTpi", "X-Reactor-Token": given}
            assert (await live.call("GET", "/session", headers=headers)).status_code == status


async def test_the_page_may_be_framed_by_whom_the_operator_names_and_nobody_else(live: Live) -> None:
    policy = (await live.call("GET", "/")).headers["content-security-policy"]
    assert policy.endswith("; frame-ancestors 'none'")
    async with serving(frame_ancestors=("https://editor.example", "https://*.hub.example")) as framed:
        policy = (await framed.call("GET", "/index.html")).headers["content-security-policy"]
    assert policy.endswith("; frame-ancestors https://editor.example https://*.hub.example")


@pytest.mark.parametrize("setting", ["allow_origins", "frame_ancestors"])
@pytest.mark.parametrize(
    "value", ["app.example", "https://app.example/path", "https://a b", "'self'; script-src *"]
)
def test_what_is_no_origin_stops_the_start(setting: str, value: str) -> None:
    with pytest.raises(SettingError, match=f"REACTOR_{setting.upper()}.*https://"):
        Settings.load({setting: (value,)}, {})


async def test_the_page_and_its_files_are_served_with_types_and_a_strict_policy(live: Live) -> None:
    page = await live.call("GET", "/")
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert page.headers["cache-control"] == "no-store"
    script = await live.call("GET", "/server.js")
    assert script.headers["content-type"] == "text/javascript; charset=utf-8"
    fresh = await live.call("GET", "/server.js", headers={"If-None-Match": script.headers["etag"]})
    assert (fresh.status_code, fresh.content) == (304, b"")


async def test_the_page_names_two_scripts_and_one_style_that_browsers_keep_for_good(live: Live) -> None:
    page = (await live.call("GET", "/")).text
    icon, *names = re.findall(r'(?:src|href)="([^"#]+)"', page)
    assert unquote(icon) == "data:image/svg+xml," + (routes_page.PAGE / "icon.svg").read_text().replace(
        '"', "'"
    )
    assert [re.sub(r"\.[0-9a-f]{16}\.", ".HASH.", name) for name in names] == [
        "begin.HASH.js",
        "style.HASH.css",
        "app.HASH.js",
    ]
    for name in names:
        file = await live.call("GET", "/" + name)
        assert file.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert file.headers["content-security-policy"]


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        ("gzip, deflate, br, zstd", "br"),
        ("gzip", "gzip"),
        ("br;q=0, gzip;q=0.5", "gzip"),
        ("identity", None),
        ("", None),
    ],
)
async def test_the_page_is_sent_as_small_as_whoever_asks_can_read(
    live: Live, accepted: str, coding: str | None
) -> None:
    if coding == "br":
        pytest.importorskip("brotli")
    for path in ("/", "/style.css"):
        plain = await live.call("GET", path, headers={"Accept-Encoding": "identity"})
        async with live.client.stream("GET", path, headers={"Accept-Encoding": accepted}) as answer:
            raw = b"".join([part async for part in answer.aiter_raw()])
        assert answer.headers.get("content-encoding") == coding
        assert "Accept-Encoding" in answer.headers["vary"]
        if coding is None:
            assert raw == plain.content
            continue
        unpack = gzip.decompress if coding == "gzip" else importlib.import_module("brotli").decompress
        assert unpack(raw) == plain.content
        assert len(raw) < len(plain.content) / 2
        if path == "/":
            continue  # true at this moment only
        assert answer.headers["etag"] != plain.headers["etag"], "two forms, two tags"
        weak = {"If-None-Match": f"W/{answer.headers['etag']}", "Accept-Encoding": accepted}
        assert (await live.call("GET", path, headers=weak)).status_code == 304


async def test_the_page_brings_the_overview_to_whoever_may_ask_for_it(live: Live) -> None:
    page = (await live.call("GET", "/")).text
    (brought,) = re.findall(r'<script id="overview" type="application/json">(.*?)</script>', page)
    assert json.loads(brought) == (await live.call("GET", "/overview")).json()
    async with serving(token=TOKEN) as protected:
        page = (await protected.call("GET", "/")).text
        assert '<script id="overview" type="application/json"></script>' in page
        headers = {"Authorization": f"Bearer {TOKEN}"}
        assert '"health"' in (await protected.call("GET", "/", headers=headers)).text


async def test_no_text_of_a_model_ends_the_element_that_the_overview_is_in() -> None:
    about = "</script><script>alert(1)</script><!--"
    async with serving() as live:
        live.service.document = {"info": {"description": about}}
        page = (await live.call("GET", "/")).text
    (brought,) = re.findall(r'<script id="overview" type="application/json">(.*?)</script>', page)
    assert json.loads(brought)["schema"]["info"]["description"] == about


async def test_the_page_s_sources_can_be_read_as_they_are_written(live: Live) -> None:
    page = (await live.call("GET", "/?source")).text
    assert page == (routes_page.PAGE / "index.html").read_text()
    for name in re.findall(r'(?:src|href)="([^"#]+)"', page):
        assert (await live.call("GET", "/" + name)).content == (routes_page.PAGE / name).read_bytes()


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

PAGE_FILE = re.compile(r"/|/.*\.(html|js|css|svg|png)")


async def test_every_route_has_a_rule_and_no_rule_is_without_a_route() -> None:
    async with serving(token=TOKEN) as live:
        app = create_app(live.service, Settings.load({"token": TOKEN}, {}))
        routes = {
            f"{method} {route.path}" for route in all_routes(app.routes) for method in route.methods or ()
        }
        routes = {each for each in routes if not each.startswith("HEAD ")} | {
            f"WEBSOCKET {p}" for p in WEBSOCKETS
        }
        # What a parameter is called matters to the route alone.
        shaped = {
            re.sub(r"\{\w+\}", "{}", each) for each in routes if not PAGE_FILE.fullmatch(each.split()[1])
        }
        assert shaped == {re.sub(r"\{\w+\}", "{}", f"{method} {path}") for method, path in RULES}


async def test_without_the_token_only_probes_the_page_and_uploads_with_their_key_are_answered() -> None:
    async with serving(token=TOKEN) as live:
        app = create_app(live.service, Settings.load({"token": TOKEN}, {}))
        open_ = {"/health", "/health/live", "/sessions/{session_id}/uploads/{upload_id}/{key}"}
        for route in all_routes(app.routes):
            for method in route.methods or ():
                names = re.findall(r"\{(\w+)\}", route.path)
                response = await live.call(method, route.path.format(**dict.fromkeys(names, "1002")))
                if route.path in open_ or PAGE_FILE.fullmatch(route.path):
                    assert response.status_code not in (401, 403), (method, route.path)
                else:
                    assert response.status_code == 401, (method, route.path)
                    assert response.headers["www-authenticate"] == "Bearer"


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


async def test_a_public_server_without_a_token_answers_to_addresses_and_its_own_names_only() -> None:
    own = socket.gethostname().lower()
    async with serving(host="0.0.0.0", allow_public=True, allow_origins=("https://demo.example",)) as live:
        for host, status in [
            ("127.0.0.1:8080", 200),
            ("localhost", 200),
            ("203.0.113.7:8080", 200),
            ("[2001:db8::7]:8080", 200),
            (own, 200),
            ("gpu-box.local:8080", 200),
            ("reactor", 200),
            ("gpu.lan", 200),
            ("demo.example", 200),
            ("lan.example", 421),
            ("attacker.example", 421),
            ("127.0.0.1.attacker.example", 421),
            ("localhost.attacker.example:8080", 421),
        ]:
            for origin in ("", f"Origin: http://{host}\r\n"):
                request = f"GET /session HTTP/1.1\r\nHost: {host}\r\n{origin}Connection: close\r\n\r\n"
                answer = await live.raw(request.encode())
                assert answer.startswith(f"HTTP/1.1 {status} ".encode()), (host, answer)
        refused = await live.call("GET", "/session", headers={"Host": "attacker.example:81"})
        assert "--allow-origin http://attacker.example:81" in refused.json()["detail"]


async def test_probes_are_answered_under_any_name(live: Live) -> None:
    for path, status in [("/health", 200), ("/health/live", 200), ("/metrics", 421), ("/", 421)]:
        answer = await live.call("GET", path, headers={"Host": "reactor.internal"})
        assert answer.status_code == status, path


# Who is the author -------------------------------------------------------------------------------------


KEY = "0123456789abcdef" * 2


def asked(client: str | None = "127.0.0.1", *, http_version: str = "1.1", **headers: str) -> Request:
    app = FastAPI()
    app.state.author_key = KEY
    named = {
        "host": "localhost:8080",
        "origin": "http://localhost:8080",
        "x-reactor-author": KEY,
        **{name.replace("_", "-"): v for name, v in headers.items()},
    }
    raw = [(name.encode(), value.encode()) for name, value in named.items()]
    peer = (client, 5) if client else None
    return Request({"type": "http", "app": app, "http_version": http_version, "client": peer, "headers": raw})


@pytest.mark.parametrize(
    "request_",
    [
        asked(),
        asked("::1", host="[::1]:8080"),
        asked(origin="http://127.0.0.1:9", host="127.0.0.1:8080"),
        asked(origin="http://[::1]:8080"),
    ],
)
def test_a_browser_on_this_machine_with_the_key_is_the_author_s(request_: Request) -> None:
    assert is_author(request_)


@pytest.mark.parametrize(
    "request_",
    [
        asked("192.168.1.7"),
        asked("203.0.113.7"),
        asked(None),
        asked(x_reactor_author=""),
        asked(x_reactor_author=KEY[:-1]),
        asked(x_reactor_author="\xe9" * 32),
        asked(host="demo.example.org"),
        asked(host=""),
        asked(http_version="1.0"),
        asked(origin="https://demo.example.org"),
        asked(origin="null"),
        asked(origin=""),
        asked(x_forwarded_for="203.0.113.7"),
        asked(x_forwarded_proto="https"),
        asked(forwarded="for=203.0.113.7"),
        asked(via="1.1 proxy"),
        asked(x_real_ip="203.0.113.7"),
        asked(cf_connecting_ip="203.0.113.7"),
    ],
)
def test_nobody_else_is_taken_for_the_author(request_: Request) -> None:
    assert not is_author(request_)


@pytest.mark.parametrize(
    ("settings", "private"),
    [
        ({}, True),
        ({"allow_origins": ("http://localhost:5173",)}, True),
        ({"host": "0.0.0.0", "allow_public": True}, False),
        ({"token": "a-token-of-a-team"}, False),
        ({"root_path": "/blue"}, False),
        ({"allow_origins": ("https://demo.example.org",)}, False),
    ],
)
def test_a_server_that_others_come_to_has_no_author(settings: dict[str, Any], private: bool) -> None:
    assert is_private(Settings.load(settings, {})) is private


def test_an_author_s_key_outlives_a_restart_and_nobody_else_can_read_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    key = own_key()
    (file,) = (path for path in tmp_path.rglob("*") if path.is_file())
    assert own_key() == key == file.read_text()
    assert file.stat().st_mode & 0o077 == 0
    file.chmod(0o644)
    assert own_key() not in (key, own_key())
    file.chmod(0o600)
    file.write_text("half a k")
    assert own_key() not in (key, own_key())


def test_without_a_home_a_key_lasts_for_one_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/proc/nowhere")
    assert own_key() != own_key()


async def test_a_tunnel_that_looks_like_a_browser_of_this_machine_is_not_the_author() -> None:
    """As `ssh -R` and socat are used with a rewritten Host: nothing in the request tells of them."""
    async with serving(author_key=KEY) as live:
        live.service.failure = SessionRefused("No session running", status=400, raised="ValueError: secret")
        head = "GET /session HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost\r\nConnection: close\r\n"
        assert b"secret" not in await live.raw(f"{head}\r\n".encode())
        assert b"secret" in await live.raw(f"{head}X-Reactor-Author: {KEY}\r\n\r\n".encode())


@pytest.mark.parametrize(
    ("headers", "told"),
    [
        ({"origin": "http://localhost:8080", "x-reactor-author": KEY}, True),
        ({"origin": "http://localhost:8080"}, False),
        (
            {
                "origin": "http://localhost:8080",
                "x-forwarded-for": "203.0.113.7",
                "x-reactor-author": KEY,
            },
            False,
        ),
        ({}, False),
    ],
    ids=["author", "no key", "through a proxy", "no browser"],
)
async def test_a_refusal_says_what_the_model_raised_to_its_author_only(
    headers: dict[str, str], told: bool
) -> None:
    async with serving(author_key=KEY) as live:
        live.service.failure = SessionRefused("No session running", status=400, raised="ValueError: secret")
        answer = await live.call("POST", "/start_session", json={}, headers=headers)
        assert answer.status_code == 400
        assert answer.json()["detail"] == "No session running"
        assert answer.json().get("raised") == ("ValueError: secret" if told else None)
