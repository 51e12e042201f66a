"""Settings: what wins, what an environment that is not ours may hold, and that flags are made of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from reactor_runtime.config import Settings, flag_of, variable_of
from reactor_runtime.errors import SettingError, StoreRefused
from reactor_runtime.weights.own_folders import cache_folder, data_folder
from reactor_runtime.weights.store import open_store

DEFAULTS = Settings.load({}, {})


def test_a_flag_wins_over_its_variable_which_wins_over_the_default() -> None:
    environ = {"REACTOR_PORT": "9000", "REACTOR_FPS": "12"}
    settings = Settings.load({"port": 9001, "fps": None}, environ)
    assert (settings.port, settings.fps, settings.host) == (9001, 12.0, "127.0.0.1")


@pytest.mark.parametrize("empty", ["", " ", "\n"])
def test_an_empty_variable_is_one_that_is_not_set(empty: str) -> None:
    notes: list[str] = []
    environ = {variable_of(name): empty for name in Settings.model_fields}
    assert Settings.load({}, environ, note=notes.append) == DEFAULTS
    assert notes == []


@pytest.mark.parametrize("address", ["tcp://10.96.0.17:8080", "udp://[fd00::1]:80", "tcp://172.17.0.5:8080"])
def test_the_address_that_an_orchestrator_injects_for_a_service_of_our_name_is_ignored_with_a_word(
    address: str,
) -> None:
    notes: list[str] = []
    environ = {
        "REACTOR_PORT": address,
        "REACTOR_SERVICE_HOST": "10.96.0.17",
        "REACTOR_SERVICE_PORT": "8080",
        "REACTOR_PORT_8080_TCP": address,
    }
    assert Settings.load({}, environ, note=notes.append) == DEFAULTS
    (note,) = notes
    assert f"REACTOR_PORT={address} is ignored" in note
    assert "enableServiceLinks" in note


def test_a_wrong_variable_that_nobody_injects_is_still_a_mistake() -> None:
    with pytest.raises(SettingError, match=r"port \(--port, REACTOR_PORT\)"):
        Settings.load({}, {"REACTOR_PORT": "http"})


def test_blanks_and_line_ends_around_values_are_cut() -> None:
    environ = {
        "REACTOR_TOKEN": " s3cret\r\n",
        "REACTOR_PORT": "9000\n",
        "REACTOR_ICE_SERVERS": " stun:a:1 , \n",
    }
    settings = Settings.load({}, environ)
    assert (settings.token, settings.port, settings.ice_servers) == ("s3cret", 9000, ("stun:a:1",))
    assert Settings.load({"token": "s3cret\n"}, {}).token == "s3cret"  # not a secret of anything


def test_a_wrong_token_is_refused_without_repeating_it() -> None:
    with pytest.raises(SettingError) as refused:
        Settings.load({"token": "x" * 600}, {})
    assert "xxx" not in str(refused.value)


def test_every_setting_is_a_flag_with_the_words_and_the_default_of_its_field(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    done = subprocess.run(
        [str(Path(sys.executable).parent / "reactor"), "run", "--help"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    for name, field in Settings.model_fields.items():
        line = next(line for line in done.stdout.splitlines() if f" {flag_of(name).name} " in line)
        assert field.description is not None
        assert field.description[1:] in line
        assert not isinstance(field.default, int) or field.default is False or f"{field.default:g}" in line


@pytest.mark.parametrize(
    ("flags", "gpus"),
    [
        ({}, [""]),
        ({"slots": 3}, ["", "", ""]),
        ({"gpus": "0,1"}, ["0", "1"]),
        ({"gpus": "GPU-5f1c,MIG-GPU-5f/7/0", "slots": 3}, ["GPU-5f1c", "MIG-GPU-5f/7/0", "GPU-5f1c"]),
    ],
)
def test_slots_take_the_gpus_in_turn_and_are_as_many_as_those_unless_told(
    flags: dict[str, Any], gpus: list[str]
) -> None:
    settings = Settings.load(flags, {})
    assert [settings.gpu_of(slot) for slot in range(settings.slot_count)] == gpus


@pytest.mark.parametrize(
    "flags",
    [
        {"slots": 0},
        {"slots": 65},
        {"gpus": "0,,1"},
        {"gpus": "0 1"},
        {"slots": 2, "inline": True},
        {"gpus": "1", "inline": True},
    ],
)
def test_slots_that_cannot_be_are_refused_by_their_setting_s_name(flags: dict[str, Any]) -> None:
    with pytest.raises(SettingError, match=r"^(slots|gpus) "):
        Settings.load(flags, {})


# A user that has a number and no name --------------------------------------------------------------------


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container's user: no HOME, and no line in /etc/passwd."""
    for variable in ("HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(variable, raising=False)

    def unknown(uid: int) -> None:
        raise KeyError(uid)

    monkeypatch.setattr("pwd.getpwuid", unknown)


@pytest.mark.usefixtures("nobody")
def test_without_a_home_the_setting_to_give_is_named() -> None:
    with pytest.raises(StoreRefused, match="REACTOR_REGISTRY"):
        data_folder()
    with pytest.raises(StoreRefused, match="REACTOR_CACHE"):
        cache_folder()


@pytest.mark.usefixtures("nobody")
def test_without_a_home_a_registry_that_is_given_works(tmp_path: Path) -> None:
    assert open_store(str(tmp_path)).address == str(tmp_path)
    with pytest.raises(StoreRefused):
        open_store(str(tmp_path / "misspelt"))


@pytest.mark.slow
def test_a_cache_that_this_user_may_not_write_is_told_with_the_setting(tmp_path: Path) -> None:
    """In a container HOME is often "/": as root nothing is forbidden, so a file stands in the way."""
    registry, weights = tmp_path / "registry", tmp_path / "coral"
    weights.mkdir()
    (weights / "a.bin").write_bytes(b"a")
    (tmp_path / "home").write_text("not a folder")
    environ = {**os.environ, "REACTOR_REGISTRY": str(registry), "XDG_CACHE_HOME": str(tmp_path / "home")}

    def reactor(*words: str) -> subprocess.CompletedProcess[str]:
        command = [str(Path(sys.executable).parent / "reactor"), "weights", *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, env=environ)

    assert reactor("push", "Coral", str(weights)).returncode == 0
    done = reactor("pull", "Coral")
    assert done.returncode == 2, json.dumps(done.stderr)
    assert "REACTOR_CACHE" in done.stderr
    assert "Traceback" not in done.stderr
