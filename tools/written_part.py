"""The part of a page that a tool writes, between two marks; all around it is written by people."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True, slots=True)
class WrittenPart:
    """`page` is a path below the project, `name` what the marks call the part, `note` where it comes from."""

    page: str
    name: str
    note: str

    def put(self, text: str, part: str) -> str:
        """Return a page's text with this part replaced. Raises ValueError unless it has each mark once, in order."""
        begin, end = f"<!-- {self.name}: begin. {self.note} -->\n", f"<!-- {self.name}: end -->"
        before, began, rest = text.partition(begin)
        _, ended, after = rest.partition(end)
        if not began or not ended or begin in after or end in before + after:
            raise ValueError(f"{self.page} must have each of these once:\n{begin}{end}")
        return f"{before}{begin}{part}\n{end}{after}"

    def read(self) -> str:
        return (ROOT / self.page).read_text(encoding="utf-8")

    def write(self, part: str) -> None:
        (ROOT / self.page).write_text(self.put(self.read(), part), encoding="utf-8")
