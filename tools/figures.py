"""Write the figures of a benchmark run into README.md, so that no figure there comes from memory.

python -m benchmarks --out benchmarks/results/0.1.0.json
python tools/figures.py benchmarks/results/0.1.0.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from written_part import ROOT, WrittenPart

sys.path.insert(0, str(ROOT))

from benchmarks.report import tables

PART = WrittenPart("README.md", "figures", "Filled from the output of `make bench`; do not edit by hand.")


def block(result: dict[str, Any], file: str) -> str:
    """Return the README's section: how it was measured, then the tables as the benchmark prints them."""
    machine = result["machine"]
    about = (
        f"Measured on {machine['date']} with `make bench`: {machine['cores']} cores without a GPU that carry server, "
        f"model and browser together, Python {machine['python']}, headless Chromium {machine['chromium']}, loopback, "
        f"no loss. Medians of {result['rounds']} rounds of {result['window_s']:g} s, the range of the rounds in "
        f"brackets ([all numbers]({file})). A picture's age is read off the displayed picture itself, so up to one "
        "refresh of the screen (16.7 ms) of every latency is waiting for it. `sleep`: the model keeps its own time; "
        "`emit`: it emits as fast as it is allowed to."
    )
    return f"{about}\n\n{tables(result)}"


def main() -> None:
    file = Path(sys.argv[1])
    PART.write(block(json.loads(file.read_text()), file.resolve().relative_to(ROOT).as_posix()))


if __name__ == "__main__":
    main()
