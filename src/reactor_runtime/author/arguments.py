"""Check the arguments of one command: JSON values in, what the handler may rely on out, or one refusal.

    CommandCall ─▶ uploads in place ─▶ JSON and nothing else ─▶ pydantic, strict ─▶ keyword arguments

Pydantic's strict JSON mode does the work. Around it stands what it lets through: numbers that fit no double,
half surrogate pairs, any depth, and true where 1 is a choice. Pure: any thread, no input or output.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterator, Mapping
from typing import Any, Final

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from .. import codes, limits
from ..errors import CommandRejected, raised_at
from ..types import CommandCall, JsonObject, UploadedFile

log = logging.getLogger(__name__)

#: Key of the validation context under which a parameter finds the call's uploads by their id.
UPLOADS = "uploads"

#: A call with more mistakes than these is told their number: to find words for 60,000 takes half a second.
_MISTAKES_READ: Final = 100

_Path = tuple[str | int, ...]


def check(call: CommandCall, model: type[BaseModel], schema: JsonObject) -> BaseModel:
    """Return the checked arguments. Raises CommandRejected with the first offending field."""
    given, uploads = _with_uploads(call, schema["properties"])
    given = _as_json(given, ())
    try:
        checked = model.model_validate_json(
            json.dumps(given), strict=True, extra="forbid", context={UPLOADS: uploads}
        )
    except ValidationError as error:
        raise rejection(error, given) from None
    except CommandRejected:
        raise
    except Exception as error:  # a validator of the author's own
        place = f"checking the arguments of command {call.name!r}"
        log.exception("Checking the arguments of command %r failed", call.name)
        raise CommandRejected(
            "the arguments could not be checked",
            code=codes.INTERNAL_ERROR,
            raised=raised_at(place, error),
        ) from None
    # Pydantic compares the choices of an Enum or a Literal with ==, which takes true for 1.
    misplaced = _misplaced_bool(given, schema, schema.get("$defs", {}))
    if misplaced is not None:
        raise _rejected(misplaced, "a boolean is not one of the choices")
    return checked


def _with_uploads(
    call: CommandCall, properties: Mapping[str, Any]
) -> tuple[JsonObject, dict[str, UploadedFile]]:
    """Put a reference where an upload was named beside the arguments, which is how clients send them.

    An upload that is referred to from inside the arguments comes under its id, as the client spelled it.
    """
    uploads = {file.upload_id: file for file in call.uploads.values()} | dict(call.uploads)
    references = {
        name: {
            "upload_id": file.upload_id,
            "name": file.name,
            "mime_type": file.mime_type,
            "size": len(file.data),
        }
        for name, file in call.uploads.items()
    }
    return with_references(call.arguments, references, properties), uploads


def with_references(
    given: JsonObject, references: Mapping[str, JsonObject], properties: Mapping[str, Any]
) -> JsonObject:
    """Return the arguments with the references that came beside them. Raises CommandRejected for a stray one."""
    whole = dict(given)
    for name, reference in references.items():
        if name in properties:
            whole[name] = reference
        elif name.replace("-", "").lower() != reference["upload_id"].replace("-", "").lower():
            raise _rejected((name,), "unexpected argument")
    return whole


def _as_json(value: Any, path: _Path) -> Any:
    """Return the value with integral numbers as integers. Raises CommandRejected for what is not JSON."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        if not value.isascii():
            _refuse_surrogates(value, path)
        return value
    if isinstance(value, int | float):
        return _number(value, path)
    if not isinstance(value, list | tuple | dict):
        raise _rejected(path, f"{type(value).__name__} is not a JSON value")
    if len(path) >= limits.MESSAGE_MAX_DEPTH:
        raise _rejected(path[:4], f"nested deeper than {limits.MESSAGE_MAX_DEPTH} levels")
    if not isinstance(value, dict):
        return [_as_json(item, (*path, index)) for index, item in enumerate(value)]
    for key in value:
        if not isinstance(key, str):
            raise _rejected(path, f"{type(key).__name__} is not a key of a JSON object")
        _refuse_surrogates(key, path)
    return {key: _as_json(item, (*path, key)) for key, item in value.items()}


def _number(value: int | float, path: _Path) -> int | float:
    try:
        as_double = float(value)
    except OverflowError:
        as_double = math.inf
    if not math.isfinite(as_double):
        raise _rejected(path, "not a finite number that fits a double")
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _refuse_surrogates(text: str, path: _Path) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _rejected(path, "text with half a surrogate pair") from None


def _misplaced_bool(value: Any, schema: Any, definitions: JsonObject) -> _Path | None:
    """Return the path to a boolean where the schema has choices and it is none of them."""
    if not isinstance(schema, dict):
        return None
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[-1]
        return _misplaced_bool(value, definitions.get(name), definitions)
    if choices := schema.get("anyOf") or schema.get("oneOf"):
        found: _Path | None = None
        for choice in choices:
            found = _misplaced_bool(value, choice, definitions)
            if found is None:
                return None
        return found
    if isinstance(value, bool):
        return None if any(choice is value for choice in schema.get("enum", (value,))) else ()
    for step, item, described in _children(value, schema):
        inner = _misplaced_bool(item, described, definitions)
        if inner is not None:
            return (step, *inner)
    return None


def _children(value: Any, schema: JsonObject) -> Iterator[tuple[str | int, Any, Any]]:
    if isinstance(value, dict):
        known, rest = schema.get("properties", {}), schema.get("additionalProperties")
        for key, item in value.items():
            yield key, item, known.get(key, rest)
    elif isinstance(value, list):
        first, rest = schema.get("prefixItems", ()), schema.get("items")
        for index, item in enumerate(value):
            yield index, item, first[index] if index < len(first) else rest


# From a failed check to words --------------------------------------------------------------------------


def rejection(error: ValidationError, given: JsonObject) -> CommandRejected:
    """Return the refusal: of the error that got furthest, because in a union the other branches are noise."""
    if error.error_count() > _MISTAKES_READ:
        return _rejected(tuple(given) if len(given) == 1 else (), f"{error.error_count()} mistakes")
    located = [(_path_in(detail, given), detail) for detail in error.errors(include_url=False)]
    path, detail = max(located, key=lambda item: len(item[0]))
    if detail["type"] == "missing":
        return _rejected(path, "missing argument")
    if detail["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        return _rejected(path, "unexpected argument")
    if detail["type"] == "value_error":
        return _rejected(path, str(detail["ctx"]["error"]))
    reason = detail["msg"].replace("Input should", "should", 1)
    value = detail["input"]
    got = "" if isinstance(value, dict | list) else f", got {_short(json.dumps(value, default=str))}"
    return _rejected(path, reason + got)


def _path_in(detail: ErrorDetails, given: JsonObject) -> _Path:
    """Keep of pydantic's location what is a path into the arguments: it names union branches too."""
    path: list[str | int] = []
    here: Any = given
    location = detail["loc"]
    for position, step in enumerate(location):
        if isinstance(here, list):
            known = isinstance(step, int) and step < len(here)
        else:
            known = isinstance(here, dict) and step in here
        if known:
            here = here[step]
        elif not (detail["type"] == "missing" and position == len(location) - 1):
            continue
        path.append(step)
    return tuple(path)


def _rejected(path: _Path, reason: str) -> CommandRejected:
    field = _printable(".".join(map(str, path)))
    return CommandRejected(f"{field}: {reason}" if field else reason, field=field)


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."


def _printable(text: str) -> str:
    """Cut and escape a client's text, so that it can go into a log line and back over the wire."""
    return text[:200].encode("utf-8", "backslashreplace").decode()
