"""`tools/run-tests`: two rounds, one sum, and a failure of either, or of what runs beside, is a failure.

What fails in the first only because others run beside it is named, and is none.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.promises import by_night

pytestmark = pytest.mark.slow

TOOL = Path(__file__).parent.parent / "tools" / "run-tests"
SETTINGS = "[pytest]\nmarkers =\n  alone: as in this project\n"


@pytest.mark.parametrize(
    ("source", "status", "last"),
    [
        pytest.param(
            "def test_a(): pass\n\n@pytest.mark.alone\ndef test_b(): pass\n",
            0,
            "2 passed, 0 failed, 0 skipped",
            id="both rounds",
        ),
        pytest.param(
            "def test_a(): assert 0\n\n@pytest.mark.alone\ndef test_b(): pass\n",
            1,
            "1 passed, 1 failed, 0 skipped",
            id="the first fails",
        ),
        *by_night(
            pytest.param("def test_a(): pass\n", 0, "1 passed, 0 failed, 0 skipped", id="none alone"),
            pytest.param(
                "def test_a(): pass\n\n@pytest.mark.alone\ndef test_b(): assert 0\n",
                1,
                "1 passed, 1 failed, 0 skipped",
                id="the second fails",
            ),
        ),
    ],
)
def test_both_rounds_count(tmp_path: Path, source: str, status: int, last: str) -> None:
    done = run_tests(tmp_path, source)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (status, last), done.stdout


CROWDED = """
import os

def test_a(): pass
def test_b(): assert "PYTEST_XDIST_WORKER" not in os.environ
"""


def test_what_fails_only_beside_others_is_named_and_no_failure(tmp_path: Path) -> None:
    done = run_tests(tmp_path, CROWDED)
    lines = done.stdout.splitlines()
    assert (done.returncode, lines[-1]) == (0, "2 passed, 0 failed, 0 skipped"), done.stdout
    assert lines[-3] == "Passed only with nothing beside, each a race to be found:"
    assert lines[-2].startswith("FAILED test_it.py::test_b")


def test_what_fails_beside_a_wrong_command_does_not_hide_it(tmp_path: Path) -> None:
    done = run_tests(tmp_path, CROWDED, BESIDE="exit 1")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (1, "2 passed, 0 failed, 0 skipped"), (
        done.stdout
    )


def test_many_that_fail_beside_others_are_failures(tmp_path: Path) -> None:
    many = "".join(CROWDED.replace("test_b", f"test_b{number}") for number in range(6))
    done = run_tests(tmp_path, many)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (1, "1 passed, 6 failed, 0 skipped"), (
        done.stdout
    )


def test_what_runs_beside_is_shown_after_the_round_and_its_failure_is_one(tmp_path: Path) -> None:
    wrong = "echo one line; echo a warning >&2; exit 3"
    done = run_tests(tmp_path, "def test_a(): pass\n", BESIDE=wrong)
    lines = done.stdout.splitlines()
    assert (done.returncode, lines[-1]) == (3, "1 passed, 0 failed, 0 skipped")
    shown = lines.index(f"$ {wrong}")
    assert lines[shown + 1 : shown + 4] == ["one line", "a warning", f"failed with status 3: {wrong}"]
    assert "1 passed" in lines[shown - 1]


def run_tests(folder: Path, source: str, **env: str) -> subprocess.CompletedProcess[str]:
    (folder / "pytest.ini").write_text(SETTINGS)
    (folder / "test_it.py").write_text(f"import pytest\n\n{source}")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "COV"))}
    return subprocess.run(
        [str(TOOL), "-p", "xdist.plugin"],
        cwd=folder,
        # What is installed beside pytest takes longer to start than these tests.
        env=inherited | {"PYTHON": sys.executable, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", **env},
        capture_output=True,
        text=True,
        timeout=90,
    )
