"""Commands that a host has sent and that are not answered yet: exactly one outcome for each.

Used on the host's event loop only. Policy when full: refuse with `rate_limited`.
"""

from __future__ import annotations

from .. import limits
from ..errors import CommandRejected
from ..types import CommandCall, CommandOutcome


class Mailbox:
    """The unanswered commands of one session after the other."""

    def __init__(self) -> None:
        self._pending: dict[int, None] = {}

    def admit(self, call: CommandCall) -> None:
        """Count a command in. Raises CommandRejected when too many wait already."""
        if len(self._pending) >= limits.COMMAND_MAILBOX:
            raise CommandRejected(
                f"the model has {limits.COMMAND_MAILBOX} commands to handle already; send fewer, or later",
                code="rate_limited",
            )
        self._pending[call.command_id] = None

    def answer(self, outcome: CommandOutcome) -> bool:
        """Count a command out; False when it is not (or no longer) waited for."""
        if outcome.command_id not in self._pending:
            return False
        del self._pending[outcome.command_id]
        return True

    def settle(self, *, code: str, message: str) -> list[CommandOutcome]:
        """Return an outcome for every command that will not be answered any more."""
        outcomes = [CommandOutcome(command_id, code=code, message=message) for command_id in self._pending]
        self._pending.clear()
        return outcomes
