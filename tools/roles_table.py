"""Write into docs/tokens.md who may do what, from the tables that the server itself asks, so that it cannot rot.

Run it after a route or a message has come; tests/test_roles_table.py fails until then, and tries every cell against
a server.
"""

from __future__ import annotations

import re

from written_part import WrittenPart

from reactor_runtime.server.access import RULES, Rule
from reactor_runtime.session.grants import NEEDED, RIGHTS, Right
from reactor_runtime.types import Role

ROUTES = WrittenPart("docs/tokens.md", "routes", "Written by tools/roles_table.py.")
MESSAGES = WrittenPart("docs/tokens.md", "messages", "Written by tools/roles_table.py.")
YES, NO = "yes", "–"


def routes() -> str:
    """Return who may ask what over HTTP as a Markdown table."""
    roles = " | ".join(role.value for role in Role)
    lines = [f"| route | no token | {roles} | another session's | in use |", "|---" * (len(Role) + 4) + "|"]
    for (method, path), rule in RULES.items():
        cells = [_yes(rule.right is None), *(_yes(_may(role, rule.right)) for role in Role)]
        cells += [_yes(_passes_elsewhere(rule)), _yes(rule.right is None or not rule.takes)]
        lines.append(f"| `{method} {path}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def messages() -> str:
    """Return who may say what over a connection as a Markdown table."""
    lines = [f"| message | {' | '.join(role.value for role in Role)} |", "|---" * (len(Role) + 1) + "|"]
    for kind, right in NEEDED.items():
        cells = " | ".join(_yes(_may(role, right)) for role in Role)
        lines.append(f"| {words(kind.__name__)} | {cells} |")
    return "\n".join(lines)


def words(name: str) -> str:
    """Return a class's name in words."""
    return re.sub(r"(?<!^)(?=[A-Z])", " ", name).capitalize()


def _may(role: Role, right: Right | None) -> bool:
    return right is None or right in RIGHTS[role]


def _passes_elsewhere(rule: Rule) -> bool:
    return rule.right is None or rule.names == ""


def _yes(may: bool) -> str:
    return YES if may else NO


if __name__ == "__main__":
    ROUTES.write(routes())
    MESSAGES.write(messages())
