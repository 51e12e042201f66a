"""A client of a served session: HTTP signalling and an aiortc peer, in either wire format.

    async with Visitor(server.url) as visitor:
        await visitor.start()
        await visitor.watch()
        reply = await visitor.ask("paint", red=200)
        await visitor.leave()

What it is told, in whichever format, ends up in `said` as (kind, data): the kinds of v0's runtime messages,
and `message:<type>` for what the model sends. Run as a program it is a client that can be killed or stopped:
`python visitor.py URL` joins the running session, prints `watching`, then each second the frames it has seen.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import aiortc
import httpx
from aiortc.mediastreams import MediaStreamError
from google.protobuf.json_format import MessageToDict
from google.protobuf.struct_pb2 import Struct

from reactor_runtime.wire import reactor_wire_v1_pb2 as pb

WITHIN_S = 20.0
#: What clients do to stay alive, every 5 or 10 seconds.
PING: dict[str, str | bytes] = {
    "v0": json.dumps({"scope": "runtime", "data": {"type": "ping", "data": {}}}),
    "v1": bytes.fromhex("10035200"),
}

Said = tuple[str, dict[str, Any]]


class Refused(Exception):
    """The server refused a command; `code` and `field` as it said."""

    def __init__(self, code: str, message: str, field: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code, self.message, self.field = code, message, field


class Visitor:
    """One client. Not a viewer before `watch()`, which may be called again after the connection was lost."""

    def __init__(
        self, url: str, *, wire: Literal["v0", "v1"] = "v0", tracks: Sequence[str] = ("main_video",)
    ) -> None:
        self.http = httpx.AsyncClient(base_url=url, timeout=WITHIN_S, verify=False)
        self.wire = wire
        self.tracks = tuple(tracks)
        self.session_id = ""
        self.log_path = ""
        """Where the log of one's own session is fetched."""
        self.connection_id = 0
        self.frames = 0
        """Of all tracks; `last` has the newest picture of each, and `seen` how many there were."""
        self.seen: Counter[str] = Counter()
        self.last: dict[str, Any] = {}
        self.frame_times: list[float] = []
        self.said: list[Said] = []
        self.raw: list[str | bytes] = []
        self.states: list[str] = []
        self._replies: dict[str, asyncio.Future[Any]] = {}
        self._ids = itertools.count(1)
        self._pc: aiortc.RTCPeerConnection | None = None
        self._channels: dict[str, Any] = {}
        self._opened: set[str] = set()
        self._reading: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.vanish()
        await self.http.aclose()

    # Signalling ---------------------------------------------------------------------------------------

    @property
    def path(self) -> str:
        return f"/sessions/{self.session_id}/transport/webrtc"

    async def start(self) -> httpx.Response:
        """Start a session of one's own."""
        answer = await self.http.post("/start_session", json={})
        if answer.status_code == 200:
            self.session_id = answer.json()["session_id"]
            self.log_path = answer.json().get("session_log", {}).get("path", "")
        return answer

    async def adopt(self) -> None:
        """Join whatever session runs."""
        self.session_id = (await self.http.get("/session")).json()["session_id"]

    async def register(self) -> int:
        answer = await self.http.post(self.path + "/connections", json={})
        answer.raise_for_status()
        self.connection_id = answer.json()["connection_id"]
        return self.connection_id

    async def offer(self, *, method: str = "POST") -> httpx.Response:
        """Make a peer and send its offer under the present connection id."""
        await self.vanish()
        pc = self._pc = aiortc.RTCPeerConnection(aiortc.RTCConfiguration(iceServers=[]))
        pc.on("connectionstatechange", lambda: self.states.append(pc.connectionState))
        names = {pc.addTransceiver("video", direction="recvonly").receiver: name for name in self.tracks}

        def track(received: Any) -> None:
            name = next(name for receiver, name in names.items() if receiver.track is received)
            self._reading.append(asyncio.ensure_future(self._read(name, received)))

        pc.on("track", track)
        self._opened.clear()
        self._channels = {label: self._open(pc, label) for label in ("control", "data")}
        await pc.setLocalDescription(await pc.createOffer())
        body = {
            "sdp_offer": pc.localDescription.sdp,
            "client_info": {"sdk_version": "0", "sdk_type": "visitor"},
            "track_mapping": [
                {"mid": str(at), "name": name, "kind": "video", "direction": "recvonly"}
                for at, name in enumerate(self.tracks)
            ],
        }
        return await self.http.request(method, self._params, json=body)

    async def accept(self) -> None:
        """Fetch the answer and wait until both channels are open."""
        assert self._pc is not None
        answer = await self.http.get(self._params)
        answer.raise_for_status()
        assert answer.status_code == 200, "no answer"
        await self._pc.setRemoteDescription(
            aiortc.RTCSessionDescription(answer.json()["sdp_answer"], "answer")
        )
        await self.until(lambda: self._opened == {"control", "data"})

    async def connect(self, *, method: str = "POST") -> None:
        """Register if that was not done yet, offer, and wait until connected."""
        if not self.connection_id:
            await self.register()
        answer = await self.offer(method=method)
        answer.raise_for_status()
        await self.accept()

    async def watch(self, frames: int = 1, *, method: str = "POST") -> None:
        """Connect, resume the picture, and wait for so many frames."""
        await self.connect(method=method)
        self.resume()
        await self.see(frames)

    @property
    def _params(self) -> str:
        return f"{self.path}/connections/{self.connection_id}/sdp_params"

    # Saying -------------------------------------------------------------------------------------------

    def send(self, label: str, payload: str | bytes) -> None:
        self._channels[label].send(payload)

    def ping(self) -> None:
        self.send("data" if self.wire == "v0" else "control", PING[self.wire])

    def resume(self, name: str = "main_video") -> None:
        self._notify("resume_track", name)

    def pause(self, name: str = "main_video") -> None:
        self._notify("pause_track", name)

    def unpublish(self, name: str = "webcam") -> None:
        self._notify("unpublish_track", name)

    def tell(
        self, command: str, uploads: dict[str, Any] | None = None, **arguments: Any
    ) -> asyncio.Future[Any]:
        """Send a command; the future has its reply, or Refused."""
        request_id = f"data_{next(self._ids)}"
        reply = self._expect(request_id)
        if self.wire == "v0":
            data = {"type": command, "data": arguments, "request_id": request_id, "uploads": uploads or {}}
            self.send("data", json.dumps({"scope": "application", "data": data}))
        else:
            body = pb.Command(type=command, data=_struct(arguments))
            for name, upload in (uploads or {}).items():
                body.uploads[name].CopyFrom(pb.UploadReference(**upload))
            message = pb.DataClientMessage(request_id=request_id, kind=pb.MESSAGE_KIND_REQUEST, command=body)
            self.send("data", message.SerializeToString())
        return reply

    async def ask(self, command: str, uploads: dict[str, Any] | None = None, **arguments: Any) -> Any:
        """Send a command and return its reply. Raises Refused."""
        return await asyncio.wait_for(self.tell(command, uploads, **arguments), WITHIN_S)

    async def publish(self, name: str = "webcam") -> None:
        """Claim an input track. Raises Refused."""
        request_id = f"ctrl_{next(self._ids)}"
        reply = self._expect(request_id)
        if self.wire == "v0":
            request = {
                "type": "request",
                "method": "publish_track",
                "request_id": request_id,
                "data": {"name": name},
            }
            self.send("control", json.dumps(request))
        else:
            publish = pb.PublishTrack(name=name)
            message = pb.ControlClientMessage(
                request_id=request_id, kind=pb.MESSAGE_KIND_REQUEST, publish_track=publish
            )
            self.send("control", message.SerializeToString())
        await asyncio.wait_for(reply, WITHIN_S)

    def _notify(self, event: str, name: str = "main_video") -> None:
        if self.wire == "v0":
            self.send("control", json.dumps({"type": "notification", "event": event, "data": {"name": name}}))
        else:
            message = pb.ControlClientMessage(kind=pb.MESSAGE_KIND_NOTIFICATION)
            getattr(message, event).name = name
            self.send("control", message.SerializeToString())

    def _expect(self, request_id: str) -> asyncio.Future[Any]:
        reply = self._replies[request_id] = asyncio.get_running_loop().create_future()
        reply.add_done_callback(lambda done: done.cancelled() or done.exception())
        return reply

    # Waiting ------------------------------------------------------------------------------------------

    async def until(self, condition: Callable[[], object], within_s: float = WITHIN_S) -> None:
        deadline_s = time.monotonic() + within_s
        while not condition():
            assert time.monotonic() < deadline_s, (
                f"not within {within_s} s: {self.frames} frames, states {self.states}, said {self.said[-5:]}"
            )
            await asyncio.sleep(0.005)

    async def see(self, frames: int = 1, within_s: float = WITHIN_S) -> None:
        """Wait for more frames."""
        target = self.frames + frames
        await self.until(lambda: self.frames >= target, within_s)

    async def hear(self, kind: str, within_s: float = WITHIN_S) -> dict[str, Any]:
        """Wait until something of this kind has been said; return the last of it."""
        await self.until(lambda: self.heard(kind), within_s)
        return self.heard(kind)[-1]

    def heard(self, kind: str) -> list[dict[str, Any]]:
        return [data for said, data in self.said if said == kind]

    @property
    def lost(self) -> bool:
        return self.states[-1:] in (["closed"], ["failed"])

    # Leaving ------------------------------------------------------------------------------------------

    async def leave(self) -> None:
        """End one's session, as its creator does, and hang up."""
        answer = await self.http.post("/stop_session")
        answer.raise_for_status()
        await self.vanish()

    async def vanish(self) -> None:
        """Hang up without a word."""
        pc, self._pc = self._pc, None
        self._channels.clear()
        if pc is not None:
            await pc.close()
        for task in self._reading:
            task.cancel()
        await asyncio.gather(*self._reading, return_exceptions=True)
        self._reading.clear()
        for reply in self._replies.values():
            reply.cancel()
        self._replies.clear()

    # What arrives -------------------------------------------------------------------------------------

    def _open(self, pc: aiortc.RTCPeerConnection, label: str) -> Any:
        channel = pc.createDataChannel(label)
        channel.on("open", lambda: self._opened.add(label))
        channel.on("message", lambda payload: self._message(label, payload))
        return channel

    async def _read(self, name: str, track: Any) -> None:
        with contextlib.suppress(MediaStreamError):
            while True:
                self.last[name] = await track.recv()
                self.frames += 1
                self.seen[name] += 1
                self.frame_times.append(time.monotonic())

    def _message(self, label: str, payload: str | bytes) -> None:
        self.raw.append(payload)
        if self.wire == "v0":
            assert isinstance(payload, str), "binary on a v0 connection"
            kind, data = self._v0(label, json.loads(payload))
        else:
            assert isinstance(payload, bytes), "text on a v1 connection"
            kind, data = self._v1(label, payload)
        self.said.append((kind, data))

    def _v0(self, label: str, frame: dict[str, Any]) -> Said:
        if label == "control":
            self._settle(frame["request_id"], frame.get("data"), frame.get("error"))
            return frame["method"], frame
        inner = frame["data"]
        if frame["scope"] == "application":
            return f"message:{inner['type']}", inner["data"]
        data: dict[str, Any] = inner["data"]
        if inner["type"] == "commandReceipt":
            reply = data.get("reply")
            self._settle(data["request_id"], reply and reply["data"], None if data["accepted"] else data)
        return inner["type"], data

    def _v1(self, label: str, payload: bytes) -> Said:
        message: pb.ControlServerMessage | pb.DataServerMessage
        message = pb.ControlServerMessage() if label == "control" else pb.DataServerMessage()
        message.ParseFromString(payload)
        kind = message.WhichOneof("payload") or ""
        body: dict[str, Any] = (
            MessageToDict(getattr(message, kind), preserving_proto_field_name=True) if kind else {}
        )
        if message.request_id:
            error = body if kind == "error" else None
            self._settle(message.request_id, body.get("data") if kind == "message" else body, error)
        names = {"error": "notice", "session_ended": "sessionEnded", "model_schema": "modelSchema"}
        return (
            (f"message:{body['type']}", body.get("data", {}))
            if kind == "message"
            else (names.get(kind, kind), body)
        )

    def _settle(self, request_id: str, reply: Any, error: dict[str, Any] | None) -> None:
        waiting = self._replies.pop(request_id, None)
        if waiting is None or waiting.done():
            return
        if error is None:
            waiting.set_result(reply)
        else:
            waiting.set_exception(Refused(error["code"], error["message"], error.get("field", "")))


def _struct(values: dict[str, Any]) -> Struct:
    struct = Struct()
    struct.update(values)
    return struct


@asynccontextmanager
async def watching(url: str, *, wire: Literal["v0", "v1"] = "v0") -> AsyncIterator[Visitor]:
    """A visitor who started a session and sees frames."""
    async with Visitor(url, wire=wire) as visitor:
        answer = await visitor.start()
        assert answer.status_code == 200, answer.text
        await visitor.watch(3)
        yield visitor


# A client in a process of its own -----------------------------------------------------------------------


@contextmanager
def client_process(url: str) -> Iterator[subprocess.Popen[str]]:
    """A viewer of the running session that may be killed or stopped; it has seen frames already."""
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__)), url],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parent,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "watching\n"
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


async def _main(url: str) -> None:
    async with Visitor(url) as visitor:
        await visitor.adopt()
        await visitor.watch(3)
        print("watching", flush=True)
        while True:
            await asyncio.sleep(1)
            visitor.ping()
            print(visitor.frames, flush=True)


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1]))
