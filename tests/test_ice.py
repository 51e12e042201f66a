"""STUN and TURN servers as an operator writes them."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reactor_runtime.errors import SettingError
from reactor_runtime.webrtc.ice import parse_ice_server
from reactor_runtime.webrtc.peer import IceServer

visible = st.text(st.characters(min_codepoint=33, max_codepoint=0x2FF, exclude_categories=["Cs"]), min_size=1)


@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("stun:stun.example.org", IceServer(("stun:stun.example.org",))),
        ("stun:[2001:db8::1]:3478", IceServer(("stun:[2001:db8::1]:3478",))),
        (
            "turns:ann:s3cret@turn.example.org:5349?transport=tcp",
            IceServer(("turns:turn.example.org:5349?transport=tcp",), "ann", "s3cret"),
        ),
    ],
)
def test_a_server_is_one_text(text: str, server: IceServer) -> None:
    assert parse_ice_server(text) == server


@given(username=visible, password=visible)
def test_any_credentials_survive_percent_encoding(username: str, password: str) -> None:
    server = parse_ice_server(f"turn:{quote(username, safe='')}:{quote(password, safe='')}@h:1")
    assert (server.username, server.password) == (username, password)


@pytest.mark.parametrize(
    "text", ["", "http://x", "stun:", "stun:a b", "turn:host:3478", "turn:user@host", "stun:h?transport=sctp"]
)
def test_other_text_is_refused_with_what_to_write(text: str) -> None:
    with pytest.raises(SettingError, match="Fix: write"):
        parse_ice_server(text)


def test_a_refusal_does_not_repeat_a_password() -> None:
    with pytest.raises(SettingError) as refused:
        parse_ice_server("turn:ann:s3c:ret@turn.example.org")
    assert "s3c" not in str(refused.value)
