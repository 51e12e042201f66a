"""Clients that send too much: what it costs the server's memory, its loop and the others who watch."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import cast

import numpy as np
import psutil
import pytest
import reactor_webrtc as rw
from support.flooder import Kind, flooding
from support.prober import probing
from support.promises import NIGHTLY, long_form
from support.served import MODEL
from support.server import ReactorRun, running, write_model
from support.visitor import watching
from test_peer_conformance import Recorder

from reactor_runtime import limits
from reactor_runtime.webrtc.reactor_channels import Channels

FPS = 30


@pytest.fixture(scope="module", params=["reactor", "aiortc"] if NIGHTLY else ["reactor"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReactorRun]:
    folder = write_model(tmp_path_factory.mktemp("flooded"), MODEL)
    with running(folder, "--engine", request.param) as run:
        yield run


class Memory:
    """The server's resident memory: what it is now, and how far it rose above that meanwhile."""

    def __init__(self, server: ReactorRun) -> None:
        self._process = psutil.Process(server.process.pid)
        self.before = self._process.memory_info().rss
        self.most = 0
        self._task = asyncio.create_task(self._look())

    async def _look(self) -> None:
        while True:
            self.most = max(self.most, self._process.memory_info().rss - self.before)
            await asyncio.sleep(0.01)

    def stop(self) -> float:
        """Return by how many MB it rose."""
        self._task.cancel()
        return self.most / 1e6


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.parametrize(
    ("kind", "count"),
    [("oversize", 2), ("unfinished", long_form(16, 64)), ("tiny", long_form(10_000, 50_000))],
)
async def test_no_message_takes_memory_however_large_endless_or_many_they_are(
    server: ReactorRun, kind: Kind, count: int, record_property: Callable[[str, object], None]
) -> None:
    async with watching(server.url) as visitor:
        with flooding(server.url, kind, count=count) as flood:
            await visitor.see(FPS)
            memory = Memory(server)
            flood.begin()
            await asyncio.to_thread(flood.until_done)
            await asyncio.sleep(0.5)
            grown_mb = memory.stop()
        assert not visitor.lost, (visitor.states, visitor.said, server.text)
        await visitor.ask("note", number=1)
        await visitor.leave()
    server.wait_for_state("ready")
    record_property("measured", f"{kind}: +{grown_mb:.1f} MB")
    # 2 MB, and what else moves in a process. libwebrtc's receive window is 5 MB and cannot be set.
    assert grown_mb <= 12


@pytest.mark.slow
@pytest.mark.alone
async def test_ten_thousand_commands_a_second_cost_nobody_else_anything(
    server: ReactorRun, record_property: Callable[[str, object], None]
) -> None:
    lasts_s = long_form(2, 30)
    async with watching(server.url) as honest:
        with flooding(server.url, "commands", count=10_000 * lasts_s, rate_per_s=10_000) as flood:
            await honest.see(FPS)
            with probing(server.url) as probe:
                frames, began_s = honest.frames, time.monotonic()
                flood.begin()
                done = asyncio.create_task(asyncio.to_thread(flood.until_done))
                took_s = []
                while not done.done() and time.monotonic() - began_s < lasts_s + 10:
                    asked_s = time.monotonic()
                    await honest.ask("note", number=1)
                    took_s.append(time.monotonic() - asked_s)
                    await asyncio.sleep(0.1)
                lasted_s = time.monotonic() - began_s
                seen = (honest.frames - frames) / (lasted_s * FPS)
            sent = await done
        await honest.leave()
    server.wait_for_state("ready")
    answered_ms = float(np.percentile(took_s, 95)) * 1000
    lag_ms = float(np.percentile(probe.took_s, 99)) * 1000
    measured = (
        f"{sent['count'] / sent['took_s']:.0f} commands/s for {lasted_s:.1f} s: {seen:.0%} of frames, "
        f"honest commands p95 {answered_ms:.0f} ms, /health p99 {lag_ms:.0f} ms"
    )
    record_property("measured", measured)
    # 95 %, 100 ms and 20 ms are for a server whose two cores do not also make the flood and watch it.
    assert seen >= 0.4
    assert answered_ms <= 1_000
    assert lag_ms <= 1_000


class FakeChannel:
    """A data channel that is open and that a test speaks into."""

    def label(self) -> str:
        return "data"

    def state(self) -> object:
        return rw.DataChannelState.Open

    def on_message(self, callback: Callable[[bytes, bool], None]) -> None:
        self.say = callback

    def on_close(self, callback: Callable[[], None]) -> None: ...

    waiting, asked = 0, 0

    def buffered_amount(self) -> int:
        self.asked += 1
        return self.waiting

    def send(self, payload: bytes, binary: bool) -> None:
        self.waiting += len(payload)


def spoken_to(on_arrival: Callable[[], None]) -> tuple[Channels, FakeChannel]:
    channels, channel = Channels(lambda _: None, on_arrival, lambda: None), FakeChannel()
    channels.take(cast("rw.DataChannel", channel))
    return channels, channel


@pytest.mark.parametrize(
    ("size", "kept"),
    [
        (1, limits.MESSAGES_WAITING),
        (limits.MESSAGE_MAX_BYTES, limits.MESSAGES_WAITING_BYTES // limits.MESSAGE_MAX_BYTES),
    ],
)
def test_messages_that_come_at_once_wake_the_loop_once_and_are_bounded(size: int, kept: int) -> None:
    woken = 0

    def wake() -> None:
        nonlocal woken
        woken += 1

    channels, channel = spoken_to(wake)
    for _ in range(2):
        for _ in range(1000):
            channel.say(bytes(size), True)
        heard = Recorder()
        channels.deliver(heard)
        channels.deliver(heard)
        assert (len(heard.messages), heard.dropped) == (kept, 1000 - kept)
    assert woken == 2


def test_what_waits_to_be_sent_is_bounded_and_seldom_asked_for() -> None:
    """Asking waits for the thread that a flood keeps busy."""
    channels, channel = spoken_to(lambda: None)
    for _ in range(1000):
        assert channels.send("data", "x" * 100)
    assert channel.asked == 1
    while channels.send("data", bytes(1000)):
        assert channel.waiting <= limits.CHANNEL_BUFFER_MAX_BYTES
    assert channel.waiting > limits.CHANNEL_BUFFER_MAX_BYTES - 1000
    channel.waiting -= 2000
    assert channels.send("data", bytes(1000))
    assert channels.send("data", bytes(1000))
    assert not channels.send("data", bytes(1000))


@pytest.mark.slow
@pytest.mark.alone
async def test_a_flood_of_offers_and_starts_is_refused_at_once_and_costs_the_viewers_nothing(
    server: ReactorRun, record_property: Callable[[str, object], None]
) -> None:
    """Two hundred a second, from a client in a process of its own, which never connects."""
    lasts_s = long_form(2, 30)
    async with watching(server.url) as honest:
        with flooding(server.url, "offers", count=200 * lasts_s, rate_per_s=200) as flood:
            await honest.see(FPS)
            frames, began_s = honest.frames, time.monotonic()
            flood.begin()
            told = await asyncio.to_thread(flood.until_done)
            lasted_s = time.monotonic() - began_s
            seen = (honest.frames - frames) / (lasted_s * FPS)
        await honest.leave()
    server.wait_for_state("ready")
    measured = (
        f"{told['count'] / told['took_s']:.0f} requests/s for {lasted_s:.1f} s: {seen:.0%} of frames, "
        f"refusals p50 {told['refused_p50_ms']:.0f} ms, p95 {told['refused_p95_ms']:.0f} ms; "
        f"{told['taken']:.0f} offers taken"
    )
    record_property("measured", measured)
    assert told["taken"] <= limits.OFFERS_PER_ADDRESS_BURST + limits.OFFERS_OF_MANY_PER_S * (lasted_s + 1)
    # 98 % and 50 ms are for a server that has its two cores for itself.
    assert seen >= 0.3
    assert told["refused_p50_ms"] <= 200
