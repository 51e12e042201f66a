"""Who may hold a socket of this server, and how much work its bytes may make. Pure: no sockets, no clock.

Everything is shared out by address, so that one client, however many sockets it opens, keeps nobody else out:

    its address holds less than its share, and a place is free   →  the place
    no place: a socket somewhere owes its request                →  that one is closed: of the address that holds
                                                                    the most, the one that waited longest
    every socket is being answered                               →  a reserved place, for /health alone
    those are taken as well                                      →  refused

One per server, used on its event loop.
"""

from __future__ import annotations

from enum import Enum
from typing import Protocol

from .. import limits
from ..networks import tells_apart


class Standing(Enum):
    """What a socket is worth keeping for, least first."""

    NEW = 0
    """It owes its first request."""
    IDLE = 1
    """It was answered, and is kept for the next request."""
    ASKING = 2
    """It owes the rest of a body."""
    ANSWERED = 3


class Place(Enum):
    ORDINARY = "ordinary"
    RESERVED = "reserved"
    NONE = "none"


class Holder(Protocol):
    """A connection, as places see it."""

    @property
    def address(self) -> str: ...

    @property
    def standing(self) -> Standing: ...

    def evict(self) -> None:
        """Close at once. The places have already forgotten it."""


class Account:
    """What an address may still have done: `burst` at once, `per_s` in the long run. What is owed is waited for."""

    def __init__(self, burst: float, per_s: float, now_s: float) -> None:
        self._burst = self._left = burst
        self._per_s = per_s
        self._then_s = now_s

    def spend(self, units: float, now_s: float) -> None:
        self._refill(now_s)
        self._left -= units

    def wait_s(self, now_s: float) -> float:
        """Return how long until this address may go on; 0 if it may now."""
        self._refill(now_s)
        return 0.0 if self._left > 0 else max(0.001, -self._left / self._per_s)

    def whole(self, now_s: float) -> bool:
        """Whether nothing is owed any more, so that forgetting it changes nothing."""
        self._refill(now_s)
        return self._left >= self._burst

    def _refill(self, now_s: float) -> None:
        refilled = self._left + (now_s - self._then_s) * self._per_s
        self._left, self._then_s = min(self._burst, refilled), now_s


class Accounts:
    """Those of one address; `many`: of everybody behind it."""

    def __init__(self, now_s: float, *, many: bool = False) -> None:
        self.work = Account(limits.HTTP_WORK_BURST, limits.HTTP_WORK_PER_S, now_s)
        """Of small pieces that are parsed; one is about five microseconds of the event loop."""
        self.requests = Account(limits.HTTP_REQUESTS_BURST, limits.HTTP_REQUESTS_PER_S, now_s)
        self.health = Account(limits.HTTP_HEALTH_BURST, limits.HTTP_HEALTH_PER_S, now_s)
        """Of requests to /health once the others are spent."""
        per_s = limits.OFFERS_OF_MANY_PER_S if many else limits.OFFERS_PER_ADDRESS_PER_S
        self.offers, self.registers = (
            Account(limits.OFFERS_PER_ADDRESS_BURST, per_s, now_s) for _ in range(2)
        )

    def whole(self, now_s: float) -> bool:
        accounts = (self.work, self.requests, self.health, self.offers, self.registers)
        return all(each.whole(now_s) for each in accounts)


class Places:
    """Hands out places. A holder that was let in leaves exactly once, unless it is evicted first."""

    def __init__(self) -> None:
        # Insertion order is age.
        self._held: dict[str, dict[Holder, None]] = {}
        self._reserved: dict[Holder, None] = {}
        self._accounts: dict[str, Accounts] = {}
        self.evicted = 0
        self.refused = 0
        self.limited = 0
        """Requests over the rate of their address."""

    def enter(self, holder: Holder) -> Place:
        held = self._held.get(holder.address, {})
        full = sum(map(len, self._held.values())) >= limits.HTTP_SOCKETS
        if len(held) >= limits.HTTP_SOCKETS_PER_ADDRESS:
            admitted = self._make_room([held])
        else:
            admitted = not full or self._make_room(sorted(self._held.values(), key=len, reverse=True))
        if admitted:
            self._held.setdefault(holder.address, {})[holder] = None
            return Place.ORDINARY
        if len(self._reserved) < limits.HTTP_SOCKETS_RESERVED or self._make_room([self._reserved]):
            self._reserved[holder] = None
            return Place.RESERVED
        self.refused += 1
        return Place.NONE

    def leave(self, holder: Holder) -> None:
        self._reserved.pop(holder, None)
        held = self._held.get(holder.address, {})
        held.pop(holder, None)
        if not held:
            self._held.pop(holder.address, None)

    def holders(self) -> list[Holder]:
        """Return who holds an ordinary place."""
        return [holder for held in self._held.values() for holder in held]

    def accounts(self, address: str, now_s: float) -> Accounts:
        """Return those of an address. Kept while something is owed, so that a new socket has no new ones."""
        known = self._accounts.get(address)
        if known is None:
            if len(self._accounts) >= limits.HTTP_SOCKETS:
                self._accounts = {
                    one: theirs for one, theirs in self._accounts.items() if not theirs.whole(now_s)
                }
            known = self._accounts[address] = Accounts(now_s, many=not tells_apart(address))
        return known

    def _make_room(self, candidates: list[dict[Holder, None]]) -> bool:
        for standing in (Standing.NEW, Standing.IDLE, Standing.ASKING):
            for held in candidates:
                oldest = next((holder for holder in held if holder.standing is standing), None)
                if oldest is not None:
                    self.leave(oldest)
                    self.evicted += 1
                    oldest.evict()
                    return True
        return False
