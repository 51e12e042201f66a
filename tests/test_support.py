"""The index of what the tests share is complete."""

from __future__ import annotations

import re
from pathlib import Path

import support


def test_every_module_that_the_tests_share_is_in_the_index() -> None:
    modules = {path.stem for path in Path(support.__file__).parent.glob("*.py")} - {"__init__"}
    assert modules - set(re.findall(r"[a-z_]+", support.__doc__ or "")) == set()
