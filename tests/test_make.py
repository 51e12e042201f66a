"""`make` on a machine where something is missing: installed when that is possible, else told exactly."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
NEED = ROOT / "tools" / "need"


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A PATH with a shell's bare needs, to which a test adds what its machine shall have."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("sh", "cat"):
        found = shutil.which(name)
        assert found is not None
        (folder / name).symlink_to(found)
    return folder


def add(machine: Path, name: str, script: str) -> None:
    (machine / name).write_text(f"#!/bin/sh\n{script}\n")
    (machine / name).chmod(0o755)


def need(machine: Path, *pairs: str) -> subprocess.CompletedProcess[str]:
    env = os.environ | {"PATH": str(machine)}
    return subprocess.run([str(NEED), *pairs], env=env, capture_output=True, text=True, timeout=30)


def test_nothing_is_said_or_done_when_everything_is_there(machine: Path) -> None:
    done = need(machine, "sh=dash", "cat=coreutils")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_root_with_apt_gets_exactly_what_is_missing(machine: Path) -> None:
    add(machine, "id", "echo 0")
    add(machine, "apt-get", f'echo "$@" >> {machine}/called')
    done = need(machine, "sh=dash", "chromium=chromium", "ffprobe=ffmpeg")
    assert done.returncode == 0
    assert done.stdout == "Installing Debian packages: chromium ffmpeg\n"
    assert (machine / "called").read_text().splitlines() == [
        "update -qq",
        "install -y --no-install-recommends chromium ffmpeg -qq",
    ]


def test_without_root_the_command_to_type_is_told(machine: Path) -> None:
    add(machine, "id", "echo 1000")
    add(machine, "apt-get", "exit 1")
    done = need(machine, "chromium=chromium")
    assert done.returncode == 1
    assert "sudo apt-get update && sudo apt-get install -y --no-install-recommends chromium" in done.stderr


def test_without_apt_the_missing_packages_are_named(machine: Path) -> None:
    done = need(machine, "chromium=chromium", "node=nodejs")
    assert done.returncode == 1
    assert "Missing: chromium nodejs." in done.stderr


def test_python_without_venv_counts_as_missing(machine: Path) -> None:
    add(machine, "python3", "exit 1")
    done = need(machine, "venv=python3-venv")
    assert done.returncode == 1
    assert "python3-venv" in done.stderr


def plan(target: str) -> str:
    command = ["make", "-n", target, "VENV=no-such-venv"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("installs", ["tools/need chromium", " install "])
def test_make_test_installs_lints_and_then_tests_beside_the_type_checks(installs: str) -> None:
    order = [
        "-m venv no-such-venv",
        installs,
        "ruff check",
        'BESIDE="make',
        "types check-page",
        "tools/run-tests",
    ]
    steps = plan("test")
    assert [steps.index(step) for step in order] == sorted(steps.index(step) for step in order)


def test_make_check_has_every_check_and_make_demo_runs_the_example() -> None:
    steps = plan("check")
    for step in ("ruff check", "ruff format --check", "bin/mypy", "npm run --silent check"):
        assert step in steps
    assert "reactor run examples/drive" in plan("demo")
