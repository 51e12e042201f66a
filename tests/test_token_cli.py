"""`reactor token`: keys, tokens and what is told of them."""

from __future__ import annotations

import json
import stat
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from reactor_runtime.cli import app
from reactor_runtime.tokens import Claims, Keys
from reactor_runtime.types import Role


def run(*arguments: str, given: str = "") -> Result:
    return CliRunner().invoke(app, ["token", *arguments], input=given)


@pytest.fixture
def keys(tmp_path: Path) -> str:
    file = str(tmp_path / "keys")
    assert run("key", "--file", file).exit_code == 0
    return file


def test_a_token_is_made_told_and_read_again(keys: str) -> None:
    arguments = (
        "--role",
        "drive",
        "--for",
        "30m",
        "--name",
        "Ann",
        "--session",
        "s-1",
        "--max",
        "10m",
        "--once",
    )
    made = run("create", *arguments, "--url", "https://demo.example.org/", "--token-key-file", keys)
    assert made.exit_code == 0
    token = made.stdout.strip()
    claims = Keys.parse([Path(keys).read_text()]).read(token.encode(), time.time())
    assert (claims.role, claims.sub, claims.sid, claims.max_s, claims.once) == (
        Role.DRIVE,
        "Ann",
        "s-1",
        600,
        True,
    )
    assert 1795 < claims.exp - time.time() <= 1800
    told = made.stderr
    assert f"https://demo.example.org/#token={token}" in told
    assert f"https://demo.example.org/t/{token} " in told
    for words in (
        "drive",
        "Ann",
        "s-1",
        "in 30 min",
        "10 min from the first connection on",
        "one connection at a time",
    ):
        assert words in told
    # A token, a link for people, a link for SDKs, and what comes from a pipe.
    for shown in (token, f"https://x/#token={token}", f"https://x/t/{token}/session"):
        read = run("inspect", shown, "--token-key-file", keys)
        assert (read.exit_code, "it counts" in read.stdout) == (0, True)
    assert "it counts" in run("inspect", "-", "--token-key-file", keys, given=token + "\n").stdout


def test_as_json_everything_is_one_value(keys: str) -> None:
    made = json.loads(run("create", "--role", "watch", "--json", "--token-key-file", keys).stdout)
    assert made["page"].endswith(f"/#token={made['token']}")
    assert made["api_url"].endswith(f"/t/{made['token']}")
    assert made["claims"]["role"] == "watch"
    read = json.loads(run("inspect", made["token"], "--json").stdout)
    assert read["claims"] == made["claims"] | {"exp": float(made["claims"]["exp"])}
    assert (read["counts"], "not checked" in read["verdict"]) == (True, True)


def test_the_environment_gives_the_key(keys: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REACTOR_TOKEN_KEYS", Path(keys).read_text().strip())
    assert run("create", "--role", "vote").exit_code == 0


def test_a_rotation_keeps_the_last_key_and_no_more(keys: str) -> None:
    first = run("create", "--role", "watch", "--token-key-file", keys).stdout.strip()
    assert run("key", "--file", keys).exit_code == 0
    assert run("inspect", first, "--token-key-file", keys).exit_code == 0
    assert run("key", "--file", keys).exit_code == 0
    refused = run("inspect", first, "--token-key-file", keys)
    assert (refused.exit_code, "none of these keys" in refused.stdout) == (1, True)
    assert len(Path(keys).read_text().split()) == 2
    assert stat.S_IMODE(Path(keys).stat().st_mode) == 0o600
    assert [each.name for each in Path(keys).parent.iterdir()] == ["keys"]


def test_what_is_over_is_told(keys: str) -> None:
    text = Keys.parse([Path(keys).read_text()]).sign(Claims(Role.WATCH, time.time() - 90, "j"))
    read = run("inspect", text, "--token-key-file", keys)
    assert read.exit_code == 1
    assert "s ago" in read.stdout
    assert "time is over" in read.stdout


def test_a_name_steers_no_terminal(keys: str) -> None:
    made = run("create", "--role", "watch", "--name", "\x1b[2J evil", "--token-key-file", keys)
    assert "\x1b" not in made.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("create", "--role", "watch"), "reactor token key --file"),
        (("create", "--role", "watch", "--token-key", "no-id-and-this-is-secret"), "ID:SECRET"),
        (("create", "--role", "watch", "--token-key", "k:short"), "has 5 bytes; it takes 32"),
        (("create", "--role", "watch", "--token-key-file", "/no/such/file"), "No such file"),
        (
            ("create", "--role", "watch", "--for", "soon", "--token-key", "k:" + "s" * 32),
            "--for soon: not a time",
        ),
        (("create", "--role", "watch", "--name", "x" * 65, "--token-key", "k:" + "s" * 32), "64 fit"),
        (("create", "--role", "watch", "--session", "../x", "--token-key", "k:" + "s" * 32), "--session"),
        (("inspect", "nonsense"), "no token that reactor token create makes"),
        (("inspect", "a.b.c"), "no token that reactor token create makes"),
        (("key", "--file", "/no/such/folder/keys"), "cannot be written"),
    ],
)
def test_a_mistake_is_told_with_what_to_do_and_without_the_secret(
    arguments: tuple[str, ...], words: str
) -> None:
    refused = run(*arguments)
    assert refused.exit_code == 2
    assert words in refused.stderr
    assert "this-is-secret" not in refused.stderr
    assert "short" not in refused.stderr.replace("short:", "")
