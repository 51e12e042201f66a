"""What an author subclasses: the class, the decorator, and where weights are found."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import reactor_runtime
from reactor_runtime import VideoModel, command, weights_source
from reactor_runtime.errors import ModelDefinitionError, WeightsMissing
from reactor_runtime.schema import commands_of, describe
from reactor_runtime.weights import names


@pytest.fixture(autouse=True)
def working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(weights_source, "folder", None)
    yield tmp_path
    weights_source.use(None)


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


def test_weights_are_found_beside_the_manifest(working_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights_source, "folder", working_folder / "project")
    (working_folder / "project" / "weights" / "LongLive").mkdir(parents=True)
    assert VideoModel.weights("LongLive") == working_folder / "project" / "weights" / "LongLive"


def test_without_a_manifest_they_are_found_in_the_working_folder(working_folder: Path) -> None:
    (working_folder / "weights" / "Matrix-Game-2_0-base").mkdir(parents=True)
    assert VideoModel.weights("Matrix-Game-2_0-base") == working_folder / "weights" / "Matrix-Game-2_0-base"


def test_an_override_wins_and_must_be_a_folder(working_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (working_folder / "weights" / "Matrix-Game-2_0-base").mkdir(parents=True)
    monkeypatch.setenv("REACTOR_WEIGHTS_MATRIX_GAME_2_0_BASE", str(working_folder))
    assert VideoModel.weights("Matrix-Game-2_0-base") == working_folder
    monkeypatch.setenv("REACTOR_WEIGHTS_MATRIX_GAME_2_0_BASE", str(working_folder / "nowhere"))
    with pytest.raises(WeightsMissing, match="REACTOR_WEIGHTS_MATRIX_GAME_2_0_BASE"):
        VideoModel.weights("Matrix-Game-2_0-base")


def test_a_registry_is_asked_last(working_folder: Path) -> None:
    asked: list[names.Ref] = []

    def registry(ref: names.Ref) -> Path:
        asked.append(ref)
        return working_folder

    weights_source.use(registry)
    assert VideoModel.weights("LongLive@1.2") == working_folder
    assert asked == [names.Ref("LongLive", "1.2")]
    (working_folder / "weights" / "LongLive").mkdir(parents=True)
    assert VideoModel.weights("LongLive") == working_folder / "weights" / "LongLive"
    assert len(asked) == 1


def test_missing_weights_say_where_to_put_them(working_folder: Path) -> None:
    with pytest.raises(WeightsMissing) as caught:
        VideoModel.weights("Wan2_1_VAE")
    assert str(working_folder / "weights" / "Wan2_1_VAE") in str(caught.value)
    assert "REACTOR_WEIGHTS_WAN2_1_VAE" in str(caught.value)


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
