"""Offer, answer and candidates of one connection, and the link that comes of them.

    offer ──▶ the holder lets its link go ──▶ a fresh peer, which the holder holds ──▶ answer
    candidates ──▶ that peer, or kept until there is an answered offer that they could belong to

Lives on the event loop from the connection's registration until `close()`. Each offer makes a fresh peer, so
a client may offer again under the same connection. The peer belongs to its holder, who may let it go at any time.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from typing import Protocol

from .. import limits
from ..errors import OfferRejected, PeerFailed, ReactorError
from ..link import Link, LinkEvents, LinkState
from ..tasks import Tasks
from ..types import Codec, Track
from .peer import Candidate, IceServer, Peer, PeerEngine, TrackMapping

log = logging.getLogger(__name__)


class LinkHolder(LinkEvents, Protocol):
    """Whoever is reached over the link. On the event loop."""

    def hold(self, link: Link) -> None:
        """Take a link, which is not connected yet and whose owner you are from now on. None is held."""

    async def let_go(self, reason: str) -> None:
        """Close the link that is held, if any; returns when it is closed."""


class Signalling:
    """One connection's. `name` is what it is called in the log."""

    def __init__(
        self,
        name: str,
        holder: LinkHolder,
        engine: PeerEngine,
        tracks: Sequence[Track],
        *,
        codecs: Sequence[Codec],
    ) -> None:
        self._name = name
        self._holder = holder
        self._engine = engine
        self._tracks = tracks
        self._codecs = codecs
        self._peer: Peer | None = None
        self._answer: asyncio.Future[str] | None = None
        self._early: deque[Candidate] = deque(maxlen=limits.EARLY_CANDIDATES)
        self._tasks = Tasks(name)
        self._closed = False

    @property
    def offered(self) -> bool:
        """Whether there has been an offer."""
        return self._answer is not None

    @property
    def answering(self) -> bool:
        """Whether an offer is being answered."""
        return self._answer is not None and not self._answer.done()

    def offer(
        self,
        sdp: str,
        mapping: Sequence[TrackMapping],
        *,
        ice_servers: Sequence[IceServer],
        after_s: float = 0.0,
    ) -> None:
        """Begin to answer an offer on a fresh peer, in place of the one before. `answer()` has the result.

        `after_s`: how long nothing happens before that.
        """
        if self._answer is not None:
            self._answer.cancel()
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        # Nobody may ever ask for the answer; its error must then not be reported as unretrieved.
        answer.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._answer = answer
        self._tasks.spawn(self._connect(answer, sdp, mapping, ice_servers, after_s))

    async def _connect(
        self,
        answer: asyncio.Future[str],
        offer_sdp: str,
        mapping: Sequence[TrackMapping],
        ice_servers: Sequence[IceServer],
        after_s: float,
    ) -> None:
        if after_s:
            await asyncio.wait([answer], timeout=after_s)
        if answer.cancelled():
            return
        await self._holder.let_go("replaced by a new offer")
        if self._closed or self._answer is not answer:
            return
        peer = self._engine.create(self._holder, self._tracks, codecs=self._codecs, ice_servers=ice_servers)
        self._peer = peer
        self._holder.hold(peer)
        error: ReactorError
        try:
            sdp = await peer.answer(offer_sdp, mapping)
            while self._early and self._peer is peer:
                await self._add_candidate(peer, self._early.popleft())
        except ReactorError as refused:
            error = refused
        except Exception:
            log.exception("%s: the WebRTC engine failed", self._name)
            error = PeerFailed("the WebRTC engine failed")
        else:
            if not answer.done():
                answer.set_result(sdp)
            return
        if not answer.done():
            answer.set_exception(error)
        if self._peer is peer:
            self._peer = None
            await self._holder.let_go("the offer was refused")

    async def answer(self, hold_s: float) -> str | None:
        """Return the answer, waiting at most hold_s for it; None when there is none yet.

        Raises what the offer was refused with.
        """
        if self._answer is None:
            return None
        done, _ = await asyncio.wait([self._answer], timeout=hold_s)
        return self._answer.result() if done and not self._answer.cancelled() else None

    def add_candidates(self, candidates: Sequence[Candidate]) -> None:
        """Add trickled candidates, or keep them while there is no answered offer that they could belong to.

        The Python client sends its first candidates before its offer.
        """
        peer = self._peer
        answered = self._answer is not None and self._answer.done() and not self._answer.cancelled()
        if answered and peer is not None and peer.state in (LinkState.CONNECTING, LinkState.CONNECTED):
            self._tasks.spawn(self._add_candidates(peer, candidates))
        else:
            self._early.extend(candidates)

    async def _add_candidates(self, peer: Peer, candidates: Sequence[Candidate]) -> None:
        for candidate in candidates:
            await self._add_candidate(peer, candidate)

    async def _add_candidate(self, peer: Peer, candidate: Candidate) -> None:
        try:
            await peer.add_candidate(candidate)
        except OfferRejected as error:
            # One bad candidate among good ones is common (unresolvable .local names) and harms nobody.
            log.debug("%s: candidate dropped: %s", self._name, error)

    async def close(self) -> None:
        """Give up the answer that is under way, and the link with it. May be called twice."""
        self._closed = True
        if self._answer is not None:
            self._answer.cancel()
        await self._holder.let_go("closed")
        # None of these is ever cancelled: an engine that is left in the middle keeps its sockets.
        await self._tasks.wait()
        self._peer = None
