"""What is not HTTP, or too much of it, or too slow; and the server's own start and end."""

from __future__ import annotations

import asyncio
import inspect
import json
import random
import re
import socket
from collections.abc import AsyncIterator, Iterator
from typing import Any

import h11
import httpx
import psutil
import pytest
from fastapi.routing import APIRoute
from support.memory_runtime import (
    OFFER,
    SESSION,
    TOKEN,
    Live,
    MemoryService,
    P,
    all_routes,
    detail,
    serving,
)

from reactor_runtime import limits
from reactor_runtime.config import Settings
from reactor_runtime.server.app import create_app
from reactor_runtime.server.http_server import HttpServer
from reactor_runtime.session.lifecycle import State

#: What no answer may hold: code and its paths, names of memory, buckets.
INTERNALS = re.compile(
    rb"Traceback|File \"|site-packages|/src/|\.py\b|/tmp/|/home/|/root/|/dev/shm|memfd|psm_|s3://"
)


@pytest.fixture
async def live() -> AsyncIterator[Live]:
    async with serving() as it:
        yield it


@pytest.fixture
async def started(live: Live) -> Live:
    assert (await live.call("POST", "/start_session", json={})).status_code == 200
    return live


# What is not HTTP, or too much of it ---------------------------------------------------------------

CHUNKED = b"POST /start_session HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
INVALID = [
    b"\r\n\r\n\x00\x01\x02\r\n\r\n",
    b"HELLO\r\n\r\n",
    b"GET\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nbad header\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nA : b\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nA: b\x00c\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nA: " + b"x" * (limits.HTTP_HEADER_MAX_BYTES + 1),
    b"GET /" + b"x" * (limits.HTTP_HEADER_MAX_BYTES + 1),
    b"GET /\xff\xfe HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
    b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: many\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS hello\r\n\r\n",
]


async def test_what_is_not_http_is_answered_in_json_and_closed(live: Live) -> None:
    for request in INVALID:
        answer = await live.raw(request)
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 501 ")), (request[:80], answer)
        assert b"application/json" in head
        assert json.loads(body)["detail"]
    assert (await live.call("GET", "/session")).status_code == 200


@pytest.mark.parametrize("chunk", [b"zz\r\nhello\r\n", b"-1\r\n", b"5\r\nhelloX\r\n", b"f" * 40 + b"\r\n"])
async def test_bad_chunks_end_the_connection_and_start_nothing(live: Live, chunk: bytes) -> None:
    await live.raw(CHUNKED + chunk)
    assert live.service.lifecycle.state is State.READY
    assert (await live.call("GET", "/session")).status_code == 200


async def test_a_body_is_counted_as_it_streams_whatever_its_headers_say(live: Live) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(2 * limits.HTTP_BODY_MAX_BYTES // 4096):
            yield b" " * 4096

    announced = await live.call("POST", "/start_session", content=bytes(limits.HTTP_BODY_MAX_BYTES + 1))
    streamed = await live.call("POST", "/start_session", content=endless())
    assert (announced.status_code, streamed.status_code) == (413, 413)
    assert "bytes" in detail(announced)
    assert "bytes" in detail(streamed)
    assert live.service.lifecycle.state is State.READY


def tiny(pieces: int, *, head: bytes = CHUNKED) -> bytes:
    """A body of so many one-byte chunks."""
    return head.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n") + b"1\r\n \r\n" * pieces


LAST = b"2\r\n{}\r\n0\r\n\r\n"


async def test_a_body_in_tiny_chunks_is_just_a_body(live: Live) -> None:
    assert (await live.raw(tiny(2_000) + LAST)).startswith(b"HTTP/1.1 200 ")


async def test_a_body_in_too_many_tiny_chunks_is_refused(live: Live) -> None:
    answer = await live.raw(tiny(limits.HTTP_BODY_PIECES + 1) + LAST)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert live.service.lifecycle.state is State.READY


async def test_what_follows_a_refusal_is_not_parsed(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed = 0
    parse = h11.Connection.receive_data

    def counting(self: h11.Connection, data: bytes) -> None:
        nonlocal parsed
        parsed += len(data)
        parse(self, data)

    async with serving(token=TOKEN) as guarded:
        reader, writer = await asyncio.open_connection("127.0.0.1", guarded.server.port)
        writer.write(CHUNKED + b"400\r\n" + bytes(1024) + b"\r\n")
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
        assert head.startswith(b"HTTP/1.1 401 ")
        assert b"connection: close" in head
        monkeypatch.setattr(h11.Connection, "receive_data", counting)
        # A second request in what is left of the body is none, and the answer can be read to its end.
        writer.write(b"0\r\n\r\nGET /session HTTP/1.1\r\nHost: localhost\r\n\r\n" + bytes(100_000))
        body = await asyncio.wait_for(reader.read(), 5)
        assert json.loads(body)["detail"]
        assert parsed == 0
        writer.close()


async def test_two_lengths_of_one_body_are_refused(live: Live) -> None:
    answer = await live.raw(CHUNKED.replace(b"\r\n\r\n", b"\r\nContent-Length: 2\r\n\r\n") + LAST)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert live.service.lifecycle.state is State.READY


async def test_the_bound_of_headers_holds_for_complete_ones_too(live: Live) -> None:
    for size, status in ((limits.HTTP_HEADER_MAX_BYTES - 200, 200), (limits.HTTP_HEADER_MAX_BYTES, 400)):
        head = f"GET /session HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nA: {'x' * size}\r\n\r\n"
        assert (await live.raw(head.encode())).startswith(f"HTTP/1.1 {status} ".encode()), size


async def test_a_large_upload_in_large_pieces_waits_for_nobody(live: Live) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(limits.UPLOAD_MAX_BYTES // 65_536):
            yield bytes(65_536)

    began_s = asyncio.get_running_loop().time()
    # The route looks at the session first, which nobody began: only the way there is of interest.
    answer = await live.call("PUT", "/sessions/a/uploads/b/c", content=pieces())
    assert answer.status_code == 400
    assert asyncio.get_running_loop().time() - began_s < 3


async def test_a_client_that_leaves_in_its_body_is_no_error(
    live: Live, caplog: pytest.LogCaptureFixture
) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", live.server.port)
    writer.write(CHUNKED + b"5\r\nhel")
    await writer.drain()
    await live.call("GET", "/session")
    writer.transport.abort()
    for _ in range(5):
        await live.call("GET", "/session")
    # What the client's own library says of its requests is no news.
    assert not [record for record in caplog.records if record.name != "httpx"]


async def test_a_client_that_leaves_a_body_which_waits_for_its_turn_is_no_error_and_holds_no_place(
    live: Live, caplog: pytest.LogCaptureFixture
) -> None:
    await live.raw(tiny(4_000) + LAST)  # this address owes from now on
    _, writer = await asyncio.open_connection("127.0.0.1", live.server.port)
    writer.write(tiny(limits.HTTP_BODY_PIECES + 1) + LAST)
    await writer.drain()
    await asyncio.sleep(0.2)
    # Its end is not read yet, so the refusal is written, and answered with a reset before the line is closed.
    writer.transport.abort()
    async with asyncio.timeout(10):
        while live.server.places.holders():
            await asyncio.sleep(0.05)
    assert [record.message for record in caplog.records if record.name != "httpx"] == []


async def test_a_client_that_takes_nothing_of_a_long_answer_is_cut(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "HTTP_WRITE_S", 0.05)
    live.service.metrics = "x" * 30_000_000
    reader, writer = await asyncio.open_connection("127.0.0.1", live.server.port, limit=1)
    assert isinstance(writer.transport, asyncio.Transport)
    writer.transport.pause_reading()
    writer.write(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
    async with asyncio.timeout(5):
        await live.call("GET", "/session")
        while len(live.server.places.holders()) > 1:  # the other is that of live.client
            await asyncio.sleep(0.01)
    writer.transport.abort()
    assert reader is not None


async def test_a_client_that_takes_a_long_answer_slowly_gets_it_whole(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "HTTP_WRITE_S", 0.5)
    live.service.metrics = "x" * 8_000_000
    reader, writer = await asyncio.open_connection("127.0.0.1", live.server.port, limit=65_536)
    writer.write(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    got = 0
    async with asyncio.timeout(20):
        while piece := await reader.read(400_000):
            got += len(piece)
            await asyncio.sleep(0.2 * len(piece) / 1_000_000)  # 1.6 s for all of it
    assert got > 8_000_000
    writer.close()


async def test_what_a_page_says_as_it_goes_away_is_heard(live: Live) -> None:
    for times in range(1, 6):
        assert (await live.call("POST", "/start_session", json={})).status_code == 200
        _, writer = await asyncio.open_connection("127.0.0.1", live.server.port)
        writer.write(b"POST /stop_session HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
        writer.close()
        await writer.wait_closed()
        async with asyncio.timeout(5):
            while len(live.service.stopped) < times:
                await asyncio.sleep(0.01)


async def test_headers_that_do_not_end_in_time_cost_the_connection(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "HTTP_HEADER_S", 0.05)
    assert await live.raw(b"") == b""
    assert await live.raw(b"GET / HTTP/1.1\r\nHost: loc") == b""


async def test_a_deadline_holds_for_the_second_request_of_a_connection(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "HTTP_HEADER_S", 0.05)
    reader, writer = await asyncio.open_connection("127.0.0.1", live.server.port)
    writer.write(b"HEAD /index.html HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
    writer.write(b"GET / HTTP/1.1\r\nHost: loc")
    assert await asyncio.wait_for(reader.read(), 3) == b""
    writer.close()


async def test_a_body_that_never_comes_is_408(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "HTTP_BODY_S", 0.05)
    answer = await live.raw(
        b"POST /start_session HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{", until_eof=False
    )
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert live.service.lifecycle.state is State.READY


async def test_sockets_that_say_nothing_do_not_keep_a_client_out(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "HTTP_SOCKETS_PER_ADDRESS", 10)
    idle = [await asyncio.open_connection("127.0.0.1", live.server.port) for _ in range(50)]
    try:
        assert (await live.call("GET", "/session")).status_code == 200
        assert len(live.server.places.holders()) == 10
        # The oldest had to go, the newest is still served.
        assert await asyncio.wait_for(idle[0][0].read(), 5) == b""
        reader, writer = idle[-1]
        writer.write(b"GET /session HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert (await asyncio.wait_for(reader.readline(), 5)).startswith(b"HTTP/1.1 200 ")
    finally:
        for _, writer in idle:
            writer.close()


async def test_health_is_answered_when_every_place_is_busy(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "HTTP_SOCKETS", 3)
    busy = []
    for _ in range(3):
        reader, writer = await asyncio.open_connection("127.0.0.1", live.server.port)
        writer.write(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await reader.readuntil(b": open")
        busy.append(writer)
    ask = b"GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    assert (await live.raw(ask % b"/health")).startswith(b"HTTP/1.1 200 ")
    refused = await live.raw(ask % b"/session")
    assert refused.startswith(b"HTTP/1.1 503 ")
    assert b"too many open connections" in refused
    for writer in busy:
        writer.close()


@pytest.mark.slow
async def test_no_request_makes_the_server_fail_or_tell_about_its_inside(started: Live) -> None:
    seed = random.randrange(2**32)
    rng = random.Random(seed)
    some, odd = (
        [SESSION, "1002", "1001"],
        ["0", "-1", "9" * 30, "x", "%00", "%2e%2e", "%ff", "a%2fb", ";", "%F0%9F%98%80"],
    )

    def part(_match: re.Match[str]) -> str:
        return rng.choice(some if rng.random() < 0.6 else some + odd)

    paths = [route.path for route in all_routes(create_app(started.service, Settings.load({}, {})).routes)]
    paths = [path for path in paths if "." not in path and path not in ("/events", "/stop_session")]
    scraps: list[Any] = [
        None,
        True,
        0,
        -1,
        10**30,
        1.5,
        "",
        "x",
        "\x00",
        "😀",
        "x" * 3_000,
        [],
        {},
        [[{}]],
        [OFFER],
    ]
    keys = [
        "sdp_offer",
        "track_mapping",
        "ice_servers",
        "client_info",
        "candidates",
        "is_final",
        "name",
        "size",
    ]
    keys += ["mime_type", "upload_id", "session_id", "reason", "moderate"]
    for _ in range(1_500):
        path = re.sub(r"{\w+}", part, rng.choice(paths))
        query = rng.choice(
            [
                "",
                "",
                "?since=-1",
                "?start=nan&end=x",
                "?start=0&end=1e999",
                "?since=" + "9" * 40,
                "?%ff=&;=&token",
            ]
        )
        body = {rng.choice(keys): rng.choice(scraps) for _ in range(rng.randrange(6))}
        content = rng.choice(
            [json.dumps(body).encode(), json.dumps(OFFER | body).encode(), rng.randbytes(20), b""]
        )
        method = rng.choice(["GET", "POST", "PUT", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"])
        request = f"{method} {path}{query} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        request += f"Content-Length: {len(content)}\r\n\r\n"
        answer = await started.raw(request.encode() + content)
        head, _, told = answer.partition(b"\r\n\r\n")
        status = int(head.split(b" ", 2)[1])
        assert status < 500 or status == 503, (seed, request, content, answer)
        assert not INTERNALS.search(told), (seed, request, content, answer)
        if status >= 400 and method != "HEAD":
            assert json.loads(told)["detail"], (seed, request, content, answer)


async def test_requests_leave_no_task_and_no_descriptor_behind(started: Live) -> None:
    async def churn(times: int) -> None:
        for _ in range(times):
            await started.raw(b"GET /session HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            _, writer = await asyncio.open_connection("127.0.0.1", started.server.port)
            writer.write(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            writer.transport.abort()

    async def settled() -> tuple[int, int]:
        """Wait until the server has noticed every client that went."""
        async with asyncio.timeout(5):
            # Nothing tells of a foreign task's end.
            while len(asyncio.all_tasks()) > len(before):
                await asyncio.sleep(0.01)
        return len(asyncio.all_tasks()), psutil.Process().num_fds()

    before = asyncio.all_tasks()
    await churn(5)
    first = await settled()
    await churn(50)
    assert await settled() == first


async def test_requests_over_the_rate_of_an_address_are_refused_in_words_and_probes_are_still_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "HTTP_REQUESTS_BURST", 20)
    monkeypatch.setattr(limits, "HTTP_REQUESTS_PER_S", 20.0)
    request = b"GET /session HTTP/1.1\r\nHost: localhost\r\n\r\n"
    async with serving() as live:
        for least in (20, 1):
            answers = (await live.raw(request * 300)).split(b"HTTP/1.1 ")[1:]
            assert {answer[:4] for answer in answers[:-1]} == {b"200 "}
            assert least < len(answers) <= 150
            assert answers[-1].startswith(b"429 Too Many Requests")
            assert b"Retry-After: 1" in answers[-1]
            assert b"20 a second are answered" in answers[-1]
        for _ in range(30):
            assert (await live.call("GET", "/health")).status_code == 200
        await asyncio.sleep(0.2)
        counted = (await live.call("GET", "/metrics")).text
    assert "reactor_http_requests_limited_total 2.0" in counted
    assert "reactor_http_sockets_evicted_total 0.0" in counted


async def test_offers_of_one_address_beyond_its_rate_are_refused_unread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "OFFERS_OF_MANY_PER_S", 0.1)
    async with serving() as live:
        await live.call("POST", "/start_session", json={})
        connection_id = (await live.call("POST", P + "/connections")).json()["connection_id"]
        path = f"{P}/connections/{connection_id}/sdp_params"
        for _ in range(limits.OFFERS_PER_ADDRESS_BURST):
            assert (await live.call("PUT", path, json=OFFER)).status_code == 202
        await live.call("PUT", path, json=OFFER)  # what has come back in the meantime
        for _ in range(5):
            refused = await live.call("PUT", path, content=b"no JSON")
            assert (refused.status_code, detail(refused)) == (503, "too many offers of one address")
            assert refused.headers["retry-after"] == "1"


async def test_no_route_waits_for_a_thread(started: Live) -> None:
    """What is no coroutine is called on a pool's thread, which comes back late where other threads compute."""

    def calls(dependant: Any) -> Iterator[Any]:
        yield dependant.call
        for inner in dependant.dependencies:
            yield from calls(inner)

    routes = all_routes(create_app(started.service, Settings.load({}, {})).routes)
    found = {call for route in routes if isinstance(route, APIRoute) for call in calls(route.dependant)}
    assert len(found) > 20
    assert [call for call in found if not inspect.iscoroutinefunction(call)] == []


# The server itself ---------------------------------------------------------------------------------


async def test_a_taken_port_is_an_error_at_once() -> None:
    async with serving() as live:
        settings = Settings.load({"host": "127.0.0.1", "port": live.server.port}, {})
        with pytest.raises(OSError, match="in use"):
            HttpServer(create_app(live.service, settings), settings).bind()


async def test_closing_frees_the_port_ends_streams_and_may_be_done_twice() -> None:
    async with serving() as live:
        async with live.client.stream("GET", "/events") as stream:
            lines = stream.aiter_lines()
            await anext(lines)
            live.service.journal.close()
            assert [line async for line in lines] == [""]
        port = live.server.port
        await live.server.close()
        await live.server.close()
        with socket.socket() as again:
            again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            again.bind(("127.0.0.1", port))


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:"),
        ("localhost", "http://localhost:"),
        ("0.0.0.0", "http://127.0.0.1:"),
        ("::1", "http://[::1]:"),
    ],
)
async def test_the_url_can_be_opened_on_this_machine(host: str, url: str) -> None:
    service = MemoryService()
    settings = Settings.load({"host": host, "port": 0, "allow_public": True}, {})
    server = HttpServer(create_app(service, settings), settings)
    try:
        await server.start()
    except OSError as error:
        pytest.skip(f"{host} is not available here: {error}")
    try:
        assert server.url.startswith(url)
        async with httpx.AsyncClient(trust_env=False) as client:
            assert (await client.get(server.url + "/session")).status_code == 200
    finally:
        await server.close()
