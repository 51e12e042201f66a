"""What opens a server: its token, its keys, and what it is to whoever shows neither."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from support.memory_runtime import TOKEN, serving

from reactor_runtime.cli.run import require_token
from reactor_runtime.config import Settings
from reactor_runtime.errors import SettingError
from reactor_runtime.server.author import is_private
from reactor_runtime.server.doors import Doors
from reactor_runtime.types import Role

KEY = "k:" + "never-to-be-told-" + "s" * 32


def settings(**values: Any) -> Settings:
    return Settings.load(values, {})


def test_a_file_of_keys_is_read_with_those_of_the_setting_and_must_not_be_others_to_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "keys"
    file.touch(0o600)
    file.write_text(f"# new\n{KEY}\n")
    assert Doors.of(settings(token_key_file=str(file))).keys
    assert caplog.messages == []
    file.chmod(0o644)
    Doors.of(settings(token_key_file=str(file)))
    assert ["chmod 600" in text for text in caplog.messages] == [True]
    with pytest.raises(SettingError, match="two token keys are called 'k'"):
        Doors.of(settings(token_key_file=str(file), token_keys=(KEY,)))


@pytest.mark.parametrize("content", [None, "", "# none\n", "no key at all, and a secret\n", b"\xff\xfe"])
def test_a_file_without_a_key_never_opens_a_server(tmp_path: Path, content: str | bytes | None) -> None:
    file = tmp_path / "keys"
    if content is not None:
        file.touch(0o600)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(SettingError) as refused:
        Doors.of(settings(token_key_file=str(file)))
    assert "and a secret" not in str(refused.value)


def test_a_key_is_in_no_text_that_a_setting_or_a_door_is_shown_as(caplog: pytest.LogCaptureFixture) -> None:
    made = settings(token_keys=(KEY,), token=TOKEN)
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("test").info("%r %s %r", made, made, Doors.of(made))
    assert "never-to-be-told" not in caplog.text
    assert TOKEN not in caplog.text
    with pytest.raises(SettingError) as refused:
        settings(token_keys=(KEY, KEY, KEY))
    assert "never-to-be-told" not in str(refused.value)
    with pytest.raises(SettingError) as refused:
        settings(token_keys=({"a": "never-to-be-told"},))
    assert "never-to-be-told" not in str(refused.value)


@pytest.mark.parametrize("values", [{"token_keys": (KEY,)}, {"token_key_file": "keys"}, {"token": "t"}])
def test_a_server_that_tokens_open_may_be_reached_by_others_and_has_no_author(values: dict[str, Any]) -> None:
    made = settings(host="0.0.0.0", **values)
    require_token(made)
    assert not is_private(settings(**values))
    assert made.locked
    assert not settings(**values, visitor_role="watch").locked


def test_a_role_for_visitors_opens_nothing_where_no_token_tells_them_from_the_operator() -> None:
    with pytest.raises(SettingError, match="--allow-public"):
        require_token(settings(host="0.0.0.0", visitor_role="drive"))
    with pytest.raises(SettingError, match="all would be operators"):
        Doors.of(settings(visitor_role="watch"))


async def test_visitors_without_a_token_are_let_in_as_pages_of_this_server_and_no_others() -> None:
    async with serving(token=TOKEN, visitor_role="watch") as live:
        for headers, status in [
            ({}, 200),
            ({"Authorization": "Bearer local"}, 200),
            ({"Authorization": "Bearer wrong"}, 401),
            ({"Origin": "https://evil.example"}, 403),
            ({"Host": "evil.example"}, 421),
        ]:
            assert (await live.call("GET", "/session", headers=headers)).status_code == status, headers
        for headers, status in [({}, 401), ({"Authorization": f"Bearer {TOKEN}"}, 200)]:
            started = await live.call("POST", "/start_session", json={}, headers=headers)
            assert started.status_code == status, headers
        told = (await live.call("GET", "/metrics", headers={"X-Reactor-Token": TOKEN})).text
    assert 'reactor_requests_refused_total{code="unauthorized"} 2.0' in told


def test_a_role_is_one_of_those_that_visitors_may_have() -> None:
    assert Doors.of(settings(token=TOKEN, visitor_role="vote")).visitor is Role.VOTE
    with pytest.raises(SettingError, match="visitor_role"):
        settings(visitor_role="operate")
