"""Commands of viewers on their way into the model process, and their outcomes back. Owned by a host, on its loop."""

from __future__ import annotations

from collections.abc import Callable

from .. import codes
from ..errors import CommandRejected
from ..running.mailbox import Mailbox
from ..types import CommandCall, CommandOutcome
from . import records
from .channel import Channel


class CommandSender:
    """Exactly one outcome for each command that was sent, also when the process is lost with it.

    A file that commands name crosses once in a session, before the first of them.
    """

    def __init__(self, tell: Callable[[CommandOutcome], None]) -> None:
        self._tell = tell
        self._mailbox = Mailbox()
        self._channel: Channel | None = None
        #: Uploads of this session that the model process has.
        self._crossed: set[str] = set()

    def open(self, channel: Channel) -> None:
        self._channel = channel

    def begin(self) -> None:
        """A session begins: the process has none of its files."""
        self._crossed.clear()

    def send(self, call: CommandCall) -> None:
        """Raises CommandRejected where too much waits already, or the command is too large."""
        assert self._channel is not None
        self._mailbox.admit(call)
        files = {
            file.upload_id: file for file in call.uploads.values() if file.upload_id not in self._crossed
        }
        names = {key: file.upload_id for key, file in call.uploads.items()}
        try:
            sent = self._channel.offer(
                *files.values(), records.Command(call.command_id, call.name, call.arguments, names)
            )
        except records.RecordError:
            self._mailbox.answer(CommandOutcome(call.command_id))
            raise CommandRejected("the command and its uploads are too large", code=codes.TOO_LARGE) from None
        if not sent:
            self._mailbox.answer(CommandOutcome(call.command_id))
            raise CommandRejected(
                "the model has not read what was sent before; send later", code=codes.RATE_LIMITED
            )
        self._crossed |= files.keys()

    def answered(self, outcome: CommandOutcome) -> None:
        """The process says what became of a command; of one that nobody waits for, nothing is told."""
        if self._mailbox.answer(outcome):
            self._tell(outcome)

    def settle(self, code: str, message: str) -> None:
        """Answer all commands that the process will not answer any more."""
        for outcome in self._mailbox.settle(code=code, message=message):
            self._tell(outcome)
