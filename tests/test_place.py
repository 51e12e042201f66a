"""What waits between a stream and its encoder threads."""

from __future__ import annotations

from reactor_runtime.session.place import Place


def test_what_waits_is_overtaken_by_the_newest_and_counted() -> None:
    place: Place[int] = Place()
    assert place.put(1) is None
    assert [place.put(number) for number in range(2, 100)] == list(range(1, 99))
    assert place.overtaken == 98
    assert place.take().item == 99


def test_what_was_taken_back_is_not_worked_on_and_a_wish_to_refresh_stays() -> None:
    place: Place[int] = Place()
    place.put(1)
    place.refresh()
    assert place.take_back() == 1
    taken = place.take()
    assert (taken.item, taken.refresh) == (None, True)


def test_the_end_is_told_with_what_waited() -> None:
    place: Place[int] = Place()
    place.put(1)
    place.close()
    taken = place.take()
    assert (taken.item, taken.closed) == (1, True)
