"""The WebSocket of a viewer, served for real: picture, commands, input, and everything that a bad client does."""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from support.promises import long_form
from support.served import MODEL, metrics, served
from support.socket_viewer import SocketViewer, opened, session_of
from support.visitor import Visitor
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Frame, Opcode

from reactor_runtime import codes, limits
from reactor_runtime.encode import open_encoder, to_i420
from reactor_runtime.errors import MessageRejected
from reactor_runtime.server.runtime import Runtime
from reactor_runtime.types import Codec
from reactor_runtime.websocket import relay
from reactor_runtime.websocket.header import Header, Kind, ack, parse, picture_header

SECRET = "correct horse"


# The header --------------------------------------------------------------------------------------------


def test_a_header_has_sixteen_bytes_in_network_order() -> None:
    packed = picture_header(2, codec="vp8", keyframe=True, frame_id=0x01020304, capture_us=5)
    assert packed == bytes([1, 1, 2, 3, 1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 5])
    header = parse(packed + b"picture")
    assert (header.track, header.keyframe, header.codec, header.frame_id) == (2, True, "vp8", 0x01020304)
    assert parse(ack(1, 7, queue=1000)) == Header(Kind.ACK, 1, 255, 7)


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (b"", "16 bytes of header"),
        (ack(0, 1)[:9], "16 bytes of header"),
        (b"\x02" + ack(0, 1)[1:], "version 2"),
        (b"\x01\x00" + ack(0, 1)[2:], "kind 0"),
        (b"\x01\x09" + ack(0, 1)[2:], "kind 9"),
        (ack(0, 1) + b"x", "1 bytes after the header"),
    ],
)
def test_what_is_no_header_is_refused_in_words(message: bytes, why: str) -> None:
    with pytest.raises(MessageRejected, match=why):
        parse(message)


# A viewer ----------------------------------------------------------------------------------------------


INPUT_MODEL = """
    import time
    import numpy as np
    from reactor_runtime import VideoModel, command, get_ctx

    class Model(VideoModel):
        fps = 30

        def __init__(self):
            self.mean = []

        def start_session(self):
            picture = np.full((120, 160, 3), 90, np.uint8)
            for n in range(10_000_000):
                picture[:, n % 160] = n % 256
                get_ctx().emit_frame(picture)

        def reset(self):
            self.__init__()

        @command("seen", description="What the camera showed")
        def seen(self):
            return {"mean": self.mean, "count": len(self.mean)}

        def on_frame(self, frame):
            self.mean.append(round(float(frame.pixels[..., 0].mean())))
"""


@pytest.fixture
async def runtime(tmp_path: Path) -> AsyncIterator[Runtime]:
    async with served(tmp_path, MODEL) as runtime:
        yield runtime


@pytest.mark.slow
async def test_a_viewer_gets_pictures_receipts_and_the_frame_that_shows_a_command(runtime: Runtime) -> None:
    async with SocketViewer.joined(runtime.url) as viewer:
        await viewer.see(30)
        assert viewer.headers[0].keyframe
        assert sum(header.keyframe for header in viewer.headers) == 1
        assert viewer.last.shape == (120, 160, 3)
        ids = [header.frame_id for header in viewer.headers]
        assert ids == sorted(set(ids))
        receipt = await viewer.ask("note", number=3)
        assert receipt["reply"] == {"type": "note", "data": {"order": [3]}}
        await viewer.until(lambda: viewer.told("commandShown"))
        shown = viewer.told("commandShown")[0]
        await viewer.until(lambda: viewer.headers[-1].frame_id >= shown["frame_id"])
        assert shown["frame_id"] in [header.frame_id for header in viewer.headers]
        refused = await viewer.ask("refuse")
        assert (refused["code"], refused["field"]) == ("too_dark", "lamp")
        await viewer.notify("pause_track", "main_video")
        await asyncio.sleep(0.2)
        seen = viewer.frames
        await asyncio.sleep(0.2)
        assert viewer.frames == seen
        await viewer.notify("resume_track", "main_video")
        await viewer.see(3)
        assert viewer.headers[seen].keyframe
    assert viewer.closed == (1000, "")
    await until_viewers(runtime, 0)


@pytest.mark.slow
async def test_a_viewer_is_told_what_those_who_share_a_session_are_told(runtime: Runtime) -> None:
    async with SocketViewer.joined(runtime.url) as viewer:
        await viewer.until(lambda: all(map(viewer.told, ("values", "company", "wheel"))))
        assert viewer.told("wheel")[-1]["you"] == "drive"
        async with SocketViewer.joined(runtime.url):
            await viewer.until(lambda: viewer.told("company")[-1]["viewers"] == 2)


@pytest.mark.slow
async def test_two_rungs_share_one_encode(runtime: Runtime) -> None:
    async with Visitor(runtime.url) as visitor, SocketViewer.joined(runtime.url) as viewer:
        await visitor.adopt()
        await visitor.watch(5)
        await viewer.see(5)
        before = await metrics(runtime)
        began_s = time.monotonic()
        await viewer.see(30)
        after = await metrics(runtime)
        pictures = after["reactor_frames_encoded_total"] - before["reactor_frames_encoded_total"]
        assert pictures <= 1.3 * 30 * (time.monotonic() - began_s) + 5
        assert after["reactor_viewers"] == 2


@pytest.mark.slow
@pytest.mark.parametrize("codec", ["h264", "vp8"])
async def test_the_codec_is_one_that_the_client_decodes(runtime: Runtime, codec: Codec) -> None:
    async with SocketViewer.joined(runtime.url, codecs=codec) as viewer:
        await viewer.see(5)
        assert {header.codec for header in viewer.headers} == {codec}


@pytest.mark.slow
async def test_a_viewer_without_a_codec_in_common_is_told_so(runtime: Runtime) -> None:
    async with SocketViewer.joined(runtime.url, codecs="av1,vp9", resume=False) as viewer:
        code, reason = await viewer.until_closed()
        assert code == 4400
        assert "h264 or vp8" in reason


@pytest.mark.slow
@pytest.mark.parametrize("codec", ["vp8", "h264"])
async def test_a_camera_comes_over_the_same_socket(tmp_path: Path, codec: Codec) -> None:
    async with served(tmp_path, INPUT_MODEL) as runtime, SocketViewer.joined(runtime.url) as viewer:
        await viewer.request("publish_track", name="webcam")
        encoder = open_encoder(codec, 320, 240, fps=30, bits_per_s=1_000_000)
        picture = to_i420(np.full((240, 320, 3), 200, np.uint8))
        for at in range(10):
            encoded = encoder.encode(picture, frame_id=at, pts_us=at * 33_333, keyframe=at == 0)
            assert encoded is not None
            head = picture_header(1, codec=codec, keyframe=encoded.keyframe, frame_id=at, capture_us=0)
            await viewer.socket.send(head + encoded.data)
            await asyncio.sleep(0.03)
        seen = (await viewer.ask("seen"))["reply"]["data"]
        assert seen["count"] >= 5
        assert all(abs(mean - 200) <= 4 for mean in seen["mean"])
        # A delta without its keyframe, and what no decoder takes, cost pictures up to the next keyframe.
        await viewer.socket.send(
            picture_header(1, codec=codec, keyframe=True, frame_id=0, capture_us=0) + b"\x01" * 99
        )
        await viewer.until(lambda: viewer.asked_keyframes)
        await viewer.see(3)


@pytest.mark.slow
async def test_a_session_that_ends_says_why_and_closes_the_socket(runtime: Runtime) -> None:
    async with SocketViewer.joined(runtime.url) as viewer:
        await viewer.see(1)
        async with httpx.AsyncClient(base_url=runtime.url) as http:
            await http.post("/stop_session", json={})
        assert await viewer.until_closed() == (1000, "")
        assert viewer.told("sessionEnded") == [{"reason": "stopped"}]
    async with SocketViewer.joined(runtime.url, session_id="not-this-one", resume=False) as viewer:
        assert await viewer.until_closed() == (4400, "No session running")


@pytest.mark.slow
async def test_a_foreign_page_is_refused(runtime: Runtime, caplog: pytest.LogCaptureFixture) -> None:
    session_id = await session_of(runtime.url)
    with pytest.raises(InvalidStatus) as foreign:
        async with opened(runtime.url, session_id, origin="https://evil.example"):
            pass
    assert foreign.value.response.status_code == 403
    assert errors_of(caplog) == []


@pytest.mark.slow
async def test_the_token_is_asked_for_and_a_page_may_say_it_in_a_subprotocol(tmp_path: Path) -> None:
    async with served(tmp_path, MODEL, token=SECRET) as locked:
        async with httpx.AsyncClient(base_url=locked.url, headers={"X-Reactor-Token": SECRET}) as http:
            session_id = (await http.post("/start_session", json={})).json()["session_id"]
        with pytest.raises(InvalidStatus) as missing:
            async with opened(locked.url, session_id):
                pass
        assert missing.value.response.status_code == 401
        spoken = ["reactor.media.v1", "reactor.token.Y29ycmVjdCBob3JzZQ"]
        async with SocketViewer.joined(locked.url, session_id=session_id, subprotocols=spoken) as viewer:
            assert viewer.socket.subprotocol == "reactor.media.v1"
            await viewer.see(3)


def errors_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]


# Bad clients -------------------------------------------------------------------------------------------


async def until_viewers(runtime: Runtime, count: int) -> None:
    async with asyncio.timeout(10):
        while (await metrics(runtime))["reactor_viewers"] != count:
            await asyncio.sleep(0.02)


async def closed_with(socket: ClientConnection) -> int:
    """Read what comes until the server closes, and return its code."""
    try:
        async with asyncio.timeout(10):
            while True:
                await socket.recv()
    except ConnectionClosed:
        return socket.close_code or 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("message", "code"),
    [
        (b"", 1007),
        (ack(0, 1)[:8], 1007),
        (b"\xff" * 40, 1007),
        (picture_header(0, codec="h264", keyframe=True, frame_id=1, capture_us=0) + b"picture", 1007),
        (picture_header(200, codec="h264", keyframe=True, frame_id=1, capture_us=0) + b"picture", 1007),
        (b"x" * (limits.SOCKET_MESSAGE_MAX_BYTES + 1), 1009),
    ],
    ids=["empty", "half a header", "noise", "to an output", "to no track", "too large"],
)
async def test_a_binary_message_that_is_none_of_ours_closes_its_socket_with_a_code(
    runtime: Runtime, message: bytes, code: int
) -> None:
    session_id = await session_of(runtime.url)
    async with SocketViewer.joined(runtime.url, session_id=session_id) as other:
        await other.see(1)
        async with opened(runtime.url, session_id) as socket:
            await socket.send(message)
            assert await closed_with(socket) == code
        await other.see(10)


@pytest.mark.slow
async def test_malformed_frames_are_closed_with_a_code(runtime: Runtime) -> None:
    session_id = await session_of(runtime.url)
    for raw, code in (
        (b"\xff\xff\xff\xff", 1002),
        (b"\x01\x05hello", 1002),  # not masked
        (Frame(Opcode.TEXT, b"\xff\xfe").serialize(mask=True), 1007),
        (struct.pack(">BBQ", 0x82, 0xFF, 1 << 40) + b"mask", 1009),
        (
            Frame(Opcode.TEXT, b"", fin=False).serialize(mask=True)
            + Frame(Opcode.CONT, b"", fin=False).serialize(mask=True) * 500,
            1009,
        ),
    ):
        async with opened(runtime.url, session_id) as socket:
            socket.transport.write(raw)
            assert await closed_with(socket) == code
    await until_viewers(runtime, 0)


@pytest.mark.slow
async def test_text_that_no_format_explains_is_counted_and_the_socket_stays(runtime: Runtime) -> None:
    async with SocketViewer.joined(runtime.url) as viewer:
        await viewer.see(1)
        for text in ("", "{", '{"scope": "runtime"}', '{"type": "request"}', "[1]", "nul", '{"scope": []}'):
            await viewer.socket.send(text)
        assert (await viewer.ask("note", number=1))["accepted"]
        assert (await metrics(runtime))["reactor_messages_rejected_total"] == 7


async def flooding(socket: ClientConnection, piece: bytes, *, per_s: int, seconds: float) -> None:
    """Send as fast as asked, or as fast as it is read."""
    until_s = time.monotonic() + seconds
    while time.monotonic() < until_s:
        socket.transport.write(piece * (per_s // 50))
        await asyncio.sleep(0.02)
        while socket.transport.get_write_buffer_size() > 1_000_000 and time.monotonic() < until_s:
            await asyncio.sleep(0.02)


@pytest.mark.slow
@pytest.mark.parametrize(
    "frame",
    [
        Frame(Opcode.BINARY, ack(0, 123_456)),
        Frame(Opcode.PING, b""),
        Frame(Opcode.TEXT, b"{}"),
        Frame(Opcode.PONG, b"x" * 100),
    ],
    ids=["acks", "pings", "text", "pongs"],
)
async def test_ten_thousand_frames_a_second_are_read_slowly_and_nobody_else_notices(
    runtime: Runtime, frame: Frame, monkeypatch: pytest.MonkeyPatch
) -> None:
    behind_s = long_form(1, round(limits.SOCKET_BEHIND_S))
    monkeypatch.setattr(limits, "SOCKET_BEHIND_S", behind_s)
    session_id = await session_of(runtime.url)
    async with SocketViewer.joined(runtime.url, session_id=session_id) as other:
        await other.see(5)
        async with opened(runtime.url, session_id, ping_interval=None) as socket:
            other.arrived_s.clear()
            began_s = time.monotonic()
            sending = asyncio.create_task(
                flooding(socket, frame.serialize(mask=True), per_s=10_000, seconds=behind_s + 6)
            )
            await asyncio.sleep(behind_s / 3)
            receipt_s = time.monotonic()
            await other.ask("note", number=1)
            assert time.monotonic() - receipt_s <= 0.5
            assert await closed_with(socket) in (1006, 1008)  # a reset may overtake the close frame
            lasted_s = time.monotonic() - began_s
            assert behind_s <= lasted_s <= behind_s + 5
            sending.cancel()
            assert len(other.arrived_s) >= 15 * lasted_s
            assert np.median(np.diff(other.arrived_s)) <= 0.05
            await until_viewers(runtime, 1)


@pytest.mark.slow
async def test_a_client_that_never_acks_is_told_that_it_is_too_slow_and_closed(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "SILENT_S", 1.0)
    async with (
        SocketViewer.joined(runtime.url) as other,
        SocketViewer.joined(runtime.url, resume=False) as viewer,
    ):
        viewer.acks = False
        await other.see(5)
        await viewer.notify("resume_track", "main_video")
        assert await viewer.until_closed() == (4008, codes.SLOW_CONSUMER)
        assert viewer.frames <= 20
        assert [notice["code"] for notice in viewer.told("notice")] == [codes.SLOW_CONSUMER]
        await other.see(10)


@pytest.mark.slow
async def test_a_client_that_reads_nothing_costs_nobody_anything_and_is_cut(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "SILENT_S", 1.0)
    session_id = await session_of(runtime.url)
    async with SocketViewer.joined(runtime.url, session_id=session_id) as other:
        async with opened(runtime.url, session_id) as socket:
            await socket.send(
                '{"type": "notification", "event": "resume_track", "data": {"name": "main_video"}}'
            )
            socket.transport.pause_reading()
            await other.see(60)
            await until_viewers(runtime, 1)
            socket.transport.abort()
        assert np.median(np.diff(other.arrived_s)) <= 0.05


def noise(seed: int, count: int) -> list[bytes | str]:
    random = np.random.default_rng(seed)
    messages: list[bytes | str] = []
    for _ in range(count):
        kind, track, flags, frame_id = (int(random.integers(0, top)) for top in (5, 4, 256, 500))
        head = bytes([1, kind, track, flags]) + frame_id.to_bytes(4, "big") + bytes(8)
        body = random.bytes(int(random.integers(0, 60)))
        kinds: list[bytes | str] = [
            head,
            head + body,
            body,
            body.decode("latin-1"),
            '{"type": "request", "method": 5}',
        ]
        messages.append(kinds[int(random.integers(0, len(kinds)))])
    return messages


@pytest.mark.slow
async def test_random_messages_end_their_own_socket_at_most(
    runtime: Runtime, caplog: pytest.LogCaptureFixture
) -> None:
    session_id = await session_of(runtime.url)
    async with SocketViewer.joined(runtime.url, session_id=session_id) as other:
        for seed in range(30):
            # Each is somebody else's, or one address would be told to wait.
            theirs = {"X-Forwarded-For": f"192.0.2.{seed}"}
            async with opened(runtime.url, session_id, additional_headers=theirs) as socket:
                try:
                    for message in noise(seed, 20):
                        await socket.send(message)
                except ConnectionClosed:
                    pass
            assert socket.close_code in (1000, 1007)
        await other.see(10)
        assert (await other.ask("note", number=1))["accepted"]
    assert errors_of(caplog) == []
