"""A host, an engine, its links and a fan-out that do as they are told, on the event loop alone.

    hosts = Hosts()                                one fake host per load, the newest is `hosts.last`
    engine = FakeEngine()                          its links, the newest is `engine.links[-1]`
    Sessions(hosts.make, engine, Settings(), clock=loop.time, fan_out=FakeFanOut)

A `FakeHost` loads, takes commands and stops as a good model does, until its fields say otherwise. A `FakeLink`
connects when it is told to and keeps what it was sent. `FakeFanOut` sends a picture the moment it is due.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from reactor_runtime.errors import CommandRejected, ModelCrashed, ModelFailed, ModelHung, ReactorError
from reactor_runtime.host import HostCounters, HostEvents, HostState
from reactor_runtime.link import LinkEvents, LinkState
from reactor_runtime.running.mailbox import Mailbox
from reactor_runtime.session.fanout import FanOutCounters
from reactor_runtime.session.sink import Sink
from reactor_runtime.session.times import PictureTimes
from reactor_runtime.types import (
    MAIN_VIDEO,
    WEBCAM,
    Codec,
    CommandCall,
    CommandOutcome,
    CommandSpec,
    Demand,
    EmittedFrame,
    EncodedFrame,
    JsonObject,
    ModelInfo,
    ModelMessage,
    Pixels,
    Track,
)
from reactor_runtime.webrtc.peer import Candidate, IceServer, TrackMapping

INFO = ModelInfo(
    name="fake",
    version="1",
    description="",
    tracks=(Track(MAIN_VIDEO, "video", "out"), Track(WEBCAM, "video", "in")),
    commands=(CommandSpec("paint", "", {"type": "object", "properties": {}}),),
    fps=30,
)
_PIXELS = np.zeros((2, 2, 3), np.uint8)


class Hosts:
    """Makes hosts, as a slot asks for them. `prepare` is told each before it is loaded."""

    def __init__(self, prepare: Callable[[FakeHost], None] = lambda host: None) -> None:
        self.made: list[FakeHost] = []
        self._prepare = prepare

    def make(self, events: HostEvents, slot: int) -> FakeHost:
        host = FakeHost(events, slot)
        self._prepare(host)
        self.made.append(host)
        return host

    @property
    def last(self) -> FakeHost:
        return self.made[-1]


class FakeHost:
    """A model that a test plays by hand."""

    def __init__(self, events: HostEvents, slot: int = 0) -> None:
        self.events = events
        self.slot = slot
        self.state = HostState.CREATED
        self.pid = None
        self.load_s = 0.0
        self.load_error: ReactorError | None = None
        self.info = INFO
        self.stop_takes_s = 0.0
        self.stop_limit_s = 5.0
        """Past it a stop ends as it does with a real host: the process is killed."""
        self.answers: Literal["at once", "by hand"] = "at once"
        self.sessions: list[str] = []
        self.calls: list[CommandCall] = []
        self.inputs: list[str] = []
        self.demands: list[Demand] = []
        self.emitted = self.released = 0
        self.ids_after = 0
        """What the ids of its frames begin after, in each run: real ones begin with 1."""
        self._frame_id = 0
        self._mailbox = Mailbox()
        self._settled = asyncio.Event()

    async def load(self) -> ModelInfo:
        self.state = HostState.LOADING
        if self.load_s:
            await asyncio.sleep(self.load_s)
        if self.load_error is not None:
            self.state = HostState.FAILED
            raise self.load_error
        self.state = HostState.IDLE
        return self.info

    def start_session(self, session_id: str, *, seed: int | None = None) -> None:
        assert self.state is HostState.IDLE, self.state
        self.state = HostState.RUNNING
        self._settled = asyncio.Event()
        self.sessions.append(session_id)
        self._frame_id = self.ids_after

    async def stop_session(self) -> None:
        if self.state is not HostState.RUNNING:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(self.stop_takes_s, self.stop_limit_s)):
                await self._settled.wait()
        if self._settled.is_set():
            return
        if self.stop_takes_s < self.stop_limit_s:
            self.finish()
        else:
            self.lose(ModelHung("it did not stop"))

    def send_command(self, call: CommandCall) -> None:
        if self.state is not HostState.RUNNING:
            raise CommandRejected("no session runs", code="session_ended")
        self._mailbox.admit(call)
        self.calls.append(call)
        if self.answers == "at once":
            self.answer(call.command_id)

    def demand(self, demand: Demand) -> None:
        self.demands.append(demand)

    def push_input(self, track: str, pixels: Pixels) -> None:
        self.inputs.append(track)

    def counters(self) -> HostCounters:
        return HostCounters(frames=self.emitted)

    async def close(self) -> None:
        if self.state is not HostState.CLOSED:
            self.state = HostState.CLOSED
            self._settle("session_ended")
            self._settled.set()
        await asyncio.sleep(0)

    # What a test makes the model do -------------------------------------------------------------------

    def emit(self, *, seen: int | None = None, pixels: Pixels = _PIXELS) -> int:
        """Emit a frame that saw command `seen`, the last one that came unless it is given; return its id."""
        self.emitted += 1
        self._frame_id += 1
        seen = (self.calls[-1].command_id if self.calls else 0) if seen is None else seen
        busy_s = 0.01

        def release() -> None:
            self.released += 1

        at_s = asyncio.get_running_loop().time()
        self.events.frame(EmittedFrame(self._frame_id, pixels, at_s, busy_s, seen, release))
        return self._frame_id

    def discard(self) -> None:
        self.events.frames_discarded()

    def answer(
        self, command_id: int, *, code: str = "", reply: JsonObject | None = None, raised: str = ""
    ) -> None:
        outcome = CommandOutcome(command_id, reply=reply, code=code, message=code, raised=raised)
        if self._mailbox.answer(outcome):
            self.events.outcome(outcome)

    def send(self, type: str, data: JsonObject) -> None:
        self.events.message(ModelMessage(type, data))

    def fail_frame(self, raised: str) -> None:
        self.events.frame_failed(raised)

    def finish(self, error: ModelFailed | None = None) -> None:
        """Let start_session return, or fail."""
        if self.state is HostState.RUNNING:
            self._settle("session_ended")
            self.state = HostState.IDLE
            self._settled.set()
            self.events.session_ended(error)

    def lose(self, error: ModelFailed | None = None) -> None:
        """Let the model process die."""
        if self.state in (HostState.IDLE, HostState.RUNNING):
            error = error or ModelCrashed("it died")
            self.state = HostState.FAILED
            self._settle(error.code)
            self._settled.set()
            self.events.failed(error)

    def _settle(self, code: str) -> None:
        for outcome in self._mailbox.settle(code=code, message=code):
            self.events.outcome(outcome)


class FakeEngine:
    """Makes links that connect when a test says so."""

    def __init__(self, link: Callable[[LinkEvents, FakeEngine], FakeLink] | None = None) -> None:
        self.links: list[FakeLink] = []
        self._link = link or FakeLink
        self.refusal: Exception | None = None
        """What offers are refused with from now on."""
        self.answer_s = 0.0

    async def probe(self, ice_servers: Sequence[IceServer]) -> None: ...

    def create(
        self,
        events: LinkEvents,
        tracks: Sequence[Track],
        *,
        codecs: Sequence[Codec],
        ice_servers: Sequence[IceServer] = (),
    ) -> FakeLink:
        self.links.append(self._link(events, self))
        return self.links[-1]

    async def close(self) -> None: ...


class FakeLink:
    """One way to one viewer, and what came over it. It speaks the JSON format."""

    def __init__(self, events: LinkEvents, engine: FakeEngine) -> None:
        self.events = events
        self.state = LinkState.CONNECTING
        self.codecs: Mapping[str, Codec] = {MAIN_VIDEO: "h264"}
        self.frames: list[int] = []
        self.messages: list[JsonObject] = []
        self.full = False
        """Whether its channel takes no more."""
        self.closed = False
        self.closing_s = 0.0
        self._engine = engine

    async def answer(self, offer_sdp: str, mapping: Sequence[TrackMapping]) -> str:
        await asyncio.sleep(self._engine.answer_s)
        if self._engine.refusal is not None:
            raise self._engine.refusal
        return f"answer to {offer_sdp}"

    async def add_candidate(self, candidate: Candidate) -> None: ...

    def send_frame(self, track: str, frame: EncodedFrame, *, report: bool = False) -> None:
        if self.state is LinkState.CONNECTED:
            self.frames.append(frame.frame_id)
            if report:
                received_as = {"rtp_timestamp": frame.frame_id * 3000}
                loop = asyncio.get_running_loop()
                loop.call_soon(self._sent, track, frame.frame_id, received_as)

    def _sent(self, track: str, frame_id: int, received_as: Mapping[str, int]) -> None:
        if not self.closed:
            self.events.frame_sent(track, frame_id, received_as)

    def send(self, label: str, data: str | bytes) -> bool:
        if self.closed or self.full:
            return False
        self.messages.append(json.loads(data))
        return True

    async def stats(self) -> dict[str, float]:
        return {}

    async def close(self) -> None:
        self.closed, self.state = True, LinkState.LOST
        await asyncio.sleep(self.closing_s)

    # What a test makes the network and the client do --------------------------------------------------

    def move(self, state: LinkState) -> None:
        if not self.closed:
            self.state = state
            self.events.link_state(state)

    def connect(self) -> None:
        """Connect, with both channels open."""
        self.move(LinkState.CONNECTED)
        for label in ("control", "data"):
            self.events.channel_open(label)

    def lose(self) -> None:
        self.move(LinkState.LOST)

    def say(self, kind: str, data: JsonObject | None = None, *, request_id: str | None = None) -> None:
        """Send a command."""
        inner: JsonObject = {"type": kind, "data": data or {}}
        if request_id is not None:
            inner["request_id"] = request_id
        self._hear("data", {"scope": "application", "data": inner})

    def ask(self, kind: str, data: JsonObject | None = None) -> None:
        """Send a message to the runtime: ping, requestSchema, …"""
        self._hear("data", {"scope": "runtime", "data": {"type": kind, "data": data or {}}})

    def notify(self, event: str, name: str = MAIN_VIDEO) -> None:
        """Send pause_track, resume_track or unpublish_track."""
        self._hear("control", {"type": "notification", "event": event, "data": {"name": name}})

    def wheel(self, action: str) -> None:
        """Ask for the wheel, or give it up."""
        self.ask("wheel", {"action": action})

    def claim(self, request_id: str, name: str = WEBCAM) -> None:
        """Ask to publish an input track."""
        inner = {"request_id": request_id, "method": "publish_track", "data": {"name": name}}
        self._hear("control", {"type": "request", **inner})

    def _hear(self, label: str, message: JsonObject) -> None:
        if not self.closed:
            self.events.channel_message(label, json.dumps(message))

    # What came ----------------------------------------------------------------------------------------

    def told(self, kind: str) -> list[Any]:
        """Return the data of what the runtime said of this kind."""
        return [m["data"].get("data") for m in self.messages if self._kind(m) == kind]

    def kinds(self) -> list[str]:
        """Return what kinds of message came, without those that everybody is told all the time."""
        always = ("stats", "values", "company", "wheel", "seat", "people", "pictureSent")
        return [self._kind(message) for message in self.messages if self._kind(message) not in always]

    @staticmethod
    def _kind(message: JsonObject) -> str:
        return str(message.get("data", {}).get("type", message.get("type")))


class FakeFanOut:
    """Sends each picture to every sink at once; a picture's bytes are its number."""

    def __init__(
        self,
        *,
        bits_per_s: int | None,
        interval_s: Callable[[], float],
        on_picture: Callable[[Pixels, float], None] | None,
        clock: Callable[[], float],
    ) -> None:
        self.sinks: tuple[Sink, ...] = ()
        self._last: EmittedFrame | None = None
        self._encoded = 0
        self._clock = clock

    def show(self, frame: EmittedFrame) -> None:
        self._last = frame
        frame.release()
        self._send(self.sinks, keyframe=any(sink.needs_keyframe for sink in self.sinks))

    def take_back(self) -> EmittedFrame | None:
        return None  # what is shown is sent at once

    def refresh(self) -> None:
        if self._last is not None:
            self._send(tuple(sink for sink in self.sinks if sink.needs_keyframe), keyframe=True)

    def line_changed(self) -> None: ...

    def _send(self, sinks: tuple[Sink, ...], *, keyframe: bool) -> None:
        assert self._last is not None
        last, now_s = self._last, self._clock()
        times = PictureTimes(last.frame_id, last.emitted_s - last.busy_s, last.emitted_s, now_s, now_s)
        self._encoded += 1
        for sink in sinks:
            sink.needs_keyframe = False
            frame = EncodedFrame(b"", sink.codec, keyframe, 2, 2, last.frame_id, last.frame_id * 33_333)
            sink.send(frame, report=sink.takes_report(last.command_id, times, now_s))

    async def settle(self) -> None: ...

    def counters(self) -> FanOutCounters:
        return FanOutCounters(encoded=self._encoded)

    async def close(self) -> None:
        self.sinks = ()
