"""When a frame is shown, and when the model may make the next one. Pure: values and times in, times out.

    model ──emit──▶ EmitGate ══frames══▶ Pacer ──▶ encoder
                       ▲                   │
                       └─────Demand────────┘

`Pacer` (one per track of a session, in the server) spreads a block of frames over the time that the model needs for
a block, shows a frame that stands alone at once, never catches up in rapid fire, and skips to the newest
frame when it fell behind. `EmitGate` (in the model process) holds the model's `emit` back until just
before its next frame is due, minus the time its own code needs, so that a model which emits as fast as it
may is neither ahead of the picture (a standing queue) nor behind it (a starved one).

Both learn from one number per frame, `busy_s`: how long the model's own code ran since its last emit
returned. It holds no waiting of ours, so the two do not chase each other.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from . import limits
from .types import MAIN_VIDEO, Demand

T = TypeVar("T")

#: How many frames back the rhythm of a model is looked for; two blocks of up to 64 frames.
HISTORY = 128
#: A gap that happened once in so many frames is a stall, not a rhythm; before that it is all we know.
SETTLED = 64
#: Assumed until a model has shown its rhythm.
FIRST_INTERVAL_S = 1 / 30
#: Frames that stand alone may follow each other this much faster than the interval, so that a late one
#: is not paid for by all that come after it.
SINGLE_SQUEEZE = 0.8
#: The same within blocks while the last block is still being shown when the next one comes.
BLOCK_SQUEEZE = 0.9
#: Frame handed to the model process's pipe → released by the pacer, with room for a scheduler's hiccup.
HANDOVER_S = 0.002


def recurring_peak(gaps: Sequence[float]) -> float:
    """Return the largest gap that is part of a rhythm: the second largest once there is enough history."""
    if not gaps:
        return 0.0
    if len(gaps) < SETTLED:
        return max(gaps)
    return sorted(gaps)[-2]


class Cadence:
    """A model's natural time per frame, whether it makes frames one by one or in blocks.

    A block starts at a frame that took at least half the recurring peak; the interval is the time of the
    last eight whole blocks divided by their frames, so that a block is never counted in part.
    """

    def __init__(self) -> None:
        self._gaps: deque[float] = deque(maxlen=HISTORY)
        self._blocks: deque[tuple[float, int]] = deque(maxlen=8)
        self._open_s = 0.0
        self._open_frames = 0

    def add(self, busy_s: float) -> bool:
        """Take the next frame's busy time; return whether it starts a block."""
        starts = self._open_frames == 0 or busy_s >= recurring_peak(self._gaps) / 2
        self._gaps.append(busy_s)
        if starts and self._open_frames:
            self._blocks.append((self._open_s, self._open_frames))
            self._open_s, self._open_frames = 0.0, 0
        self._open_s += busy_s
        self._open_frames += 1
        return starts

    @property
    def interval_s(self) -> float | None:
        """Natural seconds per frame, or None before the first block is complete."""
        frames = sum(count for _, count in self._blocks)
        return sum(seconds for seconds, _ in self._blocks) / frames if frames else None

    @property
    def in_blocks(self) -> bool:
        return self._open_frames > 1 or any(count > 1 for _, count in self._blocks)


@dataclass(slots=True)
class _Queued(Generic[T]):
    item: T
    arrived_s: float
    squeeze: float


class Pacer(Generic[T]):
    """Decides when each frame of one track is shown. Not thread-safe; times are monotonic seconds.

    `fps` fixes the playout rate; a model that is slower than that sets the pace itself. Without it the
    rate is the model's own, at most `fps_max`.
    """

    def __init__(
        self, *, fps: float | None = None, fps_max: float = limits.FPS_MAX, track: str = MAIN_VIDEO
    ) -> None:
        self._track = track
        self._fastest_s = 1 / (fps if fps is not None else fps_max)
        self._cadence = Cadence()
        self._queue: deque[_Queued[T]] = deque()
        self._last_shown_s: float | None = None
        self._beat_s = 0.0
        self._pushed = 0
        self.skipped = 0

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def interval_s(self) -> float:
        """Seconds between two shown frames at the present rate."""
        natural = self._cadence.interval_s
        return max(self._fastest_s, FIRST_INTERVAL_S if natural is None else natural)

    def push(self, item: T, *, frame_id: int, busy_s: float, now_s: float) -> None:
        """Queue a frame that arrived now. Frame ids count up by one from any start."""
        backlog = len(self._queue)
        starts_block = self._cadence.add(busy_s)
        if not self._cadence.in_blocks:
            squeeze = SINGLE_SQUEEZE
        elif starts_block:
            squeeze = BLOCK_SQUEEZE if backlog else 1.0
        else:
            squeeze = self._queue[-1].squeeze if backlog else 1.0
        self._queue.append(_Queued(item, now_s, squeeze))
        self._pushed = frame_id

    def due_s(self) -> float | None:
        """Return when the oldest queued frame is to be shown (perhaps past), or None without one."""
        return self._due(self._last_shown_s, self._queue[0]) if self._queue else None

    def pop(self, now_s: float) -> tuple[T, list[T]] | None:
        """Take the frame to show now and those that were overtaken; None when nothing is due."""
        overtaken: list[T] = []
        while self._queue and (due := self._due(self._last_shown_s, self._queue[0])) <= now_s:
            shown = self._queue.popleft()
            if self._queue and self._due(due, self._queue[0]) <= now_s:
                # The one after it is due as well: this one's moment has passed unseen.
                self._last_shown_s = due
                overtaken.append(shown.item)
                self.skipped += 1
                continue
            self._last_shown_s = now_s
            self._advance_beat(now_s)
            return shown.item, overtaken
        return None

    def clear(self) -> list[T]:
        """Drop and return everything queued; the rhythm learnt so far is kept."""
        items = [queued.item for queued in self._queue]
        self._queue.clear()
        return items

    def demand(self, *, watched: bool) -> Demand:
        """Return when the first frame that has not been pushed yet will be due."""
        ahead = len(self._queue) + 1
        return Demand(
            frame_id=self._pushed + 1,
            due_s=self._beat_s + ahead * self.interval_s,
            interval_s=self.interval_s,
            watched=watched,
            track=self._track,
        )

    def _due(self, last_shown_s: float | None, queued: _Queued[T]) -> float:
        if last_shown_s is None:
            return queued.arrived_s
        return max(queued.arrived_s, last_shown_s + queued.squeeze * self.interval_s)

    def _advance_beat(self, now_s: float) -> None:
        # The beat is the ideal grid: small lateness does not shift it, or the rate would sag.
        beat_s = self._beat_s + self.interval_s
        self._beat_s = now_s if abs(now_s - beat_s) > self.interval_s / 2 else beat_s


class EmitGate:
    """Decides when `emit` returns to the model's code. One per track, in the model process; not thread-safe."""

    def __init__(self, *, held: bool = False) -> None:
        """`held`: nothing at all is made before the first demand."""
        self._held = held
        self._gaps: deque[float] = deque(maxlen=HISTORY)
        self._resumed_s: float | None = None
        self._busy_s: float | None = None
        self._demand: Demand | None = None

    @property
    def watched(self) -> bool:
        """Whether someone is known to see what is emitted."""
        return self._demand is not None and self._demand.watched

    def resumed(self, now_s: float) -> None:
        """The model's own code runs from now on: its session began, or an emit returned."""
        self._resumed_s = now_s

    def paused(self, now_s: float) -> None:
        """The model's own code has stopped to emit on another track: the time so far is kept."""
        if self._resumed_s is not None:
            self._busy_s = (self._busy_s or 0.0) + max(0.0, now_s - self._resumed_s)
            self._resumed_s = None

    def called(self, now_s: float) -> float:
        """The model called emit. Return its busy time, 0 for a second frame of the same call."""
        self.paused(now_s)
        busy_s, self._busy_s = self._busy_s, None
        if busy_s is None:
            return 0.0
        self._gaps.append(busy_s)
        return busy_s

    def demand(self, demand: Demand) -> None:
        self._demand = demand

    def opens_at(self, next_frame_id: int, unshown: int) -> float | None:
        """Return the monotonic time from which emit may return (perhaps past), None: wait for a demand.

        next_frame_id  the id that the model's next frame will have
        unshown        frames handed over that have not been released yet
        """
        demand = self._demand
        if demand is None and self._held:
            return None
        if demand is None or not demand.watched:
            return 0.0 if unshown < limits.FRAMES_AHEAD_UNWATCHED else None
        lead_s = self._lead_s(demand.interval_s)
        if unshown > lead_s / demand.interval_s + 2:
            # The playout stands still; its next release brings a new demand.
            return None
        due_s = demand.due_s + (next_frame_id - demand.frame_id) * demand.interval_s
        return due_s - lead_s - HANDOVER_S

    def _lead_s(self, interval_s: float) -> float:
        """How long before its frame is due the model has to start on it."""
        peak_s = recurring_peak(self._gaps)
        if len(self._gaps) >= SETTLED and peak_s < interval_s / 2:
            # A quick model has no blocks to cover, so its odd slow frame may come late.
            ordered = sorted(self._gaps)
            peak_s = ordered[len(ordered) * 9 // 10]
        return min(peak_s, limits.LEAD_MAX_S)
