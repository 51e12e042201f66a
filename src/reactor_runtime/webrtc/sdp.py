"""SDP as text in sections: read it, cut it down, put it together again. Pure; RFC 8866 and 8829.

Nothing is interpreted that we do not use, so what we hand an engine is the client's own text with lines
left out. Codecs are chosen by leaving all others out of a section: an engine then has nothing to prefer,
and payload types that browsers reuse across bundled sections cannot collide.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal, TypeAlias, get_args

from ..errors import OfferRejected

Direction: TypeAlias = Literal["sendrecv", "sendonly", "recvonly", "inactive"]
DIRECTIONS: tuple[Direction, ...] = get_args(Direction)


@dataclass(frozen=True, slots=True)
class Section:
    """One m-section: `lines` begins with the m-line and holds no line ends.

    Port 0 rejects a section unless it is `bundle-only` (RFC 9143 section 6): Firefox offers so every section
    of a bundle but the first.
    """

    kind: str
    mid: str
    direction: Direction
    rejected: bool
    lines: tuple[str, ...]

    def attributes(self, name: str) -> list[str]:
        """Return the values of all `a=name:value` lines."""
        prefix = f"a={name}:"
        return [line[len(prefix) :] for line in self.lines if line.startswith(prefix)]


@dataclass(frozen=True, slots=True)
class Description:
    session: tuple[str, ...]
    sections: tuple[Section, ...]

    def text(self) -> str:
        lines = [*self.session, *(line for section in self.sections for line in section.lines)]
        return "\r\n".join(lines) + "\r\n"

    def bundled(self) -> list[str]:
        """Return the mids of the first BUNDLE group."""
        return _bundled(self.session)


def parse(text: str) -> Description:
    """Cut a description into sections. Raises OfferRejected where that cannot be done."""
    lines = [line for line in text.replace("\r\n", "\n").split("\n") if line]
    if not lines or lines[0] != "v=0":
        raise OfferRejected("an SDP description begins with 'v=0'")
    for line in lines:
        if line[1:2] != "=" or any(character < " " for character in line):
            raise OfferRejected(f"not an SDP line: {line[:40]!r}")
    starts = [index for index, line in enumerate(lines) if line.startswith("m=")]
    edges = [*starts, len(lines)]
    session = tuple(lines[: edges[0]])
    bundled = _bundled(session)
    return Description(
        session, tuple(_section(tuple(lines[start:end]), bundled) for start, end in pairwise(edges))
    )


def _bundled(session: Iterable[str]) -> list[str]:
    for line in session:
        if line.startswith("a=group:BUNDLE"):
            return line.split()[1:]
    return []


def _section(lines: tuple[str, ...], bundled: Collection[str]) -> Section:
    words = lines[0][2:].split()
    if len(words) < 4 or not words[1].isdigit():
        raise OfferRejected(f"not an m-line: {lines[0][:60]!r}")
    mids = [line[6:] for line in lines if line.startswith("a=mid:")]
    directions: list[Direction] = [name for name in DIRECTIONS if f"a={name}" in lines]
    if len(mids) != 1 or not mids[0].isascii() or not 1 <= len(mids[0]) <= 16:
        raise OfferRejected("every m-section needs one a=mid of 1 to 16 ASCII characters")
    if len(directions) > 1:
        raise OfferRejected(f"m-section {mids[0]} has more than one direction")
    return Section(
        kind=words[0],
        mid=mids[0],
        direction=directions[0] if directions else "sendrecv",
        rejected=words[1] == "0" and not ("a=bundle-only" in lines and mids[0] in bundled),
        lines=lines,
    )


# Codecs ----------------------------------------------------------------------------------------------


def payload_type(section: Section, codec: str) -> int | None:
    """Return the payload type under which a section offers this codec in a form that we send."""
    fmtp = _fmtp(section)
    for value in section.attributes("rtpmap"):
        number, _, encoding = value.partition(" ")
        if number.isdigit() and encoding.lower() == f"{codec}/90000" and _suits(codec, fmtp.get(number, {})):
            return int(number)
    return None


def _suits(codec: str, parameters: Mapping[str, str]) -> bool:
    if codec == "h264":
        # RFC 6184 section 8.1: 42 with constraint_set1 is constrained baseline, which x264 makes here;
        # packetization mode 1, because a picture is larger than a packet.
        profile = parameters.get("profile-level-id", "420010").lower()
        try:
            constrained = profile.startswith("42") and int(profile[2:4], 16) & 0x4F == 0x40
        except ValueError:
            return False
        return constrained and parameters.get("packetization-mode") == "1"
    if codec == "vp9":
        return parameters.get("profile-id", "0") == "0"
    return True


def _fmtp(section: Section) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for value in section.attributes("fmtp"):
        number, _, rest = value.partition(" ")
        pairs = (item.partition("=") for item in rest.split(";"))
        found[number] = {key.strip().lower(): text.strip() for key, _, text in pairs}
    return found


def keep_codecs(description: Description, codecs: Mapping[str, str]) -> Description:
    """Leave in each section named by mid only this codec and its retransmissions.

    A retransmission payload type that an earlier bundled section uses otherwise is left out: Chromium
    reuses one number with another `apt`, which is legal only between sections that are not bundled.
    """
    taken: dict[int, str] = {}
    sections = []
    for section in description.sections:
        codec = codecs.get(section.mid)
        number = payload_type(section, codec) if codec else None
        if codec is None or number is None:
            sections.append(section)
            continue
        kept = {number: codec}
        for value, parameters in _fmtp(section).items():
            use = f"rtx {codec} {number}"
            if parameters.get("apt") == str(number) and value.isdigit() and taken.get(int(value), use) == use:
                kept[int(value)] = use
                break
        taken |= kept
        sections.append(_with_payloads(section, kept))
    return replace(description, sections=tuple(sections))


def _with_payloads(section: Section, kept: Collection[int]) -> Section:
    kind, port, protocol, *_ = section.lines[0].split()
    numbers = {str(number) for number in kept}
    lines = [" ".join((kind, port, protocol, *map(str, kept)))]
    for line in section.lines[1:]:
        name, _, value = line[2:].partition(":")
        of = value.partition(" ")[0]
        if line.startswith("a=") and name in ("rtpmap", "fmtp", "rtcp-fb") and of not in {*numbers, "*"}:
            continue
        lines.append(line)
    return replace(section, lines=tuple(lines))


def without_extension(description: Description, uri: str) -> Description:
    """Leave an RTP header extension (RFC 8285) out of all sections, so that no answer can accept it."""
    lines = {line for section in description.sections for line in section.lines}
    return without_lines(
        description, {line for line in lines if line.startswith("a=extmap:") and line.split()[1:2] == [uri]}
    )


# Candidates ------------------------------------------------------------------------------------------


def without_lines(description: Description, unwanted: Collection[str]) -> Description:
    """Leave lines out, wherever they stand."""
    session = tuple(line for line in description.session if line not in unwanted)
    sections = (
        replace(section, lines=tuple(line for line in section.lines if line not in unwanted))
        for section in description.sections
    )
    return Description(session, tuple(sections))


def with_line(description: Description, before: str, after: str) -> Description:
    """Write one line otherwise, wherever it stands."""

    def written(lines: Iterable[str]) -> tuple[str, ...]:
        return tuple(after if line == before else line for line in lines)

    sections = (replace(section, lines=written(section.lines)) for section in description.sections)
    return Description(written(description.session), tuple(sections))


def with_candidates(description: Description, candidates: Iterable[str]) -> Description:
    """Put candidates and their end into the section that carries the bundle's transport."""
    lines = [f"a={candidate.removeprefix('a=')}" for candidate in candidates]
    carrier = next((section for section in description.sections if not section.rejected), None)
    sections = tuple(
        replace(section, lines=(*section.lines, *lines, "a=end-of-candidates"))
        if section is carrier
        else section
        for section in description.sections
    )
    return replace(description, sections=sections)
