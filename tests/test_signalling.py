"""Offer, answer and candidates of one connection, with peers that do as they are told; no engine, no network."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from reactor_runtime import limits
from reactor_runtime.errors import OfferRejected, PeerFailed
from reactor_runtime.link import Link, LinkEvents, LinkState
from reactor_runtime.types import MAIN_VIDEO, Codec, EncodedFrame, Track
from reactor_runtime.webrtc.peer import Candidate, IceServer, TrackMapping
from reactor_runtime.webrtc.signalling import Signalling

TRACKS = (Track(MAIN_VIDEO, "video", "out"),)


@dataclass(eq=False)
class ScriptedPeer:
    """Answers when told to, and keeps what it is given."""

    name: str
    outcome: asyncio.Future[str] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    candidates: list[str] = field(default_factory=list)
    state: LinkState = LinkState.CONNECTING
    codecs: Mapping[str, Codec] = field(default_factory=dict)
    closed: bool = False

    async def answer(self, offer_sdp: str, mapping: Sequence[TrackMapping]) -> str:
        return await self.outcome

    async def add_candidate(self, candidate: Candidate) -> None:
        if "refused" in candidate.candidate:
            raise OfferRejected("not this one")
        self.candidates.append(candidate.candidate)

    def send_frame(self, track: str, frame: EncodedFrame, *, report: bool = False) -> None: ...

    def send(self, label: str, data: str | bytes) -> bool:
        return False

    async def stats(self) -> dict[str, float]:
        return {}

    async def close(self) -> None:
        self.closed, self.state = True, LinkState.LOST
        await asyncio.sleep(0)


class ScriptedEngine:
    def __init__(self) -> None:
        self.peers: list[ScriptedPeer] = []

    async def probe(self, ice_servers: Sequence[IceServer]) -> None: ...

    def create(
        self,
        events: LinkEvents,
        tracks: Sequence[Track],
        *,
        codecs: Sequence[Codec],
        ice_servers: Sequence[IceServer] = (),
    ) -> ScriptedPeer:
        self.peers.append(ScriptedPeer(f"peer {len(self.peers) + 1}"))
        return self.peers[-1]

    async def close(self) -> None: ...


class Holder:
    """Holds at most one link and keeps why it let go of one."""

    def __init__(self) -> None:
        self.link: Link | None = None
        self.reasons: list[str] = []

    def hold(self, link: Link) -> None:
        assert self.link is None
        self.link = link

    async def let_go(self, reason: str) -> None:
        link, self.link = self.link, None
        if link is not None:
            self.reasons.append(reason)
            await link.close()

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"signalling called {name}")


class Party:
    def __init__(self) -> None:
        self.engine, self.holder = ScriptedEngine(), Holder()
        self.signalling = Signalling("one", self.holder, self.engine, TRACKS, codecs=("h264",))

    def offer(self) -> None:
        self.signalling.offer("v=0", (), ice_servers=())

    @property
    def peer(self) -> ScriptedPeer:
        return self.engine.peers[-1]

    def trickle(self, *lines: str) -> None:
        self.signalling.add_candidates([Candidate(line) for line in lines])


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_an_offer_makes_a_link_that_its_holder_has_before_the_answer_is_there() -> None:
    party = Party()
    party.offer()
    await settle()
    assert party.holder.link is party.peer
    assert await party.signalling.answer(0) is None
    party.peer.outcome.set_result("an answer")
    assert await party.signalling.answer(1) == "an answer"
    assert await party.signalling.answer(1) == "an answer"
    await party.signalling.close()
    assert party.holder.reasons == ["closed"]


async def test_it_says_whether_there_was_an_offer_and_whether_it_is_being_answered() -> None:
    party, told = Party(), []

    def look() -> None:
        told.append((party.signalling.offered, party.signalling.answering))

    look()
    party.offer()
    look()
    await settle()
    party.peer.outcome.set_result("an answer")
    await settle()
    look()
    await party.signalling.close()
    assert told == [(False, False), (True, True), (True, False)]


async def test_a_second_offer_closes_the_first_link_and_only_its_answer_counts() -> None:
    party = Party()
    party.offer()
    await settle()
    first = party.peer
    party.offer()
    await settle()
    assert first.closed
    assert party.holder.link is party.peer is not first
    first.outcome.set_result("too late")
    await settle()
    assert await party.signalling.answer(0) is None
    party.peer.outcome.set_result("an answer")
    assert await party.signalling.answer(1) == "an answer"
    await party.signalling.close()


async def test_offers_in_quick_succession_make_one_link() -> None:
    party = Party()
    for _ in range(5):
        party.offer()
    await settle()
    assert len(party.engine.peers) == 1
    party.peer.outcome.set_result("an answer")
    await party.signalling.close()


async def test_early_candidates_are_kept_for_the_answered_offer_and_the_oldest_go_when_there_are_too_many() -> (
    None
):
    party = Party()
    party.trickle(*(f"candidate:{n}" for n in range(limits.EARLY_CANDIDATES + 3)))
    party.offer()
    await settle()
    party.trickle("candidate:refused", "candidate:while answering")
    assert party.peer.candidates == []
    party.peer.outcome.set_result("an answer")
    await party.signalling.answer(1)
    party.trickle("candidate:after")
    await settle()
    assert len(party.peer.candidates) == limits.EARLY_CANDIDATES  # one of them was the refused
    assert party.peer.candidates[0] == "candidate:5"
    assert party.peer.candidates[-2:] == ["candidate:while answering", "candidate:after"]
    await party.signalling.close()


@pytest.mark.parametrize("state", [LinkState.INTERRUPTED, LinkState.LOST])
async def test_candidates_that_come_while_the_link_is_gone_belong_to_the_next_offer(state: LinkState) -> None:
    party = Party()
    party.offer()
    await settle()
    old = party.peer
    old.outcome.set_result("an answer")
    await party.signalling.answer(1)
    old.state = state
    party.trickle("candidate:new")
    party.offer()
    await settle()
    party.peer.outcome.set_result("another")
    await settle()
    assert (old.candidates, party.peer.candidates) == ([], ["candidate:new"])
    await party.signalling.close()


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        (OfferRejected("no m-section"), OfferRejected("no m-section")),
        (KeyError("inside"), PeerFailed("the WebRTC engine failed")),
    ],
)
async def test_an_offer_that_fails_says_why_without_internals_and_leaves_no_link(
    broken: Exception, told: Exception
) -> None:
    party = Party()
    party.offer()
    await settle()
    party.peer.outcome.set_exception(broken)
    with pytest.raises(type(told), match=f"^{told}"):
        await party.signalling.answer(1)
    await settle()
    assert party.peer.closed
    assert party.holder.reasons == ["the offer was refused"]
    party.offer()
    await settle()
    assert len(party.engine.peers) == 2
    party.peer.outcome.set_result("an answer")
    assert await party.signalling.answer(1) == "an answer"
    await party.signalling.close()


async def test_closing_in_the_middle_of_an_answer_leaves_the_engine_to_finish_and_no_task() -> None:
    party = Party()
    party.offer()
    await settle()
    closing = asyncio.create_task(party.signalling.close())
    await settle()
    assert party.peer.closed
    assert not closing.done()
    party.peer.outcome.set_result("too late")
    await closing
    await party.signalling.close()
    assert party.holder.link is None
    assert len(asyncio.all_tasks()) == 1


async def test_closing_before_the_offer_was_looked_at_makes_no_link() -> None:
    party = Party()
    party.offer()
    await party.signalling.close()
    assert party.engine.peers == []
    assert await party.signalling.answer(0) is None
