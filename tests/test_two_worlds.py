"""Two slots on one server: two people drive two worlds at once, and nothing of one is seen, heard or kept in the other.

Real processes, one server for the module: `first` and `second` are clients of one kind at one address, each in a
session of its own.
"""

from __future__ import annotations

import asyncio
import inspect
import io
import json
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import av
import httpx
import PIL.Image
import pytest
from playwright.async_api import Page, expect
from prometheus_client.parser import text_string_to_metric_families
from support import stamps
from support.chromium import chromium
from support.crowd import Crowd
from support.promises import long_form
from support.server import ReactorRun, running, write_model
from support.visitor import Refused, Visitor

from reactor_runtime.cli.doctor import check_slots

pytestmark = [pytest.mark.slow]

MODEL = f"""
import os
from pathlib import Path

import numpy as np
from pydantic import Field
from reactor_runtime import Image, VideoModel, command, get_ctx

BLOCKS = {stamps.BLOCKS}
Pixels = np.ndarray
{inspect.getsource(stamps._checksum)}
{inspect.getsource(stamps.draw_stamp)}

#: While it is there, no model can be loaded.
BROKEN = Path(__file__).with_name("broken")


class Model(VideoModel):
    fps = 15

    def __init__(self):
        if BROKEN.exists():
            os._exit(3)
        self.reset()

    def reset(self):
        self.level = 20

    def start_session(self):
        number = 0
        while True:
            number += 1
            picture = np.full((128, 256, 3), self.level, np.uint8)
            draw_stamp(picture, number)
            get_ctx().report(level=self.level)
            get_ctx().emit_frame(picture)

    @command("set_level", description="How bright it is")
    def set_level(self, level: int = Field(20, ge=0, le=255)):
        self.level = level
        return {{"level": level}}

    @command("shout", description="Tell everyone")
    def shout(self, text: str):
        print("shouted", text)
        get_ctx().send({{"text": text}}, type="shouted")

    @command("use", description="Use a picture")
    def use(self, picture: Image):
        return {{"size": list(picture.size)}}

    @command("gpu", description="What it sees of the GPUs")
    def gpu(self):
        return {{"gpu": os.environ.get("CUDA_VISIBLE_DEVICES", "all")}}

    @command("crash", description="End the process")
    def crash(self):
        os._exit(3)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("worlds")


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[ReactorRun]:
    # One slot for each, also where there is no GPU.
    flags = ("--gpus", "0,1", "--record", "--record-dir", str(folder / "recordings"))
    logs = ("--log-session", str(folder / "logs"), "--restarts", str(long_form(1, 2)))
    with running(write_model(folder / "model", MODEL), *flags, *logs) as run:
        run.wait_for(lambda: slots(run) == ["ready", "ready"], "the second slot")
        yield run


def slots(server: ReactorRun) -> list[str]:
    found = server.health()["slots"]
    assert isinstance(found, list)
    return found


async def until_slots(server: ReactorRun, *states: str, within_s: float = 20) -> None:
    await asyncio.to_thread(server.wait_for, lambda: slots(server) == list(states), f"{states}", within_s)


@asynccontextmanager
async def two(server: ReactorRun) -> AsyncIterator[tuple[Visitor, Visitor]]:
    """Two sessions, each watched by whoever started it; they end with the block."""
    async with Visitor(server.url) as first, Visitor(server.url) as second:
        for visitor in (first, second):
            answer = await visitor.start()
            assert answer.status_code == 200, answer.text
            await visitor.watch(3)
        assert first.session_id != second.session_id
        yield first, second
        for visitor in (first, second):
            # 404 where it has ended.
            await visitor.http.post("/stop_session", json={"session_id": visitor.session_id})
    await asyncio.to_thread(
        server.wait_for, lambda: set(slots(server)) <= {"ready", "terminated"}, "the end of both"
    )


def level_of(visitor: Visitor) -> float:
    picture = visitor.last["main_video"].to_ndarray(format="rgb24")
    return float(picture[40:].mean())


async def until_level(visitor: Visitor, level: int) -> None:
    await visitor.until(lambda: abs(level_of(visitor) - level) < 6)


# What each sees and hears -----------------------------------------------------------------------------


async def test_each_sees_the_frames_of_his_own_world(server: ReactorRun) -> None:
    async with two(server) as (first, second):
        await asyncio.gather(first.ask("set_level", level=220), second.ask("set_level", level=90))
        await asyncio.gather(until_level(first, 220), until_level(second, 90))
        for _ in range(20):
            await asyncio.gather(first.see(), second.see())
            assert abs(level_of(first) - 220) < 6
            assert abs(level_of(second) - 90) < 6


async def test_commands_and_messages_reach_their_own_world_only(server: ReactorRun) -> None:
    async with two(server) as (first, second):
        assert await first.ask("set_level", level=200) == {"level": 200}
        await first.ask("shout", text="only here")
        assert await first.hear("message:shouted") == {"text": "only here"}
        await first.until(lambda: "200" in json.dumps(first.heard("values")))
        await second.ask("shout", text="and here")
        await second.hear("message:shouted")
        await second.see(10)
        assert second.heard("message:shouted") == [{"text": "and here"}]
        assert first.heard("message:shouted") == [{"text": "only here"}]
        assert "200" not in json.dumps(second.heard("values"))
        assert abs(level_of(second) - 20) < 6


async def test_each_model_process_sees_the_gpu_of_its_slot_alone(server: ReactorRun) -> None:
    async with two(server) as (first, second):
        assert await first.ask("gpu") == {"gpu": "0"}
        assert await second.ask("gpu") == {"gpu": "1"}


async def test_an_upload_of_one_world_is_nothing_in_the_other(server: ReactorRun) -> None:
    content = io.BytesIO()
    PIL.Image.new("RGB", (30, 20)).save(content, "PNG")
    about = {"name": "a.png", "size": len(content.getvalue()), "mime_type": "image/png"}
    async with two(server) as (first, second):
        reserved = (await first.http.post(f"/sessions/{first.session_id}/uploads", json=about)).json()
        foreign = reserved["presigned_url"].replace(first.session_id, second.session_id)
        assert (await second.http.put(foreign, content=content.getvalue())).status_code == 404
        assert (
            await first.http.put(reserved["presigned_url"], content=content.getvalue())
        ).status_code == 200
        reference = {"picture": {"upload_id": reserved["presigned_id"], **about}}
        assert await first.ask("use", reference) == {"size": [30, 20]}
        with pytest.raises(Refused, match="upload"):
            await second.ask("use", reference)


# What is kept -----------------------------------------------------------------------------------------


async def test_a_session_log_holds_and_opens_with_its_own_session_only(
    server: ReactorRun, folder: Path
) -> None:
    async with two(server) as (first, second):
        await first.ask("shout", text="secret of the first")
        await second.ask("shout", text="secret of the second")
        logs = {each.session_id: each.log_path for each in (first, second)}
        for visitor, other in ((first, second), (second, first)):
            text = (await visitor.http.get(logs[visitor.session_id])).text
            assert visitor.session_id in text
            assert other.session_id not in text
            assert text.count("secret of the") == 1
            crossed = logs[other.session_id].replace(other.session_id, visitor.session_id)
            assert (await visitor.http.get(crossed)).status_code == 404
    for visitor, other in ((first, second), (second, first)):
        (file,) = (folder / "logs").glob(f"*{visitor.session_id[:8]}*")
        assert other.session_id not in file.read_text()


async def test_a_recording_shows_its_own_world_only(server: ReactorRun, folder: Path) -> None:
    async with two(server) as (first, second):
        await asyncio.gather(first.ask("set_level", level=220), second.ask("set_level", level=90))
        await asyncio.gather(until_level(first, 220), until_level(second, 90))
        ids = []
        for visitor in (first, second):
            request = {"type": "requestRecording", "data": {}}
            visitor.send("data", json.dumps({"scope": "runtime", "data": request}))
            ids.append((await visitor.hear("clipReady"))["session_id"])
        assert len(set(ids)) == 2
        assert [len(visitor.heard("clipReady")) for visitor in (first, second)] == [1, 1]
    for recording_id, own, other in ((ids[0], 220, 90), (ids[1], 90, 220)):
        recorded = folder / "recordings" / recording_id
        parts = [recorded / "init.mp4", *sorted(recorded.glob("chunk_*.m4s"))]
        with av.open(io.BytesIO(b"".join(part.read_bytes() for part in parts)), "r") as film:
            levels = [frame.to_ndarray(format="rgb24")[40:].mean() for frame in film.decode(video=0)]
        assert any(abs(level - own) < 8 for level in levels)
        assert not any(abs(level - other) < 8 for level in levels)


async def test_numbers_and_the_journal_name_the_slot_they_are_of(server: ReactorRun) -> None:
    async with two(server) as (first, second):
        await first.ask("set_level", level=200)
        await first.see(5)
        numbers = samples(server)
        assert numbers["reactor_session", "level", "0"] == 200
        assert numbers["reactor_session", "level", "1"] == 20
        for slot in "01":
            assert numbers["reactor_viewers", "", slot] == 1
            # A Python process with numpy.
            assert numbers["reactor_model_resident_bytes", "", slot] > 10e6
            assert numbers["reactor_model_cpu_seconds_total", "", slot] > 0
        commands = [numbers["reactor_commands_total", "", slot] for slot in "01"]
        seen = await journal(server)
        await first.ask("set_level", level=10)
        assert [entry["slot"] for entry in await journal(server, since=len(seen))] == [0]
        numbers = samples(server)
        assert [numbers["reactor_commands_total", "", slot] for slot in "01"] == [
            commands[0] + 1,
            commands[1],
        ]
        sessions = server.get("/overview").json()["sessions"]
        assert [(each["session_id"], each["slot"], each["viewers"]) for each in sessions] == [
            (first.session_id, 0, 1),
            (second.session_id, 1, 1),
        ]


def samples(server: ReactorRun) -> dict[tuple[str, str, str], float]:
    """Return the numbers by name, `name` label and slot."""
    return {
        (sample.name, sample.labels.get("name", ""), sample.labels.get("slot", "")): sample.value
        for family in text_string_to_metric_families(server.get("/metrics").text)
        for sample in family.samples
    }


def unshown(server: ReactorRun) -> float:
    """How many frames of the first slot came to the server and were not sent."""
    numbers = samples(server)
    return sum(numbers[f"reactor_frames_{what}_total", "", "0"] for what in ("skipped", "dropped"))


async def journal(server: ReactorRun, since: int = 0) -> list[dict[str, Any]]:
    """Return what /events has told so far."""
    found: list[dict[str, Any]] = []
    async with (
        httpx.AsyncClient(base_url=server.url) as http,
        http.stream("GET", "/events", params={"since": since}) as answer,
    ):
        lines = answer.aiter_lines()
        while True:
            try:
                line = await asyncio.wait_for(anext(lines), 0.5)
            except TimeoutError:
                return found
            if line.startswith("data: "):
                found.append(json.loads(line.removeprefix("data: ")))


# Coming and going -------------------------------------------------------------------------------------


async def test_a_third_is_refused_until_a_slot_is_free_and_each_who_leaves_ends_his_own(
    server: ReactorRun,
) -> None:
    async with two(server) as (first, second), Visitor(server.url) as third:
        assert (await third.start()).status_code == 409
        # All three look alike: a stop is of the one who hangs up.
        await first.leave()
        await until_slots(server, "ready", "streaming")
        assert (await third.start()).status_code == 200
        await third.watch(3)
        assert slots(server) == ["streaming", "streaming"]
        await third.leave()
        await until_slots(server, "ready", "streaming")
        await second.see(5)
        assert not second.heard("sessionEnded")


async def test_a_session_cannot_be_joined_by_the_connection_of_another(server: ReactorRun) -> None:
    async with two(server) as (first, second):
        first.session_id, own = second.session_id, first.session_id
        assert (await first.http.get(first._params)).status_code == 404
        first.session_id = own


@pytest.mark.browser
async def test_two_browsers_drive_two_worlds_and_each_finds_its_own_again(server: ReactorRun) -> None:
    async with chromium() as browser:

        async def come() -> Page:
            page = await (await browser.new_context()).new_page()
            await page.goto(server.url)
            await live(page)
            return page

        first, second = await come(), await come()
        for page, level in ((first, 220), (second, 120)):
            field = page.get_by_label("Level, exact value")
            await field.fill(str(level))
            await field.press("Enter")
        await until_shown(first, 220)
        await until_shown(second, 120)
        await first.reload()
        await live(first)
        await until_shown(first, 220)
        await until_shown(second, 120)
        sessions = (await asyncio.to_thread(server.get, "/overview")).json()["sessions"]
        assert [each["slot"] for each in sessions] == [0, 1]
        await second.get_by_test_id("stop").click()
        await expect(second.locator("body")).to_have_attribute("data-state", "ended")
        await until_slots(server, "streaming", "ready")
        await until_shown(first, 220)
        await first.get_by_test_id("stop").click()
        await until_slots(server, "ready", "ready")


async def live(page: Page) -> None:
    await expect(page.locator("body")).to_have_attribute("data-state", "live", timeout=20_000)


async def until_shown(page: Page, level: int) -> None:
    """Wait until the middle of the picture is so bright."""
    await page.wait_for_function(
        """(level) => {
            const video = document.querySelector("video");
            const canvas = document.createElement("canvas");
            canvas.width = canvas.height = 1;
            const context = canvas.getContext("2d");
            context.drawImage(video, video.videoWidth / 2, video.videoHeight / 2, 8, 8, 0, 0, 1, 1);
            return Math.abs(context.getImageData(0, 0, 1, 1).data[0] - level) < 8;
        }""",
        arg=level,
        timeout=15_000,
    )


# Failures ---------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("server")
def test_the_doctor_knows_what_a_slot_takes_since_the_model_was_loaded(folder: Path) -> None:
    found = check_slots(folder / "model")
    assert found.state == "ok"
    assert re.match(r"0\.\d GB each, .* fit", found.text), found.text


class Numbers(dict[str, Any]):
    """Takes pictures as `Visitor.last`, and keeps the number of each."""

    def __init__(self) -> None:
        self.numbers: list[int | None] = []

    def __setitem__(self, track: str, picture: Any) -> None:
        self.numbers.append(stamps.read_stamp(picture.to_ndarray(format="rgb24")))
        super().__setitem__(track, picture)


@pytest.mark.alone
async def test_a_model_that_crashes_in_a_loop_costs_the_other_world_no_frame(
    server: ReactorRun, folder: Path, record_property: Callable[[str, object], None]
) -> None:
    """The last of the module: the second slot is out of service after it."""
    async with two(server) as (first, second):
        crowd = Crowd()
        before = unshown(server)
        first.last = seen = Numbers()
        await first.see(10)
        (folder / "model" / "broken").touch()
        second.tell("crash")
        assert (await second.hear("sessionEnded"))["reason"] == "model_crashed"
        await until_slots(server, "streaming", "terminated", within_s=60)
        await first.see(10)
        shown = [number for number in seen.numbers if number is not None]
        lost = shown[-1] - shown[0] + 1 - len(shown)
        here = unshown(server) - before
        record_property("measured", f"{lost} of {len(shown)} frames, {here:.0f} of them in the server")
        # A viewer that has no core for a moment shows the next picture instead.
        assert here <= (0.02 * len(shown) if crowd.crowded else 0)
        assert lost <= (0.02 * len(shown) if crowd.crowded else 0)
        assert not first.heard("notice")
        assert (await first.http.post("/start_session", json={})).status_code == 409
    assert "slot 1: out of service: the model failed too often" in server.text
    assert server.process.poll() is None
    assert server.health()["status"] == "healthy"
