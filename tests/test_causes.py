"""An exception that repeats is one traceback and then one line per second."""

from __future__ import annotations

from reactor_runtime.causes import CAUSES, CauseLog
from reactor_runtime.testing import ManualClock


def caught(kind: type[Exception] = ValueError) -> Exception:
    try:
        raise kind("the text\nand more")
    except Exception as error:
        return error


def test_a_thousand_repeats_per_second_are_a_line_per_second_with_a_count() -> None:
    written: list[str] = []
    clock = ManualClock()
    causes = CauseLog(written.append, clock)
    for _ in range(3000):
        causes.exception(caught(), "command 'x'")
        clock.advance(0.001)
    assert len(written) == 3
    assert "Traceback" in written[0]
    assert "ValueError: the text" in written[0]
    assert written[1] == "command 'x' raised 1000 times more: ValueError: the text"
    assert sum("Traceback" in text for text in written) == 1


def test_another_place_or_kind_is_another_cause() -> None:
    written: list[str] = []
    causes = CauseLog(written.append, ManualClock())
    for place in ("command 'x'", "command 'y'"):
        for kind in (ValueError, KeyError):
            causes.exception(caught(kind), place)
    assert len(written) == 4


def test_causes_are_bounded_and_the_oldest_is_forgotten() -> None:
    written: list[str] = []
    causes = CauseLog(written.append, ManualClock())
    for number in range(CAUSES + 1):
        causes.exception(caught(), f"place {number}")
    causes.exception(caught(), "place 0")
    causes.exception(caught(), f"place {CAUSES}")
    assert len(written) == CAUSES + 2
