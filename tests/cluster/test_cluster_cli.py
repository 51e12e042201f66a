"""`reactor cluster` before any Ray is there: what it refuses, in words, and what it shows."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from reactor_runtime.cli import app
from reactor_runtime.cli.cluster import tables
from reactor_runtime.cluster import launch
from reactor_runtime.errors import SettingError
from reactor_runtime.types import JsonObject

KNOWN: JsonObject = {
    "nodes": [
        {"node": "3f2a00000000", "address": "192.0.2.2", "alive": True, "gpus": 2},
        {"node": "77bb00000000", "address": "192.0.2.3", "alive": False, "gpus": 1},
    ],
    "workers": [
        {
            "worker": "worker-1",
            "node": "3f2a00000000",
            "state": "busy",
            "draining": True,
            "for_s": 61.2,
            "session_id": "s-1",
            "viewers": 3,
        }
    ],
    "doors": ["http://192.0.2.2:8080"],
    "waiting": 4,
    "scale": {"min": 1, "max": 8, "idle": 1, "idle_s": 300.0},
}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without a token, in an environment that says nothing of Ray."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        # What is set by the code under test is taken back as well.
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    return tmp_path


def test_a_ray_of_our_own_gets_a_token_that_only_its_owner_reads(home: Path) -> None:
    launch.require_auth(local=True)
    token = home / ".ray" / "auth_token"
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    assert len(token.read_text()) == 64
    assert os.environ["RAY_AUTH_MODE"] == "token"
    before = token.read_text()
    launch.require_auth(local=True)
    assert token.read_text() == before


def test_ray_without_a_token_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    with pytest.raises(SettingError, match="RAY_AUTH_MODE=disabled: without a token"):
        launch.require_auth(local=True)


def test_a_token_that_is_not_here_is_said_where_it_was_looked_for(home: Path) -> None:
    with pytest.raises(SettingError, match=r"\.ray/auth_token is missing"):
        launch.require_auth(local=False)
    assert not (home / ".ray").exists()


def test_where_ray_is_not_installed_it_is_said_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "find_spec", lambda name: None)
    with pytest.raises(SettingError, match=r"pip install 'framehelm\[cluster\]'"):
        launch.require_ray()


@pytest.mark.parametrize(
    "flags",
    [
        ("--turn-s", "60"),
        ("--slots", "2"),
        ("--gpus", "0,1"),
        ("--inline",),
        ("--audit-log", "a"),
        ("--record-dir", "r"),
    ],
)
def test_a_setting_that_means_nothing_in_a_cluster_is_refused(flags: tuple[str, ...], tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["cluster", "up", str(tmp_path), *flags])
    assert done.exit_code == 2
    assert f"{flags[0]} is not for a cluster" in done.output


def test_the_status_shows_nodes_workers_sessions_and_the_line() -> None:
    console = Console(record=True, width=120, file=open(os.devnull, "w"))  # noqa: SIM115
    with console.file:
        console.print(*tables(KNOWN), sep="\n")
        told = console.export_text()
    for said in ("3f2a00000000", "192.0.2.3 gone", "worker-1", "busy · draining", "61 s", "s-1", "4 wait"):
        assert said in told
    assert "1 to 8 workers, 1 kept free" in told
    assert "http://192.0.2.2:8080" in told
