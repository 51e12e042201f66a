"""libwebrtc through `reactor-webrtc`: the primary engine.

One factory per process (the library allows no more) owns libwebrtc's three threads and outlives every peer.
Callbacks come on those threads, take the GIL and only post to the event loop, except input frames.

The library has no call that closes a connection: it closes when the last reference to its objects goes. So a
peer owns all of them, and `close` lets go of them on a worker thread, because libwebrtc waits there for its
own threads, which may be waiting for the GIL.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence

import reactor_webrtc as rw

from ..errors import OfferRejected, PeerFailed, SessionRefused
from ..link import LinkEvents, LinkState
from ..tasks import Tasks
from ..types import Codec, EncodedFrame, Track
from . import trailer
from .candidate import RemoteCandidates
from .decoys import Decoys
from .handshake import Handshake
from .offer import Plan, complete_answer, plan_offer
from .peer import RTP_TIMESTAMP, Candidate, IceServer, TrackMapping
from .reach import Reach, name_of
from .reactor_channels import Channels
from .reactor_gathering import Gathering
from .reactor_inputs import Inputs
from .reactor_probe import anyone_answers, configuration
from .reactor_rates import Rates
from .reactor_sender import TrackSender
from .reactor_stats import numbers_of
from .silence import SilentServers

log = logging.getLogger(__name__)

#: What the wheel decodes on Linux, most preferred first.
DECODES = ("vp8", "vp9")

#: Congestion control starts at START and moves between the others. It probes three and six times as much at once, so
#: a good line is known for what it is before the first picture has been seen; what it probes stands in the buffer of a
#: bad one. Measured at 0.5 Mbit/s, from 4 Mbit/s: pictures are 2.1 s late (p95) for the first quarter of a minute; from
#: 1 Mbit/s: 0.35 s.
MIN_BITS_PER_S = 150_000
START_BITS_PER_S = 1_000_000
MAX_BITS_PER_S = 20_000_000
#: How long an encoder may take to appear once a peer is connected.
BIND_S = 2.0

_STATES = {
    str(rw.PeerConnectionState.New): LinkState.CONNECTING,
    str(rw.PeerConnectionState.Connecting): LinkState.CONNECTING,
    str(rw.PeerConnectionState.Connected): LinkState.CONNECTED,
    str(rw.PeerConnectionState.Disconnected): LinkState.INTERRUPTED,
    str(rw.PeerConnectionState.Failed): LinkState.LOST,
    str(rw.PeerConnectionState.Closed): LinkState.LOST,
}


class ReactorEngine:
    """Makes peers over one libwebrtc factory. Made and used on the event loop."""

    def __init__(self, reach: Reach) -> None:
        self.reach = reach
        builder = rw.PeerConnectionFactoryBuilder()
        builder.with_send_playout_delay(0, 0)
        builder.with_receive_playout_delay(0, 0)
        builder.with_dc_callbacks_on_network_thread(True)
        builder.with_sctp_tuning(low_latency=True)
        self._factory: rw.PeerConnectionFactory | None = builder.build()
        self._encoder_lock = asyncio.Lock()
        self._peers: set[ReactorPeer] = set()
        self.silent = SilentServers()
        self.decoys = Decoys()
        # libwebrtc's threads abort the process when they call into an interpreter that is going away.
        atexit.register(self._let_go)

    @property
    def factory(self) -> rw.PeerConnectionFactory:
        """The process's only factory, for a test client in the same process."""
        if self._factory is None:
            raise PeerFailed("the WebRTC engine is closed")
        return self._factory

    @property
    def encoder_lock(self) -> asyncio.Lock:
        """Held while a track of the factory has no encoder yet; see TrackSender.bind."""
        return self._encoder_lock

    async def probe(self, ice_servers: Sequence[IceServer]) -> None:
        """Learn whether these servers answer, by gathering for nobody, for two seconds at most."""
        if not ice_servers:
            return
        self.silent.stayed_silent(ice_servers)
        if await anyone_answers(self.factory, ice_servers):
            self.silent.answered(ice_servers)
        else:
            log.warning("no STUN or TURN server answered; only addresses of this machine are offered")

    def create(
        self,
        events: LinkEvents,
        tracks: Sequence[Track],
        *,
        codecs: Sequence[Codec],
        ice_servers: Sequence[IceServer] = (),
    ) -> ReactorPeer:
        peer = ReactorPeer(self, events, tracks, codecs=codecs, ice_servers=ice_servers)
        self._peers.add(peer)
        return peer

    def forget(self, peer: ReactorPeer) -> None:
        self._peers.discard(peer)

    async def close(self) -> None:
        for peer in list(self._peers):
            await peer.close()
        atexit.unregister(self._let_go)
        await asyncio.to_thread(self._let_go)

    def _let_go(self) -> None:
        for peer in list(self._peers):
            peer.let_go()
        self._factory = None
        self.decoys.close()


class ReactorPeer:
    """One viewer's libwebrtc connection."""

    def __init__(
        self,
        engine: ReactorEngine,
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
        self._pc: rw.PeerConnection | None = None
        self._observer: rw.PeerConnectionObserver | None = None
        self._transceivers: dict[str, rw.Transceiver] = {}
        self._inputs = Inputs(events.input_frame)
        self._channels = Channels(
            lambda label: self._post(events.channel_open, label),
            lambda: self._post(self._channels.deliver, events),
            lambda: self._post(self._enter, LinkState.LOST),
        )
        self._senders: dict[str, TrackSender] = {}
        self._handshake = Handshake()
        self._gathering = Gathering(engine.silent, self._ice_servers)
        self._early: list[Candidate] | None = []
        self._remote = RemoteCandidates()
        self._binding: asyncio.Task[None] | None = None
        self._rates = Rates(
            lambda name, rate: self._if_open(events.bitrate_changed, (name, rate)), self._loop.time
        )
        self._watching = Tasks("a viewer's losses")

    @property
    def oversize_messages(self) -> int:
        return self._channels.oversize

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
        answer = await self._handshake.run(self._negotiate(plan))
        await self._gathering.wait()
        if not self._gathering.candidates and (ports := self._engine.reach.media_ports):
            log.warning("a viewer was refused: every media port of %s is taken", name_of(ports))
            raise SessionRefused(
                "every media port is taken, so no more viewers fit", status=503, retry_after_s=5
            )
        if self._pc is not None:
            await self._slow_down(self._pc)
        self._answer = self._engine.reach.complete(complete_answer(answer, self._gathering.candidates))
        return self._answer

    async def _negotiate(self, plan: Plan) -> str:
        offered = rw.SessionDescription("offer", plan.offer_sdp)
        self._inputs.expect(plan)
        with_trailer = trailer.ATTRIBUTE in plan.offer_sdp.split("\r\n")
        # H.264 is negotiated only while the factory has a track with an encoder of its own. This one keeps
        # the place, and is gone before anyone binds an encoder to the oldest track without one.
        async with self._engine.encoder_lock:
            if self._closed:
                raise OfferRejected("this connection is closed")
            factory = self._engine.factory
            placeholder = factory.create_video_track_with_options("placeholder", pre_encoded=(16, 16))
            try:
                pc = self._connect(factory)
                try:
                    await pc.set_remote_description(offered)
                    for transceiver in await pc.transceivers():
                        await self._direct(plan, transceiver, with_trailer)
                    answer = await pc.create_answer()
                    await pc.set_local_description(answer)
                except RuntimeError as error:
                    raise OfferRejected(f"the offer cannot be applied: {error}") from error
            finally:
                del placeholder
        await pc.set_bitrate(MIN_BITS_PER_S, START_BITS_PER_S, MAX_BITS_PER_S)
        early, self._early = self._early or [], None
        for candidate in early:
            await self._add(pc, candidate)
        return answer.sdp

    def _connect(self, factory: rw.PeerConnectionFactory) -> rw.PeerConnection:
        observer = rw.PeerConnectionObserver()
        observer.on_connection_state_change = lambda state: self._post(self._state_changed, str(state))
        observer.on_ice_candidate = lambda candidate: self._post(self._gathering.found, candidate.candidate)
        observer.on_ice_gathering_change = lambda state: self._post(self._gathering.became, str(state))
        observer.on_data_channel = self._channels.take
        observer.on_track = self._inputs.take
        try:
            pc = factory.create_peer_connection(
                configuration(self._ice_servers, self._engine.reach.media_ports), observer
            )
        except (RuntimeError, ValueError) as error:
            raise PeerFailed(f"the WebRTC engine made no connection: {error}") from error
        self._observer, self._pc = observer, pc
        return pc

    async def _direct(self, plan: Plan, transceiver: rw.Transceiver, with_trailer: bool) -> None:
        """Answer one section: send, receive, or nothing for one that carries no track of the model."""
        mid = transceiver.mid() or ""
        track = plan.tracks.get(mid)
        if track is None or track.kind != "video":
            await transceiver.set_direction(rw.TransceiverDirection.Inactive)
            return
        if track.direction == "in":
            await transceiver.set_direction(rw.TransceiverDirection.RecvOnly)
            return
        await transceiver.set_direction(rw.TransceiverDirection.SendOnly)
        name = track.name
        sender = TrackSender(
            with_trailer=with_trailer,
            on_keyframe=lambda: self._post(self._events.keyframe_wanted, name),
            on_rate=lambda rate: self._post(self._rates.allow, name, rate),
            on_report=lambda frame_id, rtp: self._post(
                self._events.frame_sent, name, frame_id, {RTP_TIMESTAMP: rtp}
            ),
        )
        sender.tap(transceiver)
        self._senders[name] = sender
        self._transceivers[name] = transceiver

    async def _slow_down(self, pc: rw.PeerConnection) -> None:
        """Give the engine addresses of our own to check beside the client's, so that those are checked less."""
        for decoy in self._engine.decoys.candidates(self._gathering.candidates):
            with contextlib.suppress(OfferRejected):  # closed meanwhile
                await self._add(pc, Candidate(decoy))

    async def add_candidate(self, candidate: Candidate) -> None:
        if self._closed or not self._remote.admit(candidate.candidate):
            return
        if self._early is not None:
            self._early.append(candidate)
        elif self._pc is not None:
            await self._add(self._pc, candidate)

    async def _add(self, pc: rw.PeerConnection, candidate: Candidate) -> None:
        text = candidate.candidate.removeprefix("a=")
        # Everything is bundled, so a client that names no section means the first.
        index = 0 if candidate.sdp_mid is None else candidate.sdp_mline_index
        try:
            await pc.add_ice_candidate(rw.IceCandidate(text, candidate.sdp_mid, index))
        except (RuntimeError, ValueError, OverflowError) as error:
            raise OfferRejected(f"the candidate cannot be used: {error}") from error

    # State -----------------------------------------------------------------------------------------

    def _state_changed(self, name: str) -> None:
        state = _STATES[name]
        if state is LinkState.CONNECTED and self._senders and self._binding is None:
            self._binding = self._loop.create_task(self._bind())
        elif state is not LinkState.CONNECTED or self._binding is None or self._binding.done():
            self._enter(state)

    async def _bind(self) -> None:
        """Give each output track its encoder, and only then say that the peer is connected."""
        for name, sender in self._senders.items():
            transceiver = self._transceivers[name]
            try:
                await transceiver.set_send_bitrate(MIN_BITS_PER_S, MAX_BITS_PER_S)
                async with self._engine.encoder_lock:
                    bound = await sender.bind(self._engine.factory, name, transceiver, deadline_s=BIND_S)
            except (RuntimeError, PeerFailed) as error:
                log.error("the WebRTC engine made no encoder for %s: %s", name, error)
                bound = False
            if not bound:
                self._enter(LinkState.LOST)
                return
        self._enter(LinkState.CONNECTED)
        if self._pc is not None:
            self._watching.spawn(self._rates.watch(self._pc.get_stats))

    def _enter(self, state: LinkState) -> None:
        if not self._closed and state is not self._state:
            self._state = state
            self._events.link_state(state)

    def _post(self, call: Callable[..., None], *arguments: object) -> None:
        """Continue on the event loop, from any thread; after close nothing is left to say."""
        if not self._closed and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._if_open, call, arguments)

    def _if_open(self, call: Callable[..., None], arguments: tuple[object, ...]) -> None:
        if not self._closed:
            call(*arguments)

    # Media -----------------------------------------------------------------------------------------

    def send_frame(self, track: str, frame: EncodedFrame, *, report: bool = False) -> None:
        sender = self._senders.get(track)
        if sender is not None and self._state is LinkState.CONNECTED:
            sender.send(frame, report=report)

    def send(self, label: str, data: str | bytes) -> bool:
        return not self._closed and self._channels.send(label, data)

    # Numbers and the end ---------------------------------------------------------------------------

    async def stats(self) -> dict[str, float]:
        if self._pc is None or self._closed:
            return {}
        return numbers_of(await self._pc.get_stats(), self._senders.values())

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._state = LinkState.LOST
        if self._answer:
            self._engine.reach.forget(self._answer)
        await self._handshake.settle()
        binding, self._binding = self._binding, None
        if binding is not None:
            binding.cancel()
            await asyncio.wait([binding])
            del binding  # its traceback holds objects of the engine, which may hold callbacks of ours
        await self._watching.cancel()
        await asyncio.to_thread(self.let_go)
        self._engine.forget(self)

    def let_go(self) -> None:
        """Drop every object of the engine; the connection closes with the last of them."""
        self._closed = True
        for sender in self._senders.values():
            sender.close()
        self._channels.close()
        if self._observer is not None:
            self._observer.on_connection_state_change = None
            self._observer.on_ice_candidate = None
            self._observer.on_ice_gathering_change = None
            self._observer.on_data_channel = None
            self._observer.on_track = None
        self._inputs.close()
        self._transceivers.clear()
        self._observer = None
        self._pc = None
        self._senders.clear()
