"""STUN servers that do not answer are waited for once."""

from __future__ import annotations

import pytest

from reactor_runtime.webrtc.peer import IceServer
from reactor_runtime.webrtc.silence import SilentServers, is_from_server

STUN = (IceServer(("stun:192.0.2.1:3478",)),)


def test_servers_are_waited_for_until_they_stayed_silent_and_again_once_they_answered() -> None:
    silent = SilentServers()
    assert silent.worth_waiting_for(STUN)
    silent.stayed_silent(STUN)
    assert not silent.worth_waiting_for(STUN)
    silent.answered(STUN)
    assert silent.worth_waiting_for(STUN)


def test_without_servers_nothing_is_waited_for_or_remembered() -> None:
    silent = SilentServers()
    silent.stayed_silent(())
    assert not silent.worth_waiting_for(())
    assert silent.worth_waiting_for(STUN)


@pytest.mark.parametrize(
    ("candidate", "answer"),
    [
        ("candidate:1 1 udp 2122260223 192.168.1.5 54321 typ host generation 0", False),
        ("candidate:2 1 udp 1686052607 203.0.113.7 54321 typ srflx raddr 192.168.1.5 rport 54321", True),
        ("candidate:3 1 udp 41885439 203.0.113.9 60000 typ relay raddr 203.0.113.7 rport 54321", True),
        ("candidate:4 1 udp 1 192.168.1.5 1 typ prflx", False),
        ("candidate:5 1 udp 1 192.168.1.5 1 typ", False),
        ("", False),
    ],
)
def test_what_a_server_told_is_known_by_its_type(candidate: str, answer: bool) -> None:
    assert is_from_server(candidate) is answer
