"""Offers: what is refused before an engine sees it, and what an engine is given of the rest."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import aiortc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reactor_runtime import limits
from reactor_runtime.errors import OfferRejected
from reactor_runtime.types import MAIN_VIDEO, WEBCAM, Track
from reactor_runtime.webrtc import sdp
from reactor_runtime.webrtc.candidate import RemoteCandidates
from reactor_runtime.webrtc.offer import Plan, complete_answer, plan_offer
from reactor_runtime.webrtc.peer import TrackMapping

DATA = Path(__file__).parent / "data"
CHROMIUM = (DATA / "chromium-offer.sdp").read_bytes().decode()
FIREFOX = (DATA / "firefox-offer.sdp").read_bytes().decode()
LIBWEBRTC = (DATA / "libwebrtc-python-offer.sdp").read_bytes().decode()

OUT = Track(MAIN_VIDEO, "video", "out")
IN = Track(WEBCAM, "video", "in")
MAPPING = (TrackMapping("0", MAIN_VIDEO), TrackMapping("1", WEBCAM))


def plan(
    offer: str, mapping: tuple[TrackMapping, ...] = MAPPING, tracks: tuple[Track, ...] = (OUT, IN)
) -> Plan:
    return plan_offer(offer, mapping, tracks, codecs=("h264", "vp8"), decodes=("vp8", "vp9"))


def with_line(offer: str, line: str) -> str:
    """Add a line to the first m-section."""
    return offer.replace("a=mid:0\r\n", f"a=mid:0\r\n{line}\r\n", 1)


def host(address: str, port: int = 50000, transport: str = "udp") -> str:
    return f"candidate:1 1 {transport} 2113937151 {address} {port} typ host generation 0"


# Plans -------------------------------------------------------------------------------------------------


def test_a_browser_gets_h264_and_sends_vp8() -> None:
    planned = plan(CHROMIUM)
    assert planned.codecs == {"main_video": "h264"}
    assert {mid: track.name for mid, track in planned.tracks.items()} == {"0": MAIN_VIDEO, "1": WEBCAM}
    out, inbound, data = sdp.parse(planned.offer_sdp).sections
    names = [value.split(" ")[1] for value in out.attributes("rtpmap")]
    assert names == ["H264/90000", "rtx/90000"]
    assert [value.split(" ")[1] for value in inbound.attributes("rtpmap")] == ["VP8/90000", "rtx/90000"]
    assert data.kind == "application"


@pytest.mark.parametrize("offer", [CHROMIUM, FIREFOX, LIBWEBRTC])
def test_the_client_begins_the_handshake_wherever_it_may(offer: str) -> None:
    assert offer.count("a=setup:actpass\r\n") > 0
    planned = plan(offer).offer_sdp
    assert planned.count("a=setup:active\r\n") == offer.count("a=setup:actpass\r\n")
    assert "actpass" not in planned
    passive = offer.replace("a=setup:actpass", "a=setup:passive")
    assert "a=setup:passive\r\n" in plan(passive).offer_sdp, "whoever will not begin is not made to"


def test_an_offer_without_h264_gets_vp8() -> None:
    assert "H264" not in LIBWEBRTC
    assert plan(LIBWEBRTC).codecs == {"main_video": "vp8"}


async def test_each_section_has_its_own_codec() -> None:
    pc = aiortc.RTCPeerConnection(aiortc.RTCConfiguration(iceServers=[]))
    known = aiortc.RTCRtpReceiver.getCapabilities("video")
    assert known is not None
    for codec in ("video/VP8", "video/H264"):
        transceiver = pc.addTransceiver("video", direction="recvonly")
        transceiver.setCodecPreferences([each for each in known.codecs if each.mimeType == codec])
    await pc.setLocalDescription(await pc.createOffer())
    mapping = [TrackMapping("0", "main_video"), TrackMapping("1", "depth")]
    tracks = (OUT, Track("depth", "video", "out"))
    planned = plan_offer(pc.localDescription.sdp, mapping, tracks, codecs=("h264", "vp8"), decodes=("vp8",))
    await pc.close()
    assert planned.codecs == {"main_video": "vp8", "depth": "h264"}


def test_an_offer_without_any_codec_we_send_is_refused() -> None:
    with pytest.raises(OfferRejected, match="none of the video codecs h264"):
        plan_offer(LIBWEBRTC, MAPPING, (OUT, IN), codecs=("h264",), decodes=("vp8",))


def test_a_retransmission_number_reused_across_the_bundle_is_dropped_from_the_later_section() -> None:
    offer = sdp.parse(CHROMIUM)
    vp8 = sdp.payload_type(offer.sections[1], "vp8")
    h264 = sdp.payload_type(offer.sections[0], "h264")
    apt = next(v.split(" ")[0] for v in offer.sections[0].attributes("fmtp") if v.endswith(f"apt={h264}"))
    first, second = CHROMIUM.split("a=mid:1\r\n")
    second = second.replace(f"a=fmtp:97 apt={vp8}", f"a=fmtp:{apt} apt={vp8}")
    assert f"a=fmtp:{apt} apt={vp8}" in second
    sections = sdp.parse(plan(f"{first}a=mid:1\r\n{second}").offer_sdp).sections
    assert sections[0].attributes("fmtp")[-1] == f"{apt} apt={h264}"
    assert sections[1].lines[0].split()[3:] == [str(vp8)]


def test_without_a_mapping_sections_take_the_models_tracks_in_order() -> None:
    assert plan(CHROMIUM, ()).tracks == {"0": OUT, "1": IN}


def test_without_a_mapping_directions_decide_when_the_order_differs() -> None:
    assert plan(CHROMIUM, (), (IN, OUT)).tracks == {"0": OUT, "1": IN}


def test_a_track_that_the_model_does_not_have_is_passed_over() -> None:
    planned = plan(CHROMIUM, (TrackMapping("0", MAIN_VIDEO), TrackMapping("1", "depth")))
    assert planned.tracks == {"0": OUT}


@pytest.mark.parametrize(
    ("mapping", "reason"),
    [
        ((TrackMapping("9", MAIN_VIDEO),), "mid '9'"),
        ((TrackMapping("0", MAIN_VIDEO), TrackMapping("0", WEBCAM)), "twice"),
        ((TrackMapping("0", MAIN_VIDEO), TrackMapping("1", MAIN_VIDEO)), "twice"),
        ((TrackMapping("1", MAIN_VIDEO),), "sendonly"),
        ((TrackMapping("2", MAIN_VIDEO),), "mid '2'"),
    ],
)
def test_a_mapping_that_cannot_be_meant_is_refused(mapping: tuple[TrackMapping, ...], reason: str) -> None:
    with pytest.raises(OfferRejected, match=reason):
        plan(CHROMIUM, mapping)


def test_firefox_sections_with_port_0_that_are_only_bundled_are_taken() -> None:
    sections = sdp.parse(FIREFOX).sections
    assert [section.lines[0].split()[1] for section in sections] == ["9", "0", "0"]
    assert not any(section.rejected for section in sections)
    planned = plan(FIREFOX)
    assert planned.tracks == {"0": OUT, "1": IN}
    assert [
        value.split(" ")[1] for value in sdp.parse(planned.offer_sdp).sections[1].attributes("rtpmap")
    ] == [
        "VP8/90000",
        "rtx/90000",
    ]


@pytest.mark.parametrize(
    "offer",
    [
        FIREFOX.replace("a=bundle-only\r\na=sendonly", "a=sendonly"),
        FIREFOX.replace("a=group:BUNDLE 0 1 2", "a=group:BUNDLE 0 2"),
    ],
)
def test_any_other_section_with_port_0_is_a_rejected_one(offer: str) -> None:
    assert [section.rejected for section in sdp.parse(offer).sections] == [False, True, False]


# Limits and structure ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offer", "reason"),
    [
        ("", "v=0"),
        ("hello", "v=0"),
        ("v=0\r\n", "no m-section"),
        (CHROMIUM + "a=x:" + "y" * limits.OFFER_MAX_BYTES + "\r\n", "bytes"),
        (CHROMIUM.replace("a=mid:1", "a=mid:0"), "same mid"),
        (CHROMIUM.replace("a=mid:1\r\n", ""), "a=mid"),
        (CHROMIUM.replace("a=group:BUNDLE 0 1 2", "a=group:BUNDLE 0 1"), "BUNDLE"),
        (CHROMIUM.replace("m=application", "m=text"), "kind 'text'"),
        (CHROMIUM.replace("webrtc-datachannel", "rtp"), "data section"),
        (CHROMIUM.replace("a=fingerprint", "a=fingertip"), "fingerprint"),
        (CHROMIUM.replace("a=fingerprint", "a=fingertip", 1), "fingerprint"),
        (FIREFOX.replace("a=fingerprint", "a=fingertip"), "fingerprint"),
        (CHROMIUM.replace("a=ice-pwd", "a=ice-pud", 1), "ice-pwd"),
        (CHROMIUM + "nonsense\r\n", "not an SDP line"),
        (CHROMIUM.replace("m=video 9", "m=video x"), "not an m-line"),
        (with_line(CHROMIUM, "a=sendonly"), "direction"),
        (CHROMIUM + "m=audio 9 X 0\r\na=mid:9\r\n" * 6, "more than 8 m-sections"),
        (CHROMIUM + "a=candidate:x\r\n" * 70, "more than 64 candidates"),
    ],
)
def test_an_offer_outside_the_limits_is_refused_with_its_reason(offer: str, reason: str) -> None:
    with pytest.raises(OfferRejected, match=reason):
        plan(offer)


def test_a_huge_offer_is_refused_at_once() -> None:
    huge = CHROMIUM + "a=candidate:1 1 udp 1 10.0.0.1 1 typ host\r\n" * 100_000
    started = time.perf_counter()
    with pytest.raises(OfferRejected):
        plan(huge)
    assert time.perf_counter() - started < 0.05


# Candidates --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    ["192.168.1.7", "10.0.0.1", "172.16.3.4", "203.0.113.9", "100.64.0.1", "fd00::2", "2001:db8::1"],
)
def test_public_and_private_addresses_are_accepted(address: str) -> None:
    assert RemoteCandidates().admit(host(address))
    assert RemoteCandidates().admit("a=" + host(address))


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.9.9.9",
        "169.254.169.254",
        "0.0.0.0",
        "0.1.2.3",
        "224.0.0.251",
        "239.1.1.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1",
        "fe80::1%eth0",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "2002:a9fe:a9fe::",
        "64:ff9b:1::a9fe:a9fe",
        "::a9fe:a9fe",
        "2001:0:c000:201:0:0:5601:5601",  # Teredo, of which the client is 169.254.169.254
        "240.0.0.1",
        "100.100.100.200",
        "168.63.129.16",
        "fd00:ec2::254",
        "fec0::1",
        "metadata.internal",
        "localhost",
        "evil.local.example.org",
        "a.b.local",
    ],
)
def test_addresses_that_aim_elsewhere_are_refused(address: str) -> None:
    with pytest.raises(OfferRejected):
        RemoteCandidates().admit(host(address))


def test_what_is_of_no_use_is_passed_over() -> None:
    candidates = RemoteCandidates()
    assert not candidates.admit("")
    assert not candidates.admit(host("10.0.0.1", transport="tcp") + " tcptype passive")
    assert not candidates.admit(host("9e68ae12-98b7-4c86-8f46-352563b480a4.local"))


@pytest.mark.parametrize(
    "text", ["candidate:", "x", host("10.0.0.1", 0), host("10.0.0.1", 70000), "a=" * 900]
)
def test_what_is_not_a_candidate_is_refused(text: str) -> None:
    with pytest.raises(OfferRejected):
        RemoteCandidates().admit(text)


def test_few_ports_of_one_address_are_checked_however_it_is_written() -> None:
    candidates = RemoteCandidates()
    assert [candidates.admit(host("2001:db8::1", port)) for port in (1, 2, 3)] == [True, True, False]
    assert not candidates.admit(host("2001:DB8:0::0:1", 4))
    assert candidates.admit(host("2001:db8::1", 2))
    assert candidates.admit(host("2001:db8::2", 3))


def test_a_connection_takes_so_many_candidates_and_no_more() -> None:
    candidates = RemoteCandidates()
    for n in range(limits.OFFER_MAX_CANDIDATES):
        candidates.admit(host(f"10.0.1.{n}"))
    with pytest.raises(OfferRejected, match="more than 64"):
        candidates.admit(host("10.0.0.1"))


def test_a_refused_address_is_left_out_of_an_offer_that_is_otherwise_fine() -> None:
    offer = with_line(with_line(CHROMIUM, "a=" + host("169.254.169.254", 80)), "a=" + host("10.1.2.3"))
    planned = plan(offer).offer_sdp
    assert "169.254" not in planned
    assert "10.1.2.3" in planned
    assert ".local" not in planned


def test_an_answer_carries_all_candidates_and_their_end_in_its_first_section() -> None:
    answer = complete_answer(
        CHROMIUM.replace(" typ host", " typ srflx"), [host("10.0.0.1"), host("10.0.0.2")]
    )
    first, *others = sdp.parse(answer).sections
    assert first.lines[-3:] == ("a=" + host("10.0.0.1"), "a=" + host("10.0.0.2"), "a=end-of-candidates")
    assert answer.count("end-of-candidates") == 1
    assert len(others) == 2


def test_reading_and_writing_changes_nothing() -> None:
    for offer in (CHROMIUM, FIREFOX, LIBWEBRTC):
        assert sdp.parse(offer).text() == offer


# Fuzz --------------------------------------------------------------------------------------------------


@st.composite
def mutants(draw: st.DrawFn) -> str:
    """Change a real offer line by line: delete, double, swap, cut, or put something strange in."""
    lines = draw(st.sampled_from((CHROMIUM, FIREFOX, LIBWEBRTC))).split("\r\n")
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(lines) - 1))
        match draw(st.integers(0, 5)):
            case 0:
                lines[at] = ""
            case 1:
                lines.insert(at, lines[draw(st.integers(0, len(lines) - 1))])
            case 2:
                lines[at] = lines[at][: draw(st.integers(0, len(lines[at])))]
            case 3:
                lines[at] += draw(st.text(max_size=12))
            case 4:
                lines[at] = lines[at].replace(
                    "9", draw(st.sampled_from(("-1", "99999999999", "", "\u0669", "\0")))
                )
            case _:
                lines.insert(at, draw(st.text(max_size=40)))
    return draw(st.sampled_from(("\r\n", "\n"))).join(lines)


@pytest.mark.slow
@given(mutants())
@settings(max_examples=400, deadline=None)
def test_a_mutated_offer_is_planned_or_refused_and_nothing_else(offer: str) -> None:
    try:
        planned = plan(offer)
    except OfferRejected:
        return
    assert sdp.parse(planned.offer_sdp).text() == planned.offer_sdp
    assert "169.254" not in planned.offer_sdp


@given(st.text())
def test_any_text_is_a_candidate_or_refused(text: str) -> None:
    with contextlib.suppress(OfferRejected):
        RemoteCandidates().admit(text)
