"""AWS credentials from profiles, which the storage library does not read.

Order, as the AWS tools have it: keys in the environment, then the profile (AWS_PROFILE, else "default") of
~/.aws/credentials and ~/.aws/config, then what the library finds itself (web identity, container, instance).
A profile may hold keys or a `credential_process`; one that assumes a role or signs in through a browser
needs boto3, which is used when it is installed.
"""

from __future__ import annotations

import configparser
import json
import shlex
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ..errors import StoreRefused

#: What the storage library asks for: keys, and when they end.
Keys = dict[str, Any]
_PROCESS_S = 60.0
#: Keys of an unknown life are asked for again after this long.
_KEYS_S = 900.0


@dataclass(frozen=True, slots=True)
class Profile:
    """What an AWS profile says about reaching a store."""

    keys: Callable[[], Keys] | None = field(default=None, repr=False)
    region: str | None = None
    endpoint: str | None = None


def profile(environ: Mapping[str, str]) -> Profile:
    """Read the profile that the environment chooses. Raises StoreRefused when it was named and cannot be used."""
    named = environ.get("AWS_PROFILE") or environ.get("AWS_DEFAULT_PROFILE")
    name = named or "default"
    section = _section(environ, name)
    if section is None:
        if named:
            raise StoreRefused(
                f"the AWS profile {name!r} is neither in ~/.aws/config nor in ~/.aws/credentials.\n"
                "  Fix: correct or unset AWS_PROFILE.",
                setting="AWS_PROFILE",
            )
        return Profile()
    in_environment = "AWS_ACCESS_KEY_ID" in environ and "AWS_SECRET_ACCESS_KEY" in environ
    return Profile(
        keys=None if in_environment else _keys(name, section),
        region=section.get("region"),
        endpoint=section.get("endpoint_url"),
    )


def _keys(name: str, section: Mapping[str, str]) -> Callable[[], Keys] | None:
    if "aws_access_key_id" in section and "aws_secret_access_key" in section:
        fixed = {
            "access_key_id": section["aws_access_key_id"],
            "secret_access_key": section["aws_secret_access_key"],
            "token": section.get("aws_session_token"),
            "expires_at": None,
        }
        return lambda: fixed
    if "credential_process" in section:
        command = section["credential_process"]
        return lambda: _from_process(name, command)
    if any(
        key.startswith(("sso_", "role_", "web_identity", "source_profile", "credential_source"))
        for key in section
    ):
        return _from_boto(name)
    return None


def _section(environ: Mapping[str, str], name: str) -> dict[str, str] | None:
    """Merge a profile of both files; the credentials file wins, as with the AWS tools."""
    home = Path(environ.get("HOME") or Path.home())
    config = Path(environ.get("AWS_CONFIG_FILE") or home / ".aws" / "config").expanduser()
    credentials = Path(
        environ.get("AWS_SHARED_CREDENTIALS_FILE") or home / ".aws" / "credentials"
    ).expanduser()
    merged: dict[str, str] = {}
    found = False
    for path, sections in ((config, (f"profile {name}", name)), (credentials, (name,))):
        parser = configparser.RawConfigParser(strict=False)
        try:
            parser.read(path, encoding="utf-8")
        except (configparser.Error, OSError, UnicodeDecodeError):
            # The parser's own message quotes the line, which may be a secret.
            raise StoreRefused(
                f"{path} cannot be read as an AWS settings file.\n  Fix: correct it.", setting="AWS_PROFILE"
            ) from None
        for section in sections:
            if parser.has_section(section):
                merged.update(parser.items(section))
                found = True
                break
    return merged if found else None


def _from_process(name: str, command: str) -> Keys:
    """Run a profile's credential_process (format: AWS SDK reference, "Process credential provider")."""
    refused = StoreRefused(
        f"the credential_process of the AWS profile {name!r} gave no credentials.\n"
        "  Fix: run it by hand and see what it says.",
        setting="AWS_PROFILE",
    )
    try:
        done = subprocess.run(  # noqa: S603  # the operator's own configuration names this program
            shlex.split(command),
            capture_output=True,
            timeout=_PROCESS_S,
            check=True,
            stdin=subprocess.DEVNULL,
        )
        answer = json.loads(done.stdout)
        expires = answer.get("Expiration")
        return {
            "access_key_id": answer["AccessKeyId"],
            "secret_access_key": answer["SecretAccessKey"],
            "token": answer.get("SessionToken"),
            "expires_at": datetime.fromisoformat(expires)
            if expires
            else datetime.now(UTC) + timedelta(seconds=_KEYS_S),
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError, subprocess.SubprocessError):
        raise refused from None


def _from_boto(name: str) -> Callable[[], Keys]:
    try:
        import boto3  # type: ignore[import-untyped]
    except ImportError:
        raise StoreRefused(
            f"the AWS profile {name!r} assumes a role or signs in through a browser, which needs boto3.\n"
            "  Fix: pip install boto3, or put keys into the environment: "
            'eval "$(aws configure export-credentials --format env)"',
            setting="AWS_PROFILE",
        ) from None
    credentials = boto3.Session(profile_name=name).get_credentials()

    def keys() -> Keys:
        frozen = credentials.get_frozen_credentials()
        return {
            "access_key_id": frozen.access_key,
            "secret_access_key": frozen.secret_key,
            "token": frozen.token,
            "expires_at": datetime.now(UTC) + timedelta(seconds=_KEYS_S),
        }

    return keys
