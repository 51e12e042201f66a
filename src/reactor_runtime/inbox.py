"""What the server tells one running session: stop, commands, demands, releases, inbound frames.

Written by the thread that talks to the server, read by the model's thread, the command thread and any
thread of the author's. One lock, one condition (`changed`): whoever waits for anything waits on it, so
nothing is polled and nothing is woken twice. An inbox is made at `start_session` and dies with it.
"""

from __future__ import annotations

import threading
from collections import deque

from .pacing import EmitGate
from .types import CommandCall, CommandOutcome, Demand, InputFrame


class Inbox:
    """State of a session as told from outside. Methods may be called from any thread; attributes are
    read and written only while `changed` is held, unless said otherwise."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.gate = EmitGate()
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

    def handled_call(self, outcome: CommandOutcome) -> None:
        """A handler finished, or the command was refused: what `wait` waits for."""
        with self.changed:
            self.handled += 1
            if outcome.accepted:
                self.command_id = outcome.command_id
            self.changed.notify_all()

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
