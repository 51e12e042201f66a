"""What aiortc does not offer as API and we need: the only module that reaches into its private names.

    watch_rtcp         hear of keyframe requests, rates and reports
    rtp_timestamp      the RTP timestamp of a sent picture
    bound_gathering    how long a STUN server may take
    bound_reassembly   how much memory an unfinished message may hold

All run on the event loop. The range of aiortc versions in pyproject.toml is what these were tested with.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Coroutine
from typing import Any

from aiortc import RTCRtpSender, clock
from aiortc.rtp import RtcpPsfbPacket, RtcpRrPacket, RtcpSrPacket, unpack_remb_fci

from .. import limits

# RFC 4585 section 6.3, RFC 5104 section 4.3.1; REMB is an application-layer message.
_PLI, _FIR, _APP = 1, 4, 15


def watch_rtcp(
    sender: RTCRtpSender,
    keyframe: Callable[[], None],
    rate: Callable[[int], None],
    report: Callable[[float, float | None], None],
) -> None:
    """Hear of keyframe requests and of REMB before aiortc's own, unused encoder does, and of the receiver's reports.

    A report is the share of packets that were lost since the last one, and the round trip in seconds if it tells.
    """
    handle: Callable[[Any], Coroutine[Any, Any, None]] = sender._handle_rtcp_packet

    async def watch(packet: Any) -> None:
        if isinstance(packet, RtcpPsfbPacket):
            if packet.fmt in (_PLI, _FIR):
                keyframe()
            elif packet.fmt == _APP:
                with contextlib.suppress(ValueError):
                    rate(unpack_remb_fci(packet.fci)[0])
        elif isinstance(packet, RtcpRrPacket | RtcpSrPacket):
            for each in packet.reports:
                if each.ssrc == sender._ssrc:
                    report(each.fraction_lost / 256, _round_trip_s(each.lsr, each.dlsr))
        await handle(packet)

    sender._handle_rtcp_packet = watch  # type: ignore[method-assign]


def _round_trip_s(lsr: int, dlsr: int) -> float | None:
    """RFC 3550 section 6.4.1: the middle of NTP times, in 1/65536 s; of the newest report of ours that it has seen."""
    if not lsr:
        return None
    now = clock.current_ntp_time() >> 16
    return ((now - lsr - dlsr) & 0xFFFF_FFFF) / 65_536


def rtp_timestamp(sender: RTCRtpSender) -> int:
    """Return the timestamp of the last packet sent."""
    timestamp: int = sender._RTCRtpSender__rtp_timestamp  # type: ignore[attr-defined]
    return timestamp


def bound_gathering(transport: Any) -> None:
    """Let a STUN server have GATHER_S; aioice would give an unreachable one five seconds."""
    connection = transport.transport.iceGatherer._connection
    connection.get_component_candidates = functools.partial(
        type(connection).get_component_candidates, connection, timeout=limits.GATHER_S
    )


def bound_reassembly(sctp: Any, give_up: Callable[[], None]) -> None:
    """Stop listening to a sender whose unfinished messages hold more than two of the largest we accept.

    aiortc announces a receive window, and keeps what a sender sends beyond it.
    """
    receive: Callable[[Any], Coroutine[Any, Any, None]] = sctp._receive_data_chunk
    window: int = sctp._advertised_rwnd

    async def bounded(chunk: Any) -> None:
        if window - sctp._advertised_rwnd > 2 * limits.MESSAGE_MAX_BYTES:
            sctp._receive_data_chunk = _ignore
            give_up()
            return
        await receive(chunk)

    sctp._receive_data_chunk = bounded


async def _ignore(_: Any) -> None:
    return
