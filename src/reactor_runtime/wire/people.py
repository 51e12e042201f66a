"""What is said of the people in one session: who is here, who drives, and who wants to. A part of `messages.py`.

All of it is v0 only. A visitor's number is what the others know it by; whoever knew the id of its connection could
come back as it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

WheelVerb: TypeAlias = Literal["take", "request", "release", "give", "decline"]
OperatorVerb: TypeAlias = Literal["kick", "end", "moderate", "drain"]


@dataclass(frozen=True, slots=True)
class WheelAction:
    """Somebody wants the wheel, or has it and does not. `to` is a visitor's number. v0 only."""

    request_id: str | None
    action: WheelVerb
    to: int | None = None
    seat: str = ""


@dataclass(frozen=True, slots=True)
class Beat:
    """A driver who holds keys is there. v0 only."""


@dataclass(frozen=True, slots=True)
class Operate:
    """An operator ends what others do. `to` is a visitor's number. v0 only."""

    request_id: str | None
    action: OperatorVerb
    to: int | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Visitor:
    """Somebody in a session, as the others may know it."""

    number: int
    name: str


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody in a session, as operators know it. `sub` is who its token was made for."""

    number: int
    name: str
    connection_id: int
    role: str
    sub: str = ""


@dataclass(frozen=True, slots=True)
class Wheel:
    """Who drives, and what the receiver may ask for.

    `kept_s`: whoever has the seat is not here, and for so long it is kept. `requests`: who asks for it, in order.
    """

    you: Literal["drive", "watch"]
    driver: Visitor | None
    kept_s: float | None
    may: tuple[WheelVerb, ...]
    requests: tuple[Visitor, ...]


@dataclass(frozen=True, slots=True)
class Seat:
    """The receiver has the seat, and takes it again with this key. v0 only."""

    key: str


@dataclass(frozen=True, slots=True)
class People:
    """Everybody who is here, to operators. v0 only."""

    people: tuple[Person, ...]


@dataclass(frozen=True, slots=True)
class Released:
    """The receiver's held keys were let go for it, because its beats stopped. v0 only."""

    commands: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Company:
    """How many are connected, how many of them drive, and whether the receiver is one of those. v0 only."""

    viewers: int
    drivers: int
    driving: bool


@dataclass(frozen=True, slots=True)
class Ballot:
    """What somebody votes for, in a round by its number. v0 only."""

    round: int
    choice: str


@dataclass(frozen=True, slots=True)
class VoteReceipt:
    """What became of the command that a vote decided."""

    accepted: bool
    code: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Vote:
    """How a round of a vote stands, or what it ended with; the next round's number is then one more. v0 only.

    `ends_in_s`: None before the first ballot, which begins the round, and at its end. `yours`: the receiver's ballot.
    `receipt`: once the model answered.
    """

    round: int
    command: str
    parameter: str
    title: str
    counts: Mapping[str, int]
    """Of every choice, in the author's order."""
    ends_in_s: float | None = None
    yours: str | None = None
    result: str | None = None
    receipt: VoteReceipt | None = None


@dataclass(frozen=True, slots=True)
class Turn:
    """In how many seconds the present driver's turn ends (None: not while nobody waits), and how many wait.

    `over`: it has ended, for this reason; the model begins anew for the next driver. v0 only.
    """

    ends_in_s: float | None
    waiting: int
    over: bool = False
    reason: str = ""
