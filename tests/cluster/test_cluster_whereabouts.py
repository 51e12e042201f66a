"""What a door remembers of where sessions run: for a moment, and longer where nobody can be asked."""

from __future__ import annotations

import pytest

from reactor_runtime.cluster.limits import WHERE_MAX, WHERE_S
from reactor_runtime.cluster.whereabouts import Whereabouts
from reactor_runtime.errors import SessionRefused
from reactor_runtime.types import JsonObject


class Asked:
    """A Placement that may be away."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.asked = 0
        self.away = False
        self.at: JsonObject | None = {"url": "http://a", "key": "k"}
        self.where = Whereabouts(self.find, lambda: self.now_s)

    async def find(self, session_id: str) -> JsonObject | None:
        self.asked += 1
        if self.away:
            raise SessionRefused("away", status=503)
        return self.at


async def test_placement_is_asked_once_in_a_while() -> None:
    here = Asked()
    assert [await here.where.of("s") for _ in range(5)] == [here.at] * 5
    assert here.asked == 1
    here.now_s += WHERE_S
    await here.where.of("s")
    assert here.asked == 2


async def test_what_did_not_hold_is_asked_again_at_once() -> None:
    here = Asked()
    await here.where.of("s")
    here.at = None
    assert await here.where.of("s") is not None
    here.where.doubt("s")
    assert await here.where.of("s") is None


async def test_while_placement_is_away_what_is_known_goes_on_counting() -> None:
    here = Asked()
    await here.where.of("s")
    here.away = True
    here.now_s += 60
    assert await here.where.of("s") == here.at
    with pytest.raises(SessionRefused):
        await here.where.of("another")


async def test_no_more_sessions_are_remembered_than_there_is_room_for() -> None:
    here = Asked()
    for number in range(WHERE_MAX + 1):
        await here.where.of(f"s-{number}")
    asked = here.asked
    await here.where.of("s-1")
    assert here.asked == asked
    await here.where.of("s-0")
    assert here.asked == asked + 1
