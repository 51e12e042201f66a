"""From a client's offer to a plan that an engine can follow, or a reason to refuse. Pure.

Sizes come first, because every engine's parser takes time that grows with its input, then structure, then
meaning. After `plan_offer` an engine is given only text that we understood: one codec per video section,
candidates that may be dialled, and for every media section the track that it carries or none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from .. import limits
from ..errors import OfferRejected
from ..types import Codec, Track
from . import sdp
from .candidate import RemoteCandidates
from .peer import TrackMapping

Name = TypeVar("Name", bound=str)
#: Says beside the picture how it is turned (3GPP TS 26.114). Neither engine tells us, and a sender to which it
#: is not answered turns the picture itself.
_ORIENTATION = "urn:3gpp:video-orientation"
#: Whoever offers leaves it to us who begins the DTLS handshake (RFC 8842 section 5.3). An engine would begin itself,
#: but the client knows a round trip earlier that it gets through, and the side that did not begin may send its
#: picture first: the engine is told that the client wants to begin.
_CLIENT_BEGINS = "a=setup:actpass", "a=setup:active"


@dataclass(frozen=True, slots=True)
class Plan:
    """What to answer. `tracks` maps the mid of each section in use to the model's track."""

    offer_sdp: str
    tracks: Mapping[str, Track]
    codecs: Mapping[str, Codec]
    """The codec of each output track, by its name."""


def plan_offer(
    offer_sdp: str,
    mapping: Sequence[TrackMapping],
    tracks: Sequence[Track],
    *,
    codecs: Sequence[Codec],
    decodes: Sequence[str],
) -> Plan:
    """Check an offer and decide which track each section carries, and in which codec.

    `codecs` are those we send and `decodes` those we receive, most preferred first. Raises OfferRejected.
    """
    offer = read_offer(offer_sdp)
    chosen = match_tracks(offer, mapping, tracks)
    video = [section for section in offer.sections if section.kind == "video"]
    sent: dict[str, Codec] = {}
    keep: dict[str, str] = {}
    for section in video:
        track = chosen.get(section.mid)
        if track is not None and track.direction == "out":
            sent[track.name] = keep[section.mid] = choose_codec(section, codecs)
        elif track is not None:
            keep[section.mid] = choose_codec(section, decodes)
    planned = sdp.without_extension(sdp.keep_codecs(offer, keep), _ORIENTATION)
    return Plan(sdp.with_line(planned, *_CLIENT_BEGINS).text(), chosen, sent)


def read_offer(offer_sdp: str) -> sdp.Description:
    """Check an offer's size and structure, and leave out the candidates that must not reach an engine."""
    size = len(offer_sdp.encode(errors="replace"))
    if size > limits.OFFER_MAX_BYTES:
        raise OfferRejected(f"the offer has {size} bytes, at most {limits.OFFER_MAX_BYTES} are accepted")
    if offer_sdp.count("\nm=") > limits.OFFER_MAX_SECTIONS:
        raise OfferRejected(f"the offer has more than {limits.OFFER_MAX_SECTIONS} m-sections")
    if offer_sdp.count("a=candidate:") > limits.OFFER_MAX_CANDIDATES:
        raise OfferRejected(f"the offer has more than {limits.OFFER_MAX_CANDIDATES} candidates")
    offer = sdp.parse(offer_sdp)
    _check_structure(offer)
    return sdp.without_lines(offer, _unusable_candidates(offer))


def _check_structure(offer: sdp.Description) -> None:
    live = [section for section in offer.sections if not section.rejected]
    if not live:
        raise OfferRejected("the offer has no m-section: offer the model's tracks and a data channel")
    mids = [section.mid for section in offer.sections]
    if len(set(mids)) != len(mids):
        raise OfferRejected("two m-sections have the same mid")
    if {section.mid for section in live} - set(offer.bundled()):
        raise OfferRejected("all m-sections must be in one BUNDLE group")
    if sum(section.kind == "application" for section in live) > 1:
        raise OfferRejected("the offer has more than one data channel section")
    for section in offer.sections:
        if section.kind not in ("audio", "video", "application"):
            raise OfferRejected(f"m-section {section.mid} is of kind {section.kind[:20]!r}")
        if section.kind == "application" and "webrtc-datachannel" not in section.lines[0]:
            raise OfferRejected("the data section must be 'UDP/DTLS/SCTP webrtc-datachannel'")
    # The first section of the bundle says how all are reached, and by what certificate (RFC 9143, section 9.2).
    carrier = min(live, key=lambda section: offer.bundled().index(section.mid))
    for name in ("ice-ufrag", "ice-pwd", "fingerprint"):
        prefix = f"a={name}:"
        if not any(line.startswith(prefix) for line in [*offer.session, *carrier.lines]):
            raise OfferRejected(f"the offer has no a={name}")


def _unusable_candidates(offer: sdp.Description) -> set[str]:
    """A client lists every interface it has, so a refused one among them is no reason to send it away."""
    unusable = set()
    known = RemoteCandidates()
    lines = [*offer.session, *(line for section in offer.sections for line in section.lines)]
    for line in lines:
        if not line.startswith("a=candidate:"):
            continue
        try:
            keep = known.admit(line)
        except OfferRejected:
            keep = False
        if not keep:
            unusable.add(line)
    return unusable


def match_tracks(
    offer: sdp.Description, mapping: Sequence[TrackMapping], tracks: Sequence[Track]
) -> dict[str, Track]:
    """Return the model's track of each section, by mid; sections without one are answered inactive.

    Names that the model does not have are passed over, so that a newer page works with an older model.
    Without a mapping, each section in turn takes the first free track of its kind and direction.
    """
    sections = {section.mid: section for section in offer.sections if section.kind in ("audio", "video")}
    free = {track.name: track for track in tracks}
    matched: dict[str, Track] = {}
    if not mapping:
        for section in sections.values():
            fitting = next((track for track in free.values() if _fits(section, track)), None)
            if fitting is not None:
                matched[section.mid] = free.pop(fitting.name)
        return matched
    for entry in mapping:
        wanted = sections.get(entry.mid)
        if wanted is None:
            raise OfferRejected(
                f"the track mapping names mid {entry.mid[:20]!r}, which the offer does not have"
            )
        if entry.mid in matched or entry.name in {track.name for track in matched.values()}:
            raise OfferRejected(f"the track mapping names {entry.name[:40]!r} or its mid twice")
        track = free.get(entry.name)
        if track is None:
            continue
        if not _fits(wanted, track):
            raise OfferRejected(
                f"track {track.name!r} goes {track.direction} of the model as {track.kind}, "
                f"but its m-section is {wanted.kind} {wanted.direction}"
            )
        matched[entry.mid] = track
    return matched


def _fits(section: sdp.Section, track: Track) -> bool:
    wanted = ("recvonly", "sendrecv") if track.direction == "out" else ("sendonly", "sendrecv")
    return section.kind == track.kind and (section.direction in wanted or section.direction == "inactive")


def choose_codec(section: sdp.Section, preferred: Sequence[Name]) -> Name:
    """Return the first of these codecs that a section offers. Raises OfferRejected if there is none."""
    for codec in preferred:
        if sdp.payload_type(section, codec) is not None:
            return codec
    raise OfferRejected(f"the offer has none of the video codecs {', '.join(preferred)}")


def complete_answer(answer_sdp: str, candidates: Sequence[str]) -> str:
    """Return an engine's answer with all our candidates in it: there is no trickle towards clients."""
    answer = sdp.without_lines(sdp.parse(answer_sdp), {"a=end-of-candidates"})
    present = {line for section in answer.sections for line in section.attributes("candidate")}
    return sdp.with_candidates(
        answer, [c for c in candidates if c.removeprefix("candidate:") not in present]
    ).text()
