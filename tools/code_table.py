"""Write the table of codes into docs/clients.md from `codes.CODES`, so that it cannot rot.

Run it after a code has come; tests/test_codes.py fails until then.
"""

from __future__ import annotations

from pathlib import Path

from reactor_runtime.codes import CODES

PAGE = Path(__file__).parent.parent / "docs" / "clients.md"
BEGIN = "<!-- codes: begin. Written by tools/code_table.py. -->"
END = "<!-- codes: end -->"


def table() -> str:
    """Return the codes that clients may meet as a Markdown table."""
    lines = ["| code | seen in | meaning |", "|---|---|---|"]
    for code, (seen, words) in CODES.items():
        if seen != ("local",):
            lines.append(f"| `{code}` | {', '.join(seen)} | {words} |")
    return "\n".join(lines)


def page(text: str) -> str:
    """Return the page with its table replaced."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
