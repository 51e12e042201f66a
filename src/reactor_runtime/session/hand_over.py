"""A model made new inside its session: its run ends and another begins, and those who watch notice only the picture.

    stop ─▶ the model unwinds, as between two sessions ─▶ what the last driver left is cleared away ─▶ start

Viewers, their streams and the wheel stay. Uploads, values, claims, unanswered commands, what the model reported, the
recording and the session log are those of one run, and end with it. Owned by a slot, on its event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ..errors import SessionRefused
from ..host import HostState, ModelHost
from .session import Session


class HandOver:
    """Of one slot. `needed`: somebody has had the seat since the model was made new."""

    def __init__(self) -> None:
        self.needed = False
        self.going = False
        """While it is, what the host says of its run's end ends no session."""
        self.runs = 0
        """How many there have been: whatever waits for a run's end looks whether it is still the same."""
        self._one = asyncio.Lock()

    async def make(self, session: Session, host: ModelHost, *, runs: Callable[[], bool]) -> None:
        """Make the model new, unless it is. `runs` tells whether the session still does.

        Raises SessionRefused when it ended meanwhile, as it does when the model does not stop.
        """
        async with self._one:
            if not self.needed:
                return
            self.going = True
            try:
                session.abandon()
                await host.stop_session()
                await session.start_over()
            finally:
                self.going = False
            if not runs() or host.state is not HostState.IDLE:
                raise SessionRefused("the session ended while the model was made new", status=503)
            self.needed = False
            self.runs += 1
            host.start_session(session.session_id)
            session.streams.want()
