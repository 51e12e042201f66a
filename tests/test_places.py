"""Who may hold a socket, how much may be parsed for an address, and who reads the events."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reactor_runtime import limits
from reactor_runtime.networks import share_of, tells_apart
from reactor_runtime.server.places import Accounts, Place, Places, Standing
from reactor_runtime.server.readers import Readers


class Holder:
    def __init__(self, address: str, standing: Standing = Standing.NEW) -> None:
        self.address, self.standing, self.evicted = address, standing, False

    def evict(self) -> None:
        self.evicted = True


@pytest.mark.parametrize(
    ("address", "apart"),
    [
        ("203.0.113.9", True),
        ("2001:db8::1", True),
        ("::ffff:203.0.113.9", True),
        ("172.15.0.1", True),
        ("127.0.0.1", False),
        ("::1", False),
        ("::ffff:127.0.0.1", False),
        ("10.1.2.3", False),
        ("172.17.0.1", False),
        ("192.168.0.7", False),
        ("100.64.1.1", False),
        ("fd00::1", False),
        ("fe80::1%eth0", False),
        ("", False),
        ("testclient", False),
    ],
)
def test_an_address_that_the_internet_does_not_reach_may_stand_for_everybody(
    address: str, apart: bool
) -> None:
    assert tells_apart(address) is tells_apart(share_of(address)) is apart
    assert Accounts(0.0, many=not apart).offers._per_s == (4.0 if apart else 10.0)


def test_an_address_over_its_share_loses_its_oldest_that_owes_a_request_and_nobody_elses() -> None:
    places = Places()
    other = Holder("b")
    places.enter(other)
    crowd = [Holder("a") for _ in range(limits.HTTP_SOCKETS_PER_ADDRESS + 3)]
    assert all(places.enter(holder) is Place.ORDINARY for holder in crowd)
    assert [holder.evicted for holder in crowd[:4]] == [True, True, True, False]
    assert not other.evicted
    assert places.evicted == 3


def test_with_all_places_taken_the_address_with_the_most_makes_room() -> None:
    places = Places()
    crowds = {
        address: [Holder(address) for _ in range(count)]
        for address, count in (("few", 3), ("most", 120), ("many", 110), ("rest", limits.HTTP_SOCKETS - 233))
    }
    for crowd in crowds.values():
        for holder in crowd:
            places.enter(holder)
    assert places.enter(Holder("new")) is Place.ORDINARY
    assert crowds["most"][0].evicted
    assert places.evicted == 1


def test_who_owes_a_body_goes_after_all_that_owe_a_request_and_who_is_answered_never() -> None:
    places = Places()
    answered, asking, idle, new = (Holder("a", standing) for standing in reversed(Standing))
    for holder in (answered, asking, idle, new):
        places.enter(holder)
    for _ in range(limits.HTTP_SOCKETS_PER_ADDRESS - 4):
        places.enter(Holder("a", Standing.ANSWERED))
    busy = Holder("a", Standing.ANSWERED)
    places.enter(busy)
    assert (new.evicted, idle.evicted, asking.evicted) == (True, False, False)
    places.enter(Holder("a", Standing.ANSWERED))
    assert (idle.evicted, asking.evicted) == (True, False)
    places.enter(Holder("a", Standing.ANSWERED))
    assert asking.evicted
    assert places.enter(Holder("a")) is Place.RESERVED
    assert not answered.evicted
    assert not busy.evicted


def test_reserved_places_are_few_and_their_oldest_idle_one_makes_room() -> None:
    places = Places()
    for _ in range(limits.HTTP_SOCKETS_PER_ADDRESS):
        places.enter(Holder("a", Standing.ANSWERED))
    first = Holder("a")
    assert places.enter(first) is Place.RESERVED
    for _ in range(limits.HTTP_SOCKETS_RESERVED - 1):
        assert places.enter(Holder("a", Standing.ANSWERED)) is Place.RESERVED
    assert places.enter(Holder("a", Standing.ANSWERED)) is Place.RESERVED
    assert first.evicted
    assert places.enter(Holder("a")) is Place.NONE
    assert places.refused == 1


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(Standing), st.booleans()), max_size=600))
def test_places_never_hold_more_than_there_are(moves: list[tuple[str, Standing, bool]]) -> None:
    places = Places()
    inside: list[Holder] = []
    for address, standing, leaves in moves:
        if leaves and inside:
            places.leave(inside.pop())
        else:
            holder = Holder(address, standing)
            if places.enter(holder) is not Place.NONE:
                inside.append(holder)
        inside = [holder for holder in inside if not holder.evicted]
        assert len(places.holders()) <= len(inside) <= len(places.holders()) + limits.HTTP_SOCKETS_RESERVED


def test_work_is_bounded_per_second_however_it_comes() -> None:
    work = Accounts(now_s=0).work
    done, now_s = 0, 0.0
    while now_s < 10:
        now_s += work.wait_s(now_s) or 0.001
        if not work.wait_s(now_s):
            work.spend(100, now_s)
            done += 100
    assert done <= limits.HTTP_WORK_BURST + 10 * limits.HTTP_WORK_PER_S + 100


def test_an_address_that_asked_too_much_has_probes_of_its_own_and_is_remembered_until_it_owes_nothing() -> (
    None
):
    places = Places()
    asked = places.accounts("a", 0)
    for _ in range(limits.HTTP_REQUESTS_BURST):
        assert asked.requests.wait_s(0) == 0
        asked.requests.spend(1, 0)
    assert asked.requests.wait_s(0) > 0
    assert asked.health.wait_s(0) == 0
    full_s = limits.HTTP_REQUESTS_BURST / limits.HTTP_REQUESTS_PER_S
    assert not asked.whole(full_s - 0.1)
    assert asked.whole(full_s)


def test_a_new_socket_of_an_address_is_no_new_account() -> None:
    places = Places()
    places.accounts("a", 0).work.spend(2 * limits.HTTP_WORK_BURST, 0)
    for n in range(3 * limits.HTTP_SOCKETS):
        places.accounts(f"other {n}", 0)
    assert places.accounts("a", 0).work.wait_s(0) > 0.5


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1%eth0", "fe80::1", True),
        ("", "", True),
    ],
)
def test_a_share_is_an_ipv4_address_or_an_ipv6_network(one: str, other: str, same: bool) -> None:
    assert (share_of(one) == share_of(other)) is same


def test_a_reader_of_events_beyond_the_places_ends_the_oldest_of_the_address_with_most() -> None:
    readers = Readers()
    told: list[int] = []

    def tells(number: int) -> Callable[[], None]:
        return lambda: told.append(number)

    alone = readers.enter("b", 0, tells(-1))
    crowd = [readers.enter("a", 0, tells(n)) for n in range(limits.EVENT_STREAMS - 1)]
    readers.enter("c", 1, lambda: None)
    assert told == [0]
    assert [reader.may_go_on(1) for reader in crowd[:2]] == [False, True]
    assert alone.may_go_on(1)
    assert not alone.may_go_on(limits.EVENT_STREAM_S)
