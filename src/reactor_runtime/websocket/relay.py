"""Which pictures one viewer is sent over TCP, and how many bits a second it takes. Pure: it is told the time.

TCP delivers everything, so a slow line shows only as delay: behind 2 MiB of somebody's buffer and 1 Mbit/s a
sender that watches its own socket is 7.8 s late. So the receiver acks each picture that has left its decoder, and
the age of the oldest that is not acked tells how much is on the way:

    age of the oldest          what happens
    below base + EASY_S        sent; each RAISE_EVERY_S of this, the rate grows
    above it                   sent; the rate falls, at most once in LOWER_EVERY_S
    above base + FULL_S        dropped until it is below base + EASY_S, then a keyframe is asked for

`base` is the least that an ack took within the last seconds, so a far receiver is not taken for a slow one. A
keyframe that takes longer than KEYFRAME_LATE_S doubles the pause until the next one. When none was in time for SLOW_S,
or nothing was acked for SILENT_S, the viewer is too slow. One per viewer; the tracks share it.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from typing import Final

#: Delay beyond the base above which more is on the way than the line takes.
EASY_S: Final = 0.05
FULL_S: Final = 0.12
#: Pictures and bytes on the way at most, whatever their age.
FLIGHT_PICTURES: Final = 64
FLIGHT_BYTES: Final = 4 * 1024 * 1024
#: The rate falls to between these shares of itself, the first time to less of what was sent.
LOWER: Final = 0.7
LOWER_LEAST: Final = 0.9
FIRST_LOWER: Final = 0.35
LOWER_EVERY_S: Final = 0.4
RAISE: Final = 1.08
RAISE_EVERY_S: Final = 0.5
#: The same once nothing was late for CALM_S: what was late may have been the receiver's start.
RAISE_CALM: Final = 1.25
CALM_S: Final = 6.0
#: Over how long what was delivered is counted, and the share of it that is then aimed for.
DELIVERED_S: Final = 0.6
DELIVERED_SHARE: Final = 0.85
#: The rate grows no further beyond what is really sent: it would say nothing of the line.
HEADROOM: Final = 1.6
RATE_MIN: Final = 100_000
RATE_MAX: Final = 20_000_000
#: The base until something was acked, and for how long the least of what acks took counts.
FIRST_BASE_S: Final = 0.2
BASE_MAX_S: Final = 1.0
BASE_WINDOW_S: Final = 10.0
KEYFRAME_LATE_S: Final = 1.5
KEYFRAME_PAUSE_S: Final = 0.5
KEYFRAME_PAUSE_MAX_S: Final = 8.0
SLOW_S: Final = 30.0
SILENT_S: Final = 15.0


@dataclass(slots=True)
class _Sent:
    frame_id: int
    at_s: float
    size_bytes: int
    keyframe: bool


@dataclass(slots=True)
class _Track:
    flight: deque[_Sent] = field(default_factory=deque)
    broken: bool = True
    """Nothing can be decoded before the next keyframe."""
    asked: bool = False
    """Whether that keyframe has been asked for."""
    keyframe_s: float = -math.inf
    """When the last one was sent."""


class Relay:
    """The policy for one viewer. `rate` is None until the line has shown a limit."""

    def __init__(self, tracks: int, now_s: float) -> None:
        self._tracks = [_Track() for _ in range(tracks)]
        self.rate: float | None = None
        self.dropped = 0
        self.unknown_acks = 0
        self.decode_queue = 0
        self._base = _Least(now_s)
        self._delivered = _Flow()
        self._admitted = _Flow()
        self._full = False
        self._lowered_s = self._late_s = self._easy_since_s = now_s
        self._late_since_s: float | None = None
        self._pause_s = KEYFRAME_PAUSE_S
        self._acked_s = now_s

    # Out ----------------------------------------------------------------------------------------------

    def admit(self, track: int, frame_id: int, *, keyframe: bool, size_bytes: int, now_s: float) -> bool:
        """Whether to send this picture. One that is dropped breaks its track until a keyframe."""
        state = self._tracks[track]
        late_s = self._look(now_s)
        room = not self._full and self._in_flight() < FLIGHT_PICTURES and self._bytes() < FLIGHT_BYTES
        if keyframe:
            sent = room and (not state.broken or now_s >= state.keyframe_s + self._pause_s)
        else:
            sent = room and not state.broken
        if not sent:
            self.dropped += 1
            state.broken, state.asked = True, state.asked and not keyframe
            return False
        if keyframe:
            state.broken = state.asked = False
            state.keyframe_s = now_s
        if not self._in_flight():
            self._acked_s = now_s  # the silence begins with the first picture that could be acked
        state.flight.append(_Sent(frame_id, now_s, size_bytes, keyframe))
        self._admitted.add(size_bytes, now_s)
        if late_s > EASY_S:
            self._easy_since_s = now_s
        return True

    def wants_keyframe(self, now_s: float) -> list[int]:
        """Return the tracks that shall have a keyframe now; each is named once."""
        self._look(now_s)
        if self._full:
            return []
        wanted = [
            at
            for at, track in enumerate(self._tracks)
            if track.broken and not track.asked and now_s >= track.keyframe_s + self._pause_s
        ]
        for at in wanted:
            self._tracks[at].asked = True
        return wanted

    def keyframe_due_s(self) -> float | None:
        """Return when `wants_keyframe` is worth asking again without an ack; None while nothing is broken."""
        waiting = [t.keyframe_s + self._pause_s for t in self._tracks if t.broken and not t.asked]
        return min(waiting, default=None)

    # In -----------------------------------------------------------------------------------------------

    def acked(self, track: int, frame_id: int, *, queue: int, now_s: float) -> None:
        """A picture has left the receiver's decoder, and so has everything before it."""
        flight = self._tracks[track].flight if track < len(self._tracks) else deque[_Sent]()
        if not any(sent.frame_id == frame_id for sent in flight):
            self.unknown_acks += 1
            return
        self.decode_queue = queue
        self._acked_s = now_s
        while True:
            sent = flight.popleft()
            self._delivered.add(sent.size_bytes, now_s)
            if sent.keyframe:
                self._judge_keyframe(now_s - sent.at_s, now_s)
            if sent.frame_id == frame_id:
                break
        self._base.add(now_s - sent.at_s, now_s)
        self._look(now_s)

    def broke(self, track: int) -> None:
        """The receiver cannot decode this track: it needs a keyframe."""
        state = self._tracks[track]
        state.broken, state.asked = True, False

    # What is known ------------------------------------------------------------------------------------

    def too_slow(self, now_s: float) -> bool:
        """Whether even keyframes are too much for this viewer, or it has fallen silent."""
        silent = self._in_flight() > 0 and now_s - self._acked_s > SILENT_S
        return silent or (self._late_since_s is not None and now_s - self._late_since_s > SLOW_S)

    @property
    def base_s(self) -> float:
        return self._base.value

    def _in_flight(self) -> int:
        return sum(len(track.flight) for track in self._tracks)

    def _bytes(self) -> int:
        return sum(sent.size_bytes for track in self._tracks for sent in track.flight)

    # The line -----------------------------------------------------------------------------------------

    def _look(self, now_s: float) -> float:
        """Judge the line by the age of the oldest picture on the way; return how much that is beyond the base."""
        oldest_s = min((track.flight[0].at_s for track in self._tracks if track.flight), default=now_s)
        late_s = now_s - oldest_s - self.base_s
        if late_s > FULL_S:
            self._full = True
        elif late_s <= EASY_S:
            self._full = False
        if late_s > EASY_S:
            self._lower(now_s)
        elif self.rate is not None and now_s - self._easy_since_s >= RAISE_EVERY_S:
            self._easy_since_s = now_s
            used = self._admitted.bits_per_s(now_s)
            step = RAISE_CALM if now_s - self._late_s > CALM_S else RAISE
            self.rate = max(self.rate, min(self.rate * step, used * HEADROOM, RATE_MAX))
        return late_s

    def _lower(self, now_s: float) -> None:
        self._easy_since_s = self._late_s = now_s
        if now_s - self._lowered_s < LOWER_EVERY_S:
            return
        self._lowered_s = now_s
        # While a queue stands, what is delivered is what the line takes. A still scene needs less than it takes, so
        # one that was late for once says little: the rate falls to LOWER of itself at most.
        taken = DELIVERED_SHARE * self._delivered.bits_per_s(now_s)
        if self.rate is None:
            self.rate = max(FIRST_LOWER * self._admitted.bits_per_s(now_s), taken)
        else:
            self.rate = min(LOWER_LEAST * self.rate, max(LOWER * self.rate, taken))
        self.rate = min(RATE_MAX, max(RATE_MIN, self.rate))

    def _judge_keyframe(self, took_s: float, now_s: float) -> None:
        if took_s - self.base_s <= KEYFRAME_LATE_S:
            self._late_since_s, self._pause_s = None, KEYFRAME_PAUSE_S
        else:
            self._late_since_s = self._late_since_s or now_s
            self._pause_s = min(2 * self._pause_s, KEYFRAME_PAUSE_MAX_S)


class _Flow:
    """Bits per second over the last moments."""

    def __init__(self) -> None:
        self._counted: deque[tuple[float, int]] = deque()
        self._began_s: float | None = None

    def add(self, size_bytes: int, now_s: float) -> None:
        if self._began_s is None:
            self._began_s = now_s
        self._counted.append((now_s, size_bytes))
        self._forget(now_s)

    def bits_per_s(self, now_s: float) -> float:
        self._forget(now_s)
        if self._began_s is None:
            return 0.0
        over_s = min(DELIVERED_S, max(0.1, now_s - self._began_s))
        return 8 * sum(size for _, size in self._counted) / over_s

    def _forget(self, now_s: float) -> None:
        while self._counted and self._counted[0][0] < now_s - DELIVERED_S:
            self._counted.popleft()


class _Least:
    """The least of what came within one to two windows."""

    def __init__(self, now_s: float) -> None:
        self._begun_s = now_s
        self._before: float | None = None
        self._now: float | None = None

    @property
    def value(self) -> float:
        known = [value for value in (self._before, self._now) if value is not None]
        return min(known, default=FIRST_BASE_S)

    def add(self, value: float, now_s: float) -> None:
        if now_s - self._begun_s > BASE_WINDOW_S:
            self._begun_s, self._before, self._now = now_s, self._now, None
        self._now = min(value, BASE_MAX_S, self._now if self._now is not None else BASE_MAX_S)
