"""Calls from a thread arrive on the loop in their order, and wake it seldom."""

from __future__ import annotations

import asyncio
import threading

import pytest

from reactor_runtime.crossing import Crossing


def call_often(crossing: Crossing, arrived: list[int]) -> None:
    for number in range(100):
        crossing.call(arrived.append, number)


async def test_a_hundred_calls_of_a_thread_arrive_in_order_and_wake_the_loop_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loop, woken = asyncio.get_running_loop(), 0
    wake = loop.call_soon_threadsafe

    def counted(*call: object, **context: object) -> object:
        nonlocal woken
        woken += 1
        return wake(*call, **context)  # type: ignore[arg-type]

    monkeypatch.setattr(loop, "call_soon_threadsafe", counted)
    crossing, arrived = Crossing(), list[int]()
    for of_round in range(2):
        thread = threading.Thread(target=call_often, args=(crossing, arrived))
        thread.start()
        thread.join()  # the loop stands meanwhile
        assert len(arrived) == 100 * of_round
        await asyncio.sleep(0.01)
    assert arrived == [*range(100), *range(100)]
    assert woken == 2


async def test_a_call_that_raises_takes_no_other_along() -> None:
    told: list[str] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: told.append(str(context["exception"])))
    crossing, arrived = Crossing(), list[int]()

    def fail() -> None:
        raise ValueError("no")

    for function in (lambda: arrived.append(1), fail, lambda: arrived.append(2)):
        crossing.call(function)
    await asyncio.sleep(0.01)
    assert (arrived, told) == ([1, 2], ["no"])


def test_a_loop_that_is_closed_is_called_no_more() -> None:
    async def make() -> Crossing:
        return Crossing()

    asyncio.run(make()).call(print)
