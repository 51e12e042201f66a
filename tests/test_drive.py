"""Drive: the shipped network, its world, the game it learned from, and its training."""

from __future__ import annotations

import base64
import io
import json
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import start
import torch
from course import Course
from keys import action, letters
from PIL import Image
from rich.progress import Progress
from safetensors import safe_open
from support.audience import watching
from support.promises import NIGHTLY, long_form
from training import train
from training.drawing import Canvas
from training.enlarger import Enlarger
from training.enlarging import enlarged
from training.export import WEIGHTS, export
from training.game import Games, Players
from training.history import Pictures, Told
from training.looks import COLOURS, LOOKS, colours_of
from training.network import Drive, Reckoner, load, moved
from training.parts import Lesson, painted, read
from training.plays import play, playing
from training.reckoning import reckoned
from world import CHANGING, GRAPHS, LARGER, MEMORY, PLAIN, Pixels, World

DRIVE = Path(__file__).parents[1] / "examples" / "drive"
SHIPPED = DRIVE / "weights" / "drive"
SOME_LOOKS = start.LOOKS if NIGHTLY else start.LOOKS[:2]


@pytest.fixture(scope="module")
def world() -> World:
    return World(SHIPPED)


def drive(world: World, keys: str, *, look: start.LookName = "meadow", seed: int = 0) -> list[Pixels]:
    """Hold one key, or "-", in each frame."""
    world.begin(start.look(look), seed)
    return [world.step(action(extra=[] if key == "-" else [key])) for key in keys]  # type: ignore[list-item]


def apart(a: Pixels, b: Pixels) -> float:
    return float(np.abs(a.astype(np.int16) - b.astype(np.int16)).mean())


def shift(left: Pixels, right: Pixels) -> int:
    """How many pixels further right the road of the first picture is."""
    a, b = left[28:46].astype(np.float32), right[28:46].astype(np.float32)
    off = {
        by: float(np.square(a[:, max(by, 0) : 96 + min(by, 0)] - b[:, max(-by, 0) : 96 + min(-by, 0)]).mean())
        for by in range(-30, 31)
    }
    return min(off, key=off.__getitem__)


def assert_small(folder: Path) -> None:
    """Either form of the weights is within 6 MB."""
    assert (folder / WEIGHTS).stat().st_size <= 6_000_000
    assert sum((folder / name).stat().st_size for name in GRAPHS) <= 6_000_000


# What is shipped --------------------------------------------------------------------------------------------


def test_the_shipped_files_are_small_and_say_how_they_were_trained() -> None:
    assert_small(SHIPPED)
    metrics = json.loads((SHIPPED / "metrics.json").read_text())
    assert set(metrics["training"]) >= {"command", "commit", "seed", "seconds", "iterations"}


def test_the_table_in_the_readme_is_what_was_measured() -> None:
    metrics = json.loads((SHIPPED / "metrics.json").read_text())
    readme = (DRIVE / "README.md").read_text()
    for line in metrics["figures"]:
        row = re.search(rf"^\| {re.escape(line['name'])} \| \*{{0,2}}([-0-9.]+)", readme, re.MULTILINE)
        assert row is not None, line["name"]
        assert float(row[1]) == pytest.approx(line["value"], abs=0.06), line["name"]


def test_both_shipped_files_are_the_same_network() -> None:
    world, network = World(SHIPPED), load(SHIPPED / WEIGHTS)
    first = torch.from_numpy(start.look("desert").transpose(2, 0, 1).astype(np.float32) / 255)[None]
    pictures, told = Pictures(first), Told(1, torch.device("cpu"))
    world.begin(start.look("desert"), 4)
    # As World does, whose course begins with the first number of its seed.
    course = Course(np.random.default_rng(4))
    courses = torch.from_numpy(course.next())
    told.add(torch.zeros(1, 6), courses, torch.ones(1, dtype=torch.bool))
    with torch.no_grad():
        memory = network.reader(first)
    for _ in range(5):
        held = action(keyboard_key="W", mouse_key="L")
        made = world.step(held)
        told.add(
            torch.from_numpy(held)[None], torch.from_numpy(course.next()), torch.zeros(1, dtype=torch.bool)
        )
        with torch.no_grad():
            step = network(pictures.context(), told.condition(), memory)
        expected, memory = step.picture.clamp(0, 1), step.memory
        pictures.add(expected)
        assert np.abs(made - (expected[0].permute(1, 2, 0) * 255).numpy()).max() <= 1.0
    with torch.no_grad():
        larger = network.enlarger(expected).clamp(0, 1)[0].permute(1, 2, 0).numpy()
    assert np.abs(world.enlarged() - larger * 255).max() <= 1.0


@pytest.mark.slow
@pytest.mark.skipif(not NIGHTLY, reason="by night: the exporter takes 14 s of processor time to load")
@pytest.mark.keeps_resources  # tqdm, which the exporter shows its progress with, keeps a thread
def test_an_export_is_small_and_says_how_it_was_trained(tmp_path: Path) -> None:
    export(Drive(), tmp_path, {"seed": "2"})
    assert_small(tmp_path)
    with safe_open(tmp_path / WEIGHTS, "pt") as file:
        assert file.metadata() == {"seed": "2"}
    made = World(tmp_path).step(action())
    assert made.shape == (64, 96, 3)


def test_playing_loads_no_torch() -> None:
    code = (
        "import sys; from world import World; from pathlib import Path;"
        f"World(Path({str(SHIPPED)!r})); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=DRIVE, capture_output=True, text=True, timeout=60)
    assert done.stdout == "False\n", done.stderr


# The world --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("look", SOME_LOOKS)
def test_steering_moves_the_road_the_right_way(world: World, look: start.LookName) -> None:
    left = drive(world, "W" * 20 + "A" * 6, look=look)[-1]
    right = drive(world, "W" * 20 + "D" * 6, look=look)[-1]
    assert shift(left, right) > 0


def test_looking_left_moves_everything_right(world: World) -> None:
    assert shift(drive(world, "W" * 10 + "J" * 5)[-1], drive(world, "W" * 10 + "L" * 5)[-1]) > 4


def test_a_key_is_in_the_very_next_picture(world: World) -> None:
    ahead = drive(world, "W" * 12 + "-")[-1]
    assert apart(ahead, drive(world, "W" * 12 + "-")[-1]) == 0
    for key in "SADJLIK":
        assert apart(ahead, drive(world, "W" * 12 + key)[-1]) > 0.2, key


def test_a_braking_car_comes_to_a_stop(world: World) -> None:
    film = drive(world, "W" * 30 + "S" * 40)
    assert apart(film[-2], film[-1]) < 0.2 * apart(film[28], film[29])


def test_the_same_seed_start_and_keys_are_the_same_drive_and_another_seed_is_another(world: World) -> None:
    film = drive(world, "W" * 60, seed=1)
    again = drive(World(SHIPPED), "W" * 20, seed=1)
    assert all(np.array_equal(a, b) for a, b in zip(film, again, strict=False))
    assert apart(film[-1], drive(world, "W" * 60, seed=2)[-1]) > 1


def test_a_drive_depends_on_nothing_that_was_driven_before(world: World) -> None:
    fresh = drive(World(SHIPPED), "WA" * 10, look="night")
    drive(world, "WWDDSSJJ" * 4, look="snow", seed=9)
    assert np.array_equal(fresh[-1], drive(world, "WA" * 10, look="night")[-1])


@pytest.mark.parametrize("look", SOME_LOOKS)
def test_what_is_shown_is_the_same_picture_with_sharper_edges(world: World, look: start.LookName) -> None:
    picture = drive(world, "W" * 12, look=look)[-1]
    shown = world.enlarged()
    assert shown.shape == (64 * LARGER, 96 * LARGER, 3)
    assert apart(np.asarray(Image.fromarray(shown).reduce(LARGER)), picture) < 6
    plain = np.asarray(Image.fromarray(picture).resize((96 * LARGER, 64 * LARGER), Image.Resampling.BICUBIC))
    assert cv2.Laplacian(shown, cv2.CV_32F).var() > 2 * cv2.Laplacian(plain, cv2.CV_32F).var()


def _noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8))


PICTURES = {
    "one pixel": Image.new("RGB", (1, 1), (255, 0, 0)),
    "one row": _noise(400, 1),
    "one column": _noise(1, 400),
    "black": Image.new("RGB", (640, 480)),
    "white": Image.new("RGB", (640, 480), (255, 255, 255)),
    "grey scale": Image.new("L", (300, 200), 90),
    "transparent": Image.new("RGBA", (300, 200), (0, 255, 0, 0)),
    "large noise": _noise(1500, 1100),
}


@pytest.mark.parametrize("name", PICTURES)
def test_a_drive_starts_from_any_picture_and_stays_finite(world: World, name: str) -> None:
    world.begin(start.fitted(PICTURES[name]), 0)
    for _ in range(long_form(12, 40)):
        world.step(action(keyboard_key="W", mouse_key="L"))
        assert np.isfinite(world.latest).all()


# The model class --------------------------------------------------------------------------------------------


async def test_commands_start_other_drives_and_reset_goes_back() -> None:
    async with watching(DRIVE) as user:
        began = await user.look()
        assert began.shape == (512, 768, 3)
        await user.tell("control", mouse_key="U", keyboard_key="W", also_held=["A"])
        moved = await user.look(20)
        assert apart(began, moved) > 2
        await user.tell("set_look", look="night")
        await user.look(2)
        assert (await user.look()).mean() < 0.6 * began.mean()
        buffer = io.BytesIO()
        Image.new("RGB", (90, 60), (250, 20, 20)).save(buffer, "PNG")
        picture = base64.b64encode(buffer.getvalue()).decode()
        reply = await user.tell("set_starting_image", base64_image=picture, image_id="red")
        assert reply == {"image_id": "red", "width": 90, "height": 60}
        await user.look(2)
        red = (await user.look()).reshape(-1, 3).mean(0)
        assert red[0] > 2 * red[1]
        assert (
            await user.say("set_starting_image", base64_image="AAAA", image_id="x")
        ).code == "invalid_command"
        assert (await user.say("control", mouse_key="W", keyboard_key="W")).field == "mouse_key"
        await user.tell("set_seed", seed=5)
        await user.tell("reset")
        await user.look(2)
        assert np.array_equal(await user.look(), began)


async def test_through_the_runtime_a_key_is_in_the_next_picture_that_is_made() -> None:
    async def film(*, steered: bool) -> list[Pixels]:
        async with watching(DRIVE) as user:
            await user.tell("set_seed", seed=5)
            await user.look(10)
            if steered:
                await user.tell("control", keyboard_key="A")
            return [await user.look() for _ in range(5)]

    straight, steered = await film(steered=False), await film(steered=True)
    differs = [apart(a, b) > 0 for a, b in zip(straight, steered, strict=True)]
    # Two pictures were made when the key came.
    assert differs == [False, False, True, True, True]


@pytest.mark.slow
def test_two_renders_of_one_script_are_bit_equal(tmp_path: Path) -> None:
    script = tmp_path / "commands.jsonl"
    lines = [
        {"frame": 3, "command": "control", "arguments": {"keyboard_key": "W", "mouse_key": "U"}},
        {"frame": 8, "command": "control", "arguments": {"keyboard_key": "A", "mouse_key": "L"}},
        {"frame": 12, "command": "set_look", "arguments": {"look": "snow"}},
    ]
    script.write_text("".join(json.dumps(line) + "\n" for line in lines))

    def rendered(seed: int) -> str:
        reactor = str(Path(sys.executable).with_name("reactor"))
        command = [reactor, "render", str(DRIVE), "--frames", "16"]
        command += ["--out", str(tmp_path / "film.mp4"), "--script", str(script), "--seed", str(seed)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        found = re.search(r"digest of the frames: (\w+)", done.stdout + done.stderr)
        assert found is not None, done.stderr
        return found[1]

    assert rendered(1) == rendered(1) != rendered(2)


# Keys and course --------------------------------------------------------------------------------------------


def test_keys_become_actions_and_back() -> None:
    assert letters(action("J", "W", ["A"])) == "WAJ"
    assert letters(action("I", "S")) == "SI"
    assert letters(action()) == "-"
    assert not action("J", "Q", ["L"]).any()


def test_a_course_is_its_seed_s_and_bends_slowly_within_bounds() -> None:
    def course(seed: int) -> npt.NDArray[np.float32]:
        one = Course(np.random.default_rng(seed))
        return np.concatenate([one.next() for _ in range(4000)])

    first = course(1)
    assert np.array_equal(first, course(1))
    assert not np.array_equal(first, course(2))
    assert np.abs(first.mean(0)).max() < 0.4
    assert ((first.std(0) > 0.6) & (first.std(0) < 1.2)).all()
    assert np.abs(np.diff(first, axis=0)).max() < 0.3


# The game ---------------------------------------------------------------------------------------------------


def test_the_game_s_pictures_are_the_last_ones_moved_as_it_says() -> None:
    random = np.random.default_rng(3)
    games, players = Games(random, 8), Players(random, 8)
    last, errors = games.begin(), []
    for _ in range(60):
        step = games.step(players.next(games.lateral))
        known = step.motion[:, 2:] * ~step.begun[:, None, None, None]
        guess = moved(torch.from_numpy(last), torch.from_numpy(step.motion[:, :2])).numpy()
        errors.append([float((np.square(each - step.frames) * known).sum()) for each in (guess, last)])
        last = step.frames
    by_motion, by_copy = np.sum(errors, axis=0)
    assert by_motion < 0.4 * by_copy


def test_a_game_is_its_seed_s() -> None:
    streams = [play(seed, 3) for seed in (1, 1, 2)]
    for _ in range(5):
        first, same, other = (next(stream) for stream in streams)
    assert np.array_equal(first.frames, same.frames)
    assert not np.array_equal(first.frames, other.frames)


def test_the_game_drawn_finer_is_the_same_picture() -> None:
    random = np.random.default_rng(4)
    games, players = Games(random, 8), Players(random, 8)
    for _ in range(30):
        step = games.step(players.next(games.lateral))
    finer, _ = Canvas(4).draw(games.scene, games.scene)
    assert np.abs(finer.reshape(8, 3, 64, 4, 96, 4).mean((3, 5)) - step.frames).mean() < 0.02
    some, _ = Canvas().draw(games.scene.only(np.array([5, 2])), games.scene.only(np.array([5, 2])))
    assert np.array_equal(some, step.frames[[5, 2]])


# Training ---------------------------------------------------------------------------------------------------

RECIPE = train.Recipe(iterations=20, games=2, warm_up=2)


def trained(out: Path, steps: int) -> train.Training:
    training = train.Training(RECIPE, out, torch.device("cpu"), compiled=False)
    with playing(7, RECIPE.games, 0) as moments:
        training.begin(next(moments))
        for _ in range(steps):
            assert np.isfinite(training.step(next(moments)))
    return training


@pytest.mark.slow
def test_an_interrupted_training_goes_on_where_it_was(tmp_path: Path) -> None:
    whole = trained(tmp_path, 3)
    whole.save()
    resumed = trained(tmp_path, 0)
    assert resumed.iteration == 3
    for name, value in whole.average.state_dict().items():
        assert torch.equal(value, resumed.average.state_dict()[name])
    with pytest.raises(SystemExit, match="give the same options, or another --out"):
        train.Training(train.Recipe(games=3), tmp_path, torch.device("cpu"), compiled=False)


def test_a_part_is_learned_once_and_its_time_counted_once(tmp_path: Path) -> None:
    learned: list[str] = []

    def painter() -> torch.nn.Module:
        learned.append("painter")
        return Drive().painter

    def training() -> train.Training:
        return train.Training(RECIPE, tmp_path, torch.device("cpu"), compiled=False)

    first = training()
    first.take("painter", painter)
    # As after an interruption between two parts, and as when a finished training is started again.
    between = training()
    between.take("painter", painter)
    assert between.seconds == first.seconds
    between.save()
    again = training()
    again.take("painter", painter)
    assert again.seconds == first.seconds
    assert learned == ["painter"]
    for name, value in first.network.painter.state_dict().items():
        assert torch.equal(value, again.network.painter.state_dict()[name])


@pytest.mark.slow
def test_the_same_seed_trains_the_same_network(tmp_path: Path) -> None:
    first, second = (trained(tmp_path / name, 3).network.state_dict() for name in ("a", "b"))
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.slow
def test_training_reduces_the_error_on_what_it_sees(tmp_path: Path) -> None:
    training = train.Training(RECIPE, tmp_path, torch.device("cpu"), compiled=False)
    with playing(7, RECIPE.games, 0) as moments:
        training.begin(next(moments))
        moment = [next(moments) for _ in range(30)][-1]
        errors = [training.step(moment) for _ in range(12)]
    assert errors[-1] < 0.7 * errors[0]


@pytest.mark.slow
@pytest.mark.keeps_resources  # multiprocessing's own tracker stays
def test_games_drawn_by_workers_are_the_same_games() -> None:
    with playing(5, 3, 2) as moments:
        apart = [next(moments).frames for _ in range(3)]
    first, second = play(5, 2), play(5 + 7919, 1)
    for frames in apart:
        assert np.array_equal(frames, np.concatenate([next(first).frames, next(second).frames]))


def test_the_network_starts_as_half_a_copy_of_the_last_picture() -> None:
    pictures = torch.rand(1, 6, 3, 64, 96)
    network = Drive()
    with torch.no_grad():
        made = network(pictures, torch.zeros(1, 32), torch.zeros(1, MEMORY))
        painted = network.painter(made.memory, torch.zeros(1, 6))
    assert float(made.flow.abs().max()) == 0
    assert torch.allclose(made.picture, (pictures[:, 0] + painted) / 2, atol=1e-5)


def test_what_is_remembered_stays_what_it_is_where_nothing_changes_it() -> None:
    reckoner = Reckoner()
    last = reckoner.change[-1]
    assert isinstance(last, torch.nn.Linear)
    torch.nn.init.normal_(last.weight, std=0.1)
    memory = next(play(3, 4)).memory
    after = reckoner(torch.from_numpy(memory), torch.rand(4, 32)).detach().numpy()
    assert np.array_equal(after[:, CHANGING:PLAIN], memory[:, CHANGING:PLAIN])
    assert np.abs(after[:, :CHANGING] - memory[:, :CHANGING]).max() > 0.01
    radii = np.linalg.norm(after[:, PLAIN:].reshape(4, -1, 2), axis=2)
    assert radii == pytest.approx(np.ones_like(radii), abs=1e-5)


def test_what_is_remembered_never_leaves_what_the_games_do() -> None:
    reckoner = Reckoner()
    last = reckoner.change[-1]
    assert isinstance(last, torch.nn.Linear)
    torch.nn.init.normal_(last.weight, std=10)
    torch.nn.init.constant_(reckoner.low, -0.5)
    torch.nn.init.constant_(reckoner.high, 0.25)
    after = reckoner(torch.zeros(64, MEMORY), torch.randn(64, 32)).detach()[:, :CHANGING]
    assert float(after.min()) == -0.5
    assert float(after.max()) == 0.25


def test_the_game_says_its_colours_to_be_remembered() -> None:
    moment = next(play(4, 1, looks=["night"]))
    palette = (moment.memory[0, CHANGING : PLAIN - 1].reshape(-1, 3) + 1) / 2
    assert palette[COLOURS.index("sky")] == pytest.approx(colours_of(LOOKS["night"])[COLOURS.index("sky")])
    assert palette[COLOURS.index("sky")] == pytest.approx(moment.frames[0, :, 0, 0] / 255, abs=0.1)


def test_one_step_of_each_lesson_changes_what_it_teaches() -> None:
    """What many of them teach is seen by night."""
    with Progress(disable=True) as progress:
        lesson = Lesson(2, 1, torch.device("cpu"), workers=0, compiled=False, progress=progress)
        taught: list[torch.nn.Module] = [reckoned(1, 1, progress), painted(1, lesson), read(1, lesson)]
        taught.append(enlarged(1, load(SHIPPED / WEIGHTS), lesson))
    for part in taught:
        torch.manual_seed(lesson.seed)
        before = type(part)().state_dict()
        after = part.state_dict()
        assert all(torch.isfinite(value).all() for value in after.values())
        assert any(not torch.equal(value, before[name]) for name, value in after.items()), type(part)


at_night = pytest.mark.skipif(not NIGHTLY, reason="by night: half a minute of processor time")


@pytest.mark.slow
@at_night
@pytest.mark.timeout(300)
def test_enlarging_is_learned_from_what_the_network_makes() -> None:
    network = load(SHIPPED / WEIGHTS)
    with Progress(disable=True) as progress:
        lesson = Lesson(8, 1, torch.device("cpu"), workers=0, compiled=False, progress=progress)
        enlarger = enlarged(100, network, lesson)
    random = np.random.default_rng(8)
    games, players = Games(random, 4), Players(random, 4)
    for _ in range(20):
        step = games.step(players.next(games.lateral))
    finer, _ = Canvas(LARGER).draw(games.scene, games.scene)
    small = torch.from_numpy(step.frames)
    with torch.no_grad():
        learned, before = (
            float((each(small) - torch.from_numpy(finer)).square().mean()) for each in (enlarger, Enlarger())
        )
    assert learned < 0.9 * before


@pytest.mark.slow
@at_night
@pytest.mark.timeout(300)
def test_reading_reckoning_and_painting_are_learned() -> None:
    with Progress(disable=True) as progress:
        reckoner = reckoned(150, 1, progress)
        lesson = Lesson(4, 1, torch.device("cpu"), workers=0, compiled=False, progress=progress)
        painter, reader = painted(40, lesson), read(40, lesson)
    stream = play(8, 4)
    before = next(stream)
    told = Told(4, torch.device("cpu"))
    for _ in range(30):
        moment = next(stream)
        told.add(*(torch.from_numpy(each) for each in (moment.actions, moment.course, moment.begun)))
        last, before = before, moment
    with torch.no_grad():
        after = reckoner(torch.from_numpy(last.memory), told.condition()).numpy()
        painting = painter(torch.from_numpy(moment.memory), torch.from_numpy(moment.actions)).numpy()
    assert np.abs(after - moment.memory).mean() < 0.5 * np.abs(last.memory - moment.memory).mean()
    frames = moment.frames / 255
    assert np.square(painting - frames).mean() < 0.7 * np.square(0.5 - frames).mean()
    with torch.no_grad():
        seen = reader(torch.from_numpy(moment.frames).float() / 255).numpy()
    assert np.abs(seen - moment.memory).mean() < 0.9 * np.abs(moment.memory).mean()
