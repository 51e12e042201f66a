"""One user's run of the model: its viewers, its picture, its commands.

    viewer ─Command─▶ session ─CommandCall─▶ host ─CommandOutcome─▶ session ─reply─▶ the same viewer
    host ─EmittedFrame─▶ stream ─▶ every viewer            host ─ModelMessage─▶ every viewer

Made when a client starts a session, closed when it ended; its owner is a `slot.ModelSlot`, which alone
decides when that is. Everything runs on the event loop, except where a host or an engine says otherwise.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Callable, Mapping
from typing import Protocol

from .. import codes, limits
from ..author.published import PublishedCommands
from ..config import AudienceSettings, PictureSettings, VoteSettings
from ..errors import CommandRejected
from ..host import ModelHost
from ..recording.recordings import Recordings
from ..tasks import Tasks
from ..types import (
    Codec,
    CommandCall,
    CommandOutcome,
    EmittedFrame,
    JsonObject,
    ModelInfo,
    ModelMessage,
    Pixels,
    UploadedFile,
    track_names,
)
from ..webrtc.ice import parse_ice_server
from ..webrtc.peer import PeerEngine
from ..webrtc.signalling import Signalling
from ..websocket.socket_link import SocketLink
from ..wire import messages as say
from . import publishing, sockets
from .awaiting import AwaitingUploads
from .claims import Claims
from .clips import Clips
from .commands import CommandBook
from .connections import Connections
from .fanout import EncoderThreads, FanOutFactory
from .grants import Grant
from .metrics import MessageCounts
from .numbers import SessionNumbers
from .register import Register
from .service import LEGACY_CONNECTION_ID, Offer, SocketOffer
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
#: How long a connection outlives its session, so that its last message arrives before it goes.
GOODBYE_S = 0.3


class SessionOwner(Protocol):
    """What a session tells its slot. On the event loop."""

    def viewer_opened(self) -> None: ...

    def viewer_closed(self) -> None: ...

    def note(self, event: str, detail: JsonObject) -> None: ...

    def openapi(self) -> JsonObject: ...

    def capabilities(self) -> JsonObject: ...


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
                on_demand=host.demand,
                on_frame=self._arrived,
                # One picture is recorded: that of the main track.
                on_picture=self._clips.show if track == names[0] else None,
                clock=clock,
                fan_out=fan_out,
            )

        self.streams = Streams(names, make_stream)
        self._clock = clock
        self._info = info
        self._published = PublishedCommands(info.commands)
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
            self._book.forget,
            ice_servers=tuple(parse_ice_server(text) for text in picture.ice_servers),
            client_ice_hosts=picture.client_ice_hosts,
            room=audience.viewers,
            desk=register.desk(session_id),
            ping_timeout_s=ping_timeout_s,
            clock=clock,
        )
        self._claims = Claims([track.name for track in info.tracks if track.direction == "in"])
        self._began_s = clock()
        self._tasks = Tasks(f"session {session_id}")
        decide = functools.partial(self._pass_on, BY_VOTE)
        self._together = Together(info.commands, self.connections, self._tasks, vote, decide, clock=clock)
        self._awaiting = AwaitingUploads(self._tasks)
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
        self.streams.push(frame)

    def frames_discarded(self) -> None:
        self.streams.discard()

    def _arrived(self, frame: EmittedFrame) -> None:
        self._book.saw(frame.track, frame.frame_id, frame.command_id)

    def outcome(self, outcome: CommandOutcome) -> None:
        """Take what became of a command, and answer the client whose it was."""
        self._answer(outcome)
        self._together.outcome(outcome)

    def _answer(self, outcome: CommandOutcome) -> None:
        entry = self._book.answer(outcome.command_id)
        if entry is None:
            return
        viewer, request_id, command = self.connections.get(entry.who), entry.request_id, entry.name
        shows = viewer is not None and viewer.watching and outcome.accepted and request_id is not None
        if not shows:
            self._book.strike(entry.number)
        if viewer is not None and outcome.accepted:
            viewer.send(say.CommandReply(request_id, command, outcome.reply_type, outcome.reply))
            viewer.report_from(self._book.unshown(entry.who))
            self._together.drove(entry.who)
        elif viewer is not None:
            why = (outcome.code, outcome.message, outcome.field, outcome.raised)
            viewer.send(say.CommandRefused(request_id, command, *why))
        by = {"by": "vote"} if entry.who == BY_VOTE else {}
        self._owner.note("command", {"command": command, "code": outcome.code or "ok", **by})

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

    # Signalling ---------------------------------------------------------------------------------------

    def track_map(self) -> JsonObject:
        return {
            track.name: {"kind": track.kind, "direction": track.direction, "rate": 90_000}
            for track in self._info.tracks
        }

    def offer(self, connection_id: int, offer: Offer, *, replace: bool, legacy: bool, grant: Grant) -> None:
        self.connections.offer(connection_id, offer, replace=replace, legacy=legacy, grant=grant)
        self._owner.note("offer", {"connection_id": connection_id, "client": offer.client})

    def attach(self, offer: SocketOffer, *, grant: Grant) -> SocketLink:
        tracks, codecs = self._info.tracks, self._codecs
        return sockets.join(self.connections, offer, tracks, codecs, grant=grant, clock=self._clock)

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
            self.connections.entered(viewer)

    def released(self, viewer: Viewer) -> None:
        self._claims.release(viewer.connection_id)
        self._book.leave(viewer.connection_id)

    def listens(self, viewer: Viewer) -> None:
        self._together.greet(viewer.connection_id)

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
        if self._claims.admits(track, viewer.connection_id):
            self._host.push_input(track, pixels)

    def said(self, viewer: Viewer, message: say.ClientMessage) -> None:
        match message:
            case say.Command():
                self._command(viewer, message)
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

    def _command(self, viewer: Viewer, command: say.Command) -> None:
        """Pass a command on at once, in order; only one whose upload is still on its way is overtaken."""
        try:
            beside = {name: reference.as_json() for name, reference in command.uploads.items()}
            self._published.check(command.name, command.arguments, beside)
            files = self.uploads.arrived(command.uploads, command.arguments)
            if files is not None:
                self._pass_on(viewer.connection_id, command, files)
            else:
                self._awaiting.hold(command.arguments, lambda: self._command_with_uploads(viewer, command))
        except CommandRejected as error:
            self._refuse(viewer, command, error)

    async def _command_with_uploads(self, viewer: Viewer, command: say.Command) -> None:
        try:
            files = await self.uploads.resolve(command.uploads, command.arguments)
            self._pass_on(viewer.connection_id, command, files)
        except CommandRejected as error:
            self._refuse(viewer, command, error)

    def _pass_on(
        self,
        who: int,
        command: say.Command,
        files: dict[str, UploadedFile] | None = None,
        entered: Callable[[int], None] = lambda number: None,
    ) -> None:
        number = self._book.open(who, command.request_id, command.name)
        self._together.asked(number, command.name, command.arguments, command.uploads)
        entered(number)
        try:
            self._host.send_command(CommandCall(number, command.name, command.arguments, files or {}))
        except CommandRejected:
            self._book.strike(number)
            self._together.unasked(number)
            raise

    def _refuse(self, viewer: Viewer, command: say.Command, error: CommandRejected) -> None:
        text = error.public()
        viewer.send(say.CommandRefused(command.request_id, command.name, error.code, text, error.field))
        # Whatever a client calls a command, the journal keeps no more of it than of a real one.
        name = command.name[: limits.COMMAND_NAME_MAX]
        self._owner.note("command", {"command": name, "code": error.code})

    # Time ---------------------------------------------------------------------------------------------

    async def _tick(self) -> None:
        ticks = 0
        while True:
            await asyncio.sleep(TICK_S)
            self.connections.look_after()
            for number in self._book.overdue():
                text = f"not handled within {limits.COMMAND_REPLY_S:.0f} s"
                self._answer(CommandOutcome(number, code=codes.TIMEOUT, message=text))
            self._together.tell_company()
            self._numbers.note()
            ticks += 1
            if ticks % 2 == 0:
                self.broadcast(say.RuntimeStats({**self._own_numbers(), "model": self._numbers.reported}))

    def numbers(self) -> JsonObject:
        """Numbers for /metrics, those that the model reports among them."""
        return {**self._numbers.reported, **self._own_numbers()}

    def _own_numbers(self) -> JsonObject:
        return {**self._numbers.runtime(), "viewers": self.viewers}

    # Ending -------------------------------------------------------------------------------------------

    async def end(self, *goodbyes: say.ServerMessage) -> None:
        """Say why, and stop picture and commands; `part()` closes the connections. May be called twice."""
        if self._closed:
            return
        self._closed = True
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
