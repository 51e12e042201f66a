"""One book of a session's commands: who asked what and when, what was replied, and what has been shown. Pure.

    open() ─▶ unanswered ─answer()─▶ replied ─shown()─▶ done
                  │                      └─strike(), leave(): nobody waits for its picture
                  └─overdue(): answered with a time-out

Each command is answered once at most. A frame carries the number of the last command that was handled before it;
`saw()` is told so, and from then on the book knows which commands a frame shows. Used on the event loop only.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass

from .. import limits


@dataclass(frozen=True, slots=True)
class Entry:
    """One command. `who` is the connection it came from, `asked_s` when it was passed on, on the clock."""

    number: int
    who: int
    request_id: str | None
    name: str
    asked_s: float


class CommandBook:
    """Numbers commands from 1 and keeps each until it is done with."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._opened = 0
        self._unanswered: dict[int, Entry] = {}
        self._replied: dict[int, Entry] = {}
        self._seen: dict[str, list[tuple[int, int]]] = {}
        """By track: from which frame on which command is visible, both rising."""
        self._handling_s = 0.0
        self._handled = 0

    def open(self, who: int, request_id: str | None, name: str) -> int:
        """Enter a command that is about to be passed on; return its number."""
        self._opened += 1
        entry = Entry(self._opened, who, request_id, name, self._clock())
        self._unanswered[entry.number] = entry
        return entry.number

    def answer(self, number: int) -> Entry | None:
        """Return whose command was answered; None when it has been answered already, or nobody is left.

        It stays in the book until it is shown. More than `limits.COMMAND_MAILBOX` of those: the oldest goes.
        """
        entry = self._unanswered.pop(number, None)
        if entry is None:
            return None
        self._handling_s += self._clock() - entry.asked_s
        self._handled += 1
        self._replied[number] = entry
        while len(self._replied) > limits.COMMAND_MAILBOX:
            del self._replied[min(self._replied)]
        return entry

    def handled(self) -> tuple[float, int]:
        """Return the seconds from being passed on to the answer, of all commands together, and how many."""
        return self._handling_s, self._handled

    def strike(self, number: int) -> None:
        """Take a command out: it was never passed on, or nobody waits for its picture."""
        self._unanswered.pop(number, None)
        self._replied.pop(number, None)

    def overdue(self) -> list[int]:
        """Return the numbers of the commands that should have been answered by now."""
        late_s = self._clock() - limits.COMMAND_REPLY_S
        return [number for number, entry in self._unanswered.items() if entry.asked_s < late_s]

    # Pictures -----------------------------------------------------------------------------------------

    def saw(self, track: str, frame_id: int, number: int) -> None:
        """Note that a frame came whose last handled command was `number`."""
        steps = self._seen.setdefault(track, [])
        if number > (steps[-1][1] if steps else 0):
            steps.append((frame_id, number))
            del steps[: -limits.COMMAND_MAILBOX]

    def unshown(self, who: int) -> int | None:
        """Return the lowest number of this connection's commands that are answered and not yet shown."""
        return min((number for number, entry in self._replied.items() if entry.who == who), default=None)

    def shown(self, who: int, track: str, frame_id: int) -> list[Entry]:
        """Take out and return this connection's commands that this frame is the first to show it."""
        steps = self._seen.get(track, [])
        after = bisect_right(steps, frame_id, key=lambda step: step[0])
        visible = steps[after - 1][1] if after else 0
        found = [entry for number, entry in self._replied.items() if entry.who == who and number <= visible]
        for entry in found:
            del self._replied[entry.number]
        return sorted(found, key=lambda entry: entry.number)

    # Who left -----------------------------------------------------------------------------------------

    def leave(self, who: int) -> None:
        """A connection lost its link. What it is not answered yet may still reach its client, over the next one."""
        self._replied = {number: entry for number, entry in self._replied.items() if entry.who != who}

    def forget(self, who: int) -> None:
        """A connection is gone for good; its id may be somebody else's soon."""
        self.leave(who)
        self._unanswered = {number: entry for number, entry in self._unanswered.items() if entry.who != who}

    def clear(self) -> None:
        """The session has ended: nothing more is answered."""
        self._unanswered.clear()
        self._replied.clear()
