"""`tools/run-tests`: two rounds, one sum, and a failure of either is a failure."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

TOOL = Path(__file__).parent.parent / "tools" / "run-tests"
SETTINGS = "[pytest]\nmarkers =\n  alone: as in this project\n"


@pytest.mark.parametrize(
    ("source", "status", "last"),
    [
        (
            "def test_a(): pass\n\n@pytest.mark.alone\ndef test_b(): pass\n",
            0,
            "2 passed, 0 failed, 0 skipped",
        ),
        ("def test_a(): pass\n", 0, "1 passed, 0 failed, 0 skipped"),
        (
            "def test_a(): assert 0\n\n@pytest.mark.alone\ndef test_b(): pass\n",
            1,
            "1 passed, 1 failed, 0 skipped",
        ),
        (
            "def test_a(): pass\n\n@pytest.mark.alone\ndef test_b(): assert 0\n",
            1,
            "1 passed, 1 failed, 0 skipped",
        ),
    ],
    ids=["both rounds", "none alone", "the first fails", "the second fails"],
)
def test_both_rounds_count(tmp_path: Path, source: str, status: int, last: str) -> None:
    (tmp_path / "pytest.ini").write_text(SETTINGS)
    (tmp_path / "test_it.py").write_text(f"import pytest\n\n{source}")
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "COV"))}
    done = subprocess.run(
        [str(TOOL), "-p", "no:cacheprovider"],
        cwd=tmp_path,
        env=env | {"PYTHON": sys.executable},
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert (done.returncode, done.stdout.splitlines()[-1]) == (status, last), done.stdout
