"""A token is nowhere but where its bearer put it: not in a log, an error, a metric, a session's log or a header."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from base64 import urlsafe_b64encode
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.served import MODEL, served
from support.socket_viewer import SocketViewer
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from reactor_runtime.tokens import Claims, Keys
from reactor_runtime.types import Role

pytestmark = pytest.mark.slow

SECRET = "that-nobody-may-read-" + "s" * 32
KEYS = Keys.parse([f"k:{SECRET}"])
OPERATOR = "the-one-token-of-the-operator"
UPLOAD = {"name": "a.png", "size": 3, "mime_type": "image/png"}


def token(role: Role, **said: Any) -> str:
    return KEYS.sign(Claims(role, **{"exp": time.time() + 60, "jti": role.value, "sub": "Ann", **said}))


async def test_no_token_and_no_secret_is_in_anything_that_a_server_writes_or_answers(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    good, watch = token(Role.OPERATE), token(Role.WATCH)
    bad = [token(Role.DRIVE, exp=time.time() - 5), good[:-3] + "abc", "x" * 3000, "opaque-guess"]
    settings = {
        "token": OPERATOR,
        "token_keys": (f"k:{SECRET}",),
        "audit_log": str(tmp_path / "audit.jsonl"),
        "log_session": str(tmp_path / "logs"),
    }
    told: list[str] = []

    async def seen(answer: httpx.Response) -> None:
        told.append(
            f"{answer.status_code} {answer.headers.raw} {(await answer.aread()).decode(errors='replace')}"
        )
        assert answer.headers.get_list("referrer-policy") == ["no-referrer"]

    async with served(tmp_path / "model", MODEL, **settings) as runtime:
        async with httpx.AsyncClient(timeout=10, event_hooks={"response": [seen]}, trust_env=False) as http:
            base = f"{runtime.url}/t/{good}"
            started = (await http.post(f"{base}/start_session", json={})).json()
            session = started["session_id"]
            async with SocketViewer.joined(base, session_id=session) as viewer:
                await viewer.see(2)
                await viewer.ask("note", number=3)
                # Every way to show one, and every way to be wrong.
                for shown in (good, watch, OPERATOR, *bad):
                    for url, headers in (
                        (f"{runtime.url}/t/{shown}", {}),
                        (runtime.url, {"Authorization": f"Bearer {shown}"}),
                        (runtime.url, {"X-Reactor-Token": shown}),
                    ):
                        for method, path in (
                            ("GET", "/session"),
                            ("GET", "/nowhere"),
                            ("GET", "/"),
                            ("OPTIONS", "/session"),
                            ("POST", "/start_session"),
                            ("POST", f"/sessions/{session}/transport/webrtc/sdp_params"),
                            ("POST", f"/sessions/{session}/uploads"),
                            ("POST", "/sessions/no-such/uploads"),
                            ("GET", f"/clips?start=0&end=1&session_id={session}"),
                        ):
                            body = UPLOAD if "uploads" in path else {"sdp_offer": "v=0 nonsense"}
                            send: dict[str, Any] = {} if method in ("GET", "OPTIONS") else {"json": body}
                            await http.request(method, url + path, headers=headers, **send)
                    await http.get(f"{runtime.url}/session?token={shown}")
                    await http.get(f"{runtime.url}/t/{shown}/session", headers={"Host": "a b"})
                    refused = await socket_refused_or_not(runtime.url, session, shown)
                    assert len(refused) == (0 if shown in (good, watch, OPERATOR) else 2)
                    told += refused
                await http.get(f"{base}/metrics")
                await http.get(f"{base}/{started['session_log']['path']}")
                async with asyncio.timeout(5):
                    while not any("token_expired" in text for text in told):
                        await asyncio.sleep(0.01)
            told += [json.dumps(viewer.said, default=str)]
            await http.post(f"{base}/stop_session", json={})
        journal = [entry.public() for entry in runtime.sessions.journal.since(0)]
    written = files_below(tmp_path)
    # What these clients log of their own requests is theirs.
    written["log"] = "\n".join(
        f"{record.getMessage()} {record.exc_text or ''}"
        for record in caplog.records
        if record.name.partition(".")[0] not in ("httpx", "httpcore", "websockets")
    )
    written |= {"answers": "\n".join(told), "journal": json.dumps(journal)}
    assert '"deed": "join"' in written[str(tmp_path / "audit.jsonl")]
    assert any("logs" in name for name in written)
    secrets = [SECRET, OPERATOR, *(part for each in (good, watch, *bad) for part in hidden(each))]
    found = {where: each[:40] for where, text in written.items() for each in secrets if each in text}
    assert found == {}


def files_below(folder: Path) -> dict[str, str]:
    return {str(path): path.read_text(errors="replace") for path in folder.rglob("*") if path.is_file()}


def hidden(shown: str) -> list[str]:
    """What of a token may be nowhere: all of it, and its signature."""
    return [shown, *shown.split(".")[2:]]


async def socket_refused_or_not(url: str, session: str, shown: str) -> list[str]:
    """Open a socket in two ways, and return what is said where it is refused."""
    refusals = []
    address = f"{url.replace('http', 'ws')}/t/{shown}/sessions/{session}/media"
    spoken = "reactor.token." + urlsafe_b64encode(shown.encode()).decode().rstrip("=")
    for where, protocols in (
        (address, ["reactor.media.v1"]),
        (address.replace(f"/t/{shown}", ""), ["reactor.media.v1", spoken]),
    ):
        try:
            async with connect(where, subprotocols=protocols, proxy=None) as socket:  # type: ignore[arg-type]
                # The token is no protocol that a server speaks: it is not chosen.
                assert socket.subprotocol == "reactor.media.v1"
                assert shown not in str(socket.response.headers if socket.response else "")
        except InvalidStatus as refused:
            answer = refused.response
            refusals.append(f"{answer.status_code} {answer.headers} {answer.body!r}")
    return refusals
