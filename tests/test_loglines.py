"""The model's output as lines: cut, limited, counted."""

from __future__ import annotations

import logging

from hypothesis import given
from hypothesis import strategies as st

from reactor_runtime import limits
from reactor_runtime.types import LogLine
from reactor_runtime.worker.log_pipe import LogPipe
from reactor_runtime.worker.loglines import LogLines, Tracebacks


@given(st.binary(max_size=300), st.integers(1, 40))
def test_lines_are_the_same_however_the_bytes_arrive(data: bytes, size: int) -> None:
    whole, pieces = LogLines(), LogLines()
    expected = whole.feed(data, 0.0) + whole.end()
    found = [line for at in range(0, len(data), size) for line in pieces.feed(data[at : at + size], 0.0)]
    assert found + pieces.end() == expected


def test_a_long_line_is_cut_and_its_rest_is_not_another_line() -> None:
    lines = LogLines(line_max=4)
    assert lines.feed(b"abcdefgh\nxy\n", 0.0) == ["abcd", "xy"]
    assert lines.feed(b"0123456", 0.0) == ["0123"]
    assert lines.feed(b"789\nnext\n", 0.0) == ["next"]


def test_lines_beyond_the_rate_are_counted_and_reported_in_the_next_second() -> None:
    lines = LogLines(lines_per_s=2)
    assert lines.feed(b"1\n2\n3\n4\n5", 0.0) == ["1", "2"]
    assert lines.feed(b"\n6\n", 0.5) == []
    assert lines.feed(b"7\n", 1.0) == ["(4 more lines of the model's output were dropped)", "7"]
    assert lines.dropped == 4


def test_every_line_is_shown_or_counted() -> None:
    lines = LogLines(lines_per_s=3)
    shown: list[str] = []
    for second in range(5):
        for _ in range(4):
            shown += lines.feed(b"x\n" * 25, second * 1.0)
    shown += lines.end()
    assert shown.count("x") == 15
    assert lines.dropped == 5 * 100 - 15


def test_what_has_no_end_yet_is_shown_when_the_stream_ends() -> None:
    lines = LogLines()
    assert lines.feed(b"no newline", 0.0) == []
    assert lines.end() == ["no newline"]


def test_bytes_that_are_not_text_are_shown_as_such() -> None:
    assert LogLines().feed(b"\xff\xfe ok\r\n", 0.0) == ["\ufffd\ufffd ok"]


def test_a_progress_bar_is_shown_while_it_is_drawn_and_when_it_is_done() -> None:
    lines = LogLines()
    shown = [
        (second, line)
        for second in range(21)
        for line in lines.feed(f"\rLoading: {second * 5}%".encode(), float(second))
    ]
    assert shown == [(second, f"Loading: {second * 5}%") for second in (5, 10, 15, 20)]
    assert lines.feed(b"\rLoading: done\n", 21.0) == ["Loading: done"]
    assert lines.feed(b"next\n", 22.0) == ["next"]


def test_a_line_that_is_drawn_over_is_what_stands_there_at_its_end() -> None:
    assert LogLines().feed(b"\r  0%\r 50%\r100%\r\nplain\r\n", 0.0) == ["100%", "plain"]


def test_a_bar_of_any_length_takes_no_more_memory_than_its_line() -> None:
    lines = LogLines()
    for step in range(5000):
        assert lines.feed(f"\rstep {step}".encode(), 0.0) == []
    assert lines.end() == ["step 4999"]


TRACEBACK = """Traceback (most recent call last):
  File "m.py", line 3, in f
    1 / 0
    ~~^~~
ZeroDivisionError: division by zero"""


def test_a_printed_traceback_is_one_error_however_its_lines_arrive() -> None:
    lines = ["before", *TRACEBACK.splitlines(), "after"]
    expected = [LogLine("before"), LogLine(TRACEBACK, logging.ERROR), LogLine("after")]
    whole = Tracebacks()
    assert [*whole.feed(lines), *whole.end()] == expected
    pieces = Tracebacks()
    assert [line for each in lines for line in pieces.feed([each])] == expected


def test_the_stacks_of_a_hang_are_one_error() -> None:
    stacks = """Thread 0x00007f2ce07ff6c0 (most recent call first):
  File "child.py", line 198 in _read

Current thread 0x00007f2d00a0eb80 (most recent call first):
  File "model.py", line 9 in start_session"""
    whole = Tracebacks()
    assert list(whole.feed(["before", *stacks.splitlines()])) == [LogLine("before")]
    assert whole.is_open
    assert list(whole.end()) == [LogLine(stacks, logging.ERROR)]
    assert not whole.is_open


def test_a_traceback_without_an_end_is_told_when_the_stream_ends_and_is_bounded() -> None:
    cut = Tracebacks()
    assert list(cut.feed(TRACEBACK.splitlines()[:3])) == []
    assert [line.text.count("\n") for line in cut.end()] == [2]
    endless = Tracebacks()
    told = list(endless.feed(["Traceback (most recent call last):"] + ["  File"] * 10_000))
    assert all(len(line.text) <= limits.LOG_RECORD_MAX for line in told)
    assert len(told) > 9_000


def test_a_flood_of_records_is_cut_to_the_rate_and_counted() -> None:
    now_s, sent = 0.0, list[LogLine]()
    pipe = LogPipe(sent.append, lambda: now_s)
    for _ in range(1000):
        pipe.emit(logging.LogRecord("net", logging.INFO, "", 1, "x" * 30_000, None, None))
    assert len(sent) == limits.LOG_LINES_PER_S
    assert {len(line.text) for line in sent} == {limits.LOG_RECORD_MAX}
    now_s = 1.0
    pipe.emit(logging.LogRecord("net", logging.INFO, "", 1, "next", None, None))
    assert [line.text for line in sent[limits.LOG_LINES_PER_S :]] == [
        f"({1000 - limits.LOG_LINES_PER_S} more records of the model's log were dropped)",
        "next",
    ]


def test_a_record_that_cannot_be_written_is_one_error_with_its_place_and_the_reason() -> None:
    class Unspeakable:
        def __str__(self) -> str:
            raise LookupError("no words")

    sent = list[LogLine]()
    pipe = LogPipe(sent.append)
    pipe.emit(logging.LogRecord("net", logging.INFO, "model.py", 7, Unspeakable(), None, None))
    pipe.emit(logging.LogRecord("net", logging.INFO, "model.py", 8, "%s and %s", (1,), None))
    assert [(line.level, line.logger) for line in sent] == [(logging.ERROR, "net")] * 2
    assert "model.py:7" in sent[0].text
    assert sent[0].text.endswith("LookupError: no words")
    assert "model.py:8" in sent[1].text
