"""Viewers in Python, for tests and benchmarks: they offer, and decode what they are sent.

    async with PythonViewer(sending=True) as viewer:
        answer = await peer.answer(await viewer.offer(), viewer.mapping)
        await viewer.accept(answer)
        await viewer.wait(lambda: len(viewer.numbers) >= 60)

PythonViewer     aiortc: H.264 and VP8, both channels, sends video. Shows a picture when the next one arrives.
LibwebrtcViewer  `reactor-webrtc`: VP8 and both channels, receives only; reads the frame trailer. Needs the
                 process's only factory, so a test of ReactorEngine passes `engine.factory`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import aiortc
import av
import cv2
import numpy as np
import reactor_webrtc as rw
from aiortc.mediastreams import MediaStreamError, VideoStreamTrack

from reactor_runtime.types import MAIN_VIDEO, WEBCAM, Pixels
from reactor_runtime.webrtc.peer import TrackMapping

from .stamps import read_stamp


class _Viewer:
    """What both have: what arrived, and how to wait for it."""

    def __init__(self) -> None:
        self.mapping = [TrackMapping("0", MAIN_VIDEO)]
        self.numbers: list[int | None] = []
        """The stamp of each decoded picture."""
        self.sizes: list[tuple[int, int]] = []
        """Their widths and heights, where it is known."""
        self.messages: list[tuple[str, str | bytes]] = []
        self.opened: set[str] = set()
        self.state = ""

    async def wait(self, condition: Callable[[], object], *, within_s: float = 15) -> None:
        """Wait until the condition holds; TimeoutError after `within_s`."""
        async with asyncio.timeout(within_s):
            while not condition():  # any condition, not only one that sets an event
                await asyncio.sleep(0.01)

    def readable(self) -> list[int]:
        return [number for number in self.numbers if number is not None]


class _Camera(VideoStreamTrack):
    """A red picture, 30 times a second."""

    async def recv(self) -> av.VideoFrame:
        pts, time_base = await self.next_timestamp()
        picture = np.zeros((240, 320, 3), np.uint8)
        picture[:] = (220, 30, 40)
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        frame.pts, frame.time_base = pts, time_base
        return frame


class PythonViewer(_Viewer):
    def __init__(
        self, *, sending: bool = False, codec: str = "", labels: tuple[str, ...] = ("control", "data")
    ) -> None:
        super().__init__()
        self.pc = aiortc.RTCPeerConnection(aiortc.RTCConfiguration(iceServers=[]))
        receiving = self.pc.addTransceiver("video", direction="recvonly")
        if codec:
            known = aiortc.RTCRtpReceiver.getCapabilities("video")
            assert known is not None
            receiving.setCodecPreferences([c for c in known.codecs if c.mimeType.lower() == f"video/{codec}"])
        if sending:
            self.mapping.append(TrackMapping("1", WEBCAM))
            self.pc.addTransceiver(_Camera(), direction="sendonly")
        self.channels = {label: self._open(label) for label in labels}
        self._watching: asyncio.Task[None] | None = None
        self.pc.on("track", self._track)
        self.pc.on("connectionstatechange", self._state)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def offer(self) -> str:
        await self.pc.setLocalDescription(await self.pc.createOffer())
        sdp: str = self.pc.localDescription.sdp
        return sdp

    async def accept(self, answer: str) -> None:
        await self.pc.setRemoteDescription(aiortc.RTCSessionDescription(answer, "answer"))

    async def ask_keyframe(self) -> None:
        """Send a picture loss indication for the received track."""
        receiver = self.pc.getTransceivers()[0].receiver
        for ssrc in list(receiver._RTCRtpReceiver__active_ssrc):  # type: ignore[attr-defined]
            await receiver._send_rtcp_pli(ssrc)

    def send(self, label: str, data: str | bytes) -> None:
        self.channels[label].send(data)

    async def close(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait([self._watching])
        await self.pc.close()

    def _open(self, label: str) -> Any:
        channel = self.pc.createDataChannel(label)
        channel.on("open", lambda: self.opened.add(label))
        channel.on("message", lambda data: self.messages.append((label, data)))
        return channel

    def _track(self, track: Any) -> None:
        if self._watching is None:
            self._watching = asyncio.ensure_future(self._watch(track))

    async def _watch(self, track: Any) -> None:
        with contextlib.suppress(MediaStreamError):
            while True:
                picture = (await track.recv()).to_ndarray(format="rgb24")
                self.numbers.append(read_stamp(picture))
                self.sizes.append((picture.shape[1], picture.shape[0]))

    def _state(self) -> None:
        self.state = self.pc.connectionState


class LibwebrtcViewer(_Viewer):
    def __init__(self, factory: rw.PeerConnectionFactory) -> None:
        super().__init__()
        self.frame_ids: list[int | None] = []
        """The frame id in each decoded picture's trailer."""
        self._loop = asyncio.get_running_loop()
        self._gathered = asyncio.Event()
        self._candidates: list[rw.IceCandidate] = []
        self._tracks: list[rw.Track] = []
        observer = self._observer = rw.PeerConnectionObserver()
        observer.on_track = self._track
        observer.on_ice_candidate = lambda candidate: self._post(self._candidates.append, candidate)
        observer.on_ice_gathering_change = self._gathering
        observer.on_connection_state_change = lambda state: self._post(setattr, self, "state", str(state))
        self._pc: rw.PeerConnection | None = factory.create_peer_connection(rw.RtcConfiguration(), observer)
        self._pc.add_transceiver(rw.MediaKind.Video, rw.TransceiverDirection.RecvOnly)
        self.channels = {label: self._open(label) for label in ("control", "data")}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def pc(self) -> rw.PeerConnection:
        assert self._pc is not None
        return self._pc

    async def offer(self) -> str:
        offer = await self.pc.create_offer()
        await self.pc.set_local_description(offer)
        return offer.sdp

    async def accept(self, answer: str) -> None:
        await self.pc.set_remote_description(rw.SessionDescription("answer", answer))

    async def candidates(self) -> list[rw.IceCandidate]:
        """Return this side's candidates, as a client trickles them."""
        await self._gathered.wait()
        return list(self._candidates)

    def send(self, label: str, data: str | bytes) -> None:
        self.channels[label].send(data.encode() if isinstance(data, str) else data, isinstance(data, bytes))

    async def close(self) -> None:
        for name in ("track", "ice_candidate", "ice_gathering_change", "connection_state_change"):
            setattr(self._observer, f"on_{name}", None)
        for channel in self.channels.values():
            channel.close(0)
        self.channels.clear()
        self._tracks.clear()
        await asyncio.to_thread(self._let_go)

    def _let_go(self) -> None:
        self._pc = None

    def _post(self, call: Callable[..., object], *arguments: object) -> None:
        self._loop.call_soon_threadsafe(call, *arguments)

    def _gathering(self, state: rw.IceGatheringState) -> None:
        if str(state) == str(rw.IceGatheringState.Complete):
            self._post(self._gathered.set)

    def _open(self, label: str) -> rw.DataChannel:
        channel = self.pc.create_data_channel(label)
        channel.on_open(lambda: self._post(self.opened.add, label))
        channel.on_message(
            lambda data, binary: self._post(self.messages.append, (label, data if binary else data.decode()))
        )
        return channel

    def _track(self, kind: rw.MediaKind, track: rw.Track) -> None:
        self._tracks.append(track)
        track.on_video_frame(self._picture)

    def _picture(self, bgra: bytes, width: int, height: int, about: rw.FrameMetadata | None = None) -> None:
        rgb: Pixels = np.empty((height, width, 3), np.uint8)
        cv2.cvtColor(np.frombuffer(bgra, np.uint8).reshape(height, width, 4), cv2.COLOR_BGRA2RGB, dst=rgb)
        self._post(self.frame_ids.append, about.frame_id if about else None)
        self._post(self.numbers.append, read_stamp(rgb))
