"""aiortc: the fallback engine, whose transport is pure Python and runs anywhere.

It takes our encoder's pictures as packets and never encodes itself: its own x264 preset halves the frame
rate. It cannot send the playout-delay extension and has no pacer. Everything runs on the event loop, except
the conversion of input frames. What it does not offer as API is reached in `aio_private`.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any

import av
import cv2
import numpy as np
from aiortc import RTCConfiguration, RTCIceServer, RTCPeerConnection, RTCRtpSender, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from aiortc.sdp import candidate_from_sdp

from .. import limits
from ..errors import OfferRejected, PeerFailed
from ..link import BEATS, LinkEvents, LinkState
from ..types import Codec, EncodedFrame, Track
from .aio_private import bound_gathering, bound_reassembly, rtp_timestamp, watch_rtcp
from .aio_track import PacketTrack
from .candidate import RemoteCandidates
from .handshake import ENGINE_S, Handshake
from .lost_packets import LostPackets
from .offer import Plan, complete_answer, plan_offer
from .peer import RTP_TIMESTAMP, Candidate, IceServer, TrackMapping
from .reach import Reach

log = logging.getLogger(__name__)

DECODES = ("vp8", "h264")
_STATES = {
    "new": LinkState.CONNECTING,
    "connecting": LinkState.CONNECTING,
    "connected": LinkState.CONNECTED,
    "disconnected": LinkState.INTERRUPTED,
    "failed": LinkState.LOST,
    "closed": LinkState.LOST,
}
#: aioice gives up when it knows no address to check, although a browser that hides its own behind mDNS
#: will send checks itself. So it gets the address that RFC 7600 sets aside for nothing to answer at.
_NOWHERE = "candidate:0 1 udp 1 192.0.0.8 9 typ host"


class AiortcEngine:
    """Makes aiortc peers. Made and used on the event loop; owns no threads."""

    def __init__(self, reach: Reach) -> None:
        self.reach = reach
        self._peers: set[AiortcPeer] = set()

    async def probe(self, ice_servers: Sequence[IceServer]) -> None:
        """aiortc gathers within a bound of ours (`aio_private`), so there is nothing to learn."""

    def create(
        self,
        events: LinkEvents,
        tracks: Sequence[Track],
        *,
        codecs: Sequence[Codec],
        ice_servers: Sequence[IceServer] = (),
    ) -> AiortcPeer:
        peer = AiortcPeer(self, events, tracks, codecs=codecs, ice_servers=ice_servers)
        self._peers.add(peer)
        return peer

    def forget(self, peer: AiortcPeer) -> None:
        self._peers.discard(peer)

    async def close(self) -> None:
        await asyncio.gather(*(peer.close() for peer in list(self._peers)))


class AiortcPeer:
    """One viewer's aiortc connection."""

    def __init__(
        self,
        engine: AiortcEngine,
        events: LinkEvents,
        tracks: Sequence[Track],
        *,
        codecs: Sequence[Codec],
        ice_servers: Sequence[IceServer],
    ) -> None:
        self._engine = engine
        self._events = events
        self._model_tracks = tuple(tracks)
        self._codecs = tuple(codecs)
        self._ice_servers = tuple(ice_servers)
        self._loop = asyncio.get_running_loop()
        self._state = LinkState.CONNECTING
        self._closed = False
        self._answer = ""
        self._plan: Plan | None = None
        self._pc: RTCPeerConnection | None = None
        self._handshake = Handshake()
        self._outbound: dict[str, PacketTrack] = {}
        self._channels: dict[str, Any] = {}
        self._receiving: list[asyncio.Task[None]] = []
        self._early: list[Candidate] | None = []
        self._remote = RemoteCandidates()
        self.oversize_messages = 0

    @property
    def state(self) -> LinkState:
        return self._state

    @property
    def codecs(self) -> Mapping[str, Codec]:
        return self._plan.codecs if self._plan else {}

    # Signalling ------------------------------------------------------------------------------------

    async def answer(self, offer_sdp: str, mapping: Sequence[TrackMapping]) -> str:
        if self._plan is not None or self._closed:
            raise OfferRejected("this connection has already had its offer; open another connection")
        plan = plan_offer(offer_sdp, mapping, self._model_tracks, codecs=self._codecs, decodes=DECODES)
        self._plan = plan
        for line in plan.offer_sdp.split("\r\n"):
            if line.startswith("a=candidate:"):
                self._remote.admit(line)
        try:
            servers = [RTCIceServer(list(s.urls), s.username, s.password) for s in self._ice_servers]
            pc = self._pc = RTCPeerConnection(RTCConfiguration(iceServers=servers))
        except Exception as error:
            raise PeerFailed(f"the WebRTC engine made no connection: {error}") from error
        pc.on("connectionstatechange", lambda: self._state_changed(pc.connectionState))
        pc.on("datachannel", self._data_channel)
        pc.on("track", self._remote_track)
        answer = complete_answer(await self._handshake.run(self._negotiate(pc, plan)), ())
        self._answer = self._engine.reach.complete(answer)
        return self._answer

    async def _negotiate(self, pc: RTCPeerConnection, plan: Plan) -> str:
        try:
            await self._apply(pc, plan)
        except OfferRejected:
            raise
        except Exception as error:  # aiortc's parser raises seven builtin types for bad input
            raise OfferRejected(f"the offer cannot be applied: {type(error).__name__}") from error
        answer: str = pc.localDescription.sdp
        return answer

    async def _apply(self, pc: RTCPeerConnection, plan: Plan) -> None:
        await pc.setRemoteDescription(RTCSessionDescription(plan.offer_sdp, "offer"))
        for transceiver in pc.getTransceivers():
            track = plan.tracks.get(transceiver.mid or "")
            if track is None or track.kind != "video":
                transceiver.direction = "inactive"
            elif track.direction == "in":
                transceiver.direction = "recvonly"
            else:
                transceiver.direction = "sendonly"
                transceiver.sender.replaceTrack(self._open_track(track.name, transceiver.sender))
            bound_gathering(transceiver.receiver.transport)
        if pc.sctp is not None:
            bound_gathering(pc.sctp.transport)
            bound_reassembly(pc.sctp, lambda: self._fail("an unfinished message holds too much memory"))
        await pc.setLocalDescription(await pc.createAnswer())
        early, self._early = self._early or [], None
        for candidate in [Candidate(_NOWHERE, "0", 0), *early]:
            await self._add(pc, candidate)

    def _open_track(self, name: str, sender: RTCRtpSender) -> PacketTrack:
        def keyframe() -> None:
            if not self._closed:
                self._events.keyframe_wanted(name)

        lost_packets = LostPackets(time.monotonic())

        def rate(bits_per_s: int) -> None:
            if not self._closed:
                self._events.bitrate_changed(name, int(min(bits_per_s, lost_packets.most)))

        def sent(frame: EncodedFrame) -> None:
            if not self._closed:
                self._events.frame_sent(name, frame.frame_id, {RTP_TIMESTAMP: rtp_timestamp(sender)})

        def remb(bits_per_s: int) -> None:
            track.told = True
            rate(bits_per_s)

        def report(lost: float, round_trip_s: float | None) -> None:
            now_s = time.monotonic()
            if round_trip_s is not None:
                lost_packets.reported(lost=lost, round_trip_s=round_trip_s, now_s=now_s)
            if not track.told and (sent := track.sent_bits_per_s()):
                told = track.rate.reported(
                    lost=lost, round_trip_s=round_trip_s, sent_bits_per_s=sent, now_s=now_s
                )
                rate(told)

        watch_rtcp(sender, keyframe, remb, report)
        track = self._outbound[name] = PacketTrack(keyframe, sent)
        return track

    async def add_candidate(self, candidate: Candidate) -> None:
        if self._closed or not self._remote.admit(candidate.candidate):
            return
        if self._early is not None:
            self._early.append(candidate)
        elif self._pc is not None:
            await self._add(self._pc, candidate)

    async def _add(self, pc: RTCPeerConnection, candidate: Candidate) -> None:
        try:
            parsed = candidate_from_sdp(candidate.candidate.removeprefix("a=").removeprefix("candidate:"))
            # Everything is bundled, so the transport of the first section is the transport of all.
            parsed.sdpMid, parsed.sdpMLineIndex = self._carrier(), None
            await pc.addIceCandidate(parsed)
        except Exception as error:
            raise OfferRejected(f"the candidate cannot be used: {type(error).__name__}") from error

    def _carrier(self) -> str:
        from . import sdp

        assert self._plan is not None
        return sdp.parse(self._plan.offer_sdp).bundled()[0]

    # State -----------------------------------------------------------------------------------------

    def _state_changed(self, name: str) -> None:
        self._enter(_STATES[name])

    def _fail(self, reason: str) -> None:
        log.warning("closing a peer: %s", reason)
        self._enter(LinkState.LOST)

    def _enter(self, state: LinkState) -> None:
        if not self._closed and state is not self._state and self._state is not LinkState.LOST:
            self._state = state
            if state is LinkState.CONNECTED:  # the first picture is already to be of a size for this
                for name, track in self._outbound.items():
                    self._events.bitrate_changed(name, track.rate.bits_per_s)
            self._events.link_state(state)

    # Media -----------------------------------------------------------------------------------------

    def send_frame(self, track: str, frame: EncodedFrame, *, report: bool = False) -> None:
        outbound = self._outbound.get(track)
        if outbound is not None and self._state is LinkState.CONNECTED and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(outbound.put, frame, report)

    def _remote_track(self, remote: MediaStreamTrack) -> None:
        assert self._plan is not None
        assert self._pc is not None
        transceiver = next(t for t in self._pc.getTransceivers() if t.receiver.track is remote)
        track = self._plan.tracks.get(transceiver.mid or "")
        if track is not None and track.kind == "video" and track.direction == "in":
            self._receiving.append(self._loop.create_task(self._receive(track.name, remote)))

    async def _receive(self, name: str, remote: MediaStreamTrack) -> None:
        while not self._closed:
            try:
                frame = await remote.recv()
            except MediaStreamError:
                return
            if isinstance(frame, av.VideoFrame):
                await asyncio.to_thread(self._deliver, name, frame)

    def _deliver(self, name: str, frame: av.VideoFrame) -> None:
        rgb = np.empty((frame.height, frame.width, 3), np.uint8)
        cv2.cvtColor(frame.to_ndarray(format="yuv420p"), cv2.COLOR_YUV2RGB_I420, dst=rgb)
        if not self._closed:
            self._events.input_frame(name, rgb)

    # Data channels ---------------------------------------------------------------------------------

    def _data_channel(self, channel: Any) -> None:
        """Whatever is not `control` counts as `data`; the first of each stays."""
        label = channel.label if channel.label in ("control", BEATS) else "data"
        if label in self._channels:
            channel.close()
            return
        self._channels[label] = channel
        channel.on("message", functools.partial(self._message, label))
        self._events.channel_open(label)

    def _message(self, label: str, data: str | bytes) -> None:
        if self._closed:
            return
        size = len(data.encode()) if isinstance(data, str) else len(data)
        if size > limits.MESSAGE_MAX_BYTES:
            self.oversize_messages += 1
            return
        self._events.channel_message(label, data)

    def send(self, label: str, data: str | bytes) -> bool:
        channel = self._channels.get(label)
        if channel is None or self._closed or channel.readyState != "open":
            return False
        if channel.bufferedAmount + len(data) > limits.CHANNEL_BUFFER_MAX_BYTES:
            return False
        try:
            channel.send(data)
        except Exception:  # too large for the other side, or closing
            return False
        return True

    # Numbers and the end ---------------------------------------------------------------------------

    async def stats(self) -> dict[str, float]:
        if self._pc is None or self._closed:
            return {}
        outbound = self._outbound.values()
        numbers: dict[str, float] = {
            "framesDropped": sum(track.dropped for track in outbound),
            "framesQueued": sum(track.queued for track in outbound),
        }
        for entry in (await self._pc.getStats()).values():
            if entry.type == "outbound-rtp":
                numbers["bytesSent"] = numbers.get("bytesSent", 0) + entry.bytesSent
                numbers["packetsSent"] = numbers.get("packetsSent", 0) + entry.packetsSent
            elif entry.type == "remote-inbound-rtp":
                numbers["packetsLost"] = numbers.get("packetsLost", 0) + entry.packetsLost
                if entry.roundTripTime is not None:
                    numbers["currentRoundTripTime"] = entry.roundTripTime
        return numbers

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._state = LinkState.LOST
        if self._answer:
            self._engine.reach.forget(self._answer)
        for task in self._receiving:
            task.cancel()
        if self._receiving:
            await asyncio.wait(self._receiving)
        await self._handshake.settle()
        if self._pc is not None:
            try:
                async with asyncio.timeout(ENGINE_S):
                    await self._pc.close()
            except Exception as error:  # its close() raises after some failed negotiations
                log.debug("aiortc did not close cleanly: %r", error)
            self._pc.remove_all_listeners()
        self._channels.clear()
        self._outbound.clear()
        self._pc = None
        self._engine.forget(self)
