"""What the server tells one running session: stop, commands, demands, releases, inbound frames.

Written by the thread that talks to the server, read by the model's thread, the command thread and any
thread of the author's. One lock, one condition (`changed`): whoever waits for anything waits on it, so
nothing is polled and nothing is woken twice. An inbox is made at `start_session` and dies with it.
"""

from __future__ import annotations

import dataclasses
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from ..pacing import EmitGate
from ..types import CommandCall, CommandOutcome, Cue, Demand, InputFrame, Pixels

#: The camera of a session that is written down: the picture before a frame, None for no new one.
Feed = Callable[[int], Pixels | None]


class Inbox:
    """State of a session as told from outside. Methods may be called from any thread; attributes are
    read and written only while `changed` is held, unless said otherwise."""

    def __init__(self, *, cues: Sequence[Cue] = (), feed: Feed | None = None, held: bool = False) -> None:
        """`cues` and `feed` come by themselves at their frames; `held`: no frame before a demand for it."""
        self.changed = threading.Condition()
        self.gate = EmitGate(held=held)
        self.held = held
        self.cues = deque(sorted(cues, key=lambda cue: (cue.frame_id, cue.waits)))
        self._feed = feed
        self._fed = 0
        #: Commands of cues whose handlers have not finished: a blocking loop waits for them.
        self.owed: set[int] = set()
        #: The id that the next frame will have, and how often None was yielded since the one before it.
        self.next_frame_id = 1
        self.waits = 0
        #: How many of these were made with nothing to do, so that the model waits for something.
        self.polls = 0
        self.calls: deque[CommandCall] = deque()
        #: Ring tickets of this session's frames that the server still holds.
        self.unshown: set[int] = set()
        self.input: InputFrame | None = None
        self.input_seen = True
        #: Whether the model's on_frame is to be called, and has yet to see the newest inbound frame.
        self.calls_on_frame = False
        self.on_frame_due = False
        #: A command thread runs the commands; otherwise they wait for the generator's next yield.
        self.beside = False
        #: Commands whose handler finished, and the id of the last one that was accepted.
        self.handled = 0
        self.command_id = 0
        #: Set once, never cleared: may be read without the lock.
        self.stopping = False

    @property
    def has_work(self) -> bool:
        """A command or an inbound frame waits for the author's code."""
        return bool(self.calls) or self.on_frame_due

    @property
    def waits_for_yield(self) -> bool:
        """The same, where it is the model's thread that will run it, between two yields."""
        return not self.beside and self.has_work

    def stop(self) -> None:
        """End the session: everything that waits in it wakes up and unwinds."""
        with self.changed:
            self.stopping = True
            self.changed.notify_all()

    def put_call(self, call: CommandCall) -> None:
        with self.changed:
            self.calls.append(call)
            self.changed.notify_all()

    @property
    def place(self) -> tuple[int, int]:
        """What is next: a frame, and after how many None."""
        return self.next_frame_id, self.waits

    @property
    def expects_cue(self) -> bool:
        """A command will come before the next frame, at the next yield."""
        return bool(self.cues) and self.cues[0].frame_id <= self.next_frame_id

    def prompt(self) -> None:
        """Bring what was written down for this place. On the model's thread, where a command may run."""
        if self._feed is not None and self._fed != self.next_frame_id:
            self._fed = self.next_frame_id
            if (pixels := self._feed(self._fed)) is not None:
                self.put_input(InputFrame(pixels, self._fed, time.monotonic()))
        with self.changed:
            while self.cues and self._has_come(self.cues[0]):
                call = self.cues.popleft().call
                self.owed.add(call.command_id)
                self.calls.append(call)
                self.changed.notify_all()

    def _has_come(self, cue: Cue) -> bool:
        # A blocking loop yields nothing, so for it the frame is all there is.
        return (cue.frame_id, 0 if self.beside else cue.waits) <= self.place

    def handled_call(self, outcome: CommandOutcome, began: tuple[int, int]) -> CommandOutcome:
        """A handler finished, or the command was refused: what `wait` waits for. Return it with its place."""
        with self.changed:
            self.handled += 1
            self.owed.discard(outcome.command_id)
            if outcome.accepted:
                self.command_id = outcome.command_id
            # Between two yields only a handler itself can emit, and a replay runs it where it began.
            frame_id, waits = self.place if self.beside else began
            self.changed.notify_all()
        return dataclasses.replace(outcome, frame_id=frame_id, waits=waits)

    def put_demand(self, demand: Demand) -> None:
        with self.changed:
            self.gate.demand(demand)
            self.changed.notify_all()

    def put_input(self, frame: InputFrame) -> bool:
        """Replace the newest inbound frame; return whether the one before it had been seen."""
        with self.changed:
            seen, self.input, self.input_seen = self.input_seen, frame, False
            self.on_frame_due = self.calls_on_frame
            self.changed.notify_all()
            return seen

    def released(self, ticket: int) -> None:
        """The server gave a frame's memory back."""
        with self.changed:
            self.unshown.discard(ticket)
            self.changed.notify_all()
