"""The slots of one server: loaded, found by the session that runs on them, drained and closed together.

    Sessions ──▶ Slots ──▶ slot.py, number 0 ──▶ its session
                   └─────▶ slot.py, number 1 ──▶ its session

Weights are fetched once for all. The first slot loads alone, so that an author's mistake is told once, and the server
is ready with it; then the others load one after the other, because a load may take more memory than the model
it leaves. A slot that failed too often is out of service while others go on; the last one takes the server along.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import Final

from .. import codes
from ..config import SessionsSettings
from ..errors import SessionRefused
from ..host import HostFactory
from ..progress import Progress
from ..tasks import Tasks
from ..types import JsonObject
from ..wire import messages as say
from .ending import end_moderated
from .journal import Journal
from .lifecycle import HealthWord, State, Transition
from .loads import Prepare
from .slot import ModelSlot
from .slot_owner import SessionFactory, SlotOwner

#: What is told of several slots: that which most can be hoped of.
_BEST: Final[tuple[HealthWord, ...]] = ("available", "serving", "loading", "terminated")


class Slots(SlotOwner):
    """Owns them, and the tasks that load all but the first; on the server's event loop."""

    def __init__(
        self,
        make_host: HostFactory,
        make_session: SessionFactory,
        settings: SessionsSettings,
        *,
        journal: Journal,
        moved: Callable[[ModelSlot, Transition], None],
        seat_moved: Callable[[], None],
        report: Callable[[Progress], None],
        clock: Callable[[], float],
    ) -> None:
        self._journal = journal
        self._on_moved = moved
        self._on_seat_moved = seat_moved
        self._report = report
        self._clock = clock
        self._all = [
            ModelSlot(self, make_host, make_session, settings, number=number, clock=clock)
            for number in range(settings.slot_count)
        ]
        self.on_drain_wanted: Callable[[], None] = lambda: None
        """Told when an operator in a session wants the server to stop."""
        self._moved = asyncio.Event()
        self._tasks = Tasks("the slots")

    def __iter__(self) -> Iterator[ModelSlot]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)

    def __getitem__(self, number: int) -> ModelSlot:
        return self._all[number]

    # Finding ------------------------------------------------------------------------------------------

    def of(self, session_id: str) -> ModelSlot:
        """Return the slot that this session runs on. Raises SessionRefused."""
        if (found := self.find(session_id)) is not None:
            return found
        raised = next(filter(None, (slot.raised_in(session_id) for slot in self._all)), "")
        if self.running:
            raise SessionRefused("Unknown session", status=404, raised=raised)
        raise SessionRefused("No session running", status=400, raised=raised)

    def find(self, session_id: str | None) -> ModelSlot | None:
        """Return the slot that this session runs on; None where it is over."""
        for slot in self._all:
            if slot.running is not None and slot.running.session_id == session_id:
                return slot
        return None

    @property
    def running(self) -> list[ModelSlot]:
        """Those whose session may be joined and asked."""
        return [slot for slot in self._all if slot.running is not None]

    @property
    def best(self) -> ModelSlot:
        """The slot that speaks for all: a free one, else the first of which most is to be hoped."""
        return min(self._all, key=lambda slot: _BEST.index(slot.health_word))

    # Loading ------------------------------------------------------------------------------------------

    async def load(self, prepare: Prepare) -> None:
        """Load the first, after `prepare(report)` has fetched what all need; the others follow by themselves.

        Raises what the author or the operator can fix, or ModelFailed.
        """
        await self._all[0].load(prepare)
        if len(self._all) > 1:
            self._tasks.spawn(self._load_others())

    async def _load_others(self) -> None:
        for slot in self._all[1:]:
            await slot.load_beside()

    # Waiting ------------------------------------------------------------------------------------------

    async def wait_moved(self, until_s: float) -> None:
        """Wait until a slot has moved, or `wake` was called, but not beyond this time on the clock."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(until_s - self._clock()):
                await self._moved.wait()

    def wake(self) -> None:
        """Let everybody who waits look again."""
        # A fresh event each time: whoever waits on the old one wakes, whoever comes later waits anew.
        self._moved.set()
        self._moved = asyncio.Event()

    # SlotOwner ----------------------------------------------------------------------------------------

    def moved(self, slot: int, transition: Transition) -> None:
        self._journal.transition(transition, slot=slot)
        self._on_moved(self._all[slot], transition)
        self.wake()

    def seat_moved(self, slot: int) -> None:
        self._on_seat_moved()

    def noted(self, slot: int, event: str, state: State, detail: JsonObject) -> None:
        self._journal.note(event, state, detail, slot=slot)

    def reported(self, slot: int, progress: Progress) -> None:
        if len(self._all) == 1:
            self._report(progress)
            return
        step, text = progress.step, progress.text
        if step == "failed" and any(each.state is not State.TERMINATED for each in self._all):
            step, text = "degraded", f"out of service: {text}"
        fields = {**progress.fields, "slot": slot}
        self._report(Progress(step, f"{self._all[slot].label}{text}", progress.fraction, fields))

    def operated(self, slot: int, action: say.OperatorVerb, reason: str) -> None:
        if action == "drain":
            self.on_drain_wanted()
        elif action == "moderate":
            end_moderated(self._all[slot], reason)
        else:
            self._all[slot].stop(say.SessionEnded(codes.STOPPED))

    # Leaving ------------------------------------------------------------------------------------------

    async def drain(self) -> None:
        """Tell the running sessions that their time is up, and wait until they ended, at most `drain_s`."""
        await asyncio.gather(*(slot.drain() for slot in self._all))

    async def close(self) -> None:
        """End the sessions and the models. May be called twice and from any state."""
        await self._tasks.cancel()
        await asyncio.gather(*(slot.close() for slot in self._all))
