"""Measure the stream over bad networks: `python -m benchmarks.network`, JSON and a table out. Needs root and TUN.

    python -m benchmarks.network                    one thing at a time: loss, round trip, jitter, rate; 15 minutes
    python -m benchmarks.network --full             every combination of them, hours
    python -m benchmarks.network --only "loss 3"    rows whose name holds the text
    python -m benchmarks.network --peers page       the page only

A server of each engine and its clients are at both ends of `tests/net/relay.py`, one client after the other, each in
a session of its own:

    page        the control page in Chromium
    page/aiortc the same page, the server with the engine aiortc
    aiortc      a client of aiortc, as scripts are
    socket      a client over the WebSocket, which acks what it has decoded
    sdk         the published Python client

Ages are of decoded pictures in Python and of displayed ones in a browser, which wait for its next refresh. The table
goes into a file beside the JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from net.clients import looking
from net.line import Conditions
from net.live import end_session, over_there, page
from net.relay import Network, bad_network, missing
from net.watched import TESTCARD, card, first_frame_s, install_probe, row_of, watch
from playwright.async_api import Browser, Error
from rich.console import Console
from support.chromium import WHOLE, chromium

from .__main__ import machine
from .report import table

Column = Callable[[str, Any], object]

PEERS = ("page", "page/aiortc", "aiortc", "socket", "sdk")
LOSSES = (0.0, 0.01, 0.03, 0.05, 0.1)
TRIPS_MS = (0, 50, 100, 150, 300)
JITTERS_MS = (0, 10, 30)
RATES_MBIT = (0.0, 4.0, 1.0, 0.5)
WARM_UP_S = 3.0


def name_of(conditions: Conditions) -> str:
    """Say in words what is bad about a line."""
    words = [f"loss {conditions.loss:.0%}"] if conditions.loss else []
    words += [f"rtt {2 * conditions.delay_ms:g} ms"] if conditions.delay_ms else []
    words += [f"jitter {conditions.jitter_ms:g} ms"] if conditions.jitter_ms else []
    words += [f"rate {conditions.rate_bit_s / 1e6:g} Mbit/s"] if conditions.rate_bit_s else []
    return ", ".join(words) or "nothing"


def rows(*, full: bool) -> Iterator[Conditions]:
    """Yield the lines to measure; both directions are alike."""
    if full:
        for loss, trip, jitter, rate in itertools.product(LOSSES, TRIPS_MS, JITTERS_MS, RATES_MBIT):
            yield Conditions(loss=loss, delay_ms=trip / 2, jitter_ms=jitter, rate_bit_s=rate * 1e6)
        return
    for trip in TRIPS_MS:
        yield Conditions(delay_ms=trip / 2)
    for loss in LOSSES[1:]:
        yield Conditions(loss=loss, delay_ms=50)
    for jitter in JITTERS_MS[1:]:
        yield Conditions(jitter_ms=jitter, delay_ms=25)
    for rate in RATES_MBIT[1:]:
        yield Conditions(rate_bit_s=rate * 1e6, delay_ms=25)


async def measure(options: argparse.Namespace, console: Console) -> dict[str, Any]:
    found: dict[str, dict[str, Any]] = {}
    engines = {"aiortc" if "/" in peer else "reactor" for peer in options.peers}
    with bad_network() as net:
        async with AsyncExitStack() as stack:
            browser = await stack.enter_async_context(chromium(executable=net.wrapper("client", WHOLE)))
            runs = {
                engine: await stack.enter_async_context(
                    over_there(net, TESTCARD, *card(), "--engine", engine)
                )
                for engine in sorted(engines)
            }
            for conditions in rows(full=options.full):
                name = name_of(conditions)
                if options.only not in name:
                    continue
                found[name] = {}
                for peer in options.peers:
                    run = runs["aiortc" if "/" in peer else "reactor"]
                    net.become(conditions)
                    try:
                        if peer.startswith("page"):
                            row = await _page(browser, run.url, options.window_s)
                        else:
                            row = await _client(net, peer, run.url, options.window_s)
                    except (TimeoutError, OSError, AssertionError, Error) as error:
                        row = {"failed": str(error).partition("\n")[0] or type(error).__name__}
                    net.become(Conditions())
                    await asyncio.to_thread(end_session, net, run)
                    found[name][peer] = row
                    console.print(f"[dim]{name}  {peer}  {row}[/dim]")
            version = browser.version
    return {"machine": machine(version), "window_s": options.window_s, "rows": found}


async def _page(browser: Browser, url: str, window_s: float) -> dict[str, Any]:
    async with page(browser, url) as watcher:
        await install_probe(watcher)
        began_s = await first_frame_s(watcher)
        await asyncio.sleep(WARM_UP_S)
        row = await watch(watcher, window_s)
    return {"first_frame_s": round(began_s, 3), **row.as_json()}


async def _client(net: Network, peer: str, url: str, window_s: float) -> dict[str, Any]:
    async with looking(net, "client", peer, url) as client:
        began_s = await client.began
        await asyncio.sleep(WARM_UP_S)
        from_ms = time.time() * 1000
        await asyncio.sleep(window_s)
    row = row_of([each for each in await client.seen if each.at_ms >= from_ms], window_s)
    return {"first_frame_s": round(began_s, 3), **row.as_json()}


def tables(result: dict[str, Any]) -> str:
    flat = {f"{name} | {peer}": row for name, peers in result["rows"].items() for peer, row in peers.items()}

    def number(key: str, digits: int = 0) -> Column:
        return lambda _, row: f"{row[key]:.{digits}f}" if key in row else "failed"

    return table(
        {
            "line | peer": lambda name, row: name,
            "first frame s": number("first_frame_s", 2),
            "shown %": lambda _, row: f"{row['shown']:.0%}" if "shown" in row else "–",
            "freeze ms": number("freeze_ms"),
            "age p50 ms": number("age_p50_ms"),
            "age p95 ms": number("age_p95_ms"),
            "fps": number("fps", 1),
        },
        flat,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--full", action="store_true", help="every combination")
    parser.add_argument("--only", default="", help="only rows whose name holds this text")
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS))
    parser.add_argument("--window-s", type=float, default=6.0)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "network.json")
    options = parser.parse_args()
    if why := missing():
        sys.exit(why)
    console = Console(stderr=True)
    began_s = time.monotonic()
    result = asyncio.run(measure(options, console))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1) + "\n")
    told = tables(result)
    options.out.with_suffix(".md").write_text(told + "\n")
    Console().print(told, soft_wrap=True, markup=False, highlight=False)
    console.print(f"[dim]{options.out}, {(time.monotonic() - began_s) / 60:.0f} minutes[/dim]")


if __name__ == "__main__":
    main()
