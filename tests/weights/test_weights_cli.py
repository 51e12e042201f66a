"""`reactor weights`, as a person and as a program use it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from reactor_runtime.cli.weights import app
from reactor_runtime.weights.display import Display
from reactor_runtime.weights.transfer import Transfer

from .conftest import MIB, aws, same_content, write_files

pytestmark = pytest.mark.slow


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REACTOR_REGISTRY", str(tmp_path / "registry"))
    monkeypatch.setenv("REACTOR_CACHE", str(tmp_path / "cache"))

    def invoke(*args: str, status: int = 0) -> Result:
        result = CliRunner().invoke(app, args)
        assert result.exit_code == status, result.output
        return result

    return invoke


def test_push_list_pull_where_verify_and_gc_belong_together(run: Any, tmp_path: Path) -> None:
    folder = write_files(tmp_path / "source", {"model.safetensors": MIB, "vae/a.pt": 10})
    assert "published LongLive@1.0.0" in run("push", "LongLive", str(folder)).stdout
    assert json.loads(run("list", "--json").stdout) == [
        {"name": "LongLive", "version": "1.0.0", "cached": False}
    ]
    run("where", "LongLive", status=2)
    (pulled,) = json.loads(run("pull", "LongLive", "--json").stdout)
    assert pulled["received_bytes"] == MIB + 10
    assert same_content(folder, Path(pulled["path"]))
    assert run("where", "LongLive").stdout.strip() == pulled["path"]
    assert run("list").stdout == "LongLive@1.0.0  cached\n"
    assert run("verify").stdout == "LongLive@1.0.0  right\n"
    kept = json.loads(run("gc", "--max-age", "0s", "--dry-run", "--json").stdout)
    assert kept["removed"][0]["name"] == "LongLive"
    assert Path(pulled["path"]).exists()
    assert "removed LongLive@1.0.0" in run("gc", "--max-size", "1MB").stdout
    assert not Path(pulled["path"]).exists()


def test_verify_finds_a_flipped_bit_and_the_next_pull_repairs_it(run: Any, tmp_path: Path) -> None:
    folder = write_files(tmp_path / "source", {"model.safetensors": 1000, "b": 10})
    run("push", "LongLive", str(folder))
    # On this disk the cache would share the file with the registry, and the damage too.
    (tmp_path / "registry/LongLive/1.0.0/model.safetensors").chmod(0o644)
    (pulled,) = json.loads(run("pull", "LongLive", "--json").stdout)
    file = Path(pulled["path"]) / "model.safetensors"
    before = file.stat()
    file.chmod(0o644)
    file.write_bytes(bytes(1000))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert json.loads(run("verify", "--json", status=1).stdout)[0]["damaged"] == ["model.safetensors"]
    (again,) = json.loads(run("pull", "LongLive", "--json").stdout)
    assert again["received_bytes"] == 1000
    assert same_content(folder, Path(again["path"]))


def test_without_names_the_manifest_says_what_to_pull(run: Any, tmp_path: Path) -> None:
    run("push", "LongLive", str(write_files(tmp_path / "source", {"m": 10})))
    assert "there is no such file" in run("pull", status=2).stderr
    (tmp_path / "manifest.json").write_text('{"weights": ["LongLive@1.0.0"]}')
    assert "LongLive@1.0.0" in run("pull").stdout
    (tmp_path / "manifest.json").write_text('{"weights": 5}')
    assert "lists no weights" in run("pull", status=2).stderr


def test_mistakes_are_one_readable_error(run: Any, tmp_path: Path) -> None:
    folder = str(write_files(tmp_path / "source", {"m": 10}))
    run("push", "LongLive@1.0.0", folder)
    assert "never change" in run("push", "LongLive@1.0.0", folder, status=2).stderr
    assert "not a name" in run("pull", "../x", status=2).stderr
    assert "no weights 'Other'" in run("pull", "Other", status=2).stderr
    assert "is not in the cache" in run("verify", "Other", status=2).stderr
    assert "--max-age" in run("gc", "--max-age", "soon", status=2).stderr


def test_the_list_is_that_of_the_cache_while_the_registry_is_away(run: Any, tmp_path: Path) -> None:
    run("push", "LongLive", str(write_files(tmp_path / "source", {"m": 10})))
    run("pull", "LongLive")
    result = run("list", "--registry", str(tmp_path / "away"))
    assert result.stdout == "LongLive@1.0.0  cached\n"
    assert "only the cache is listed" in result.stderr


def test_a_log_gets_plain_lines_and_stdout_only_the_result(tmp_path: Path, s3_port: int, bucket: str) -> None:
    folder = write_files(tmp_path / "source", {"m": 3 * MIB})
    environ = {
        **os.environ,
        **aws(s3_port),
        "REACTOR_REGISTRY": f"s3://{bucket}/w",
        "REACTOR_CACHE": str(tmp_path / "c"),
    }
    for command in (["push", "LongLive", str(folder)], ["pull", "LongLive"]):
        done = subprocess.run(
            [sys.executable, "-c", "from reactor_runtime.cli.weights import app; app()", *command, "--json"],
            env=environ,
            capture_output=True,
            text=True,
            check=True,
        )
        json.loads(done.stdout)
        assert "LongLive" in done.stderr
        assert "of 3.1 MB" in done.stderr
        assert "\x1b" not in done.stderr
        assert "verysecretvalue" not in done.stderr + done.stdout


def test_a_terminal_gets_bars_with_rate_and_remaining_time() -> None:
    console = Console(force_terminal=True, width=140, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    with console.file, Display(console) as display:
        for done in (1_000_000_000, 3_100_000_000):
            display.report(Transfer("LongLive", "downloading", done, 11_400_000_000, 2e8, 41))
        display._bars.refresh()
        text = console.export_text()
    assert "downloading LongLive" in text
    assert "3.1/11.4 GB" in text


def test_a_log_is_not_flooded() -> None:
    now = [0.0]
    console = Console(force_terminal=False, width=200, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    with console.file, Display(console, clock=lambda: now[0]) as display:
        for tick in range(1000):
            now[0] = tick * 0.1
            display.report(Transfer("LongLive", "downloading", tick, 1000))
        lines = console.export_text().splitlines()
    assert 15 <= len(lines) <= 25
