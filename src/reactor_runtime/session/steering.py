"""The wheel of one session at work: who may steer now, what is done for those who fell silent, and who is told.

    offer ─▶ entering() ─▶ connected() ─▶ said(), armed(), beat() ─▶ left()
                     wheel.py, deadman.py ◀── one timer: the seat's and the switches'

Owned by a session, on its event loop; only `drives` is asked from other threads. What a driver holds is let go when
he drives no more, for whatever reason, before anybody else has the wheel.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Protocol

from .. import codes
from ..errors import NotGranted, SessionRefused, WheelRefused
from ..wire import messages as say
from .audit import Deed
from .connections import Connections
from .deadman import DeadMan, Release
from .grants import Grant, Right
from .pace import Pace
from .service import Offer, SocketOffer
from .starters import Client
from .viewer import Viewer
from .wheel import Entry, Join, Wheel


class SteeringEvents(Protocol):
    """What the wheel does to its session. On the event loop."""

    def let_go(self, viewer: Viewer, command: say.Command) -> None:
        """Pass on a command that lets go what somebody held, who drives no more or is silent."""

    def steers_no_more(self, who: int) -> None:
        """It does not drive any more: what only a driver may have is taken from it."""

    def seat_moved(self) -> None:
        """The seat is somebody else's, or free, or kept for somebody."""

    def kicked(self, who: int) -> None:
        """An operator sent it away."""

    def operated(self, action: say.OperatorVerb, reason: str) -> None:
        """An operator in this session ends it, or has the server stop. Raises SessionRefused."""


class Steering:
    """`taken`, `holder`, `promise`, `withhold` and `end_turn` are for whoever keeps the line."""

    def __init__(
        self,
        session_id: str,
        join: Join,
        events: SteeringEvents,
        connections: Connections,
        *,
        clock: Callable[[], float],
    ) -> None:
        self._session_id = session_id
        self._wheel = Wheel(join, clock=clock)
        self._deadman = DeadMan(clock)
        self._events = events
        self._connections = connections
        connections.seat_kept, connections.turned_away = self.is_kept, self.turned_away
        connections.has_seat = self._wheel.has_seat
        self._clock = clock
        self._pace = Pace()
        self._drivers: frozenset[int] = frozenset()
        self._holder = ""
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    # The seat -----------------------------------------------------------------------------------------

    @property
    def several(self) -> bool:
        """Whether everybody drives who may."""
        return self._wheel.join == "drive"

    @property
    def holder(self) -> str:
        """The key of the seat as it stands, "" while it is free: another one for each who gets it."""
        return self._wheel.holder

    @property
    def taken(self) -> bool:
        """Whether somebody has the seat, or it is kept for somebody."""
        return bool(self._wheel.holder)

    def is_kept(self) -> bool:
        """Whether the seat is kept for somebody who is not here."""
        return self.taken and not self.several and not self.drivers()

    def drivers(self) -> frozenset[int]:
        """Return all who are here and drive."""
        return self._wheel.drivers()

    def driving_clients(self) -> frozenset[Client]:
        """Return whom those are known as who drive."""
        drivers = [self._connections.get(who) for who in self.drivers()]
        return frozenset(viewer.grant.client for viewer in drivers if viewer is not None)

    def drives(self, who: int) -> bool:
        """Whether what this connection sends reaches the model. Any thread."""
        return self._wheel.drives(who)

    def promise(self, *, keyless: bool = False) -> str:
        """Keep the seat, which is free, for whoever shows this key; see `Wheel.promise`."""
        key = self._wheel.promise(keyless=keyless)
        self._settle()
        return key

    @property
    def withheld(self) -> bool:
        """Whether a free seat is only for whoever it is promised to."""
        return self._wheel.withheld

    def withhold(self, on: bool) -> None:
        """While on, a free seat is only for whoever it is promised to."""
        self._wheel.withheld = on
        self._settle()

    def end_turn(self) -> None:
        """Take the seat from whoever has it; its key is worth nothing any more."""
        self._wheel.end_turn()
        self._settle()

    # Coming and going ---------------------------------------------------------------------------------

    def entering(
        self, offer: Offer | SocketOffer, grant: Grant, *, again: bool = False
    ) -> Callable[[int], str]:
        """Return what a connection comes in by, by its id: the key of the seat if that is its own then, or "".

        `again`: it is offered as by a client that had one. It raises SessionRefused where later visitors are not
        admitted.
        """
        entry = Entry(
            key=offer.seat or "",
            role=grant.role,
            watch=offer.watch,
            invited=grant.sid == self._session_id,
            keyless=offer.seat is None,
            again=again,
            client=grant.client,
            sub=grant.sub,
        )

        def enter(who: int) -> str:
            key = self._wheel.enter(who, entry)
            self._settle()
            return key

        return enter

    def connected(self, who: int) -> None:
        self._wheel.arrive(who)
        self._settle()

    def left(self, who: int) -> None:
        self._wheel.left(who)
        self._settle()

    def kick(self, who: int, reason: str) -> None:
        """Send a viewer away, telling it why. Raises SessionRefused 404."""
        text = reason or "the operator asked you to leave"
        self.dismiss(who, say.Moderation("terminate", text), say.SessionEnded(codes.KICKED))
        self._events.kicked(who)

    def dismiss(self, who: int, *goodbyes: say.ServerMessage) -> None:
        """Send a viewer away, and keep no seat for it. Raises SessionRefused 404."""
        self._connections.dismiss(who, *goodbyes)
        self._wheel.dismiss(who)
        self._settle()

    def expire(self, over: Iterable[int]) -> None:
        """Send those away whose tokens have ended, and tell them so."""
        for who in over:
            text = "your token's time is over; ask for another to go on"
            self.dismiss(who, say.RuntimeNotice(codes.TOKEN_EXPIRED, text))

    def turned_away(self, who: int) -> None:
        """It may not come in after all."""
        self._wheel.turned_away(who)
        self._settle()

    def forget(self, who: int) -> None:
        self._wheel.forget(who)

    # What viewers say ---------------------------------------------------------------------------------

    def check(self, who: int) -> None:
        """Raise WheelRefused unless it drives, who has just said something."""
        if not self._wheel.is_here(who):
            # Its first words may come before the news that it is connected.
            self.connected(who)
        self.check_drives(who)

    def check_drives(self, who: int) -> None:
        """Raise WheelRefused unless it drives."""
        if not self._wheel.drives(who):
            text = "you are watching; take the wheel, or ask for it, to steer"
            raise WheelRefused(codes.NOT_DRIVING, text)

    def said(self, viewer: Viewer, asked: say.WheelAction) -> None:
        try:
            self._wheel.act(viewer.connection_id, asked)
        except (WheelRefused, NotGranted) as error:
            viewer.refuse(asked, error)
            return
        finally:
            self._settle()
        viewer.send(say.RequestDone(asked.request_id, "wheel"))

    def armed(self, who: int, release: Release) -> None:
        self._deadman.arm(who, release)
        self._plan()

    def beat(self, who: int) -> None:
        self._deadman.beat(who)

    def operate(self, viewer: Viewer, asked: say.Operate) -> None:
        try:
            if asked.action == "drain":
                viewer.grant.require_everywhere(Right.OPERATE)
            if asked.action == "kick":
                self.kick(self._wheel.who(asked.to), asked.reason)
            else:
                self._events.operated(asked.action, asked.reason)
            deed: Deed = "stop" if asked.action == "end" else asked.action
            self._connections.desk.did(deed, viewer, whom=str(asked.to or ""), reason=asked.reason)
        except (NotGranted, SessionRefused, WheelRefused) as error:
            viewer.refuse(asked, error)
        else:
            viewer.send(say.RequestDone(asked.request_id, "operate"))

    # What follows -------------------------------------------------------------------------------------

    def tell(self) -> None:
        """Tell each who can be told what it does not know yet. Called often enough to tell what had to wait."""
        here = {viewer.connection_id: viewer for viewer in self._connections if viewer.listening}
        now_s = self._clock()
        news = self._wheel.news(here, people=self._pace.may(now_s))
        for who, messages in news.items():
            for message in messages:
                here[who].send(message)
        listed = [each for messages in news.values() for each in messages if isinstance(each, say.People)]
        self._pace.told(sum(len(each.people) for each in listed), now_s)

    def _settle(self) -> None:
        if self._closed:
            return
        drivers = self._wheel.drivers()
        resting, starting, self._drivers = self._drivers - drivers, drivers - self._drivers, drivers
        for who in starting:
            if (viewer := self._connections.get(who)) is not None:
                self._connections.desk.did("drive", viewer)
        for who in resting:
            self._let_go(who, self._deadman.lost(who))
            self._events.steers_no_more(who)
        if self._wheel.holder != self._holder:
            self._holder = self._wheel.holder
            self._events.seat_moved()
        self.tell()
        self._plan()

    def _let_go(self, who: int, release: Iterable[say.Command]) -> None:
        viewer = self._connections.get(who)
        if viewer is not None:
            for command in release:
                self._events.let_go(viewer, command)

    def _plan(self) -> None:
        dues_s = [due_s for due_s in (self._wheel.due_s, self._deadman.due_s) if due_s is not None]
        if not dues_s or self._closed:
            return
        wait_s = max(0.0, min(dues_s) - self._clock())
        loop = asyncio.get_running_loop()
        if self._timer is not None:
            # Beats move what is due further away; the timer then comes in vain, and plans anew.
            if self._timer.when() <= loop.time() + wait_s:
                return
            self._timer.cancel()
        self._timer = loop.call_later(wait_s, self._due)

    def _due(self) -> None:
        self._timer = None
        for who, release in self._deadman.due().items():
            self._let_go(who, release)
            viewer = self._connections.get(who)
            if viewer is not None:
                viewer.send(say.Released(tuple(command.name for command in release)))
        self._wheel.poll()
        self._settle()

    def close(self) -> None:
        """Do nothing any more. May be called twice."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
