"""A render runs one session exactly as written: same script and seed, same frames."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from support.headless_models import CAMERA_WAITER, LOOP, MIRROR, STEPS, WAITER, steps
from support.host_events import write_model
from support.promises import NIGHTLY

from reactor_runtime.errors import ModelFailed, ModelHung, ScriptRejected
from reactor_runtime.headless.film import ClipFeed, Mp4File, PngFolder
from reactor_runtime.headless.render import Rendered, Take, render
from reactor_runtime.headless.synthetic_camera import SyntheticCamera
from reactor_runtime.session_log.script import cues_of
from reactor_runtime.types import Cue, EmittedFrame, Pixels

ROOT = Path(__file__).parent.parent


def film(manifest: Path, frames: int | None = 8, **take: Any) -> tuple[Rendered, list[Pixels]]:
    pictures: list[Pixels] = []

    def keep(frame: EmittedFrame) -> None:
        pictures.append(frame.pixels.copy())

    rendered = asyncio.run(render(Take(manifest, frames=frames, **take), keep))
    return rendered, pictures


def column(pictures: list[Pixels], place: int) -> list[int]:
    return [int(picture[0, place, 0]) for picture in pictures]


def level(frame: int, value: int, waits: int = 0) -> list[Cue]:
    return cues_of([(frame, waits, "set_level", {"level": value})])


@pytest.mark.parametrize("frame", [1, 2, 3, 4, 7, 8])
def test_a_command_runs_exactly_before_its_frame(tmp_path: Path, frame: int) -> None:
    rendered, pictures = film(steps(tmp_path), cues=level(frame, 9))
    assert column(pictures, 0) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert column(pictures, 1) == [0] * (frame - 1) + [9] * (9 - frame)
    assert [(each.frame_id, each.waits) for each in rendered.outcomes] == [(frame, 0)]


@pytest.mark.parametrize("frame", [1, 2, 5])
def test_a_blocking_loop_is_held_at_the_frame_until_the_handler_is_done(tmp_path: Path, frame: int) -> None:
    _, pictures = film(write_model(tmp_path, LOOP), cues=level(frame, 9))
    assert column(pictures, 1) == [0] * (frame - 1) + [9] * (9 - frame)


def test_a_command_inside_a_block_waits_for_the_next_block(tmp_path: Path) -> None:
    rendered, pictures = film(steps(tmp_path, block=3), frames=7, cues=level(5, 9))
    assert column(pictures, 1) == [0, 0, 0, 0, 0, 0, 9]
    assert rendered.outcomes[0].frame_id == 7


def test_a_command_finds_its_place_between_the_steps_of_one_frame(tmp_path: Path) -> None:
    for waits, total in ((0, 40), (1, 31), (4, 4)):
        cues = cues_of([(1, 3, "set_level", {"level": 1}), (3, waits, "set_level", {"level": 10})])
        rendered, pictures = film(write_model(tmp_path, WAITER), frames=3, cues=cues)
        assert column(pictures, 1) == [4, 4, total]
        assert [(each.frame_id, each.waits) for each in rendered.outcomes] == [(1, 3), (3, waits)]


def test_a_model_that_waits_for_a_command_that_never_comes_is_told(tmp_path: Path) -> None:
    with pytest.raises(ModelHung, match="waits for a command"):
        film(write_model(tmp_path, WAITER))


def test_the_same_seed_and_script_give_the_same_frames_and_another_seed_others(tmp_path: Path) -> None:
    manifest, cues = steps(tmp_path), level(3, 9)
    (first, a), (again, b) = film(manifest, cues=cues, seed=5), film(manifest, cues=cues, seed=5)
    assert first.digest == again.digest
    assert all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))
    other, c = film(manifest, cues=cues, seed=6)
    assert other.digest != first.digest
    for place in (4, 5, 6):  # the model's own generator, Python's, numpy's
        assert column(a, place) != column(c, place)


@pytest.mark.slow
def test_an_example_renders_bit_equal_in_two_processes(tmp_path: Path) -> None:
    script = tmp_path / "commands.jsonl"
    script.write_text('{"at_s": 0.1, "command": "set_palette", "arguments": {"palette": "ember"}}\n')
    flags = ("--frames", "6", "--script", str(script), "--seed", "3", "--json")
    first, second = (
        json.loads(reactor_render(ROOT / "examples" / "testcard", "--out", tmp_path / name, *flags).stdout)
        for name in ("a.mp4", "b.mp4")
    )
    assert first["digest"] == second["digest"]
    assert first["frames"] == 6
    assert first["refused"] == []
    assert (tmp_path / "a.mp4").stat().st_size > 1000


@pytest.mark.slow
@pytest.mark.skipif(not NIGHTLY, reason="by night: processes that load PyTorch for five seconds each")
@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("example", "command", "arguments"),
    [
        ("longlive", "set_prompt", {"prompt": "a forest in winter"}),
        ("matrix", "control", {"mouse_key": "L", "keyboard_key": "W"}),
    ],
)
def test_the_tiny_networks_render_bit_equal_in_two_processes(
    tmp_path: Path, example: str, command: str, arguments: dict[str, Any]
) -> None:
    """Two blocks, with a command between them."""
    script = tmp_path / "commands.jsonl"
    script.write_text(json.dumps({"frame": 10, "command": command, "arguments": arguments}))
    flags = ("--frames", "21", "--script", script, "--seed", "3", "--json")
    size = ("--arg", "profile=tiny", "--arg", "size=[32,48]")
    first, second = (
        json.loads(
            reactor_render(ROOT / "examples" / example, "--out", tmp_path / name, *size, *flags).stdout
        )
        for name in ("a", "b")
    )
    assert (first["frames"], first["refused"]) == (21, [])
    assert first["digest"] == second["digest"]
    pictures = [(tmp_path / "a" / f"{number:06d}.png").read_bytes() for number in (1, 10, 21)]
    assert len(set(pictures)) == 3


def test_a_refused_command_is_reported_with_its_frame(tmp_path: Path) -> None:
    rendered, _ = film(
        steps(tmp_path), cues=cues_of([(2, 0, "refuse", {}), (3, 0, "set_level", {"level": 300})])
    )
    assert [(each.frame_id, each.code) for each in rendered.refused] == [(2, "no"), (3, "invalid_command")]


def test_the_clip_is_seen_at_its_own_times(tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    sink = Mp4File(clip, fps=20)  # twice the model's rate, so every other picture is seen
    for grey in range(10, 130, 10):
        sink.write(np.full((64, 64, 3), grey, np.uint8))
    sink.close()
    feed = ClipFeed(clip, fps=10)
    try:
        _, pictures = film(write_model(tmp_path, MIRROR), frames=8, feed=feed)
    finally:
        feed.close()
    greys = column(pictures, 0)
    for seen, shown in zip(greys, [10, 30, 50, 70, 90, 110, 120, 120], strict=True):
        assert abs(seen - shown) <= 3  # what the codec keeps


def test_an_mp4_plays_at_its_rate_with_its_frames_in_order(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    sink = Mp4File(path, fps=15)
    for grey in range(40, 200, 10):
        sink.write(np.full((48, 64, 3), grey, np.uint8))
    assert not path.exists()  # nobody finds half a film
    sink.close()
    with av.open(str(path)) as container:
        (stream,) = container.streams
        decoded = list(container.decode(video=0))
        assert stream.average_rate == Fraction(15)
    assert [frame.time for frame in decoded] == pytest.approx([n / 15 for n in range(16)])
    for frame, grey in zip(decoded, range(40, 200, 10), strict=True):
        assert abs(int(frame.to_ndarray(format="rgb24").mean()) - grey) <= 3


def test_an_mp4_refuses_a_second_size_and_says_what_to_do(tmp_path: Path) -> None:
    sink = Mp4File(tmp_path / "film.mp4", fps=15)
    sink.write(np.zeros((48, 64, 3), np.uint8))
    with pytest.raises(ScriptRejected, match="frames/"):
        sink.write(np.zeros((64, 64, 3), np.uint8))
    sink.close()


def test_pngs_are_numbered_and_without_loss(tmp_path: Path) -> None:
    sink = PngFolder(tmp_path)
    picture = np.random.default_rng(1).integers(0, 256, (20, 30, 3), np.uint8)
    sink.write(picture)
    from PIL import Image

    with Image.open(tmp_path / "000001.png") as image:
        assert np.array_equal(np.asarray(image), picture)


def test_a_model_that_ends_or_raises_ends_the_render(tmp_path: Path) -> None:
    source = "import numpy as np\nfrom reactor_runtime import VideoModel\n"
    source += (
        "class Model(VideoModel):\n  def start_session(self):\n    yield np.zeros((16, 16, 3), np.uint8)\n"
    )
    rendered, pictures = film(write_model(tmp_path, source), frames=None)
    assert rendered.ended
    assert len(pictures) == 1
    apart = tmp_path / "apart"
    apart.mkdir()
    with pytest.raises(ModelFailed, match="broken"):
        film(write_model(apart, source + "    raise RuntimeError('broken')\n"))


@pytest.mark.slow
def test_real_time_takes_as_long_as_the_film_and_shows_the_same_frames(tmp_path: Path) -> None:
    manifest = steps(tmp_path)
    paced, _ = film(manifest, frames=20, seed=1, realtime=True, fps=30.0)
    assert paced.seconds >= 19 / 30 * 0.9
    assert paced.digest == film(manifest, frames=20, seed=1)[0].digest


def reactor_render(*arguments: object, status: int = 0) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("reactor")), "render", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == status, done.stderr
    return done


@pytest.mark.slow
def test_the_command_line_says_what_it_did(tmp_path: Path) -> None:
    manifest = steps(tmp_path)
    script = tmp_path / "commands.jsonl"
    script.write_text(
        '{"frame": 2, "command": "set_level", "arguments": {"level": 7}}\n'
        '{"frame": 3, "command": "refuse"}\n{"at_s": 9, "command": "refuse"}\n'
    )
    done = reactor_render(
        manifest, "--out", tmp_path / "film.mp4", "--frames", 5, "--script", script, "--json"
    )
    told = json.loads(done.stdout)
    assert (told["frames"], told["width"], told["height"], told["fps"]) == (5, 48, 32, 30)
    assert [each["code"] for each in told["refused"]] == ["no"]
    assert "refused before frame 3: refuse: never (no)" in done.stderr
    assert "not reached: refuse before frame 271" in done.stderr

    wrong = reactor_render(manifest, "--out", tmp_path / "film.gif", status=2)
    assert ".gif is not written here" in wrong.stderr
    script.write_text("{")
    assert "line 1" in reactor_render(manifest, "--out", "-", "--script", script, status=2).stderr


def test_a_model_that_waits_for_the_camera_is_told_so_and_what_to_give_it(tmp_path: Path) -> None:
    manifest = write_model(tmp_path, CAMERA_WAITER)
    with pytest.raises(ModelHung, match=r"waits for the camera(.|\n)*--input CLIP"):
        film(manifest)
    rendered, pictures = film(manifest, frames=3, feed=SyntheticCamera())
    assert rendered.frames == 3
    assert not np.array_equal(pictures[0], pictures[2])


@pytest.mark.slow
def test_the_rate_that_a_constructor_sets_is_the_film_s(tmp_path: Path) -> None:
    source = (
        STEPS
        + """
class Model(Model):
    def __init__(self, **more):
        super().__init__(**more)
        self.fps = 12
"""
    )
    script = tmp_path / "commands.jsonl"
    script.write_text('{"at_s": 0.25, "command": "refuse"}\n')
    manifest = write_model(tmp_path, source)
    done = reactor_render(
        manifest, "--out", tmp_path / "film.mp4", "--seconds", 1, "--script", script, "--json"
    )
    told = json.loads(done.stdout)
    assert (told["fps"], told["frames"]) == (12, 12)
    assert [each["frame"] for each in told["refused"]] == [4]
    with av.open(str(tmp_path / "film.mp4")) as container:
        assert container.streams.video[0].average_rate == 12
    # What the caller says is used instead, as everywhere.
    assert (
        json.loads(
            reactor_render(manifest, "--out", tmp_path / "b.mp4", "--seconds", 1, "--fps", 6, "--json").stdout
        )["frames"]
        == 6
    )


@pytest.mark.slow
def test_raw_frames_leave_on_stdout_and_nothing_else(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "reactor_runtime.cli", "render", str(steps(tmp_path)), "--out", "-"]
    command[1:3] = ["-c", "from reactor_runtime.cli import main; main()"]
    done = subprocess.run([*command, "--frames", "3"], capture_output=True, timeout=60, check=True)
    frames = np.frombuffer(done.stdout, np.uint8).reshape(3, 32, 48, 3)
    assert frames[:, 0, 0, 0].tolist() == [1, 2, 3]
