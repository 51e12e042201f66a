"""The data channels of one viewer, over libwebrtc. The client opens them; we dispatch on the label.

Their callbacks come on libwebrtc's network thread, which carries every packet of the process, so they only
lay messages down for the event loop, which is woken once for all that lie there. libwebrtc itself closes the
channels of a client whose message is far beyond what the SDP announces; one that is a little over it arrives here
whole, and is dropped and counted.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

import reactor_webrtc as rw

from .. import limits
from ..link import BEATS, LinkEvents


class Channels:
    """`on_open`, `on_arrival` and `on_hangup` are called on the engine's thread, until `close`.

    `on_arrival`: the loop shall call `deliver`.
    `on_hangup`: the client has closed every channel that it opened. That is how a client that goes politely
    is noticed at once; its missing packets would tell so only after a quarter of a minute.
    """

    def __init__(
        self,
        on_open: Callable[[str], None],
        on_arrival: Callable[[], None],
        on_hangup: Callable[[], None],
    ) -> None:
        self._on_open = on_open
        self._on_arrival = on_arrival
        self._on_hangup = on_hangup
        self._by_label: dict[str, rw.DataChannel] = {}
        self._room_bytes: dict[str, int] = {}
        """What a channel has room for at least: as it was when it was last asked, less what was sent since."""
        self._waiting: deque[tuple[str, str | bytes]] = deque()
        self._waiting_bytes = 0
        self._dropped = 0
        self._lock = threading.Lock()
        self._closed = False
        self.oversize = 0

    def take(self, channel: rw.DataChannel) -> None:
        """Engine thread. Whatever is neither `control` nor `beats` counts as `data`; the first of each stays."""
        label = channel.label() if channel.label() in ("control", BEATS) else "data"
        if label in self._by_label:
            channel.close(0)
            return
        self._by_label[label] = channel
        if self._closed:  # `close` may have passed by already
            self._by_label.clear()
            return
        channel.on_message(lambda data, binary: self._message(label, data, binary))
        channel.on_close(lambda: self._ended(label))
        if str(channel.state()) == str(rw.DataChannelState.Open):
            self._on_open(label)
        else:
            channel.on_open(lambda: self._on_open(label))

    def _ended(self, label: str) -> None:
        if not self._closed and self._by_label.pop(label, None) is not None and not self._by_label:
            self._on_hangup()

    def _message(self, label: str, data: bytes, binary: bool) -> None:
        if len(data) > limits.MESSAGE_MAX_BYTES:
            self.oversize += 1
            return
        message: str | bytes = data
        if not binary:
            try:
                message = data.decode()
            except UnicodeDecodeError:
                message = data
        with self._lock:
            full = (
                len(self._waiting) >= limits.MESSAGES_WAITING
                or self._waiting_bytes + len(data) > limits.MESSAGES_WAITING_BYTES
            )
            if full:
                self._dropped += 1
                return
            first = not self._waiting
            self._waiting.append((label, message))
            self._waiting_bytes += len(data)
        if first:
            self._on_arrival()

    def deliver(self, events: LinkEvents) -> None:
        """Tell what has arrived, and how much more there was. Event loop."""
        with self._lock:
            waiting, self._waiting, self._waiting_bytes = self._waiting, deque(), 0
            dropped, self._dropped = self._dropped, 0
        for label, message in waiting:
            if not self._closed:
                events.channel_message(label, message)
        if dropped and not self._closed:
            events.messages_dropped(dropped)

    def send(self, label: str, data: str | bytes) -> bool:
        """Send text or bytes; false when the channel is not open or too much waits in it."""
        channel = self._by_label.get(label)
        if channel is None:
            return False
        payload = data.encode() if isinstance(data, str) else data
        try:
            # Asking waits for libwebrtc's network thread, which a flood keeps busy, so it is not done each time.
            if self._room_bytes.get(label, 0) < len(payload):
                self._room_bytes[label] = limits.CHANNEL_BUFFER_MAX_BYTES - channel.buffered_amount()
            if self._room_bytes[label] < len(payload):
                return False
            channel.send(payload, isinstance(data, bytes))
        except RuntimeError:
            return False
        self._room_bytes[label] -= len(payload)
        return True

    def close(self) -> None:
        self._closed = True
        for channel in list(self._by_label.values()):
            channel.close(0)
        self._by_label.clear()
