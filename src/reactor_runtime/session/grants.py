"""What somebody may do: made once, where a request enters (`server.guards`), and a value from then on. Pure.

    guard ─grant─▶ route ─▶ Service.start, .stop           the right is asked for there
                        └─▶ Service.offer ─▶ viewer        and there for each message that comes over its link

A token names a role; a role has its own rights and those of the roles before it. Which right a message takes is
`NEEDED`, here; which a route takes is `server.access`. Who has the wheel just now is no right but a state.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from ..errors import NotGranted
from ..networks import share_of, tells_apart
from ..types import Role
from ..wire import messages as say


class Right(Enum):
    WATCH = "watch"
    """See, hear, and ask what there is."""
    VOTE = "vote"
    """Give a ballot."""
    DRIVE = "drive"
    """Start and stop sessions, wait for a turn, take the wheel, send commands."""
    UPLOAD = "upload"
    """Send files."""
    CAMERA = "camera"
    """Publish an input track."""
    RECORD = "record"
    """Ask for clips and recordings, and fetch them."""
    READ_LOG = "read_log"
    """Read a session's log, with its key."""
    OPERATE = "operate"
    """End what others do, and see what the server counts."""


_OWN: Final[Mapping[Role, frozenset[Right]]] = {
    Role.WATCH: frozenset({Right.WATCH}),
    Role.VOTE: frozenset({Right.VOTE}),
    Role.DRIVE: frozenset({Right.DRIVE, Right.UPLOAD, Right.CAMERA, Right.RECORD, Right.READ_LOG}),
    Role.OPERATE: frozenset({Right.OPERATE}),
}
_ORDER: Final = tuple(Role)
#: All rights of each role: its own, and those of the roles before it.
RIGHTS: Final[Mapping[Role, frozenset[Right]]] = {
    role: frozenset().union(*(_OWN[each] for each in _ORDER[: place + 1]))
    for place, role in enumerate(_ORDER)
}


def role_for(right: Right) -> Role:
    """Return the least role that has this right."""
    return next(role for role in _ORDER if right in _OWN[role])


@dataclass(frozen=True, slots=True)
class Grant:
    """`role` None: nothing. The rest is what a token says of whoever shows it, empty where it says nothing."""

    role: Role | None
    sid: str | None = None
    """The one session that it is for; None: any."""
    sub: str = ""
    """Who it was made for. Operators read it; other visitors never do."""
    jti: str = ""
    """The token's own name."""
    ends: float | None = None
    """When it ends, epoch seconds."""
    max_s: float | None = None
    """How long it may be used, from its first connection on."""
    once: bool = False
    """Whether it is for one session, the first that it joins."""
    address: str = ""
    """Where it was shown from, for the audit log."""
    agent: str = ""
    """What its client calls itself."""

    @property
    def client(self) -> tuple[str, ...]:
        """Whom a client is known as from one request to the next.

        Those of one kind at one address look alike, unless each shows a token of its own.
        """
        return self.jti, self.sub, self.address, self.agent

    @property
    def personal(self) -> bool:
        """Whether its token is one person's."""
        return bool(self.jti) and (self.once or self.max_s is not None)

    @property
    def person(self) -> str:
        """Who is counted as one where something is shared out among people; "" where nobody is known apart."""
        if self.personal:
            return f"token {self.jti}"
        return share_of(self.address) if tells_apart(self.address) else ""

    @property
    def rights(self) -> frozenset[Right]:
        return RIGHTS[self.role] if self.role is not None else frozenset()

    def require(self, right: Right, session_id: str | None = None) -> None:
        """Raise NotGranted without this right, or where it is for another session than this one."""
        if right not in self.rights:
            held = self.role.value if self.role is not None else "none"
            raise NotGranted(f"this takes the role {role_for(right).value}; yours: {held}")
        if session_id is not None and self.sid is not None and session_id != self.sid:
            raise NotGranted("this token is for another session")

    def require_everywhere(self, right: Right) -> None:
        """Raise NotGranted without this right, or where it is for one session."""
        self.require(right)
        if self.sid is not None:
            raise NotGranted("this token is for one session, and not for the server")


EVERYTHING: Final = Grant(Role.OPERATE)
NOTHING: Final = Grant(None)

#: The right that each message of a client takes.
NEEDED: Final[Mapping[type[say.ClientMessage], Right]] = {
    say.Ping: Right.WATCH,
    say.RequestSchema: Right.WATCH,
    say.RequestCapabilities: Right.WATCH,
    say.PauseTrack: Right.WATCH,
    say.ResumeTrack: Right.WATCH,
    say.Unsupported: Right.WATCH,
    say.Command: Right.DRIVE,
    say.FileUploaded: Right.UPLOAD,
    say.PublishTrack: Right.CAMERA,
    say.UnpublishTrack: Right.CAMERA,
    say.Ballot: Right.VOTE,
    say.WheelAction: Right.DRIVE,
    say.Arm: Right.DRIVE,
    say.Beat: Right.WATCH,
    say.Operate: Right.OPERATE,
    say.RequestClip: Right.RECORD,
    say.RequestRecording: Right.RECORD,
}
#: What moves the model: a message that takes the wheel besides its right.
STEERING: Final = (say.Command, say.PublishTrack, say.Arm)


def needed_for(message: say.ClientMessage) -> Right:
    """Return the right that a client's message takes."""
    return NEEDED[type(message)]
