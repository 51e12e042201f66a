"""One viewer of a session: its link, its wire format, its rate and its tracks.

Lives on the event loop from registration until `close()`. Links come and go meanwhile: a lost or silent one is
dropped, and its client may come back with another under the same connection id.
What a client says is refused by size and rate before it is parsed, decoded by the wire format that its first
frame latched, and handed to the session; what the session says goes out in that same format.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from .. import codes, limits
from ..errors import MessageRejected, NotGranted, ReactorError, WheelRefused
from ..link import BEATS, ONE_CHANNEL, Link, LinkState
from ..tasks import Tasks
from ..types import EncodedFrame, Pixels, Track
from ..wire import messages as say
from ..wire.sniff import Wire, sniff
from ..wire.v0 import V0
from .grants import NOTHING, STEERING, needed_for
from .metrics import MessageCounts
from .rate import TokenBucket
from .refusals import refusal_of
from .renditions import Rendition
from .sink import Sink
from .stream import VideoStream
from .times import PictureTimes

log = logging.getLogger(__name__)

#: What is said before the client's first frame shows which format it speaks. More: oldest dropped, counted.
OUTBOX = 64
#: How often a viewer is told when a picture of the main track was where.
PICTURE_TOLD_S = 0.5
#: How long what is said last to a viewer with a slow line may take to leave.
LAST_WORDS_S = 1.0
#: How often a viewer is told that it sends too much.
FLOOD_NOTICE_S = 1.0


class ViewerEvents(Protocol):
    """What a viewer tells its session. On the event loop. `connected` and `gone` alternate."""

    def connected(self, viewer: Viewer) -> None: ...

    def released(self, viewer: Viewer) -> None:
        """Its link is given up, whether it was ever connected or not: its claims end."""

    def gone(self, viewer: Viewer, reason: str) -> None: ...

    def listens(self, viewer: Viewer) -> None:
        """What it is told from now on arrives: its channel for messages is open."""

    def check_wheel(self, viewer: Viewer) -> None:
        """Raise WheelRefused unless it drives."""

    def said(self, viewer: Viewer, message: say.ClientMessage) -> None: ...

    def sent(self, viewer: Viewer, track: str, frame_id: int, received_as: Mapping[str, int]) -> None:
        """A frame has left that it was asked to report, see `Viewer.report_from` and `link.LinkEvents`."""

    def input_frame(self, viewer: Viewer, track: str, pixels: Pixels) -> None:
        """An input frame. On the link's thread."""


class Viewer:
    """`connection_id` is what its client calls the connection; made before there is a link."""

    def __init__(
        self,
        connection_id: int,
        events: ViewerEvents,
        streams: dict[str, VideoStream],
        tracks: Sequence[Track],
        *,
        counts: MessageCounts,
        clock: Callable[[], float],
        legacy: bool = False,
    ) -> None:
        self.connection_id = connection_id
        self._events = events
        self._streams = streams
        self._main = next(iter(streams), "")
        self._clock = clock
        # JS 2.9.0 has no control channel, never resumes a track and speaks only JSON.
        self._wire: Wire | None = V0() if legacy else None
        self._outbox: deque[say.ServerMessage] = deque(maxlen=OUTBOX)
        self._counts = counts
        self._messages = TokenBucket(limits.MESSAGE_RATE_PER_S, limits.MESSAGE_BURST)
        self._commands = TokenBucket(limits.COMMAND_RATE_PER_S, limits.COMMAND_BURST)
        self.offers = TokenBucket(limits.OFFER_RATE_PER_S, limits.OFFER_BURST)
        """How many offers its client may still make, for whoever takes them."""
        self._flood_told_s = clock() - FLOOD_NOTICE_S
        self._link: Link | None = None
        self._sinks: dict[str, Sink] = {}
        self._limits: dict[str, int] = {}
        """What its line takes of each track, as far as that is known."""
        self._resumed: set[str] = {track.name for track in tracks if legacy and track.direction == "out"}
        self._messages_open = False
        self._report_from: int | None = None
        self._tasks = Tasks(f"connection {connection_id}")
        self._closed = False
        self._state = LinkState.CONNECTING
        self.connected = False
        self.came = False
        """Whether it was ever connected."""
        self.listening = False
        """Whether it is connected and its channel for messages is open."""
        self.author = False
        """Whether it is the model's author, who may read what the model raised."""
        self.grant = NOTHING
        """What its messages may do; that of its last offer."""
        self.parting = False
        """Whether it has heard its last words."""
        self.ends_s: float | None = None
        """When its token ends, monotonic seconds; None: never."""
        self.active = False
        """Whether it is sent every output track as soon as it is connected, without resuming them."""
        self.linked_s = 0.0
        """When it got the link that it holds, monotonic seconds."""
        self.interrupted_s: float | None = None
        """Since when its link is interrupted; None while it is not."""
        self.heard_s = self._clock()

    @property
    def there(self) -> bool:
        """Whether it is connected, as far as anybody knows."""
        return self.connected and self.interrupted_s is None

    @property
    def joining(self) -> bool:
        """Whether it has a link that is not connected yet."""
        return self._link is not None and not self.connected

    # Its link ------------------------------------------------------------------------------------------

    def hold(self, link: Link) -> None:
        """Be reached over this link, which connects later. None is held. The link is the viewer's to close."""
        self._link = link
        self._limits.clear()
        self._messages_open = False
        self.linked_s = self.heard_s = self._clock()

    async def let_go(self, reason: str) -> None:
        """Close the link. The viewer stays known, so that its client may come back with another."""
        self._detach()
        self._report_from = None
        self._state = LinkState.CONNECTING
        self.interrupted_s = None
        link, self._link = self._link, None
        if link is not None:
            self._events.released(self)
        if self.connected:
            self.connected = self.listening = False
            self._events.gone(self, reason)
        if link is not None:
            await link.close()

    def drop(self, reason: str) -> None:
        """Close the link, without waiting for that."""
        if self._link is not None:
            self._tasks.spawn(self.let_go(reason))

    # Saying -------------------------------------------------------------------------------------------

    def send(self, message: say.ServerMessage) -> None:
        """Say something in the client's format; kept until it is known which that is. Never raises."""
        if not self.parting:
            self._say(message)

    def _say(self, message: say.ServerMessage) -> None:
        if self._closed:
            return
        match message:
            case say.RuntimeNotice() if not self.author:
                message = dataclasses.replace(message, detail="")
            case say.CommandRefused(raised=raised) if raised and self.author:
                message = dataclasses.replace(message, message=raised)
        if self._wire is None:
            # Numbers of a moment that has passed help nobody.
            if not isinstance(message, say.RuntimeStats):
                self._counts.dropped += len(self._outbox) == OUTBOX
                self._outbox.append(message)
            return
        link = self._link
        if link is None:
            return
        try:
            frames = self._wire.encode(message)
        except MessageRejected as error:
            self._unsayable(message, error)
            return
        for outgoing in frames:
            self._counts.dropped += not link.send(outgoing.channel, outgoing.payload)

    def _unsayable(self, message: say.ServerMessage, error: MessageRejected) -> None:
        """What the model said does not fit this format. A command must be answered all the same."""
        self._counts.dropped += 1
        log.warning("connection %d: %s", self.connection_id, error)
        if isinstance(message, say.CommandReply):
            text = f"the command was handled, but its reply cannot be sent: {error}"
            self.send(say.CommandRefused(message.request_id, message.command, codes.INTERNAL_ERROR, text))

    # Tracks -------------------------------------------------------------------------------------------

    def resume(self, track: str) -> None:
        """Send an output track, beginning with a keyframe. Unknown names are ignored."""
        if track in self._streams:
            self._resumed.add(track)
            self._attach()

    def pause(self, track: str) -> None:
        self._resumed.discard(track)
        sink = self._sinks.pop(track, None)
        if sink is not None:
            self._streams[track].remove(sink)

    def _attach(self) -> None:
        link = self._link
        if link is None or not self.connected:
            return
        for track in (self._resumed & link.codecs.keys()) - self._sinks.keys():

            def send(frame: EncodedFrame, *, report: bool, track: str = track, link: Link = link) -> None:
                link.send_frame(track, frame, report=report)

            sink = self._sinks[track] = Sink(link.codecs[track], send, self._give_up)
            if track == self._main:
                sink.report_every_s = PICTURE_TOLD_S
            self._streams[track].add(sink)
            if track in self._limits:
                self._streams[track].limit(sink, self._limits[track])
        self.report_from(self._report_from)

    def _detach(self) -> None:
        for track, sink in self._sinks.items():
            self._streams[track].remove(sink)
        self._sinks.clear()

    @property
    def watching(self) -> bool:
        """Whether it is being sent a picture."""
        return bool(self._sinks)

    def report_from(self, command_id: int | None) -> None:
        """Ask for `ViewerEvents.sent` when the first frame that saw this command leaves; None: not any more."""
        self._report_from = command_id
        for sink in self._sinks.values():
            sink.report_from = command_id

    def rendition_of(self, track: str) -> Rendition:
        """Return which rendition of a track it is sent."""
        sink = self._sinks.get(track)
        return sink.on if sink is not None else "full"

    def times_of(self, track: str, frame_id: int) -> PictureTimes | None:
        """Return when this frame was where, if it is the last one of the track that was reported."""
        sink = self._sinks.get(track)
        reported = sink.reported if sink is not None else None
        return reported if reported is not None and reported.frame_id == frame_id else None

    # LinkEvents ---------------------------------------------------------------------------------------

    def link_state(self, state: LinkState) -> None:
        if self._closed or state is self._state:
            return
        self._state = state
        self.interrupted_s = self._clock() if state is LinkState.INTERRUPTED else None
        if state is LinkState.CONNECTED:
            self.heard_s = self._clock()
            if self.connected:  # it had been disconnected for a moment, and missed frames
                for track in self._sinks:
                    self.keyframe_wanted(track)
                return
            self.connected = self.came = True
            if self.active:
                self._resumed |= self._streams.keys()
            self._events.connected(self)
            self._attach()
            self._listen()
        elif state is LinkState.LOST:
            self.drop("connection lost")

    def channel_open(self, label: str) -> None:
        self.heard_s = self._clock()
        # Whatever is not called control is the channel for messages, as clients of every age have it.
        self._messages_open = self._messages_open or label not in ("control", BEATS)
        self._listen()

    def _listen(self) -> None:
        """Be told what everybody is told, once both have come: the connection and its channel, in either order."""
        if self.connected and self._messages_open and not self.listening:
            self.listening = True
            self._events.listens(self)

    def channel_message(self, label: str, data: str | bytes) -> None:
        now_s = self.heard_s = self._clock()
        if self._closed:
            return
        # A large message costs as much as many small ones.
        if not self._messages.take(now_s, 1 + len(data) / limits.MESSAGE_COST_BYTES):
            self.messages_dropped(1)
            return
        if label == BEATS:
            self._events.said(self, say.Beat())
            return
        channel: say.Inlet = "control" if label == "control" else "one" if label == ONE_CHANNEL else "data"
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
            self.send(say.CommandRefused(message.request_id, message.name, codes.RATE_LIMITED, text))
            return
        try:
            self.grant.require(needed_for(message))
            if isinstance(message, STEERING):
                self._events.check_wheel(self)
        except (NotGranted, WheelRefused) as error:
            self.refuse(message, error)
            return
        self._events.said(self, message)

    def refuse(self, message: say.ClientMessage, error: ReactorError) -> None:
        """Say why nothing is done, where its client can be told."""
        if (refused := refusal_of(message, error)) is not None:
            self.send(refused)

    def messages_dropped(self, count: int) -> None:
        """Count what is dropped unread: its sender is beyond what is even looked at."""
        self._counts.limited += count
        now_s = self._clock()
        if not self._closed and now_s - self._flood_told_s >= FLOOD_NOTICE_S:
            self._flood_told_s = now_s
            text = "too many messages; what was sent beyond the limit was dropped"
            self.send(say.RuntimeNotice(codes.RATE_LIMITED, text))

    def _give_up(self) -> None:
        """Its line takes not even keyframes, although its link carries on."""
        if self._link is not None:
            self.too_slow()
            self._tasks.spawn(self._let_go_later(self._link))

    async def _let_go_later(self, link: Link) -> None:
        await asyncio.sleep(LAST_WORDS_S)
        if link is self._link:
            await self.let_go(codes.SLOW_CONSUMER)

    def too_slow(self) -> None:
        text = "this connection is too slow for the picture; it was closed"
        self.send(say.RuntimeNotice(codes.SLOW_CONSUMER, text))

    def _flush(self) -> None:
        while self._outbox:
            self._say(self._outbox.popleft())

    def keyframe_wanted(self, track: str) -> None:
        if (sink := self._sinks.get(track)) is not None:
            self._streams[track].want_keyframe(sink)

    def bitrate_changed(self, track: str, bits_per_s: int) -> None:
        self._limits[track] = bits_per_s
        if (sink := self._sinks.get(track)) is not None:
            self._streams[track].limit(sink, bits_per_s)

    def frame_sent(self, track: str, frame_id: int, received_as: Mapping[str, int]) -> None:
        if track in self._sinks:
            self._events.sent(self, track, frame_id, received_as)

    def input_frame(self, track: str, pixels: Pixels) -> None:
        self._events.input_frame(self, track, pixels)

    # Ending -------------------------------------------------------------------------------------------

    async def close(self) -> None:
        """Close the link for good; returns when everything is gone. May be called twice."""
        self._closed = True
        await self.let_go("closed")
        await self._tasks.wait()
