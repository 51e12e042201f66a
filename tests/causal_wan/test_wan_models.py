"""Both models as their users meet them: through commands, on the tiny profile, from its files to its pictures."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from causal_wan import live
from PIL import Image
from support.audience import Audience, watching
from support.promises import NIGHTLY, by_night
from support.sdk import Client, connected, warm_up
from support.server import ReactorRun, running

from reactor_runtime.author.manifest import Manifest
from reactor_runtime.errors import ManifestError, WeightsMissing
from reactor_runtime.running.context import SessionContext
from reactor_runtime.types import Pixels

EXAMPLES = Path(__file__).parents[2] / "examples"
SIZE = {"longlive": (32, 48), "matrix": (32, 48)}
BLOCKS = (9, 12, 12, 12, 12, 12)

pytestmark = pytest.mark.slow


def audience(example: str, **args: Any) -> AbstractAsyncContextManager[Audience]:
    return watching(EXAMPLES / example, profile="tiny", **{"size": list(SIZE[example]), **args})


class Film:
    """Looks at a stream block by block."""

    def __init__(self, user: Audience) -> None:
        self.user = user
        self.blocks: list[list[Pixels]] = []

    async def watch(self, count: int) -> None:
        for _ in range(count):
            length = 9 if not self.blocks else 12
            self.blocks.append([await self.user.look() for _ in range(length)])


async def a_film(
    example: str, told: dict[int, tuple[str, dict[str, Any]]], blocks: int = 5, **args: Any
) -> list[list[Pixels]]:
    """Watch a film whose user sends a command while this block is shown. The model is one block ahead then."""
    async with audience(example, **args) as user:
        film = Film(user)
        for block in range(blocks):
            if block in told:
                name, arguments = told[block]
                await user.tell(name, **arguments)
            await film.watch(1)
        return film.blocks


def same(a: list[Pixels], b: list[Pixels]) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


Told = tuple[str, str, dict[str, Any]]
COMMANDS: list[Told] = [
    ("longlive", "set_prompt", {"prompt": "a forest in winter"}),
    ("matrix", "control", {"mouse_key": "U", "keyboard_key": "W", "also_held": ["A"]}),
]
MORE: list[Told] = [
    ("longlive", "set_seed", {"seed": 7}),
    ("matrix", "control", {"mouse_key": "L", "keyboard_key": "W"}),
]


@pytest.mark.parametrize(("example", "name", "arguments"), [*COMMANDS, *by_night(*MORE)])
async def test_a_command_acts_at_the_next_block_and_not_before(
    example: str, name: str, arguments: dict[str, Any]
) -> None:
    plain = await a_film(example, {})
    told = await a_film(example, {2: (name, arguments)})
    changed = [not same(a, b) for a, b in zip(plain, told, strict=True)]
    # Told while block 2 waits to be shown, so block 3 is the first that is made after it.
    assert changed == [False, False, False, True, True]
    assert all(same(a, b) for a, b in zip(told, await a_film(example, {2: (name, arguments)}), strict=True))


@pytest.mark.parametrize("example", ["longlive", "matrix"])
async def test_every_picture_of_every_block_is_shown(example: str) -> None:
    film = await a_film(example, {}, blocks=3)
    assert [len(block) for block in film] == [9, 12, 12]
    assert all(picture.shape == (*SIZE[example], 3) for block in film for picture in block)
    moving = [np.abs(a.astype(int) - b).mean() for a, b in zip(film[1], film[1][1:], strict=False)]
    assert min(moving) > 0.5


MAGENTA = Image.new("RGB", (200, 100), (230, 20, 200))


def as_base64(picture: Image.Image) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


@pytest.mark.parametrize("example", ["longlive", "matrix"])
async def test_nothing_of_one_user_reaches_the_next_and_reset_starts_over(example: str) -> None:
    deeds: list[tuple[str, dict[str, Any]]] = (
        [("set_prompt", {"prompt": "fire"}), ("set_seed", {"seed": 9})]
        if example == "longlive"
        else [
            ("control", {"mouse_key": "L", "keyboard_key": "W"}),
            ("set_starting_image", {"base64_image": as_base64(MAGENTA), "image_id": "m"}),
        ]
    )
    plain = await a_film(example, {}, blocks=3)
    async with audience(example) as user:
        for name, arguments in deeds:
            await user.tell(name, **arguments)
        film = Film(user)
        await film.watch(3)
        assert not same(film.blocks[2], plain[2])
        await user.leave()

        user.host.start_session("two")
        film = Film(user)
        await film.watch(3)
        assert all(same(a, b) for a, b in zip(film.blocks, plain, strict=True))

        for name, arguments in deeds:
            await user.tell(name, **arguments)
        # What is ready already, unless it was of the old world; then a part of a block that was told of this.
        await user.look(12 + 5 if example == "longlive" else 5)
        await user.tell("reset")
        again = Film(user)
        await again.watch(3)
        assert all(same(a, b) for a, b in zip(again.blocks, plain, strict=True))


async def test_a_starting_image_begins_another_world() -> None:
    async with audience("matrix") as user:
        film = Film(user)
        await film.watch(1)
        reply = await user.tell("set_starting_image", base64_image=as_base64(MAGENTA), image_id="magenta")
        assert reply == {"image_id": "magenta", "width": 200, "height": 100}
        refused = await user.say("set_starting_image", base64_image="bm90IGEgcGljdHVyZQ==", image_id="x")
        assert refused.code == "invalid_command"
        world = [await user.look() for _ in range(9)]
        assert not same(world, film.blocks[0])


@pytest.mark.parametrize(
    ("mode", "mouse", "code"), [("gta_drive", "J", "no_mouse"), ("templerun", "I", "no_such_key")]
)
async def test_each_mode_has_its_own_checkpoint_and_keys(mode: str, mouse: str, code: str) -> None:
    async with audience("matrix", mode=mode) as user:
        await user.look(9)
        assert (await user.say("control", mouse_key=mouse, keyboard_key="W")).code == code
        await user.tell("control", mouse_key="U", keyboard_key="A")
        await user.look(12)


async def test_numbers_are_reported() -> None:
    reported: list[dict[str, Any]] = []
    async with audience("longlive") as user:
        user.metrics = reported.append  # type: ignore[assignment, method-assign]
        await user.tell("set_prompt", prompt="snow")
        await user.look(9 + 12 + 12)
    names = {name for numbers in reported for name in numbers}
    assert {"dit_s", "vae_s", "block_s", "command_to_frame_s"} <= names
    assert all(0 < value < 60 for numbers in reported for value in numbers.values())


def constructed(example: str) -> tuple[Any, Any, Any]:
    """Return a tiny model, its pipeline and its wishes."""
    manifest = Manifest.read(EXAMPLES / example)
    model: Any = manifest.construct(manifest.load_class(), {"profile": "tiny", "size": list(SIZE[example])})
    return model, model._pipeline if example == "longlive" else model._game, model._wishes


@pytest.mark.parametrize("example", ["longlive", "matrix"])
def test_overlapping_shows_the_same_pictures(example: str) -> None:
    """The order of the work is that of CUDA, on this CPU: the next block is denoised before this one is shown."""
    _, pipeline, wishes = constructed(example)
    films = []
    for overlap in (False, True):
        pipeline._overlap = overlap
        playing = pipeline.play(wishes)
        films.append([next(playing).pixels.copy() for _ in range(4)])
        playing.close()
    for plain, overlapped in zip(*films, strict=True):
        np.testing.assert_array_equal(plain, overlapped)


@pytest.mark.parametrize("deed", ["reset", "reset twice", "new picture", "new film"])
def test_nothing_of_the_old_world_is_shown_after_a_new_one_was_asked_for_though_a_block_was_ahead(
    deed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next block is the first of the new world: no part of the one that was made ahead."""
    example = "longlive" if deed == "new film" else "matrix"
    model, pipeline, wishes = constructed(example)
    ctx = Mock(SessionContext)
    monkeypatch.setattr(sys.modules[type(model).__module__], "get_ctx", lambda: ctx)

    def act() -> None:
        if deed == "new film":
            model.set_prompt("a forest in winter")  # acts in the block ahead, which is thrown away
            model.reset()
        elif deed == "new picture":
            model.set_starting_image(as_base64(MAGENTA), "m")
        else:
            for _ in deed.split():
                model.reset()

    def watched(count: int) -> list[Pixels]:
        return [next(playing).pixels.copy() for _ in range(count)]

    pipeline._overlap = False
    act()
    playing = pipeline.play(wishes)
    expected = watched(3)
    playing.close()
    model.reset()

    pipeline._overlap = True
    playing = pipeline.play(wishes)
    watched(2)
    ctx.discard_frames.reset_mock()
    act()
    assert ctx.discard_frames.called
    found = watched(3)
    playing.close()
    assert [len(block) for block in found] == [9, 12, 12]
    for plain, overlapped in zip(expected, found, strict=True):
        np.testing.assert_array_equal(plain, overlapped)


async def test_a_blank_prompt_is_refused_and_the_film_goes_on() -> None:
    async with audience("longlive") as user:
        for blank in (" ", "\n\t ", "&nbsp;&#32;"):
            outcome = await user.say("set_prompt", prompt=blank)
            assert (outcome.accepted, outcome.code, outcome.field) == (False, "blank_prompt", "prompt")
        assert not (await user.say("set_prompt", prompt="")).accepted
        await user.look(9 + 12)


async def test_whose_prompt_is_cut_is_told_where() -> None:
    async with audience("longlive") as user:
        assert await user.tell("set_prompt", prompt="x" * 63) is None
        reply = await user.tell("set_prompt", prompt="a long   story " * 10)
        assert reply == {
            "tokens": 13 * 10,
            "tokens_read": 64,
            "note": "the prompt has 130 tokens and the network reads 64: "
            "it stops after “ry a long story a long story a long stor”",
        }


def test_a_blank_default_prompt_is_refused_and_a_long_one_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    manifest = Manifest.read(EXAMPLES / "longlive")
    given = {"profile": "tiny", "size": list(SIZE["longlive"])}
    with pytest.raises(ManifestError, match=r"args\.prompt"):
        manifest.construct(manifest.load_class(), {**given, "prompt": " "})
    manifest.construct(manifest.load_class(), {**given, "prompt": "word " * 20})
    assert "the prompt has 100 tokens and the network reads 64" in caplog.text


def test_a_block_ahead_takes_a_command_one_block_later() -> None:
    """What overlapping costs, and what it is: block 1 is made before block 0 is shown."""
    made: list[int] = []

    class Vae:
        device = torch.device("cpu")

        def begin(self) -> None: ...

        def decode(self, latents: Any) -> Any:
            return latents

    def denoise() -> live.Latents:
        made.append(len(made))
        return live.Latents(torch.full((1, 3, 2, 2), float(made[-1])), 0, None)

    for overlap, ahead in ((False, [1, 2, 3]), (True, [2, 3, 4])):
        made.clear()
        playing = live.play(denoise, lambda: 0, Vae(), overlap=overlap)  # type: ignore[arg-type]
        counts = []
        for _ in range(3):
            next(playing)
            counts.append(len(made))
        assert counts == ahead


def test_arguments_that_do_not_fit_are_told(tmp_path: Path) -> None:
    for example in ("longlive", "matrix"):
        manifest = Manifest.read(EXAMPLES / example)
        model = manifest.load_class()
        with pytest.raises(ManifestError, match=r"args\.size"):
            manifest.construct(model, {"profile": "tiny", "size": [100, 100]})
        with pytest.raises(ManifestError, match=r"args\.profile"):
            manifest.weights_for({"profile": "huge"})


def test_the_full_profile_asks_for_its_weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("REACTOR_REGISTRY", str(tmp_path))
    for example, first in (("longlive", "LongLive"), ("matrix", "Matrix-Game-2_0-base")):
        manifest = Manifest.read(EXAMPLES / example)
        assert manifest.weights_for()[0] == first
        assert manifest.weights_for({"profile": "tiny"}) == ()
        with pytest.raises(WeightsMissing, match=first):
            manifest.construct(manifest.load_class(), {"device": "cpu"})


@pytest.mark.parametrize("example", ["longlive", "matrix"])
def test_the_commands_are_listed_without_pytorch(example: str) -> None:
    script = (
        "import sys; sys.modules['torch'] = None\n"
        "from reactor_runtime.cli import main\n"
        f"sys.argv = ['reactor', 'capabilities', {str(EXAMPLES / example)!r}]; main()"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["manifest"]["weights"]


# With a real server and the published client ------------------------------------------------------------


@pytest.fixture(scope="module")
def engine() -> None:
    """The client's engine keeps sockets for the whole process: open them before they are counted."""
    warm_up()


@pytest.fixture(scope="module")
def example(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def server(engine: None, example: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReactorRun]:
    """A run of a copy as someone has it who has just fetched the repository: without tiny weights."""
    copy = tmp_path_factory.mktemp(example)
    for folder in ("causal_wan", example):
        ignored = shutil.ignore_patterns("*-tiny", "__pycache__")
        shutil.copytree(EXAMPLES / folder, copy / folder, ignore=ignored)
    with running(copy / example, "--arg", "profile=tiny") as run:
        yield run


#: Frames that were made before the command was sent, and frames that were made after it was handled.
BEFORE, AFTER = range(8, 20), range(57, 75)


async def seen(client: Client, told: tuple[str, dict[str, Any]] | None) -> dict[int, Pixels]:
    """Watch the first blocks of a session as a client gets them, by frame id, and send a command on the way."""
    await client.until(lambda: client.received and client.received[-1].frame_id >= BEFORE.stop, 60)
    if told is not None:
        await client.send_command(*told)
    await client.until(lambda: client.received[-1].frame_id >= AFTER.stop, 60)
    return {picture.frame_id: picture.rgb for picture in client.received}


def difference(a: dict[int, Pixels], b: dict[int, Pixels], ids: range) -> float:
    """Mean absolute difference of the pictures that both have, 0..255."""
    common = [number for number in ids if number in a and number in b]
    assert common, (sorted(a), sorted(b))
    return float(np.mean([np.abs(a[number].astype(int) - b[number]).mean() for number in common]))


def discarded(server: ReactorRun) -> float:
    """How many frames were taken back since the server started."""
    found = re.search(r"^reactor_frames_discarded_total\S* (\S+)", server.get("/metrics").text, re.M)
    assert found is not None
    return float(found[1])


async def early_in_a_block(client: Client, start: int) -> int:
    """Wait until one of the first pictures of a block is seen, of which one began with `start`; return its id."""

    def newest() -> int:
        return client.received[-1].frame_id if client.received else 0

    await client.until(lambda: newest() >= start and (newest() - start) % 12 < 3, 60)
    return newest()


@pytest.mark.timeout(180)
@pytest.mark.parametrize("example", ["matrix", *by_night("longlive")], indirect=True)
async def test_the_tiny_profile_runs_end_to_end(server: ReactorRun, example: str) -> None:
    """`reactor run examples/… --arg profile=tiny`, watched and steered by the published client.

    Sessions are the same film as long as nobody steers, so what a command changes is seen frame by frame.
    """
    longlive = example == "longlive"
    command: tuple[str, dict[str, Any]] = (
        ("set_prompt", {"prompt": "fire"})
        if longlive
        else ("control", {"mouse_key": "L", "keyboard_key": "W"})
    )
    films = []
    for told in (None, command):
        async with connected(server) as client:
            films.append(await seen(client, told))
            assert client.received[-1].rgb.shape == ((64, 96, 3) if longlive else (48, 80, 3))
            refused = await client.refused("set_seed" if longlive else "control", {"seed": -1})
            assert "invalid" in str(refused.code)
            metrics = server.get("/metrics").text
    assert all(name in metrics for name in ("dit_s", "vae_s", "block_s", "command_to_frame_s"))
    plain, steered = films
    # Before the command only the codec makes a difference.
    assert difference(plain, steered, AFTER) > 0.5 + 2 * difference(plain, steered, BEFORE)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("example", ["matrix"], indirect=True)
async def test_after_the_reply_to_a_reset_no_picture_of_the_old_world_is_shown(server: ReactorRun) -> None:
    """Frames tell when they were encoded, on the clock of this machine, so it is known which came after the reply."""
    async with connected(server) as client:
        start, before = 10, discarded(server)
        for _ in range(4):  # until a reset came when there was something to discard, as nearly each does
            shown = await early_in_a_block(client, start)
            await client.send_command("reset")
            replied_us = time.monotonic() * 1e6
            await client.until(lambda: client.received[-1].timestamp_us > replied_us, 60)  # noqa: B023
            [new, *_] = [each.frame_id for each in client.received if each.timestamp_us > replied_us]
            assert new > shown
            assert (new - start) % 12 == 0, "not the first picture of a block"
            # The first block of a world has nine.
            start = new + 9
            if discarded(server) > before:
                break
        assert discarded(server) > before
        await client.until(lambda: client.received[-1].frame_id >= start, 60)


@pytest.mark.skipif(not NIGHTLY, reason="by night: 19 s of processor time, for a tool")
@pytest.mark.timeout(180)
def test_the_benchmark_measures_the_tiny_profile(tmp_path: Path) -> None:
    out = tmp_path / "result.json"
    flags = ["--only", "matrix", "--times", "1", "--blocks", "1", "--out", str(out)]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.causal_wan", *flags],
        cwd=EXAMPLES.parent,
        capture_output=True,
        text=True,
        # Beside other tests, threads of a tiny network cost more waiting than they save.
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        timeout=170,
    )
    assert done.returncode == 0, done.stderr
    measured = json.loads(out.read_text())["matrix"]
    assert set(measured["pass_ms_by_frames_in_window"]) == {"3", "6"}
    for figure in ("decode_ms_per_latent_eager", "played_fps_eager", "runtime_fps_eager"):
        assert measured[figure] > 0
