"""AWS profiles, with a real S3 server behind the ones that can be used."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from reactor_runtime.errors import StoreRefused
from reactor_runtime.weights.credentials import profile
from reactor_runtime.weights.store import open_store

from .conftest import PATIENT, aws

CREDENTIALS = """
[default]
aws_access_key_id = AKDEFAULT
aws_secret_access_key = secret-default

[work]
aws_access_key_id = AKWORK
aws_secret_access_key = secret-work
aws_session_token = token-work
"""
CONFIG = """
[default]
region = eu-central-1

[profile work]
region = us-west-2
endpoint_url = http://127.0.0.1:9

[profile sso]
sso_start_url = https://example.com

[profile program]
credential_process = {python} {script}
"""


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    """An environment with AWS files, and a program that gives credentials."""
    aws_folder = tmp_path / ".aws"
    aws_folder.mkdir()
    script = tmp_path / "give.py"
    answer = {
        "Version": 1,
        "AccessKeyId": "AKPROGRAM",
        "SecretAccessKey": "s",
        "Expiration": "2050-01-01T00:00:00Z",
    }
    script.write_text(f"print({json.dumps(answer)!r})")
    (aws_folder / "credentials").write_text(CREDENTIALS)
    (aws_folder / "config").write_text(CONFIG.format(python=sys.executable, script=script))
    return {"HOME": str(tmp_path)}


def _key(environ: dict[str, str]) -> object:
    keys = profile(environ).keys
    return keys()["access_key_id"] if keys else None


def test_the_default_profile_is_used_without_being_named(home: dict[str, str]) -> None:
    assert _key(home) == "AKDEFAULT"
    assert profile(home).region == "eu-central-1"


def test_a_named_profile_brings_keys_token_region_and_endpoint(home: dict[str, str]) -> None:
    found = profile({**home, "AWS_PROFILE": "work"})
    assert found.keys is not None
    assert found.keys()["token"] == "token-work"
    assert (found.region, found.endpoint) == ("us-west-2", "http://127.0.0.1:9")


def test_keys_of_the_environment_win_over_the_profile(home: dict[str, str]) -> None:
    assert (
        _key({**home, "AWS_PROFILE": "work", "AWS_ACCESS_KEY_ID": "A", "AWS_SECRET_ACCESS_KEY": "B"}) is None
    )


def test_other_places_for_the_files_are_heeded(home: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "c").write_text("[default]\naws_access_key_id = AKOTHER\naws_secret_access_key = x\n")
    assert _key({**home, "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "c")}) == "AKOTHER"


def test_without_files_nothing_is_found_and_nothing_is_wrong(tmp_path: Path) -> None:
    assert profile({"HOME": str(tmp_path)}).keys is None


@pytest.mark.slow
def test_a_program_gives_credentials_that_end(home: dict[str, str]) -> None:
    found = profile({**home, "AWS_PROFILE": "program"})
    assert found.keys is not None
    keys = found.keys()
    assert keys["access_key_id"] == "AKPROGRAM"
    # Asked again after a while: the library renews what ends.
    assert 0 < (keys["expires_at"] - datetime.now(UTC)).total_seconds() <= 300


@pytest.mark.slow
def test_a_program_that_fails_is_named_and_not_quoted(home: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "give.py").write_text("print('secret'); raise SystemExit(1)")
    found = profile({**home, "AWS_PROFILE": "program"})
    assert found.keys is not None
    with pytest.raises(StoreRefused, match=r"credential_process of the AWS profile 'program'") as raised:
        found.keys()
    assert "secret" not in str(raised.value)


def test_a_profile_that_is_not_there_names_the_setting(home: dict[str, str]) -> None:
    with pytest.raises(StoreRefused, match="nobody") as raised:
        profile({**home, "AWS_PROFILE": "nobody"})
    assert raised.value.setting == "AWS_PROFILE"


def test_a_browser_sign_in_that_is_due_says_how(home: dict[str, str]) -> None:
    found = profile({**home, "AWS_PROFILE": "sso"})
    assert found.keys is not None
    with pytest.raises(StoreRefused, match=r"'sso' is not signed in(.|\n)*aws sso login --profile sso"):
        found.keys()


@pytest.mark.slow
def test_a_role_is_assumed_with_the_keys_of_another_profile(
    home: dict[str, str], tmp_path: Path, s3_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / ".aws/config").open("a") as config:
        config.write(
            "\n[profile role]\nrole_arn = arn:aws:iam::123456789012:role/reader\n"
            "source_profile = work\nregion = us-east-1\n"
        )
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", aws(s3_port)["AWS_ENDPOINT_URL"])
    found = profile({**home, "AWS_PROFILE": "role"})
    assert found.keys is not None
    keys = found.keys()
    assert keys["access_key_id"].startswith("ASIA")
    assert keys["token"]


def test_a_broken_file_is_named_and_not_quoted(home: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / ".aws/credentials").write_text("aws_secret_access_key = verysecret\n")
    with pytest.raises(StoreRefused, match="cannot be read") as raised:
        profile(home)
    assert "verysecret" not in str(raised.value)
    assert raised.value.__suppress_context__


@pytest.mark.slow
def test_a_profile_opens_a_store(home: dict[str, str], s3_port: int, bucket: str) -> None:
    environ = {**home, "AWS_PROFILE": "work", "AWS_ENDPOINT_URL": aws(s3_port)["AWS_ENDPOINT_URL"]}
    store = open_store(f"s3://{bucket}/weights", environ=environ, patience=PATIENT)
    store.create("x/y", b"1")
    assert [entry.key for entry in store.under("x")] == ["x/y"]
