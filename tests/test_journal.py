"""The journal that /events streams."""

from __future__ import annotations

import asyncio

from reactor_runtime import limits
from reactor_runtime.session.journal import Journal
from reactor_runtime.session.lifecycle import Event, State, Transition


def test_entries_count_up_and_say_what_moved() -> None:
    journal = Journal(wall_clock=lambda: 1_700_000_000.5)
    journal.transition(
        Transition(Event.START_SESSION, State.READY, State.WAITING), {"session_id": "s"}, slot=2
    )
    journal.note("command", State.WAITING)
    first, second = journal.since(0)
    assert (first.seq, second.seq) == (1, 2)
    assert first.public() == {
        "type": "transition",
        "event": "start_session",
        "from": "ready",
        "to": "waiting",
        "ts": 1_700_000_000_500,
        "slot": 2,
        "detail": {"session_id": "s"},
    }
    assert second.before is second.after is State.WAITING


def test_the_oldest_entries_are_dropped_and_numbers_go_on() -> None:
    journal = Journal()
    for _ in range(limits.JOURNAL_EVENTS + 5):
        journal.note("command", State.STREAMING)
    kept = journal.since(0)
    assert (kept[0].seq, kept[-1].seq) == (6, limits.JOURNAL_EVENTS + 5)
    assert len(kept) == limits.JOURNAL_EVENTS
    assert [entry.seq for entry in journal.since(limits.JOURNAL_EVENTS + 4)] == [limits.JOURNAL_EVENTS + 5]
    assert journal.since(10**9) == []


async def test_every_reader_sees_every_entry_once_however_they_interleave() -> None:
    journal = Journal()

    async def read() -> list[int]:
        return [entry.seq async for entry in journal.follow(0, idle_s=5) if entry is not None]

    readers = [asyncio.create_task(read()) for _ in range(3)]
    for burst in range(10):
        for _ in range(burst):
            journal.note("command", State.STREAMING)
        await asyncio.sleep(0)
    journal.close()
    journal.close()
    assert [await reader for reader in readers] == [list(range(1, 46))] * 3


async def test_silence_yields_nothing_but_a_sign_of_life() -> None:
    journal = Journal()
    following = journal.follow(0, idle_s=0.001)
    assert await anext(following) is None
    journal.note("command", State.READY)
    entry = await anext(following)
    assert entry is not None
    assert entry.seq == 1
    await following.aclose()


async def test_what_is_appended_after_the_end_is_kept_and_followers_still_end() -> None:
    journal = Journal()
    journal.close()
    journal.note("late", State.TERMINATED)
    assert [entry.event async for entry in journal.follow(0, idle_s=5) if entry is not None] == ["late"]
