"""The pytest side of `make nightly`: `--promises FILE` runs the tests of promises alone and writes the page."""

from __future__ import annotations

import os
import platform
from collections.abc import Container
from pathlib import Path

import pytest

from .promises import PROMISES, Ran, places_of_promises, table


def place_of(nodeid: str) -> str:
    """Return "file::function" below tests/, without parameters."""
    file, _, function = nodeid.partition("::")
    return f"{file.removeprefix('tests/')}::{function.partition('[')[0]}"


def rows_named(text: str) -> frozenset[int]:
    """Read "1,4-7", numbers of promises; nothing means all."""
    spans = [part.partition("-") for part in text.split(",") if part]
    named = {number for first, _, last in spans for number in range(int(first), int(last or first) + 1)}
    return frozenset(named or PROMISES)


class PromiseReport:
    """Selects, collects what tests recorded as `measured`, and writes when the run is over."""

    def __init__(self, file: Path, rows: Container[int]) -> None:
        self._file = file
        self._rows = rows
        self._ran: dict[str, Ran] = {}

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        wanted = places_of_promises(self._rows)
        others = [item for item in items if place_of(item.nodeid) not in wanted]
        items[:] = [item for item in items if place_of(item.nodeid) in wanted]
        config.hook.pytest_deselected(items=others)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.skipped or (report.when != "call" and report.passed):
            return
        place = place_of(report.nodeid)
        before = self._ran.get(place, Ran(passed=True))
        said = tuple(str(value) for name, value in report.user_properties if name == "measured")
        self._ran[place] = Ran(before.passed and report.passed, before.measured + said)

    def pytest_sessionfinish(self) -> None:
        machine = f"{os.cpu_count()} cores, Python {platform.python_version()}, {platform.system()}"
        before = self._file.read_text() if self._file.exists() else ""
        self._file.write_text(table(self._ran, machine=machine, before=before))
