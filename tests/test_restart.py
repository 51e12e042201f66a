"""How often a lost model is started again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from reactor_runtime.session.restart import RestartBudget


def test_each_restart_waits_longer_and_the_fourth_is_refused() -> None:
    budget = RestartBudget(3, window_s=600, backoff_s=(1, 4, 16))
    assert [budget.pause_s(now) for now in (0, 10, 20, 30)] == [1, 4, 16, None]
    assert budget.total == 3


def test_what_lies_longer_back_than_the_window_is_forgiven() -> None:
    budget = RestartBudget(1, window_s=600, backoff_s=(1,))
    assert budget.pause_s(0) == 1
    assert budget.pause_s(599) is None
    assert budget.pause_s(601) == 1


def test_a_budget_of_none_never_restarts() -> None:
    assert RestartBudget(0).pause_s(0) is None


@given(st.integers(1, 5), st.lists(st.floats(0, 100), max_size=60))
def test_no_window_ever_holds_more_restarts_than_the_budget(restarts: int, gaps: list[float]) -> None:
    budget, now, granted = RestartBudget(restarts, window_s=100, backoff_s=(1,)), 0.0, list[float]()
    for gap in gaps:
        now += gap
        if budget.pause_s(now) is not None:
            granted.append(now)
    for start in granted:
        assert sum(0 <= moment - start <= 100 for moment in granted) <= restarts
