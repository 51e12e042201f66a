"""Who gets a slot: a table by hand for one, and the line for several."""

from __future__ import annotations

import pytest

from reactor_runtime import limits
from reactor_runtime.session.admission import Admission, Admitted, Place, Refusal, SlotView
from reactor_runtime.session.lifecycle import State

READY, CLOSING, BUSY = SlotView(State.READY), SlotView(State.CLOSING), SlotView(State.STREAMING)


class Clock:
    now_s = 50.0

    def __call__(self) -> float:
        return self.now_s


def admission() -> tuple[Admission, Clock]:
    clock = Clock()
    return Admission(patience_s=6, clock=clock), clock


@pytest.mark.parametrize(
    ("state", "detail", "status", "words"),
    [
        (State.CREATED, "loading the model", 503, "the model is still loading"),
        (State.WAITING, None, 409, "cannot start session while waiting"),
        (State.STREAMING, None, 409, "cannot start session while streaming"),
        (State.ORPHANED, None, 409, "cannot start session while orphaned"),
        (State.TERMINATED, None, 503, "the server has stopped"),
        (State.TERMINATED, "the model failed too often", 503, "the model failed too often"),
    ],
)
def test_whoever_cannot_be_served_is_told_why(
    state: State, detail: str | None, status: int, words: str
) -> None:
    line, _ = admission()
    decision = line.decide(line.ask(), [SlotView(state, detail)], draining=False)
    assert isinstance(decision, Refusal)
    assert (decision.error.status, str(decision.error)) == (status, words)


def test_a_free_slot_is_given_and_a_closing_one_waited_for() -> None:
    line, _ = admission()
    request = line.ask()
    assert line.decide(request, [CLOSING], draining=False) == Place(1)
    assert line.decide(request, [READY], draining=False) == Admitted(0)


def test_the_line_is_served_in_order_by_as_many_slots_as_are_free() -> None:
    line, _ = admission()
    requests = [line.ask() for _ in range(4)]
    decisions = [line.decide(request, [BUSY, READY, CLOSING, READY], draining=False) for request in requests]
    assert decisions == [Admitted(1), Admitted(3), Place(1), Place(2)]
    line.leave(requests[0])
    assert line.decide(requests[1], [BUSY, BUSY, CLOSING, READY], draining=False) == Admitted(3)


def test_nobody_overtakes_who_came_before() -> None:
    line, _ = admission()
    first, second = line.ask(), line.ask()
    assert line.decide(second, [READY], draining=False) == Place(1)
    assert line.decide(first, [READY], draining=False) == Admitted(0)


def test_patience_ends() -> None:
    line, clock = admission()
    request = line.ask()
    clock.now_s += 6
    decision = line.decide(request, [CLOSING], draining=False)
    assert isinstance(decision, Refusal)
    assert str(decision.error) == "cannot start session while closing"


def test_the_line_is_bounded() -> None:
    line, _ = admission()
    requests = [line.ask() for _ in range(limits.STARTS_WAITING + 1)]
    decisions = [line.decide(request, [CLOSING], draining=False) for request in requests]
    assert [isinstance(decision, Place) for decision in decisions] == [True] * limits.STARTS_WAITING + [False]


def test_a_server_that_drains_admits_nobody() -> None:
    line, _ = admission()
    decision = line.decide(line.ask(), [READY], draining=True)
    assert isinstance(decision, Refusal)
    assert (decision.error.status, decision.error.retry_after_s) == (503, 10)


def test_of_several_slots_the_most_hopeful_is_named() -> None:
    line, _ = admission()
    slots = [SlotView(State.TERMINATED), BUSY, SlotView(State.CREATED)]
    decision = line.decide(line.ask(), slots, draining=False)
    assert isinstance(decision, Refusal)
    assert str(decision.error) == "the model is still loading"
