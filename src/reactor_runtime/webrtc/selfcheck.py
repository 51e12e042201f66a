"""Do the native media libraries work on this machine? Asked by `reactor doctor`.

The loopback exercises what usually fails on a strange machine: the library's load, gathering on a
network interface, UDP between two sockets, DTLS and SCTP. Encoders are opened, not only looked up: a
wheel lists NVENC also where there is no GPU.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from fractions import Fraction

from .. import limits
from ..errors import EncoderFailed, PeerFailed


async def connect_loopback(*, timeout_s: float) -> float:
    """Connect two peers and return how many seconds it took. Raises PeerFailed with what went wrong."""
    try:
        return await asyncio.wait_for(_connect(), timeout_s)
    except ImportError as error:
        raise PeerFailed(f"the engine cannot be loaded: {error}") from error
    except TimeoutError:
        raise PeerFailed(
            f"two peers on this machine did not meet within {timeout_s:g} s: no network interface is up, "
            "or a firewall drops UDP between local addresses"
        ) from None
    except (RuntimeError, OSError, ValueError) as error:
        raise PeerFailed(f"the engine failed: {error}") from error


def usable_encoders(names: Sequence[str]) -> tuple[str, ...]:
    """Return those FFmpeg encoders that open on this machine. Raises EncoderFailed without FFmpeg."""
    try:
        import av
    except ImportError as error:
        raise EncoderFailed(f"PyAV cannot be loaded: {error}") from error

    usable = []
    for name in names:
        try:
            context = av.CodecContext.create(name, "w")
            if not isinstance(context, av.VideoCodecContext):
                continue
            context.width, context.height, context.pix_fmt = 640, 480, "yuv420p"
            context.time_base = Fraction(1, 30)
            context.open()
        except (av.error.FFmpegError, ValueError):
            continue
        usable.append(name)
    return tuple(usable)


async def _connect() -> float:
    import reactor_webrtc as rtc

    loop = asyncio.get_running_loop()
    opened = asyncio.Event()
    factory = rtc.PeerConnectionFactory()
    started_s = time.monotonic()

    def observe(candidates: asyncio.Queue[rtc.IceCandidate]) -> rtc.PeerConnectionObserver:
        def found(candidate: rtc.IceCandidate) -> None:  # on the engine's thread
            loop.call_soon_threadsafe(candidates.put_nowait, candidate)

        observer = rtc.PeerConnectionObserver()
        observer.on_ice_candidate = found
        return observer

    def channel_open() -> None:  # on the engine's thread
        loop.call_soon_threadsafe(opened.set)

    async def forward(candidates: asyncio.Queue[rtc.IceCandidate], to: rtc.PeerConnection) -> None:
        while True:
            await to.add_ice_candidate(await candidates.get())

    from_caller: asyncio.Queue[rtc.IceCandidate] = asyncio.Queue(limits.EARLY_CANDIDATES)
    from_callee: asyncio.Queue[rtc.IceCandidate] = asyncio.Queue(limits.EARLY_CANDIDATES)
    caller = factory.create_peer_connection(rtc.RtcConfiguration(), observe(from_caller))
    callee = factory.create_peer_connection(rtc.RtcConfiguration(), observe(from_callee))
    channel = caller.create_data_channel("check")
    channel.on_open(channel_open)

    offer = await caller.create_offer()
    await caller.set_local_description(offer)
    await callee.set_remote_description(offer)
    answer = await callee.create_answer()
    await callee.set_local_description(answer)
    await caller.set_remote_description(answer)
    forwarders = [
        asyncio.create_task(forward(from_caller, callee)),
        asyncio.create_task(forward(from_callee, caller)),
    ]
    try:
        await opened.wait()
    finally:
        for task in forwarders:
            task.cancel()
        await asyncio.gather(*forwarders, return_exceptions=True)
    return time.monotonic() - started_s
