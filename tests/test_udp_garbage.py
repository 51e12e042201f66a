"""Packets that are none, at the port of a viewer's connection: the stream goes on."""

from __future__ import annotations

import asyncio
import logging
import random
import re
import socket
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from support.promises import long_form
from support.served import MODEL, served
from support.visitor import Visitor

#: How a packet begins decides who reads it (RFC 7983): STUN, DTLS, TURN channels, RTP and RTCP, or nobody.
FIRST = (0, 1, 20, 22, 23, 64, 128, 144, 191, 200, 255)
#: A STUN binding request, a DTLS ClientHello, an RTP packet with a huge extension, and a receiver report.
BASES = (
    bytes.fromhex("0001 0008 2112a442") + bytes(12) + bytes.fromhex("0006 0004 61626364"),
    bytes.fromhex("16fefd 0000 000000000000 0040 01 000034 0000 000000 000034 fefd") + bytes(52),
    bytes.fromhex("9060 0001 00000001 00000001 bede ffff") + bytes(60),
    bytes.fromhex("81c9 0007 00000001 00000001") + bytes(24),
)


def packet(choose: random.Random) -> bytes:
    if choose.random() < 0.5:
        return bytes([choose.choice(FIRST)]) + choose.randbytes(choose.randrange(1_200))
    mutant = bytearray(choose.choice(BASES))
    for _ in range(choose.randrange(5)):
        mutant[choose.randrange(1, len(mutant))] = choose.randrange(256)
    return bytes(mutant)


@pytest.mark.slow
async def test_garbage_at_the_media_port_does_not_interrupt_the_stream(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, record_property: Callable[[str, object], None]
) -> None:
    count = long_form(10_000, 100_000)
    choose = random.Random(27)
    async with served(tmp_path, MODEL) as runtime, Visitor(runtime.url) as visitor:
        await visitor.start()
        await visitor.watch(30)
        answer = (await visitor.http.get(visitor._params)).json()["sdp_answer"]
        targets = re.findall(r"a=candidate:\S+ 1 udp \d+ (\d+\.\d+\.\d+\.\d+) (\d+) typ host", answer)
        assert targets

        quiet_from_s = time.monotonic()
        await asyncio.sleep(2)
        logged, from_s = len(caplog.records), time.monotonic()
        quiet = np.diff([at for at in visitor.frame_times if at >= quiet_from_s])

        def send() -> None:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                for number in range(count):
                    address, port = targets[number % len(targets)]
                    sender.sendto(packet(choose), (address, int(port)))
                    if number % 20 == 0:
                        time.sleep(0.004)

        sending = asyncio.create_task(asyncio.to_thread(send))
        while not sending.done():
            visitor.ping()  # whoever says nothing for twenty seconds is gone
            await asyncio.sleep(0.5)
        took_s = time.monotonic() - from_s
        await visitor.see(10)
        gaps = np.diff([at for at in visitor.frame_times if at >= from_s])
        lines = sum(record.levelno >= logging.INFO for record in caplog.records[logged:])
    record_property("measured", f"{count} packets in {took_s:.1f} s, longest gap {gaps.max() * 1000:.0f} ms")
    # 200 ms on a quiet machine; this process also decodes what it watches and makes the garbage.
    assert gaps.max() <= max(0.4, 2 * quiet.max()), (gaps.max(), quiet.max())
    assert len(gaps) / took_s >= 0.7 * len(quiet) / 2
    assert lines <= 10 * max(took_s, 1)
