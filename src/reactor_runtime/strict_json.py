"""JSON as this package accepts it from a network: objects only, bounded, unambiguous.

`json.loads` alone takes NaN, keeps the last of two equal keys, and passes on halves of surrogate pairs that
no pipe, log or protobuf can carry.
"""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

from . import limits
from .errors import MessageRejected
from .types import JsonObject


class DuplicateKey(ValueError):
    """An object has the same key twice. `key` is whatever the document says."""

    def __init__(self, key: str) -> None:
        super().__init__("the same key twice")
        self.key = key


def decode(text: str) -> Any:
    """Parse one JSON value of any kind. Raises ValueError (JSONDecodeError, DuplicateKey) and RecursionError."""
    return _DECODER.decode(text)


def parse_object(payload: str | bytes, *, max_bytes: int = limits.MESSAGE_MAX_BYTES) -> JsonObject:
    """Parse one JSON object. Raises MessageRejected for anything else, and for what the module says."""
    if len(payload) > max_bytes:
        raise MessageRejected(f"a message may have {max_bytes} bytes, got {len(payload)}")
    try:
        text = payload.decode() if isinstance(payload, bytes) else payload
        value = decode(text)
    except RecursionError:
        raise MessageRejected("nested too deep") from None
    except ValueError as error:  # JSONDecodeError and UnicodeDecodeError among them
        raise MessageRejected(f"not JSON: {_reason(error)}") from None
    if not isinstance(value, dict):
        raise MessageRejected("not a JSON object")
    _check(value, 1)
    return value


def dump(value: JsonObject) -> str:
    """Write one message. Raises MessageRejected for what is not JSON, or too large for a client to take."""
    try:
        # ASCII escapes: a lone surrogate in a model's text must not break the text frame that carries it.
        text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise MessageRejected(f"a message to the client is not JSON: {_reason(error)}") from None
    if len(text) > limits.MESSAGE_MAX_BYTES:
        raise MessageRejected(
            f"a message to the client may have {limits.MESSAGE_MAX_BYTES} bytes, got {len(text)}"
        )
    return text


def _check(value: Any, depth: int) -> None:
    if isinstance(value, str):
        if not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError:
                raise MessageRejected("text with half of a surrogate pair") from None
    elif isinstance(value, dict | list):
        if depth > limits.MESSAGE_MAX_DEPTH:
            raise MessageRejected(f"nested deeper than {limits.MESSAGE_MAX_DEPTH}")
        if isinstance(value, dict):
            for key, item in value.items():
                _check(key, depth)
                _check(item, depth + 1)
        else:
            for item in value:
                _check(item, depth + 1)


def _distinct(pairs: list[tuple[str, Any]]) -> JsonObject:
    value = dict(pairs)
    if len(value) != len(pairs):
        seen = set[str]()
        for name, _ in pairs:
            if name in seen:
                raise DuplicateKey(name)
            seen.add(name)
    return value


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number beyond the range of a double")
    return number


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")


def _reason(error: Exception) -> str:
    """The first words of a parser's message: it may quote the payload, which may be anything."""
    return str(error)[:120].encode("ascii", "replace").decode()


_DECODER = json.JSONDecoder(
    object_pairs_hook=_distinct, parse_float=_finite, parse_constant=_no_constant, strict=True
)
