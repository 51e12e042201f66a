"""What those in one session are told of what they share: the model's values, each other, and what they vote on.

    command ─▶ asked() ─▶ outcome() ─▶ everybody, a few times a second         a newcomer ─▶ greet(): all of it at once

Owned by a session, on its event loop. What is kept and what is said is in `values.py`, `company.py` and `voting.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from .. import limits
from ..config import VoteSettings
from ..tasks import Tasks
from ..types import CommandOutcome, CommandSpec, JsonObject
from ..wire import messages as say
from .company import Company
from .connections import Connections
from .pace import Pace
from .steering import Steering
from .values import SetValues
from .viewer import Viewer
from .voting import Decide, Voting


class Together:
    """`tasks` are its session's: what is not said when it ends is said to nobody."""

    def __init__(
        self,
        commands: Iterable[CommandSpec],
        connections: Connections,
        wheel: Steering,
        tasks: Tasks,
        vote: VoteSettings,
        decide: Decide,
        *,
        clock: Callable[[], float],
    ) -> None:
        self._values = SetValues(commands)
        self._company = Company(clock)
        self._voting = Voting(vote, commands, connections, tasks, decide, clock=clock)
        self._wheel = wheel
        self._connections = connections
        self._tasks = tasks
        self._telling = False
        self._pace = Pace()
        self._clock = clock
        self._turn: say.Turn | None = None
        self._turn_told_s = 0.0
        """What was last said of the turn, and when."""

    def greet(self, who: int) -> None:
        """Tell somebody who can be told now; the others hear that there is one more."""
        viewer = self._connections.get(who)
        if viewer is not None and (everything := self._values.everything()):
            viewer.send(say.Values(everything))
        if viewer is not None:
            self._voting.greet(viewer)
            if (turn := self._turn_now()) is not None:
                viewer.send(turn)
        self.tell_company()

    def tell_turn(self, turn: say.Turn) -> None:
        """Tell everybody when the driver's turn ends, and from now on whoever comes."""
        self._turn, self._turn_told_s = turn, self._clock()
        for viewer in self._connections:
            viewer.send(turn)

    def _turn_now(self) -> say.Turn | None:
        """What a newcomer is told of the turn; None where it has no end."""
        turn = self._turn
        if turn is None or turn.over or turn.ends_in_s is None:
            return None
        ends_in_s = max(0.0, turn.ends_in_s - (self._clock() - self._turn_told_s))
        return replace(turn, ends_in_s=round(ends_in_s, 1))

    def left(self, who: int) -> None:
        self._company.left(who)
        if (viewer := self._connections.get(who)) is not None:
            self._voting.left(viewer)
        self.tell_company()

    def asked(
        self, number: int, name: str, arguments: JsonObject, uploads: Mapping[str, say.UploadReference]
    ) -> None:
        """A command is about to be passed on."""
        self._values.asked(number, name, arguments, uploads)

    def unasked(self, number: int) -> None:
        """It was not: nothing of it comes back."""
        self._values.unasked(number)

    def outcome(self, outcome: CommandOutcome) -> None:
        """The model is done with a command."""
        self._values.outcome(outcome)
        self._voting.outcome(outcome)
        self._tell_soon()

    def start_over(self) -> None:
        """Another run of the model begins: everybody hears that it is at its first values again."""
        self._values.start_over()
        self._tell_soon()

    def _tell_soon(self) -> None:
        if not self._telling:
            self._telling = True
            self._tasks.spawn(self._tell_values())

    def voted(self, viewer: Viewer, ballot: say.Ballot) -> None:
        self._voting.cast(viewer, ballot)

    def drove(self, who: int) -> None:
        self._company.drove(who)

    async def _tell_values(self) -> None:
        """Say what changed, and what changes meanwhile no more often than that."""
        try:
            while True:
                news, was_reset = self._values.take_news()
                if not news and not was_reset:
                    return
                for viewer in self._connections:
                    viewer.send(say.Values(news, reset=was_reset))
                await asyncio.sleep(limits.VALUES_EVERY_S)
        finally:
            self._telling = False

    def tell_company(self) -> None:
        """Tell each who is here what it does not know of the others yet; where many come, when that is due."""
        if not self._pace.may(now_s := self._clock()):
            return
        here = {viewer.connection_id: viewer for viewer in self._connections if viewer.listening}
        drivers = None if self._wheel.several else self._wheel.drivers()
        news = self._company.news(here, drivers)
        self._pace.told(len(news), now_s)
        for who, company in news.items():
            here[who].send(company)
