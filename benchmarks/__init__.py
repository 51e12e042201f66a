"""Benchmarks: `python -m benchmarks`. They start servers and browsers with the modules that the tests use."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
