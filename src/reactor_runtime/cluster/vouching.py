"""What a door says to a worker of whoever asks: a token for one session, on one life of one worker. Pure.

A worker's server takes tokens of one key and no other; the key is made for each of its lives and told to Placement.
So what a visitor shows a door never gets to a worker, and what was for a worker's last life opens nothing.
"""

from __future__ import annotations

import hashlib

from ..session.grants import Grant
from ..tokens import Claims, Keys
from ..types import Role
from .limits import TOKEN_S


def vouch(key: str, grant: Grant, session_id: str | None, now: float) -> str:
    """Return the token for what this grant allows in one session; None: at the whole worker. `now`: epoch seconds."""
    assert grant.role is not None
    claims = Claims(
        role=grant.role,
        exp=grant.ends if grant.ends is not None else now + TOKEN_S,
        jti=mark(grant),
        sub=grant.sub,
        sid=session_id,
        max_s=grant.max_s,
        once=grant.once,
    )
    return Keys.parse([key]).sign(claims)


def mark(grant: Grant) -> str:
    """Return what a client is known as in the cluster, to Placement and to workers: each time the same."""
    return grant.jti or hashlib.sha256("\n".join(grant.client).encode()).hexdigest()[:32]


#: Who speaks for the cluster itself.
CLUSTER = Grant(Role.OPERATE, sub="cluster")
#: Who begins a session for somebody in the line.
LINE = Grant(Role.DRIVE, sub="line")
