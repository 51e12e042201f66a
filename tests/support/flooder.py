"""A client that sends too much, in a process of its own.

    with flooding(server.url, "commands", count=10_000, rate_per_s=10_000) as flood:
        flood.begin()
        flood.until_done()

It joins the running session and waits for `begin`. What it may send:

commands    small commands of one name, at `rate_per_s`
tiny        messages of one byte
oversize    messages of 8 MB each, whatever the answer announced
unfinished  one message that goes on for `count` MB and never ends
offers      offers of connections that never come about, and starts of sessions, at `rate_per_s`, over HTTP
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import httpx

Kind = Literal["commands", "tiny", "oversize", "unfinished", "offers"]
#: A server that takes no more of a message leaves the rest here, which is as good as done.
GIVE_UP_S = 4.0


class Flood:
    """A flooder that is connected."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def begin(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("begin\n")
        self.process.stdin.flush()

    def until_done(self) -> dict[str, float]:
        """Wait until everything was taken, or no more is; return how many, in how long."""
        assert self.process.stdout is not None
        told: dict[str, float] = json.loads(self.process.stdout.readline())
        return told


@contextmanager
def flooding(url: str, kind: Kind, *, count: int, rate_per_s: float = 0) -> Iterator[Flood]:
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__)), url, kind, str(count), str(rate_per_s)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[1],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "connected\n"
        yield Flood(process)
    finally:
        process.kill()
        process.communicate()


# The process --------------------------------------------------------------------------------------------


async def _begun() -> None:
    print("connected", flush=True)
    await asyncio.to_thread(sys.stdin.readline)


async def _done(count: int, began_s: float, **figures: float) -> None:
    print(json.dumps({"count": count, "took_s": time.monotonic() - began_s, **figures}), flush=True)
    await asyncio.Event().wait()


async def _fast(url: str, payload: Callable[[int], str], count: int, rate_per_s: float) -> None:
    """libwebrtc sends ten times as fast as aiortc."""
    import reactor_webrtc as rw

    from support.clients import LibwebrtcViewer

    factory = rw.PeerConnectionFactoryBuilder().build()
    async with httpx.AsyncClient(base_url=url, timeout=20) as http, LibwebrtcViewer(factory) as viewer:
        path = f"/sessions/{(await http.get('/session')).json()['session_id']}/transport/webrtc/connections"
        params = f"{path}/{(await http.post(path, json={})).json()['connection_id']}/sdp_params"
        offer = await viewer.offer()
        ours = "".join(
            f"a={each.candidate}\r\n" for each in await viewer.candidates() if each.sdp_mline_index == 0
        )
        offer = offer.replace("a=mid:0\r\n", f"a=mid:0\r\n{ours}", 1)
        body = {"sdp_offer": offer, "client_info": {}, "track_mapping": []}
        (await http.post(params, json=body)).raise_for_status()
        await viewer.accept((await http.get(params)).json()["sdp_answer"])
        await viewer.wait(lambda: len(viewer.opened) == 2)
        await _begun()
        channel, began_s, sent = viewer.channels["data"], time.monotonic(), 0
        while sent < count:
            due = count if not rate_per_s else min(count, int((time.monotonic() - began_s) * rate_per_s) + 1)
            while sent < due and channel.buffered_amount() < 1_000_000:
                channel.send(payload(sent).encode(), False)
                sent += 1
            viewer.messages.clear()
            await asyncio.sleep(0.001)
        await _done(sent, began_s)


async def _raw(url: str, count: int, *, finish: bool) -> None:
    """aiortc can be told to send what no client should."""
    from support.visitor import Visitor

    async with Visitor(url) as visitor:
        await visitor.adopt()
        await visitor.connect()
        assert visitor._pc is not None
        sctp: Any = visitor._pc.sctp
        sctp._remote_max_message_size = 0
        await _begun()
        began_s = time.monotonic()
        if finish:
            for _ in range(count):
                visitor.send("data", b"x" * 8_000_000)
        else:
            await _send_without_end(sctp, visitor._channels["data"].id, count * 1_000_000)
        while sctp._outbound_queue and time.monotonic() - began_s < GIVE_UP_S and not visitor.lost:
            await asyncio.sleep(0.01)
        await _done(count, began_s)


async def _send_without_end(sctp: Any, stream_id: int, size: int) -> None:
    await sctp._send(stream_id, 53, bytes(size))
    sctp._outbound_queue[-1].flags &= ~1  # RFC 9260, section 3.3.1: the E bit ends a message


async def _offers(url: str, count: int, rate_per_s: float) -> None:
    """Each of eight workers offers again and again under an id of its own; each fourth time it starts a session."""
    offer = (Path(__file__).parents[1] / "data" / "chromium-offer.sdp").read_bytes().decode()
    body = {"sdp_offer": offer, "client_info": {}, "track_mapping": []}
    refused_s: list[float] = []
    taken = sent = 0
    async with httpx.AsyncClient(base_url=url, timeout=20) as http:
        path = f"/sessions/{(await http.get('/session')).json()['session_id']}/transport/webrtc/connections"
        ids = []
        for n in range(40):
            # One address registers more slowly than that.
            answer = await http.post(path, json={}, headers={"X-Forwarded-For": f"192.0.2.{n}"})
            ids.append(answer.json()["connection_id"])
        await _begun()
        began_s = time.monotonic()

        async def work() -> None:
            nonlocal sent, taken
            while sent < count:
                number, sent = sent, sent + 1
                await asyncio.sleep(began_s + number / rate_per_s - time.monotonic())
                asked_s = time.monotonic()
                if number % 4 == 0:
                    answer = await http.post("/start_session", json={})
                else:
                    answer = await http.put(f"{path}/{ids[number % len(ids)]}/sdp_params", json=body)
                if answer.status_code in (409, 429, 503):
                    refused_s.append(time.monotonic() - asked_s)
                else:
                    assert answer.status_code == 202, answer.text
                    taken += 1

        await asyncio.gather(*(work() for _ in range(8)))
    refused_s.sort()
    figures = {f"refused_p{at}_ms": refused_s[len(refused_s) * at // 100] * 1000 for at in (50, 95)}
    await _done(sent, began_s, taken=taken, **figures)


async def _main(url: str, kind: Kind, count: int, rate_per_s: float) -> None:
    command = (
        '{"scope":"application","data":{"type":"note","data":{"number":1},"request_id":"%d","uploads":{}}}'
    )
    match kind:
        case "commands":
            await _fast(url, lambda number: command % number, count, rate_per_s)
        case "tiny":
            await _fast(url, lambda _: "x", count, rate_per_s)
        case "oversize":
            await _raw(url, count, finish=True)
        case "unfinished":
            await _raw(url, count, finish=False)
        case "offers":
            await _offers(url, count, rate_per_s)


if __name__ == "__main__":
    # It stands for another machine, so what it computes is not to be taken from those whom it floods. What it
    # achieves is told all the same.
    os.nice(10)
    asyncio.run(_main(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])))  # type: ignore[arg-type]
