"""What the server tells one running session: stop, commands, demands, releases, input frames.

Told by the thread that talks to the server, asked by the model's thread, the command thread and any
thread of the author's. One lock, one condition: whoever waits for anything waits on it, so nothing is
polled and nothing is woken twice. An inbox is made at `start_session` and dies with it.

What is told of a track is kept by its name. A session's place, which says before which frame a command ran,
counts frames of its first output track.
"""

from __future__ import annotations

import dataclasses
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from ..errors import SessionStopped
from ..pacing import EmitGate
from ..types import WEBCAM, CommandCall, CommandOutcome, Cue, Demand, InputFrame, Pixels, Track, track_names

#: The camera of a session that is written down: the picture before a frame, None for no new one.
Feed = Callable[[int], Pixels | None]
T = TypeVar("T")


@dataclass(slots=True)
class _Output:
    """What is known of one output track."""

    gate: EmitGate
    frame_id: int = 0
    """That of its last frame."""
    unshown: set[int] = field(default_factory=set)
    """Tickets of its frames whose memory the server still holds."""


@dataclass(slots=True)
class _Input:
    """The newest frame of one input track."""

    frame: InputFrame | None = None
    seen: bool = True
    on_frame_due: bool = False
    """The model's on_frame is to be called, and has yet to see it."""


@dataclass(frozen=True, slots=True)
class Work:
    """What the author's code is to do next: handle a command, or look at an input frame."""

    call: CommandCall | None
    frame: InputFrame | None
    place: tuple[int, int]


class Inbox:
    """State of a session as told from outside. Any thread may call any method."""

    def __init__(
        self,
        tracks: Sequence[Track],
        *,
        calls_on_frame: bool = False,
        cues: Sequence[Cue] = (),
        feed: Feed | None = None,
        held: bool = False,
    ) -> None:
        """`cues` and `feed` come by themselves at their frames; `held`: no frame before a demand for it."""
        self._changed = threading.Condition()
        self._outputs = {name: _Output(EmitGate(held=held)) for name in track_names(tracks, "out")}
        self._inputs: dict[str, _Input] = {}
        self._main = next(iter(self._outputs.values()))
        self._calls_on_frame = calls_on_frame
        self._held = held
        self._cues = deque(sorted(cues, key=lambda cue: (cue.frame_id, cue.waits)))
        self._feed = feed
        self._fed_tracks = track_names(tracks, "in") or (WEBCAM,)
        self._fed = 0
        #: Commands of cues whose handlers have not finished: a blocking loop waits for them.
        self._owed: set[int] = set()
        #: How often None was yielded since the last frame, and how many of these with nothing to do.
        self._waits = 0
        self._polls = 0
        self._calls: deque[CommandCall] = deque()
        #: A command thread runs the commands; otherwise they wait for the generator's next yield.
        self._beside = False
        #: Commands whose handler finished, and the id of the last one that was accepted.
        self._handled = 0
        self._command_id = 0
        #: Set once, never cleared: read without the lock.
        self._stopping = False

    @property
    def stopping(self) -> bool:
        return self._stopping

    @property
    def polls(self) -> int:
        """How often the generator has yielded None since its last frame with nothing to do."""
        return self._polls

    # What the server tells --------------------------------------------------------------------------

    def stop(self) -> None:
        """End the session: everything that waits in it wakes up and unwinds."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()

    def put_call(self, call: CommandCall) -> None:
        with self._changed:
            self._calls.append(call)
            self._changed.notify_all()

    def put_demand(self, demand: Demand) -> None:
        with self._changed:
            if (output := self._outputs.get(demand.track)) is not None:
                output.gate.demand(demand)
                self._changed.notify_all()

    def put_input(self, frame: InputFrame) -> bool:
        """Replace the newest frame of its track; return whether the one before it had been seen."""
        with self._changed:
            # Also of a track that the model has not declared: the host says what there is.
            of_track = self._inputs.setdefault(frame.track, _Input())
            seen, of_track.frame, of_track.seen = of_track.seen, frame, False
            of_track.on_frame_due = self._calls_on_frame
            self._changed.notify_all()
            return seen

    def released(self, ticket: int) -> None:
        """The server gave a frame's memory back."""
        with self._changed:
            for output in self._outputs.values():
                output.unshown.discard(ticket)
            self._changed.notify_all()

    # Frames out -------------------------------------------------------------------------------------

    def is_wanted(self, track: str) -> bool:
        """Whether a frame of this track is to be made now.

        A track that nobody watches holds nobody up who watches another.
        """
        with self._changed:
            return self._is_wanted(track)

    def _is_wanted(self, track: str) -> bool:
        return self._outputs[track].gate.watched or not any(
            output.gate.watched for output in self._outputs.values()
        )

    def model_runs(self) -> None:
        """The model's own code runs from now on."""
        with self._changed:
            self._model_runs(time.monotonic())

    def _model_runs(self, now_s: float) -> None:
        for output in self._outputs.values():
            output.gate.resumed(now_s)

    def emit_called(self, track: str, now_s: float) -> float:
        """The model called emit: its own code has stopped. Return how long it ran for this frame."""
        with self._changed:
            for name, output in self._outputs.items():
                if name != track:
                    output.gate.paused(now_s)
            return self._outputs[track].gate.called(now_s)

    def hand_over(self, track: str, ticket: int) -> tuple[int, int]:
        """A frame lies in memory: return its id, and that of the last command that it saw."""
        with self._changed:
            output = self._outputs[track]
            output.frame_id += 1
            output.unshown.add(ticket)
            if output is self._main:
                self._waits = self._polls = 0
            return output.frame_id, self._command_id

    def await_room(self, acquire: Callable[[], T | None]) -> T:
        """Try again at every release until `acquire` returns something. Raises SessionStopped."""
        with self._changed:
            while not self._stopping:
                if (found := acquire()) is not None:
                    return found
                self._changed.wait()
        raise SessionStopped

    def await_gate(self, track: str, *, interruptible: bool) -> bool:
        """Wait until emit may return; False when a command or input frame came first. Raises SessionStopped."""
        output = self._outputs[track]
        with self._changed:
            while not self._stopping:
                if interruptible and self._waits_for_yield:
                    return False
                if self._beside and self._owed:
                    self._changed.wait()
                    continue
                now_s = time.monotonic()
                opens_s = output.gate.opens_at(output.frame_id + 1, len(output.unshown))
                if opens_s is None and not self._is_wanted(track):
                    opens_s = 0.0
                if opens_s is not None and opens_s <= now_s:
                    self._model_runs(now_s)
                    return True
                self._changed.wait(None if opens_s is None else opens_s - now_s)
        raise SessionStopped

    @property
    def opens_late(self) -> bool:
        """Whether the session must not begin before a demand, or before what was written down was handled."""
        return self._held or bool(self._owed)

    # Frames in, commands ----------------------------------------------------------------------------

    def newest_input(self) -> InputFrame | None:
        """Return the newest input frame, or None before the first."""
        with self._changed:
            newest: InputFrame | None = None
            for of_track in self._inputs.values():
                of_track.seen = True
                if of_track.frame is not None and (
                    newest is None or of_track.frame.arrived_s > newest.arrived_s
                ):
                    newest = of_track.frame
            return newest

    def await_command(self, seen: int, deadline_s: float | None) -> int | None:
        """Wait for a command after the first `seen`: return how many there were, None when there was none in time.

        Raises SessionStopped.
        """
        with self._changed:
            while not self._stopping:
                if self._handled != seen or self._waits_for_yield or self._expects_cue:
                    # The model waited for its user, which says nothing of its own rhythm.
                    self._model_runs(time.monotonic())
                    return self._handled
                left_s = None if deadline_s is None else deadline_s - time.monotonic()
                if left_s is not None and left_s <= 0:
                    return None
                self._changed.wait(left_s)
        raise SessionStopped

    def after_none(self, poll_s: float | None) -> None:
        """The generator yielded None. With `poll_s` it only polls: wait that long, less when something comes."""
        with self._changed:
            self._waits += 1
            if poll_s is None or self._expects_cue:
                return
            self._polls += 1
            if not self._stopping and not self._has_work:
                self._changed.wait(poll_s)
            if self._has_work:
                self._model_runs(time.monotonic())

    def run_beside(self) -> None:
        """From now on a command thread runs the commands."""
        with self._changed:
            self._beside = True

    def run_between_yields(self) -> None:
        """From now on the model's thread runs the commands; the command thread has nothing to wait for."""
        with self._changed:
            self._beside = False
            self._changed.notify_all()

    def await_work_beside(self) -> bool:
        """Wait on the command thread for something to run; False when there will be nothing more."""
        with self._changed:
            while self._beside and not self._stopping:
                if self._has_work:
                    return True
                self._changed.wait()
        return False

    def take_work(self) -> Work | None:
        """Return what is to be done next, None when nothing waits or the session is over."""
        with self._changed:
            if self._stopping:
                return None
            if self._calls:
                return Work(self._calls.popleft(), None, self._place)
            for of_track in self._inputs.values():
                if of_track.on_frame_due:
                    of_track.on_frame_due, of_track.seen = False, True
                    return Work(None, of_track.frame, self._place)
            return None

    def handled(self, outcome: CommandOutcome, began: tuple[int, int]) -> CommandOutcome:
        """A handler finished, or the command was refused: what `wait` waits for. Return it with its place."""
        with self._changed:
            self._handled += 1
            self._owed.discard(outcome.command_id)
            if outcome.accepted:
                self._command_id = outcome.command_id
            # Between two yields only a handler itself can emit, and a replay runs it where it began.
            frame_id, waits = self._place if self._beside else began
            self._changed.notify_all()
        return dataclasses.replace(outcome, frame_id=frame_id, waits=waits)

    def prompt(self) -> None:
        """Bring what was written down for this place. On the model's thread, where a command may run."""
        next_id = self._main.frame_id + 1
        # In one hold: what is put while the feed makes its picture comes after it, and is not lost behind it.
        with self._changed:
            if self._feed is not None and self._fed != next_id:
                self._fed = next_id
                if (pixels := self._feed(next_id)) is not None:
                    for track in self._fed_tracks:
                        self.put_input(InputFrame(pixels, next_id, time.monotonic(), track))
            while self._cues and self._has_come(self._cues[0]):
                call = self._cues.popleft().call
                self._owed.add(call.command_id)
                self._calls.append(call)
                self._changed.notify_all()

    def _has_come(self, cue: Cue) -> bool:
        # A blocking loop yields nothing, so for it the frame is all there is.
        return (cue.frame_id, 0 if self._beside else cue.waits) <= self._place

    @property
    def _place(self) -> tuple[int, int]:
        """What is next: a frame, and after how many None."""
        return self._main.frame_id + 1, self._waits

    @property
    def _expects_cue(self) -> bool:
        """A command will come before the next frame, at the next yield."""
        return bool(self._cues) and self._cues[0].frame_id <= self._main.frame_id + 1

    @property
    def _has_work(self) -> bool:
        """A command or an input frame waits for the author's code."""
        return bool(self._calls) or any(of_track.on_frame_due for of_track in self._inputs.values())

    @property
    def _waits_for_yield(self) -> bool:
        """The same, where it is the model's thread that will run it, between two yields."""
        return not self._beside and self._has_work
