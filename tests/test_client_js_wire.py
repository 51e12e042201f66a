"""What JS 2.12 says on the wire, said to a real `reactor run`.

2.12 is not on the registry, so this is no proof with the client itself: it is a client that sends exactly what
the protocol lists for it, and takes exactly the status codes that it takes. The peer is aiortc.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

import httpx
import pytest
from support.client_model import write_client_model
from support.clients import PythonViewer
from support.sdk import png
from support.server import ReactorRun, running

pytestmark = pytest.mark.slow

HEADERS = {"Authorization": "Bearer local", "Reactor-WebRTC-Version": "1.0"}
SESSION_HEADERS = {"Reactor-API-Version": "1", "Reactor-API-Accept-Version": "1"}
CLIENT = {"sdk_version": "2.12.3", "sdk_type": "js"}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReactorRun]:
    with running(write_client_model(tmp_path_factory.mktemp("model")), "--orphan-s", "5") as run:
        yield run


@pytest.fixture
def server(shared: ReactorRun) -> Iterator[ReactorRun]:
    """The module's server, with nobody on it."""
    shared.wait_for_state("ready")
    yield shared
    shared.wait_for_state("ready")


class Client:
    """One connection of the 2.12 client: its HTTP calls, its two channels, its requests."""

    def __init__(self, server: ReactorRun, http: httpx.AsyncClient) -> None:
        self.server = server
        self.http = http
        self.viewer = PythonViewer(sending=True)
        self.base = ""
        self.connection_id = 0
        self._requests = 0

    @classmethod
    async def start(cls, server: ReactorRun, http: httpx.AsyncClient) -> Self:
        """Connect as a creator."""
        client = cls(server, http)
        started = await http.post(server.url + "/start_session", json={}, headers=SESSION_HEADERS)
        assert started.status_code == 200
        await client.join(started.json())
        return client

    @classmethod
    async def adopt(cls, server: ReactorRun, http: httpx.AsyncClient) -> Self:
        """Connect to the session that runs."""
        client = cls(server, http)
        described = await http.get(server.url + "/session", headers=SESSION_HEADERS)
        assert described.status_code == 200
        await client.join(described.json())
        return client

    async def join(self, descriptor: dict[str, Any], method: str = "POST") -> None:
        """Register, offer, trickle, take the answer, resume: in the order that the client does it."""
        for key in ("session_id", "state", "cluster"):
            assert isinstance(descriptor[key], str)
        assert descriptor["selected_transport"] == {"protocol": "webrtc", "version": "1.0"}
        tracks = descriptor["capabilities"]["tracks"]
        self.base = f"{self.server.url}/sessions/{descriptor['session_id']}/transport/webrtc"
        servers = await self.http.get(self.base + "/ice_servers", headers=HEADERS)
        assert servers.json() == {"ice_servers": []}
        registered = await self.http.post(self.base + "/connections", headers=HEADERS)
        assert registered.status_code == 201
        self.connection_id = registered.json()["connection_id"]
        # The hosted service hands out four digits; clients keep 32 bits.
        assert 1002 <= self.connection_id < 2**32

        full = await self.viewer.offer()
        lines = full.splitlines(keepends=True)
        candidates = [line.strip()[2:] for line in lines if line.startswith("a=candidate")]
        offered = await self.http.request(
            method,
            f"{self.base}/connections/{self.connection_id}/sdp_params",
            json={
                "sdp_offer": "".join(
                    line for line in lines if not line.startswith(("a=candidate", "a=end-of"))
                ),
                "client_info": CLIENT,
                "track_mapping": [{"mid": str(i), **track} for i, track in enumerate(tracks)],
            },
            headers=HEADERS,
        )
        assert offered.status_code == 202
        trickled = await self.http.post(
            f"{self.base}/connections/{self.connection_id}/ice_candidates",
            json={
                "candidates": [{"candidate": c, "sdp_mid": "0", "sdp_mline_index": 0} for c in candidates],
                "is_final": True,
                "client_info": CLIENT,
            },
            headers=HEADERS,
        )
        assert trickled.status_code == 202
        answered = await self.http.get(
            f"{self.base}/connections/{self.connection_id}/sdp_params", headers=HEADERS, timeout=10
        )
        assert answered.status_code == 200
        assert answered.json()["connection_id"] == self.connection_id
        await self.viewer.accept(answered.json()["sdp_answer"])
        await self.viewer.wait(lambda: self.viewer.opened >= {"control", "data"})
        self.notify("resume_track", "main_video")
        self.say("runtime", "requestSchema", {})

    async def reconnect(self) -> None:
        """Come back after a loss: register again, then PUT the offer on the new connection."""
        await self.viewer.close()
        self.viewer = PythonViewer(sending=True)
        described = await self.http.get(self.server.url + "/session", headers=SESSION_HEADERS)
        await self.join(described.json(), "PUT")

    def say(self, scope: str, kind: str, data: dict[str, Any]) -> None:
        self.viewer.send("data", json.dumps({"scope": scope, "data": {"type": kind, "data": data}}))

    def command(self, name: str, **arguments: object) -> None:
        self.say("application", name, arguments)

    def notify(self, event: str, name: str) -> None:
        message = {"type": "notification", "event": event, "data": {"name": name}}
        self.viewer.send("control", json.dumps(message))

    async def publish(self) -> dict[str, Any]:
        """Ask for the webcam's slot; return the response."""
        self._requests += 1
        request_id = f"ctrl_{self._requests}"
        request = {
            "type": "request",
            "method": "publish_track",
            "request_id": request_id,
            "data": {"name": "webcam"},
        }
        self.viewer.send("control", json.dumps(request))
        await self.viewer.wait(lambda: self._responses(request_id))
        (response,) = self._responses(request_id)
        return response

    def _responses(self, request_id: str) -> list[dict[str, Any]]:
        said = [json.loads(data) for label, data in self.viewer.messages if label == "control"]
        return [message for message in said if message.get("request_id") == request_id]

    def said(self, kind: str) -> list[dict[str, Any]]:
        """Return what arrived on the data channel, of one type, with its scope."""
        frames = [json.loads(data) for label, data in self.viewer.messages if label == "data"]
        return [{"scope": f["scope"], **f["data"]} for f in frames if f["data"]["type"] == kind]

    async def frames(self, count: int) -> None:
        """Wait for so many more pictures."""
        before = len(self.viewer.numbers)
        await self.viewer.wait(lambda: len(self.viewer.numbers) >= before + count)

    async def disconnect(self) -> None:
        """As a creator: the session first, then the peer."""
        await self.http.post(self.server.url + "/stop_session", headers=SESSION_HEADERS)
        await self.viewer.close()


@asynccontextmanager
async def started(server: ReactorRun) -> AsyncIterator[Client]:
    async with httpx.AsyncClient() as http:
        client = await Client.start(server, http)
        try:
            yield client
        finally:
            await client.disconnect()


async def test_it_connects_with_trickled_candidates_and_receives_frames(
    server: ReactorRun,
) -> None:
    async with started(server) as client:
        await client.frames(10)


async def test_the_schema_that_it_asks_for_comes_as_a_runtime_message(server: ReactorRun) -> None:
    async with started(server) as client:
        await client.viewer.wait(lambda: client.said("modelSchema"))
        (schema,) = client.said("modelSchema")
        assert schema["scope"] == "runtime"
        assert schema["data"] == (await client.http.get(server.url + "/schema")).json()


async def test_a_reply_and_a_broadcast_are_application_messages(server: ReactorRun) -> None:
    async with started(server) as client:
        client.command("paint", red=9)
        client.command("announce", text="sun")
        client.command("ask")
        await client.viewer.wait(lambda: client.said("announcement") and client.said("state"))
        (announced,) = client.said("announcement")
        assert announced == {"scope": "application", "type": "announcement", "data": {"text": "sun"}}
        (reply,) = client.said("state")
        assert reply["scope"] == "application"
        assert reply["data"]["red"] == 9


async def test_nothing_is_sent_while_a_track_is_paused(server: ReactorRun) -> None:
    async with started(server) as client:
        await client.frames(5)
        client.notify("pause_track", "main_video")
        await asyncio.sleep(0.3)  # what was under way
        before = len(client.viewer.numbers)
        await asyncio.sleep(0.7)
        assert len(client.viewer.numbers) - before <= 1
        client.notify("resume_track", "main_video")
        await client.frames(5)


async def test_a_claim_is_granted_once_and_refused_to_others_until_it_is_given_up(tmp_path: Path) -> None:
    with running(write_client_model(tmp_path), "--join", "drive") as server:
        await claims(server)


async def claims(server: ReactorRun) -> None:
    async with started(server) as first:
        second = await Client.adopt(server, first.http)
        try:
            granted = await first.publish()
            assert granted["type"] == "response"
            assert granted["method"] == "publish_track"
            assert granted["data"] == {}
            refused = await second.publish()
            assert refused["error"] == {"code": "publish_refused", "message": "track already published"}
            first.notify("unpublish_track", "webcam")
            async with asyncio.timeout(3):
                while "error" in await second.publish():
                    await asyncio.sleep(0.02)
        finally:
            await second.viewer.close()


async def test_a_published_camera_reaches_the_model(server: ReactorRun) -> None:
    async with started(server) as client:
        assert "error" not in await client.publish()
        await client.frames(5)
        async with asyncio.timeout(10):
            while not any(message["data"].get("camera") for message in client.said("state")):
                client.command("ask")
                await asyncio.sleep(0.1)


async def test_a_reconnect_registers_anew_and_puts_its_offer(server: ReactorRun) -> None:
    async with started(server) as client:
        before = client.base, client.connection_id
        await client.frames(5)
        await client.reconnect()
        assert client.base == before[0]
        assert client.connection_id != before[1]
        await client.frames(5)


async def test_adopters_see_the_session_and_do_not_end_it(server: ReactorRun) -> None:
    async with started(server) as creator:
        adopter = await Client.adopt(server, creator.http)
        assert adopter.base == creator.base
        await adopter.frames(5)
        await adopter.viewer.close()
        await creator.frames(5)
        assert server.session_state() == "streaming"


async def test_an_upload_becomes_a_picture_argument(server: ReactorRun) -> None:
    async with started(server) as client:
        body = png((0, 220, 0))
        uploads = client.base.removesuffix("/transport/webrtc") + "/uploads"
        about = {"name": "../../green.png", "mime_type": "image/png", "size": len(body)}
        slot = await client.http.post(uploads, json=about, headers=SESSION_HEADERS)
        assert slot.status_code == 201
        put = await client.http.put(
            slot.json()["presigned_url"], content=body, headers={"Content-Type": "image/png"}
        )
        assert put.is_success
        reference = {"upload_id": slot.json()["presigned_id"], **about}
        client.say("runtime", "fileUploaded", reference)
        inner = {"type": "show", "data": {}, "uploads": {"picture": reference}, "request_id": "1"}
        client.viewer.send("data", json.dumps({"scope": "application", "data": inner}))
        # The receipt is ours; the client itself sends no request id and sees the picture change.
        await client.viewer.wait(lambda: client.said("commandReceipt"))
        assert client.said("commandReceipt")[0]["data"]["accepted"] is True


async def test_a_refused_command_is_answered_with_silence(server: ReactorRun) -> None:
    async with started(server) as client:
        client.command("paint", red=700)
        client.command("refuse")
        client.command("nothing")
        client.command("ask")
        await client.viewer.wait(lambda: client.said("state"))
        kinds = {
            json.loads(data)["data"]["type"] for label, data in client.viewer.messages if label == "data"
        }
        # What is told of the session to all; nothing of the two commands that were refused.
        assert kinds <= {
            "state",
            "modelSchema",
            "values",
            "company",
            "wheel",
            "seat",
            "people",
            "pictureSent",
        }


async def test_a_reconnect_after_the_end_of_the_session_finds_none(server: ReactorRun) -> None:
    async with started(server) as client:
        await client.frames(3)
        await client.http.post(server.url + "/stop_session")
        await asyncio.to_thread(server.wait_for_state, "ready")
        servers = await client.http.get(client.base + "/ice_servers", headers=HEADERS)
        assert servers.status_code == 400
        assert servers.json()["detail"] == "No session running"


async def test_a_busy_server_is_a_conflict_for_the_next_creator(server: ReactorRun) -> None:
    async with started(server) as client:
        refused = await client.http.post(server.url + "/start_session", json={}, headers=SESSION_HEADERS)
        assert refused.status_code == 409
        await client.frames(5)


async def test_the_next_creator_follows_at_once(server: ReactorRun) -> None:
    async with started(server) as first:
        await first.frames(3)
        first_session = first.base
    async with started(server) as second:
        await second.frames(3)
        assert second.base != first_session


async def test_a_clip_is_refused_in_the_words_that_it_knows(server: ReactorRun) -> None:
    async with started(server) as client:
        client.say("runtime", "requestClip", {"duration_seconds": 2})
        client.say("runtime", "requestRecording", {})
        await client.viewer.wait(lambda: len(client.said("clipFailed")) == 2)
        assert {message["data"]["reason"] for message in client.said("clipFailed")} == {"recorder disabled"}


@pytest.mark.parametrize(
    ("body", "kinds"),
    [
        ({"reason": "maintenance"}, ["sessionEnded"]),
        ({"moderate": True, "reason": "not here"}, ["moderation", "sessionEnded"]),
    ],
)
async def test_the_end_of_the_session_is_told_before_the_connection_closes(
    server: ReactorRun, body: dict[str, object], kinds: list[str]
) -> None:
    async with httpx.AsyncClient() as http:
        client = await Client.start(server, http)
        try:
            await client.frames(5)
            await http.post(server.url + "/stop_session", json=body)
            await client.viewer.wait(lambda: client.said("sessionEnded"))
            said = [json.loads(data)["data"] for label, data in client.viewer.messages if label == "data"]
            assert [each["type"] for each in said if each["type"] in kinds] == kinds
            refused = await http.post(client.base + "/connections", headers=HEADERS)
            assert refused.status_code == 400
        finally:
            await client.viewer.close()


async def test_unknown_frames_and_fields_are_ignored(server: ReactorRun) -> None:
    async with started(server) as client:
        client.viewer.send("data", json.dumps({"scope": "later", "data": {"type": "x", "data": {}}}))
        client.viewer.send("control", json.dumps({"type": "notification", "event": "later", "data": {}}))
        client.viewer.send("data", json.dumps({"scope": "runtime", "data": {"type": "ping", "new": 1}}))
        client.command("paint", red=1)
        client.command("ask")
        await client.viewer.wait(lambda: client.said("state"))
        await client.frames(5)
