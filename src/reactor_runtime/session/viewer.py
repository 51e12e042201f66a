"""One connection of a session: its peer, its wire format, its rate and its tracks.

Lives on the event loop from registration until `close()`. Peers come and go meanwhile: each offer makes a
fresh one, a lost or silent one is dropped, and its client may offer again under the same connection id.
What a client says is refused by size and rate before it is parsed, decoded by the wire format that its first
frame latched, and handed to the session; what the session says goes out in that same format.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from .. import limits
from ..errors import MessageRejected, OfferRejected, PeerFailed, ReactorError
from ..types import EncodedFrame, Pixels, Track
from ..webrtc.peer import Candidate, Peer, PeerState, TrackMapping
from ..wire import messages as say
from ..wire.sniff import Wire, sniff
from ..wire.v0 import V0
from .metrics import MessageCounts
from .rate import TokenBucket
from .stream import Sink, VideoStream

log = logging.getLogger(__name__)

#: What is said before the client's first frame shows which format it speaks. More: oldest dropped, counted.
OUTBOX = 64
#: How often a viewer is told that it sends too much.
FLOOD_NOTICE_S = 1.0


class ViewerEvents(Protocol):
    """What a viewer tells its session. On the event loop. `connected` and `gone` alternate."""

    def connected(self, viewer: Viewer) -> None: ...

    def released(self, viewer: Viewer) -> None:
        """Its peer is given up, whether it was ever connected or not: its claims end."""

    def gone(self, viewer: Viewer, reason: str) -> None: ...

    def said(self, viewer: Viewer, message: say.ClientMessage) -> None: ...

    def input_frame(self, viewer: Viewer, track: str, pixels: Pixels) -> None:
        """An inbound picture. On the engine's thread."""


@dataclass(frozen=True, slots=True)
class PendingShow:
    request_id: str
    command: str


class Viewer:
    """A connection. `connection_id` is what its client calls it; made before any offer has come."""

    def __init__(
        self,
        connection_id: int,
        events: ViewerEvents,
        streams: dict[str, VideoStream],
        tracks: Sequence[Track],
        *,
        counts: MessageCounts,
        legacy: bool = False,
    ) -> None:
        self.connection_id = connection_id
        self._events = events
        self._streams = streams
        self._tracks = tracks
        # JS 2.9.0 has no control channel, never resumes a track and speaks only JSON.
        self._legacy = legacy
        self._wire: Wire | None = V0() if legacy else None
        self._outbox: deque[say.ServerMessage] = deque(maxlen=OUTBOX)
        self._counts = counts
        self._messages = TokenBucket(limits.MESSAGE_RATE_PER_S, limits.MESSAGE_BURST)
        self._commands = TokenBucket(limits.COMMAND_RATE_PER_S, limits.COMMAND_BURST)
        self._flood_told_s = -FLOOD_NOTICE_S
        self._peer: Peer | None = None
        self._sinks: dict[str, Sink] = {}
        self._resumed: set[str] = {track.name for track in tracks if legacy and track.direction == "out"}
        self._shows: dict[int, PendingShow] = {}
        self._early: deque[Candidate] = deque(maxlen=limits.EARLY_CANDIDATES)
        self._answer: asyncio.Future[str] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False
        self._state = PeerState.NEW
        self.connected = False
        self.offered_s: float | None = None
        """When it last offered; None before its first offer."""
        self.heard_s = time.monotonic()

    @property
    def joining(self) -> bool:
        """Whether it has a peer that is not connected yet."""
        return self._peer is not None and not self.connected

    # Signalling ---------------------------------------------------------------------------------------

    def offer(
        self, make_peer: Callable[[Viewer], Peer], offer_sdp: str, mapping: Sequence[TrackMapping]
    ) -> None:
        """Begin to answer an offer on a fresh peer, in place of the one before. `answer()` has the result."""
        if self._answer is not None:
            self._answer.cancel()
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        # Nobody may ever ask for the answer; its error must then not be reported as unretrieved.
        answer.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._answer = answer
        self.offered_s = self.heard_s = time.monotonic()
        self._spawn(self._connect(answer, make_peer, offer_sdp, mapping))

    async def _connect(
        self,
        answer: asyncio.Future[str],
        make_peer: Callable[[Viewer], Peer],
        offer_sdp: str,
        mapping: Sequence[TrackMapping],
    ) -> None:
        await self._discard_peer("replaced by a new offer")
        if self._closed or self._answer is not answer:
            return
        peer = self._peer = make_peer(self)
        error: ReactorError
        try:
            sdp = await peer.answer(offer_sdp, mapping)
            while self._early and self._peer is peer:
                await self._add_candidate(peer, self._early.popleft())
        except ReactorError as refused:
            error = refused
        except Exception:
            log.exception("connection %d: the WebRTC engine failed", self.connection_id)
            error = PeerFailed("the WebRTC engine failed")
        else:
            if not answer.done():
                answer.set_result(sdp)
            return
        if not answer.done():
            answer.set_exception(error)
        if self._peer is peer:
            await self._discard_peer("the offer was refused")

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
        answered = self._answer is not None and self._answer.done() and not self._answer.cancelled()
        lost = self._state in (PeerState.DISCONNECTED, PeerState.FAILED, PeerState.CLOSED)
        if answered and not lost and self._peer is not None:
            self._spawn(self._add_candidates(self._peer, candidates))
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
            log.debug("connection %d: candidate dropped: %s", self.connection_id, error)

    # Saying -------------------------------------------------------------------------------------------

    def send(self, message: say.ServerMessage) -> None:
        """Say something in the client's format; kept until it is known which that is. Never raises."""
        if self._closed:
            return
        if self._wire is None:
            # Numbers of a moment that has passed help nobody.
            if not isinstance(message, say.RuntimeStats):
                self._counts.dropped += len(self._outbox) == OUTBOX
                self._outbox.append(message)
            return
        peer = self._peer
        if peer is None:
            return
        try:
            frames = self._wire.encode(message)
        except MessageRejected as error:
            self._unsayable(message, error)
            return
        for outgoing in frames:
            self._counts.dropped += not peer.send(outgoing.channel, outgoing.payload)

    def _unsayable(self, message: say.ServerMessage, error: MessageRejected) -> None:
        """What the model said does not fit this format. A command must be answered all the same."""
        self._counts.dropped += 1
        log.warning("connection %d: %s", self.connection_id, error)
        if isinstance(message, say.CommandReply):
            text = f"the command was handled, but its reply cannot be sent: {error}"
            self.send(say.CommandRefused(message.request_id, message.command, "internal_error", text))

    def tell_when_shown(self, command_id: int, request_id: str, command: str) -> None:
        """Say CommandShown when the first frame that saw this command has been sent to this viewer."""
        if not self._sinks:
            return
        self._shows[command_id] = PendingShow(request_id, command)
        while len(self._shows) > limits.COMMAND_MAILBOX:
            del self._shows[min(self._shows)]
        self._ask_report()

    # Tracks -------------------------------------------------------------------------------------------

    def resume(self, track: str) -> None:
        """Send an outbound track, beginning with a keyframe. Unknown names are ignored."""
        if track in self._streams:
            self._resumed.add(track)
            self._attach()

    def pause(self, track: str) -> None:
        self._resumed.discard(track)
        sink = self._sinks.pop(track, None)
        if sink is not None:
            self._streams[track].remove(sink)

    def _attach(self) -> None:
        peer = self._peer
        if peer is None or peer.codec is None or not self.connected:
            return
        for track in self._resumed - self._sinks.keys():

            def send(frame: EncodedFrame, *, report: bool, track: str = track, peer: Peer = peer) -> None:
                peer.send_frame(track, frame, report=report)

            sink = self._sinks[track] = Sink(peer.codec, send)
            self._streams[track].add(sink)
        self._ask_report()

    def _detach(self) -> None:
        for track, sink in self._sinks.items():
            self._streams[track].remove(sink)
        self._sinks.clear()

    def _ask_report(self) -> None:
        if self._shows:
            for sink in self._sinks.values():
                sink.report_from = min(self._shows)

    # PeerEvents ---------------------------------------------------------------------------------------

    def peer_state(self, state: PeerState) -> None:
        if self._closed or state is self._state:
            return
        self._state = state
        if state is PeerState.CONNECTED:
            self.heard_s = time.monotonic()
            if self.connected:  # it had been disconnected for a moment, and missed frames
                for track in self._sinks:
                    self.keyframe_wanted(track)
                return
            self.connected = True
            self._events.connected(self)
            self._attach()
        elif state in (PeerState.FAILED, PeerState.CLOSED):
            self.drop("connection lost")

    def channel_open(self, label: str) -> None:
        self.heard_s = time.monotonic()

    def channel_message(self, label: str, data: str | bytes) -> None:
        now_s = self.heard_s = time.monotonic()
        if self._closed:
            return
        # A large message costs as much as many small ones.
        if not self._messages.take(now_s, 1 + len(data) / limits.MESSAGE_COST_BYTES):
            self._flooded(now_s)
            return
        channel: say.Channel = "control" if label == "control" else "data"
        try:
            if len(data) > limits.MESSAGE_MAX_BYTES:
                raise MessageRejected(
                    f"a message of {len(data)} bytes; {limits.MESSAGE_MAX_BYTES} are accepted"
                )
            if self._wire is None:
                self._wire = sniff(data)
                self._flush()
            message = self._wire.decode(channel, data)
        except MessageRejected as error:
            self._counts.rejected += 1
            log.debug("connection %d: %s", self.connection_id, error)
            return
        if isinstance(message, say.Command) and not self._commands.take(now_s):
            self._counts.limited += 1
            rate = limits.COMMAND_RATE_PER_S
            text = f"more than {rate:.0f} commands a second; send fewer, or only the newest value"
            self.send(say.CommandRefused(message.request_id, message.name, "rate_limited", text))
            return
        self._events.said(self, message)

    def _flooded(self, now_s: float) -> None:
        """Drop a message unread: its sender is beyond what is even looked at."""
        self._counts.limited += 1
        if now_s - self._flood_told_s >= FLOOD_NOTICE_S:
            self._flood_told_s = now_s
            text = "too many messages; what was sent beyond the limit was dropped"
            self.send(say.RuntimeNotice("rate_limited", text))

    def _flush(self) -> None:
        while self._outbox:
            self.send(self._outbox.popleft())

    def keyframe_wanted(self, track: str) -> None:
        if (sink := self._sinks.get(track)) is not None:
            self._streams[track].want_keyframe(sink)

    def bitrate_changed(self, track: str, bits_per_s: int) -> None:
        if (sink := self._sinks.get(track)) is not None:
            sink.bitrate_limit = bits_per_s

    def frame_sent(self, track: str, frame_id: int, rtp_timestamp: int) -> None:
        sink = self._sinks.get(track)
        command_id = sink.reported.pop(frame_id, None) if sink is not None else None
        if sink is None or command_id is None:
            return
        # The engine may have dropped frames before this one; they are not reported any more.
        for dropped_id in [dropped_id for dropped_id in sink.reported if dropped_id < frame_id]:
            sink.reported.pop(dropped_id, None)
        for pending_id in [pending_id for pending_id in self._shows if pending_id <= command_id]:
            show = self._shows.pop(pending_id)
            self.send(say.CommandShown(show.request_id, show.command, frame_id, rtp_timestamp))
        self._ask_report()

    def input_frame(self, track: str, pixels: Pixels) -> None:
        self._events.input_frame(self, track, pixels)

    # Ending -------------------------------------------------------------------------------------------

    async def stats(self) -> dict[str, float]:
        return await self._peer.stats() if self._peer is not None else {}

    def drop(self, reason: str) -> None:
        """Close the peer. The viewer stays known, so that its client may offer again."""
        if self._peer is not None:
            self._spawn(self._discard_peer(reason))

    async def close(self) -> None:
        """Close the peer for good; returns when everything is gone. May be called twice."""
        self._closed = True
        if self._answer is not None:
            self._answer.cancel()
        await self._discard_peer("closed")
        # None of these is ever cancelled: an engine that is left in the middle keeps its sockets.
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _discard_peer(self, reason: str) -> None:
        self._detach()
        self._shows.clear()
        self._state = PeerState.NEW
        peer, self._peer = self._peer, None
        if peer is not None:
            self._events.released(self)
        if self.connected:
            self.connected = False
            self._events.gone(self, reason)
        if peer is not None:
            await peer.close()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("connection %d: a task failed", self.connection_id, exc_info=error)
