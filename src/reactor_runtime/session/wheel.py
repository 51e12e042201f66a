"""Who drives a session. Pure: values and a clock in, values out.

    enter() ─▶ arrive() ─▶ drives()          its link is gone ─▶ left(): the seat is kept ─▶ poll(): the next one's
                 act(): take, request, give, decline, release           promise(): for whoever shows this key

A session has one seat. Whoever has it drives; its key, which nobody else is told, takes the seat again over another
connection. Under `--join drive` the others drive beside that seat, under `watch` and `off` only those who were
invited into this session by name. A seat that gets free goes to who asked first, then to whoever drives beside it;
else it is taken by who comes next with the right to drive, or takes it. While people wait in the server's line, a
free seat is theirs.

Connections are known here by their ids, people among each other by their numbers: whoever knows the id of a
connection could come back as it. Event loop only, but for `drives`.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Final, Literal, TypeAlias

from .. import codes, limits
from ..errors import NotGranted, SessionRefused, WheelRefused
from ..types import Role
from ..wire import messages as say

#: What a later visitor of a running session may: nothing, watch, or drive as well.
Join: TypeAlias = Literal["off", "watch", "drive"]


@dataclass(frozen=True, slots=True)
class Entry:
    """How somebody comes in. `key` is the seat's, as far as it knows one; `watch`: it wants no more than that.

    `invited`: into this session by name, to drive. `keyless`: by a route that has no words for a seat, so that the
    seat of a session which was begun by such a route is its own as well. `again`: as a client does that had a
    connection, under whatever id; `client` is whom it is known as then. `sub` is who it is, for operators.
    """

    key: str = ""
    role: Role | None = Role.OPERATE
    watch: bool = False
    invited: bool = False
    keyless: bool = False
    again: bool = False
    client: tuple[str, ...] = ()
    sub: str = ""

    @property
    def may_drive(self) -> bool:
        return self.role in (Role.DRIVE, Role.OPERATE)


_NOBODY: Final = Entry(role=None)


@dataclass(slots=True)
class _Seat:
    """`holder` is None while it is kept for whoever shows the key; `until_s` while nobody who has it is here."""

    key: str
    holder: int | None
    until_s: float | None
    keyless: bool = False


class Wheel:
    """The seat of one session, those who are here, and who of them asked for it."""

    def __init__(
        self,
        join: Join,
        *,
        clock: Callable[[], float],
        make_key: Callable[[], str] = lambda: secrets.token_urlsafe(18),
    ) -> None:
        self.join = join
        self.withheld = False
        """Whether people wait in the server's line: a free seat is only for whoever it is promised to."""
        self._clock = clock
        self._make_key = make_key
        self._seat: _Seat | None = None
        self._entries: dict[int, Entry] = {}
        """How each came in that is known, whether it is here or not."""
        self._numbers: dict[int, int] = {}
        self._came = 0
        self._here: dict[int, None] = {}
        """Who is connected, in the order of arrival."""
        self._beside: dict[int, None] = {}
        self._asked: list[int] = []
        self._told: dict[int, dict[type[say.ServerMessage], object]] = {}
        """What each knows, by kind."""

    # What it is now -----------------------------------------------------------------------------------

    @property
    def driver(self) -> int | None:
        """Who has the seat and is here."""
        return self._seat.holder if self._seat is not None and self._seat.until_s is None else None

    @property
    def holder(self) -> str:
        """The key of the seat as it stands, "" while it is free: another one for each who gets it."""
        return self._seat.key if self._seat is not None else ""

    @property
    def due_s(self) -> float | None:
        """When `poll` has something to do, on the clock; None: not before something happens."""
        return self._seat.until_s if self._seat is not None else None

    def drives(self, who: int) -> bool:
        """Whether what this connection sends reaches the model. Any thread."""
        return who == self.driver or who in self._beside

    def has_seat(self, who: int) -> bool:
        """Whether the seat is its own, now or once it arrives."""
        entry = self._entries.get(who)
        return self._seat is not None and entry is not None and entry.key == self._seat.key

    def is_here(self, who: int) -> bool:
        return who in self._here

    def drivers(self) -> frozenset[int]:
        """Return all who are here and drive."""
        driver = self.driver
        return frozenset(self._beside) | ({driver} if driver is not None else frozenset())

    # Coming and going ---------------------------------------------------------------------------------

    def promise(self, *, keyless: bool = False) -> str:
        """Keep a free seat for whoever shows this key, and return that.

        `keyless`: or for whoever comes first by a route that has no words for it.
        """
        assert self._seat is None
        self._seat = _Seat(self._make_key(), None, self._clock() + limits.SEAT_KEPT_S, keyless)
        return self._seat.key

    def enter(self, who: int, entry: Entry) -> str:
        """Somebody wants to come in; return the key of the seat that is its own once it arrives, or "".

        Raises SessionRefused 409 where later visitors are not admitted.
        """
        self.poll()
        drives = entry.may_drive and not entry.watch
        if drives and self._is_own(who, entry):
            assert self._seat is not None
            self._entries[who] = entry = replace(entry, key=self._seat.key)
            if self._seat.until_s is not None:
                self._seat.until_s = max(self._seat.until_s, self._clock() + limits.SEAT_KEPT_S)
            return entry.key
        if drives and self._seat is None and not self.withheld:
            self._seat = _Seat(self._make_key(), who, self._clock() + limits.SEAT_KEPT_S)
            self._entries[who] = replace(entry, key=self._seat.key)
            return self._seat.key
        if self.join == "off" and not entry.invited and not self._is_own(who, entry):
            raise SessionRefused("this session is somebody else's, and takes no visitors", status=409)
        self._entries[who] = replace(entry, key="")
        return ""

    def _is_own(self, who: int, entry: Entry) -> bool:
        seat = self._seat
        if seat is None:
            return False
        shown = hmac.compare_digest(entry.key.encode(), seat.key.encode())
        # Published clients have nothing to show: they come back under their id, or as they came before.
        if shown or who == seat.holder:
            return True
        if seat.holder is None:
            return seat.keyless and entry.keyless
        before = self._entries.get(seat.holder, _NOBODY)
        return entry.again and entry.keyless and before.keyless and entry.client == before.client

    def arrive(self, who: int) -> None:
        """It is connected."""
        self.poll()
        self._here[who] = None
        entry = self._entries.get(who, _NOBODY)
        if who not in self._numbers:
            self._number(who)
        if self._seat is not None and entry.key == self._seat.key:
            self._take_again(who, self._seat)
        elif entry.may_drive and not entry.watch and (entry.invited or self.join == "drive"):
            self._sit(who) if self._seat is None and not self.withheld else self._beside.setdefault(who)

    def _take_again(self, who: int, seat: _Seat) -> None:
        before = seat.holder
        if before is not None and before != who:
            # The same person over another connection.
            self._numbers[who] = self._numbers.pop(before, self._numbers[who])
            self._entries[before] = replace(self._entries.get(before, _NOBODY), key="")
            if before in self._here:
                self._number(before)
        self._sit(who, seat.key)

    def _number(self, who: int) -> None:
        self._came += 1
        self._numbers[who] = self._came

    def left(self, who: int) -> None:
        """It is connected no more. Its seat is kept for a while."""
        self._here.pop(who, None)
        self._beside.pop(who, None)
        self._told.pop(who, None)
        if who in self._asked:
            self._asked.remove(who)
        seat = self._seat
        if seat is not None and seat.holder == who and seat.until_s is None:
            seat.until_s = self._clock() + limits.SEAT_KEPT_S

    def dismiss(self, who: int) -> None:
        """It was sent away: nothing is kept for it."""
        self.left(who)
        if self._seat is not None and self._seat.holder == who:
            self._vacate()
        self.forget(who)

    def turned_away(self, who: int) -> None:
        """It was not let in after all: a seat that it would have had is free again."""
        seat = self._seat
        if seat is not None and seat.holder == who and who not in self._numbers:
            self._vacate()

    def forget(self, who: int) -> None:
        """Its id is another's from now on."""
        self._entries.pop(who, None)
        self._numbers.pop(who, None)
        if self._seat is not None and self._seat.holder == who and who not in self._here:
            self._seat.holder = None

    def end_turn(self) -> None:
        """Take the seat from whoever has it, or had it a moment ago; its key is worth nothing any more."""
        if self._seat is not None:
            self._vacate()

    def poll(self) -> None:
        """Pass on a seat that has been kept long enough."""
        if (due_s := self.due_s) is not None and self._clock() >= due_s:
            self._vacate()

    def _vacate(self) -> None:
        self._seat = None
        if self.withheld:
            self._asked.clear()
            return
        heirs = [*self._asked, *self._beside]
        if heirs:
            self._sit(heirs[0])

    def _sit(self, who: int, key: str = "") -> None:
        """Give it the seat, under another key unless it is that which it has shown."""
        if key and self._seat is not None and self._seat.keyless:  # who else was let in for it comes too late
            late = [each for each, e in self._entries.items() if each != who and e.keyless and e.key == key]
            self._entries |= {each: replace(self._entries[each], key="") for each in late}
        self._seat = _Seat(key or self._make_key(), who, None)
        self._beside.pop(who, None)
        if who in self._asked:
            self._asked.remove(who)

    # What people ask for ------------------------------------------------------------------------------

    def act(self, who: int, asked: say.WheelAction) -> None:
        """Do what somebody asks, who is here. Raises WheelRefused, NotGranted."""
        self.poll()
        entry = self._entries.get(who, _NOBODY)
        if not entry.may_drive:
            raise NotGranted("this needs the right to drive")
        match asked.action:
            case "take":
                self._take(who, asked.seat)
            case "request":
                self._request(who)
            case "release":
                self._release(who)
            case "give":
                self._give(who, asked.to)
            case "decline":
                self._has_seat(who)
                self._asked.remove(self._of_number(asked.to, self._asked))

    def _take(self, who: int, key: str) -> None:
        seat = self._seat
        if self.drives(who):
            return
        if seat is not None and hmac.compare_digest(key.encode(), seat.key.encode()):
            self._take_again(who, seat)
        elif seat is None and not self.withheld:
            self._sit(who)
        elif self.join == "drive":
            self._beside[who] = None
        else:
            raise WheelRefused(codes.SEAT_TAKEN, self._why_taken())

    def _why_taken(self) -> str:
        seat = self._seat
        if seat is None:
            return "somebody waits in the line for this seat; wait there as well"
        if seat.until_s is not None:
            left_s = max(1, round(seat.until_s - self._clock()))
            return f"the seat is kept for another {left_s} s for whoever had it; then it may be taken"
        return f"{self._name(seat.holder)} drives; ask for the wheel with a request"

    def _request(self, who: int) -> None:
        if self.drives(who) or who in self._asked:
            return
        if self._seat is None or self.join == "drive":
            self._take(who, "")
            return
        if len(self._asked) >= limits.WHEEL_REQUESTS:
            raise WheelRefused(codes.RATE_LIMITED, f"{limits.WHEEL_REQUESTS} ask for the wheel already")
        self._asked.append(who)

    def _release(self, who: int) -> None:
        if who in self._beside:
            del self._beside[who]
            return
        self._has_seat(who)
        self._vacate()

    def _give(self, who: int, to: int | None) -> None:
        self._has_seat(who)
        heir = self._of_number(to, self._here)
        if not self._entries.get(heir, _NOBODY).may_drive:
            raise WheelRefused(codes.NOT_GRANTED, f"{self._name(heir)} may only watch")
        if heir != who:
            self._sit(heir)

    def _has_seat(self, who: int) -> None:
        if who != self.driver:
            raise WheelRefused(codes.NOT_DRIVING, "only whoever drives may do that")

    def _of_number(self, number: int | None, among: Iterable[int]) -> int:
        found = next((who for who in among if self._numbers.get(who) == number), None)
        if found is None:
            raise WheelRefused(codes.INVALID_COMMAND, f"nobody here has the number {number}")
        return found

    def who(self, number: int | None) -> int:
        """Return the connection of somebody who is here, by its number. Raises WheelRefused."""
        return self._of_number(number, self._here)

    # What people are told -----------------------------------------------------------------------------

    def news(self, here: Iterable[int], *, people: bool = True) -> dict[int, list[say.ServerMessage]]:
        """Return what those who can be told now do not know yet; without `people` operators hear of those later."""
        news: dict[int, list[say.ServerMessage]] = {}
        seat = self._seat
        # The same for all: asked whenever somebody comes or goes, of as many as are here.
        holder = self._visitor(seat.holder) if seat is not None and seat.holder is not None else None
        until_s = seat.until_s if seat is not None else None
        kept_s = None if until_s is None else round(max(0.0, until_s - self._clock()), 1)
        asked = tuple(self._visitor(each) for each in self._asked)
        listed = tuple(self._person(who) for who in self._here) if people else ()
        for who in here:
            told = self._told.setdefault(who, {})
            fresh: list[say.ServerMessage] = []
            # Seconds that pass are no news.
            drives, may = self.drives(who), self._may(who)
            if told.get(say.Wheel) != (known := (drives, holder, until_s, may, asked)):
                told[say.Wheel] = known
                fresh.append(say.Wheel("drive" if drives else "watch", holder, kept_s, may, asked))
            if seat is not None and who == self.driver and told.get(say.Seat) != seat.key:
                told[say.Seat] = seat.key
                fresh.append(say.Seat(seat.key))
            if people and self._is_operator(who) and told.get(say.People) != listed:
                told[say.People] = listed
                fresh.append(say.People(listed))
            if fresh:
                news[who] = fresh
        return news

    def _is_operator(self, who: int) -> bool:
        return self._entries.get(who, _NOBODY).role is Role.OPERATE

    def _may(self, who: int) -> tuple[say.WheelVerb, ...]:
        entry = self._entries.get(who, _NOBODY)
        if not entry.may_drive:
            return ()
        if who in self._beside:
            return ("release",)
        if who == self.driver:
            others = any(self._entries.get(each, _NOBODY).may_drive for each in self._here if each != who)
            return ("release", "give") if others else ("release",)
        if self.join == "drive" or (self._seat is None and not self.withheld):
            return ("take",)
        return ("request",) if self._seat is not None and who not in self._asked else ()

    def _visitor(self, who: int) -> say.Visitor:
        return say.Visitor(self._numbers.get(who, 0), self._name(who))

    def _person(self, who: int) -> say.Person:
        entry = self._entries.get(who, _NOBODY)
        role = entry.role.value if entry.role is not None else ""
        return say.Person(self._numbers.get(who, 0), self._name(who), who, role, entry.sub)

    def _name(self, who: int | None) -> str:
        number = self._numbers.get(who, 0) if who is not None else 0
        return f"Visitor {number}" if number else "somebody"
