"""Commands that a host has sent and that are not answered yet: exactly one outcome for each.

Used on the host's event loop only. Bounded in commands and in the bytes of their arguments; policy when
full: refuse with `rate_limited`. Uploads do not count: they are the session's, and cross once.
"""

from __future__ import annotations

import json

from .. import codes, limits
from ..errors import CommandRejected
from ..types import CommandCall, CommandOutcome


class Mailbox:
    """The unanswered commands of one session after the other."""

    def __init__(self) -> None:
        self._pending: dict[int, int] = {}
        """Command id → bytes of its arguments."""

    def admit(self, call: CommandCall) -> None:
        """Count a command in. Raises CommandRejected when too many wait already."""
        if len(self._pending) >= limits.COMMAND_MAILBOX:
            raise CommandRejected(
                f"the model has {limits.COMMAND_MAILBOX} commands to handle already; send fewer, or later",
                code=codes.RATE_LIMITED,
            )
        size_bytes = len(json.dumps(call.arguments))
        if sum(self._pending.values()) + size_bytes > limits.COMMAND_MAILBOX_BYTES:
            raise CommandRejected(
                f"the commands that the model has to handle already fill {limits.COMMAND_MAILBOX_BYTES} bytes; "
                "send smaller ones, or later",
                code=codes.RATE_LIMITED,
            )
        self._pending[call.command_id] = size_bytes

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
