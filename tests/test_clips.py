"""Clips end to end: a real `reactor run --record`, the published Python client, and the page in Chromium."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page
from support.chromium import HOOKS, chromium
from support.client_model import HEIGHT, WIDTH, write_client_model
from support.films import probe
from support.sdk import Client, connected, warm_up
from support.server import ReactorRun, running
from support.visitor import Visitor, watching

pytestmark = pytest.mark.slow

CHUNK_S = 4
#: A picture is shown this long; clips are exact to one.
FRAME_S = 1 / 30


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReactorRun]:
    warm_up()
    model = write_client_model(tmp_path_factory.mktemp("model"))
    with running(model, "--record", "--orphan-s", "5") as run:
        yield run


@pytest.fixture
def server(shared: ReactorRun) -> Iterator[ReactorRun]:
    """The module's server, with nobody on it."""
    shared.wait_for_state("ready")
    yield shared
    shared.wait_for_state("ready")


async def shown_for(client: Client, seconds: float) -> None:
    """Watch until so much has been recorded."""

    async def recorded_s() -> float:
        return float((await client.sdk.request_recording()).now_marker)

    await client.frames(5)
    while await recorded_s() < seconds:
        await asyncio.sleep(0.1)


async def test_the_python_client_downloads_a_clip_and_the_recording(
    server: ReactorRun, tmp_path: Path
) -> None:
    async with connected(server) as client:
        assert server.get("/session").json()["recording"] == {"enabled": True, "chunk_seconds": CHUNK_S}
        await shown_for(client, 4.5)
        clip = await client.sdk.request_clip(0.4)
        whole = await client.sdk.request_recording()
        assert clip.kind == "snap"
        assert clip.end_marker - clip.start_marker == pytest.approx(0.4, abs=0.002)
        assert clip.end_marker == clip.now_marker
        assert (whole.kind, whole.start_marker) == ("recording", 0.0)
        await client.sdk.download(clip, tmp_path / "clip.mp4")
        await client.sdk.download(whole, tmp_path / "whole.mp4")

    film = probe(tmp_path / "clip.mp4")
    film.check()
    assert film.size == (WIDTH, HEIGHT)
    playlist = server.get(clip.playlist_url.removeprefix(server.url)).text
    told_s = sum(float(length) for length in re.findall("EXTINF:([0-9.]+)", playlist))
    assert film.duration_s == pytest.approx(told_s, abs=FRAME_S)
    # It begins in the middle of the recording, and yet at zero.
    assert "chunk_00001.m4s" in playlist
    assert "chunk_00000.m4s" not in playlist
    assert 0.4 <= film.duration_s <= CHUNK_S + 1

    recording = probe(tmp_path / "whole.mp4")
    recording.check()
    assert recording.duration_s >= whole.end_marker - FRAME_S
    assert recording.duration_s > film.duration_s


async def test_the_last_seconds_wait_for_their_segment_and_outlive_the_session(server: ReactorRun) -> None:
    async with watching(server.url) as visitor:
        assert (await ask(visitor, "requestClip", duration_seconds=-1)) == {
            "reason": "a clip's duration must be more than 0 seconds"
        }
        clip = await ask(visitor, "requestClip", duration_seconds=300)
        assert clip.keys() == {
            "session_id",
            "kind",
            "start_marker",
            "end_marker",
            "now_marker",
            "predicted_ready_at_ms",
            "playlist_url",
        }
        assert clip["playlist_url"].startswith(f"/clips?session_id={clip['session_id']}&start=0.000&end=")
        early = await visitor.http.get(clip["playlist_url"])
        assert (early.status_code, early.headers["retry-after"], early.content) == (202, "2", b"")
        await visitor.leave()
        server.wait_for_state("ready")
        # The end of the session closes what was open.
        async with asyncio.timeout(10):
            while (ready := await visitor.http.get(clip["playlist_url"])).status_code == 202:
                await asyncio.sleep(0.05)
    assert (ready.status_code, ready.headers["content-type"]) == (200, "application/vnd.apple.mpegurl")
    assert ready.text.startswith("#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:4\n")
    assert ready.text.endswith("#EXT-X-ENDLIST\n")
    init, first = re.findall(r"clips/chunks/[^\"\s]+", ready.text)[:2]
    folder = f"/clips/chunks/{clip['session_id']}"
    assert (f"/{init}", f"/{first}") == (f"{folder}/init.mp4", f"{folder}/chunk_00000.m4s")
    assert server.get(f"/{init}").headers["content-type"] == "video/mp4"
    assert server.get(f"/{first}").headers["content-type"] == "video/iso.segment"
    statuses = {
        f"{folder}/chunk_00099.m4s": 404,
        f"{folder}/chunk_00000.m4s.part": 404,
        f"{folder}/%2e%2e%2finit.mp4": 404,
        "/clips/chunks/unknown/init.mp4": 410,
        "/clips?session_id=unknown&start=0&end=1": 410,
        f"/clips?session_id={clip['session_id']}&start=1000&end=1001": 410,
        f"/clips?session_id={clip['session_id']}&start=-1&end=1": 400,
        f"/clips?session_id={clip['session_id']}&start=1&end=1": 400,
        f"/clips?session_id={clip['session_id']}&start=0&end=inf": 400,
        f"/clips?session_id={clip['session_id']}&start=0&end=nan": 400,
    }
    assert {path: server.get(path).status_code for path in statuses} == statuses


async def ask(visitor: Visitor, kind: str, **data: Any) -> dict[str, Any]:
    """Ask for a clip in v0 and return the answer, whichever it is."""
    answers = ("clipReady", "clipFailed")
    before = sum(len(visitor.heard(answer)) for answer in answers)
    visitor.send("data", json.dumps({"scope": "runtime", "data": {"type": kind, "data": data}}))
    await visitor.until(lambda: sum(len(visitor.heard(answer)) for answer in answers) > before)
    return next(data for said, data in reversed(visitor.said) if said in answers)


async def test_answers_come_in_order_and_to_who_asked_only(server: ReactorRun) -> None:
    async with watching(server.url) as visitor, Visitor(server.url, wire="v1") as other:
        await other.adopt()
        await other.watch()
        await visitor.see(30)
        for duration_s in (0.1, -1, 0.2):
            request = {"type": "requestClip", "data": {"duration_seconds": duration_s}}
            visitor.send("data", json.dumps({"scope": "runtime", "data": request}))
        await visitor.until(lambda: len(visitor.heard("clipReady")) == 2)
        answers = [said for said in visitor.said if said[0] in ("clipReady", "clipFailed")]
        assert [kind for kind, _ in answers] == ["clipReady", "clipFailed", "clipReady"]
        lengths = [clip["end_marker"] - clip["start_marker"] for clip in visitor.heard("clipReady")]
        assert lengths == pytest.approx([0.1, 0.2], abs=0.002)
        await visitor.leave()
        assert [said for said in other.said if "clip" in said[0]] == []


# The page ---------------------------------------------------------------------------------------------

PLAYS = """
async bytes => {
  const video = document.createElement("video");
  video.muted = true;
  video.src = URL.createObjectURL(new Blob([new Uint8Array(bytes)], { type: "video/mp4" }));
  document.body.append(video);
  let shown = 0;
  const count = () => { shown += 1; video.requestVideoFrameCallback(count); };
  video.requestVideoFrameCallback(count);
  video.playbackRate = 4;
  await new Promise((resolve, reject) => {
    video.onended = resolve;
    video.onerror = () => reject(new Error(video.error.message));
    video.play().catch(reject);
  });
  return { duration: video.duration, width: video.videoWidth, height: video.videoHeight, shown };
}
"""


async def open_page(page: Page, server: ReactorRun) -> None:
    await page.add_init_script(path=HOOKS)
    await page.goto(server.url)
    await page.wait_for_function("() => window.reactorPage?.state === 'live'", timeout=30_000)


async def downloaded(page: Page, target: Path, button: str) -> bytes:
    """Press a button and return the film that the page saves."""
    async with page.expect_download(timeout=30_000) as download:
        await page.get_by_test_id(button).click()
    await (await download.value).save_as(target)
    assert (await download.value).suggested_filename.endswith(".mp4")
    return await asyncio.to_thread(target.read_bytes)


@pytest.mark.browser
async def test_the_page_saves_clips_and_films_that_play(server: ReactorRun, tmp_path: Path) -> None:
    async with chromium() as browser:
        page = await browser.new_page()
        problems: list[str] = []
        page.on("console", lambda said: problems.append(said.text) if said.type == "error" else None)
        await open_page(page, server)
        clip = await downloaded(page, tmp_path / "clip.mp4", "clip")
        probe(tmp_path / "clip.mp4").check()

        record = page.get_by_test_id("record")
        await record.click()
        await page.wait_for_function("() => document.querySelector('#record').ariaPressed === 'true'")
        await page.wait_for_timeout(1000)
        await downloaded(page, tmp_path / "film.mp4", "record")
        assert await record.get_attribute("aria-pressed") == "false"
        film = probe(tmp_path / "film.mp4")
        film.check()
        # Whole segments: it may begin and end one too early or too late.
        assert 1 <= film.duration_s <= 1 + 3 * CHUNK_S

        # A film that is being recorded is saved when its session ends.
        await record.click()
        await page.wait_for_function("() => document.querySelector('#record').ariaPressed === 'true'")
        await page.wait_for_timeout(500)
        await downloaded(page, tmp_path / "last.mp4", "stop")
        probe(tmp_path / "last.mp4").check()

        played = await page.evaluate(PLAYS, list(clip))
        assert problems == []
    described = probe(tmp_path / "clip.mp4")
    assert (played["width"], played["height"]) == (WIDTH, HEIGHT)
    assert played["duration"] == pytest.approx(described.duration_s, abs=FRAME_S)
    assert played["shown"] > 10


@pytest.mark.browser
async def test_the_page_offers_no_clips_where_nothing_is_recorded(tmp_path: Path) -> None:
    model = write_client_model(tmp_path)
    with running(model) as server:
        assert server.get("/session").json()["recording"]["enabled"] is False
        async with chromium() as browser:
            page = await browser.new_page()
            await open_page(page, server)
            assert not await page.get_by_test_id("clip").is_visible()
            assert not await page.get_by_test_id("record").is_visible()
