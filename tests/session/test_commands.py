"""The book of commands: numbers, answers, time-outs, and which frame shows what."""

from __future__ import annotations

from reactor_runtime import limits
from reactor_runtime.session.commands import CommandBook


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_commands_are_numbered_from_one_and_answered_once() -> None:
    book = CommandBook(Clock())
    assert [book.open(7, None, "paint"), book.open(8, "x", "wipe")] == [1, 2]
    entry = book.answer(2)
    assert entry is not None
    assert (entry.who, entry.request_id, entry.name) == (8, "x", "wipe")
    assert book.answer(2) is None
    assert book.answer(3) is None


def test_a_command_that_was_never_passed_on_is_not_answered() -> None:
    book = CommandBook(Clock())
    number = book.open(7, "x", "paint")
    book.strike(number)
    assert book.answer(number) is None
    assert book.open(7, "y", "paint") == number + 1


def test_a_command_is_overdue_after_the_time_that_clients_wait() -> None:
    clock = Clock()
    book = CommandBook(clock)
    number = book.open(7, "x", "paint")
    clock.now_s += limits.COMMAND_REPLY_S
    assert book.overdue() == []
    clock.now_s += 0.1
    assert book.overdue() == [number]
    book.answer(number)
    assert book.overdue() == []


def test_how_long_answers_take_is_added_up_and_counted() -> None:
    clock = Clock()
    book = CommandBook(clock)
    for took_s, total_s, count in ((1.0, 1.0, 1), (2.0, 3.0, 2)):
        number = book.open(7, None, "paint")
        clock.now_s += took_s
        book.answer(number)
        book.answer(number)
        assert book.handled() == (total_s, count)


def test_the_first_frame_that_saw_a_command_shows_it_and_all_before_it_once() -> None:
    book = CommandBook(Clock())
    numbers = [book.open(7, str(n), "paint") for n in range(3)]
    for number in numbers:
        book.answer(number)
    book.saw("v", 10, 0)
    book.saw("v", 11, 2)
    book.saw("v", 12, 2)
    assert book.unshown(7) == 1
    assert book.shown(7, "v", 10) == []
    assert [entry.number for entry in book.shown(7, "v", 12)] == [1, 2]
    assert book.shown(7, "v", 13) == []
    assert book.unshown(7) == 3


def test_each_connection_has_its_own_commands_shown() -> None:
    book = CommandBook(Clock())
    for who in (7, 8):
        book.answer(book.open(who, "x", "paint"))
    book.saw("v", 1, 2)
    assert [entry.number for entry in book.shown(8, "v", 1)] == [2]
    assert [entry.number for entry in book.shown(7, "v", 1)] == [1]


def test_frames_of_one_track_say_nothing_of_another() -> None:
    book = CommandBook(Clock())
    book.answer(book.open(7, "x", "paint"))
    book.saw("v", 5, 1)
    assert book.shown(7, "depth", 5) == []
    assert len(book.shown(7, "v", 5)) == 1


def test_a_command_that_is_not_answered_yet_is_not_shown() -> None:
    book = CommandBook(Clock())
    book.open(7, "x", "paint")
    book.saw("v", 1, 1)
    assert book.shown(7, "v", 1) == []
    assert book.unshown(7) is None


def test_who_lost_its_link_is_still_answered_and_who_is_gone_is_not() -> None:
    book = CommandBook(Clock())
    replied, waiting = book.open(7, "x", "paint"), book.open(7, "y", "paint")
    book.answer(replied)
    book.leave(7)
    assert book.unshown(7) is None
    assert book.answer(waiting) is not None
    left = book.open(7, "z", "paint")
    book.forget(7)
    assert book.answer(left) is None


def test_the_book_does_not_grow_beyond_its_bound() -> None:
    book = CommandBook(Clock())
    for frame_id in range(1, 1000):
        book.answer(book.open(7, "x", "paint"))
        book.saw("v", frame_id, frame_id)
    assert book.unshown(7) == 999 - limits.COMMAND_MAILBOX + 1
    assert len(book.shown(7, "v", 999)) == limits.COMMAND_MAILBOX
