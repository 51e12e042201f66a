"""The states of a model slot and its session, as a table: values and a clock in, values out.

    created ──▶ ready ──▶ waiting ──▶ streaming ⇄ orphaned
       ▲          ▲          └───────────┴───────────┘
       │          │                      ▼
       └──────────┴────────────────── closing ──▶ terminated

`created` is the model loading, also when it is loaded again after it was lost. `terminated` is final.
The table knows no peer, task or model. Its owner fires events on the event loop, asks `orphan_left_s`
when to call `poll` next, and does what a transition asks for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final, Literal, TypeAlias

from ..errors import SessionRefused

HealthWord: TypeAlias = Literal["loading", "available", "serving", "terminated"]


class State(Enum):
    CREATED = "created"
    READY = "ready"
    WAITING = "waiting"
    STREAMING = "streaming"
    ORPHANED = "orphaned"
    CLOSING = "closing"
    TERMINATED = "terminated"


class Event(Enum):
    INITIALIZATION_SUCCESS = "initialization_success"
    INITIALIZATION_FAIL = "initialization_fail"
    START_SESSION = "start_session"
    STOP_SESSION = "stop_session"
    TIMEOUT = "timeout"
    CONNECTION_OPENED = "connection_opened"
    CONNECTION_CLOSED = "connection_closed"
    MODEL_FINISHED = "model_finished"
    """start_session returned or failed, so the session ends."""
    CLEANUP_COMPLETE = "cleanup_complete"
    MODEL_LOST = "model_lost"
    """The model process is gone; fired once no session is left, and the model is loaded again."""
    EVICTION = "eviction"
    """The server goes away. Fired again after the cleanup of the session that it ended."""


@dataclass(frozen=True, slots=True)
class Transition:
    event: Event
    before: State
    after: State


RUNNING: Final = frozenset({State.WAITING, State.STREAMING, State.ORPHANED})

_TABLE: Final[dict[tuple[State, Event], State]] = {
    (State.CREATED, Event.INITIALIZATION_SUCCESS): State.READY,
    (State.CREATED, Event.INITIALIZATION_FAIL): State.TERMINATED,
    (State.READY, Event.START_SESSION): State.WAITING,
    (State.READY, Event.MODEL_LOST): State.CREATED,
    (State.WAITING, Event.CONNECTION_OPENED): State.STREAMING,
    (State.ORPHANED, Event.CONNECTION_OPENED): State.STREAMING,
    (State.STREAMING, Event.CONNECTION_CLOSED): State.ORPHANED,
    (State.WAITING, Event.TIMEOUT): State.CLOSING,
    (State.ORPHANED, Event.TIMEOUT): State.CLOSING,
    (State.CLOSING, Event.CLEANUP_COMPLETE): State.READY,
    (State.CLOSING, Event.MODEL_LOST): State.CREATED,
    **{
        (state, event): State.CLOSING
        for state in RUNNING
        for event in (Event.STOP_SESSION, Event.MODEL_FINISHED, Event.EVICTION)
    },
    **{(state, Event.EVICTION): State.TERMINATED for state in (State.CREATED, State.READY, State.CLOSING)},
}

_HEALTH: Final[dict[State, HealthWord]] = {
    State.CREATED: "loading",
    State.READY: "available",
    State.WAITING: "serving",
    State.STREAMING: "serving",
    State.ORPHANED: "serving",
    State.CLOSING: "serving",
    State.TERMINATED: "terminated",
}


class Lifecycle:
    """One model slot's state, its count of connected viewers, and the orphan timer.

    `clock` is monotonic seconds; `orphan_s` is how long a session lives with nobody connected, which
    covers the wait for the first connection as well.
    """

    def __init__(self, *, orphan_s: float, clock: Callable[[], float]) -> None:
        self._orphan_s = orphan_s
        self._clock = clock
        self._orphan_at_s: float | None = None
        self.state = State.CREATED
        self.viewers = 0

    @property
    def running(self) -> bool:
        """Whether transport calls are allowed."""
        return self.state in RUNNING

    @property
    def health_word(self) -> HealthWord:
        return _HEALTH[self.state]

    def fire(self, event: Event) -> Transition | None:
        """Apply an event. None when it changes nothing here: late events of a session that ended are normal.

        Raises SessionRefused for a start or a stop that cannot be done in this state.
        """
        if not self._counts(event):
            return None
        before = self.state
        after = _TABLE.get((before, event))
        if after is None:
            self._refuse(event)
            return None
        self.state = after
        if after not in RUNNING:
            self.viewers = 0
        waits_for_viewer = after in (State.WAITING, State.ORPHANED)
        self._orphan_at_s = self._clock() + self._orphan_s if waits_for_viewer else None
        return Transition(event, before, after)

    def orphan_left_s(self) -> float | None:
        """Return the seconds until `poll` has something to do, or None while no timer runs."""
        if self._orphan_at_s is None:
            return None
        return max(0.0, self._orphan_at_s - self._clock())

    def poll(self) -> Transition | None:
        """Fire TIMEOUT if the orphan time has passed."""
        if self._orphan_at_s is None or self._clock() < self._orphan_at_s:
            return None
        return self.fire(Event.TIMEOUT)

    def _counts(self, event: Event) -> bool:
        """Keep the count of viewers; only the first to come and the last to go move the state."""
        if event is Event.CONNECTION_OPENED and self.running:
            self.viewers += 1
            return self.viewers == 1
        if event is Event.CONNECTION_CLOSED and self.viewers:
            self.viewers -= 1
            return self.viewers == 0
        return True

    def _refuse(self, event: Event) -> None:
        if event is Event.STOP_SESSION:
            raise SessionRefused(f"cannot stop session while {self.state.value}", status=409)
        if event is Event.START_SESSION:
            raise refusal_to_start(self.state)


def refusal_to_start(state: State) -> SessionRefused:
    """Say why no session can be started in this state, which is not READY."""
    # Clients retry neither of the two, but people read the message and scripts the header.
    if state is State.CREATED:
        return SessionRefused("the model is still loading", status=503, retry_after_s=1)
    if state is State.TERMINATED:
        return SessionRefused("the server has stopped", status=503)
    return SessionRefused(f"cannot start session while {state.value}", status=409)
