"""How an answer's addresses follow from the settings. Pure."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from ipaddress import ip_address

import pytest

from reactor_runtime.errors import SettingError
from reactor_runtime.webrtc.engines import open_engine
from reactor_runtime.webrtc.reach import (
    PublicAddress,
    Reach,
    free_media_ports,
    parse_media_ports,
    parse_public_address,
)

ANSWER = "\r\n".join(
    [
        "v=0",
        "o=- 1 2 IN IP4 127.0.0.1",
        "s=-",
        "t=0 0",
        "a=group:BUNDLE 0",
        "m=video 9 UDP/TLS/RTP/SAVPF 96",
        "a=mid:0",
        "a=ice-ufrag:abcd",
        "a=ice-pwd:0123456789012345678901",
        "a=candidate:1 1 udp 2122260223 10.0.0.5 50001 typ host generation 0",
        "a=candidate:2 1 udp 2122260222 fd00::5 50002 typ host",
        "a=candidate:3 1 udp 1686052607 198.51.100.7 50001 typ srflx raddr 10.0.0.5 rport 50001",
        "a=end-of-candidates",
        "",
    ]
)


def added(reach: Reach, host: str = "127.0.0.1", port: int = 8080) -> list[str]:
    """What `complete` adds, as "transport address port"."""
    reach.listening(host, port)
    lines = reach.complete(ANSWER).split("\r\n")
    assert lines[-2] == "a=end-of-candidates"
    new = [line.split() for line in lines if line.startswith("a=candidate:") and line not in ANSWER]
    assert all(words[6:8] == ["typ", "host"] for words in new)
    assert all((words[2] == "tcp") == (words[8:] == ["tcptype", "passive"]) for words in new)
    return [" ".join((words[2], words[4], words[5])) for words in new]


@pytest.mark.parametrize(
    ("host", "tcp"),
    [
        ("127.0.0.1", []),
        ("0.0.0.0", ["tcp 10.0.0.5 8080"]),
        ("::", ["tcp 10.0.0.5 8080", "tcp fd00::5 8080"]),
        ("10.0.0.5", ["tcp 10.0.0.5 8080"]),
        ("[fd00::5]", ["tcp fd00::5 8080"]),
    ],
)
def test_tcp_is_offered_at_the_addresses_where_http_listens(host: str, tcp: list[str]) -> None:
    assert added(Reach(), host) == tcp


def test_a_public_address_is_offered_for_udp_of_its_family_and_for_tcp() -> None:
    public = PublicAddress(ip_address("203.0.113.5"))
    assert added(Reach(public=public)) == ["udp 203.0.113.5 50001", "tcp 203.0.113.5 8080"]
    forwarded = PublicAddress(ip_address("2001:db8::1"), 9000)
    assert added(Reach(public=forwarded)) == ["udp 2001:db8::1 50002", "tcp 2001:db8::1 9000"]


def test_udp_is_liked_better_than_tcp_and_the_engines_own_better_than_both() -> None:
    reach = Reach(public=PublicAddress(ip_address("203.0.113.5")))
    reach.listening("0.0.0.0", 8080)
    lines = [line.split() for line in reach.complete(ANSWER).split("\r\n") if "candidate:" in line]
    priority = {f"{words[2]} {words[4]}": int(words[3]) for words in lines}
    assert priority["udp 10.0.0.5"] > priority["udp 203.0.113.5"] > priority["tcp 10.0.0.5"]
    assert priority["tcp 10.0.0.5"] > priority["tcp 203.0.113.5"]


def test_before_http_listens_an_answer_stays_as_it_is() -> None:
    assert Reach(public=PublicAddress(ip_address("203.0.113.5"))).complete(ANSWER) == ANSWER


@pytest.mark.parametrize(
    ("text", "ports"),
    [("", None), ("50000-50007", range(50_000, 50_008)), ("50000", range(50_000, 50_001))],
)
def test_media_ports_are_a_range_or_one(text: str, ports: range | None) -> None:
    assert parse_media_ports(text) == ports


@pytest.mark.parametrize("text", ["50007-50000", "0-5", "65000-65536", "a-b", "50000-", "-", "1-2-3"])
def test_what_is_no_range_of_ports_is_refused_with_a_fix(text: str) -> None:
    with pytest.raises(SettingError, match=r"no range of ports[\s\S]*Fix: write FROM-TO"):
        parse_media_ports(text)


@pytest.fixture
def taken() -> Iterator[range]:
    """Two UDP ports next to each other that somebody else holds."""
    with ExitStack() as stack:
        for port in range(52_000, 60_000, 2):
            try:
                for each in (port, port + 1):
                    stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)).bind(("", each))
            except OSError:
                continue
            yield range(port, port + 2)
            return


def test_ports_that_are_taken_are_counted_and_a_start_without_any_is_refused(taken: range) -> None:
    with pytest.raises(SettingError, match=rf"none of the UDP ports {taken.start}-{taken.stop - 1} is free"):
        free_media_ports(taken)
    assert free_media_ports(range(taken.start, taken.stop + 1)) <= 1


def test_the_engine_that_cannot_choose_its_ports_says_so() -> None:
    pytest.importorskip("aiortc")
    with pytest.raises(SettingError, match=r"aiortc cannot choose its ports[\s\S]*Fix: use --engine reactor"):
        open_engine("aiortc", Reach(media_ports=range(50_000, 50_008)))


@pytest.mark.parametrize(
    ("text", "address", "port"),
    [
        ("203.0.113.5", "203.0.113.5", None),
        ("203.0.113.5:9000", "203.0.113.5", 9000),
        ("[2001:db8::1]", "2001:db8::1", None),
        ("[2001:db8::1]:9000", "2001:db8::1", 9000),
        ("localhost:1", "127.0.0.1", 1),
    ],
)
def test_a_public_address_may_have_a_port_and_may_be_a_name(
    text: str, address: str, port: int | None
) -> None:
    parsed = parse_public_address(text)
    assert parsed is not None
    assert parsed.tcp_port == port
    assert str(parsed.address) == address or parsed.address.is_loopback


@pytest.mark.parametrize(
    "text", ["203.0.113.5:0", "203.0.113.5:65536", "2001:db8::1", "a b:1:2", "0.0.0.0", "no.such.invalid"]
)
def test_what_is_no_public_address_is_refused_with_a_fix(text: str) -> None:
    with pytest.raises(SettingError, match=r"--public-address[\s\S]*Fix: write"):
        parse_public_address(text)
