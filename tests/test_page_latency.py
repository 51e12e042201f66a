"""Where the page says that the time goes, from a press to its picture."""

from __future__ import annotations

import pytest
from support.page_modules import run

pytestmark = pytest.mark.usefixtures("node")

#: A picture that left the server 30 ms after the command had come, and was displayed 20 ms after its last packet.
FRAME = {"rtp": 9000, "displayMs": 1080.0, "receivedMs": 1060.0, "decodeMs": 6.0, "presented": 1}
TIMES = {"asked_ms": 500.0, "began_ms": 508.0, "emitted_ms": 520.0, "encoding_ms": 522.0, "sent_ms": 530.0}


def test_each_part_of_the_way_gets_its_time_and_they_add_up() -> None:
    sample = run(
        "breakdown", "return m.ofCommand(1000, x.frame, x.times, 1011);", {"frame": FRAME, "times": TIMES}
    )
    assert sample["totalMs"] == 80
    assert sample["parts"] == {
        "uplink": 11,
        "waiting": 8 + 2,
        "model": 12,
        "encode": 8,
        "network": 19,
        "decode": 6,
        "display": 14,
    }
    assert sum(sample["parts"].values()) == sample["totalMs"]


def test_a_command_that_came_while_its_picture_was_made_waited_for_nothing_before_it() -> None:
    times = {**TIMES, "asked_ms": 512.0}
    parts = run("breakdown", "return m.ofCommand(1000, x[0], x[1], 1011);", [FRAME, times])["parts"]
    assert (parts["waiting"], parts["model"]) == (2, 8)


def test_where_the_browser_does_not_say_when_a_picture_came_the_rest_is_the_network_s() -> None:
    frame = {**FRAME, "receivedMs": None, "decodeMs": None}
    sample = run("breakdown", "return m.ofCommand(1000, x[0], x[1], null);", [frame, TIMES])
    assert sample["parts"]["uplink"] == sample["parts"]["network"] == 25
    assert sum(sample["parts"].values()) == sample["totalMs"] == 80


def test_the_parts_add_up_whatever_the_clocks_and_the_browser_say() -> None:
    worst = run(
        "breakdown",
        """
        let worst = 0;
        const some = (most) => Math.random() * most;
        for (let n = 0; n < 5000; n += 1) {
          const asked_ms = some(1e7), began_ms = asked_ms + some(200) - 100;
          const emitted_ms = Math.max(asked_ms, began_ms) + some(100);
          const encoding_ms = emitted_ms + some(50), sent_ms = encoding_ms + some(20);
          const receivedMs = Math.random() < 0.2 ? null : 5000 + some(200);
          const displayMs = (receivedMs ?? 5200) + some(60) - 5, decodeMs = Math.random() < 0.2 ? null : some(40);
          const times = {asked_ms, began_ms, emitted_ms, encoding_ms, sent_ms};
          const frame = {rtp: 1, displayMs, receivedMs, decodeMs, presented: 1};
          const {totalMs, parts} = m.ofCommand(some(5000), frame, times, 5000 + some(2000) - 1000);
          const sum = m.PARTS.reduce((all, part) => all + parts[part], 0);
          worst = Math.max(worst, Math.abs(sum - totalMs));
        }
        return worst;
        """,
    )
    assert worst < 1e-6


def test_what_is_shown_is_the_sample_in_the_middle_of_the_last_ten_seconds() -> None:
    typical = run(
        "breakdown",
        """
        const samples = new m.Samples();
        const add = (atMs, totalMs) => samples.add({atMs, totalMs, parts: {}});
        for (const ms of [900, 901, 902, 903, 904]) add(1000, ms);
        for (const ms of [70, 300, 50, 60]) add(8000 + ms, ms);
        return [samples.typical(9000)?.totalMs, samples.typical(11500)?.totalMs, samples.typical(30000)];
        """,
    )
    assert typical == [900, 60, None]


@pytest.mark.parametrize("way_ms", [0.2, 75.0])
def test_the_server_s_clock_is_read_through_a_network_that_holds_messages_up(way_ms: float) -> None:
    worst = run(
        "serverclock",
        """
        const clock = new m.ServerClock();
        let worst = 0, seed = 7;
        const random = () => (seed = (seed * 16807) % 2147483647) / 2147483647;
        for (let nowMs = 0; nowMs < 60000; nowMs += 500) {
          const held = random() < 0.3 ? 0 : 80 * random();
          clock.tookRoundTrip(2 * x + (random() < 0.3 ? 0 : 40 * random()), nowMs);
          clock.heard(nowMs + 123456, nowMs + x + held);
          if (nowMs > 10000) worst = Math.max(worst, Math.abs(clock.toPage(nowMs + 123456) - nowMs));
        }
        return worst;
        """,
        way_ms,
    )
    assert worst < 0.001


def test_the_age_is_of_pictures_that_were_seen_whichever_comes_first_the_picture_or_word_of_it() -> None:
    totals = run(
        "breakdown,latency",
        """
        const frames = new m.DisplayedFrames();
        const breakdown = new m.Breakdown();
        const show = (rtp, displayMs) => {
          const frame = {rtp, displayMs, receivedMs: displayMs - 8, decodeMs: 3, presented: 1};
          frames.add(frame);
          breakdown.displayed(frame);
        };
        const told = (rtp, sent_ms, nowMs) => breakdown.sent(
          rtp, {began_ms: sent_ms - 20, emitted_ms: sent_ms - 10, encoding_ms: sent_ms - 6, sent_ms, now_ms: sent_ms},
          nowMs, frames.find(rtp));
        told(3000, 0, 1000); show(3000, 1010);             // word first
        show(6000, 1050); told(6000, 40, 1060);            // picture first
        told(9000, 80, 1080); show(12000, 1130);           // skipped
        told(4294967000, 120, 1120); show(500, 1160);      // skipped, across the wrap
        return [breakdown.pictures.all.map(({totalMs}) => totalMs), breakdown.pending.length];
        """,
    )
    assert totals == [[30, 30], 0]


def test_pictures_that_never_come_are_forgotten() -> None:
    pending = run(
        "breakdown",
        """
        const breakdown = new m.Breakdown();
        const times = {began_ms: 0, emitted_ms: 0, encoding_ms: 0, sent_ms: 0, now_ms: 0};
        for (let n = 0; n < 100; n += 1) breakdown.sent(n * 3000, times, n, undefined);
        return breakdown.pending.length;
        """,
    )
    assert pending <= 8


@pytest.mark.parametrize(
    ("codec", "qp", "name"),
    [("H264", 20, "fine"), ("H264", 30, "fair"), ("H264", 45, "coarse"), ("VP8", 30, "fine"), ("VP8", 100, "coarse"),
     ("AV1", 30, ""), ("H264", None, "")],
)  # fmt: skip
def test_how_coarse_a_picture_is_has_a_word(codec: str, qp: float | None, name: str) -> None:
    assert run("linkstats", "return m.quality(...x);", [codec, qp]) == name


@pytest.mark.parametrize(
    ("local", "remote", "rung"),
    [
        ({"protocol": "udp", "candidateType": "host"}, {"candidateType": "host"}, "UDP"),
        ({"protocol": "tcp", "candidateType": "host"}, {"candidateType": "host"}, "TCP"),
        (
            {"protocol": "udp", "candidateType": "relay", "relayProtocol": "tls"},
            {"candidateType": "host"},
            "TLS through a relay",
        ),
    ],
)
def test_what_carries_the_pictures_is_named(local: object, remote: object, rung: str) -> None:
    said = run(
        "linkstats",
        """
        const pair = {id: "p", type: "candidate-pair", nominated: true, state: "succeeded",
                      localCandidateId: "l", remoteCandidateId: "r"};
        return new m.LinkStats().read(new Map([["p", pair], ["l", x[0]], ["r", x[1]]])).rung;
        """,
        [local, remote],
    )
    assert said == rung
