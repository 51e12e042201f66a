"""Where the figures of the evaluation go: the terminal, metrics.json beside the weights, and the README."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table
from safetensors import safe_open

from training.export import WEIGHTS

README = Path(__file__).parents[1] / "README.md"


@dataclass(frozen=True, slots=True)
class Line:
    """One figure and what it shall be."""

    name: str
    value: float
    unit: str
    #: at least this, or None
    least: float | None = None
    most: float | None = None

    @property
    def reached(self) -> bool:
        return (self.least is None or self.value >= self.least) and (
            self.most is None or self.value <= self.most
        )

    @property
    def target(self) -> str:
        bounds = ((self.least, "≥"), (self.most, "≤"))
        return " ".join(f"{sign} {bound:.4g}" for bound, sign in bounds if bound is not None)


def write(lines: list[Line], weights: Path) -> None:
    """Print the figures, and write them and how the weights were trained."""
    table = Table("figure", "measured", "target", "")
    for line in lines:
        mark = "" if not line.target else "reached" if line.reached else "missed"
        table.add_row(line.name, f"{line.value:.4g} {line.unit}", line.target, mark)
    Console().print(table)
    with safe_open(weights / WEIGHTS, "pt") as file:
        about = file.metadata()
    metrics = {"training": about, "figures": [asdict(line) | {"reached": line.reached} for line in lines]}
    (weights / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n")
    _write_into(README, lines)


def _write_into(readme: Path, lines: list[Line]) -> None:
    """Put the table between the marks of the README."""
    rows = ["| figure | measured | target |", "|---|---|---|"]
    for line in lines:
        value = f"{line.value:.4g}" if line.reached else f"**{line.value:.4g}** (missed)"
        rows.append(f"| {line.name} | {value} {line.unit} | {line.target} |")
    begin, end = "edit by hand. -->\n", "<!-- metrics: end -->"
    text = readme.read_text()
    head, rest = text.split(begin, 1)
    readme.write_text(head + begin + "\n".join(rows) + "\n" + end + rest.split(end, 1)[1])
