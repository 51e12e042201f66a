"""Tokens that end while they are used, in virtual time: who has one is told, and goes; nobody else notices."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from support.house import House
from support.virtual_time import now_s

from reactor_runtime.errors import NotGranted, TokenExpired, TokenReplayed
from reactor_runtime.session.audit import Deed
from reactor_runtime.session.grants import Grant
from reactor_runtime.types import Role


def token(role: Role = Role.DRIVE, *, for_s: float = 1000, **said: Any) -> Grant:
    return Grant(role, jti="j", sub="Ann", ends=1_800_000_000 + now_s() + for_s, **said)


class Heard:
    """An audit that keeps what it is told."""

    def __init__(self) -> None:
        self.deeds: list[tuple[Deed, str]] = []

    def note(self, deed: Deed, grant: Grant, **about: str) -> None:
        self.deeds.append((deed, grant.sub))

    def close(self) -> None: ...


@pytest.mark.parametrize("said", [{"for_s": 3}, {"max_s": 3}, {"max_s": 500, "for_s": 3}])
async def test_whose_token_ends_is_told_and_disconnected_and_the_others_go_on(
    house: House, said: dict[str, Any]
) -> None:
    await house.start()
    other = await house.watch()
    _, link = await house.join(grant=token(**said))
    link.connect()
    link.notify("resume_track")
    await asyncio.sleep(2)
    assert link.told("notice") == []
    await asyncio.sleep(2)
    assert [told["code"] for told in link.told("notice")] == ["token_expired"]
    assert (link.closed, other.closed) == (True, False)
    assert house.viewers == 1


async def test_what_is_left_of_a_turn_is_all_that_a_reconnect_gets(house: House) -> None:
    await house.start()
    connection_id, link = await house.join(grant=token(max_s=10))
    link.connect()
    await asyncio.sleep(6)
    link.lose()
    await asyncio.sleep(1)
    link = await house.offer(connection_id, replace=True, grant=token(max_s=10))
    link.connect()
    open_after = []
    for _ in range(2):
        await asyncio.sleep(2)
        open_after.append(not link.closed)
    assert open_after == [True, False]
    with pytest.raises(TokenExpired):
        await house.join(grant=token(max_s=10))
    with pytest.raises(TokenExpired):
        await house.sessions.start(None, grant=token(max_s=10))


async def test_one_person_s_token_lets_one_connection_in_at_a_time(house: House) -> None:
    await house.start()
    _, first = await house.join(grant=token(once=True))
    _, second = await house.join(grant=token(once=True))
    first.connect()
    second.connect()
    second.notify("resume_track")
    await asyncio.sleep(0.1)
    assert (first.closed, second.closed) == (False, True)
    assert [told["code"] for told in second.told("notice")] == ["token_replayed"]
    with pytest.raises(TokenReplayed):
        await house.join(grant=token(once=True))
    first.lose()
    await asyncio.sleep(0.1)
    _, third = await house.join(grant=token(once=True))
    third.connect()
    await asyncio.sleep(0.1)
    assert not third.closed


async def test_a_token_for_one_session_starts_that_one_and_stops_no_other(house: House) -> None:
    with pytest.raises(NotGranted, match="another session"):
        await house.sessions.start("yours", grant=token(sid="mine"))
    assert (await house.sessions.start(None, grant=token(sid="mine")))["session_id"] == "mine"
    for session_id in (None, "mine"):
        with pytest.raises(NotGranted, match="another session"):
            await house.sessions.stop(session_id, moderate=False, reason="", grant=token(sid="yours"))
    with pytest.raises(NotGranted, match="another session"):
        await house.join(grant=token(sid="yours"))
    await house.sessions.stop(None, moderate=False, reason="", grant=token(sid="mine"))


async def test_the_audit_log_hears_who_started_joined_left_and_stopped(house: House) -> None:
    heard = house.sessions.audit = house.sessions._register.audit = Heard()
    await house.sessions.start(None, grant=token())
    _, link = await house.join(grant=replace(token(for_s=2), jti="k", sub="Bob"))
    link.connect()
    await asyncio.sleep(4)
    await house.sessions.stop(None, moderate=False, reason="", grant=token())
    assert heard.deeds == [
        ("start", "Ann"),
        ("join", "Bob"),
        ("drive", "Bob"),
        ("expire", "Bob"),
        ("leave", "Bob"),
        ("stop", "Ann"),
    ]


async def test_what_an_operator_does_from_the_page_is_written_down_and_a_drain_takes_one_of_all_sessions(
    house: House,
) -> None:
    heard = house.sessions.audit = house.sessions._register.audit = Heard()
    session_id = await house.start()
    _, driver = await house.join(grant=token())
    driver.connect()
    operators = []
    for sid in (session_id, None):
        grant = replace(
            token(Role.OPERATE, sid=sid), jti=f"o{sid}", sub=f"operator of {'one' if sid else 'all'}"
        )
        _, link = await house.join(grant=grant)
        link.connect()
        link.notify("resume_track")
        operators.append(link)
    await asyncio.sleep(0.1)
    operators[0].ask("operate", {"action": "drain"})
    await asyncio.sleep(0.1)
    assert [told["code"] for told in operators[0].told("notice")] == ["not_granted"]
    operators[0].ask("operate", {"action": "kick", "id": 1, "reason": "rude"})
    await asyncio.sleep(1)
    assert driver.closed
    operators[1].ask("operate", {"action": "end"})
    await asyncio.sleep(0.1)
    assert [deed for deed in heard.deeds if deed[0] not in ("start", "join", "drive")] == [
        ("kick", "operator of one"),
        ("leave", "Ann"),
        ("stop", "operator of all"),
    ]
