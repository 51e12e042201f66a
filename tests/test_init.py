"""`reactor init`: the project that it makes works as its README says."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from reactor_runtime.author.manifest import Manifest
from reactor_runtime.cli.init import create
from reactor_runtime.errors import SettingError

REACTOR = str(Path(sys.executable).parent / "reactor")


def run(*command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=100)


@pytest.mark.slow
def test_the_new_project_passes_its_own_test_and_tells_its_commands(tmp_path: Path) -> None:
    made = run(REACTOR, "init", "my-model", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    assert "cd my-model" in made.stdout
    project = tmp_path / "my-model"

    tested = run(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=project)
    assert tested.returncode == 0, tested.stdout

    told = run(REACTOR, "capabilities", cwd=project)
    assert told.returncode == 0, told.stderr
    document = json.loads(told.stdout)
    assert document["model"]["name"] == "my-model"
    commands = {each["name"]: each["parameters"].get("properties", {}) for each in document["commands"]}
    assert set(commands) == {"set_prompt", "set_speed", "set_shape", "reset"}
    assert commands["set_prompt"]["prompt"]["type"] == "string"
    assert (commands["set_speed"]["speed"]["minimum"], commands["set_speed"]["speed"]["maximum"]) == (0, 4)
    assert "rings" in commands["set_shape"]["shape"]["enum"]


@pytest.mark.slow
def test_a_folder_in_use_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    done = run(REACTOR, "init", "mine", cwd=tmp_path)
    assert done.returncode == 2
    assert "not empty" in done.stderr
    assert "Fix:" in done.stderr
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]


def test_an_empty_folder_and_missing_parents_are_fine(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    create(tmp_path / "empty")
    create(tmp_path / "a" / "b")
    assert Manifest.read(tmp_path / "empty").name == "empty"
    assert Manifest.read(tmp_path / "a" / "b").name == "b"


def test_every_file_is_filled_in_and_hidden_ones_are_hidden(tmp_path: Path) -> None:
    create(tmp_path / "My Model!")
    files = [path for path in (tmp_path / "My Model!").rglob("*") if path.is_file()]
    names = {path.relative_to(tmp_path / "My Model!").as_posix() for path in files}
    assert names == {
        ".gitignore",
        "README.md",
        "manifest.json",
        "model.py",
        "pytest.ini",
        "requirements.txt",
        "tests/test_model.py",
    }
    for path in files:
        for mark in ("__MODEL_NAME__", "__TITLE__", "__VERSION__"):
            assert mark not in path.read_text()
    assert Manifest.read(tmp_path / "My Model!").name == "my-model"
    assert (tmp_path / "My Model!" / "README.md").read_text().startswith("# My model\n")


@pytest.mark.parametrize("name", ["---", "!"])
def test_a_name_without_a_letter_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(SettingError, match="reactor init my-model"):
        create(tmp_path / name)
    assert not (tmp_path / name).exists()


def test_a_path_that_cannot_be_a_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingError, match="Fix:"):
        create(tmp_path / "file" / "project")
