"""Every promise has a test that exists, and the page of promises tells what each run found."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from support.promise_report import rows_named
from support.promises import PROMISES, Ran, places_of_promises, table

TESTS = Path(__file__).parent


@pytest.mark.parametrize("place", sorted(places_of_promises()))
def test_the_test_of_a_promise_exists(place: str) -> None:
    file, _, function = place.partition("::")
    tree = ast.parse((TESTS / file).read_text())
    names = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    assert function in names


def test_a_row_says_what_was_measured_that_it_held_failed_or_did_not_run() -> None:
    one, two, three, four = list(PROMISES)[:4]
    ran = {test: Ran(passed=True, measured=("7 ms",)) for test in PROMISES[one].tests[:1]}
    ran |= {
        test: Ran(passed=True) for number in (one, two) for test in PROMISES[number].tests if test not in ran
    }
    ran |= {test: Ran(passed=False) for test in PROMISES[three].tests}
    rows = [line for line in table(ran, machine="a machine").splitlines() if line.startswith("| ")]
    words = {int(row.split("|")[1]): row.split("|")[4].strip() for row in rows[1:]}
    assert [words[number] for number in (one, two, three, four)] == ["7 ms", "held", "**failed**", "not run"]
    assert len(words) == len(PROMISES)


def test_a_page_keeps_the_rows_that_a_run_did_not_ask() -> None:
    one, two, three = list(PROMISES)[:3]
    first = table({test: Ran(passed=True, measured=("7 ms",)) for test in PROMISES[one].tests}, machine="m")
    page = table({test: Ran(passed=False) for test in PROMISES[two].tests}, machine="m", before=first)
    rows = {line.split("|")[1].strip(): line for line in page.splitlines() if line.startswith("| ")}
    assert "7 ms" in rows[str(one)]
    assert "**failed**" in rows[str(two)]
    assert "not run" in rows[str(three)]


def test_rows_are_named_by_numbers_and_spans() -> None:
    assert rows_named("1,4-6") == {1, 4, 5, 6}
    assert rows_named("") == set(PROMISES)
