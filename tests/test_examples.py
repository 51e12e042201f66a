"""Every example runs as it stands: its manifest, its pictures, its commands, without a server."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import re
import subprocess
import sys
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.audience import WITHIN_S, Audience, watching
from support.promises import by_night

from reactor_runtime.types import ModelMessage, Pixels
from reactor_runtime.worker.parent import ProcessHost

EXAMPLES = Path(__file__).parents[1] / "examples"
PAGE = Path(__file__).parent / "data" / "page"
#: The page's two wrappers as printed, over stand-ins for the networks that they name.
PAGE_MODELS = Path(__file__).parent / "page_models"


def audience(example: str, **args: Any) -> AbstractAsyncContextManager[Audience]:
    return watching(EXAMPLES / example, **args)


def audience_apart(page_model: str) -> AbstractAsyncContextManager[Audience]:
    """One of the page's models in a process of its own, where its torch.py stands in for nobody else's."""
    return watching(PAGE_MODELS / page_model, host=ProcessHost)


def as_base64(picture: Image.Image) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def difference(a: Pixels, b: Pixels) -> float:
    """Mean absolute difference of two pictures, 0..255."""
    return float(np.abs(a.astype(np.int16) - b.astype(np.int16)).mean())


# Test card --------------------------------------------------------------------------------------------

RED = as_base64(Image.new("RGB", (64, 48), (230, 20, 20)))
SETTINGS: list[tuple[str, dict[str, Any]]] = [
    ("set_text", {"text": "something else"}),
    ("set_subtitle", {"text": "second line"}),
    ("set_count", {"count": 4}),
    ("show_clock", {"on": False}),
    ("set_palette", {"palette": "ember"}),
    ("set_look", {"look": {"radius": 60, "colour": {"red": 0}, "shape": "square"}}),
    ("set_bars", {"levels": [0.2, 0.9, 0.5]}),
    ("nudge", {"key": "S"}),
    ("set_picture", {"picture": RED}),
    ("flash", {}),
    ("go_to", {"frame": 900}),
    ("set_speed", {"speed": 3.5}),
]


@pytest.mark.parametrize(("name", "arguments"), SETTINGS, ids=[name for name, _ in SETTINGS])
async def test_each_command_changes_the_test_card(name: str, arguments: dict[str, Any]) -> None:
    async with audience("testcard") as plain, audience("testcard") as changed:
        assert difference(await plain.look(2), await changed.look(2)) == 0
        await changed.tell(name, **arguments)
        assert difference(await plain.look(4), await changed.look(4)) > 0.005


async def test_the_same_commands_at_the_same_frames_give_the_same_pictures() -> None:
    async def film() -> list[Pixels]:
        async with audience("testcard") as user:
            pictures = []
            for name, arguments in SETTINGS:
                pictures.append(await user.look(3))
                await user.tell(name, **arguments)
            return [*pictures, await user.look(3)]

    for first, second in zip(await film(), await film(), strict=True):
        np.testing.assert_array_equal(first, second)


async def test_reset_and_the_next_user_see_the_test_card_as_it_began() -> None:
    async with audience("testcard") as user:
        began = await user.look()
        for name, arguments in SETTINGS:
            await user.tell(name, **arguments)
        assert difference(began, await user.look(3)) > 1
        await user.tell("reset")
        await user.look(2)
        np.testing.assert_array_equal(await user.look(), began)

        await user.tell("set_palette", palette="graphite")
        await user.leave()
        user.host.start_session("two")
        np.testing.assert_array_equal(await user.look(), began)


async def test_the_test_card_replies_refuses_and_announces() -> None:
    async with audience("testcard") as user:
        await user.tell("set_text", text="hello")
        status = await user.tell("status")
        assert status is not None
        assert (status["text"], status["palette"], status["camera"]) == ("hello", "aurora", False)

        refusal = await user.say("go_to", frame=0)
        assert (refusal.code, refusal.field) == ("frame_passed", "frame")
        assert (await user.say("set_speed", speed=5)).field == "speed"
        assert (await user.say("nudge", key="X")).code == "invalid_command"

        await user.tell("announce", text="for everyone")
        assert user.messages == [ModelMessage("announcement", {"text": "for everyone", "frame": 2})]


async def test_the_test_card_shows_the_camera() -> None:
    async with audience("testcard") as user:
        await user.look()
        user.host.push_input("webcam", np.full((240, 320, 3), (10, 220, 10), np.uint8))
        picture = await user.look(4)
        assert picture[150, 100].tolist() == [10, 220, 10]


@pytest.mark.parametrize("pace", ["emit", "sleep"])
async def test_the_stamp_tells_when_a_frame_was_emitted_and_what_it_saw(pace: str) -> None:
    async with audience("testcard", stamp=True, pace=pace, fps=120) as user:
        sys.path.append(str(EXAMPLES / "testcard"))
        import stamp as codec

        first, second = codec.read(await user.look()), codec.read(await user.look())
        assert first is not None
        assert second is not None
        assert (first.frame, second.frame) == (1, 2)
        assert (first.command, second.command) == (0, 0)
        await user.tell("mark", number=4711)
        third = codec.read(await user.look(3))
        assert third is not None
        assert (third.frame, third.command) == (5, 4711)
        elapsed_ms = (third.time_eighths - first.time_eighths) / 8
        assert 0 < elapsed_ms < 10_000
        if pace == "sleep":
            # Four intervals, or a little over three where the first picture was late: the pace is kept.
            assert elapsed_ms >= 3 * 1000 / 120 - 1


@pytest.mark.parametrize(("width", "height"), [(640, 480), (1280, 720)])
async def test_the_test_card_has_the_size_it_was_asked_for(width: int, height: int) -> None:
    async with audience("testcard", width=width, height=height) as user:
        assert (await user.look()).shape == (height, width, 3)


# Stylize ----------------------------------------------------------------------------------------------


@pytest.mark.slow
async def test_stylize_repaints_a_real_film_in_the_style_that_was_asked_for() -> None:
    async with audience("stylize") as user:
        await user.tell("freeze")
        await user.look(2)
        pictures = {}
        for style in ("starry", "poster", "ember"):
            await user.tell("set_style", style=style)
            pictures[style] = await user.look(3)
        await user.tell("set_strength", strength=0)
        source = await user.look(3)
        assert source.shape == (480, 640, 3)
        assert source.std() > 30  # a picture, not a blank
        for style, picture in pictures.items():
            assert difference(picture, source) > 20, style
        assert difference(pictures["starry"], pictures["poster"]) > 20
        assert difference(pictures["starry"], pictures["ember"]) > 20

        await user.tell("set_style", style="starry")
        await user.tell("set_strength", strength=0.5)
        halfway = await user.look(3)
        assert difference(halfway, pictures["starry"]) < difference(source, pictures["starry"]) * 0.6

        await user.tell("set_strength", strength=1)
        await user.tell("blend", style_a="starry", style_b="poster", amount=0.0)
        assert difference(await user.look(3), pictures["starry"]) < 1
        await user.tell("blend", style_a="starry", style_b="poster", amount=0.5)
        mixed = await user.look(3)
        assert difference(mixed, pictures["starry"]) > 5
        assert difference(mixed, pictures["poster"]) > 5


@pytest.mark.slow
@pytest.mark.parametrize("clip", ["street", *by_night("bunny")])
async def test_stylize_plays_its_clip_over_and_over(clip: str) -> None:
    async with audience("stylize", width=64, height=48, upscale=1) as user:
        await user.tell("set_strength", strength=0)
        await user.tell("set_clip", clip=clip)
        first = await user.look(3)
        moved = max([difference(first, await user.look()) for _ in range(210)])
        assert moved > 5


@pytest.mark.slow
async def test_stylize_prefers_a_camera_and_returns_to_the_clip_when_it_falls_silent() -> None:
    async with audience("stylize", width=64, height=48, upscale=2) as user:
        await user.tell("set_strength", strength=0)
        film = await user.look(3)
        camera = np.full((240, 426, 3), (0, 0, 250), np.uint8)
        user.host.push_input("webcam", camera)
        await user.look(2)
        np.testing.assert_array_equal(await user.look(), np.full_like(film, (0, 0, 250)))
        async with asyncio.timeout(WITHIN_S):
            picture = await user.look()
            while picture.std(axis=(0, 1)).max() < 10:
                picture = await user.look()


@pytest.mark.slow
@pytest.mark.parametrize("quality", ["fast", *by_night("balanced", "fine")])
async def test_stylize_shows_one_size_at_every_quality(quality: str) -> None:
    async with audience("stylize") as user:
        await user.tell("set_quality", quality=quality)
        assert (await user.look(3)).shape == (480, 640, 3)


async def test_the_network_knows_each_style_once() -> None:
    names = await _enum_of("stylize", "set_style", "style")
    assert len(names) == len(set(names)) == 26


async def _enum_of(example: str, name: str, parameter: str) -> list[str]:
    async with audience(example, width=64, height=48) as user:
        await user.look()
        parameters = next(command.parameters for command in user.info.commands if command.name == name)
        values: list[str] = parameters["properties"][parameter]["enum"]
        return values


# The page's wrappers ----------------------------------------------------------------------------------


def squeezed(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


def example_class(path: Path) -> str:
    text = path.read_text()
    return text[text.index("\nclass ") :]


def imports_of(text: str) -> set[str]:
    return set(re.findall(r"^(?:from|import) .*$", text, re.MULTILINE))


def test_the_longlive_wrapper_is_the_pages_word_for_word() -> None:
    printed, added = (PAGE / "longlive.txt").read_text(), (PAGE / "longlive_interactive.txt").read_text()
    source = (PAGE_MODELS / "longlive" / "model_longlive.py").read_text()
    assert imports_of(printed) <= imports_of(source)

    ours = squeezed(example_class(PAGE_MODELS / "longlive" / "model_longlive.py"))
    command = added[added.index("    # The name of the command") :]
    settings = added[
        added.index("        # Store current prompt") : added.index("    # ... start_session code")
    ]
    for addition in (squeezed(settings), squeezed(command)):
        assert addition in ours
        ours = ours.replace(addition, "", 1)
    assert squeezed(ours) == squeezed(printed[printed.index("\nclass ") :])


def test_the_matrix_wrapper_is_the_pages_word_for_word() -> None:
    printed = (PAGE / "matrix.txt").read_text()
    source = (PAGE_MODELS / "matrix" / "model_matrix.py").read_text()
    assert squeezed(source[source.index("from reactor_runtime") :]) == squeezed(printed)


@pytest.mark.slow
async def test_the_longlive_wrapper_streams_and_follows_the_prompt() -> None:
    async with audience_apart("longlive") as user:
        sunset = await user.look(5)
        assert sunset.shape == (480, 640, 3)
        assert difference(sunset, await user.look(5)) > 0.1  # it moves
        await user.tell("set_prompt", prompt="a forest in spring")
        forest = await user.look(40)
        assert difference(sunset, forest) > 25
        assert forest[400:, :, 1].mean() > sunset[400:, :, 1].mean() + 10  # greener on the ground

        await user.leave()
        user.host.start_session("two")
        assert difference(await user.look(5), sunset) < 12  # the next user starts with a sunset again


@pytest.mark.slow
async def test_the_matrix_wrapper_flies_where_the_keys_say() -> None:
    async with audience_apart("matrix") as user:
        start = await user.look()
        assert start.shape == (480, 640, 3)
        await user.tell("control", mouse_key="I", keyboard_key="Q")
        up = await user.look(15)
        await user.tell("reset")
        await user.look(2)
        assert difference(await user.look(), start) < 8
        await user.tell("control", mouse_key="K", keyboard_key="Q")
        down = await user.look(15)
        # The sky is the bluest part of the picture: looking up shows more of it.
        assert up[..., 2].mean() > down[..., 2].mean() + 10

        assert (await user.say("control", mouse_key="X", keyboard_key="W")).field == "mouse_key"


@pytest.mark.slow
async def test_the_matrix_wrapper_takes_a_starting_image_and_forgets_it_with_its_user() -> None:
    async with audience_apart("matrix") as user:
        start = await user.look()
        magenta = as_base64(Image.new("RGB", (200, 100), (230, 20, 200)))
        await user.tell("set_starting_image", base64_image=magenta, image_id="magenta")
        world = await user.look(4)
        assert (world[-100:, :, 0].mean() > world[-100:, :, 1].mean() + 40).all()
        refusal = await user.say("set_starting_image", base64_image="bm90IGEgcGljdHVyZQ==", image_id="x")
        assert refusal.code == "invalid_command"

        await user.leave()
        user.host.start_session("two")
        np.testing.assert_array_equal(await user.look(), start)


@pytest.mark.slow
@pytest.mark.parametrize("page_model", ["longlive", "matrix"])
def test_the_committed_weights_are_what_their_script_makes(page_model: str, tmp_path: Path) -> None:
    folder = PAGE_MODELS / page_model
    for file in [*folder.glob("*.py"), *folder.rglob("matrix/*.py")]:
        target = tmp_path / file.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.read_bytes())
    subprocess.run([sys.executable, "make_weights.py"], cwd=tmp_path, check=True, capture_output=True)
    committed = [path for path in (folder / "weights").rglob("*") if path.is_file()]
    assert committed
    for path in committed:
        assert path.stat().st_size < 100_000
        made = tmp_path / path.relative_to(folder)
        if path.suffix == ".pt":
            ours, theirs = np.load(path), np.load(made)
            assert all(np.array_equal(ours[name], theirs[name]) for name in ours.files)
        else:
            assert path.read_bytes() == made.read_bytes()


# All of them ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("example", sorted(path.parent.name for path in EXAMPLES.glob("*/manifest.json")))
def test_an_example_explains_itself(example: str) -> None:
    readme = (EXAMPLES / example / "README.md").read_text()
    assert f"reactor run examples/{example}" in readme
    assert json.loads((EXAMPLES / example / "manifest.json").read_text())["model_name"]
