"""What each command of a model last set: the model's own values, where a page knows only what it sent itself.

    asked() ─▶ on its way ─outcome()─▶ accepted: set        refused, or never passed on: forgotten
                                          └─ a `reset`: every command is at its defaults again

Kept for one session, whose model begins at the defaults, or at what its author says it begins with. A parameter that
was left out has its default; one without a default is unknown until it is set. Files and pictures are named, and so
are values that are large: nothing of a client is kept beyond `limits.VALUE_MAX_BYTES` each and
`limits.VALUES_MAX_BYTES` together. Used on the event loop only.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

from .. import limits
from ..types import CommandOutcome, CommandSpec, JsonObject
from ..wire.messages import UploadReference
from .uploads import references

#: The command that takes everything back, by the name that models give it.
RESET: Final = "reset"

_Kept = tuple[JsonObject, JsonObject]
"""The values of one command by parameter, and what is only named of the others."""


class SetValues:
    """The values of one session's model. `commands` are those that it publishes."""

    def __init__(self, commands: Iterable[CommandSpec]) -> None:
        properties = {spec.name: spec.parameters.get("properties", {}) for spec in commands}
        self._pictures = {
            name: frozenset(key for key, part in parts.items() if '"contentEncoding"' in json.dumps(part))
            for name, parts in properties.items()
        }
        self._defaults: dict[str, _Kept] = {
            name: _kept({key: part["default"] for key, part in parts.items() if "default" in part}, {})
            for name, parts in properties.items()
            if parts
        }
        self._initial: dict[str, _Kept] = {
            name: ({**self._defaults[name][0], **_kept(_initial(parts), {})[0]}, {})
            for name, parts in properties.items()
            if parts
        }
        self._now = dict(self._initial)
        self._sizes = {name: _size(kept) for name, kept in self._now.items()}
        self._asked: dict[int, tuple[str, _Kept]] = {}
        self._changed: set[str] = set()
        self._was_reset = False

    def asked(
        self, number: int, name: str, arguments: JsonObject, uploads: Mapping[str, UploadReference]
    ) -> None:
        """Note what a command will have set once it is accepted. The oldest of too many is forgotten."""
        self._asked[number] = name, _kept(arguments, uploads, self._pictures.get(name, frozenset()))
        while len(self._asked) > limits.COMMAND_MAILBOX:
            del self._asked[next(iter(self._asked))]

    def unasked(self, number: int) -> None:
        """The command was not passed on after all."""
        self._asked.pop(number, None)

    def outcome(self, outcome: CommandOutcome) -> None:
        """Take what the model said of a command, also of one that its client was told has timed out."""
        name, kept = self._asked.pop(outcome.command_id, ("", ({}, {})))
        if not outcome.accepted or not name:
            return
        if name == RESET:
            self._begin_again()
        if name in self._defaults:
            self._set(name, kept)

    def start_over(self) -> None:
        """Another run of the model begins; nothing more comes of the commands of the last one."""
        self._asked.clear()
        self._begin_again()

    def _begin_again(self) -> None:
        self._now = dict(self._initial)
        self._sizes = {each: _size(kept) for each, kept in self._now.items()}
        self._changed.update(self._now)
        self._was_reset = True

    def _set(self, name: str, given: _Kept) -> None:
        values, named = ({**self._defaults[name][0], **given[0]}, {**self._defaults[name][1], **given[1]})
        for key in given[1]:
            values.pop(key, None)
        for key in given[0]:
            named.pop(key, None)
        others = sum(size for each, size in self._sizes.items() if each != name)
        if others + _size((values, named)) > limits.VALUES_MAX_BYTES:
            values, named = {}, {**{key: _inline(value) for key, value in values.items()}, **named}
        if (values, named) != self._now[name]:
            self._now[name] = values, named
            self._sizes[name] = _size((values, named))
            self._changed.add(name)

    def everything(self) -> JsonObject:
        """Return every command's values as clients are told them; {} where no command has a parameter."""
        return {name: _said(kept) for name, kept in self._now.items()}

    def take_news(self) -> tuple[JsonObject, bool]:
        """Return the commands whose values changed since this was last asked, and whether by a reset."""
        news = {name: _said(self._now[name]) for name in sorted(self._changed)}
        was_reset, self._was_reset = self._was_reset, False
        self._changed.clear()
        return news, was_reset


def _initial(parts: JsonObject) -> JsonObject:
    """What the model's author says that a session begins with, where that is no default."""
    return {key: part["x-initial"] for key, part in parts.items() if "x-initial" in part}


def _kept(
    arguments: JsonObject, uploads: Mapping[str, UploadReference], pictures: Collection[str] = ()
) -> _Kept:
    values: JsonObject = {}
    named = {key: _upload(reference.as_json()) for key, reference in uploads.items()}
    for key, value in arguments.items():
        if key in named:
            continue
        inside = references(value) if isinstance(value, dict | list) else iter(())
        if next(inside, None) is not None:
            named[key] = (
                _upload(value) if isinstance(value, dict) and "upload_id" in value else _inline(value)
            )
        elif _bytes(value) > limits.VALUE_MAX_BYTES or (key in pictures and isinstance(value, str)):
            named[key] = _inline(value)
        else:
            values[key] = value
    return values, named


def _upload(reference: JsonObject) -> JsonObject:
    name, mime_type = (str(reference[key])[: limits.MESSAGE_ID_MAX] for key in ("name", "mime_type"))
    return {"kind": "upload", "name": name, "mime_type": mime_type, "size": reference["size"]}


def _inline(value: Any) -> JsonObject:
    return {"kind": "inline", "size": _bytes(value)}


def _bytes(value: Any) -> int:
    # A picture in base64 is its own length, and not worth writing out to be measured.
    return len(value) if isinstance(value, str) else len(json.dumps(value))


def _size(kept: _Kept) -> int:
    return sum(len(key) + _bytes(value) for key, value in kept[0].items())


def _said(kept: _Kept) -> JsonObject:
    values, named = kept
    return {"values": values, **({"named": named} if named else {})}
