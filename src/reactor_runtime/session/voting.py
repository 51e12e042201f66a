"""The vote of one session at work: ballots in, how it stands out, and the winner to the model as any command.

    ballot ─▶ votes.py ─▶ everybody, a few times a second         the round's end ─▶ decide() ─▶ outcome() ─▶ everybody

Owned by a session, on its event loop. Who may vote is the grant's to say. A ballot is its token's; where there
is none it is the connection's: a reload votes anew, and whoever leaves takes its ballot along.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Protocol

from .. import codes, limits
from ..config import VoteSettings
from ..errors import CommandRejected
from ..tasks import Tasks
from ..types import CommandOutcome, CommandSpec
from ..wire import messages as say
from .grants import Grant, Right
from .votes import Decision, Votes, question

#: Whose a command is that was decided by vote, in the book of commands: no connection has this id.
BY_VOTE = 0


class Voter(Protocol):
    """What is asked of a viewer."""

    connection_id: int
    grant: Grant
    listening: bool

    def send(self, message: say.ServerMessage) -> None: ...


class Decide(Protocol):
    def __call__(self, command: say.Command, *, entered: Callable[[int], None]) -> None: ...


class Voting:
    """`decide` passes a command on, and tells its number before that; it raises CommandRejected."""

    def __init__(
        self,
        settings: VoteSettings,
        commands: Iterable[CommandSpec],
        voters: Iterable[Voter],
        tasks: Tasks,
        decide: Decide,
        *,
        clock: Callable[[], float],
    ) -> None:
        self._votes = (
            Votes(question(commands, settings.vote), round_s=settings.vote_s, clock=clock)
            if settings.vote
            else None
        )
        self._round_s = settings.vote_s
        self._voters = voters
        self._tasks = tasks
        self._decide = decide
        self._clock = clock
        self._telling = False
        self._decided: dict[int, Decision] = {}
        """What the model has not answered yet, by the command's number. The oldest of too many is forgotten."""

    def cast(self, voter: Voter, ballot: say.Ballot) -> None:
        try:
            if self._votes is None:
                raise CommandRejected("nothing is voted on", code=codes.VOTE_CLOSED)
            begins = self._votes.cast(_name(voter), ballot.choice, ballot.round, _address(voter.grant))
        except CommandRejected as error:
            voter.send(say.RuntimeNotice(error.code, error.public()))
            return
        if begins:
            self._tasks.spawn(self._round())
        self._tell_soon()

    def greet(self, voter: Voter) -> None:
        """Tell somebody who can be told now."""
        if self._votes is not None:
            voter.send(self._standing(self._votes, voter))

    def left(self, voter: Voter) -> None:
        """A connection is gone. A token's ballot stays: whoever has it may come back."""
        if self._votes is not None and not voter.grant.jti:
            self._votes.left(_name(voter))
            if self._votes.standing.ends_s is not None:
                self._tell_soon()

    def outcome(self, outcome: CommandOutcome) -> None:
        """The model is done with a command."""
        if (decision := self._decided.pop(outcome.command_id, None)) is not None:
            accepted = outcome.accepted
            self._announce(decision, say.VoteReceipt(accepted, outcome.code or "", outcome.message or ""))

    async def _round(self) -> None:
        assert self._votes is not None
        await asyncio.sleep(self._round_s)
        decision = self._votes.close()
        if decision is None:
            self._tell_all()
            return
        self._announce(decision, None)
        asked = self._votes.question
        command = say.Command(None, asked.command, asked.arguments(decision.choice))

        def entered(number: int) -> None:
            self._decided[number] = decision
            while len(self._decided) > limits.COMMAND_MAILBOX:
                del self._decided[next(iter(self._decided))]

        try:
            self._decide(command, entered=entered)
        except CommandRejected as error:
            self._decided = {number: each for number, each in self._decided.items() if each is not decision}
            self._announce(decision, say.VoteReceipt(False, error.code, error.public()))

    def _announce(self, decision: Decision, receipt: say.VoteReceipt | None) -> None:
        assert self._votes is not None
        asked = self._votes.question
        for voter in self._voters:
            message = say.Vote(
                decision.round,
                asked.command,
                asked.parameter,
                asked.title,
                decision.counts,
                yours=decision.ballots.get(_name(voter)),
                result=decision.choice,
                receipt=receipt,
            )
            voter.send(message)

    def _tell_soon(self) -> None:
        if not self._telling:
            self._telling = True
            self._tasks.spawn(self._tell())

    async def _tell(self) -> None:
        """Say how it stands, and what changes meanwhile no more often than that."""
        assert self._votes is not None
        try:
            told = None
            while (standing := self._votes.standing) != told:
                told = standing
                if standing.ends_s is not None:
                    self._tell_all()
                await asyncio.sleep(limits.VOTES_EVERY_S)
        finally:
            self._telling = False

    def _tell_all(self) -> None:
        assert self._votes is not None
        for voter in self._voters:
            if voter.listening:
                voter.send(self._standing(self._votes, voter))

    def _standing(self, votes: Votes, voter: Voter) -> say.Vote:
        standing, asked = votes.standing, votes.question
        ends_in_s = None if standing.ends_s is None else max(0.0, standing.ends_s - self._clock())
        return say.Vote(
            standing.round,
            asked.command,
            asked.parameter,
            asked.title,
            standing.counts,
            ends_in_s=ends_in_s if ends_in_s is None else round(ends_in_s, 2),
            yours=votes.choice_of(_name(voter)),
        )


def _address(grant: Grant) -> str:
    """Return where a voter is counted who has no token; "" where nobody is told apart, and for operators."""
    return "" if grant.jti or Right.OPERATE in grant.rights else grant.person


def _name(voter: Voter) -> str:
    return f"token {voter.grant.jti}" if voter.grant.jti else f"connection {voter.connection_id}"
