"""What viewers ask of the model of one session: each command from its arrival to its answer.

    viewer ─ask()─▶ published? files here? ─▶ host ─outcome()─▶ the same viewer, by the same request id

Owned by a session, on its event loop. Who asked what, when, is `commands.py`'s; what it has set is `together.py`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from .. import codes, limits
from ..author.published import PublishedCommands
from ..errors import CommandRejected, WheelRefused
from ..host import ModelHost
from ..tasks import Tasks
from ..types import CommandCall, CommandOutcome, CommandSpec, JsonObject, UploadedFile
from ..wire import messages as say
from .awaiting import AwaitingUploads
from .commands import CommandBook
from .connections import Connections
from .together import Together
from .uploads import Uploads
from .viewer import Viewer
from .voting import BY_VOTE

#: Commands that let keys go and wait for room. More: refused as any other.
OWED: Final = 64


class Asking:
    """`note` writes down what became of each; `tasks` are its session's; `check_wheel` raises WheelRefused."""

    def __init__(
        self,
        commands: Sequence[CommandSpec],
        host: ModelHost,
        connections: Connections,
        together: Together,
        *,
        book: CommandBook,
        uploads: Uploads,
        tasks: Tasks,
        check_wheel: Callable[[int], None],
        note: Callable[[str, JsonObject], None],
    ) -> None:
        self._published = PublishedCommands(commands)
        self._host = host
        self._connections = connections
        self._together = together
        self._book = book
        self._uploads = uploads
        self._awaiting = AwaitingUploads(tasks)
        self._check_wheel = check_wheel
        self._note = note
        self._owed: list[tuple[Viewer, say.Command]] = []
        """What lets keys go, where the model had too much to do."""

    def ask(self, viewer: Viewer, command: say.Command) -> None:
        """Pass a command on at once, in order; only one whose upload is still on its way is overtaken."""
        try:
            beside = {name: reference.as_json() for name, reference in command.uploads.items()}
            self._published.check(command.name, command.arguments, beside)
            files = self._uploads.arrived(command.uploads, command.arguments)
            if files is not None:
                self.pass_on(viewer.connection_id, command, files)
            else:
                self._awaiting.hold(command.arguments, lambda: self._with_uploads(viewer, command))
        except CommandRejected as error:
            self._refuse(viewer, command, error)

    async def _with_uploads(self, viewer: Viewer, command: say.Command) -> None:
        try:
            files = await self._uploads.resolve(command.uploads, command.arguments)
            # Somebody else may drive by now.
            self._check_wheel(viewer.connection_id)
            self.pass_on(viewer.connection_id, command, files)
        except (CommandRejected, WheelRefused) as error:
            self._refuse(viewer, command, error)

    def let_go(self, viewer: Viewer, command: say.Command) -> None:
        """Pass on what lets a key go that somebody held; once the model has room for it, where it has none."""
        try:
            self._published.check(command.name, command.arguments, {})
            self.pass_on(viewer.connection_id, command)
        except CommandRejected as error:
            if error.code == codes.RATE_LIMITED and len(self._owed) < OWED:
                self._owed.append((viewer, command))
            else:
                self._refuse(viewer, command, error)

    def start_over(self) -> None:
        """Another run of the model begins, in which nothing is held."""
        self._owed.clear()

    def pass_on(
        self,
        who: int,
        command: say.Command,
        files: dict[str, UploadedFile] | None = None,
        entered: Callable[[int], None] = lambda number: None,
    ) -> None:
        """Pass a command to the model; `entered` is told its number before anything can answer it.

        Raises CommandRejected.
        """
        number = self._book.open(who, command.request_id, command.name)
        self._together.asked(number, command.name, command.arguments, command.uploads)
        entered(number)
        try:
            self._host.send_command(CommandCall(number, command.name, command.arguments, files or {}))
        except CommandRejected:
            self._book.strike(number)
            self._together.unasked(number)
            raise

    def _refuse(self, viewer: Viewer, command: say.Command, error: CommandRejected | WheelRefused) -> None:
        text, field = error.public(), error.field if isinstance(error, CommandRejected) else ""
        viewer.send(say.CommandRefused(command.request_id, command.name, error.code, text, field))
        # Whatever a client calls a command, the journal keeps no more of it than of a real one.
        name = command.name[: limits.COMMAND_NAME_MAX]
        self._note("command", {"command": name, "code": error.code})

    def outcome(self, outcome: CommandOutcome) -> None:
        """Take what became of a command, and answer the client whose it was."""
        self._answer(outcome)
        self._together.outcome(outcome)
        if self._owed:
            self.let_go(*self._owed.pop(0))

    def give_up_overdue(self) -> None:
        """Answer what the model has not in time."""
        for number in self._book.overdue():
            text = f"not handled within {limits.COMMAND_REPLY_S:.0f} s"
            self._answer(CommandOutcome(number, code=codes.TIMEOUT, message=text))

    def _answer(self, outcome: CommandOutcome) -> None:
        entry = self._book.answer(outcome.command_id)
        if entry is None:
            return
        viewer, request_id, command = self._connections.get(entry.who), entry.request_id, entry.name
        shows = viewer is not None and viewer.watching and outcome.accepted and request_id is not None
        if not shows:
            self._book.strike(entry.number)
        if viewer is not None and outcome.accepted:
            viewer.send(say.CommandReply(request_id, command, outcome.reply_type, outcome.reply))
            viewer.report_from(self._book.unshown(entry.who))
            self._together.drove(entry.who)
        elif viewer is not None:
            why = (outcome.code, outcome.message, outcome.field, outcome.raised)
            viewer.send(say.CommandRefused(request_id, command, *why))
        by = {"by": "vote"} if entry.who == BY_VOTE else {}
        self._note("command", {"command": command, "code": outcome.code or "ok", **by})
