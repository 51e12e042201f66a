"""Whether STUN and TURN servers answer, asked of libwebrtc while nobody waits."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import reactor_webrtc as rw

from .peer import IceServer
from .silence import is_from_server

#: How long a STUN or TURN server may take to answer.
PROBE_S = 2.0


def configuration(servers: Sequence[IceServer], ports: range | None = None) -> rw.RtcConfiguration:
    return rw.RtcConfiguration(
        ice_servers=[rw.IceServer(list(s.urls), s.username, s.password) for s in servers],
        bundle_policy=rw.BundlePolicy.MaxBundle,
        min_port=ports.start if ports else 0,
        max_port=ports.stop - 1 if ports else 0,
    )


async def anyone_answers(factory: rw.PeerConnectionFactory, servers: Sequence[IceServer]) -> bool:
    """Gather for nobody, until a server has answered or PROBE_S are over."""
    answered = asyncio.Event()
    loop = asyncio.get_running_loop()

    def look(candidate: rw.IceCandidate) -> None:
        if is_from_server(candidate.candidate):
            loop.call_soon_threadsafe(answered.set)

    observer = rw.PeerConnectionObserver()
    observer.on_ice_candidate = look
    pc = factory.create_peer_connection(configuration(servers), observer)
    # Whoever is cancelled here keeps a traceback with this frame, which must not keep the factory alive.
    del factory
    channel = pc.create_data_channel("probe")
    try:
        await pc.set_local_description(await pc.create_offer())
        async with asyncio.timeout(PROBE_S):
            await answered.wait()
    except TimeoutError:
        return False
    else:
        return True
    finally:
        observer.on_ice_candidate = None
        held: list[object] = [channel, pc]
        del channel, pc
        # Letting go waits for libwebrtc's threads, which may wait for the GIL: see `reactor.py`.
        await asyncio.to_thread(held.clear)
