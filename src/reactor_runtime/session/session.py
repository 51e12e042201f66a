"""One user's run of the model: its viewers, its picture, its commands.

    viewer ─Command─▶ session ─CommandCall─▶ host ─CommandOutcome─▶ session ─reply─▶ the same viewer
    host ─EmittedFrame─▶ stream ─▶ every viewer            host ─ModelMessage─▶ every viewer

Made when a client starts a session, closed when it ended; its owner is a `slot.ModelSlot`, which alone
decides when that is. Everything runs on the event loop, except where a host or an engine says otherwise.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping

from .. import codes
from ..config import AudienceSettings, PictureSettings, VoteSettings
from ..host import ModelHost
from ..recording.recordings import Recordings
from ..tasks import Tasks
from ..types import (
    Codec,
    CommandOutcome,
    EmittedFrame,
    JsonObject,
    ModelInfo,
    ModelMessage,
    Pixels,
    track_names,
)
from ..webrtc.ice import parse_ice_server
from ..webrtc.peer import PeerEngine
from ..webrtc.signalling import Signalling
from ..websocket.socket_link import SocketLink
from ..wire import messages as say
from . import publishing, sockets
from .asking import Asking
from .claims import Claims
from .clips import Clips
from .commands import CommandBook
from .connections import GOODBYE_S, Connections
from .fanout import EncoderThreads, FanOutFactory
from .frame_ids import FrameIds
from .grants import Grant
from .metrics import MessageCounts
from .numbers import SessionNumbers
from .register import Register
from .service import LEGACY_CONNECTION_ID, Offer, SocketOffer
from .session_owner import SessionOwner
from .steering import Steering
from .stream import VideoStream
from .streams import Streams
from .times import ms_since
from .together import Together
from .uploads import Uploads
from .viewer import Viewer
from .voting import BY_VOTE

log = logging.getLogger(__name__)

#: How often viewers, deadlines and numbers are looked at.
TICK_S = 0.5


class Session:
    """Implements `viewer.ViewerEvents`. `connections` is for signalling, `uploads` for files."""

    def __init__(
        self,
        session_id: str,
        *,
        info: ModelInfo,
        host: ModelHost,
        engine: PeerEngine,
        picture: PictureSettings,
        audience: AudienceSettings,
        vote: VoteSettings,
        ping_timeout_s: float,
        owner: SessionOwner,
        counts: MessageCounts,
        register: Register,
        recordings: Recordings,
        clock: Callable[[], float],
        fan_out: FanOutFactory = EncoderThreads,
    ) -> None:
        self.session_id = session_id
        self.uploads = Uploads()
        fps = picture.fps or info.fps
        self._clips = Clips(recordings, fps=fps, on_stopped=self.broadcast, note=owner.note)
        names = track_names(info.tracks, "out")

        def make_stream(track: str) -> VideoStream:
            return VideoStream(
                track,
                fps=fps,
                bits_per_s=picture.bitrate_kbps * 1000 if picture.bitrate_kbps else None,
                on_demand=lambda demand: host.demand(self.frame_ids.inward(demand)),
                on_frame=self._arrived,
                # One picture is recorded: that of the main track.
                on_picture=self._clips.show if track == names[0] else None,
                clock=clock,
                fan_out=fan_out,
            )

        self.streams = Streams(names, make_stream)
        self.frame_ids = FrameIds()
        self._clock = clock
        self._info = info
        self._host = host
        self._engine = engine
        self._codecs: tuple[Codec, ...] = ("h264", "vp8") if picture.codec == "auto" else (picture.codec,)
        self._owner = owner
        self._counts = counts
        self._book = CommandBook(clock)
        self._numbers = SessionNumbers(self.streams, self._book, self._clips, clock)
        self.connections = Connections(
            f"session {session_id}, its connections",
            self._make_viewer,
            self._forget,
            ice_servers=tuple(parse_ice_server(text) for text in picture.ice_servers),
            client_ice_hosts=picture.client_ice_hosts,
            room=audience.viewers,
            desk=register.desk(session_id),
            ping_timeout_s=ping_timeout_s,
            clock=clock,
        )
        self.wheel = Steering(session_id, audience.join, self, self.connections, clock=clock)
        self._claims = Claims([track.name for track in info.tracks if track.direction == "in"])
        self._began_s = clock()
        self._tasks = Tasks(f"session {session_id}")

        def decide(command: say.Command, *, entered: Callable[[int], None]) -> None:
            self._asking.pass_on(BY_VOTE, command, entered=entered)

        wheel = self.wheel
        self._together = Together(
            info.commands, self.connections, wheel, self._tasks, vote, decide, clock=clock
        )
        self._asking = Asking(
            info.commands,
            host,
            self.connections,
            self._together,
            book=self._book,
            uploads=self.uploads,
            tasks=self._tasks,
            check_wheel=wheel.check_drives,
            note=owner.note,
        )
        self._closed = False
        self._tasks.spawn(self._tick())

    @property
    def viewers(self) -> int:
        """How many are connected."""
        return self.connections.connected

    @property
    def recording(self) -> bool:
        return self._clips.running

    # What the host tells ------------------------------------------------------------------------------

    def frame(self, frame: EmittedFrame) -> None:
        """Take a frame, from any thread."""
        self._numbers.took(frame.busy_s)
        self.streams.push(self.frame_ids.outward(frame))

    def frames_discarded(self) -> None:
        self.streams.discard()

    def _arrived(self, frame: EmittedFrame) -> None:
        self._book.saw(frame.track, frame.frame_id, frame.command_id)

    def outcome(self, outcome: CommandOutcome) -> None:
        self._asking.outcome(outcome)

    def message(self, message: ModelMessage) -> None:
        self.broadcast(say.Broadcast(message.type, message.data))

    def metrics(self, values: JsonObject) -> None:
        self._numbers.report(values)

    def frame_failed(self, raised: str) -> None:
        publishing.tell_of_failure(self._claims, self.connections, raised)

    def broadcast(self, message: say.ServerMessage) -> None:
        """Say something to every viewer, each in its own format."""
        for viewer in self.connections:
            viewer.send(message)

    def tell_turn(self, turn: say.Turn) -> None:
        self._together.tell_turn(turn)

    # Signalling ---------------------------------------------------------------------------------------

    def track_map(self) -> JsonObject:
        return {
            track.name: {"kind": track.kind, "direction": track.direction, "rate": 90_000}
            for track in self._info.tracks
        }

    def offer(self, connection_id: int, offer: Offer, *, replace: bool, legacy: bool, grant: Grant) -> str:
        enter = self.wheel.entering(offer, grant, again=replace)
        how = {"replace": replace, "legacy": legacy}
        seat = self.connections.offer(connection_id, offer, **how, grant=grant, enter=enter)
        self._owner.note("offer", {"connection_id": connection_id, "client": offer.client})
        return seat

    def attach(self, offer: SocketOffer, *, grant: Grant) -> SocketLink:
        tracks, codecs, enter = self._info.tracks, self._codecs, self.wheel.entering(offer, grant)
        return sockets.join(
            self.connections, offer, tracks, codecs, grant=grant, enter=enter, clock=self._clock
        )

    def _forget(self, connection_id: int) -> None:
        self._book.forget(connection_id)
        self.wheel.forget(connection_id)

    def _make_viewer(self, connection_id: int) -> tuple[Viewer, Signalling]:
        viewer = Viewer(
            connection_id,
            self,
            self.streams.by_track,
            self._info.tracks,
            counts=self._counts,
            clock=self._clock,
            legacy=connection_id == LEGACY_CONNECTION_ID,
        )
        name = f"connection {connection_id}"
        return viewer, Signalling(name, viewer, self._engine, self._info.tracks, codecs=self._codecs)

    # What viewers tell (ViewerEvents) -----------------------------------------------------------------

    def connected(self, viewer: Viewer) -> None:
        if not self._closed:
            self._owner.viewer_opened()
            stays = self.connections.entered(viewer)
            (self.wheel.connected if stays else self.wheel.turned_away)(viewer.connection_id)

    def released(self, viewer: Viewer) -> None:
        self.wheel.left(viewer.connection_id)
        self._claims.release(viewer.connection_id)
        self._book.leave(viewer.connection_id)

    def listens(self, viewer: Viewer) -> None:
        self._together.greet(viewer.connection_id)
        self.wheel.tell()

    def gone(self, viewer: Viewer, reason: str) -> None:
        if not self._closed:  # its id stays known, so that its client may reconnect
            self._owner.viewer_closed()
            self._owner.note("viewer_gone", {"connection_id": viewer.connection_id, "reason": reason})
            self.connections.left(viewer, reason)
            self._together.left(viewer.connection_id)

    def sent(self, viewer: Viewer, track: str, frame_id: int, received_as: Mapping[str, int]) -> None:
        reported = viewer.times_of(track, frame_id)
        times = reported.since(self._began_s) if reported is not None else {}
        for entry in self._book.shown(viewer.connection_id, track, frame_id):
            assert entry.request_id is not None  # nobody waits for the picture of any other
            asked = {"asked_ms": ms_since(self._began_s, entry.asked_s)} if times else {}
            viewer.send(say.CommandShown(entry.request_id, entry.name, frame_id, received_as, asked | times))
        viewer.report_from(self._book.unshown(viewer.connection_id))
        if times:
            now, on = {"now_ms": ms_since(self._began_s, self._clock())}, viewer.rendition_of(track)
            viewer.send(say.PictureSent(track, frame_id, received_as, times | now, on))

    def input_frame(self, viewer: Viewer, track: str, pixels: Pixels) -> None:
        who = viewer.connection_id
        if self.wheel.drives(who) and self._claims.admits(track, who):
            self._host.push_input(track, pixels)

    def check_wheel(self, viewer: Viewer) -> None:
        self.wheel.check(viewer.connection_id)

    def said(self, viewer: Viewer, message: say.ClientMessage) -> None:
        match message:
            case say.Command():
                self._asking.ask(viewer, message)
            case say.Ballot():
                self._together.voted(viewer, message)
            case say.RequestSchema(request_id):
                viewer.send(say.Schema(request_id, self._owner.openapi()))
            case say.RequestCapabilities():
                viewer.send(say.Capabilities(self._owner.capabilities()))
            case say.PauseTrack(name):
                viewer.pause(name)
            case say.ResumeTrack(name):
                viewer.resume(name)
            case say.PublishTrack():
                publishing.answer(self._claims, viewer, message)
            case say.UnpublishTrack(name):
                self._claims.release(viewer.connection_id, name)
            case say.WheelAction():
                self.wheel.said(viewer, message)
            case say.Arm(release):
                self.wheel.armed(viewer.connection_id, release)
            case say.Beat():
                self.wheel.beat(viewer.connection_id)
            case say.Operate():
                self.wheel.operate(viewer, message)
            case say.RequestClip(request_id, duration_s):
                viewer.send(self._clips.promise(request_id, duration_s))
            case say.RequestRecording(request_id):
                viewer.send(self._clips.promise(request_id, None))
            case say.Unsupported(request_id, kind) if request_id is not None:
                viewer.send(
                    say.RequestRefused(request_id, kind, codes.UNSUPPORTED, f"{kind} is not supported")
                )
            case _:
                pass  # pings, upload notices and what newer clients add

    # What the wheel does (SteeringEvents) ---------------------------------------------------------------

    def let_go(self, viewer: Viewer, command: say.Command) -> None:
        self._asking.let_go(viewer, command)

    def steers_no_more(self, who: int) -> None:
        self._claims.release(who)

    def seat_moved(self) -> None:
        self._together.tell_company()
        self._owner.seat_moved()

    def kicked(self, who: int) -> None:
        self._owner.note("kicked", {"connection_id": who})

    def operated(self, action: say.OperatorVerb, reason: str) -> None:
        self._owner.operated(action, reason)

    # Time ---------------------------------------------------------------------------------------------

    async def _tick(self) -> None:
        ticks = 0
        while True:
            await asyncio.sleep(TICK_S)
            self.connections.look_after()
            self.wheel.expire(self.connections.over())
            self._asking.give_up_overdue()
            self._together.tell_company()
            self.wheel.tell()
            self._numbers.note()
            ticks += 1
            if ticks % 2 == 0:
                self.broadcast(say.RuntimeStats({**self._own_numbers(), "model": self._numbers.reported}))

    def numbers(self) -> JsonObject:
        """Numbers for /metrics, those that the model reports among them."""
        return {**self._numbers.reported, **self._own_numbers()}

    def _own_numbers(self) -> JsonObject:
        return {**self._numbers.runtime(), "viewers": self.viewers}

    # From one driver to the next ------------------------------------------------------------------------

    def abandon(self) -> None:
        """The driver's time is over: nothing more of his is on its way to the model."""
        self.uploads.clear()
        self._claims.clear()

    async def start_over(self) -> None:
        """The model's run has ended, and another will begin: clear away what is left of it."""
        self.streams.discard()
        await self.streams.played_out()
        self.abandon()
        self._book.clear()
        self._asking.start_over()
        self._numbers.start_over()
        self._clips.start_over()
        self.frame_ids.start_over()
        self._together.start_over()
        self._tasks.spawn(self._clips.settle())

    # Ending -------------------------------------------------------------------------------------------

    async def end(self, *goodbyes: say.ServerMessage) -> None:
        """Say why, and stop picture and commands; `part()` closes the connections. May be called twice."""
        if self._closed:
            return
        self._closed = True
        self.wheel.close()
        self.connections.end()
        for message in goodbyes:
            self.broadcast(message)
        await self._tasks.cancel()
        self._book.clear()
        await self.streams.close()
        self._clips.finish()
        self.uploads.close()

    async def part(self) -> None:
        """Close every connection, after what was said last had the time to leave. May be called twice.

        The recording's last segment, which nobody must wait for, reaches the disk meanwhile.
        """
        if self.viewers:
            await asyncio.sleep(GOODBYE_S)
        await self.connections.close()
        await self._clips.close()
