"""The link of one viewer over a WebSocket: its pictures by `relay`, its messages, and what it sends.

    encoder thread ─send_frame─▶ loop ─relay: send or drop?─▶ ┐
    session ─send─▶ messages ────────────────────────────────▶├─ outbound() ─▶ socket
    socket ─received()─▶ ack ─▶ relay    picture ─▶ inputs    text ─▶ the viewer

Everything is on the event loop but `send_frame`, which hands over. The socket takes the next message only when it
has room, messages before pictures; so what waits here is at most what the relay let on its way. Connected from
`open()` until `close()`, or until the socket's owner tells that it is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Mapping, Sequence
from dataclasses import dataclass

from .. import codes, limits
from ..crossing import Crossing
from ..errors import MessageRejected
from ..link import ONE_CHANNEL, LinkEvents, LinkState
from ..tasks import Tasks
from ..types import Codec, EncodedFrame, Track
from .header import SIZE, Kind, keyframe_request, parse, picture_header
from .inputs import Inputs
from .relay import Relay

#: How long `close()` waits for the socket to take the last messages.
_LAST_WORDS_S = 0.5


@dataclass(frozen=True, slots=True)
class Closing:
    """The last thing that a link says: a WebSocket close code, RFC 6455 section 7.4, and a word for it."""

    code: int = 1000
    reason: str = ""


#: Close codes of ours begin here; a refusal by HTTP status n is PRIVATE + n.
PRIVATE = 4000
#: "Data within a message that was not consistent with the type of the message".
UNREADABLE = 1007
SLOW = Closing(4008, codes.SLOW_CONSUMER)


@dataclass(frozen=True, slots=True)
class _Picture:
    track: int
    frame: EncodedFrame
    report: bool


class SocketLink:
    """`tracks` in the order in which the descriptor tells them; one codec for all of them."""

    def __init__(
        self,
        events: LinkEvents,
        tracks: Sequence[Track],
        codec: Codec,
        crossing: Crossing,
        clock: Callable[[], float],
    ) -> None:
        self._events = events
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._crossing = crossing
        self._places = {track.name: at for at, track in enumerate(tracks)}
        self._names = tuple(track.name for track in tracks)
        self._codecs: dict[str, Codec] = {
            track.name: codec for track in tracks if track.kind == "video" and track.direction == "out"
        }
        self._relay = Relay(len(tracks), clock())
        inputs = [t.name if t.kind == "video" and t.direction == "in" else "" for t in tracks]
        self._inputs = Inputs(inputs, events.input_frame, self._want_input_keyframe)
        self._state = LinkState.CONNECTING
        self._messages: deque[str | bytes] = deque()
        self._messages_bytes = 0
        self._pictures: deque[_Picture] = deque()
        self._owed: set[int] = set()
        """Tracks of which a picture that was to be reported was dropped: the next one is reported."""
        self._filled = asyncio.Event()
        self._done = asyncio.Event()
        self._closing: Closing | None = None
        self._rate_told: int | None = None
        self._keyframe_timer: asyncio.TimerHandle | None = None
        self._sent_bytes = self._sent_frames = 0

    @property
    def state(self) -> LinkState:
        return self._state

    @property
    def codecs(self) -> Mapping[str, Codec]:
        return self._codecs

    def open(self) -> None:
        """The socket is there: be connected."""
        self._state = LinkState.CONNECTED
        self._events.link_state(LinkState.CONNECTED)
        self._events.channel_open(ONE_CHANNEL)

    # Out ----------------------------------------------------------------------------------------------

    def send_frame(self, track: str, frame: EncodedFrame, *, report: bool = False) -> None:
        if self._state is LinkState.CONNECTED:
            self._crossing.call(self._offer, track, frame, report)

    def _offer(self, track: str, frame: EncodedFrame, report: bool) -> None:
        if self._state is not LinkState.CONNECTED:
            return
        at, now_s = self._places[track], self._clock()
        report = report or at in self._owed
        sent = self._relay.admit(
            at, frame.frame_id, keyframe=frame.keyframe, size_bytes=len(frame.data), now_s=now_s
        )
        if sent:
            self._owed.discard(at)
            self._pictures.append(_Picture(at, frame, report))
            self._filled.set()
        elif report:
            self._owed.add(at)
        self._judge(now_s)

    def send(self, label: str, data: str | bytes) -> bool:
        size = len(data)
        full = self._messages_bytes + size > limits.CHANNEL_BUFFER_MAX_BYTES
        if self._state is not LinkState.CONNECTED or self._closing or full:
            return False
        self._messages.append(data)
        self._messages_bytes += size
        self._filled.set()
        return True

    async def outbound(self) -> AsyncGenerator[str | bytes | Closing, None]:
        """Yield what the socket is to send, one at a time, and at last why it is to close."""
        try:
            while True:
                if self._messages:
                    message = self._messages.popleft()
                    self._messages_bytes -= len(message)
                    yield message
                elif self._closing is not None:
                    yield self._closing
                    return
                elif self._pictures:
                    yield self._take_picture()
                else:
                    self._filled.clear()
                    await self._filled.wait()
        finally:
            self._done.set()

    def _take_picture(self) -> bytes:
        picture = self._pictures.popleft()
        frame = picture.frame
        header = picture_header(
            picture.track,
            codec=frame.codec,
            keyframe=frame.keyframe,
            frame_id=frame.frame_id,
            capture_us=frame.pts_us,
        )
        self._sent_frames += 1
        self._sent_bytes += len(frame.data)
        if picture.report:
            self._events.frame_sent(self._names[picture.track], frame.frame_id, {})
        return header + frame.data

    # In -----------------------------------------------------------------------------------------------

    def received(self, message: str | bytes) -> None:
        """Take a message of the client. Raises MessageRejected for a binary one that is none of ours."""
        if self._state is not LinkState.CONNECTED:
            return
        if isinstance(message, str):
            self._events.channel_message(ONE_CHANNEL, message)
            return
        header, now_s = parse(message), self._clock()
        if header.kind is Kind.ACK:
            self._relay.acked(header.track, header.frame_id, queue=header.flags, now_s=now_s)
            self._judge(now_s)
        elif header.kind is Kind.VIDEO:
            if not self._inputs.takes(header.track):
                raise MessageRejected(f"track {header.track} takes no pictures")
            self._inputs.put(header, message[SIZE:])
        elif header.track < len(self._names) and self._names[header.track] in self._codecs:
            self._relay.broke(header.track)
            self._judge(now_s)

    def _want_input_keyframe(self, track: int) -> None:
        """Any thread."""
        self._crossing.call(self.send, ONE_CHANNEL, keyframe_request(track))

    def gone(self) -> None:
        """The socket is closed, by whomever."""
        if self._state is not LinkState.LOST:
            self._end()
            self._events.link_state(LinkState.LOST)

    # The relay's word ---------------------------------------------------------------------------------

    def _judge(self, now_s: float) -> None:
        """Do what the relay has come to: keyframes, the rate, the end."""
        if self._relay.too_slow(now_s):
            self._events.too_slow()
            self._fail(SLOW)
            return
        for at in self._relay.wants_keyframe(now_s):
            self._events.keyframe_wanted(self._names[at])
        due_s = self._relay.keyframe_due_s()
        if due_s is not None and due_s > now_s and self._keyframe_timer is None:
            self._keyframe_timer = self._loop.call_later(due_s - now_s, self._keyframe_due)
        rate = None if self._relay.rate is None else int(self._relay.rate / max(1, len(self._codecs)))
        if rate is not None and rate != self._rate_told:
            self._rate_told = rate
            for name in self._codecs:
                self._events.bitrate_changed(name, rate)

    def _keyframe_due(self) -> None:
        self._keyframe_timer = None
        if self._state is LinkState.CONNECTED:
            self._judge(self._clock())

    def _fail(self, closing: Closing) -> None:
        """Close because of the client; its viewer is told that the link is lost."""
        if self._closing is None:
            self._closing = closing
            self.gone()

    def fail(self, code: int, reason: str) -> None:
        """Close because of what the client sent."""
        self._fail(Closing(code, reason))

    # Numbers and the end ------------------------------------------------------------------------------

    async def stats(self) -> dict[str, float]:
        return {
            "framesDropped": self._relay.dropped,
            "framesQueued": len(self._pictures),
            "framesSent": self._sent_frames,
            "bytesSent": self._sent_bytes,
            "currentRoundTripTime": self._relay.base_s,
            "availableOutgoingBitrate": self._relay.rate or 0.0,
        }

    async def close(self) -> None:
        if self._closing is None:
            self._closing = Closing()
        self._end()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WORDS_S):
                await self._done.wait()
        # Its thread may be in the middle of a picture, and the loop does not wait for that.
        if self._inputs.began:
            await asyncio.to_thread(self._inputs.join)

    def _end(self) -> None:
        self._state = LinkState.LOST
        self._pictures.clear()
        self._inputs.close()
        self._closing = self._closing or Closing()
        self._filled.set()
        if self._keyframe_timer is not None:
            self._keyframe_timer.cancel()
            self._keyframe_timer = None


async def carry(
    link: SocketLink, inbound: AsyncIterable[str | bytes]
) -> AsyncGenerator[str | bytes | Closing, None]:
    """Bring a link what comes over its socket, and yield what it says, until either ends."""
    reading = Tasks("a socket's reader")
    reading.spawn(_read(link, inbound))
    try:
        async with contextlib.aclosing(link.outbound()) as outbound:
            async for message in outbound:
                yield message
    finally:
        link.gone()
        await reading.cancel()


async def _read(link: SocketLink, inbound: AsyncIterable[str | bytes]) -> None:
    try:
        async for message in inbound:
            link.received(message)
    except MessageRejected as error:
        link.fail(UNREADABLE, error.public())
    else:
        link.gone()
