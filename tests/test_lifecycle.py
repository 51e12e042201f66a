"""The states of a session: the table by hand, then in any order against an independent account."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from reactor_runtime.errors import SessionRefused
from reactor_runtime.session.lifecycle import RUNNING, Event, Lifecycle, State, Transition

ORPHAN_S = 30.0


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


def lifecycle_in(state: State) -> Lifecycle:
    """Bring a lifecycle into a state by the shortest way there."""
    ways = {
        State.CREATED: [],
        State.READY: [Event.INITIALIZATION_SUCCESS],
        State.WAITING: [Event.INITIALIZATION_SUCCESS, Event.START_SESSION],
        State.STREAMING: [Event.INITIALIZATION_SUCCESS, Event.START_SESSION, Event.CONNECTION_OPENED],
        State.ORPHANED: [
            Event.INITIALIZATION_SUCCESS,
            Event.START_SESSION,
            Event.CONNECTION_OPENED,
            Event.CONNECTION_CLOSED,
        ],
        State.CLOSING: [Event.INITIALIZATION_SUCCESS, Event.START_SESSION, Event.STOP_SESSION],
        State.TERMINATED: [Event.INITIALIZATION_FAIL],
    }
    lifecycle = Lifecycle(orphan_s=ORPHAN_S, clock=Clock())
    for event in ways[state]:
        lifecycle.fire(event)
    assert lifecycle.state is state
    return lifecycle


C, R, W, S, O, X, T = State  # created ready waiting streaming orphaned closing terminated  # noqa: E741

#: event: the state after it, from each state in order; None: nothing changes, a number: refused with it.
TABLE: dict[Event, tuple[State | int | None, ...]] = {
    #                              C     R     W     S     O     X     T
    Event.INITIALIZATION_SUCCESS: (R, None, None, None, None, None, None),
    Event.INITIALIZATION_FAIL: (T, None, None, None, None, None, None),
    Event.START_SESSION: (503, W, 409, 409, 409, 409, 503),
    Event.STOP_SESSION: (409, 409, X, X, X, 409, 409),
    Event.TIMEOUT: (None, None, X, None, X, None, None),
    Event.CONNECTION_OPENED: (None, None, S, None, S, None, None),
    Event.CONNECTION_CLOSED: (None, None, None, O, None, None, None),
    Event.MODEL_FINISHED: (None, None, X, X, X, None, None),
    Event.CLEANUP_COMPLETE: (None, None, None, None, None, R, None),
    Event.MODEL_LOST: (None, C, None, None, None, C, None),
    Event.EVICTION: (T, T, X, X, X, T, None),
}


@pytest.mark.parametrize("event", list(Event))
def test_every_event_in_every_state_does_what_the_table_says(event: Event) -> None:
    for before, expected in zip(State, TABLE[event], strict=True):
        lifecycle = lifecycle_in(before)
        if isinstance(expected, int):
            with pytest.raises(SessionRefused) as refused:
                lifecycle.fire(event)
            assert refused.value.status == expected
            assert lifecycle.state is before
        else:
            moved = None if expected is None else Transition(event, before, expected)
            assert lifecycle.fire(event) == moved
            assert lifecycle.state is (expected or before)


def test_refusals_say_why_in_words() -> None:
    with pytest.raises(SessionRefused, match="cannot start session while closing"):
        lifecycle_in(State.CLOSING).fire(Event.START_SESSION)
    with pytest.raises(SessionRefused, match="cannot stop session while ready"):
        lifecycle_in(State.READY).fire(Event.STOP_SESSION)
    with pytest.raises(SessionRefused, match="loading") as refused:
        lifecycle_in(State.CREATED).fire(Event.START_SESSION)
    assert refused.value.retry_after_s == 1


def test_only_the_first_viewer_and_the_last_move_the_state() -> None:
    lifecycle = lifecycle_in(State.STREAMING)
    assert lifecycle.fire(Event.CONNECTION_OPENED) is None
    assert lifecycle.viewers == 2
    assert lifecycle.fire(Event.CONNECTION_CLOSED) is None
    assert lifecycle.state is State.STREAMING
    closed = lifecycle.fire(Event.CONNECTION_CLOSED)
    assert closed == Transition(Event.CONNECTION_CLOSED, State.STREAMING, State.ORPHANED)


@pytest.mark.parametrize("state", [State.WAITING, State.ORPHANED])
def test_a_session_without_viewers_ends_after_the_orphan_time(state: State) -> None:
    clock = Clock()
    lifecycle = Lifecycle(orphan_s=ORPHAN_S, clock=clock)
    lifecycle.fire(Event.INITIALIZATION_SUCCESS)
    lifecycle.fire(Event.START_SESSION)
    if state is State.ORPHANED:
        clock.now_s += 29
        lifecycle.fire(Event.CONNECTION_OPENED)
        assert lifecycle.orphan_left_s() is None
        clock.now_s += 1_000
        assert lifecycle.poll() is None
        lifecycle.fire(Event.CONNECTION_CLOSED)
    assert lifecycle.orphan_left_s() == ORPHAN_S
    clock.now_s += 29.9
    assert lifecycle.poll() is None
    clock.now_s += 0.1
    assert lifecycle.poll() == Transition(Event.TIMEOUT, state, State.CLOSING)
    assert lifecycle.poll() is None


@pytest.mark.parametrize(
    ("state", "word"),
    list(zip(State, ["loading", "available", *["serving"] * 4, "terminated"], strict=True)),
)
def test_health_words_follow_the_state(state: State, word: str) -> None:
    assert lifecycle_in(state).health_word == word


class AnyOrder(RuleBasedStateMachine):
    """Fire events in any order, and keep an account of viewers and the orphan timer of our own."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.lifecycle = Lifecycle(orphan_s=ORPHAN_S, clock=self.clock)
        self.viewers = 0
        self.alone_since_s: float | None = None

    @rule(event=st.sampled_from(list(Event)))
    def fire(self, event: Event) -> None:
        before = self.lifecycle.state
        try:
            moved = self.lifecycle.fire(event)
        except SessionRefused as refused:
            refused_status = refused.status
        else:
            self.account(event, before, moved)
            return
        assert event in (Event.START_SESSION, Event.STOP_SESSION)
        assert refused_status in (409, 503)
        assert self.lifecycle.state is before

    @rule(seconds=st.floats(0, 40))
    def wait(self, seconds: float) -> None:
        self.clock.now_s += seconds
        before = self.lifecycle.state
        due = self.alone_since_s is not None and self.clock.now_s >= self.alone_since_s + ORPHAN_S
        moved = self.lifecycle.poll()
        assert (moved is not None) == due
        self.account(Event.TIMEOUT, before, moved)

    @precondition(lambda self: self.lifecycle.state is State.TERMINATED)
    @rule()
    def start_over(self) -> None:
        self.lifecycle = Lifecycle(orphan_s=ORPHAN_S, clock=self.clock)
        self.viewers, self.alone_since_s = 0, None

    def account(self, event: Event, before: State, moved: Transition | None) -> None:
        after = self.lifecycle.state
        assert (moved is None) == (before is after)
        assert moved is None or moved == Transition(event, before, after)
        if before in RUNNING and event is Event.CONNECTION_OPENED:
            self.viewers += 1
        if before in RUNNING and event is Event.CONNECTION_CLOSED:
            self.viewers = max(0, self.viewers - 1)
        if after not in RUNNING:
            self.viewers, self.alone_since_s = 0, None
        elif self.viewers:
            self.alone_since_s = None
        elif moved is not None:
            self.alone_since_s = self.clock.now_s

    @invariant()
    def the_state_agrees_with_the_account(self) -> None:
        assert self.lifecycle.viewers == self.viewers
        assert (self.lifecycle.state is State.STREAMING) == (self.viewers > 0)
        assert self.lifecycle.running == (self.lifecycle.state in RUNNING)
        left_s = self.lifecycle.orphan_left_s()
        assert (left_s is not None) == (self.lifecycle.state in (State.WAITING, State.ORPHANED))
        # A sum of floats and its difference may differ in the last bits.
        assert left_s is None or 0 <= left_s <= ORPHAN_S + 1e-9


TestAnyOrder = pytest.mark.slow(AnyOrder.TestCase)
TestAnyOrder.settings = settings(max_examples=100, stateful_step_count=100, deadline=None)
