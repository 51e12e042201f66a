"""What somebody may do: made once, where a request enters (`server.guards`), and a value from then on. Pure.

    guard ─grant─▶ route ─▶ Service.start, .stop           the right is asked for there
                        └─▶ Service.offer ─▶ viewer        and there for each message that comes over its link

Today whoever may enter has every right.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from ..errors import NotGranted
from ..wire import messages as say


class Right(Enum):
    DRIVE = "drive"
    """Start and stop sessions, send commands, publish an input track."""
    WATCH = "watch"
    """See, hear, and ask what there is."""
    OPERATE = "operate"
    """End what others do."""


@dataclass(frozen=True, slots=True)
class Grant:
    rights: frozenset[Right]

    def require(self, right: Right) -> None:
        """Raise NotGranted without this right."""
        if right not in self.rights:
            held = ", ".join(sorted(each.value for each in self.rights)) or "nothing"
            raise NotGranted(f"this needs the right to {right.value}; yours: {held}")


EVERYTHING: Final = Grant(frozenset(Right))
NOTHING: Final = Grant(frozenset())


def needed_for(message: say.ClientMessage) -> Right:
    """Return the right that a client's message takes."""
    match message:
        case say.Command() | say.PublishTrack() | say.UnpublishTrack() | say.FileUploaded():
            return Right.DRIVE
        case _:
            return Right.WATCH
