"""The bad network itself: what a line does to packets, in virtual time, and that real packets meet it."""

from __future__ import annotations

import re
import statistics
import subprocess
import sys
from collections.abc import Iterator

import pytest
from net.line import Conditions, Line
from net.relay import ADDRESSES, ADDRESSES_6, Network, bad_network, missing


def sent(line: Line, count: int, *, every_s: float = 0.01, size_bytes: int = 1000) -> list[float | None]:
    """How late each of so many packets arrives."""
    late = []
    for n in range(count):
        arrival_s = line.arrival(size_bytes, n * every_s)
        late.append(None if arrival_s is None else arrival_s - n * every_s)
    return late


def test_a_line_without_conditions_passes_everything_at_once() -> None:
    assert sent(Line(Conditions(), seed=1), 50) == [0.0] * 50


def test_delay_and_jitter_hold_packets_up_and_keep_their_order() -> None:
    late = [each for each in sent(Line(Conditions(delay_ms=40, jitter_ms=20), seed=1), 2_000) if each]
    assert 0.04 <= min(late) < 0.042
    assert 0.058 < max(late) <= 0.06
    crowded = Line(Conditions(jitter_ms=30), seed=1)
    arrivals = [crowded.arrival(100, n * 0.001) or 0.0 for n in range(500)]
    assert arrivals == sorted(arrivals)


@pytest.mark.parametrize("burst", [1.0, 4.0])
def test_loss_has_the_share_and_the_bursts_that_were_asked_for(burst: float) -> None:
    late = sent(Line(Conditions(loss=0.05, burst=burst), seed=7), 100_000)
    lost = "".join("x" if each is None else "." for each in late)
    assert lost.count("x") / len(lost) == pytest.approx(0.05, rel=0.1)
    runs = [len(run) for run in re.findall("x+", lost)]
    # Independent losses meet as well: 1 / (1 - 0.05) in a row on average.
    assert statistics.mean(runs) == pytest.approx(max(burst, 1 / 0.95), rel=0.1)


def test_the_same_seed_loses_the_same_packets() -> None:
    bad = Conditions(loss=0.1, jitter_ms=10)
    assert sent(Line(bad, seed=3), 500) == sent(Line(bad, seed=3), 500)
    assert sent(Line(bad, seed=3), 500) != sent(Line(bad, seed=4), 500)


def test_a_rate_queues_as_far_as_its_buffer_and_then_drops() -> None:
    """2 Mbit/s offered to 1 Mbit/s: the buffer of 50 kB is 0.4 s long, then every other packet goes."""
    line = Line(Conditions(rate_bit_s=1e6, buffer_bytes=50_000), seed=1)
    late = sent(line, 1_000, every_s=0.004)
    assert late[0] == pytest.approx(0.008)
    passed = [each for each in late if each is not None]
    assert max(passed) == pytest.approx(0.4, abs=0.01)
    assert line.counts["passed"] == pytest.approx(500 + 50, abs=5)
    assert line.counts["full"] == 1_000 - line.counts["passed"]


def test_a_blackout_is_counted_from_when_the_conditions_were_set() -> None:
    line = Line(Conditions(), seed=1)
    line.become(Conditions(blackouts=[(1.0, 2.0)]), 10.0)
    assert [line.arrival(100, at_s) is None for at_s in (10.9, 11.0, 11.9, 12.0)] == [
        False,
        True,
        True,
        False,
    ]


def test_a_line_that_bars_udp_passes_the_rest() -> None:
    line = Line(Conditions(udp=False), seed=1)
    assert line.arrival(100, 0.0, is_udp=True) is None
    assert line.arrival(100, 0.0, is_udp=False) == 0.0
    assert line.counts == {"barred": 1, "passed": 1}


ECHO = """
import socket
with socket.create_server(("::", 7), family=socket.AF_INET6, dualstack_ipv6=True) as tcp:
    udp = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    udp.bind(("::", 7))
    print("ready", flush=True)
    while True:
        udp.sendto(*udp.recvfrom(2048))
"""
ASK = """
import socket, sys, time
udp = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
udp.settimeout(0.3)
for n in range(int(sys.argv[2])):
    began_s = time.perf_counter()
    udp.sendto(b"%d" % n, (sys.argv[1], 7))
    try:
        while int(udp.recv(2048)) != n:
            pass
    except TimeoutError:
        continue
    print((time.perf_counter() - began_s) * 1000)
"""


@pytest.fixture
def echoing() -> Iterator[Network]:
    if why := missing():
        pytest.skip(why)
    with bad_network() as net:
        command = net.command("server", sys.executable, "-c", ECHO)
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"
        yield net
        server.kill()
        server.wait()
        server.stdout.close()


def ask(net: Network, address: str, *, count: int) -> tuple[float, float]:
    """Return the share of packets that came back, and the median milliseconds that took."""
    command = net.command("client", sys.executable, "-c", ASK, address, str(count))
    said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    times = [float(each) for each in said.split()]
    return len(times) / count, statistics.median(times) if times else 0.0


def connects(net: Network) -> bool:
    code = f"import socket; socket.create_connection(({ADDRESSES['server']!r}, 7), timeout=2)"
    return (
        subprocess.run(net.command("client", sys.executable, "-c", code), capture_output=True).returncode == 0
    )


@pytest.mark.slow
def test_real_packets_meet_the_line(echoing: Network) -> None:
    net, server = echoing, f"::ffff:{ADDRESSES['server']}"
    for address in (server, ADDRESSES_6["server"]):
        share, ms = ask(net, address, count=20)
        assert share == 1
        assert ms < 10
    net.become(Conditions(delay_ms=40, loss=0.2))
    share, ms = ask(net, server, count=40)
    assert 0.35 < share < 0.95  # 0.64 on average
    assert 80 <= ms < 110
    net.become(Conditions(udp=False))
    assert ask(net, server, count=3)[0] == 0
    assert connects(net)
    assert net.counts()["there"]["barred"] >= 3
    net.become(Conditions(blackouts=[(0, 60)]))
    assert not connects(net)
    net.become(Conditions())
    assert ask(net, server, count=3)[0] == 1
