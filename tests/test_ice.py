"""STUN and TURN servers as an operator writes them."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reactor_runtime.errors import SettingError
from reactor_runtime.webrtc.ice import allowed_servers, parse_ice_server
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


@pytest.mark.parametrize(
    ("urls", "kept"),
    [
        (("stun:turn.example.org:3478",), True),
        (("turn:TURN.example.org", "turns:turn.example.org:443?transport=tcp"), True),
        (("stun:other.example.org",), False),
        (("stun:turn.example.org", "stun:169.254.169.254:80"), False),
        (("stun:turn.example.org.evil.example",), False),
        (("turn:user:password@turn.example.org",), False),
        (("http://turn.example.org",), False),
        ((), False),
    ],
)
def test_of_the_servers_that_a_client_names_those_on_allowed_hosts_are_used(
    urls: tuple[str, ...], *, kept: bool
) -> None:
    server = IceServer(urls, "ann", "secret")
    assert allowed_servers([server], ("turn.example.org",)) == ((server,) if kept else ())
    assert allowed_servers([server], ()) == ()
