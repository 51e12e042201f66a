"""Tokens by themselves: what is signed, what is believed, and what is refused before it is read."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reactor_runtime import limits
from reactor_runtime.errors import SettingError, TokenExpired, TokenNotYet, Unauthorized
from reactor_runtime.tokens import Claims, Key, Keys, claims_of, fresh_jti, fresh_key
from reactor_runtime.types import Role

NEW, OLD = Key("new", b"n" * 32), Key("old", b"o" * 32)
KEYS = Keys([NEW, OLD])
NOW_S = 1_800_000_000.0
CLAIMS = Claims(Role.DRIVE, exp=NOW_S + 60, jti="a", sub="Ann", sid="s-1", nbf=NOW_S, max_s=30, once=True)


def part(value: Any) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def forged(header: Any, payload: Any, *, secret: bytes = NEW.secret, hashed: str = "sha256") -> bytes:
    """A JWS by hand, whatever its header says."""
    signed = f"{part(header)}.{part(payload)}"
    return f"{signed}.{part(hmac.new(secret, signed.encode(), hashed).digest())}".encode()


GOOD = {"alg": "HS256", "kid": "new"}
SAID: dict[str, Any] = {"role": "watch", "exp": NOW_S + 60, "jti": "a"}


def test_what_was_signed_is_read_again_with_either_key() -> None:
    for keys in (KEYS, Keys([OLD, NEW])):
        assert KEYS.read(keys.sign(CLAIMS).encode(), NOW_S) == CLAIMS


def test_a_token_made_by_hand_after_the_standard_is_taken() -> None:
    assert KEYS.read(forged(GOOD, SAID), NOW_S) == Claims(Role.WATCH, NOW_S + 60, "a")
    assert KEYS.read(forged({**GOOD, "typ": "JWT"}, {**SAID, "iat": 5, "iss": "shop"}), NOW_S).jti == "a"


def test_a_token_of_a_key_that_was_taken_away_is_refused() -> None:
    with pytest.raises(Unauthorized):
        Keys([NEW]).read(Keys([OLD]).sign(CLAIMS).encode(), NOW_S)


@pytest.mark.parametrize(
    ("now_s", "refused"),
    [
        (NOW_S - limits.TOKEN_EARLY_S - 0.1, TokenNotYet),
        (NOW_S - limits.TOKEN_EARLY_S, None),
        (NOW_S + 59.9, None),
        (NOW_S + 60, TokenExpired),
    ],
)
def test_a_token_counts_from_shortly_before_its_time_until_its_end(
    now_s: float, refused: type[Exception] | None
) -> None:
    text = KEYS.sign(CLAIMS).encode()
    if refused is None:
        assert KEYS.read(text, now_s) == CLAIMS
    else:
        with pytest.raises(refused):
            KEYS.read(text, now_s)


NO_SIGNATURE = f"{part({'alg': 'none', 'kid': 'new'})}.{part(SAID)}.".encode()


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"..",
        b"a.b.c",
        b"\xff.\xff.\xff",
        NO_SIGNATURE,
        forged({**GOOD, "alg": "none"}, SAID),
        forged({**GOOD, "alg": "HS384"}, SAID, hashed="sha384"),
        forged({**GOOD, "alg": "HS512"}, SAID, hashed="sha512"),
        forged({**GOOD, "alg": ["HS256"]}, SAID),
        forged({"alg": "HS256"}, SAID),
        forged({**GOOD, "kid": "other"}, SAID),
        forged({**GOOD, "kid": ["new"]}, SAID),
        forged({**GOOD, "kid": "old"}, SAID),
        forged({**GOOD, "crit": ["exp"]}, SAID),
        forged({**GOOD, "b64": False}, SAID),
        forged({**GOOD, "jwk": {"kty": "oct", "k": part(b"n" * 32)}}, SAID),
        forged({**GOOD, "jku": "https://evil.example/keys"}, SAID),
        forged(b"[" * 1000, SAID),
        forged(b'{"alg":"HS256","kid":"new","kid":"new"}', SAID),
        forged(GOOD, SAID, secret=b""),
        forged(GOOD, SAID, secret=b"guess" * 9),
        forged(GOOD, SAID)[:-2],
        forged(GOOD, SAID) + b"AA",
        forged(GOOD, SAID).replace(b".", b".."),
        b" " + forged(GOOD, SAID),
        forged(GOOD, SAID) + b"\n",
        forged(GOOD, {**SAID, "sub": "x" * 4000}),
    ],
)
def test_what_is_no_token_of_these_keys_is_refused_in_the_same_words(text: bytes) -> None:
    with pytest.raises(Unauthorized) as refused:
        KEYS.read(text, NOW_S)
    assert type(refused.value) is Unauthorized
    assert refused.value.public() == "missing or wrong token"


@pytest.mark.parametrize(
    "changed",
    [
        {"role": "admin"},
        {"role": None},
        {"role": ["watch"]},
        {"role": {}},
        {"exp": None},
        {"exp": "2030"},
        {"exp": True},
        {"exp": 1e300},
        {"nbf": "now"},
        {"max_s": 0},
        {"max_s": -1},
        {"max_s": True},
        {"once": 1},
        {"once": "yes"},
        {"jti": ""},
        {"jti": 5},
        {"jti": "x" * 65},
        {"sub": {"name": "Ann"}},
        {"sub": "x" * 65},
        {"sid": ""},
        {"sid": "../other"},
        {"sid": 5},
        {"aud": "another server"},
    ],
)
def test_a_signed_token_that_says_something_odd_is_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(Unauthorized):
        KEYS.read(forged(GOOD, {**SAID, **changed}), NOW_S)


@pytest.mark.parametrize(
    "payload", [b"", b"[]", b'{"role":"watch","role":"operate","exp":1,"jti":"a"}', b'{"exp":NaN}', b"\xff"]
)
def test_what_is_signed_must_be_one_plain_object(payload: bytes) -> None:
    with pytest.raises(Unauthorized):
        claims_of(payload)


@settings(max_examples=200, deadline=None)
@given(
    st.binary(max_size=300) | st.lists(st.binary(max_size=80).map(part), min_size=3, max_size=3).map(".".join)
)
def test_no_bytes_make_the_reader_fail_in_another_way(text: bytes | str) -> None:
    with pytest.raises(Unauthorized):
        KEYS.read(text if isinstance(text, bytes) else text.encode(), NOW_S)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_no_changed_character_is_overlooked(data: st.DataObject) -> None:
    text = bytearray(KEYS.sign(replace(CLAIMS, once=False)).encode())
    # The last character of a part may hold bits that base64 does not count.
    ends = {i for i in range(len(text)) if text[i] == 46 or bytes(text[i + 1 : i + 2]) in (b".", b"")}
    place = data.draw(st.sampled_from(sorted(set(range(len(text))) - ends)))
    text[place] = data.draw(st.sampled_from([c for c in b"ABCxyz012-_" if c != text[place]]))
    with pytest.raises(Unauthorized):
        KEYS.read(bytes(text), NOW_S)


@pytest.mark.parametrize(
    "text", ["", "secret-alone-of-more-than-32-bytes-in-all", "a b:" + "s" * 32, ":" + "s" * 32]
)
def test_a_key_without_an_id_is_refused_without_quoting_it(text: str) -> None:
    with pytest.raises(SettingError, match="ID:SECRET") as refused:
        Key.parse(text)
    assert not text or text not in str(refused.value)


def test_a_short_secret_is_refused_without_quoting_it() -> None:
    with pytest.raises(SettingError, match="has 31 bytes; it takes 32") as refused:
        Key.parse("k:" + "s" * 31)
    assert "sss" not in str(refused.value)
    assert "sss" not in repr(Key.parse("k:" + "s" * 32))


def test_keys_are_lines_of_which_two_count() -> None:
    keys = Keys.parse(["# of September\n", f"a:{'s' * 32}\n\nb:{'t' * 32}\n"])
    assert keys
    assert not Keys.parse([""])
    with pytest.raises(SettingError, match="3 token keys; 2 are taken"):
        Keys.parse([f"{name}:{'s' * 32}" for name in "abc"])
    with pytest.raises(SettingError, match="two token keys are called 'a'"):
        Keys.parse([f"a:{'s' * 32}"] * 2)


def test_what_is_made_can_be_read_and_differs_each_time() -> None:
    assert Key.parse(fresh_key()) != Key.parse(fresh_key())
    assert fresh_jti() != fresh_jti()


def test_a_server_without_keys_never_loads_what_reads_tokens() -> None:
    code = "import sys, reactor_runtime.tokens; print('jwt' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "False"


def test_the_comparison_takes_the_same_time_wherever_it_differs(monkeypatch: pytest.MonkeyPatch) -> None:
    """By what compares: a clock on a busy machine would tell nothing."""
    compared: list[tuple[bytes, bytes]] = []
    real = hmac.compare_digest

    def compare(a: bytes, b: bytes) -> bool:
        compared.append((a, b))
        return real(a, b)

    monkeypatch.setattr(hmac, "compare_digest", compare)
    KEYS.read(KEYS.sign(CLAIMS).encode(), NOW_S)
    assert [len(a) for pair in compared for a in pair] == [hashlib.sha256().digest_size] * 2
