"""What an author subclasses: the class, the decorator, and where weights are found."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

import reactor_runtime
from reactor_runtime import VideoModel, command
from reactor_runtime.author.description import describe
from reactor_runtime.author.schema import commands_of
from reactor_runtime.errors import ModelDefinitionError, WeightsMissing
from reactor_runtime.weights import resolve


@pytest.fixture(autouse=True)
def working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(resolve, "_script", resolve.Outlook())
    return tmp_path


def test_a_model_needs_no_constructor_and_a_command_stays_a_plain_method() -> None:
    class Model(VideoModel):
        def __init__(self) -> None:
            self.level = 0

        @command("set_level")
        def set_level(self, level: int) -> None:
            self.level = level

    model = Model()
    model.set_level(3)
    assert model.level == 3
    assert model.reset() is None  # type: ignore[func-returns-value]


def test_start_session_must_be_overridden() -> None:
    class Model(VideoModel): ...

    with pytest.raises(NotImplementedError, match="Model does not override start_session"):
        Model().start_session()


def test_overriding_on_frame_gives_the_model_a_camera() -> None:
    class Blind(VideoModel): ...

    class Seeing(VideoModel):
        def on_frame(self, frame: object) -> None: ...

    def tracks(model: type[VideoModel], *, video_input: bool = False) -> list[str]:
        info = describe(model, name="m", version="1", video_input=video_input)
        return [track.name for track in info.tracks]

    assert tracks(Blind) == ["main_video"]
    assert tracks(Blind, video_input=True) == ["main_video", "webcam"]
    assert tracks(Seeing) == ["main_video", "webcam"]


def test_a_model_may_choose_what_clients_call_its_input_track() -> None:
    class Sketcher(VideoModel):
        input_track = "sketch"

    info = describe(Sketcher, name="m", version="1", video_input=True)
    assert [track.name for track in info.tracks] == ["main_video", "sketch"]
    assert [track.name for track in describe(Sketcher, name="m", version="1").tracks] == ["main_video"]


@pytest.mark.parametrize("name", ["", "main_video", "Web cam", "9lives", "a/b", "x" * 65, None, 3])
def test_an_input_track_that_clients_could_not_name_is_an_error_when_the_class_is_made(name: Any) -> None:
    with pytest.raises(ModelDefinitionError, match=r"input_track is (.|\n)*Fix: "):
        type("Model", (VideoModel,), {"input_track": name})


def test_an_async_session_is_an_error_when_the_class_is_made() -> None:
    with pytest.raises(ModelDefinitionError, match=r"start_session is async(.|\n)*Fix: "):

        class Model(VideoModel):
            async def start_session(self) -> None:  # type: ignore[override]
                ...


def test_a_reset_that_needs_arguments_is_an_error_when_the_class_is_made() -> None:
    with pytest.raises(ModelDefinitionError, match=r"reset takes seed(.|\n)*Fix: "):

        class Model(VideoModel):
            @command("reset")
            def reset(self, seed: int) -> None:  # type: ignore[override]
                ...


def test_a_reset_may_be_a_command_too() -> None:
    class Model(VideoModel):
        @command("reset", description="Start again")
        def reset(self) -> None: ...

    assert list(commands_of(Model)) == ["reset"]


@pytest.mark.parametrize("name", ["LongLive", "Wan2_1_VAE", "Matrix-Game-2_0-base"])
def test_the_page_s_weights_are_found_beside_the_manifest_else_in_the_working_folder(
    working_folder: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    for folder in (working_folder, working_folder / "project"):
        (folder / "weights" / name).mkdir(parents=True)
        (folder / "weights" / name / "model.pt").touch()
    assert VideoModel.weights(name) == working_folder / "weights" / name
    resolve.look_beside(working_folder / "project")
    assert VideoModel.weights(name) == working_folder / "project" / "weights" / name


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "..",
        "a..b",
        "../x",
        "a/b",
        "a\\b",
        "/etc",
        "C:x",
        "a\0b",
        "a\nb",
        "a@",
        "a@../..",
        "ä" * 3,
        "x" * 65,
    ],
)
def test_what_could_be_a_path_is_no_name_of_weights(text: str) -> None:
    with pytest.raises(WeightsMissing, match="Fix: "):
        VideoModel.weights(text)


def test_the_version_is_the_one_of_the_project() -> None:
    project = Path(__file__).parent.parent / "pyproject.toml"
    assert reactor_runtime.__version__ == tomllib.loads(project.read_text())["project"]["version"]
