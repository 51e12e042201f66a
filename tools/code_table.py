"""Write the table of codes into docs/clients.md from `codes.CODES`, so that it cannot rot.

Run it after a code has come; tests/test_codes.py fails until then.
"""

from __future__ import annotations

from written_part import WrittenPart

from reactor_runtime.codes import CODES

PART = WrittenPart("docs/clients.md", "codes", "Written by tools/code_table.py.")


def table() -> str:
    """Return the codes that clients may meet as a Markdown table."""
    lines = ["| code | seen in | meaning |", "|---|---|---|"]
    for code, (seen, words) in CODES.items():
        if seen != ("local",):
            lines.append(f"| `{code}` | {', '.join(seen)} | {words} |")
    return "\n".join(lines)


if __name__ == "__main__":
    PART.write(table())
