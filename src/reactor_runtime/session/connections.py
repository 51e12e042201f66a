"""The connections of a session: each a viewer and the signalling that gives it links, by the id its client knows.

    register ─▶ id ─▶ offer ─▶ answer        a lost or silent viewer's id stays known, so that its client may come back

Owned by a session, on its event loop. The bounds of who may connect and who is dropped are here: viewers, peers on
their way, ids that are remembered.
"""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import Callable, Collection, Iterator, Sequence

from .. import limits
from ..crossing import Crossing
from ..errors import Refused, SessionRefused
from ..tasks import Tasks
from ..webrtc.ice import allowed_servers
from ..webrtc.peer import Candidate, IceServer
from ..webrtc.signalling import Signalling
from ..wire import messages as say
from .doorway import Doorway
from .grants import NOTHING, Grant, Right
from .register import Desk
from .service import CONNECTION_IDS, LEGACY_CONNECTION_ID, Offer
from .viewer import Viewer

#: How long a connection outlives the last message to it, so that this arrives before the connection goes.
GOODBYE_S = 0.3


class Connections:
    """`make` makes a viewer and its signalling for an id; `forgotten` is told an id that is free again."""

    def __init__(
        self,
        name: str,
        make: Callable[[int], tuple[Viewer, Signalling]],
        forgotten: Callable[[int], None],
        *,
        ice_servers: Sequence[IceServer],
        client_ice_hosts: Collection[str],
        room: int,
        desk: Desk,
        ping_timeout_s: float,
        clock: Callable[[], float],
    ) -> None:
        self.room = room
        self.desk = desk
        """How many may be connected."""
        self.seat_kept: Callable[[], bool] = lambda: False
        """Whether the driver is not here, and his seat is kept."""
        self.has_seat: Callable[[int], bool] = lambda connection_id: False
        """Whether the driver's seat is its own, once it is connected."""
        self.turned_away: Callable[[int], None] = lambda connection_id: None
        """Told whom `enter` let in and the door did not."""
        self._make = make
        self._forgotten = forgotten
        self._ice_servers = ice_servers
        self._client_ice_hosts = client_ice_hosts
        self._ping_timeout_s = ping_timeout_s
        self._clock = clock
        self._viewers: dict[int, Viewer] = {}
        self._signalling: dict[int, Signalling] = {}
        """Of each viewer, by the same id."""
        self._doorway = Doorway()
        self.crossing = Crossing()
        """From the threads that encode to the links of all."""
        self._closing = Tasks(name)
        self._ended = False

    def __iter__(self) -> Iterator[Viewer]:
        return iter(list(self._viewers.values()))

    @property
    def connected(self) -> int:
        """How many are connected."""
        return sum(viewer.connected for viewer in self._viewers.values())

    @property
    def joining(self) -> bool:
        """Whether somebody is about to be connected."""
        return any(
            viewer.joining or self._signalling[connection_id].answering
            for connection_id, viewer in self._viewers.items()
        )

    def get(self, connection_id: int) -> Viewer | None:
        return self._viewers.get(connection_id)

    # Signalling ---------------------------------------------------------------------------------------

    def register(self) -> int:
        """Reserve an id. Raises SessionRefused when there is no room for another viewer."""
        self._check_open()
        self._check_room()
        known = self.room + limits.CONNECTIONS_KNOWN
        if len(self._viewers) >= known:
            self._forget_the_most_silent()
        while (connection_id := secrets.choice(CONNECTION_IDS)) in self._viewers:
            pass
        self._add(connection_id)
        return connection_id

    def offer(
        self,
        connection_id: int,
        offer: Offer,
        *,
        replace: bool,
        legacy: bool,
        grant: Grant,
        enter: Callable[[int], str],
    ) -> str:
        """Begin to answer an offer, see `service.Service.offer`, if `enter(id)` does not raise; return its answer."""
        self._check_open()
        if legacy and connection_id not in self._viewers:
            self._add(LEGACY_CONNECTION_ID)
        viewer = self._known(connection_id)
        self.desk.check(grant, viewer)
        signalling = self._signalling[connection_id]
        if signalling.offered and not (replace or legacy):
            raise SessionRefused("this connection has offered already; use PUT to reconnect", status=409)
        if not viewer.offers.take(self._clock()):
            raise SessionRefused("too many offers of one connection", status=503, retry_after_s=1)
        seat = enter(connection_id)
        # Who comes back is at home here, under its id or with the key of the seat.
        at_home = viewer.came or bool(seat and seat == offer.seat)
        try:
            if not viewer.connected and not seat:
                self._check_room(kept=self.seat_kept())
            if not at_home:
                self._check_share(grant, viewer)
            wait_s = 0.0 if at_home else self._admit(viewer)
        except SessionRefused:
            self.turned_away(connection_id)
            raise
        viewer.author = offer.author
        viewer.grant = grant
        viewer.active = offer.active
        named = allowed_servers(offer.ice_servers or (), self._client_ice_hosts)
        signalling.offer(offer.sdp, offer.mapping, ice_servers=named or self._ice_servers, after_s=wait_s)
        return seat

    def attach(self, *, grant: Grant, enter: Callable[[int], str]) -> Viewer:
        """Return a viewer of its own for a link that is there already.

        Raises SessionRefused, for its token, and what `enter` raises.
        """
        self.desk.check(grant)
        viewer = self._viewers[self.register()]
        enter(viewer.connection_id)
        if not self.has_seat(viewer.connection_id):
            self._check_share(grant)
        viewer.grant = grant
        return viewer

    async def answer(self, connection_id: int, hold_s: float) -> str | None:
        """Return the answer, waiting at most `hold_s` for it; None when there is none yet."""
        self._known(connection_id)
        answer = await self._signalling[connection_id].answer(hold_s)
        if answer is None:
            self._known(connection_id)  # raises if the session ended meanwhile
        return answer

    def add_candidates(self, connection_id: int, candidates: Sequence[Candidate]) -> None:
        self._known(connection_id)
        self._signalling[connection_id].add_candidates(candidates)

    def _add(self, connection_id: int) -> None:
        self._viewers[connection_id], self._signalling[connection_id] = self._make(connection_id)

    def _known(self, connection_id: int) -> Viewer:
        self._check_open()
        viewer = self._viewers.get(connection_id)
        if viewer is None:
            raise SessionRefused("Unknown connection", status=404)
        return viewer

    def _check_open(self) -> None:
        if self._ended:
            raise SessionRefused("No session running", status=400)

    def entered(self, viewer: Viewer) -> bool:
        """Take note that somebody is connected; close it where there is no room, or its token is no good any more.

        Returns whether it stays.
        """
        try:
            self.desk.entered(viewer)
        except Refused as error:
            viewer.send(say.RuntimeNotice(error.code, error.public()))
            viewer.drop(error.public())
            return False
        is_many = self._here_of(viewer.grant) > self._share and not self.has_seat(viewer.connection_id)
        if self.connected > self.room or is_many:
            viewer.drop("no room")
            return False
        return True

    def left(self, viewer: Viewer, reason: str) -> None:
        self.desk.left(viewer, reason)

    # Bounds -------------------------------------------------------------------------------------------

    def _check_room(self, *, kept: bool = False) -> None:
        """`kept`: the last place is not free, because its driver may come back."""
        if self.connected >= self.room - kept:
            raise SessionRefused(
                f"{self.room} viewers are connected; no more are admitted",
                status=503,
                retry_after_s=5,
            )

    @property
    def _share(self) -> int:
        # One who loads the page again is there twice for a moment.
        return max(2, int(self.room * limits.VIEWERS_SHARE))

    def _here_of(self, grant: Grant, but: Viewer | None = None) -> int:
        """Return how many are connected of one address; 0 for an operator's, and where nobody is told apart."""
        if not grant.person or Right.OPERATE in grant.rights:
            return 0
        return sum(each.connected and each.grant.person == grant.person for each in self if each is not but)

    def _check_share(self, grant: Grant, viewer: Viewer | None = None) -> None:
        if self._here_of(grant, viewer) >= self._share:
            text = f"{self._share} from your network are here already; the other places are for others"
            raise SessionRefused(text, status=503, retry_after_s=5)

    def _admit(self, viewer: Viewer) -> float:
        """Return how long a newcomer has to wait before the door. Raises SessionRefused where that is too long."""
        if not viewer.joining:
            self._make_room_to_join()
        if not self.connected:
            return 0.0
        if (wait_s := self._doorway.ask(self._clock())) is None:
            # Not all at the same time, or they would stand here together again.
            retry_after_s = random.randint(1, 3)  # noqa: S311
            text = "many people join at the moment: come again"
            raise SessionRefused(text, status=503, retry_after_s=retry_after_s)
        return wait_s

    def _make_room_to_join(self) -> None:
        """Peers that never connect must not keep out one that would."""
        joining = [viewer for viewer in self._viewers.values() if viewer.joining]
        if len(joining) < limits.JOINING_MAX:
            return
        oldest = min(joining, key=lambda viewer: viewer.linked_s)
        if self._clock() - oldest.linked_s < limits.JOIN_FAIR_S:
            raise SessionRefused("too many connections at once", status=503, retry_after_s=1)
        oldest.drop("made room for others")

    def _forget_the_most_silent(self) -> None:
        idle = [
            viewer
            for connection_id, viewer in self._viewers.items()
            if not (viewer.connected or viewer.joining or self._signalling[connection_id].answering)
        ]
        if not idle:
            raise SessionRefused("too many connections at once", status=503, retry_after_s=1)
        self._forget(min(idle, key=lambda viewer: viewer.heard_s))

    def _forget(self, viewer: Viewer) -> None:
        del self._viewers[viewer.connection_id]
        signalling = self._signalling.pop(viewer.connection_id)
        self._forgotten(viewer.connection_id)
        self._closing.spawn(_close(viewer, signalling))

    def over(self) -> list[int]:
        """Return whose tokens have ended, each once."""
        now_s = self._clock()
        over = [each for each in self if each.connected and each.ends_s is not None and now_s >= each.ends_s]
        for viewer in over:
            viewer.ends_s = None
            self.desk.did("expire", viewer)
        return [viewer.connection_id for viewer in over]

    def dismiss(self, connection_id: int, *goodbyes: say.ServerMessage) -> None:
        """Send somebody away, who hears this last. Its id is nobody's then, its messages move nothing from now on.

        Raises SessionRefused 404.
        """
        viewer = self._known(connection_id)
        for message in goodbyes:
            viewer.send(message)
        viewer.grant, viewer.parting = NOTHING, True
        self._closing.spawn(self._part(viewer))

    async def _part(self, viewer: Viewer) -> None:
        await asyncio.sleep(GOODBYE_S)
        if self._viewers.get(viewer.connection_id) is viewer:
            self._forget(viewer)

    def look_after(self) -> None:
        """Drop the links of viewers that fell silent or did not connect in time."""
        now_s, silent_s = self._clock(), self._ping_timeout_s
        for viewer in self._viewers.values():
            if viewer.connected and 0 < silent_s < now_s - viewer.heard_s:
                viewer.drop(f"nothing heard for {silent_s:g} s")
            elif viewer.interrupted_s is not None and now_s - viewer.interrupted_s > limits.INTERRUPTED_S:
                viewer.drop("connection lost")
            elif viewer.joining and now_s - viewer.linked_s > limits.JOIN_S:
                viewer.drop("never connected")

    # Ending -------------------------------------------------------------------------------------------

    def end(self) -> None:
        """Take nobody any more, and answer nothing. Those who are connected still hear what is said."""
        self._ended = True

    async def close(self) -> None:
        """Close every connection for good. May be called twice."""
        self._ended = True
        closing = [_close(viewer, self._signalling[i]) for i, viewer in self._viewers.items()]
        await asyncio.gather(*closing, self._closing.wait())
        self._viewers.clear()
        self._signalling.clear()


async def _close(viewer: Viewer, signalling: Signalling) -> None:
    await asyncio.gather(signalling.close(), viewer.close())
