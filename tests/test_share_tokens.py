"""Tokens that an operator has made for a link: who may, what they say, and what is kept of it."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from support.memory_runtime import TOKEN, serving

from reactor_runtime import limits
from reactor_runtime.session.audit import AuditLog
from reactor_runtime.tokens import Claims, Keys
from reactor_runtime.types import Role

KEY = "k:" + "s" * 32
KEYS = Keys.parse([KEY])


def shown(role: Role, **said: Any) -> dict[str, str]:
    """Made when the tests are collected, which may be a while before they run."""
    return {"Authorization": f"Bearer {KEYS.sign(Claims(role, time.time() + 3600, 'j', **said))}"}


OPERATOR = {"Authorization": f"Bearer {TOKEN}"}


async def test_an_operator_has_a_token_made_that_lets_its_bearer_watch_for_an_hour() -> None:
    async with serving(token=TOKEN, token_keys=(KEY,)) as live:
        body = {"role": "watch", "for_s": 3600, "session_id": "s-1"}
        for asker in (OPERATOR, shown(Role.OPERATE)):
            answer = await live.call("POST", "/tokens", json=body, headers=asker)
            assert answer.status_code == 201
            assert answer.headers["cache-control"] == "no-store"
            made = answer.json()
            claims = KEYS.read(made.pop("token").encode(), time.time())
            assert made == {"role": "watch", "expires_s": 3600}
            assert (claims.role, claims.sid, claims.once) == (Role.WATCH, "s-1", False)
            assert 3590 < claims.exp - time.time() <= 3602


@pytest.mark.parametrize(
    ("settings", "headers", "body", "status"),
    [
        ({}, shown(Role.DRIVE), {}, 403),
        ({}, shown(Role.OPERATE, sid="s-1"), {}, 403),
        ({}, {}, {}, 401),
        ({"token_keys": ()}, OPERATOR, {}, 409),
        ({}, OPERATOR, {"role": "operate"}, 422),
        ({}, OPERATOR, {"for_s": 0}, 422),
        ({}, OPERATOR, {"for_s": limits.TOKEN_SHARED_S + 1}, 422),
        ({}, OPERATOR, {"session_id": "../x"}, 422),
    ],
)
async def test_nobody_else_has_one_made_and_no_operator_is_made(
    settings: dict[str, Any], headers: dict[str, str], body: dict[str, Any], status: int
) -> None:
    async with serving(**{"token": TOKEN, "token_keys": (KEY,), **settings}) as live:
        asked = {"role": "watch", "for_s": 60, **body}
        assert (await live.call("POST", "/tokens", json=asked, headers=headers)).status_code == status


@pytest.mark.parametrize(
    ("settings", "headers", "role", "shares"),
    [
        ({"token": TOKEN, "token_keys": (KEY,)}, OPERATOR, "operate", ["watch", "vote", "drive"]),
        ({"token": TOKEN, "token_keys": (KEY,)}, shown(Role.OPERATE, sid="s"), "operate", []),
        ({"token_keys": (KEY,)}, shown(Role.DRIVE), "drive", []),
        ({"token": TOKEN}, OPERATOR, "operate", []),
        ({"token": TOKEN, "visitor_role": "vote"}, {}, "vote", []),
        ({}, {}, "operate", []),
    ],
)
async def test_the_overview_tells_each_his_role_and_for_whom_he_may_make_links(
    settings: dict[str, Any], headers: dict[str, str], role: str, shares: list[str]
) -> None:
    async with serving(**settings) as live:
        told = (await live.call("GET", "/overview", headers=headers)).json()
        assert (told["role"], told["shares"]) == (role, shares)


async def test_a_token_that_was_made_is_in_the_audit_log_by_its_name_only(tmp_path: Path) -> None:
    audit = AuditLog(tmp_path / "audit")
    async with serving(audit=audit, token=TOKEN, token_keys=(KEY,)) as live:
        made = await live.call("POST", "/tokens", json={"role": "drive", "for_s": 9}, headers=OPERATOR)
    audit.close()
    text = (tmp_path / "audit").read_text()
    (line,) = map(json.loads, text.splitlines())
    jti = KEYS.read(made.json()["token"].encode(), time.time()).jti
    assert (line["deed"], line["whom"], line["reason"]) == ("issue", jti, "drive")
    assert made.json()["token"] not in text
