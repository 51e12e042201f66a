"""The published Python client, `reactor-sdk` 1.13.0 as released, drives a real `reactor run`."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import av
import httpx
import numpy as np
import pytest
from reactor_sdk import BadRequestError, ConflictError, InvalidStateError, ReactorError, RecorderDisabledError
from support.client_model import HEIGHT, LEFT, RIGHT, WIDTH, write_client_model
from support.sdk import VERSION, Client, connected, png, warm_up
from support.server import ReactorRun, running

from reactor_runtime.types import Pixels

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_client_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def shared(model: Path) -> Iterator[ReactorRun]:
    warm_up()
    with running(model, "--orphan-s", "5") as run:
        yield run


@pytest.fixture
def server(shared: ReactorRun) -> Iterator[ReactorRun]:
    """The module's server, with nobody on it."""
    shared.wait_for_state("ready")
    yield shared
    shared.wait_for_state("ready")


@pytest.fixture(scope="module")
def everybody(model: Path) -> Iterator[ReactorRun]:
    warm_up()
    with running(model, "--orphan-s", "5", "--join", "drive") as run:
        yield run


@pytest.fixture
def together(everybody: ReactorRun) -> Iterator[ReactorRun]:
    """A server where everybody drives, with nobody on it."""
    everybody.wait_for_state("ready")
    yield everybody
    everybody.wait_for_state("ready")


def test_the_client_is_the_version_that_the_documents_name() -> None:
    assert VERSION == "1.13.0"


async def test_frames_arrive_as_drawn(server: ReactorRun) -> None:
    async with connected(server) as client:
        assert client.status == "ready"
        pictures = await client.frames(60)
        assert {picture.rgb.shape for picture in pictures} == {(HEIGHT, WIDTH, 3)}
        red, green, blue = pictures[-1].colour(RIGHT)
        assert red < 60
        assert green < 60
        assert blue > 160
        assert [track.name for track in client.sdk.tracks] == ["main_video", "webcam"]


async def test_each_frame_brings_its_id_and_its_time_in_the_trailer(server: ReactorRun) -> None:
    async with connected(server) as client:
        pictures = await client.frames(30)
        ids = [picture.frame_id for picture in pictures]
        assert min(ids) > 0
        assert ids == sorted(set(ids))
        times_us = [picture.timestamp_us for picture in pictures]
        assert min(times_us) > 0
        assert times_us == sorted(times_us)


async def test_a_command_is_acknowledged_and_changes_the_picture(server: ReactorRun) -> None:
    async with connected(server) as client:
        await client.red(0, 40)
        assert await client.send_command("paint", {"red": 220}) is None
        await client.red(190, 255)


async def test_a_command_is_answered_with_the_handlers_reply(server: ReactorRun) -> None:
    async with connected(server) as client:
        await client.send_command("paint", {"red": 7})
        reply = await client.send_command("ask")
        assert reply is not None
        assert reply["data"] == {"red": 7, "camera": False}


async def test_a_message_of_the_model_arrives(server: ReactorRun) -> None:
    async with connected(server) as client:
        await client.send_command("announce", {"text": "sun"})
        await client.until(lambda: client.messages)
        assert client.messages == [{"type": "announcement", "data": {"text": "sun"}}]


@pytest.mark.parametrize(
    ("command", "arguments", "code", "says"),
    [
        ("paint", {"red": 700}, "invalid_command", "red: should be less than or equal to 255, got 700"),
        ("paint", {"red": "much"}, "invalid_command", "red: should be a valid integer"),
        ("paint", {}, "invalid_command", "red: missing argument"),
        ("paint", {"red": 1, "blue": 1}, "invalid_command", "blue: unexpected argument"),
        ("nothing", {}, "invalid_command", "unknown command"),
        ("refuse", {"why": "!"}, "not_now", "why: come back later!"),
    ],
)
async def test_a_refused_command_raises_the_code_the_field_and_the_reason(
    server: ReactorRun, command: str, arguments: dict[str, object], code: str, says: str
) -> None:
    async with connected(server) as client:
        error = await client.refused(command, arguments)
        assert error.code == code
        assert says in error.message
        assert await client.send_command("ask") is not None


async def test_an_upload_becomes_a_picture_argument(server: ReactorRun, tmp_path: Path) -> None:
    async with connected(server) as client:
        green = tmp_path / "green.png"
        green.write_bytes(png((0, 220, 0)))
        reference = await client.sdk.upload_file(str(green))
        assert await client.send_command("show", {"picture": reference}) is None
        await client.colour(lambda r, g, b: g > 150 and b < 90, RIGHT)

        raw = await client.sdk.upload_file(png((220, 0, 0)), name="../../red.png", mime_type="image/png")
        assert await client.send_command("show", {"picture": raw}) is None
        await client.colour(lambda r, g, b: r > 150 and g < 90, RIGHT)


async def test_an_upload_that_is_no_picture_is_refused_by_its_field(server: ReactorRun) -> None:
    async with connected(server) as client:
        reference = await client.sdk.upload_file(b"no picture", name="a.png", mime_type="image/png")
        error = await client.refused("show", {"picture": reference})
        assert error.code == "invalid_command"
        assert "picture" in error.message


async def test_a_paused_track_brings_nothing_until_it_is_resumed(server: ReactorRun) -> None:
    async with connected(server) as client:
        await client.frames(10)
        track = client.sdk.track("main_video")
        await track.pause()
        await client.send_command("paint", {"red": 220})
        await asyncio.sleep(0.3)  # what was under way
        client.received.clear()
        await asyncio.sleep(0.7)
        assert client.received == []
        await track.resume()
        await client.red(190, 255)
        await client.frames(10)


async def test_a_client_that_resumes_nothing_by_itself_gets_nothing_until_it_does(server: ReactorRun) -> None:
    async with connected(server, auto_resume_tracks=False) as client:
        await asyncio.sleep(0.7)
        assert client.received == []
        await client.sdk.track("main_video").resume()
        await client.frames(10)


def said(client: Client, kind: str) -> int:
    return sum(message["type"] == kind for message in client.messages)


async def stop(server: ReactorRun, **body: object) -> None:
    """End the session as an operator."""
    async with httpx.AsyncClient() as http:
        (await http.post(server.url + "/stop_session", json=body)).raise_for_status()


def webcam(colour: tuple[int, int, int]) -> Pixels:
    return np.full((240, 320, 3), colour, np.uint8)


async def push(client: Client, colour: tuple[int, int, int], until: asyncio.Task[None]) -> None:
    """Send pictures of one colour, thirty a second, until something has happened."""
    track = client.sdk.track("webcam")
    while not until.done():
        track.push_frame(webcam(colour))
        await asyncio.sleep(1 / 30)
    await until


async def publish_soon(client: Client) -> None:
    """Publish a track that another client is just letting go of."""
    async with asyncio.timeout(2):
        while not client.sdk.track("webcam").published:
            try:
                await client.sdk.track("webcam").publish()
            except ReactorError:
                await asyncio.sleep(0.02)


async def test_a_published_webcam_reaches_the_model_and_comes_back(server: ReactorRun) -> None:
    async with connected(server) as client:
        await client.frames(5)
        await client.sdk.track("webcam").publish()
        seen = asyncio.create_task(client.colour(lambda r, g, b: r > 150 and g > 150 and b < 90, RIGHT))
        await push(client, (220, 220, 20), seen)
        reply = await client.send_command("ask")
        assert reply is not None
        assert reply["data"]["camera"] is True


async def test_a_second_publisher_is_refused_until_the_first_lets_go(together: ReactorRun) -> None:
    async with connected(together) as first, connected(together, session_id=first.session_id) as second:
        await first.sdk.track("webcam").publish()
        with pytest.raises(ReactorError, match="track already published") as refused:
            await second.sdk.track("webcam").publish()
        assert refused.value.code == "publish_refused"
        with pytest.raises(InvalidStateError):
            second.sdk.track("webcam").push_frame(webcam((0, 0, 0)))

        first.sdk.track("webcam").unpublish()
        await publish_soon(second)
        seen = asyncio.create_task(first.colour(lambda r, g, b: r > 150 and b > 150 and g < 90, RIGHT))
        await push(second, (220, 20, 220), seen)


async def test_a_publishers_slot_is_free_when_its_connection_goes(together: ReactorRun) -> None:
    async with connected(together) as first:
        async with connected(together, session_id=first.session_id) as second:
            await second.sdk.track("webcam").publish()
        await publish_soon(first)


async def test_a_reconnect_finds_the_same_session_with_its_state(server: ReactorRun) -> None:
    async with connected(server) as client:
        before = client.session_id
        await client.send_command("paint", {"red": 220})
        await client.red(190, 255)
        await client.sdk.reconnect()
        assert client.session_id == before
        await client.frames(10)
        await client.red(190, 255)
        assert await client.send_command("paint", {"red": 0}) is None
        await client.red(0, 40)
        assert server.session_state() == "streaming"


async def test_a_second_and_a_third_viewer_join_and_leave_a_running_session(together: ReactorRun) -> None:
    async with connected(together) as creator:
        session_id = creator.session_id
        async with (
            connected(together, session_id=session_id) as second,
            connected(together, session_id=session_id) as third,
        ):
            everyone = (creator, second, third)
            await asyncio.gather(*(client.frames(10) for client in everyone))
            await third.send_command("paint", {"red": 220})
            await asyncio.gather(*(client.red(190, 255) for client in everyone))
            reply = await second.send_command("ask")
            assert reply is not None
            await creator.send_command("announce", {"text": "all"})
            for client in everyone:
                await client.until(lambda who=client: said(who, "announcement"))  # type: ignore[misc]
            # A reply is for who asked.
            await second.until(lambda: said(second, reply["type"]))
            assert [said(client, reply["type"]) for client in everyone] == [0, 1, 0]
        # Adopters do not end it.
        assert together.session_state() == "streaming"
        await creator.frames(10)


async def test_a_session_that_its_creator_lost_can_be_adopted(server: ReactorRun) -> None:
    lost = Client(server)
    await lost.sdk.connect()
    session_id = lost.session_id
    await lost.frames(5)
    lost.sdk.close()  # as a program that ends: nothing is told to the server
    async with connected(server, session_id=session_id) as heir:
        await heir.frames(10)
        assert server.session_state() == "streaming"
    # An adopter does not stop the session; its own end is the orphan timer's, or an operator's.
    await stop(server)


async def test_a_busy_server_is_a_conflict(server: ReactorRun) -> None:
    async with connected(server) as client:
        late = Client(server)
        with pytest.raises(ConflictError) as refused:
            await late.sdk.connect()
        late.sdk.close()
        assert refused.value.status == 409
        # The failed connect must not have ended the session of the other.
        await client.frames(10)


async def test_a_disconnect_frees_the_slot_for_the_next_user_who_finds_nothing_of_it(
    server: ReactorRun,
) -> None:
    async with connected(server) as first:
        await first.send_command("paint", {"red": 220})
        await first.red(190, 255)
    began = time.monotonic()
    async with connected(server) as second:
        await second.frames(1)
        took_s = time.monotonic() - began
        assert second.received[-1].colour(LEFT)[0] < 60
    assert took_s < 3


async def test_the_schema_describes_the_commands(server: ReactorRun) -> None:
    async with connected(server) as client:
        schema = await client.sdk.request_schema()
        assert schema["openapi"] == "3.1.0"
        assert schema == server.get("/schema").json()
        assert "/events/paint" in schema["paths"]


async def test_a_clip_is_refused_while_nothing_is_recorded(server: ReactorRun) -> None:
    async with connected(server) as client:
        with pytest.raises(RecorderDisabledError):
            await client.sdk.request_clip(2.0)


async def test_a_clip_can_be_asked_for_and_downloaded(model: Path, tmp_path: Path) -> None:
    with running(model, "--record") as server:
        async with connected(server) as client:
            await client.frames(60)
            clip = await client.sdk.request_clip(1.0)
            assert clip.kind == "snap"
            assert clip.end_marker > clip.start_marker
            film = tmp_path / "clip.mp4"
            await client.sdk.download(clip, film)
        with av.open(film) as container:
            (stream,) = container.streams.video
            assert (stream.width, stream.height) == (WIDTH, HEIGHT)
            assert len(list(container.decode(stream))) >= 20


async def test_its_statistics_are_taken_and_do_no_harm(server: ReactorRun) -> None:
    async with connected(server) as client:
        await client.frames(10)
        stats = await client.sdk.get_stats()
        assert stats.inbound
        await client.send_command("ask")


async def test_a_server_that_ends_the_session_is_noticed_and_a_reconnect_is_refused(
    server: ReactorRun,
) -> None:
    client = Client(server)
    await client.sdk.connect()
    await client.frames(5)
    await stop(server, reason="maintenance")
    # 1.13.0 drops sessionEnded; it learns of the end by losing the connection, which takes it 5 to 8 s.
    await client.until(lambda: client.status == "disconnected", 15)
    with pytest.raises(BadRequestError):
        await client.sdk.reconnect()
    client.sdk.close()


async def test_a_moderated_end_says_why(server: ReactorRun) -> None:
    client = Client(server)
    await client.sdk.connect()
    await client.frames(5)
    await stop(server, moderate=True, reason="not here")
    await client.until(lambda: client.notices)
    assert client.notices[0]["type"] == "moderation"
    assert client.notices[0]["data"]["action"] == "terminate"
    assert client.notices[0]["data"]["message"] == "not here"
    client.sdk.close()


async def test_a_model_that_raises_tells_its_user_and_serves_the_next(server: ReactorRun) -> None:
    client = Client(server)
    await client.sdk.connect()
    await client.frames(5)
    await client.send_command("fail")
    await asyncio.to_thread(server.wait_for_state, "ready", within_s=5)
    told = [str(error) for error in client.errors] + [str(notice) for notice in client.notices]
    assert not any("secret" in text for text in told)
    client.sdk.close()
    async with connected(server) as following:
        await following.frames(10)


async def test_a_model_process_that_dies_is_replaced_for_the_next_user(model: Path) -> None:
    with running(model) as server:
        (before,) = server.children()
        client = Client(server)
        await client.sdk.connect()
        await client.frames(5)
        crash = asyncio.create_task(client.sdk.send_command("crash", {}))
        await asyncio.to_thread(
            server.wait_for, lambda: server.session_state() != "streaming", "the end of the session"
        )
        await asyncio.to_thread(server.wait_for_state, "ready")
        client.sdk.close()
        with pytest.raises(ReactorError):
            await crash
        assert server.children() != [before]
        async with connected(server) as following:
            await following.frames(10)


@pytest.mark.keeps_resources  # the client's pool keeps sockets to a server that has gone
async def test_a_drain_is_told_while_the_session_goes_on(model: Path) -> None:
    with running(model, "--drain-s", "20") as server:
        async with connected(server) as client:
            server.process.send_signal(signal.SIGTERM)
            await client.until(lambda: client.notices)
            assert client.notices[0]["type"] == "moderation"
            told = client.notices[0]["data"]
            assert (told["action"], told["categories"]) == ("warn", ["draining"])
            assert told["message"] == "the server stops in at most 20 s"
            assert await client.send_command("ask") is not None
        assert await asyncio.to_thread(server.process.wait, 10) == 0


async def test_whole_numbers_of_a_reply_arrive_as_floats(server: ReactorRun) -> None:
    # The format has doubles only; docs/clients.md says so. A model gets integers as integers.
    async with connected(server) as client:
        await client.send_command("paint", {"red": 7})
        reply = await client.send_command("ask")
        assert reply is not None
        assert repr(reply["data"]["red"]) == "7.0"


async def test_a_session_without_its_client_ends_after_the_orphan_time(model: Path) -> None:
    with running(model, "--orphan-s", "1") as server:
        client = Client(server)
        await client.sdk.connect()
        await client.frames(5)
        client.sdk.close()
        began = time.monotonic()
        await asyncio.to_thread(server.wait_for_state, "ready", within_s=15)
        assert 1 <= time.monotonic() - began < 10
