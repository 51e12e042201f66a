"""Every cell of the tables in docs/tokens.md, tried against a server: route × role × token, message × role.

The tables are read from the document, which tools/roles_table.py writes from what the server asks; here they are
promises. Behind the real HTTP server stand real `Sessions` over a model and links that are not real.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import MISSING, dataclass, fields, replace
from typing import Any

import httpx
import pytest
import roles_table
from support.fakes import FakeLink
from support.house import House
from support.memory_runtime import OFFER, SESSION
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Close as CloseFrame

from reactor_runtime import limits
from reactor_runtime.config import Settings
from reactor_runtime.server.app import create_app
from reactor_runtime.server.http_server import HttpServer
from reactor_runtime.session.grants import NEEDED, Grant
from reactor_runtime.session.lifecycle import State
from reactor_runtime.session.session import Session
from reactor_runtime.tokens import Claims, Keys
from reactor_runtime.types import Role
from reactor_runtime.wire import messages as say
from reactor_runtime.wire.v0 import V0

pytestmark = pytest.mark.slow

KEY = "k:" + "s" * 32
KEYS, OTHERS = Keys.parse([KEY]), Keys.parse(["k:" + "t" * 32])
REFUSED = (401, 403)


def table_of(part: Any) -> tuple[list[str], dict[str, list[str]]]:
    """Return the heads of a table of the document, and its rows by their first cell."""
    lines = [line for line in _between(part.read(), part.name).splitlines() if line.startswith("|")]
    cells = [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in lines]
    return cells[0][1:], {row[0]: row[1:] for row in cells[2:]}


def _between(page: str, name: str) -> str:
    found = re.search(f"<!-- {name}: begin.*?-->(.*?)<!-- {name}: end -->", page, re.DOTALL)
    assert found is not None
    return found[1]


HEADS, ROUTES = table_of(roles_table.ROUTES)
#: Those that end a session come last: what one request did is then not in the way of the next.
IN_ORDER = sorted(ROUTES, key=lambda route: "stop" in route or "drain" in route)


def test_the_tables_are_what_the_server_asks() -> None:
    for part, now in (
        (roles_table.ROUTES, roles_table.routes()),
        (roles_table.MESSAGES, roles_table.messages()),
    ):
        assert part.read() == part.put(part.read(), now), "python tools/roles_table.py"


@dataclass(frozen=True, slots=True)
class Shown:
    """A state of a token: how its text is made, and which column of the table decides beside that of its role."""

    text: Callable[[Claims], str]
    column: str = ""
    code: str = ""


def _unsigned(claims: Claims) -> str:
    parts = ({"alg": "none", "kid": "k"}, claims.payload())
    return (
        ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts)
        + "."
    )


def _now() -> float:
    return time.time()


STATES = {
    "good": Shown(KEYS.sign),
    "none": Shown(lambda claims: "", "no token", "unauthorized"),
    "wrong key": Shown(OTHERS.sign, "no token", "unauthorized"),
    "alg none": Shown(_unsigned, "no token", "unauthorized"),
    "expired": Shown(lambda claims: KEYS.sign(replace(claims, exp=_now() - 1)), "no token", "token_expired"),
    "not yet": Shown(
        lambda claims: KEYS.sign(replace(claims, nbf=_now() + 600)), "no token", "token_not_yet"
    ),
    "other session": Shown(
        lambda claims: KEYS.sign(replace(claims, sid="another-session")), "another session's", "not_granted"
    ),
    "in use": Shown(lambda claims: KEYS.sign(replace(claims, once=True)), "in use", "token_replayed"),
}


@dataclass
class Site:
    """A server, and its sessions from within."""

    house: House
    url: str
    client: httpx.AsyncClient
    holder: FakeLink | None = None

    async def clear(self) -> None:
        """End the session that runs, and with it the connections of the role before."""
        if self.house.state() not in (State.READY, State.CLOSING):
            await self.house.stop()
        self.holder = None

    async def prepare(self, holds: Grant | None) -> None:
        """Let the session run, and its first connection stand where there is one."""
        while self.house.state() is State.CLOSING:
            await asyncio.sleep(0.01)
        if self.house.state() is State.READY:
            await self.house.start(SESSION)
        if holds is not None and (self.holder is None or self.holder.closed):
            self.holder = (await self.house.join(grant=holds))[1]
            self.holder.connect()

    async def ask(self, method: str, path: str, token: str) -> tuple[int, str]:
        """Return the status of the answer and its code; those of a socket's end are taken as statuses."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        if method == "WEBSOCKET":
            return await self._open(path, headers)
        body = None if method in ("GET", "HEAD") else BODIES.get(path, {})
        query = {"start": "0", "end": "1", "session_id": SESSION} if path == "/clips" else None
        names = dict.fromkeys(re.findall(r"\{(\w+)\}", path), "1002") | {"session_id": SESSION}
        if method != "GET" and "connection_id" in names:
            names["connection_id"] = str((await self.house.sessions.register(SESSION)).connection_id)
        address = path.format(**names)
        async with self.client.stream(method, address, headers=headers, json=body, params=query) as answer:
            if path == "/line" and answer.status_code == 201:
                # Nobody is to wait in front of what comes next.
                ticket = json.loads(await answer.aread())["ticket"]
                await self.client.delete(f"/line/{ticket}", headers=headers)
            if answer.status_code not in REFUSED:
                return answer.status_code, ""
            return answer.status_code, json.loads(await answer.aread())["code"]

    async def _open(self, path: str, headers: dict[str, str]) -> tuple[int, str]:
        address = self.url.replace("http", "ws") + path.format(session_id=SESSION)
        try:
            async with connect(address, additional_headers=headers, proxy=None) as socket:
                async with asyncio.timeout(0.05):
                    await socket.recv()
        except InvalidStatus as refused:
            return refused.response.status_code, json.loads(refused.response.body)["code"]
        except ConnectionClosed as closed:
            frame = closed.rcvd or CloseFrame(0, "")
            return frame.code - 4000, "token_replayed" if "another connection" in frame.reason else ""
        except TimeoutError:
            pass
        return 101, ""


BODIES: dict[str, dict[str, Any]] = {
    "/connect": {**OFFER, "session_id": SESSION},
    "/start_session": {"session_id": SESSION},
    "/sessions/{session_id}/uploads": {"name": "a.png", "size": 3, "mime_type": "image/png"},
    **{path.split()[1]: OFFER for path in ROUTES if path.endswith("sdp_params")},
}


@asynccontextmanager
async def site() -> AsyncIterator[Site]:
    # Who has the wheel is another matter: here everybody drives who may.
    async with House.opened(join="drive") as house:
        house.sessions._register.passes._wall = time.time
        settings = Settings.load({"host": "127.0.0.1", "port": 0, "token_keys": (KEY,)}, {})
        server = HttpServer(create_app(house.sessions, settings), settings)
        await server.start()
        try:
            async with httpx.AsyncClient(base_url=server.url, timeout=10, trust_env=False) as client:
                yield Site(house, server.url, client)
        finally:
            await house.sessions.close()
            await server.close()


@pytest.mark.parametrize("state", STATES)
async def test_each_route_answers_each_role_and_token_as_the_table_says(state: str) -> None:
    shown, wrong = STATES[state], []
    async with site() as it:
        for role in Role:
            claims = Claims(role, exp=_now() + 60, jti=f"{state} {role.value}", sub="Ann")
            token = shown.text(claims)
            holds = None
            if state == "in use":
                holds = Grant(role, jti=claims.jti, sub="Ann", ends=claims.exp, once=True)
            await it.clear()
            for route in IN_ORDER:
                method, _, path = route.partition(" ")
                cells = dict(zip(HEADS, ROUTES[route], strict=True))
                await it.prepare(holds)
                status, code = await it.ask(method, path, token)
                assert status != 429, "too fast for the server; it says nothing of roles"
                by_role, by_state = cells[role.value] == "yes", cells.get(shown.column, "yes") == "yes"
                may = by_state if shown.column == "no token" else by_role and by_state
                expected = (
                    "" if may else "not_granted" if shown.column != "no token" and not by_role else shown.code
                )
                if (status in REFUSED) is may or code != expected:
                    wrong.append(f"{route}, {role.value}: {status} {code}, expected {expected or 'yes'}")
    assert wrong == []


def some(kind: Any) -> say.ClientMessage:
    """Return a message of this kind that says next to nothing."""
    values = {"str": "a", "float": 1.0, "int": 1, "bool": False, "JsonObject": {}}
    needed = [each for each in fields(kind) if each.default is MISSING and each.default_factory is MISSING]
    made: say.ClientMessage = kind(**{each.name: values.get(str(each.type)) for each in needed})
    return made


async def test_each_message_reaches_the_session_from_the_roles_that_the_table_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By what a wire format decodes, whichever says it: what arrives at a real socket is decoded to each in turn."""
    heads, rows = table_of(roles_table.MESSAGES)
    said: list[say.ClientMessage] = []
    arrived: list[say.ClientMessage] = []
    monkeypatch.setattr(V0, "decode", lambda self, channel, data: said.pop(0))
    monkeypatch.setattr(Session, "said", lambda self, viewer, message: arrived.append(message))
    assert len(rows) == len(NEEDED)
    async with site() as it:
        await it.prepare(None)
        for role in Role:
            token = KEYS.sign(Claims(role, exp=_now() + 60, jti=role.value))
            said[:] = [some(kind) for kind in NEEDED] + [say.Ping()]
            del arrived[:]
            address = f"{it.url.replace('http', 'ws')}/sessions/{SESSION}/media"
            async with connect(
                address, additional_headers={"Authorization": f"Bearer {token}"}, proxy=None
            ) as socket:
                for _ in range(len(said)):
                    await socket.send(json.dumps({"scope": "runtime", "data": {"type": "ping", "data": {}}}))
                async with asyncio.timeout(10):
                    while said:
                        await asyncio.sleep(0.01)
            column = heads.index(role.value)
            for kind in NEEDED:
                may = rows[roles_table.words(kind.__name__)][column] == "yes"
                assert any(type(message) is kind for message in arrived) is may, (role, kind)


async def test_one_person_s_token_whose_seconds_are_over_is_refused_by_every_route() -> None:
    async with site() as it:
        claims = Claims(Role.DRIVE, exp=_now() + 60, jti="seconds", max_s=0.2)
        await it.prepare(Grant(Role.DRIVE, jti=claims.jti, ends=claims.exp, max_s=claims.max_s))
        await asyncio.sleep(0.3)
        codes = {}
        for route in IN_ORDER:
            method, _, path = route.partition(" ")
            if ROUTES[route][HEADS.index("no token")] != "yes":
                await it.prepare(None)
                codes[route] = (await it.ask(method, path, KEYS.sign(claims)))[1]
        operators = {route for route in codes if ROUTES[route][HEADS.index(Role.DRIVE.value)] != "yes"}
        assert {route for route, code in codes.items() if code != "token_expired"} == operators
        assert len(codes) > 20


async def test_a_token_that_was_for_one_session_is_good_for_nothing_of_another() -> None:
    async with site() as it:
        await it.prepare(None)
        claims = Claims(Role.DRIVE, exp=_now() + 60, jti="once", once=True)
        _, link = await it.house.join(grant=Grant(Role.DRIVE, jti="once", ends=claims.exp, once=True))
        link.connect()
        await asyncio.sleep(0.05)
        await it.house.stop()
        while it.house.state() is not State.READY:
            await asyncio.sleep(0.01)
        await it.house.start("another")
        headers = {"Authorization": f"Bearer {KEYS.sign(claims)}"}
        upload = await it.client.post(
            "/sessions/another/uploads", json=BODIES["/sessions/{session_id}/uploads"], headers=headers
        )
        assert (upload.status_code, upload.json()["code"]) == (403, "token_replayed")
        # What he was told he may keep.
        assert (await it.client.get("/overview", headers=headers)).status_code == 200


async def test_who_drives_over_a_socket_ends_his_session_as_any_driver_does() -> None:
    async with site() as it:
        token = KEYS.sign(Claims(Role.DRIVE, exp=_now() + 60, jti="j"))
        headers = {"Authorization": f"Bearer {token}", "User-Agent": "Browser/1"}
        await it.client.post("/start_session", json={"session_id": SESSION}, headers=headers)
        address = f"{it.url.replace('http', 'ws')}/sessions/{SESSION}/media"
        shown = {"Authorization": headers["Authorization"]}
        async with connect(
            address, additional_headers=shown, user_agent_header="Browser/1", proxy=None
        ) as socket:
            await socket.send(json.dumps({"scope": "runtime", "data": {"type": "ping", "data": {}}}))
            session = it.house.sessions.slots[0].session
            assert session is not None
            async with asyncio.timeout(5):
                while not session.wheel.drivers():
                    await asyncio.sleep(0.01)
            other = await it.client.post("/stop_session", headers=headers | {"User-Agent": "Browser/2"})
            assert other.status_code == 409
            assert (await it.client.post("/stop_session", headers=headers)).status_code == 200


async def test_one_address_that_opens_sockets_all_the_time_keeps_nobody_out() -> None:
    async def opened(it: Site, address: str) -> int:
        url = f"{it.url.replace('http', 'ws')}/sessions/{SESSION}/media"
        token = KEYS.sign(Claims(Role.WATCH, exp=_now() + 60, jti="j"))
        headers = {"Authorization": f"Bearer {token}", "X-Forwarded-For": address}
        async with connect(url, additional_headers=headers, proxy=None) as socket:
            try:
                await socket.send("{}")
                async with asyncio.timeout(0.05):
                    await socket.recv()
            except ConnectionClosed as closed:
                return closed.rcvd.code if closed.rcvd is not None else 1006
            except TimeoutError:
                pass
            return 0

    async with site() as it:
        await it.prepare(None)
        codes = {await opened(it, "192.0.2.1") for _ in range(limits.OFFERS_PER_ADDRESS_BURST + 12)}
        assert 4503 in codes
        assert await opened(it, "192.0.2.2") == 0
