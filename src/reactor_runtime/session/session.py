"""One user's run of the model: its viewers, its picture, its commands.

    viewer ─Command─▶ session ─CommandCall─▶ host ─CommandOutcome─▶ session ─reply─▶ the same viewer
    host ─EmittedFrame─▶ stream ─▶ every viewer            host ─ModelMessage─▶ every viewer

Made when a client starts a session, closed when it ended; its owner is a `slot.ModelSlot`, which alone
decides when that is. Everything runs on the event loop, except where a host or an engine says otherwise.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import logging
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from .. import limits
from ..author.admission import Admission
from ..config import Settings
from ..errors import CommandRejected, SessionRefused
from ..host import ModelHost
from ..recording.recorder import Recorder
from ..recording.store import Recordings
from ..tasks import Tasks
from ..types import (
    Codec,
    CommandCall,
    CommandOutcome,
    Demand,
    EmittedFrame,
    JsonObject,
    ModelInfo,
    ModelMessage,
    Pixels,
    UploadedFile,
    track_names,
)
from ..webrtc.ice import parse_ice_server
from ..webrtc.peer import Candidate, IceServer, PeerEngine
from ..webrtc.signalling import Signalling
from ..wire import messages as say
from .fanout import EncoderThread, FanOutFactory, default_bitrate
from .metrics import MessageCounts
from .service import CONNECTION_IDS, LEGACY_CONNECTION_ID, Offer
from .stream import StreamCounters, VideoStream
from .uploads import Uploads
from .viewer import Viewer

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


@dataclass(frozen=True, slots=True)
class _Pending:
    viewer: Viewer
    request_id: str | None
    command: str
    sent_s: float


class Session:
    """Implements `server.service.SessionAccess` and `viewer.ViewerEvents`."""

    def __init__(
        self,
        session_id: str,
        *,
        info: ModelInfo,
        host: ModelHost,
        engine: PeerEngine,
        settings: Settings,
        owner: SessionOwner,
        counts: MessageCounts,
        recordings: Recordings,
        clock: Callable[[], float],
        fan_out: FanOutFactory = EncoderThread,
    ) -> None:
        self.session_id = session_id
        self.uploads = Uploads()
        self._loop = asyncio.get_running_loop()
        self._recorder = self._record(recordings, settings.fps or info.fps) if recordings.enabled else None
        names = track_names(info.tracks, "out")
        self._streams = {
            name: VideoStream(
                name,
                fps=settings.fps or info.fps,
                bits_per_s=settings.bitrate_kbps * 1000 if settings.bitrate_kbps else None,
                on_demand=self._demand,
                # One picture is recorded: that of the main track.
                on_picture=self._recorder.show if self._recorder is not None and name == names[0] else None,
                clock=clock,
                fan_out=fan_out,
            )
            for name in names
        }
        self._main = self._streams[names[0]]
        self._clock = clock
        self._info = info
        self._admission = Admission(info.commands)
        self._host = host
        self._engine = engine
        self._settings = settings
        self._owner = owner
        self._counts = counts
        self._ice_servers = tuple(parse_ice_server(text) for text in settings.ice_servers)
        self._viewers: dict[int, Viewer] = {}
        self._signalling: dict[int, Signalling] = {}
        """Of each viewer, by the same id."""
        self._forgotten = Tasks(f"session {session_id}, a connection")
        self._publishers: dict[str, Viewer] = {}
        self._pending: dict[int, _Pending] = {}
        self._command_id = 0
        self._handled_s: float = 0.0
        self._reports: JsonObject = {}
        self._busy_s = 0.0
        self._last_frame_s: float | None = None
        self._tasks = Tasks(f"session {session_id}")
        self._waiting: dict[asyncio.Task[None], int] = {}
        """Those of the tasks that wait for an upload, and the bytes of their arguments."""
        self._closed = False
        self._tasks.spawn(self._tick())

    @property
    def viewers(self) -> int:
        """How many are connected."""
        return sum(viewer.connected for viewer in self._viewers.values())

    # What the host tells ------------------------------------------------------------------------------

    def frame(self, frame: EmittedFrame) -> None:
        """Take a frame, from any thread."""
        self._busy_s = frame.busy_s if not self._busy_s else 0.9 * self._busy_s + 0.1 * frame.busy_s
        if (stream := self._streams.get(frame.track)) is None:
            frame.release()  # of a model that does not keep to what it declared
        else:
            stream.push(frame)

    def outcome(self, outcome: CommandOutcome) -> None:
        """Answer the client whose command this was."""
        pending = self._pending.pop(outcome.command_id, None)
        if pending is None:
            return
        handled_s = self._clock() - pending.sent_s
        self._handled_s = handled_s if not self._handled_s else 0.8 * self._handled_s + 0.2 * handled_s
        viewer, request_id, command = pending.viewer, pending.request_id, pending.command
        if outcome.accepted:
            viewer.send(say.CommandReply(request_id, command, outcome.reply_type, outcome.reply))
            if request_id is not None:
                viewer.tell_when_shown(outcome.command_id, request_id, command)
        else:
            viewer.send(say.CommandRefused(request_id, command, outcome.code, outcome.message, outcome.field))
        self._owner.note("command", {"command": command, "code": outcome.code or "ok"})

    def message(self, message: ModelMessage) -> None:
        self.broadcast(say.Broadcast(message.type, message.data))

    def metrics(self, values: JsonObject) -> None:
        for name, value in values.items():
            if name in self._reports or len(self._reports) < limits.REPORTS_MAX:
                self._reports[name] = value

    def counters(self) -> StreamCounters:
        """Return the totals of all tracks."""
        return functools.reduce(StreamCounters.plus, (each.counters() for each in self._streams.values()))

    async def played_out(self) -> None:
        """Wait until every frame that was emitted has been shown; while nobody watches, none is.

        The main track tells; others are waited for while someone watches them.
        """
        await self._main.played_out()
        await asyncio.gather(*(each.played_out() for each in self._streams.values() if each.watched))

    def broadcast(self, message: say.ServerMessage) -> None:
        """Say something to every viewer, each in its own format."""
        for viewer in list(self._viewers.values()):
            viewer.send(message)

    def _demand(self, demand: Demand) -> None:
        self._host.demand(demand)

    # Signalling (SessionAccess) -----------------------------------------------------------------------

    def ice_servers(self) -> Sequence[IceServer]:
        return self._ice_servers

    def track_map(self) -> JsonObject:
        return {
            track.name: {"kind": track.kind, "direction": track.direction, "rate": 90_000}
            for track in self._info.tracks
        }

    def register(self) -> int:
        if self._closed:
            raise SessionRefused("No session running", status=400)
        self._check_room()
        if len(self._viewers) >= limits.CONNECTIONS_KNOWN:
            idle = [
                viewer
                for viewer in self._viewers.values()
                if not (
                    viewer.connected or viewer.joining or self._signalling[viewer.connection_id].answering
                )
            ]
            if not idle:
                raise SessionRefused("too many connections at once", status=503, retry_after_s=1)
            self._forget(min(idle, key=lambda viewer: viewer.heard_s))
        connection_id = random.choice([i for i in CONNECTION_IDS if i not in self._viewers])  # noqa: S311
        self._make_viewer(connection_id)
        return connection_id

    def offer(self, connection_id: int, offer: Offer, *, replace: bool, legacy: bool) -> None:
        if legacy and connection_id not in self._viewers:
            self._make_viewer(LEGACY_CONNECTION_ID, legacy=True)
        viewer = self._viewer(connection_id)
        signalling = self._signalling[connection_id]
        if signalling.offered and not (replace or legacy):
            raise SessionRefused("this connection has offered already; use PUT to reconnect", status=409)
        if not viewer.connected:
            self._check_room()
        if not viewer.joining:
            self._make_room_to_join()
        ice_servers = self._ice_servers if offer.ice_servers is None else offer.ice_servers
        self._owner.note("offer", {"connection_id": connection_id, "client": offer.client})
        signalling.offer(offer.sdp, offer.mapping, ice_servers=ice_servers)

    def _check_room(self) -> None:
        if self.viewers >= limits.VIEWERS_MAX:
            raise SessionRefused(
                f"{limits.VIEWERS_MAX} viewers are connected; no more are admitted",
                status=503,
                retry_after_s=5,
            )

    def _make_room_to_join(self) -> None:
        """Peers that never connect must not keep out one that would."""
        joining = [viewer for viewer in self._viewers.values() if viewer.joining]
        if len(joining) < limits.JOINING_MAX:
            return
        oldest = min(joining, key=lambda viewer: viewer.linked_s)
        if self._clock() - oldest.linked_s < limits.JOIN_FAIR_S:
            raise SessionRefused("too many connections at once", status=503, retry_after_s=1)
        oldest.drop("made room for others")

    def _forget(self, viewer: Viewer) -> None:
        del self._viewers[viewer.connection_id]
        signalling = self._signalling.pop(viewer.connection_id)
        self._forgotten.spawn(_close_connection(viewer, signalling))

    async def answer(self, connection_id: int, *, hold_s: float) -> str | None:
        self._viewer(connection_id)
        answer = await self._signalling[connection_id].answer(hold_s)
        if answer is None:
            self._viewer(connection_id)  # raises if the session ended meanwhile
        return answer

    def add_candidates(self, connection_id: int, candidates: Sequence[Candidate]) -> None:
        self._viewer(connection_id)
        self._signalling[connection_id].add_candidates(candidates)

    def _viewer(self, connection_id: int) -> Viewer:
        if self._closed:
            raise SessionRefused("No session running", status=400)
        viewer = self._viewers.get(connection_id)
        if viewer is None:
            raise SessionRefused("Unknown connection", status=404)
        return viewer

    def _make_viewer(self, connection_id: int, *, legacy: bool = False) -> None:
        tracks = self._info.tracks
        viewer = Viewer(
            connection_id, self, self._streams, tracks, counts=self._counts, clock=self._clock, legacy=legacy
        )
        codec = self._settings.codec
        codecs: tuple[Codec, ...] = ("h264", "vp8") if codec == "auto" else (codec,)
        self._viewers[connection_id] = viewer
        self._signalling[connection_id] = Signalling(
            f"connection {connection_id}", viewer, self._engine, tracks, codecs=codecs
        )

    # What viewers tell (ViewerEvents) -----------------------------------------------------------------

    def connected(self, viewer: Viewer) -> None:
        if self._closed:
            return
        self._owner.viewer_opened()
        if self.viewers > limits.VIEWERS_MAX:
            viewer.drop("no room")

    def released(self, viewer: Viewer) -> None:
        for name in [name for name, publisher in self._publishers.items() if publisher is viewer]:
            del self._publishers[name]

    def gone(self, viewer: Viewer, reason: str) -> None:
        """A connection ended. Its id stays known, so that its client may reconnect."""
        if not self._closed:
            self._owner.viewer_closed()
            self._owner.note("viewer_gone", {"connection_id": viewer.connection_id, "reason": reason})

    def input_frame(self, viewer: Viewer, track: str, pixels: Pixels) -> None:
        # JS 2.9.0 publishes without a claim, so an unclaimed track takes whatever comes.
        if self._publishers.get(track, viewer) is viewer:
            self._host.push_input(track, pixels)

    def said(self, viewer: Viewer, message: say.ClientMessage) -> None:
        match message:
            case say.Command():
                self._command(viewer, message)
            case say.RequestSchema(request_id):
                viewer.send(say.Schema(request_id, self._owner.openapi()))
            case say.RequestCapabilities():
                viewer.send(say.Capabilities(self._owner.capabilities()))
            case say.PauseTrack(name):
                viewer.pause(name)
            case say.ResumeTrack(name):
                viewer.resume(name)
            case say.PublishTrack():
                self._publish(viewer, message)
            case say.UnpublishTrack(name):
                if self._publishers.get(name) is viewer:
                    del self._publishers[name]
            case say.RequestClip(request_id, duration_s):
                viewer.send(self._promise_clip(request_id, duration_s))
            case say.RequestRecording(request_id):
                viewer.send(self._promise_clip(request_id, None))
            case say.Unsupported(request_id, kind) if request_id is not None:
                viewer.send(say.RequestRefused(request_id, kind, "unsupported", f"{kind} is not supported"))
            case _:
                pass  # pings, upload notices and what newer clients add

    def _publish(self, viewer: Viewer, message: say.PublishTrack) -> None:
        name = message.name
        inbound = [track.name for track in self._info.tracks if track.direction == "in"]
        if name not in inbound:
            names = ", ".join(inbound) or "none"
            self._refuse_publish(
                viewer, message, f"unknown input track {name!r:.80}; this model's are: {names}"
            )
        elif self._publishers.get(name, viewer) is not viewer:
            self._refuse_publish(viewer, message, "track already published")
        else:
            self._publishers[name] = viewer
            viewer.send(say.PublishGranted(message.request_id, name))

    def _refuse_publish(self, viewer: Viewer, message: say.PublishTrack, why: str) -> None:
        viewer.send(say.RequestRefused(message.request_id, "publish_track", "publish_refused", why))

    def _command(self, viewer: Viewer, command: say.Command) -> None:
        """Pass a command on at once, in order; only one whose upload is still on its way is overtaken."""
        try:
            beside = {name: reference.as_json() for name, reference in command.uploads.items()}
            self._admission.check(command.name, command.arguments, beside)
            files = self.uploads.arrived(command.uploads, command.arguments)
            if files is not None:
                self._call(viewer, command, files)
            else:
                size_bytes = len(json.dumps(command.arguments))
                self._check_waiting(size_bytes)
                task = self._tasks.spawn(self._command_with_uploads(viewer, command))
                self._waiting[task] = size_bytes
                task.add_done_callback(self._waiting.pop)
        except CommandRejected as error:
            self._refuse(viewer, command, error)

    def _check_waiting(self, size_bytes: int) -> None:
        held_bytes = sum(self._waiting.values()) + size_bytes
        if len(self._waiting) >= limits.COMMAND_MAILBOX or held_bytes > limits.COMMAND_MAILBOX_BYTES:
            raise CommandRejected("too many commands wait for their uploads", code="rate_limited")

    async def _command_with_uploads(self, viewer: Viewer, command: say.Command) -> None:
        try:
            self._call(viewer, command, await self.uploads.resolve(command.uploads, command.arguments))
        except CommandRejected as error:
            self._refuse(viewer, command, error)

    def _call(self, viewer: Viewer, command: say.Command, files: dict[str, UploadedFile]) -> None:
        self._command_id += 1
        call = CommandCall(self._command_id, command.name, command.arguments, files)
        self._host.send_command(call)
        self._pending[call.command_id] = _Pending(viewer, command.request_id, command.name, self._clock())

    def _refuse(self, viewer: Viewer, command: say.Command, error: CommandRejected) -> None:
        text = error.public()
        viewer.send(say.CommandRefused(command.request_id, command.name, error.code, text, error.field))
        # Whatever a client calls a command, the journal keeps no more of it than of a real one.
        name = command.name[: limits.COMMAND_NAME_MAX]
        self._owner.note("command", {"command": name, "code": error.code})

    # Recording ----------------------------------------------------------------------------------------

    @property
    def recording(self) -> bool:
        return self._recorder is not None and not self._recorder.failed

    def _record(self, recordings: Recordings, fps: float | None) -> Recorder:
        def stopped(code: str, message: str) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to be told
                self._loop.call_soon_threadsafe(self.broadcast, say.RuntimeNotice(code, message))

        return Recorder(
            recordings,
            fps=fps or limits.FPS_MAX,
            # Twice what viewers get at most: the recorder aims for a quality, and stays below that for most.
            rate=lambda width, height: 2 * default_bitrate(width, height),
            on_stopped=stopped,
        )

    def _promise_clip(self, request_id: str | None, duration_s: float | None) -> say.ServerMessage:
        if self._recorder is None:
            # The exact words: clients map them to RECORDER_DISABLED.
            return say.ClipFailed(request_id, "recorder disabled")
        answer = self._recorder.promise(request_id, duration_s)
        if isinstance(answer, say.ClipReady):
            # Without the recording's id, which lets whoever knows it fetch the clip.
            self._owner.note(
                "clip_ready", {"kind": answer.kind, "start": answer.start_s, "end": answer.end_s}
            )
        return answer

    # Time ---------------------------------------------------------------------------------------------

    async def _tick(self) -> None:
        ticks = 0
        while True:
            await asyncio.sleep(TICK_S)
            now_s = self._clock()
            for viewer in self._viewers.values():
                self._look_after(viewer, now_s)
            overdue = [i for i, p in self._pending.items() if now_s - p.sent_s > limits.COMMAND_REPLY_S]
            for command_id in overdue:
                text = f"not handled within {limits.COMMAND_REPLY_S:.0f} s"
                self.outcome(CommandOutcome(command_id, code="timeout", message=text))
            ticks += 1
            if ticks % 2 == 0:
                self.broadcast(say.RuntimeStats(self.numbers()))

    def _look_after(self, viewer: Viewer, now_s: float) -> None:
        """Drop the peer of a viewer that fell silent or did not connect in time."""
        silent_s = self._settings.ping_timeout_s
        if viewer.connected and 0 < silent_s < now_s - viewer.heard_s:
            viewer.drop(f"nothing heard for {silent_s:g} s")
        elif viewer.joining and now_s - viewer.linked_s > limits.JOIN_S:
            viewer.drop("never connected")

    def numbers(self) -> JsonObject:
        """Numbers for the page's overlay and for /metrics; milliseconds where the name says so."""
        counters = self.counters()
        encoded = max(1, counters.encoded)
        recorded = {} if self._recorder is None else {"recording_dropped": self._recorder.dropped}
        return {
            **self._reports,
            **recorded,
            "fps": round(1 / self._main.interval_s, 2),
            "model_ms": round(self._busy_s * 1000, 2),
            "convert_ms": round(counters.convert_s / encoded * 1000, 2),
            "encode_ms": round(counters.encode_s / encoded * 1000, 2),
            "command_ms": round(self._handled_s * 1000, 2),
            "frames_shown": counters.shown,
            "frames_skipped": counters.skipped + counters.dropped,
            "viewers": self.viewers,
        }

    # Ending -------------------------------------------------------------------------------------------

    async def end(self, *goodbyes: say.ServerMessage) -> None:
        """Say why, and stop picture and commands; `part()` closes the connections. May be called twice."""
        if self._closed:
            return
        self._closed = True
        for message in goodbyes:
            self.broadcast(message)
        await self._tasks.cancel()
        self._pending.clear()
        await asyncio.gather(*(stream.close() for stream in self._streams.values()))
        if self._recorder is not None:
            self._recorder.finish()
        self.uploads.close()

    async def part(self) -> None:
        """Close every connection, after what was said last had the time to leave. May be called twice.

        The recording's last segment, which nobody must wait for, reaches the disk meanwhile.
        """
        if self.viewers:
            await asyncio.sleep(GOODBYE_S)
        closing = (_close_connection(viewer, self._signalling[i]) for i, viewer in self._viewers.items())
        await asyncio.gather(*closing, self._forgotten.wait())
        self._viewers.clear()
        self._signalling.clear()
        if self._recorder is not None:
            await asyncio.to_thread(self._recorder.close)


async def _close_connection(viewer: Viewer, signalling: Signalling) -> None:
    await asyncio.gather(signalling.close(), viewer.close())
