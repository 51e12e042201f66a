"""Tokens in use: until when each counts for whom it connected, and that one person's token is one person's. Pure.

    offer, media ──check──▶ Passes ◀──enter── connected          look_after ◀── when its time is over

A token that says `max_s` or `once` is one person's: one connection at a time uses it, and a second is refused while
the first is there. Its `max_s` runs from its first connection on, whether somebody is connected or not; with `once` it
is for the session that it joined first. A server that is started again has forgotten that. One per server.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from .. import limits
from ..errors import LimitExceeded, TokenExpired, TokenReplayed
from .grants import Grant


class Bearer(Protocol):
    """A connection that a token has come with."""

    @property
    def there(self) -> bool:
        """Whether it is connected, as far as anybody knows."""

    def drop(self, reason: str) -> None: ...


@dataclass(slots=True)
class _Use:
    session_id: str
    began: float
    """Epoch seconds, as all times of tokens."""
    forget_at: float
    bearer: weakref.ref[Bearer] | None = field(default=None)


class Passes:
    def __init__(
        self, clock: Callable[[], float], wall: Callable[[], float], *, known: int = limits.TOKENS_KNOWN
    ) -> None:
        self._clock = clock
        self._wall = wall
        self._known = known
        self._uses: dict[str, _Use] = {}

    def still_counts(self, grant: Grant, session_id: str | None) -> None:
        """Raise TokenExpired or TokenReplayed where this token's time is over, or that of the session it was for.

        None: what is asked is of no session.
        """
        now = self._wall()
        if grant.ends is not None and now >= grant.ends:
            raise TokenExpired("this token's time is over; ask whoever gave it to you for another")
        use = self._uses.get(grant.jti) if grant.personal else None
        if use is None:
            return
        if grant.max_s is not None and now >= use.began + grant.max_s:
            raise TokenExpired(f"the {grant.max_s:g} s of this token are over")
        if grant.once and session_id is not None and session_id != use.session_id:
            raise TokenReplayed("this token was for one session, and has been in it")

    def check(self, grant: Grant, session_id: str | None, bearer: Bearer | None = None) -> None:
        """Raise TokenExpired or TokenReplayed where this token would not be let in; None: for a session to come."""
        self.still_counts(grant, session_id or "")
        use = self._uses.get(grant.jti) if grant.personal else None
        if use is None:
            return
        other = use.bearer() if use.bearer is not None else None
        if other is not None and other is not bearer and other.there:
            raise TokenReplayed("this token is one person's, and another connection uses it now")

    def enter(self, grant: Grant, session_id: str, bearer: Bearer) -> float | None:
        """Take a token that has connected; return when it ends on the session's clock, None for never.

        Raises what `check` raises, and LimitExceeded where no more can be remembered.
        """
        self.check(grant, session_id, bearer)
        now, ends = self._wall(), grant.ends
        if grant.personal:
            use = self._uses.get(grant.jti)
            if use is None:
                use = self._begin(grant, session_id, now)
            other = use.bearer() if use.bearer is not None else None
            if other is not None and other is not bearer:
                other.drop("its token is used by another connection")  # which was lost, and may come back
            use.bearer = weakref.ref(bearer)
            if grant.max_s is not None:
                ends = min(use.began + grant.max_s, ends if ends is not None else float("inf"))
        return None if ends is None else self._clock() + (ends - now)

    def _begin(self, grant: Grant, session_id: str, now: float) -> _Use:
        if len(self._uses) >= self._known:
            self._uses = {jti: use for jti, use in self._uses.items() if use.forget_at > now}
        if len(self._uses) >= self._known:
            raise LimitExceeded("too many tokens of single persons are in use", limit="TOKENS_KNOWN")
        # Without an end it could be shown again for ever; the guard makes no such grant.
        use = _Use(session_id, now, grant.ends if grant.ends is not None else float("inf"))
        self._uses[grant.jti] = use
        return use
