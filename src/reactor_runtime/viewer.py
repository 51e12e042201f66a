"""One connection of a session: its peer, its wire format, its rate and its tracks.

Lives on the event loop from registration until `close()`. What a client says is refused by size and rate
before it is parsed, decoded by the wire format that its first frame latched, and handed to the session;
what the session says goes out in that same format.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from . import limits
from .errors import MessageRejected, OfferRejected, ReactorError
from .rate import TokenBucket
from .stream import Sink, VideoStream
from .types import EncodedFrame, Pixels, Track
from .webrtc.peer import Candidate, Peer, PeerState, TrackMapping
from .wire import messages as say
from .wire.sniff import Wire, sniff
from .wire.v0 import V0

log = logging.getLogger(__name__)

#: What is said before the client's first frame shows which format it speaks. More: oldest dropped, counted.
OUTBOX = 64


class ViewerEvents(Protocol):
    """What a viewer tells its session. On the event loop."""

    def connected(self, viewer: Viewer) -> None: ...

    def said(self, viewer: Viewer, message: say.ClientMessage) -> None: ...

    def input_frame(self, viewer: Viewer, track: str, pixels: Pixels) -> None:
        """An inbound picture. On the engine's thread."""

    def gone(self, viewer: Viewer, reason: str) -> None: ...


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
        self._bucket = TokenBucket(limits.COMMAND_RATE_PER_S, limits.COMMAND_BURST)
        self._peer: Peer | None = None
        self._sinks: dict[str, Sink] = {}
        self._resumed: set[str] = {track.name for track in tracks if legacy and track.direction == "out"}
        self._shows: dict[int, PendingShow] = {}
        self._early: deque[Candidate] = deque(maxlen=limits.EARLY_CANDIDATES)
        self._answer: asyncio.Future[str] | None = None
        self._closed = False
        self.state = PeerState.NEW
        self.made_s = self.heard_s = time.monotonic()
        self.dropped_messages = 0
        self.rejected_messages = 0

    @property
    def offered(self) -> bool:
        return self._answer is not None

    # Signalling ---------------------------------------------------------------------------------------

    async def connect(
        self, make_peer: Callable[[Viewer], Peer], offer_sdp: str, mapping: Sequence[TrackMapping]
    ) -> None:
        """Answer an offer on a fresh peer, discarding the one before. The answer is kept for `answer()`."""
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        # Nobody may ever ask for the answer; its error must then not be reported as unretrieved.
        answer.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._answer = answer
        await self._discard_peer()
        self.made_s = self.heard_s = time.monotonic()
        peer = self._peer = make_peer(self)
        try:
            sdp = await peer.answer(offer_sdp, mapping)
            while self._early and self._peer is peer:
                await self._add_candidate(peer, self._early.popleft())
        except ReactorError as error:
            if not answer.done():
                answer.set_exception(error)
            return
        if not answer.done():
            answer.set_result(sdp)

    async def answer(self, hold_s: float) -> str | None:
        """Return the answer, waiting at most hold_s for it; None when there is none yet.

        Raises what the offer was refused with.
        """
        if self._answer is None:
            return None
        done, _ = await asyncio.wait([self._answer], timeout=hold_s)
        return self._answer.result() if done and not self._answer.cancelled() else None

    async def add_candidates(self, candidates: Sequence[Candidate]) -> None:
        """Add trickled candidates, or keep them when the offer has not been answered yet.

        The Python client sends its first candidates before its offer.
        """
        answered = self._answer is not None and self._answer.done() and not self._answer.cancelled()
        for candidate in candidates:
            if answered and self._peer is not None:
                await self._add_candidate(self._peer, candidate)
            else:
                self._early.append(candidate)

    async def _add_candidate(self, peer: Peer, candidate: Candidate) -> None:
        try:
            await peer.add_candidate(candidate)
        except OfferRejected as error:
            # One bad candidate among good ones is common (unresolvable .local names) and harms nobody.
            log.debug("connection %d: candidate dropped: %s", self.connection_id, error)

    # Saying -------------------------------------------------------------------------------------------

    def send(self, message: say.ServerMessage) -> None:
        """Say something in the client's format; kept until it is known which that is."""
        if self._closed:
            return
        if self._wire is None:
            if len(self._outbox) == OUTBOX:
                self.dropped_messages += 1
            self._outbox.append(message)
            return
        peer = self._peer
        if peer is None:
            return
        for outgoing in self._wire.encode(message):
            if not peer.send(outgoing.channel, outgoing.payload):
                self.dropped_messages += 1

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
        if peer is None or peer.codec is None or self.state is not PeerState.CONNECTED:
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
        if self._closed or state is self.state:
            return
        self.state = state
        if state is PeerState.CONNECTED:
            self.heard_s = time.monotonic()
            self._attach()
            self._events.connected(self)
        elif state in (PeerState.FAILED, PeerState.CLOSED):
            self._detach()
            self._events.gone(self, "connection lost")

    def channel_open(self, label: str) -> None:
        self.heard_s = time.monotonic()

    def channel_message(self, label: str, data: str | bytes) -> None:
        self.heard_s = time.monotonic()
        if self._closed:
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
            self.rejected_messages += 1
            log.debug("connection %d: %s", self.connection_id, error)
            return
        if isinstance(message, say.Command) and not self._bucket.take(time.monotonic()):
            rate = limits.COMMAND_RATE_PER_S
            text = f"more than {rate:.0f} commands a second; send fewer, or only the newest value"
            self.send(say.CommandRefused(message.request_id, message.name, "rate_limited", text))
            return
        self._events.said(self, message)

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
        if command_id is None:
            return
        for pending_id in [pending_id for pending_id in self._shows if pending_id <= command_id]:
            show = self._shows.pop(pending_id)
            self.send(say.CommandShown(show.request_id, show.command, frame_id, rtp_timestamp))
        self._ask_report()

    def input_frame(self, track: str, pixels: Pixels) -> None:
        self._events.input_frame(self, track, pixels)

    # Ending -------------------------------------------------------------------------------------------

    async def stats(self) -> dict[str, float]:
        return await self._peer.stats() if self._peer is not None else {}

    async def _discard_peer(self) -> None:
        self._detach()
        self._shows.clear()
        self.state = PeerState.NEW
        peer, self._peer = self._peer, None
        if peer is not None:
            await peer.close()

    async def close(self) -> None:
        """Close the peer. May be called twice."""
        if self._closed:
            return
        self._closed = True
        if self._answer is not None and not self._answer.done():
            self._answer.cancel()
        await self._discard_peer()
        self.state = PeerState.CLOSED
