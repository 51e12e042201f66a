"""Who may end a session, and what those in it are told. On the event loop.

Somebody who does not operate the server ends what is his: the session that he drives, or that he started and nobody
else drives. A client whose turn is over also says that it stops, and means a session which is somebody else's by then.
"""

from __future__ import annotations

from .. import codes
from ..errors import SessionRefused
from ..wire import messages as say
from .grants import Grant, Right
from .session import Session
from .slot import ModelSlot


def check_ends(session: Session, grant: Grant, *, started: bool) -> None:
    """Raise SessionRefused where somebody else's session would end. `started`: it is this client's own."""
    if Right.OPERATE in grant.rights:
        return
    if grant.client in session.wheel.driving_clients():
        return
    # What is kept for somebody, or for whoever is next in the line, is not over.
    if session.wheel.drivers() or not (started if session.wheel.is_kept() else not session.wheel.withheld):
        raise SessionRefused("somebody else drives this session; an operator may end it", status=409)


def end_moderated(slot: ModelSlot, reason: str) -> None:
    """End a slot's session by an operator's word. Raises SessionRefused when none runs."""
    text = reason or "the session was ended by the operator"
    slot.stop(say.Moderation("terminate", text), say.SessionEnded(codes.MODERATED))
