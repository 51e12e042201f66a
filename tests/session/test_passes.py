"""Whose token it is, and until when: one person's tokens, in virtual time."""

from __future__ import annotations

import gc

import pytest

from reactor_runtime.errors import LimitExceeded, TokenExpired, TokenReplayed
from reactor_runtime.session.grants import EVERYTHING, Grant
from reactor_runtime.session.passes import Passes
from reactor_runtime.types import Role

STARTED = 1_800_000_000.0


class Connection:
    def __init__(self) -> None:
        self.there = True
        self.dropped = ""

    def drop(self, reason: str) -> None:
        self.there = False
        self.dropped = reason


class Clock:
    now_s = 5.0

    def wall(self) -> float:
        return STARTED + self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def passes(clock: Clock) -> Passes:
    return Passes(lambda: clock.now_s, clock.wall, known=3)


def token(jti: str = "j", *, for_s: float = 1000, max_s: float | None = None, once: bool = False) -> Grant:
    return Grant(Role.DRIVE, jti=jti, ends=STARTED + for_s, max_s=max_s, once=once)


def test_a_shared_token_is_used_by_many_until_its_end(passes: Passes, clock: Clock) -> None:
    for _ in range(5):
        assert passes.enter(token(), "s", Connection()) == 1000
    clock.now_s = 1000
    with pytest.raises(TokenExpired):
        passes.check(token(), "s")


def test_who_has_no_token_of_his_own_never_ends(passes: Passes) -> None:
    assert passes.enter(EVERYTHING, "s", Connection()) is None
    assert passes.enter(Grant(Role.WATCH), "s", Connection()) is None


def test_the_time_of_a_turn_runs_from_the_first_connection_on_and_no_reconnect_makes_it_longer(
    passes: Passes, clock: Clock
) -> None:
    first = Connection()
    assert passes.enter(token(max_s=60), "s", first) == 65
    clock.now_s = 40
    first.there = False
    assert passes.enter(token(max_s=60), "s", Connection()) == 65
    clock.now_s = 65
    with pytest.raises(TokenExpired, match="the 60 s"):
        passes.check(token(max_s=60), None)


def test_a_turn_ends_with_its_token_if_that_is_sooner(passes: Passes) -> None:
    assert passes.enter(token(max_s=60, for_s=20), "s", Connection()) == 20


@pytest.mark.parametrize("grant", [token(max_s=60), token(once=True)])
def test_a_second_connection_with_one_person_s_token_is_refused_while_the_first_is_there(
    passes: Passes, grant: Grant
) -> None:
    first = Connection()
    passes.enter(grant, "s", first)
    passes.check(grant, "s", first)
    for refused in (passes.check, passes.enter):
        with pytest.raises(TokenReplayed, match="another connection"):
            refused(grant, "s", Connection())
    first.there = False
    passes.enter(grant, "s", Connection())
    # Should the first come to itself, it is closed: both were lost to each other.
    assert first.dropped


def test_of_two_that_were_both_let_in_the_second_to_connect_is_refused(passes: Passes) -> None:
    one, other = Connection(), Connection()
    for each in (one, other):
        passes.check(token(once=True), "s", each)
    passes.enter(token(once=True), "s", one)
    with pytest.raises(TokenReplayed):
        passes.enter(token(once=True), "s", other)
    passes.enter(token(once=True), "s", one)


def test_a_token_for_one_session_does_not_enter_another_nor_start_one(passes: Passes) -> None:
    passes.check(token(once=True), None)
    first = Connection()
    passes.enter(token(once=True), "s", first)
    first.there = False
    for session_id in ("t", None):
        with pytest.raises(TokenReplayed, match="one session"):
            passes.check(token(once=True), session_id)
    passes.check(token(max_s=9), None)


def test_a_connection_that_is_gone_for_good_holds_nothing(passes: Passes) -> None:
    passes.enter(token(once=True), "s", Connection())
    gc.collect()
    passes.enter(token(once=True), "s", Connection())


def test_what_is_remembered_has_a_bound_and_is_forgotten_when_it_ends(passes: Passes, clock: Clock) -> None:
    for number in range(3):
        passes.enter(token(str(number), for_s=10, once=True), "s", Connection())
    with pytest.raises(LimitExceeded):
        passes.enter(token("new", once=True), "s", Connection())
    passes.enter(token("shared"), "s", Connection())
    clock.now_s = 10
    passes.enter(token("new", once=True), "s", Connection())
