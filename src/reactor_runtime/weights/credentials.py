"""AWS credentials from profiles, which the storage library does not read: botocore does, as the AWS tools do.

Order, as they have it: keys in the environment, then the profile (AWS_PROFILE, else "default") of
~/.aws/credentials and ~/.aws/config, with its keys, program, role or browser sign-in, then what the storage
library finds itself (web identity, container, instance).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ..errors import StoreRefused

#: What the storage library asks for: keys, and when they end.
Keys = dict[str, Any]
#: Keys that end are asked for again after this long; botocore renews them ten minutes before their end.
_KEYS_S = 300.0
#: What a profile that brings credentials has, besides region and endpoint.
_BRINGS = (
    "aws_access_key_id",
    "credential_process",
    "credential_source",
    "login_session",
    "role_arn",
    "sso_",
    "web_identity",
)
#: Providers of botocore that look elsewhere than into the profile.
_ELSEWHERE = ("env", "container-role", "iam-role", "ec2-credentials-file", "boto-config")


@dataclass(frozen=True, slots=True)
class Profile:
    """What an AWS profile says about reaching a store."""

    keys: Callable[[], Keys] | None = field(default=None, repr=False)
    region: str | None = None
    endpoint: str | None = None


def profile(environ: Mapping[str, str]) -> Profile:
    """Read the profile that the environment chooses. Raises StoreRefused when it was named and cannot be used."""
    from botocore.exceptions import BotoCoreError, ProfileNotFound
    from botocore.session import Session

    named = environ.get("AWS_PROFILE") or environ.get("AWS_DEFAULT_PROFILE")
    name = named or "default"
    session = Session(profile=name)
    folder = Path(environ.get("HOME") or "~", ".aws")
    for variable, setting, file in (
        ("config_file", "AWS_CONFIG_FILE", "config"),
        ("credentials_file", "AWS_SHARED_CREDENTIALS_FILE", "credentials"),
    ):
        session.set_config_variable(variable, environ.get(setting) or str(folder / file))
    try:
        section = session.get_scoped_config()
    except ProfileNotFound:
        if not named:
            return Profile()
        raise StoreRefused(
            f"the AWS profile {name!r} is neither in ~/.aws/config nor in ~/.aws/credentials.\n"
            "  Fix: correct or unset AWS_PROFILE.",
            setting="AWS_PROFILE",
        ) from None
    except (BotoCoreError, OSError, UnicodeDecodeError) as error:
        # Its own message quotes the line, which may be a secret.
        file = getattr(error, "kwargs", {}).get("path", "~/.aws")
        raise StoreRefused(
            f"{file} cannot be read as an AWS settings file.\n  Fix: correct it.", setting="AWS_PROFILE"
        ) from None
    in_environment = "AWS_ACCESS_KEY_ID" in environ and "AWS_SECRET_ACCESS_KEY" in environ
    brings = any(key.startswith(_BRINGS) for key in section)
    return Profile(
        keys=_keys(session, name, section) if brings and not in_environment else None,
        region=section.get("region"),
        endpoint=section.get("endpoint_url"),
    )


def _keys(session: Any, name: str, section: Mapping[str, Any]) -> Callable[[], Keys]:
    """Return what gives this profile's keys. Any thread; whatever it takes happens at the first call."""
    from botocore.credentials import RefreshableCredentials, create_credential_resolver
    from botocore.exceptions import BotoCoreError, ClientError

    resolver = create_credential_resolver(session)
    for provider in _ELSEWHERE:
        resolver.remove(provider)
    lock = threading.Lock()
    found: Any = None

    def keys() -> Keys:
        nonlocal found
        with lock:
            try:
                found = found or resolver.load_credentials()
                frozen = found.get_frozen_credentials() if found is not None else None
            except (BotoCoreError, ClientError, OSError, ValueError, KeyError):
                frozen = None
        if frozen is None or not frozen.access_key:
            raise _nothing(name, section)
        ends = isinstance(found, RefreshableCredentials)
        return {
            "access_key_id": frozen.access_key,
            "secret_access_key": frozen.secret_key,
            "token": frozen.token,
            "expires_at": datetime.now(UTC) + timedelta(seconds=_KEYS_S) if ends else None,
        }

    return keys


def _nothing(name: str, section: Mapping[str, Any]) -> StoreRefused:
    if "credential_process" in section:
        problem = f"the credential_process of the AWS profile {name!r} gave no credentials"
        fix = "run it by hand and see what it says"
    elif any(key.startswith("sso_") for key in section):
        problem = f"the AWS profile {name!r} is not signed in"
        fix = f"aws sso login --profile {name}"
    else:
        problem = f"the AWS profile {name!r} gave no credentials"
        fix = f"aws sts get-caller-identity --profile {name}, and see what it says"
    return StoreRefused(f"{problem}.\n  Fix: {fix}.", setting="AWS_PROFILE")
