"""Tokens that say what their bearer may do: JWTs (RFC 7519), signed with a secret that the server knows. Pure.

    reactor token create ──Keys.sign──▶ text ──#token=, /t/TOKEN, a header──▶ guard ──Keys.read──▶ Claims

One algorithm, HS256, whatever a token's header asks for. Its `kid` names one of two keys, so that one can be changed
while tokens of the other still count. Nothing of a token is believed, and of its claims nothing is parsed, before
its signature was found right, in constant time, by PyJWT; that takes 80 ms to import, and servers without keys
never do.
"""

from __future__ import annotations

import base64
import math
import re
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from . import limits
from .errors import MessageRejected, SettingError, TokenExpired, TokenNotYet, Unauthorized
from .strict_json import dump, parse_object
from .types import JsonObject, Role

ALGORITHM: Final = "HS256"
#: What a header may say: RFC 7515 has words that would change what is signed, or with which key.
_HEADER: Final = frozenset({"alg", "kid", "typ"})
_COMPACT: Final = re.compile(rb"[\w-]+\.[\w-]+\.[\w-]*", re.ASCII)
_KEY_ID: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
#: That of a session, as a client may choose it.
_SESSION_ID: Final = re.compile(r"[A-Za-z0-9._~-]{1,64}")


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token says. `exp` and `nbf` are epoch seconds."""

    role: Role
    exp: float
    jti: str
    sub: str = ""
    sid: str | None = None
    nbf: float | None = None
    max_s: float | None = None
    """How long it may be used, from its first connection on."""
    once: bool = False
    """Whether it is for the first session that it joins, and no other."""

    def payload(self) -> JsonObject:
        """Return the claims as they are signed: those that say something."""
        values = {
            "sub": self.sub or None,
            "role": self.role.value,
            "sid": self.sid,
            "exp": self.exp,
            "nbf": self.nbf,
            "max_s": self.max_s,
            "once": self.once or None,
            "jti": self.jti,
        }
        return {name: value for name, value in values.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Key:
    id: str
    secret: bytes = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> Key:
        """Read `ID:SECRET`. Raises SettingError, which does not quote the secret."""
        key_id, colon, secret = text.strip().partition(":")
        if not colon or not _KEY_ID.fullmatch(key_id):
            # What has no colon may be the secret alone.
            raise SettingError(
                "a token key is written ID:SECRET, with an ID of letters, digits, dots and dashes.\n"
                "  Fix: reactor token key makes one."
            )
        if len(secret.encode()) < limits.TOKEN_SECRET_MIN_BYTES:
            raise SettingError(
                f"the secret of token key {key_id!r} has {len(secret.encode())} bytes; it takes "
                f"{limits.TOKEN_SECRET_MIN_BYTES}.\n  Fix: reactor token key makes one."
            )
        return cls(key_id, secret.encode())


def fresh_key() -> str:
    """Return a new `ID:SECRET`."""
    return f"{secrets.token_hex(3)}:{secrets.token_urlsafe(limits.TOKEN_SECRET_MIN_BYTES)}"


def fresh_jti() -> str:
    """Return a name that no other token has."""
    return secrets.token_urlsafe(12)


class Keys:
    """The keys that count. The first signs; each of them is accepted."""

    def __init__(self, keys: Iterable[Key]) -> None:
        self._keys: dict[str, Key] = {}
        for key in keys:
            if key.id in self._keys:
                raise SettingError(f"two token keys are called {key.id!r}; give each an id of its own.")
            self._keys[key.id] = key
        if len(self._keys) > limits.TOKEN_KEYS:
            raise SettingError(
                f"{len(self._keys)} token keys; {limits.TOKEN_KEYS} are taken: the new one, and the one "
                "before it until its tokens have ended."
            )

    @classmethod
    def parse(cls, texts: Sequence[str]) -> Keys:
        """Read lines of `ID:SECRET`; empty ones and those with a # before are none. Raises SettingError."""
        lines = (line.strip() for text in texts for line in text.splitlines())
        return cls(Key.parse(line) for line in lines if line and not line.startswith("#"))

    def __bool__(self) -> bool:
        return bool(self._keys)

    def sign(self, claims: Claims) -> str:
        """Return a token with these claims."""
        from jwt import PyJWS

        key = next(iter(self._keys.values()))
        payload = dump(claims.payload()).encode()
        return PyJWS().encode(payload, key.secret, ALGORITHM, headers={"kid": key.id, "typ": "JWT"})

    def read(self, text: bytes, now_s: float) -> Claims:
        """Return what a token says at `now_s`, epoch seconds.

        Raises Unauthorized for what is no token of these keys, TokenExpired and TokenNotYet for what is one.
        """
        claims = claims_of(self._signed(text))
        if now_s >= claims.exp:
            raise TokenExpired("this token's time is over; ask whoever gave it to you for another")
        if claims.nbf is not None and now_s < claims.nbf - limits.TOKEN_EARLY_S:
            raise TokenNotYet(f"this token counts in {math.ceil(claims.nbf - now_s)} s")
        return claims

    def _signed(self, text: bytes) -> bytes:
        if len(text) > limits.TOKEN_MAX_BYTES or not _COMPACT.fullmatch(text):
            raise Unauthorized("missing or wrong token")
        from jwt import PyJWS, PyJWTError

        try:
            header = header_of(text)
            key = self._keys.get(str(header.get("kid", "")))
            if key is None or not header.keys() <= _HEADER:
                raise Unauthorized("missing or wrong token")
            payload: bytes = PyJWS().decode(text, key.secret, algorithms=[ALGORITHM])
        except (PyJWTError, MessageRejected, ValueError, RecursionError):
            raise Unauthorized("missing or wrong token") from None
        return payload


def header_of(text: bytes) -> JsonObject:
    """Return a token's header, which nothing vouches for. Raises MessageRejected or ValueError."""
    return parse_object(_decoded(text.split(b".")[0]), max_bytes=limits.TOKEN_MAX_BYTES)


def unchecked_payload(text: bytes) -> bytes:
    """Return what a token carries, whoever signed it: to be shown to people. Raises ValueError."""
    parts = text.split(b".")
    if len(parts) != 3:
        raise ValueError("a token has three parts with a dot between them")
    return _decoded(parts[1])


def _decoded(part: bytes) -> bytes:
    return base64.urlsafe_b64decode(part + b"=" * (-len(part) % 4))


def claims_of(payload: bytes) -> Claims:
    """Read what was signed. Raises Unauthorized for what no token of ours says.

    What we do not know is passed over, as RFC 7519 has it, but for `aud`: a token for somebody else is not for us.
    """
    try:
        said = parse_object(payload, max_bytes=limits.TOKEN_MAX_BYTES)
        if "aud" in said:
            raise ValueError("aud")
        once = said.get("once", False)
        if not isinstance(once, bool):
            raise ValueError("once")
        sid = said.get("sid")
        if sid is not None and not (isinstance(sid, str) and _SESSION_ID.fullmatch(sid)):
            raise ValueError("sid")
        max_s = _number(said, "max_s")
        if max_s is not None and max_s <= 0:
            raise ValueError("max_s")
        exp = _number(said, "exp")
        if exp is None:
            raise ValueError("exp")
        return Claims(
            role=Role(said.get("role")),
            exp=exp,
            jti=_word(said, "jti", least=1),
            sub=_word(said, "sub", least=0),
            sid=sid,
            nbf=_number(said, "nbf"),
            max_s=max_s,
            once=once,
        )
    except (MessageRejected, ValueError):
        raise Unauthorized("missing or wrong token") from None


def _number(said: JsonObject, name: str) -> float | None:
    value: Any = said.get(name)
    if value is None:
        return None
    # A bool is an int to Python. Beyond this a float no longer counts seconds.
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 2**53:
        raise ValueError(name)
    return float(value)


def _word(said: JsonObject, name: str, *, least: int) -> str:
    value: Any = said.get(name, "")
    if not isinstance(value, str) or not least <= len(value) <= limits.TOKEN_WORD_MAX:
        raise ValueError(name)
    return value
